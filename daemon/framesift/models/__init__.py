"""Models: a frame in, a prediction out.

A new model is one new file with settings of its own `type`, and a line each in the union and in a table below.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from framesift.http_client import Exchanges
from framesift.models.inference_server import InferenceServerModel
from framesift.models.inference_settings import InferenceServerSettings
from framesift.models.model import Model, ModelFailed, ModelLoadError, ModelNotes, ModelUnavailable
from framesift.models.onnx.onnx_model import OnnxModel
from framesift.models.onnx.onnx_settings import OnnxSettings
from framesift.models.python import PythonModel, PythonSettings
from framesift.models.recorded import RecordedModel, RecordedSettings
from framesift.models.replaceable_model import ReplaceableModel
from framesift.models.stub import StubModel, StubSettings

ModelSettings = Annotated[
    StubSettings | RecordedSettings | PythonSettings | OnnxSettings | InferenceServerSettings,
    Field(discriminator="type"),
]

MODELS: dict[str, Callable[[Any], Model]] = {
    "stub": StubModel,
    "recorded": RecordedModel,
    "python": PythonModel,
    "onnx": OnnxModel,
}
# Models that run elsewhere. They get the network settings, too.
REMOTE_MODELS: dict[str, Callable[..., Model]] = {
    "inference_server": InferenceServerModel,
}


def load(
    settings: ModelSettings,
    *,
    ca_file: Path | None = None,
    proxy: str | None = None,
    exchanges: Exchanges | None = None,
) -> Model:
    """Loads a model. Raises ModelLoadError.

    For a model that runs elsewhere: ca_file, proxy, from the network settings, and exchanges, which cuts its requests.
    """
    if settings.type in REMOTE_MODELS:
        return REMOTE_MODELS[settings.type](settings, ca_file=ca_file, proxy=proxy, exchanges=exchanges)
    return MODELS[settings.type](settings)


def files_of(settings: ModelSettings) -> tuple[Path, ...]:
    """The files from which a model is loaded, where another one may take its place in a run; none for other models."""
    if not isinstance(settings, OnnxSettings):
        return ()
    return tuple(file for file in (settings.path, settings.class_names_file) if file is not None)


__all__ = [
    "MODELS",
    "REMOTE_MODELS",
    "Model",
    "ModelFailed",
    "ModelLoadError",
    "ModelNotes",
    "ModelSettings",
    "ModelUnavailable",
    "ReplaceableModel",
    "files_of",
    "load",
]
