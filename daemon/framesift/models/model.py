"""What every model promises, and the ways in which it may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from framesift.frame import Frame
from framesift.prediction.prediction import Prediction, Task


class ModelFailed(Exception):
    """This frame has no prediction. The text says why."""


class ModelUnavailable(ModelFailed):
    """The model can't be asked now, whatever the frame; later it may be. The text says why, for the operator.

    retry_after_s: before then it answers the same, without having looked; None where it doesn't know.
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class ModelLoadError(Exception):
    """The model can't be used at all. The text says what is wrong, where, and what would be right."""


@dataclass(frozen=True, slots=True)
class ModelNotes:
    """What the operator should know of a model, "" where there is nothing to know.

    preparation: what is done to a picture before the network sees it. left_open: what of that is a guess. unnamed: how
    the operator gives its classes the names that they lack.
    """

    preprocessing: str = ""
    guessed: str = ""
    class_names_advice: str = ""


class Model(Protocol):
    """A frame in, a prediction out. Safe to call from several threads at once.

    model_id: what predictions and tags call it. task: None where only its predictions will tell. class_names: by class
    id, None where they are unknown. description: one line for the operator on what was loaded; remarks: and more.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def task(self) -> Task | None: ...

    @property
    def class_names(self) -> tuple[str, ...] | None: ...

    @property
    def description(self) -> str: ...

    @property
    def notes(self) -> ModelNotes: ...

    def predict(self, frame: Frame) -> Prediction:
        """The prediction in the frame's pixels. Raises ModelFailed (ModelUnavailable among it), and nothing else."""
        ...

    def close(self) -> None:
        """Gives back what the model holds; afterwards `predict` fails."""
        ...
