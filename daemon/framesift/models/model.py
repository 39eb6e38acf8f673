"""The interface of all models, and the ways in which a model may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from framesift.frame import Frame
from framesift.prediction.prediction import Prediction, Task


class ModelFailed(Exception):
    """The model has no prediction for this frame. The text is the reason."""


class ModelUnavailable(ModelFailed):
    """The model can't be asked now, for any frame; later it may be. The text is the reason, for the operator.

    retry_after_s: until then it fails at once, without trying. None if unknown.
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class ModelLoadError(Exception):
    """The model can't be used at all. The text says what is wrong, where, and what would be right."""


@dataclass(frozen=True, slots=True)
class ModelNotes:
    """What the operator should know about a model; "" if there is nothing to know.

    preprocessing: what is done to a picture before the network gets it. guessed: which parts of that are guessed.
    class_names_advice: how the operator can name its classes, if they have no names.
    """

    preprocessing: str = ""
    guessed: str = ""
    class_names_advice: str = ""


class Model(Protocol):
    """A frame in, a prediction out. Thread-safe."""

    @property
    def model_id(self) -> str:
        """The name of the model in predictions and tags."""
        ...

    @property
    def task(self) -> Task | None:
        """What kind of predictions it gives; None if only its predictions tell."""
        ...

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The class names by class id; None if unknown."""
        ...

    @property
    def gives_embeddings(self) -> bool | None:
        """Whether its predictions have embeddings; None if only they tell."""
        ...

    @property
    def description(self) -> str:
        """One line for the operator about what was loaded."""
        ...

    @property
    def notes(self) -> ModelNotes:
        """More for the operator."""
        ...

    def predict(self, frame: Frame) -> Prediction:
        """Returns the prediction, in pixels of the frame. Raises only ModelFailed (or ModelUnavailable)."""
        ...

    def close(self) -> None:
        """Releases what the model holds. After that, `predict` raises ModelFailed."""
        ...
