"""Where the pictures of a contact sheet come from: a collected folder or a spool, the newest first."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from framesift.datasets.contact_sheet import SheetPicture
from framesift.datasets.errors import DatasetError
from framesift.datasets.picture_choice import PictureChoice
from framesift.prediction.prediction import Prediction
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks.collected_folder import (
    CollectedPicture,
    NoCollectedFolder,
    metadata_file,
    parse_collected_line,
)
from framesift.spool import RowInfo, SpoolBroken, admin, pictures

_SQLITE = b"SQLite format 3\0"  # how each spool file begins
_EXPECTED = "a folder sink's folder (sink.path) or a spool file (spool.path) is expected"


@dataclass(frozen=True, slots=True)
class SheetSource:
    """Pictures to show.

    number: how many are wanted. newest: the newest of them, without their JPEGs. read_jpeg: reads that of one of
    `newest`, by its place; None where it can't be read.
    """

    number: int
    newest: tuple[SheetPicture, ...]
    read_jpeg: Callable[[int], bytes | None]

    def read(self, first: int, last: int) -> list[SheetPicture]:
        """Some of `newest` with their JPEGs, by their places."""
        return [replace(one, jpeg=self.read_jpeg(n)) for n, one in enumerate(self.newest[first:last], first)]


def open_sheet_source(path: Path, choice: PictureChoice, limit: int) -> SheetSource:
    """The newest `limit` pictures of a collected folder or a spool file.

    Raises DatasetError, SpoolUnusable, SpoolTooNew and OSError.
    """
    if path.is_dir():
        return _of_folder(path, choice, limit)
    if not path.exists():
        raise DatasetError(f"{path}: does not exist: {_EXPECTED}")
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise DatasetError(f"{path}: is no spool and no folder: {_EXPECTED}")
    try:
        return _of_spool(path, choice, limit)
    except SpoolBroken as error:
        raise DatasetError(f"{error}: {_EXPECTED}") from None


def read_collected(folder: Path) -> tuple[CollectedPicture, ...]:
    """All pictures of a folder sink's folder, in the order of their frames; none where nothing was collected."""
    try:
        with metadata_file(folder).open("rb") as file:
            found = [one for one in map(parse_collected_line, file) if one is not None]
    except NoCollectedFolder:
        return ()
    return tuple(sorted(found, key=lambda one: one.frame))


def collected_sheet_picture(folder: Path, one: CollectedPicture, *, with_jpeg: bool = True) -> SheetPicture:
    """A collected picture for a sheet."""
    return SheetPicture(
        jpeg=_read(folder / one.file_name) if with_jpeg else None,
        stream=one.stream,
        frame=one.frame,
        captured_at_s=one.captured_at_s,
        strategy=one.strategy,
        score=one.score,
        prediction=one.prediction,
    )


def _of_folder(folder: Path, choice: PictureChoice, limit: int) -> SheetSource:
    counts: Counter[tuple[str, str]] = Counter()
    newest: list[tuple[float, int, CollectedPicture]] = []
    try:
        path = metadata_file(folder)
    except NoCollectedFolder as error:
        raise DatasetError(f"{error}, or a spool file (spool.path)") from None
    with path.open("rb") as file:
        for number, line in enumerate(file):
            one = parse_collected_line(line)
            if one is None:
                continue
            counts[one.stream, one.strategy] += 1
            if choice.includes(one.stream, one.strategy):
                add = heapq.heappush if len(newest) < limit else heapq.heappushpop
                add(newest, (one.captured_at_s, number, one))
    chosen = [one for _, _, one in sorted(newest, reverse=True)]
    return SheetSource(
        choice.refuse_none(folder, counts),
        tuple(collected_sheet_picture(folder, one, with_jpeg=False) for one in chosen),
        lambda place: _read(folder / chosen[place].file_name),
    )


def _of_spool(path: Path, choice: PictureChoice, limit: int) -> SheetSource:
    counts = Counter(pictures.count_by_strategy(path))
    if not counts:
        raise DatasetError(f"{path}: no picture waits in it; what was delivered is in the sink (sink.path of a folder)")
    number = choice.refuse_none(path, counts)
    found = pictures.newest_rows(path, limit, stream=choice.stream, strategy=choice.strategy)
    return SheetSource(
        number,
        tuple(_spooled(path, row) for row in found),
        lambda place: pictures.read_jpeg(path, found[place].id),
    )


def _spooled(path: Path, row: RowInfo) -> SheetPicture:
    details = admin.show(path, row.id)
    return SheetPicture(
        jpeg=None,
        stream=row.stream,
        frame=row.frame,
        captured_at_s=row.captured_at,
        strategy=row.strategy,
        score=row.score,
        prediction=None if details is None else _parse(details.prediction, row.width, row.height),
        state=row.state.value,
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _parse(prediction: str | None, width: int, height: int) -> Prediction | None:
    try:
        return parse_prediction(json.loads(prediction or "null"), width=width or None, height=height or None)
    except ValueError:
        return None
