"""python: a sink from outside of this package, `factory: "module:function"`. See docs/extending.md."""

from __future__ import annotations

import contextlib
import math
from numbers import Real
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from framesift.config.factory import (
    FactoryError,
    FactoryName,
    FactoryOptions,
    FactoryPath,
    call_factory,
    failure_text,
    load_factory,
    one_line,
    read_attribute,
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

_MAX_RETRY_S = 86_400.0  # ahead; the spool waits no longer either
_MAX_IMAGE_ID = 1000  # characters


class PythonSinkSettings(CommonSinkSettings):
    """Datapoints are delivered by code from outside of framesift: see docs/extending.md."""

    check_advice: ClassVar[str] = "the module that sink.factory names says what it needs"

    type: Annotated[Literal["python"], Field(description="Code from outside of framesift.")]
    factory: FactoryName
    options: FactoryOptions = Field(default_factory=dict)
    path: FactoryPath = None

    def open(self, *, class_names: tuple[str, ...] | None, platform: RoboflowClient | None) -> PythonSink:  # noqa: ARG002 - the signature of all
        """Imports the module and calls the factory. Raises ConfigError where that fails."""
        try:
            sink = call_factory(self.factory, load_factory(self.factory, self.path), self.options)
            deliver = read_attribute(sink, "deliver", self.factory)
        except FactoryError as error:
            raise ConfigError(f"sink.factory: {error}") from error
        if not callable(deliver):
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
        """The sink's answer; RetryLater where it raises, or answers with something else.

        The answer is made anew from its parts, so that nothing but plain values reaches the spool and the log.
        """
        try:
            return self._rebuild(self._sink.deliver(delivery, now_s=now_s, within_s=within_s), now_s)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
            return RetryLater(None, failure_text(error), FailureScope.UNSURE)

    def check(self) -> str | None:
        """What the sink's own check says; None where it has none."""
        try:
            check = getattr(self._sink, "check", None)
            problem = None if check is None else check()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
            return failure_text(error)
        return None if problem is None else one_line(problem)

    def close(self) -> None:
        """Closes the sink, if it can be closed."""
        with contextlib.suppress(Exception, SystemExit):  # it is given up in any case
            close = getattr(self._sink, "close", None)
            if close is not None:
                close()

    def _rebuild(self, result: object, now_s: float) -> DeliveryResult:
        """The same answer, of plain values; RetryLater with the fault where it has one. May raise what its parts do."""
        fault = f"{type(result).__name__}, which is no DeliveryResult"
        if isinstance(result, Delivered):
            return Delivered()
        if isinstance(result, Duplicate):
            return Duplicate()
        if isinstance(result, Rejected):
            return Rejected(_reason(result.reason))
        if isinstance(result, Registered):
            image_id = _image_id(result.image_id)
            if image_id is not None:
                return Registered(image_id)
            fault = f"Registered whose image_id is a {type(result.image_id).__name__}, not a usable text"
        elif isinstance(result, RetryLater):
            # Its types are only promised: nothing checks them in code from outside.
            retry_at_s: object = result.retry_at_s
            scope: object = result.scope
            reason = _reason(result.reason)
            if not isinstance(scope, FailureScope):
                fault = f"RetryLater whose scope is a {type(scope).__name__}, not a FailureScope ({reason})"
            elif isinstance(retry_at_s, bool) or not isinstance(retry_at_s, Real | None):
                fault = f"RetryLater whose retry_at_s is a {type(retry_at_s).__name__}, not Unix time ({reason})"
            else:
                return RetryLater(_date(retry_at_s, now_s), reason, scope, bool(result.may_have_arrived))
        return RetryLater(None, one_line(f"{self._factory} answered with a {fault}"), FailureScope.UNSURE)


def _reason(reason: object) -> str:
    """A reason as one line that can be stored, whatever the sink gave."""
    if isinstance(reason, BaseException):
        return failure_text(reason)
    return "the sink gave no reason" if reason is None else one_line(reason) or "the sink gave no reason"


def _image_id(image_id: object) -> str | None:
    """The sink's id of an image; None where it can't be stored."""
    if not isinstance(image_id, str):
        return None
    plain = str.__str__(image_id)  # of a subclass, the text alone
    return plain if 1 <= len(plain) <= _MAX_IMAGE_ID and plain.isprintable() else None


def _date(retry_at_s: Real | None, now_s: float) -> float | None:
    """When to retry, at most a day ahead; None, the usual pause, where the date says nothing."""
    if retry_at_s is None:
        return None
    try:
        date_s = float(retry_at_s)
    except OverflowError as error:
        raise ValueError("RetryLater with a retry_at_s that is no Unix time: it is too large") from error
    if not math.isfinite(date_s) or date_s <= now_s:
        return None
    return min(date_s, now_s + _MAX_RETRY_S)
