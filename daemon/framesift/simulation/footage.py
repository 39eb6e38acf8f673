"""Footage: the recorded frames of one or several sources, with the times at which they are to count.

A *video* is the recording that the model pass made of it: its frames are captured at the start plus their position in
the file, as with `run --clock media`; videos of one stream follow each other. A *recording* of `run --record` has its
own times, which a start moves; with a start, what was recorded of a file counts by its position in that. Where footage
is repeated through days, it begins again at its end, as a stream with `loop: true` does.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from pathlib import Path

from framesift.sampling.dry_run import DEFAULT_STREAM
from framesift.sampling.recorded_frame import RecordedFrame
from framesift.sampling.recording_file import read_recording
from framesift.simulation.errors import SimulationError
from framesift.streams.continued_times import ContinuedTimes

DAY_S = 86_400.0

_Line = tuple[int, int, float, RecordedFrame]  # the source, its line, the time that it gives, what it says


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedFrame:
    """A frame of the footage. at_s: Unix time of its capture. source: which one. line: its place there, from 0."""

    recorded: RecordedFrame
    at_s: float
    stream: str
    source: int
    line: int


@dataclass(frozen=True, slots=True)
class FootageSource:
    """One source. recording: the file with its predictions. video: what they were made of; None for a recording.

    stream: its name, None where each line has its own.
    """

    recording: Path
    video: Path | None = None
    stream: str | None = None

    def read(self) -> Iterator[RecordedFrame]:
        """Its frames, once. Raises ConfigError with the line, and OSError."""
        with self.recording.open("rb") as file:
            for _, recorded in read_recording(str(self.recording), file):
                yield recorded

    def count(self) -> int:
        """How many lines it has, quickly. Raises OSError."""
        with self.recording.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


@dataclass(frozen=True, slots=True)
class Footage:
    """All sources. start_s: Unix time of their first frames; None: recordings keep their own times.

    days: so many days from the start on are filled by repeating them; None: each is there once.
    """

    sources: Sequence[FootageSource]
    start_s: float | None
    days: float | None = None

    def frames(self, on_frame: Callable[[], None] = lambda: None) -> Iterator[SimulatedFrame]:
        """All frames in the order of their times, as `run --clock media` takes them. on_frame: called for each.

        Raises SimulationError where a recording has no times, ConfigError for a line that can't be read, and OSError.
        """
        tracks = self._tracks()
        merged = heapq.merge(*tracks, key=attrgetter("at_s", "stream")) if len(tracks) > 1 else tracks[0]
        for frame in merged:
            on_frame()
            yield frame

    def _tracks(self) -> list[Iterator[SimulatedFrame]]:
        """What goes on side by side: each stream of videos, and all recordings together."""
        of_stream: dict[str | None, list[int]] = {}
        recordings: list[int] = []
        for number, source in enumerate(self.sources):
            (recordings if source.video is None else of_stream.setdefault(source.stream, [])).append(number)
        tracks = [self._track(self._in_turn, numbers, _VideoTimes(self.start_s)) for numbers in of_stream.values()]
        if recordings:
            tracks.append(self._track(self._merged, recordings, _RecordingTimes(self.start_s)))
        return tracks

    def _track(
        self,
        read: Callable[[Sequence[int]], Iterator[_Line]],
        numbers: Sequence[int],
        times: _VideoTimes | _RecordingTimes,
    ) -> Iterator[SimulatedFrame]:
        until_s: float | None = None
        while True:
            is_empty = True
            for source, line, given_s, recorded in read(numbers):
                is_empty = False
                at_s = times.next_s(given_s)
                if until_s is None:
                    until_s = math.inf if self.days is None else at_s + DAY_S * self.days
                if at_s >= until_s:
                    return
                stream = self.sources[source].stream or recorded.stream or DEFAULT_STREAM
                if at_s != recorded.captured_at_s or stream != recorded.stream:
                    recorded = replace(recorded, captured_at_s=at_s, stream=stream)
                yield SimulatedFrame(recorded, at_s, stream, source, line)
            if is_empty:
                first = self.sources[numbers[0]]
                raise SimulationError(f"{first.video or first.recording}: there is no prediction in it")
            if self.days is None:
                return
            times.begin_again()

    def _in_turn(self, numbers: Sequence[int]) -> Iterator[_Line]:
        """The lines of videos, one after the other."""
        for number in numbers:
            yield from self._lines(number)

    def _merged(self, numbers: Sequence[int]) -> Iterator[_Line]:
        """The lines of recordings, by their times."""
        return heapq.merge(*map(self._lines, numbers), key=itemgetter(2))

    def _lines(self, number: int) -> Iterator[_Line]:
        source = self.sources[number]
        for line, recorded in enumerate(source.read()):
            has_position = recorded.media_s is not None and (source.video is not None or self.start_s is not None)
            given_s = recorded.media_s if has_position else recorded.captured_at_s
            if given_s is None:
                where = f"{source.recording}:{line + 1}"
                raise SimulationError(f"{where}: has no captured_at; a simulation needs the time of each prediction")
            yield number, line, given_s, recorded


class _VideoTimes:
    """Of the frames of a video, as in a run with `loop: true`."""

    def __init__(self, start_s: float | None) -> None:
        if start_s is None:
            raise ValueError("a video has no time of its own")
        self._start_s = start_s
        self._times = ContinuedTimes()

    def next_s(self, media_s: float) -> float:
        return self._start_s + self._times.continued_s(media_s)

    def begin_again(self) -> None:
        """The next position is an earlier one, which says it."""


class _RecordingTimes:
    """Of the lines of a recording, which need not be in order: several streams may be in it."""

    def __init__(self, start_s: float | None) -> None:
        self._start_s = start_s
        self._shift_s = 0.0
        self._first_s = self._last_s = math.nan
        self._count = 0

    def next_s(self, captured_at_s: float) -> float:
        if math.isnan(self._first_s):
            self._first_s = self._last_s = captured_at_s
            self._shift_s = 0.0 if self._start_s is None else self._start_s - captured_at_s
        self._last_s = max(self._last_s, captured_at_s)
        self._count += 1
        return captured_at_s + self._shift_s

    def begin_again(self) -> None:
        length_s = self._last_s - self._first_s
        self._shift_s += length_s + (length_s / (self._count - 1) if self._count > 1 and length_s > 0 else 1.0)
        self._count = 0
