"""Models: a frame in, a prediction out.

A new model is one new file, with options of its own `type`, and its line in the union and in the table below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from framesift.models.model import Model, ModelAway, ModelFailed, ModelUnusable
from framesift.models.onnx import OnnxModel
from framesift.models.onnx_options import OnnxOptions
from framesift.models.python import PythonModel, PythonOptions
from framesift.models.recorded import RecordedModel, RecordedOptions, Recorder
from framesift.models.stub import StubModel, StubOptions

ModelOptions = Annotated[StubOptions | RecordedOptions | PythonOptions | OnnxOptions, Field(discriminator="type")]

_LOADERS: dict[str, Callable[[Any], Model]] = {
    "stub": StubModel,
    "recorded": RecordedModel,
    "python": PythonModel,
    "onnx": OnnxModel,
}


def load(options: ModelOptions) -> Model:
    """Loads a model. Raises ModelUnusable, which says what is wrong and where."""
    return _LOADERS[options.type](options)


__all__ = ["Model", "ModelAway", "ModelFailed", "ModelOptions", "ModelUnusable", "Recorder", "load"]
