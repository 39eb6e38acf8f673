"""Drawing what a model said onto a picture: boxes, outlines, masks, keypoints, each class in a colour of its own."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from framesift.frame import Pixels
from framesift.prediction import masks
from framesift.prediction.prediction import Detection, Detections, Prediction, count_classes, scale_prediction

Colour = tuple[int, int, int]  # BGR
_Rectangle = tuple[int, int, int, int]  # left, top, right, bottom

INK: Colour = (40, 36, 33)
WHITE: Colour = (255, 255, 255)
# Chosen so that colour-blind people can tell them apart, too.
COLOURS: tuple[Colour, ...] = (
    (178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (233, 180, 86), (66, 228, 240),
)  # fmt: skip
SURE = 0.5  # boxes below it are drawn thin: those are the ones that a person is asked to check
_FILLED = 0.35  # how opaque a mask is
_BRIGHT = 150  # from this grey on, text on it is dark
_LABEL_SIZE = 0.34  # of its font
FONT = cv2.FONT_HERSHEY_SIMPLEX


class ClassColours:
    """Which class has which colour, the most frequent ones first. counts: the objects (or labels) of each."""

    def __init__(self, predictions: Iterable[Prediction | None]) -> None:
        """predictions: all that will be drawn, None for a picture without one."""
        counts: Counter[str] = Counter()
        for prediction in predictions:
            if prediction is not None:
                counts.update(count_classes(prediction))
        self.counts = dict(sorted(counts.items(), key=lambda of: (-of[1], of[0])))
        self._places = {name: place for place, name in enumerate(self.counts)}

    @property
    def are_unique(self) -> bool:
        """Whether no two classes share a colour."""
        return len(self._places) <= len(COLOURS)

    def of(self, class_name: str) -> Colour:
        """The colour of a class."""
        return COLOURS[self._places[class_name] % len(COLOURS)]


def ascii_text(text: str) -> str:
    """The text in the letters that can be drawn: others lose their accents, or become "?"."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in plain if not unicodedata.combining(c))


def text_width(text: str, size: float) -> int:
    """How many pixels wide a text is drawn. size: of the font."""
    return int(cv2.getTextSize(text, FONT, size, 1)[0][0])


def fit_text(text: str, width: int, size: float) -> str:
    """The text, cut so that it is at most so many pixels wide."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def draw_text(pixels: Pixels, text: str, x: int, y: int, size: float, colour: Colour) -> None:
    """Draws a text whose line lies at y, from x on."""
    cv2.putText(pixels, text, (x, y), FONT, size, colour, 1, cv2.LINE_AA)


def draw_prediction(pixels: Pixels, prediction: Prediction, colours: ClassColours) -> None:
    """Draws the objects of a detector; of other predictions nothing. pixels: the picture, at any scale."""
    if not isinstance(prediction, Detections):
        return
    height, width = pixels.shape[:2]
    scaled = scale_prediction(prediction, width, height)
    assert isinstance(scaled, Detections)
    _fill_outlines(pixels, scaled.objects, colours)
    for d in sorted(scaled.objects, key=lambda d: d.confidence):
        x1, y1, x2, y2 = _corners(d)
        cv2.rectangle(pixels, (x1, y1), (x2, y2), colours.of(d.class_name), 2 if d.confidence >= SURE else 1)
        for k in d.keypoints or ():
            cv2.circle(pixels, (round(k.x), round(k.y)), 3, WHITE, -1, cv2.LINE_AA)
            cv2.circle(pixels, (round(k.x), round(k.y)), 2, colours.of(d.class_name), -1, cv2.LINE_AA)
    taken: list[_Rectangle] = []
    for d in sorted(scaled.objects, key=lambda d: abs(d.confidence - SURE)):  # what is most in doubt has its number
        _draw_label(pixels, d, colours, taken)


def _fill_outlines(pixels: Pixels, objects: Sequence[Detection], colours: ClassColours) -> None:
    filled = pixels.copy()
    contours: list[tuple[Any, Colour]] = []
    for d in objects:
        colour = colours.of(d.class_name)
        if d.rle is not None:
            try:
                mask = masks.decode_mask(d.rle)
            except ValueError:
                continue
            if mask.shape != pixels.shape[:2]:
                continue
            found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
            filled[mask != 0] = colour
            contours.append((found, colour))
        elif d.points:
            corners = [np.array([(p.x, p.y) for p in d.points]).round().astype(np.int32)]
            cv2.fillPoly(filled, corners, colour)
            contours.append((corners, colour))
    if contours:
        cv2.addWeighted(filled, _FILLED, pixels, 1.0 - _FILLED, 0.0, dst=pixels)
        for found, colour in contours:
            cv2.drawContours(pixels, found, -1, colour, 1, cv2.LINE_AA)


def _draw_label(pixels: Pixels, d: Detection, colours: ClassColours, taken: list[_Rectangle]) -> None:
    """Draws the confidence above its box, or below it, where no other label is; else nowhere."""
    colour = colours.of(d.class_name)
    confidence = f"{d.confidence:.2f}"
    text = confidence if colours.are_unique else f"{ascii_text(d.class_name)[:12]} {confidence}"
    (width, height), _ = cv2.getTextSize(text, FONT, _LABEL_SIZE, 1)
    x1, y1, _, y2 = _corners(d)
    left = max(0, min(x1, pixels.shape[1] - width - 4))
    for bottom in (max(y1, height + 4), y2 + height + 4):
        label = (left, bottom - height - 4, left + width + 3, bottom)
        if bottom < pixels.shape[0] and not any(_overlap(label, other) for other in taken):
            break
    else:
        return
    taken.append(label)
    cv2.rectangle(pixels, label[:2], label[2:], colour, -1)
    bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] >= _BRIGHT
    draw_text(pixels, text, left + 2, bottom - 2, _LABEL_SIZE, INK if bright else WHITE)


def _overlap(one: _Rectangle, other: _Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _corners(d: Detection) -> tuple[int, int, int, int]:
    return (
        round(d.x - d.width / 2),
        round(d.y - d.height / 2),
        round(d.x + d.width / 2),
        round(d.y + d.height / 2),
    )
