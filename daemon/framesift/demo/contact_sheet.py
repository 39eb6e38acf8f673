"""The contact sheet: one picture that shows what a folder sink collected, with boxes and the reason on each."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from framesift.frame import Pixels
from framesift.prediction.prediction import Classification, Detections, MultiLabel, Prediction
from framesift.prediction.wire_format import parse_prediction

MOST = 24  # pictures on a sheet
TILE_WIDTH, CAPTION_HEIGHT, GAP, MARGIN, TITLE_HEIGHT = 320, 26, 8, 16, 56
PAPER, INK, FAINT = (247, 246, 244), (40, 36, 33), (130, 124, 118)
# One colour per class, in BGR, chosen so that colour-blind people can tell them apart, too.
COLOURS = ((178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (233, 180, 86))
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class CollectedImage:
    """One line of a collected folder's `metadata.jsonl`, with its picture's path."""

    path: Path
    frame: int
    strategy: str
    score: float | None
    prediction: Prediction


def read_folder(folder: Path) -> tuple[CollectedImage, ...]:
    """Read the folder of a folder sink: its images, in the order of their frames."""
    metadata = folder / "metadata.jsonl"
    if not metadata.exists():
        return ()
    lines = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines()]
    found = [
        CollectedImage(
            path=folder / line["file_name"],
            frame=line["frame"],
            strategy=line["strategy"],
            score=line["score"],
            prediction=parse_prediction(line["prediction"], width=line["width"], height=line["height"]),
        )
        for line in lines
    ]
    return tuple(sorted(found, key=lambda c: c.frame))


def contact_sheet(
    collected: Sequence[CollectedImage], title: str, *, max_images: int = MOST, columns: int = 4
) -> Pixels:
    """The sheet as BGR pixels, (height, width, 3). Of more than `max_images` images it shows some, evenly over time."""
    if len(collected) > max_images:
        collected = [collected[round(i * (len(collected) - 1) / (max_images - 1))] for i in range(max_images)]
    tiles = [_tile(c) for c in collected]
    columns = max(1, min(columns, len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    tile_height = max((t.shape[0] for t in tiles), default=0)
    height = TITLE_HEIGHT + rows * (tile_height + GAP) + MARGIN
    width = 2 * MARGIN + columns * TILE_WIDTH + (columns - 1) * GAP
    sheet = np.full((height, max(width, 640), 3), PAPER, np.uint8)
    cv2.putText(sheet, title, (MARGIN, 36), _FONT, 0.68, INK, 1, cv2.LINE_AA)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        x, y = MARGIN + column * (TILE_WIDTH + GAP), TITLE_HEIGHT + row * (tile_height + GAP)
        sheet[y : y + tile.shape[0], x : x + TILE_WIDTH] = tile
    return sheet


def _tile(collected: CollectedImage) -> Pixels:
    read = cv2.imread(str(collected.path))
    if read is None:
        raise ValueError(f"{collected.path} is no picture")
    scale = TILE_WIDTH / read.shape[1]
    height = max(1, round(read.shape[0] * scale))
    picture = np.asarray(cv2.resize(read, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
    prediction = collected.prediction
    if isinstance(prediction, Detections):
        for d in prediction.objects:
            _box(picture, d.x * scale, d.y * scale, d.width * scale, d.height * scale, d.class_id, d.confidence)
    tile = np.full((height + CAPTION_HEIGHT, TILE_WIDTH, 3), 255, np.uint8)
    tile[:height] = picture
    reason = collected.strategy if collected.score is None else f"{collected.strategy}  {collected.score:.2f}"
    cv2.putText(tile, reason, (6, height + 18), _FONT, 0.46, INK, 1, cv2.LINE_AA)
    right = f"{_caption(prediction)}#{collected.frame}"
    (text_width, _), _ = cv2.getTextSize(right, _FONT, 0.4, 1)
    cv2.putText(tile, right, (TILE_WIDTH - text_width - 6, height + 18), _FONT, 0.4, FAINT, 1, cv2.LINE_AA)
    return tile


def _box(picture: Pixels, x: float, y: float, width: float, height: float, class_id: int, confidence: float) -> None:
    colour = COLOURS[class_id % len(COLOURS)]
    left, top = round(x - width / 2), round(y - height / 2)
    # Boxes of which the model was unsure are drawn thin: those are the boxes that a person is asked to check.
    cv2.rectangle(
        picture, (left, top), (round(x + width / 2), round(y + height / 2)), colour, 2 if confidence >= 0.5 else 1
    )
    label = f"{confidence:.2f}"
    (text_width, text_height), _ = cv2.getTextSize(label, _FONT, 0.34, 1)
    top = max(top, text_height + 3)
    cv2.rectangle(picture, (left, top - text_height - 3), (left + text_width + 3, top), colour, -1)
    cv2.putText(picture, label, (left + 2, top - 2), _FONT, 0.34, (255, 255, 255), 1, cv2.LINE_AA)


def _caption(prediction: Prediction) -> str:
    if isinstance(prediction, Classification):
        return f"{prediction.top} {prediction.confidence:.2f}  "
    if isinstance(prediction, MultiLabel):
        return f"{', '.join(prediction.predicted)}  "
    return ""
