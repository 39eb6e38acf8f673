"""The detector of the stand-in for the inference server: finds rectangles of pure colours; brightness is confidence.

    pixels = painted(640, 480, Rectangle("red", 100, 50, 300, 250, confidence=0.8))

An object is a connected area that is blue, green, red or white; what is grey and not quite white is background. Its
confidence is its brightness, 0 to 1. Edges survive JPEG to the pixel for white, and for colours that begin and end at
even pixels. Coordinates have their origin at the upper left corner of the upper left pixel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.prediction import masks

Pixels = NDArray[np.uint8]

CLASSES = ("blue", "green", "red", "white")  # the first three are the channels' order
BACKGROUND = 60
_FAINTEST_COLOUR = 40
_FAINTEST_WHITE = 160
_SMALLEST_AREA = 9  # pixels


@dataclass(frozen=True)
class Rectangle:
    """right and bottom: beyond it. confidence: how bright. White is seen from 0.7 on, a colour from 0.2 on, unless
    another object of that colour is twice as bright."""

    class_name: str
    left: int
    top: int
    right: int
    bottom: int
    confidence: float = 0.9


def painted(width: int, height: int, *rectangles: Rectangle) -> Pixels:
    """A dark grey picture, BGR, with the rectangles on it."""
    pixels = np.full((height, width, 3), BACKGROUND, np.uint8)
    for r in rectangles:
        of_class = [r.class_name in (name, "white") for name in CLASSES[:3]]
        value = round(255 * r.confidence)
        pixels[r.top : r.bottom, r.left : r.right] = [value if lit else 0 for lit in of_class]
    return pixels


@dataclass(frozen=True)
class DetectedRectangle:
    """One object. mask: of the whole picture, shape (height, width)."""

    class_name: str
    left: int
    top: int
    right: int
    bottom: int
    confidence: float
    mask: NDArray[np.bool_] = field(repr=False)

    @property
    def class_id(self) -> int:
        return CLASSES.index(self.class_name)


def objects(pixels: Pixels) -> list[DetectedRectangle]:
    """The most confident first."""
    values = pixels.astype(np.int16)
    found: list[DetectedRectangle] = []
    for class_id, name in enumerate(CLASSES):
        if name == "white":
            strength, faintest = values.min(axis=2), _FAINTEST_WHITE
        else:
            others = np.delete(values, class_id, axis=2).max(axis=2)
            strength, faintest = values[..., class_id] - others, _FAINTEST_COLOUR
        strongest = int(strength.max())
        if strongest < faintest:
            continue
        strong = (2 * strength > strongest).astype(np.uint8)
        count, areas, places, _ = cv2.connectedComponentsWithStats(strong, connectivity=8)
        for number in range(1, count):
            left, top, width, height, size = map(int, places[number])
            if size < _SMALLEST_AREA:
                continue
            mask = areas == number
            confidence = round(float(np.median(values[mask].max(axis=1))) / 255, 4)
            found.append(DetectedRectangle(name, left, top, left + width, top + height, confidence, mask))
    return sorted(found, key=lambda seen: (-seen.confidence, seen.left, seen.top))


def detections(found: Sequence[DetectedRectangle], kind: str, image: bytes, as_rle: bool) -> list[dict[str, Any]]:
    """The server's JSON for these objects. kind: the task. image: the picture; the ids follow from it."""
    said = []
    for number, seen in enumerate(found):
        box: dict[str, Any] = {
            "x": (seen.left + seen.right) / 2,
            "y": (seen.top + seen.bottom) / 2,
            "width": float(seen.right - seen.left),
            "height": float(seen.bottom - seen.top),
            "confidence": seen.confidence,
            "class": seen.class_name,
            "class_id": seen.class_id,
            "detection_id": name_of(image, number),
        }
        if kind == "instance-segmentation":
            box |= _as_rle(seen) if as_rle else _as_polygon(seen)
        elif kind == "keypoint-detection":
            places = {"first": (seen.left, seen.top), "last": (seen.right, seen.bottom)}
            box["keypoints"] = [
                {"x": float(x), "y": float(y), "confidence": 0.8, "class_id": n, "class": name}
                for n, (name, (x, y)) in enumerate(places.items())
            ]
        said.append(box)
    return said


def on_grid(found: Sequence[DetectedRectangle], image: bytes, as_rle: bool, size: tuple[int, int]) -> dict[str, Any]:
    """The answer to a client that allows reduced masks: boxes, polygons and masks in pixels of a smaller picture.

    size: width and height of the image, of which there is a quarter and a third.
    """
    grid = (max(1, size[0] // 4), max(1, size[1] // 3))
    on_it = [replace(seen, mask=cv2.resize(seen.mask.astype(np.uint8), grid) > 0) for seen in found]
    said = detections(on_it, "instance-segmentation", image, as_rle)
    for box in said:
        for name, of in (("x", 0), ("width", 0), ("y", 1), ("height", 1)):
            box[name] *= grid[of] / size[of]
    sides = {"width": grid[0], "height": grid[1]}
    scales = {"scale_x": size[0] / grid[0], "scale_y": size[1] / grid[1]}
    return {
        "image": sides,
        "original_image": {"width": size[0], "height": size[1]},
        "mask_metadata": {"coordinate_system": "mask_grid", **sides, **scales},
        "predictions": said,
    }


def one_label(pixels: Pixels, least: float) -> dict[str, Any]:
    """The colour that most of the light has."""
    light = pixels.reshape(-1, 3).mean(axis=0)
    shares = {name: round(float(v), 4) for name, v in zip(CLASSES, light / max(float(light.sum()), 1.0), strict=False)}
    ranked = sorted(shares.items(), key=lambda share: -share[1])
    scores = [{"class": name, "class_id": CLASSES.index(name), "confidence": share} for name, share in ranked]
    best, confidence = ranked[0]
    return {"predictions": scores, "top": best if confidence >= least else "", "confidence": confidence}


def many_labels(pixels: Pixels, least: float) -> dict[str, Any]:
    """Every colour for itself: how bright it is on the whole."""
    light = pixels.reshape(-1, 3).mean(axis=0) / 255
    scores = {
        name: {"confidence": round(float(value), 4), "class_id": n}
        for n, (name, value) in enumerate(zip(CLASSES, light, strict=False))
    }
    passed = [name for name, score in scores.items() if score["confidence"] >= least]
    return {"predictions": scores, "predicted_classes": passed}


def name_of(image: bytes, number: int = -1) -> str:
    """An id that is the same whenever the same image is sent, so that answers can be compared byte for byte."""
    return str(uuid5(NAMESPACE_OID, f"{number} {hashlib.sha256(image).hexdigest()}"))


def _as_polygon(seen: DetectedRectangle) -> dict[str, Any]:
    outlines, _ = cv2.findContours(seen.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    longest = max(outlines, key=len).reshape(-1, 2)
    return {"points": [{"x": float(x) + 0.5, "y": float(y) + 0.5} for x, y in longest], "mask_format": "polygon"}


def _as_rle(seen: DetectedRectangle) -> dict[str, Any]:
    rle = masks.encode_mask(seen.mask.astype(np.uint8))
    return {"rle": {"size": [rle.height, rle.width], "counts": rle.counts}, "mask_format": "rle"}
