"""Another model is put in the place of one: nobody who asks is disturbed; the old one is closed after its answers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from framesift.frame import Frame
from framesift.models import ReplaceableModel
from framesift.models.model import ModelNotes
from framesift.prediction.prediction import Prediction, Stub, Task
from rigs.networks import blank, frame


class Slow:
    """A model that answers when it may, and tells whether it was closed."""

    def __init__(self, model_id: str) -> None:
        self.model_id = self.description = model_id
        self.task = Task.OBJECT_DETECTION
        self.class_names = (model_id,)
        self.gives_embeddings = False
        self.notes = ModelNotes(preprocessing=model_id)
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.closed = 0

    def predict(self, frame: Frame) -> Prediction:
        self.asked.set()
        assert self.may_answer.wait(20.0)
        assert not self.closed
        return Stub(task=self.task, width=frame.width, height=frame.height, model_id=self.model_id, time_s=0.0)

    def close(self) -> None:
        self.closed += 1


def test_a_prediction_that_has_begun_is_made_by_the_old_model_which_is_closed_after_it() -> None:
    old, new = Slow("old"), Slow("new")
    place = ReplaceableModel(old)
    with ThreadPoolExecutor(2) as pool:
        begun = pool.submit(place.predict, frame(blank(8, 8)))
        assert old.asked.wait(20.0)
        place.replace(new)
        assert not old.closed
        new.may_answer.set()
        assert place.predict(frame(blank(8, 8))).model_id == "new"
        assert not old.closed
        old.may_answer.set()
        assert begun.result(20.0).model_id == "old"
    assert (old.closed, new.closed) == (1, 0)
    place.close()
    assert (old.closed, new.closed) == (1, 1)


def test_what_it_says_of_itself_is_said_by_the_present_model() -> None:
    old, new = Slow("old"), Slow("new")
    place = ReplaceableModel(old)
    for present in (old, new):
        if present is new:
            place.replace(new)
        said = (place.model_id, place.class_names, place.description, place.notes, place.task, place.gives_embeddings)
        assert said == (
            present.model_id,
            present.class_names,
            present.description,
            present.notes,
            Task.OBJECT_DETECTION,
            False,
        )
    assert old.closed == 1
