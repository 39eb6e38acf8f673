"""Models: a frame in, a prediction out.

A new model is one new file, with options of its own `type`, and its line in the union and in the table below.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from framesift.models.inference_server import InferenceServerModel
from framesift.models.inference_settings import InferenceServerOptions
from framesift.models.model import Model, ModelAway, ModelFailed, ModelUnusable, Remarks
from framesift.models.onnx.onnx_model import OnnxModel
from framesift.models.onnx.onnx_settings import OnnxOptions
from framesift.models.python import PythonModel, PythonOptions
from framesift.models.recorded import RecordedModel, RecordedOptions, Recorder
from framesift.models.stub import StubModel, StubOptions

ModelOptions = Annotated[
    StubOptions | RecordedOptions | PythonOptions | OnnxOptions | InferenceServerOptions, Field(discriminator="type")
]

_LOADERS: dict[str, Callable[[Any], Model]] = {
    "stub": StubModel,
    "recorded": RecordedModel,
    "python": PythonModel,
    "onnx": OnnxModel,
}


def load(options: ModelOptions, *, ca_file: Path | None = None, proxy: str | None = None) -> Model:
    """Loads a model. ca_file, proxy: of the settings of the network, for a model that is elsewhere.

    Raises ModelUnusable, which says what is wrong and where.
    """
    if isinstance(options, InferenceServerOptions):
        return InferenceServerModel(options, ca_file=ca_file, proxy=proxy)
    return _LOADERS[options.type](options)


__all__ = ["Model", "ModelAway", "ModelFailed", "ModelOptions", "ModelUnusable", "Recorder", "Remarks", "load"]
