"""What a camera of the benchmark shows over some days, with the truth that labels what is collected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from learning.day import CLIP_FRAMES, FRAME_S
from learning.softmax import Floats, Labels, RandomLayer, probabilities, train

Numbers = NDArray[np.int64]
# A Monday, 0 o'clock UTC: days of the stream are days of the limits.
BEGIN_S = 1_788_739_200.0
_LEAST_CONFIDENCE = 0.1


@dataclass(frozen=True, eq=False)
class Examples:
    """What a model can learn from, or is asked about: inputs of shape (number, size), and what each truly is.

    For objects, class 0 is the background: a place where nothing is.
    """

    inputs: Floats
    truth: Labels


@dataclass(frozen=True, eq=False)
class Camera:
    """The frames of some days, each with its items: one for a label, one for each place where an object may be.

    days: how many; they are equally long. signatures: of each frame, as `run --record` writes them. first: where the
    items of each frame begin, and the end of the last one. boxes: of each item (x, y, width, height; pixels; x and y
    are the centre), None for labels. picture: width and height. start: what is labelled before the first day. test:
    what the models are scored on: as much of each light and, for labels, of each class.
    """

    name: str
    task: Literal["classification", "object-detection"]
    class_names: tuple[str, ...]
    days: int
    signatures: Sequence[str]
    first: Numbers
    items: Examples
    boxes: Floats | None
    picture: tuple[int, int]
    start: Examples
    test: Examples

    @property
    def frames_a_day(self) -> int:
        """How many frames each day has."""
        return len(self.signatures) // self.days


class Learner:
    """One model on one camera: frozen by day, trained again at night from all that was collected until then."""

    def __init__(self, camera: Camera, seed: int) -> None:
        """seed: of the part of the model that is never trained. Begins as after `learn([])`."""
        self._camera = camera
        layer = RandomLayer.of(camera.start.inputs, np.random.default_rng((seed, 11)))
        self._items = layer.features(camera.items.inputs)
        self._start = layer.features(camera.start.inputs)
        self._test = layer.features(camera.test.inputs)
        self.learn([])

    def learn(self, collected: Sequence[int]) -> None:
        """Trains anew, from the start and the labels of the frames with these numbers."""
        camera = self._camera
        of = [np.arange(camera.first[frame], camera.first[frame + 1]) for frame in collected]
        items = np.concatenate(of) if of else np.zeros(0, np.int64)
        features = np.concatenate([self._start, self._items[items]])
        truth = np.concatenate([camera.start.truth, camera.items.truth[items]])
        self._weights = train(features, truth, len(camera.class_names))

    def score(self) -> float:
        """How good the model is on the test: accuracy for labels, mean average precision for objects."""
        found, truth = probabilities(self._test, self._weights), self._camera.test.truth
        if self._camera.task == "classification":
            return float((found.argmax(axis=1) == truth).mean())
        classes = range(1, len(self._camera.class_names))
        return float(np.mean([average_precision(found[:, one], truth == one) for one in classes]))

    def recorded(self, day: int) -> Iterator[dict[str, Any]]:
        """The frames of a day with the model's predictions, as `run --record` writes them."""
        camera = self._camera
        count = camera.frames_a_day
        clip_s = 86_400 * CLIP_FRAMES / count
        begin = camera.first[day * count]
        found = probabilities(self._items[begin : camera.first[(day + 1) * count]], self._weights)
        for frame in range(day * count, (day + 1) * count):
            of_items = found[camera.first[frame] - begin : camera.first[frame + 1] - begin]
            clip, step = divmod(frame - day * count, CLIP_FRAMES)
            yield {
                "stream": camera.name,
                "frame": frame,
                "captured_at": BEGIN_S + 86_400 * day + clip_s * clip + FRAME_S * step,
                "signature": camera.signatures[frame],
                "task_type": camera.task,
                "image": {"width": camera.picture[0], "height": camera.picture[1]},
                **(self._label(of_items[0]) if camera.boxes is None else self._objects(of_items, camera.first[frame])),
            }

    def _label(self, of_classes: Floats) -> dict[str, Any]:
        names = self._camera.class_names
        scores = [
            {"class": name, "class_id": number, "confidence": float(of_classes[number])}
            for number, name in enumerate(names)
        ]
        best = int(of_classes.argmax())
        return {"predictions": scores, "top": names[best], "confidence": float(of_classes[best])}

    def _objects(self, of_items: Floats, first: int) -> dict[str, Any]:
        assert self._camera.boxes is not None
        best = of_items[:, 1:].argmax(axis=1) + 1
        objects = []
        for number, of in enumerate(best):
            confidence = float(of_items[number, of])
            if confidence >= _LEAST_CONFIDENCE:
                x, y, width, height = map(float, self._camera.boxes[first + number])
                box = {"x": x, "y": y, "width": width, "height": height, "confidence": confidence}
                objects.append({**box, "class": self._camera.class_names[of], "class_id": int(of)})
        return {"predictions": objects}

    def boxes(self, collected: Sequence[int]) -> int:
        """How many objects are to be labelled in these frames; for labels, one in each."""
        if self._camera.boxes is None:
            return len(collected)
        first, truth = self._camera.first, self._camera.items.truth
        return sum(int(np.count_nonzero(truth[first[frame] : first[frame + 1]])) for frame in collected)


def average_precision(confidence: Floats, is_true: NDArray[np.bool_]) -> float:
    """The mean, over all true items, of the precision among the items with at least their confidence."""
    ordered = is_true[np.argsort(-confidence, kind="stable")]
    precision = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return float(precision[ordered].mean())
