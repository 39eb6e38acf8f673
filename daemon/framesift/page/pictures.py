"""PagePictures: the datapoints that the page shows, from the spool and from the folder in which they are collected."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from framesift.prediction.prediction import Prediction, count_classes
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks import CommonSinkSettings
from framesift.sinks.collected_folder import CollectedPicture, parse_collected_line
from framesift.spool import RowInfo, SpoolBroken, SpoolUnusable, admin, pictures

DELIVERED = "delivered"
PER_PAGE = 60
_LOOKED_AT = 1000  # datapoints, for a page of those that are like something
# Where one datapoint is looked for in the folder's listing, in the newest part: a few thousand pictures.
_TAIL_BYTES = 4 << 20
_BLOCK_BYTES = 1 << 16
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


@dataclass(frozen=True, slots=True)
class PagePlace:
    """Where a page of the gallery begins: before which row of the spool, and before which byte of the folder's listing.

    None: at the newest.
    """

    seq: int | None = None
    offset: int | None = None

    @classmethod
    def parse(cls, text: str) -> PagePlace:
        """From a text such as "812.40960"; the newest, if it says nothing sensible."""
        found = re.fullmatch(r"(\d{0,18})\.(\d{0,18})", text, re.ASCII)
        return cls() if found is None else cls(*(int(number) if number else None for number in found.groups()))

    def __str__(self) -> str:
        return ".".join("" if number is None else str(number) for number in (self.seq, self.offset))


@dataclass(frozen=True, slots=True, eq=False)
class GalleryPage:
    """What one page of the gallery shows. older: where the next one begins, None if there is nothing more."""

    shown: tuple[PageDatapoint, ...]
    older: PagePlace | None


class PagePictures:
    """Reads only, beside the daemon's own threads. Thread-safe."""

    def __init__(self, spool: Path, sink: CommonSinkSettings) -> None:
        """spool: the file."""
        self._spool = spool
        self._sink = sink

    def page(self, choice: PageChoice, before: PagePlace) -> GalleryPage:
        """A page of the datapoints that are here, the last accepted or collected first; no more than it needs is read.

        With `by_score`, the best of the newest thousand: one page, which goes on nowhere.
        """
        at, shown = before, dict[str, PageDatapoint]()
        candidates = heapq.merge(
            self._spooled(choice, before), self._listed(choice, before), key=lambda entry: -entry[1].captured_s
        )
        for looked_at, (place, one) in enumerate(candidates):
            if looked_at == _LOOKED_AT or (len(shown) == PER_PAGE and not choice.by_score):
                break
            at = replace(at, **place)
            if choice.includes(one):
                shown.setdefault(one.id, one)
        else:
            at = before
        found = list(shown.values())
        if choice.by_score:
            return GalleryPage(tuple(sorted(found, key=lambda one: -(one.score or 0.0))[:PER_PAGE]), None)
        return GalleryPage(tuple(found), None if at == before else at)

    def class_names(self) -> list[str]:
        """The classes of all that was ever accepted; empty while that can't be read."""
        with contextlib.suppress(*_UNREADABLE):
            return pictures.class_names(self._spool)
        return []

    def _spooled(self, choice: PageChoice, before: PagePlace) -> Iterator[tuple[dict[str, int], PageDatapoint]]:
        seq = before.seq
        stream, strategy, state = choice.stream or None, choice.strategy or None, choice.state or None
        while state != DELIVERED:
            try:
                rows = pictures.rows_before(self._spool, seq, PER_PAGE, stream=stream, strategy=strategy, state=state)
                predictions = pictures.read_predictions(self._spool, [row.id for _, row in rows])
            except _UNREADABLE:
                return
            for seq, row in rows:
                yield {"seq": seq}, _row_datapoint(row, predictions.get(row.id))
            if len(rows) < PER_PAGE:
                return

    def _listed(self, choice: PageChoice, before: PagePlace) -> Iterator[tuple[dict[str, int], PageDatapoint]]:
        if choice.state in ("", DELIVERED):
            for offset, one in self._collected(before.offset):
                yield {"offset": offset}, one

    def find(self, id: str) -> PageDatapoint | None:
        """One datapoint; None if it is not here any more."""
        with contextlib.suppress(*_UNREADABLE):
            details = admin.show(self._spool, id)
            if details is not None:
                return _row_datapoint(details.row, details.prediction)
        newest = None
        for offset, one in self._collected():
            newest = offset if newest is None else newest
            if one.id == id:
                return one
            if newest - offset > _TAIL_BYTES:
                break
        return None

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

    def _collected(self, before: int | None = None) -> Iterator[tuple[int, PageDatapoint]]:
        """What the lines of the folder's listing say, the newest first, and where each begins. before: a byte of it."""
        folder = self._sink.locked_folder
        if folder is None:
            return
        with contextlib.suppress(OSError):
            for offset, line in _lines_before(folder / "metadata.jsonl", before):
                one = parse_collected_line(line)
                if one is not None:
                    yield offset, _delivered(one)


def _row_datapoint(row: RowInfo, wire: str | None) -> PageDatapoint:
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


def _lines_before(path: Path, before: int | None) -> Iterator[tuple[int, bytes]]:
    """Yields the lines of a file, the last first, and where each begins. before: a byte of it. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin, rest = size if before is None else min(before, size), b""
        while begin > 0:
            end, begin = begin, max(0, begin - _BLOCK_BYTES)
            file.seek(begin)
            block = file.read(end - begin) + rest
            at, lines = begin + len(block), block.splitlines(keepends=True)
            rest = lines.pop(0) if begin else b""  # its beginning is in the block before
            for line in reversed(lines):
                at -= len(line)
                yield at, line
