"""python: a sink from outside of this package, `factory: "module:function"`. See docs/extending.md."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, Literal

from pydantic import Field

from framesift.config.factory import (
    FactoryError,
    FactoryName,
    FactoryOptions,
    FactoryPath,
    call_factory,
    failure_text,
    load_factory,
)
from framesift.config.types import ConfigError
from framesift.roboflow import RoboflowClient
from framesift.sinks.sink import (
    CommonSinkSettings,
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    Registered,
    Rejected,
    RetryLater,
)

_RESULTS = (Delivered, Duplicate, Registered, Rejected, RetryLater)


class PythonSinkSettings(CommonSinkSettings):
    """Datapoints are delivered by code from outside of framesift: see docs/extending.md."""

    check_advice: ClassVar[str] = "the module that sink.factory names says what it needs"

    type: Literal["python"]
    factory: FactoryName
    options: FactoryOptions = Field(default_factory=dict)
    path: FactoryPath = None

    def open(self, *, class_names: tuple[str, ...] | None, platform: RoboflowClient | None) -> PythonSink:  # noqa: ARG002 - the signature of all
        """Imports the module and calls the factory. Raises ConfigError where that fails."""
        try:
            sink = call_factory(self.factory, load_factory(self.factory, self.path), self.options)
        except FactoryError as error:
            raise ConfigError(f"sink.factory: {error}") from error
        if not callable(getattr(sink, "deliver", None)):
            kind = type(sink).__name__
            raise ConfigError(f"sink.factory: {self.factory} returned a {kind}, without a method deliver()")
        return PythonSink(sink, self.factory)


class PythonSink:
    """Calls the sink from outside, and turns whatever goes wrong there into an answer. As thread-safe as that sink."""

    def __init__(self, sink: Any, factory: str) -> None:
        """sink: an object with `deliver`, and perhaps `check` and `close`. factory: its name, for messages."""
        self._sink = sink
        self._factory = factory

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:
        """The sink's answer; RetryLater where it raises, or answers with something else."""
        try:
            result = self._sink.deliver(delivery, now_s=now_s, within_s=within_s)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
            return RetryLater(None, failure_text(error), FailureScope.UNSURE)
        if isinstance(result, _RESULTS):
            return result
        reason = f"{self._factory} answered with a {type(result).__name__}, which is no DeliveryResult"
        return RetryLater(None, reason, FailureScope.UNSURE)

    def check(self) -> str | None:
        """What the sink's own check says; None where it has none."""
        check = getattr(self._sink, "check", None)
        try:
            problem = None if check is None else check()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
            return failure_text(error)
        return None if problem is None else " ".join(str(problem).split())

    def close(self) -> None:
        """Closes the sink, if it can be closed."""
        close = getattr(self._sink, "close", None)
        if close is not None:
            with contextlib.suppress(Exception, SystemExit):  # it is given up in any case
                close()
