"""The stub model: it predicts nothing, so that pictures can be collected before there is a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from framesift.config.schema import StrictModel, Tag
from framesift.frame import Frame
from framesift.models.model import ModelFailed, ModelNotes
from framesift.prediction.prediction import Prediction, Stub, Task


class StubSettings(StrictModel):
    """No model: pictures are collected before there is one."""

    type: Annotated[Literal["stub"], Field(description="No model yet.")] = "stub"
    task: Annotated[Task, Field(description="What the collected pictures will be labelled for.")] = (
        Task.OBJECT_DETECTION
    )
    model_id: Annotated[Tag, Field(description="Its name in predictions.")] = "stub/0"


class StubModel:
    """Answers every frame with a stub prediction."""

    class_names: tuple[str, ...] | None = None
    notes = ModelNotes()
    gives_embeddings: bool | None = False

    def __init__(self, settings: StubSettings) -> None:
        self.model_id = settings.model_id
        self.task: Task | None = settings.task
        self.description = f"no model (stub), for {settings.task}"
        self._stub_task = settings.task
        self._closed = False

    def predict(self, frame: Frame) -> Prediction:
        """Returns a stub. Raises ModelFailed after `close`."""
        if self._closed:
            raise ModelFailed("the model is closed")
        return Stub(task=self._stub_task, width=frame.width, height=frame.height, model_id=self.model_id, time_s=0.0)

    def close(self) -> None:
        """Makes `predict` fail from now on."""
        self._closed = True
