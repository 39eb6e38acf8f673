"""ReplaceableModel: a model in whose place another one can be put while streams are asking it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from framesift.frame import Frame
from framesift.models.model import Model, ModelNotes
from framesift.prediction.prediction import Prediction, Task


@dataclass(slots=True, eq=False)
class _Holder:
    """A model, how many predictions it is making at this moment, and whether it is to be closed after them."""

    model: Model
    asked: int = 0
    is_over: bool = False


class ReplaceableModel:
    """A Model: see there. What it says of itself is said by the present one. Thread-safe."""

    def __init__(self, model: Model) -> None:
        """model: the first one; it is closed by this one."""
        self._lock = threading.Lock()
        self._holder = _Holder(model)

    @property
    def model_id(self) -> str:
        """See Model."""
        return self._holder.model.model_id

    @property
    def task(self) -> Task | None:
        """See Model."""
        return self._holder.model.task

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """See Model."""
        return self._holder.model.class_names

    @property
    def gives_embeddings(self) -> bool | None:
        """See Model."""
        return self._holder.model.gives_embeddings

    @property
    def description(self) -> str:
        """See Model."""
        return self._holder.model.description

    @property
    def notes(self) -> ModelNotes:
        """See Model."""
        return self._holder.model.notes

    def predict(self, frame: Frame) -> Prediction:
        """See Model. A prediction that has begun is made by the model with which it began."""
        with self._lock:
            holder = self._holder
            holder.asked += 1
        try:
            return holder.model.predict(frame)
        finally:
            with self._lock:
                holder.asked -= 1
                closes = holder.is_over and not holder.asked
            if closes:
                holder.model.close()

    def replace(self, model: Model) -> None:
        """Let another model make all predictions from now on. The old one is closed after its last prediction."""
        with self._lock:
            old, self._holder = self._holder, _Holder(model)
            old.is_over = True
            closes = not old.asked
        if closes:
            old.model.close()

    def close(self) -> None:
        """See Model."""
        self._holder.model.close()
