"""Recorded predictions: a model's predictions are written to a file once, and replayed as often as a policy is tried.

The file holds one JSON object per line, in the wire format, with `frame` (its number), `embedding` where the model gave
one, and, if the file holds several streams, `stream`. A line without `stream` counts for every stream that has no line
of its own for that frame. A frame without a line has no prediction (ModelFailed), which is not the same as a line
without objects.

All lines are checked when the file is opened. Only their offsets stay in memory, 20 bytes per line.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framesift.config.paths import LocalPath
from framesift.config.schema import StrictModel
from framesift.frame import Frame
from framesift.models.git_lfs import git_lfs_problem
from framesift.models.model import ModelFailed, ModelLoadError, ModelNotes
from framesift.prediction import wire_format
from framesift.prediction.embedding import EMBEDDING, parse_embedding
from framesift.prediction.prediction import Detections, Prediction, Task, scale_prediction, with_origin


class RecordedSettings(StrictModel):
    """Predictions that were recorded earlier, replayed."""

    type: Annotated[Literal["recorded"], Field(description="Predictions of a file.")]
    path: Annotated[
        LocalPath, Field(description="The file, in JSON lines, as of `run --record`.", examples=["predictions.jsonl"])
    ]
    task: Annotated[
        Task | None, Field(description="Needed if the lines do not tell; an empty list of objects tells little.")
    ] = None


class RecordedModel:
    """Replays the predictions of a file. Thread-safe."""

    class_names: tuple[str, ...] | None = None
    notes = ModelNotes()

    def __init__(self, settings: RecordedSettings) -> None:
        """Opens and checks the file. Raises ModelLoadError with the file and the line."""
        self.model_id = f"recorded/{settings.path.stem}"
        self._closed = False
        if (problem := git_lfs_problem(settings.path)) is not None:
            raise ModelLoadError(f"model.path: {problem}")
        try:
            self._file = settings.path.open("rb")
        except OSError as error:
            raise ModelLoadError(f"model.path: {settings.path}: {error.strerror}") from error
        try:
            self._index = _Index(settings.path, self._file, settings.task)
        except BaseException:
            self._file.close()
            raise
        self.task = settings.task or self._index.task
        self.gives_embeddings: bool | None = self._index.has_embeddings
        self.description = f"{self._index.count} recorded predictions of {settings.path}"

    def predict(self, frame: Frame) -> Prediction:
        """Returns the recorded prediction, scaled to the frame. Raises ModelFailed if there is none."""
        entry = self._index.find(frame.stream, frame.number)
        if entry is None:
            raise ModelFailed(f"no recorded prediction for frame {frame.number} of {frame.stream}")
        try:
            if self._closed:
                raise ModelFailed("the model is closed")
            # pread does not move a shared position, so threads need no lock.
            payload = json.loads(os.pread(self._file.fileno(), entry[1], entry[0]))
            prediction = wire_format.parse_prediction(payload, width=frame.width, height=frame.height, task=self.task)
            embedding = parse_embedding(payload[EMBEDDING]) if EMBEDDING in payload else None
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFailed(f"the recorded prediction of frame {frame.number} of {frame.stream}: {error}") from error
        named = with_origin(prediction, model_id=prediction.model_id or self.model_id, embedding=embedding)
        return scale_prediction(named, frame.width, frame.height)

    def close(self) -> None:
        """Closes the file."""
        self._closed = True
        self._file.close()


class _Index:
    """Finds the line of a frame: for each stream, sorted frame numbers with the offsets and lengths of their lines."""

    def __init__(self, path: Path, file: BinaryIO, task: Task | None) -> None:
        self._path = path
        numbers: dict[str | None, array[int]] = {}
        entries: dict[str | None, array[int]] = {}
        tasks: set[Task] = set()
        self.count = 0
        self.has_embeddings = False
        for offset, line_number, line in _lines(file):
            stream, number, stated_task = self._checked(line, line_number, task)
            if stated_task is not None:
                tasks.add(stated_task)
            numbers.setdefault(stream, array("q")).append(number)
            entries.setdefault(stream, array("q")).extend((offset, len(line)))
            self.count += 1
        if self.count == 0:
            raise ModelLoadError(f"{path}: holds no predictions")
        self.task = tasks.pop() if len(tasks) == 1 else None
        self._streams: dict[str | None, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for stream, frame_numbers in numbers.items():
            order = np.argsort(np.frombuffer(frame_numbers, np.int64), kind="stable")
            ordered = np.frombuffer(frame_numbers, np.int64)[order]
            entry = np.frombuffer(entries[stream], np.int64).reshape(-1, 2)[order]
            repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
            if repeated.size:
                first, second = (self._line_at(file, int(entry[i, 0])) for i in (repeated[0], repeated[0] + 1))
                of_stream = f" of stream {stream!r}" if stream is not None else ""
                raise ModelLoadError(
                    f"{path}:{second}: frame {ordered[repeated[0]]}{of_stream} is on line {first} already"
                )
            self._streams[stream] = (ordered, entry)

    def find(self, stream: str, number: int) -> tuple[int, int] | None:
        """Offset and length of the frame's line in bytes; None if it has none."""
        for key in (stream, None):
            if key in self._streams:
                numbers, entries = self._streams[key]
                position = int(np.searchsorted(numbers, number))
                if position < len(numbers) and numbers[position] == number:
                    return int(entries[position, 0]), int(entries[position, 1])
        return None

    def _checked(self, line: bytes, line_number: int, task: Task | None) -> tuple[str | None, int, Task | None]:
        where = f"{self._path}:{line_number}"
        try:
            payload = json.loads(line)
            prediction = wire_format.parse_prediction(payload, width=1, height=1, task=task)
            if EMBEDDING in payload:
                parse_embedding(payload[EMBEDDING])
                self.has_embeddings = True
        except (ValueError, RecursionError) as error:
            raise ModelLoadError(f"{where}: {error}") from error
        number, stream = payload.get("frame"), payload.get("stream")
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
            raise ModelLoadError(f'{where}: "frame": {number!r} is not a frame\'s number (0, 1, 2, ...)')
        if stream is not None and not isinstance(stream, str):
            raise ModelLoadError(f'{where}: "stream": {stream!r} is not a stream\'s name')
        # A line without objects and without a task could come from a detector of any kind.
        is_empty = isinstance(prediction, Detections) and not prediction.columns
        has_task = not is_empty or "task_type" in payload or "task" in payload
        return stream, number, prediction.task if has_task else None

    @staticmethod
    def _line_at(file: BinaryIO, offset: int) -> int:
        return next(number for start, number, _line in _lines(file) if start == offset)


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Offset, number (from 1) and bytes of every line that is not empty."""
    offset = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if line.strip():
            yield offset, number, line
        offset += len(line)
