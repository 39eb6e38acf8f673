"""Recorder: writes every prediction of a run to a file, with what a dry run needs to decide as the run did.

One JSON object per line: the prediction in the wire format, and beside it

    stream, frame, epoch     which frame it is of, as in Frame
    captured_at              Unix time, in seconds
    media_s                  the position in a file, in seconds, where it is one
    sent_at                  Unix time by the camera's own clock, where it tells it
    seed                     of the device's random draws
    signature                as in strategies/near_duplicate.py: base64 of its float32 values, little-endian
    brightness               mean of the grey picture, from 0 to 1
    embedding                of the model, where it gave one: base64 of 2 bytes a value, see prediction/embedding.py

The `recorded` model replays the predictions with their embeddings, and ignores the rest.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from framesift.atomic_files import create_file
from framesift.frame import Frame
from framesift.prediction import wire_format
from framesift.prediction.embedding import EMBEDDING, format_embedding
from framesift.prediction.prediction import Prediction
from framesift.strategies.near_duplicate import HEIGHT, WIDTH, Signature, brightness, signature

_LITTLE_ENDIAN = "<f4"
SIGNATURE_LENGTH = WIDTH * HEIGHT


class Recorder:
    """Writes predictions to a file. Thread-safe.

    An existing file is overwritten (OSError if that is impossible). Each line reaches the operating system before
    `record` returns.
    """

    def __init__(self, path: Path, on_error: Callable[[OSError], None], *, seed: int = 0) -> None:
        """on_error: called with the first error of writing; nothing is written after it. seed: of the random draws."""
        file = create_file(path, os.O_WRONLY | os.O_TRUNC, follow_link=True)
        self._file = os.fdopen(file, "w", encoding="utf-8", buffering=1)
        self._on_error = on_error
        self._seed = seed
        self._has_failed = False
        self._lock = threading.Lock()

    def record(self, frame: Frame, prediction: Prediction) -> None:
        """Writes the prediction for a frame, whose pixels must still be valid."""
        line: dict[str, Any] = {
            "stream": frame.stream,
            "frame": frame.number,
            "epoch": frame.epoch,
            "captured_at": frame.captured.wall_s,
            "seed": self._seed,
            "signature": format_signature(signature(frame.pixels)),
            "brightness": round(brightness(frame.pixels), 6),
            "task_type": str(prediction.task),
        }
        if frame.media_s is not None:
            line["media_s"] = frame.media_s
        if frame.sent_s is not None:
            line["sent_at"] = frame.sent_s
        if prediction.model_id:
            line["model_id"] = prediction.model_id
        if prediction.embedding is not None:
            line[EMBEDDING] = format_embedding(prediction.embedding)
        text = json.dumps(line | wire_format.to_wire(prediction), allow_nan=False)
        with self._lock:
            if self._has_failed:
                return
            try:
                self._file.write(text + "\n")
            except OSError as error:
                self._has_failed = True
                self._on_error(error)

    def close(self) -> None:
        """Closes the file."""
        with self._lock, contextlib.suppress(OSError):  # the error was reported already
            self._file.close()


def format_signature(found: Signature) -> str:
    """A signature as text, without loss."""
    return base64.b64encode(found.astype(_LITTLE_ENDIAN).tobytes()).decode("ascii")


def parse_signature(text: object) -> Signature:
    """The signature of such a text. Raises ValueError for anything else."""
    try:
        found = np.frombuffer(base64.b64decode(str(text), validate=True), _LITTLE_ENDIAN).astype(np.float32)
    except ValueError:
        found = np.zeros(0, np.float32)
    if not isinstance(text, str) or found.shape != (SIGNATURE_LENGTH,) or not np.isfinite(found).all():
        raise ValueError(f"signature: is not allowed; it must be what run --record wrote: {SIGNATURE_LENGTH} numbers")
    return found
