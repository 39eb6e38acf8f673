"""Predictions from a file, by frame number: a model's work is done once, and replayed as often as a policy is tried.

The file holds one JSON object a line, in the wire format, with `frame` (the number) and, where it holds several
streams, `stream` beside it. A line without `stream` speaks for every stream that has no line of its own for that frame.
A frame without a line has no prediction (ModelFailed): that is not the same as a line with no objects.

Every line is read when the file is opened, and its place is kept, not its content: 20 bytes a line stay in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from framesift.config.schema import StrictModel
from framesift.frame import Frame
from framesift.models.model import ModelFailed, ModelLoadError, ModelNotes
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Detections, Prediction, Task, scale_prediction


class RecordedSettings(StrictModel):
    """path: the file, JSON lines. task: where the lines don't tell it (a detector that found nothing says little)."""

    type: Literal["recorded"]
    path: Path
    task: Task | None = None


class RecordedModel:
    class_names: tuple[str, ...] | None = None
    notes = ModelNotes()

    def __init__(self, options: RecordedSettings) -> None:
        """Raises ModelLoadError that names the file and the line."""
        self.model_id = f"recorded/{options.path.stem}"
        self._closed = False
        try:
            self._file = options.path.open("rb")
        except OSError as error:
            raise ModelLoadError(f"model.path: {options.path}: {error.strerror}") from error
        try:
            self._index = _Index(options.path, self._file, options.task)
        except BaseException:
            self._file.close()
            raise
        self.task = options.task or self._index.task
        self.description = f"{self._index.count} recorded predictions of {options.path}"

    def predict(self, frame: Frame) -> Prediction:
        place = self._index.place(frame.stream, frame.number)
        if place is None:
            raise ModelFailed(f"no recorded prediction for frame {frame.number} of {frame.stream}")
        try:
            if self._closed:
                raise ModelFailed("the model is closed")
            # pread has no position to share, so that threads need no lock.
            payload = json.loads(os.pread(self._file.fileno(), place[1], place[0]))
            prediction = wire.parse_prediction(payload, width=frame.width, height=frame.height, task=self.task)
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFailed(f"the recorded prediction of frame {frame.number} of {frame.stream}: {error}") from error
        named = replace(prediction, model_id=prediction.model_id or self.model_id)
        return scale_prediction(named, frame.width, frame.height)

    def close(self) -> None:
        self._closed = True
        self._file.close()


class Recorder:
    """Writes what a model says, for `recorded` to replay. Safe to call from several threads at once.

    A file that exists is begun anew (OSError where that can't be). Each line reaches the system before `record`
    returns. failed: told of the first line that could not be written; nothing is written after it.
    """

    def __init__(self, path: Path, on_error: Callable[[OSError], None]) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._failed = on_error
        self._broken = False
        self._lock = threading.Lock()

    def record(self, frame: Frame, prediction: Prediction) -> None:
        line: dict[str, Any] = {"stream": frame.stream, "frame": frame.number, "task_type": str(prediction.task)}
        if prediction.model_id:
            line["model_id"] = prediction.model_id
        text = json.dumps(line | wire.to_wire(prediction), allow_nan=False)
        with self._lock:
            if self._broken:
                return
            try:
                self._file.write(text + "\n")
            except OSError as error:
                self._broken = True
                self._failed(error)

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # what could not be written was told already
            self._file.close()


class _Index:
    """Where the line of a stream's frame lies in the file: per stream, sorted numbers with offsets and lengths."""

    def __init__(self, path: Path, file: BinaryIO, task: Task | None) -> None:
        self._path = path
        numbers: dict[str | None, array[int]] = {}
        places: dict[str | None, array[int]] = {}
        tasks: set[Task] = set()
        self.count = 0
        for offset, line_number, line in _lines(file):
            stream, number, said = self._checked(line, line_number, task)
            if said is not None:
                tasks.add(said)
            numbers.setdefault(stream, array("q")).append(number)
            places.setdefault(stream, array("q")).extend((offset, len(line)))
            self.count += 1
        if self.count == 0:
            raise ModelLoadError(f"{path}: holds no predictions")
        self.task = tasks.pop() if len(tasks) == 1 else None
        self._streams: dict[str | None, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for stream, given in numbers.items():
            order = np.argsort(np.frombuffer(given, np.int64), kind="stable")
            ordered = np.frombuffer(given, np.int64)[order]
            place = np.frombuffer(places[stream], np.int64).reshape(-1, 2)[order]
            again = np.flatnonzero(ordered[1:] == ordered[:-1])
            if again.size:
                first, second = (self._line_at(file, int(place[i, 0])) for i in (again[0], again[0] + 1))
                whose = f" of stream {stream!r}" if stream is not None else ""
                raise ModelLoadError(f"{path}:{second}: frame {ordered[again[0]]}{whose} is on line {first} already")
            self._streams[stream] = (ordered, place)

    def place(self, stream: str, number: int) -> tuple[int, int] | None:
        """Offset and length in bytes of the frame's line."""
        for key in (stream, None):
            if key in self._streams:
                numbers, places = self._streams[key]
                at = int(np.searchsorted(numbers, number))
                if at < len(numbers) and numbers[at] == number:
                    return int(places[at, 0]), int(places[at, 1])
        return None

    def _checked(self, line: bytes, line_number: int, task: Task | None) -> tuple[str | None, int, Task | None]:
        where = f"{self._path}:{line_number}"
        try:
            payload = json.loads(line)
            prediction = wire.parse_prediction(payload, width=1, height=1, task=task)
        except (ValueError, RecursionError) as error:
            raise ModelLoadError(f"{where}: {error}") from error
        number, stream = payload.get("frame"), payload.get("stream")
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
            raise ModelLoadError(f'{where}: "frame": {number!r} is not a frame\'s number (0, 1, 2, ...)')
        if stream is not None and not isinstance(stream, str):
            raise ModelLoadError(f'{where}: "stream": {stream!r} is not a stream\'s name')
        # No objects and no word about the task: such a line could come from a detector of any kind.
        silent = isinstance(prediction, Detections) and not prediction.objects
        told = not silent or "task_type" in payload or "task" in payload
        return stream, number, prediction.task if told else None

    @staticmethod
    def _line_at(file: BinaryIO, offset: int) -> int:
        return next(number for start, number, _line in _lines(file) if start == offset)


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Offset, number (from 1) and content of every line that is not empty."""
    offset = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if line.strip():
            yield offset, number, line
        offset += len(line)
