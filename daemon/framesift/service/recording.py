"""The file for predictions that `framesift run --record` names."""

from __future__ import annotations

from pathlib import Path

from framesift.config.errors import ConfigError
from framesift.sampling.recorder import Recorder
from framesift.settings import Settings
from framesift.telemetry import Telemetry


def open_recorder(path: Path, settings: Settings, telemetry: Telemetry) -> Recorder:
    """Open the file. Raises ConfigError if it can't be written, or if a model replays it."""
    models = (use.settings for use in settings.model_uses)
    replayed = [model.path for model in models if model.type == "recorded"]
    if path.exists() and any(map(path.samefile, replayed)):
        raise ConfigError(f"--record {path}: the model replays this file")
    try:
        return Recorder(
            path,
            lambda error: telemetry.error("record_failed", path=path, why=str(error)),
            seed=settings.seed,
        )
    except OSError as error:
        raise ConfigError(f"--record {path}: {error.strerror}") from None
