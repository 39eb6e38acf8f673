"""RunProgress: says on a terminal how far a run on files has come, a line every few seconds.

Lines, and no bar: the log goes to the same terminal. How many frames a file has is not known before it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from framesift.clock.clock import Clock
    from framesift.settings import Settings
    from framesift.telemetry import Telemetry

EVERY_S = 5.0


class RunProgress:
    """To be called about once a second, by one thread."""

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Clock, out: TextIO) -> None:
        """out: where the lines go; nothing is said where that is no terminal, or where a stream never ends."""
        ends = all(one.is_path and not (one.loop or one.follow or one.watch) for one in settings.streams)
        self._is_on = out.isatty() and bool(settings.streams) and ends and not settings.listeners
        self._telemetry = telemetry
        self._clock = clock
        self._out = out
        self._since_s = clock.monotonic()
        self._frames = 0

    def __call__(self) -> None:
        """Say it, where it is time."""
        now_s = self._clock.monotonic()
        if not self._is_on or now_s - self._since_s < EVERY_S:
            return
        report = self._telemetry.report()
        speed = (report.frames_read - self._frames) / (now_s - self._since_s)
        self._since_s, self._frames = now_s, report.frames_read
        told = f"{report.frames_read:,} frames read, {speed:.0f} a second; {report.frames_accepted:,} accepted"
        self._out.write(f"framesift: {told}\n")
        self._out.flush()
