"""QuietStreams: says of a stream that runs that nothing was accepted from it for long, and what became of its frames.

A camera that was turned to a wall, a class that is misspelt, or a threshold that nothing reaches breaks no part of the
program; only somebody who compares numbers would see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from framesift.clock.clock import Clock
from framesift.frame import RefusalReason
from framesift.telemetry import Condition, StreamCounts, Telemetry

CHECK_INTERVAL_S = 5.0
_REASONS = 3
_UNWANTED = (RefusalReason.DISABLED.value, RefusalReason.PAUSED.value)


@dataclass(slots=True)
class _Quiet:
    """What is known of one stream.

    accepted, refused: its counts when something was accepted last. unwanted: how many frames nobody wanted: switched
    off by the policy, or paused. running_s: for how long it has delivered pictures since then. is_said: whether it is
    in the health.
    """

    accepted: int
    refused: Mapping[str, int]
    unwanted: int
    running_s: float = 0.0
    is_said: bool = False


class QuietStreams:
    """Sets the health `collection of NAME`. Belongs to the main thread.

    quiet_after_s: after so many seconds of pictures without an accepted one a stream is quiet; 0 or None: never.
    """

    def __init__(self, telemetry: Telemetry, clock: Clock, streams: Iterable[str], quiet_after_s: float | None) -> None:
        """streams: the names of those that read a source. Nobody knows when a client of a listener is late."""
        self.quiet_after_s = quiet_after_s
        self._telemetry = telemetry
        self._clock = clock
        self._names = frozenset(streams)
        self._streams: dict[str, _Quiet] = {}
        self._checked_s = clock.monotonic()

    def check(self) -> None:
        """Compare the numbers of all streams with those of the last time. Cheap enough for every second."""
        now_s = self._clock.monotonic()
        passed_s = now_s - self._checked_s
        if passed_s < CHECK_INTERVAL_S:
            return
        self._checked_s = now_s
        for counts in self._telemetry.stream_counts():
            if counts.stream in self._names:
                self._check_stream(counts, passed_s)

    def _check_stream(self, counts: StreamCounts, passed_s: float) -> None:
        accepted, unwanted = sum(counts.accepted.values()), sum(counts.refused.get(name, 0) for name in _UNWANTED)
        known = self._streams.get(counts.stream)
        component = f"collection of {counts.stream}"
        is_quiet = known is not None and (known.accepted, known.unwanted) == (accepted, unwanted)
        if known is None or not is_quiet or not self.quiet_after_s:
            if known is not None and known.is_said:
                self._telemetry.health.set_ok(component, forget=True)
            self._streams[counts.stream] = _Quiet(accepted, counts.refused, unwanted)
            return
        if counts.up:
            known.running_s += passed_s
        if known.running_s >= self.quiet_after_s and not known.is_said:
            known.is_said = True
            why = f"nothing was accepted for {_hours(known.running_s)}, although it runs: {_reasons(known, counts)}"
            self._telemetry.health.set(component, Condition.DEGRADED, why)


def _reasons(quiet: _Quiet, counts: StreamCounts) -> str:
    since = {name: count - quiet.refused.get(name, 0) for name, count in counts.refused.items()}
    most = sorted((name for name in since if since[name]), key=lambda name: -since[name])[:_REASONS]
    if not most:
        return "no frame reached a decision"
    listed = ", ".join(f"{name} ({since[name]})" for name in most)
    return f"of {sum(since.values())} frames most were refused as {listed}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600.0:.1f} h" if seconds >= 3600.0 else f"{seconds:.0f} s"
