"""The contact sheet: one picture that shows what was collected, with what the model said and the reason on each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import cv2
import numpy as np

from framesift.datasets.drawing import (
    INK,
    SURE,
    ClassColours,
    Colour,
    ascii_text,
    draw_prediction,
    draw_text,
    fit_text,
    text_width,
)
from framesift.frame import Pixels
from framesift.prediction.prediction import Classification, MultiLabel, Prediction, Stub, count_classes

ON_A_PAGE = 24  # pictures
TILE_WIDTH, CAPTION_HEIGHT, GAP, MARGIN = 320, 44, 10, 16
_TALLEST = TILE_WIDTH  # of a picture on the sheet, in pixels
_LINE = 24
_PAPER: Colour = (247, 246, 244)
_FAINT: Colour = (112, 106, 100)
_MISSING: Colour = (214, 211, 208)


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """A picture of a sheet. jpeg: None where it can't be read. captured_at_s: Unix time. state: in the spool, or ""."""

    jpeg: bytes | None
    stream: str
    frame: int
    captured_at_s: float
    strategy: str
    score: float | None
    prediction: Prediction | None
    state: str = ""


def contact_sheet(
    pictures: Sequence[SheetPicture], title: str, *, colours: ClassColours | None = None, columns: int = 4
) -> Pixels:
    """The sheet as BGR pixels, (height, width, 3), with the pictures in their order.

    colours: of all pages, where there are several.
    """
    colours = colours or ClassColours(one.prediction for one in pictures)
    tiles = [_tile(one, colours) for one in pictures]
    width = 2 * MARGIN + columns * TILE_WIDTH + (columns - 1) * GAP
    head = _head(pictures, title, colours, width)
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    sheet = np.full((head.shape[0] + sum(heights) + GAP * len(rows) + MARGIN, width, 3), _PAPER, np.uint8)
    sheet[: head.shape[0]] = head
    y = head.shape[0]
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            x = MARGIN + column * (TILE_WIDTH + GAP)
            sheet[y : y + tile.shape[0], x : x + TILE_WIDTH] = tile
        y += height + GAP
    return sheet


def _head(pictures: Sequence[SheetPicture], title: str, colours: ClassColours, width: int) -> Pixels:
    """The title, how many pictures each strategy took, and the legend."""
    strategies = Counter(one.strategy for one in pictures)
    taken = "   ".join(f"{number} {ascii_text(name)}" for name, number in sorted(strategies.items()))
    entries = [(f"{number} {ascii_text(name)}", colours.of(name)) for name, number in colours.counts.items()]
    lines = _legend_lines(entries, width - 2 * MARGIN)
    head = np.full((72 + _LINE * (len(lines) + 1), width, 3), _PAPER, np.uint8)
    draw_text(head, fit_text(ascii_text(title), width - 2 * MARGIN, 0.68), MARGIN, 34, 0.68, INK)
    draw_text(head, fit_text(f"strategies on this page:  {taken}", width - 2 * MARGIN, 0.44), MARGIN, 62, 0.44, INK)
    y = 62 + _LINE
    for line in lines:
        x = MARGIN
        for text, colour in line:
            if colour is not None:
                cv2.rectangle(head, (x, y - 11), (x + 12, y + 1), colour, -1)
            draw_text(head, text, x + 18, y, 0.44, INK)
            x += _entry_width(text)
        y += _LINE
    note = f"thick box: confidence {SURE:g} or more, thin: less.  Numbers on boxes: confidence.  Times: UTC"
    draw_text(head, fit_text(note, width - 2 * MARGIN, 0.4), MARGIN, y, 0.4, _FAINT)
    return head


def _entry_width(text: str) -> int:
    return 18 + text_width(text, 0.44) + 20


