"""The rendered street of the demo as a camera: the model has to tell what stands in each of the given places.

Every frame is rendered, and every object in it is true. What is simplified: the model does not search the picture. It
is given the places of the objects (shifted and scaled by a tenth) and a few places in which nothing is, looks at 6 x 8
pixels of each, and says how sure it is of each class, or of nothing. Scenes with a bicycle are the rare ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.demo.scene import CLASS_NAMES, Street
from framesift.sampling.recorder import format_signature
from framesift.strategies.near_duplicate import Signature, signature
from learning.camera import Camera, Examples
from learning.day import CLIP_FRAMES, FRAME_S, LIGHTS, Scene, scenes_of
from learning.softmax import Floats, Labels

_WIDTH, _HEIGHT = 256, 144
_EMPTY_PLACES = 6
_LEAST_VISIBLE = 0.3
_START_CLIPS = 8
CLIPS = 240  # of a day: one every six minutes
TESTED = 25  # frames of each light, with a bicycle, and as many without
_RARE = "bicycle"
# Noise between two showings of the same frame: of an input, and of a signature.
_NOISE = {"day": 0.01, "dusk": 0.02, "night": 0.03}
_SIGNATURE_NOISE = 0.001
# How many of the scenes show the street without anybody.
_EMPTY = {"day": 0.1, "dusk": 0.3, "night": 0.7}
# Where in the street's story it is day, dusk and night, in parts of it.
_STORY = {"day": (0.0, 0.46), "dusk": (0.48, 0.58), "night": (0.6, 1.0)}
_STRIDE = 20  # frames of the story from the begin of one clip to the next: two seconds
_Kind = tuple[str, bool]


@dataclass(frozen=True, eq=False)
class _View:
    """One rendered frame: its signature, and of each place the box, the input, and what is there (0: nothing)."""

    signature: Signature
    boxes: Floats
    inputs: Floats
    truth: Labels


def street_camera(seed: int, days: int, clips: int, *, tested: int = TESTED) -> Camera:
    """Some days of a street. clips: of a day. tested: as TESTED. The same arguments give the same days."""
    rng = np.random.default_rng((seed, 1))
    of_days = [scenes_of(np.random.default_rng((seed, 2, day)), clips) for day in range(days)]
    clips_of = _StreetClips(seed, [scene for day in of_days for scene in day], tested)
    start = [view for _ in range(_START_CLIPS) for view in clips_of.next("day", False, 1)]
    views: list[_View] = []
    lights: list[str] = []
    for scene in (scene for day in of_days for scene in day):
        is_empty = not scene.is_rare and rng.random() < _EMPTY[scene.light]
        views += clips_of.next(scene.light, scene.is_rare, CLIP_FRAMES, is_empty=is_empty) * scene.clips
        lights += [scene.light] * (scene.clips * CLIP_FRAMES)
    test = [
        view
        for light in LIGHTS
        for rare in (False, True)
        for _ in range(tested)
        for view in clips_of.next(light, rare, 1)
    ]
    noisy = [
        view.inputs + rng.normal(0, _NOISE[light], view.inputs.shape).astype(np.float32)
        for view, light in zip(views, lights, strict=True)
    ]
    return Camera(
        name="street",
        task="object-detection",
        class_names=("", *CLASS_NAMES),
        days=days,
        signatures=[
            format_signature(view.signature + rng.normal(0, _SIGNATURE_NOISE, 192).astype(np.float32)) for view in views
        ],
        first=np.cumsum([0, *(len(view.truth) for view in views)]),
        items=Examples(np.concatenate(noisy), np.concatenate([view.truth for view in views])),
        boxes=np.concatenate([view.boxes for view in views]),
        picture=(_WIDTH, _HEIGHT),
        start=_examples(start),
        test=_examples(test),
    )


def _examples(views: list[_View]) -> Examples:
    return Examples(np.concatenate([view.inputs for view in views]), np.concatenate([view.truth for view in views]))


class _StreetClips:
    """Clips of one street's story, in its order, none of them twice while there are more."""

    def __init__(self, seed: int, wanted: list[Scene], tested: int) -> None:
        """wanted: the scenes, by whose number the story is as long as they need. tested: as TESTED."""
        need = {light: sum(scene.light == light for scene in wanted) + 4 * tested for light in LIGHTS}
        need["day"] += _START_CLIPS
        frames = max(int(1.3 * _STRIDE * need[light] / (end - begin)) for light, (begin, end) in _STORY.items())
        self._rng = np.random.default_rng((seed, 3))
        self._street = Street(seed=seed, width=_WIDTH, height=_HEIGHT, frames=frames + CLIP_FRAMES, fps=1 / FRAME_S)
        self._at = {light: self._positions(light) for light in LIGHTS}
        self._sizes = np.full((1, 2), 16, np.float32)  # of the objects that were seen last
        self._found: dict[_Kind, list[int]] = {(light, rare): [] for light in LIGHTS for rare in (False, True)}

    def _positions(self, light: str) -> Iterator[int]:
        begin, end = (int(part * self._street.frames) for part in _STORY[light])
        yield from range(begin, end - CLIP_FRAMES, _STRIDE)

    def next(self, light: str, is_rare: bool, frames: int, *, is_empty: bool = False) -> list[_View]:
        """The next clip of a kind: the views of its frames. is_empty: without its actors."""
        found = self._found[light, is_rare]
        while not found:
            at = next(self._at[light], None)
            if at is None:  # the story has too few of them: any of the light
                self._at[light] = self._positions(light)
                at = next(self._at[light])
                found.append(at)
                break
            has_rare = any(one.class_name == _RARE for one in self._street.truth(at))
            self._found[light, has_rare].append(at)
        at = found.pop(0)
        places: list[Floats] = []
        return [self._view(at + step, places, is_empty) for step in range(frames)]

    def _view(self, number: int, empty: list[Floats], is_empty: bool) -> _View:
        """A frame. empty: places in which nothing is, chosen at the first frame of a clip, and kept for the others."""
        picture = self._street.render_empty(number) if is_empty else self._street.render(number)
        objects = () if is_empty else self._street.truth(number)
        seen = [one for one in objects if one.visible >= _LEAST_VISIBLE]
        boxes = np.array([(one.x, one.y, one.width, one.height) for one in seen], np.float32).reshape(-1, 4)
        if not empty:
            self._sizes = boxes[:, 2:] if len(boxes) else self._sizes
            sizes = self._sizes[self._rng.integers(len(self._sizes), size=_EMPTY_PLACES)]
            middles = self._rng.uniform((0.05, 0.25), (0.95, 0.95), (len(sizes), 2)) * (_WIDTH, _HEIGHT)
            empty.append(np.concatenate([middles, sizes], axis=1).astype(np.float32))
        nothing = empty[0][_overlap(empty[0], boxes) < 0.2]
        places = np.concatenate([boxes, nothing])
        places[:, :2] += self._rng.uniform(-0.1, 0.1, (len(places), 2)) * places[:, 2:]
        places[:, 2:] *= self._rng.uniform(0.9, 1.1, (len(places), 2))
        truth = [CLASS_NAMES.index(one.class_name) + 1 for one in seen] + [0] * len(nothing)
        return _View(signature(picture), places, _inputs(picture, places), np.array(truth, np.int64))


