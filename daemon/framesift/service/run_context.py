"""RunContext: what the components of one run have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from framesift.clock.clock import Clock
from framesift.http_client import Exchanges
from framesift.limits import Limit, Window
from framesift.settings import Settings
from framesift.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class RunContext:
    """Given to whatever is built for one run.

    exchanges: cuts every HTTP request under way when the run must end. on_failure: to be called, from any thread, with
    an unexpected error that ended a thread; the service then ends.
    """

    settings: Settings
    clock: Clock
    telemetry: Telemetry
    exchanges: Exchanges
    on_failure: Callable[[BaseException], None]


def sink_limits(settings: Settings) -> tuple[Limit, ...]:
    """Return the limits of the sink."""
    return tuple(Limit(Window(limit.type), limit.value) for limit in settings.sink.limits)