def _legend_lines(
    entries: Sequence[tuple[str, Colour]], width: int, *, most: int = 3
) -> list[list[tuple[str, Colour | None]]]:
    """The entries of the legend in lines of at most so many pixels, at most `most` lines; the rest is counted."""
    lines: list[list[tuple[str, Colour | None]]] = []
    left = 0
    for number, (whole, colour) in enumerate(entries):
        text = fit_text(whole, width // 3, 0.44)
        if _entry_width(text) > left:
            if len(lines) == most:
                rest = f"and {len(entries) - number} more classes"
                while sum(_entry_width(t) for t, _ in lines[-1]) + _entry_width(rest) > width:
                    lines[-1].pop()
                    number -= 1
                    rest = f"and {len(entries) - number} more classes"
                lines[-1].append((rest, None))
                break
            lines.append([])
            left = width
        lines[-1].append((text, colour))
        left -= _entry_width(text)
    return lines


def _tile(one: SheetPicture, colours: ClassColours) -> Pixels:
    picture = _picture(one, colours)
    height = picture.shape[0]
    tile = np.full((height + CAPTION_HEIGHT, TILE_WIDTH, 3), 255, np.uint8)
    tile[:height] = picture
    reason = one.strategy if one.score is None else f"{one.strategy}  {one.score:.2f}"
    where = f"{one.stream} #{one.frame}" + (f", {one.state}" if one.state else "")
    _caption(tile, height + 17, ascii_text(reason), ascii_text(where), 0.46, INK)
    captured = f"{datetime.fromtimestamp(one.captured_at_s, timezone.utc):%Y-%m-%d %H:%M:%S}"
    _caption(tile, height + 35, captured, ascii_text(_said(one.prediction)), 0.38, _FAINT)
    return tile


def _caption(tile: Pixels, y: int, left: str, right: str, size: float, colour: Colour) -> None:
    """A line with a text on the left, which is cut last, and one on the right."""
    room = TILE_WIDTH - 2 * 6
    left = fit_text(left, room * 2 // 3, size)
    draw_text(tile, left, 6, y, size, colour)
    right = fit_text(right, room - text_width(left, size) - 10, 0.38)
    draw_text(tile, right, TILE_WIDTH - 6 - text_width(right, 0.38), y, 0.38, _FAINT)


def _picture(one: SheetPicture, colours: ClassColours) -> Pixels:
    """The picture in the width of a tile, with what is drawn on it; grey where it can't be read."""
    read = None if not one.jpeg else cv2.imdecode(np.frombuffer(one.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if read is None:
        empty = np.full((TILE_WIDTH * 9 // 16, TILE_WIDTH, 3), _MISSING, np.uint8)
        draw_text(empty, "the picture can't be read", 60, TILE_WIDTH * 9 // 32, 0.46, INK)
        return empty
    scale = min(TILE_WIDTH / read.shape[1], _TALLEST / read.shape[0])
    width, height = (max(1, round(side * scale)) for side in (read.shape[1], read.shape[0]))
    smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(read, (width, height), interpolation=smaller), np.uint8)
    if one.prediction is not None:
        draw_prediction(picture, one.prediction, colours)
    if width == TILE_WIDTH:
        return picture
    whole = np.full((height, TILE_WIDTH, 3), _MISSING, np.uint8)
    left = (TILE_WIDTH - width) // 2
    whole[:, left : left + width] = picture
    return whole


def _said(prediction: Prediction | None) -> str:
    """What the model said, in a few words."""
    if prediction is None or isinstance(prediction, Stub):
        return "no prediction"
    if isinstance(prediction, Classification):
        return f"{prediction.top} {prediction.confidence:.2f}" if prediction.top else "no class"
    if isinstance(prediction, MultiLabel):
        return ", ".join(prediction.predicted) or "no class"
    counts = sorted(count_classes(prediction).items(), key=lambda of: (-of[1], of[0]))
    return ", ".join(f"{number} {name}" for name, number in counts) or "nothing found"


def pages(number: int) -> int:
    """How many pages so many pictures make; at least one."""
    return max(1, math.ceil(number / ON_A_PAGE))
