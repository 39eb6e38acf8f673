"""Listeners: HTTP servers where programs that have a model of their own hand in pictures and predictions.

There are two kinds. An `ingest` listener takes POST /datapoints: a picture with its prediction, which is sampled like a
frame of a stream; the answer is the decision. A `proxy` listener stands in front of an inference server and forwards
everything unchanged in both directions; afterwards it samples the pictures and predictions that passed. No problem of
sampling, such as a full disk or a bug, delays or changes a forwarded answer.
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
    """The listener can't bind its address. The text names the address and the reason."""


class Listener(Protocol):
    """A component of the service that takes HTTP connections."""

    @property
    def name(self) -> str:
        """Return "listener " and the address, as in the health report."""

    @property
    def port(self) -> int:
        """Return the TCP port; 0 before `start` if the settings leave the choice to the system."""

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """Return the threads that the watchdog monitors. Only after `start`."""

    def start(self) -> None:
        """Bind the address and start the threads. Raises ListenerUnavailable."""

    def stop(self, within_s: float) -> bool:
        """Refuse new requests and finish those under way. Return whether everything ended within the time."""

    def idle_s(self) -> float:
        """Return for how many seconds the slowest of `threads` has shown no sign of life."""


def create_listener(
    settings: ListenerSettings,
    *,
    intake_of: Callable[[str], Intake],
    clock: Clock,
    telemetry: Telemetry,
    on_failure: Callable[[BaseException], None],
    model_policies: ModelPolicies | None = None,
) -> Listener:
    """Return a listener of the kind that the settings name; it is not started.

    intake_of: makes the intake of a stream by its name. It is called once per stream, from any thread. on_failure:
    gets the exception that ended a thread of the listener which should run until `stop`. model_policies: knows the
    policies of the models that clients call; None: every model follows the policy of the listener's stream.
    """
    # Imported here because the settings module imports ListenerSettings and should not need everything behind it.
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
