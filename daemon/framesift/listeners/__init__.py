"""Doors: where programs that have a model of their own hand pictures in, over HTTP.

A door without an upstream takes POST /datapoints: pictures with their predictions, which go the way of a stream's
frames; the answer is the verdict. A door with one stands before an inference server: what its clients ask and what they
are answered passes unchanged, and pictures and predictions are then sampled. Nothing that happens here, a full disk or
a bug in sampling, keeps an answer from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from framesift.listeners.listener_settings import ListenerSettings

if TYPE_CHECKING:
    from framesift.clock.clock import Clock, MonitoredThread
    from framesift.listeners.stream_intakes import ModelPolicies
    from framesift.sampling.intake import Intake
    from framesift.telemetry import Telemetry

__all__ = ["Listener", "ListenerSettings", "ListenerUnavailable", "create_listener"]


class ListenerUnavailable(OSError):
    """The address can't be listened at; the text names it and says why."""


class Listener(Protocol):
    """port: 0 until it has started, where the options leave the choice."""

    @property
    def port(self) -> int: ...

    def start(self) -> None:
        """Listens, and returns. Raises ListenerUnavailable."""

    def stop(self, within_s: float) -> None:
        """Takes nothing more; what is under way ends, or is cut when the time is over."""

    @property
    def loops(self) -> tuple[MonitoredThread, ...]:
        """For the watchdog, once it has started."""


def create_listener(
    settings: ListenerSettings,
    *,
    intake_of: Callable[[str], Intake],
    clock: Clock,
    telemetry: Telemetry,
    on_failure: Callable[[BaseException], None],
    model_policies: ModelPolicies | None = None,
) -> Listener:
    """A door that is not open yet. intake_of: makes the intake of the stream of that name; asked once for each, from
    any thread. failed: told of what ended a loop of the door that should never end. models: who knows of the policies
    of clients' models.
    """
    # Here and not above: the settings know a door's options, and should not need its rooms.
    if settings.upstream is None:
        from framesift.listeners.ingest import IngestListener

        return IngestListener(settings, intake_of=intake_of, clock=clock, telemetry=telemetry, on_failure=on_failure)
    from framesift.listeners.proxy import ProxyListener

    return ProxyListener(
        settings,
        intake_of=intake_of,
        clock=clock,
        telemetry=telemetry,
        on_failure=on_failure,
        model_policies=model_policies,
    )
