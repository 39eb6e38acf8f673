"""LastHour: what was decided in the last sixty minutes, minute by minute; a start takes it over from the record."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from framesift.decisions.record_files import read_lines

HOUR_MINUTES = 60
_HOUR_S = 3600.0
LEAST_DOWN_S = 60.0  # in minutes, a shorter one can't be seen
_WITH_SPAN = "from"  # in each line that is about a span of time, and hardly in others


@dataclass(slots=True)
class MinuteCounts:
    """How many frames of one stream were matched, accepted and refused in one minute.

    minute: since 1970. matched: by strategy, a frame once for each. accepted: by strategy. refused: by reason.
    """

    minute: int
    matched: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def copy(self) -> MinuteCounts:
        """Another one with the same numbers."""
        return MinuteCounts(self.minute, self.matched.copy(), self.accepted.copy(), self.refused.copy())


class DownTime(NamedTuple):
    """A span in which no daemon ran, in Unix time."""

    from_s: float
    to_s: float


class LastHour:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[str, dict[int, MinuteCounts]] = {}
        self._down: list[DownTime] = []

    def add(
        self,
        stream: str,
        minute: int,
        *,
        matched: Mapping[str, int],
        accepted: Mapping[str, int],
        refused: Mapping[str, int],
    ) -> None:
        """Add what was decided on a stream in a minute, or in a part of it."""
        with self._lock:
            of_stream = self._minutes.setdefault(stream, {})
            counts = of_stream.get(minute)
            if counts is None:
                for other in [one for one in of_stream if abs(one - minute) >= HOUR_MINUTES]:
                    del of_stream[other]
                counts = of_stream[minute] = MinuteCounts(minute)
            for total, more in ((counts.matched, matched), (counts.accepted, accepted), (counts.refused, refused)):
                for key, count in more.items():
                    total[key] += count

    def minutes(self, stream: str, now_s: float) -> tuple[MinuteCounts, ...]:
        """Those of a stream, the oldest first; minutes without frames are absent."""
        newest = int(now_s // 60)
        with self._lock:
            of_stream = self._minutes.get(stream, {})
            return tuple(
                of_stream[minute].copy() for minute in sorted(of_stream) if newest - HOUR_MINUTES < minute <= newest
            )

    def streams(self) -> tuple[str, ...]:
        """Those of which something was counted."""
        with self._lock:
            return tuple(self._minutes)

    def down(self, now_s: float) -> tuple[DownTime, ...]:
        """When no daemon ran in the last hour, for a minute or longer, the newest first."""
        with self._lock:
            return tuple(one for one in self._down if now_s - _HOUR_S < one.to_s <= now_s)

    def restore(self, folder: Path, started_s: float) -> DownTime | None:
        """Take over what a record has of the last hour before the start of this run, the newest lines first.

        Reads no file further back than that. Returns when no daemon ran before this start; None if it is not known, or
        too short. What is missing, torn or unreadable is left out.
        """
        with contextlib.suppress(OSError):
            last_s = next((_end_s(line) for line in islice(read_lines(folder), 1)), None)
            for line in read_lines(folder, containing=_WITH_SPAN):
                to_s = _end_s(line)
                if to_s is None or to_s > started_s:
                    continue
                if to_s <= started_s - _HOUR_S:
                    break
                self._restore_line(line, to_s)
            if last_s is not None and last_s + LEAST_DOWN_S <= started_s:
                down = DownTime(last_s, started_s)
                with self._lock:
                    self._down.insert(0, down)
                return down
        return None

    def _restore_line(self, line: dict[str, Any], to_s: float) -> None:
        if line["type"] == "counts" and isinstance(stream := line.get("stream"), str):
            counts = {key: Counter(dict(_numbers(line.get(key)))) for key in ("matched", "accepted", "refused")}
            self.add(stream, int(to_s // 60), **counts)
        elif line["type"] == "down" and (from_s := _time(line.get("from"))) is not None:
            with self._lock:
                self._down.append(DownTime(from_s, to_s))


def _end_s(line: dict[str, Any]) -> float | None:
    return _time(line.get("to", line.get("at"))) if "type" in line else None


def _time(value: object) -> float | None:
    return float(value) if isinstance(value, float | int) and math.isfinite(value) else None


def _numbers(counts: object) -> Iterator[tuple[str, int]]:
    for name, number in counts.items() if isinstance(counts, dict) else ():
        if isinstance(number, int):
            yield name, number
