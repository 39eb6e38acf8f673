"""The model pass: a model runs once over a video, and what it says is kept beside the video for the next time.

The file is that of `run --record`. Its name has a key of the video, of the model and of what else changes predictions;
where one of these changes, another file is made. A pass that is cut off leaves none.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from framesift import __version__
from framesift.clock.clock import Clock
from framesift.models import Model, ModelFailed, ModelSettings, ModelUnavailable
from framesift.sampling.recorder import Recorder
from framesift.simulation.errors import SimulationError
from framesift.streams import Stream, StreamLost, StreamSettings

_NOT_READ = {"name", "tags", "policy", "privacy", "model", "snapshot", "username", "password", "loop", "pace"}
_LONGEST_MODULE = 1 << 20


@dataclass(frozen=True, slots=True)
class PassResult:
    """frames: that the model has seen. failed: on which it failed; they are not in the recording."""

    frames: int
    failed: int


def recording_of(video: StreamSettings, model: ModelSettings) -> Path:
    """Where the predictions of this model for a video are kept, whether they are there or not. Raises OSError.

    video: a stream whose source is a file.
    """
    facts = [__version__, _file_facts(video.path), _settings_facts(model)]
    facts.append(video.model_dump(mode="json", include=StreamSettings.model_fields.keys() - _NOT_READ - {"source"}))
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
    return video.path.with_name(f"{video.path.name}.{key}.predictions.jsonl")


def run_model(
    video: StreamSettings,
    model: Model,
    recording: Path,
    *,
    clock: Clock,
    on_frame: Callable[[float | None], None] = lambda _: None,
) -> PassResult:
    """Shows the model each frame of a video, and writes what it says into a file.

    on_frame: called after each with its position in the video, in seconds. Raises SimulationError.
    """
    partial = recording.with_name(f"{recording.name}.partial")
    errors: list[OSError] = []
    try:
        recorder = Recorder(partial, errors.append)
    except OSError as error:
        raise SimulationError(
            f"{partial}: {error.strerror}; predictions are kept beside the video: give a copy in a folder of your own"
        ) from None
    stop = threading.Event()
    stream = Stream(video, clock=clock, stop=stop, rng=random.Random(0))
    frames = failed = 0
    try:
        for frame in stream.frames():
            try:
                recorder.record(frame, model.predict(frame))
            except ModelUnavailable as error:
                raise SimulationError(f"the model can't be asked: {error}") from None
            except ModelFailed:
                failed += 1
            frames += 1
            on_frame(frame.media_s)
            if errors:
                raise SimulationError(f"{partial}: {errors[0].strerror}")
        recorder.close()
        if not frames:
            raise SimulationError(f"{video.redacted_source}: there is no picture in it")
        partial.replace(recording)
    except StreamLost as lost:
        raise SimulationError(str(lost)) from None
    finally:
        stop.set()
        stream.close()
        recorder.close()
        partial.unlink(missing_ok=True)
    return PassResult(frames, failed)


def _file_facts(path: Path) -> list[Any]:
    found = path.stat()
    return [path.name, found.st_size, found.st_mtime_ns]


def _settings_facts(model: BaseModel) -> dict[str, Any]:
    """The settings of a model, with the size and the time of each file that they name."""
    facts: dict[str, Any] = {}
    for name, value in model:
        facts[name] = value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
        if isinstance(value, Path) and value.is_file():
            facts[f"{name} as it is"] = _file_facts(value)
        elif isinstance(value, Path) and value.is_dir():  # a module in Python
            files = sorted(value.glob("*.py"))
            facts[f"{name} as it is"] = [_file_facts(file) for file in files]
    return facts
