"""The null model: says nothing of any picture, so that frames can be collected before there is a model."""

from __future__ import annotations

from typing import Literal

from framesift.config.schema import StrictModel, Tag
from framesift.frame import Frame
from framesift.models.model import ModelFailed, ModelNotes
from framesift.prediction.prediction import Prediction, Stub, Task


class StubSettings(StrictModel):
    """task: what the collected pictures are to be labelled for."""

    type: Literal["stub"] = "stub"
    task: Task = Task.OBJECT_DETECTION
    model_id: Tag = "stub/0"


class StubModel:
    class_names: tuple[str, ...] | None = None
    notes = ModelNotes()

    def __init__(self, options: StubSettings) -> None:
        self.model_id = options.model_id
        self.task: Task | None = options.task
        self.description = f"the null model, for {options.task}"
        self._stub = options.task
        self._closed = False

    def predict(self, frame: Frame) -> Prediction:
        if self._closed:
            raise ModelFailed("the model is closed")
        return Stub(task=self._stub, width=frame.width, height=frame.height, model_id=self.model_id, time_s=0.0)

    def close(self) -> None:
        self._closed = True
