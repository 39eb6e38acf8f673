"""Written digits as a video: one digit before the camera at a time, which the model has to name.

The digits are those of scikit-learn's package (8 x 8 pixels, 1,797 of them), which is not imported: only its file is
read. Two of the ten classes are rare.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from framesift.sampling.recorder import format_signature
from framesift.strategies.near_duplicate import signature
from learning.camera import Camera, Examples
from learning.day import CLIP_FRAMES, LIGHTS, scenes_of
from learning.softmax import Floats, Labels

CLIPS = 480  # of a day: one every three minutes
_TESTED = 60  # of each class
_START = 4  # of each class, by day
_PICTURE = 64, 48
# How bright the picture is, and its noise, in parts of the whole range.
_GAIN = {"day": 1.0, "dusk": 0.55, "night": 0.3}
# The noise of a pixel is twice that: four by four of them make one of the inputs.
_NOISE = {"day": 0.02, "dusk": 0.025, "night": 0.03}


def digits_camera(seed: int, days: int, clips: int) -> Camera:
    """Some days of digits. clips: of a day. The same arguments give the same days."""
    rng = np.random.default_rng((seed, 1))
    images, classes = _load()
    order = rng.permutation(len(images))
    test = _first_of_each(order, classes, _TESTED)
    order = order[~np.isin(order, test)]
    start = _first_of_each(order, classes, _START)
    stream = order[~np.isin(order, start)]
    common = rng.permutation(10)
    share = np.append(1 / np.arange(1, 9) ** 0.7, [0, 0])
    pools = {of: iter(np.tile(stream[classes[stream] == of], 100)) for of in range(10)}
    backdrop = _backdrop(rng)
    inputs: list[Floats] = []
    truth: list[int] = []
    signatures: list[str] = []
    for day in range(days):
        for scene in scenes_of(np.random.default_rng((seed, 2, day)), clips):
            of = int(common[8 + rng.integers(2)] if scene.is_rare else rng.choice(common, p=share / share.sum()))
            picture = _picture(images[next(pools[of])], backdrop, rng)
            for _ in range(scene.clips * CLIP_FRAMES):
                seen, sign = _seen(picture, scene.light, rng)
                inputs.append(seen)
                truth.append(of)
                signatures.append(sign)
    return Camera(
        name="digits",
        task="classification",
        class_names=tuple(map(str, range(10))),
        days=days,
        signatures=signatures,
        first=np.arange(len(truth) + 1),
        items=Examples(np.array(inputs), np.array(truth)),
        boxes=None,
        picture=_PICTURE,
        start=_examples(start, ("day",), images, classes, backdrop, rng),
        test=_examples(test, LIGHTS, images, classes, backdrop, rng),
    )


def _load() -> tuple[Floats, Labels]:
    """The images, of shape (number, 8, 8) and in [0, 1], and the digit of each."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.submodule_search_locations is None:
        raise SystemExit("the digits are missing: make bench-learning installs them (requirements/digits.txt)")
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, delimiter=",")
    return (rows[:, :64].reshape(-1, 8, 8) / 16).astype(np.float32), rows[:, 64].astype(np.int64)


def _backdrop(rng: np.random.Generator) -> Floats:
    coarse = rng.uniform(0.0, 0.3, (6, 8))
    return np.asarray(cv2.resize(coarse, _PICTURE, interpolation=cv2.INTER_CUBIC), np.float32)


def _first_of_each(order: Labels, classes: Labels, count: int) -> Labels:
    return np.concatenate([order[classes[order] == of][:count] for of in range(10)])


def _picture(image: Floats, backdrop: Floats, rng: np.random.Generator) -> Floats:
    """The digit before its backdrop, by day and without noise: shape (48, 64)."""
    picture: Floats = backdrop.copy()
    left, top = 16 + rng.integers(-1, 2), 8 + rng.integers(-1, 2)
    large = cv2.resize(image, (32, 32), interpolation=cv2.INTER_LINEAR)
    place = picture[top : top + 32, left : left + 32]
    place[:] = np.maximum(place, large)
    return picture


def _seen(picture: Floats, light: str, rng: np.random.Generator) -> tuple[Floats, str]:
    """What the model sees of a picture (the digit's part of it, 10 x 10), and the frame's signature."""
    clean, noise = _GAIN[light] * picture, rng.normal(0, 2 * _NOISE[light], picture.shape)
    inputs = cv2.resize((clean + noise)[4:44, 12:52], (10, 10), interpolation=cv2.INTER_AREA)
    # A signature is the mean of thousands of pixels of a camera's picture; here it would be that of 16.
    pixels = (np.clip(clean + noise / 16, 0, 1) * 255).astype(np.uint8)
    found = signature(np.repeat(pixels[:, :, np.newaxis], 3, axis=2))
    flat = inputs.reshape(-1).astype(np.float32)
    return (flat - flat.mean()) / (flat.std() + np.float32(0.03)), format_signature(found)


def _examples(
    of: Labels, lights: tuple[str, ...], images: Floats, classes: Labels, backdrop: Floats, rng: np.random.Generator
) -> Examples:
    inputs = [_seen(_picture(images[n], backdrop, rng), light, rng)[0] for light in lights for n in of]
    return Examples(np.array(inputs), np.tile(classes[of], len(lights)))
