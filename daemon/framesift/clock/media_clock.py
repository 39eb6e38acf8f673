"""MediaClock: a clock that shows the time of video files, so that a run decides as if they were filmed now.

Its time begins at a given moment, and is at least as late as the latest picture. Between pictures, and after the last
one, it goes on as the machine's clock does; so what failed is tried again, however short the files are.

What is decided on frames must not depend on how fast the machine is. So limits and held frames go by `pictures`, a
clock that stands still between two pictures, and what is due between them is done, each thing at its own time, before
the later one is shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Protocol

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment

_LEAST_STEP_S = 0.001
_SAME_TIME_S = 1e-4  # what is due with a picture is done before it; sums of times differ by as much as a microsecond


class Agenda(Protocol):
    """Something that has things to do at certain times of the `pictures`."""

    def due_in_s(self) -> float:
        """Return the seconds until something is due; inf if nothing is."""
        ...

    def advance(self) -> object:
        """Do what is due now."""
        ...


class MediaClock:
    """A Clock whose `now` follows the files of several streams, from one picture to the next. Thread-safe.

    The pictures of all streams are taken one at a time in the order of their times, however fast each file is read:
    limits that streams share then give the same in every run. `monotonic` and `wait` are those of the machine.
    """

    def __init__(self, clock: Clock, start_s: float, streams: Iterable[str]) -> None:
        """start_s: Unix time of the beginning of each file. streams: their names, which must differ."""
        self._clock = clock
        self._start_s = start_s
        self._boot_id = f"media-{time.time_ns()}"  # the time of no other run can be compared with this one's
        self._changed = threading.Condition()
        self._latest_s = 0.0  # the media time of the latest picture, or what has passed since
        self._read_s = clock.monotonic()  # when that was
        self._shown_s = 0.0  # of `pictures`
        self._agenda: Agenda | None = None
        self.pictures: Clock = _PictureClock(self)
        # By stream: the media time of the picture that it shows, or waits to show; no later one comes before it.
        self._reached_s = {stream: float("-inf") for stream in streams}
        self._waiting: set[str] = set()

    def now(self) -> Moment:
        """See Clock."""
        with self._changed:
            return self._moment(self._elapsed_s())

    def monotonic(self) -> float:
        """See Clock."""
        return self._clock.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See Clock."""
        return self._clock.wait(event, timeout_s)

    def reach(self, stream: str, media_s: float, within_s: float) -> Moment | None:
        """Wait until it is the turn of this stream's picture, and return the moment of its capture.

        media_s: seconds since the beginning, never less than before. None: the turn did not come within `within_s`
        seconds of the machine; call it again.
        """
        with self._changed:
            self._reached_s[stream] = media_s
            self._waiting.add(stream)
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._is_first(stream), within_s):
                return None
        self._advance_to(media_s)  # no other stream is shown a picture before this one has had its turn
        with self._changed:
            self._waiting.discard(stream)
            self._latest_s = max(self._elapsed_s(), media_s)
            self._read_s = self._clock.monotonic()
            return self._moment(media_s)

    def follow(self, agenda: Agenda) -> None:
        """Do from now on what this agenda says, in the threads that `reach`. To be called before the first picture."""
        self._agenda = agenda

    def _advance_to(self, media_s: float) -> None:
        """Do what is due until a picture is shown."""
        while self._agenda is not None:
            due_s = self._shown_s + self._agenda.due_in_s()
            if due_s > media_s + _SAME_TIME_S:
                break
            self._shown_s = max(due_s, self._shown_s)
            self._agenda.advance()
            self._shown_s += _LEAST_STEP_S
        self._shown_s = max(media_s, self._shown_s)

    def leave(self, stream: str) -> None:
        """The stream has no more pictures: the others no longer wait for it."""
        with self._changed:
            self._reached_s.pop(stream, None)
            self._waiting.discard(stream)
            self._changed.notify_all()

    def _is_first(self, stream: str) -> bool:
        """Whether no other stream shows a picture, or may still bring one, that comes before."""
        own = (self._reached_s[stream], stream)
        return all(
            (reached_s, other) > own and other in self._waiting
            for other, reached_s in self._reached_s.items()
            if other != stream
        )

    def _elapsed_s(self) -> float:
        return self._latest_s + self._clock.monotonic() - self._read_s

    def _moment(self, media_s: float) -> Moment:
        return Moment(self._start_s + media_s, media_s, self._boot_id)


class _PictureClock:
    """Shows the time of the picture that is decided on. `monotonic` and `wait` are those of the machine."""

    def __init__(self, media_clock: MediaClock) -> None:
        self._of = media_clock

    def now(self) -> Moment:
        return self._of._moment(self._of._shown_s)

    def monotonic(self) -> float:
        return self._of.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return self._of.wait(event, timeout_s)


def decision_clock(clock: Clock) -> Clock:
    """The clock by which frames are decided on: limits, turns, held frames."""
    return clock.pictures if isinstance(clock, MediaClock) else clock