def _overlap(boxes: Floats, others: Floats) -> Floats:
    """Of each box, the largest part of it that lies in one of the others."""
    if not len(others):
        return np.zeros(len(boxes), np.float32)
    half, half_others = boxes[:, np.newaxis, 2:] / 2, others[:, 2:] / 2
    low = np.maximum(boxes[:, np.newaxis, :2] - half, others[:, :2] - half_others)
    high = np.minimum(boxes[:, np.newaxis, :2] + half, others[:, :2] + half_others)
    common = np.prod(np.maximum(high - low, 0), axis=2) / np.prod(boxes[:, 2:], axis=1, keepdims=True)
    return np.asarray(common.max(axis=1), np.float32)


def _inputs(picture: NDArray[np.uint8], places: Floats) -> Floats:
    """What the model sees of each place: 6 x 8 pixels of it and its edge, its size, and how far down it lies."""
    found = []
    for x, y, width, height in places:
        left, top = int(max(x - 0.6 * width, 0)), int(max(y - 0.6 * height, 0))
        part = picture[top : max(int(y + 0.6 * height), top + 1), left : max(int(x + 0.6 * width), left + 1)]
        if not part.size:
            part = picture[-1:, -1:]
        pixels = cv2.resize(part, (6, 8), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1) / 255
        seen = (pixels - pixels.mean()) / (pixels.std() + 0.05)
        found.append(np.append(seen, (width / 32, height / 32, y / _HEIGHT)))
    return np.array(found, np.float32).reshape(-1, 6 * 8 * 3 + 3)
