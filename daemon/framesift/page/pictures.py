"""PagePictures: the datapoints that the page shows, from the spool and from the folder in which they are collected."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from framesift.prediction.prediction import Prediction, count_classes
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks import CommonSinkSettings
from framesift.sinks.collected_folder import CollectedPicture, parse_collected_line
from framesift.spool import RowInfo, SpoolBroken, SpoolUnusable, admin, pictures

DELIVERED = "delivered"
_MOST_ROWS = 500
# Of the folder's listing, the newest part is looked at: a few thousand pictures.
_TAIL_BYTES = 4 << 20
_UNREADABLE = (SpoolBroken, SpoolUnusable, OSError)


@dataclass(frozen=True, slots=True, eq=False)
class PageDatapoint:
    """A datapoint. captured_s: Unix time. state: of the spool, or DELIVERED. why: what the last attempt failed for.

    width, height: of the picture, in pixels. prediction: None where none was kept.
    """

    id: str
    stream: str
    frame: int
    captured_s: float
    strategy: str
    score: float | None
    state: str
    width: int
    height: int
    prediction: Prediction | None
    why: str = ""

    @property
    def classes(self) -> dict[str, int]:
        """How many objects of each class the model saw."""
        return {} if self.prediction is None else dict(count_classes(self.prediction))


@dataclass(frozen=True, slots=True)
class PageChoice:
    """Which datapoints are shown: those for which each text is theirs, or empty. by_score: the highest first."""

    stream: str = ""
    strategy: str = ""
    class_name: str = ""
    state: str = ""
    by_score: bool = False

    def includes(self, one: PageDatapoint) -> bool:
        """Whether a datapoint is shown."""
        return (
            self.stream in ("", one.stream)
            and self.strategy in ("", one.strategy)
            and self.state in ("", one.state)
            and (not self.class_name or self.class_name in one.classes)
        )


class PagePictures:
    """Reads only, beside the daemon's own threads. Thread-safe."""

    def __init__(self, spool: Path, sink: CommonSinkSettings) -> None:
        """spool: the file."""
        self._spool = spool
        self._sink = sink

    def all(self) -> list[PageDatapoint]:
        """The newest datapoints that are here, the newest first: at most some thousands."""
        found = {one.id: one for one in self._collected()}
        with contextlib.suppress(*_UNREADABLE):
            rows = pictures.newest_rows(self._spool, _MOST_ROWS, stream=None, strategy=None)
            predictions = pictures.read_predictions(self._spool, [row.id for row in rows])
            found.update((row.id, _spooled(row, predictions.get(row.id))) for row in rows)
        return sorted(found.values(), key=lambda one: -one.captured_s)

    def find(self, id: str) -> PageDatapoint | None:
        """One datapoint; None if it is not here any more."""
        with contextlib.suppress(*_UNREADABLE):
            details = admin.show(self._spool, id)
            if details is not None:
                return _spooled(details.row, details.prediction)
        return next((one for one in self._collected() if one.id == id), None)

    def jpeg(self, id: str) -> bytes | None:
        """The picture of a datapoint; None if it is not here any more."""
        with contextlib.suppress(*_UNREADABLE):
            stored = pictures.read_jpeg(self._spool, id)
            if stored is not None:
                return stored
        with contextlib.suppress(OSError):
            path = self._sink.picture_of(id)
            return None if path is None else path.read_bytes()
        return None

    def _collected(self) -> Iterator[PageDatapoint]:
        """What the newest lines of the folder's listing say, the newest first."""
        folder = self._sink.locked_folder
        if folder is None:
            return
        with contextlib.suppress(OSError):
            for line in reversed(_last_lines(folder / "metadata.jsonl")):
                one = parse_collected_line(line)
                if one is not None:
                    yield _delivered(one)


def _spooled(row: RowInfo, wire: str | None) -> PageDatapoint:
    prediction: Prediction | None = None
    with contextlib.suppress(ValueError):
        prediction = parse_prediction(json.loads(wire or "null"), width=row.width or None, height=row.height or None)
    return PageDatapoint(
        row.id,
        row.stream,
        row.frame,
        row.captured_at,
        row.strategy,
        row.score,
        row.state.value,
        row.width,
        row.height,
        prediction,
        row.why or "",
    )


def _delivered(one: CollectedPicture) -> PageDatapoint:
    return PageDatapoint(
        one.id,
        one.stream,
        one.frame,
        one.captured_at_s,
        one.strategy,
        one.score,
        DELIVERED,
        one.width,
        one.height,
        one.prediction,
    )


def _last_lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = max(0, size - _TAIL_BYTES)
        file.seek(begin)
        lines = file.read().splitlines()
    return lines[1:] if begin else lines
