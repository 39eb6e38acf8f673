"""Datapoint: an accepted frame, as a JPEG of bounded size, with its prediction in that JPEG's pixels.

A Candidate is a strategy that wants the frame, with all that depends on the strategy: which credit it would charge, and
which tags and batch the datapoint would get. The limits choose the first candidate that has room.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import Enum

import cv2

from framesift.clock.moment import Moment
from framesift.frame import Frame, Pixels
from framesift.prediction.prediction import Prediction, scale_prediction


class JpegEncodingError(ValueError):
    """No JPEG can hold this picture."""


class BatchInterval(str, Enum):
    """How often a new labelling batch is begun."""

    NEVER = "never"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Datapoint:
    """What is put into the spool. width, height: the JPEG's, in pixels; `prediction` refers to them."""

    id: str
    device: str
    stream: str
    frame_number: int
    captured: Moment
    width: int
    height: int
    jpeg: bytes
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy that wants the frame. score: higher is more worth a label, None where it only matches.

    annotate: whether the prediction is delivered with the image (`persist_predictions`). project: of the platform,
    where the datapoint goes; None for the sink's own.
    """

    strategy: str
    score: float | None
    tags: tuple[str, ...]
    batch: str
    with_prediction: bool = True
    project: str | None = None


def new_datapoint_id() -> str:
    """What no other datapoint is called."""
    return uuid.uuid4().hex


def encode_datapoint(
    frame: Frame,
    prediction: Prediction,
    *,
    id: str,
    device: str,
    max_size: tuple[int, int] | None,
    jpeg_quality: int,
) -> Datapoint:
    """The frame as a datapoint. id: of `new_id`.

    max_size: (height, width) in pixels that the picture must fit in, aspect kept, or None. jpeg_quality: 1 to 100.
    Raises Unencodable if the picture cannot be encoded (a JPEG's side has at most 65,535 pixels).
    """
    width, height = fit_size(frame.width, frame.height, max_size)
    pixels: Pixels = frame.pixels
    if (width, height) != (frame.width, frame.height):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]  # cv2's stubs don't know that uint8 stays uint8
    try:
        made, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    except cv2.error as error:
        raise JpegEncodingError(f"a picture of {width} x {height} cannot be a JPEG: {error.err}") from None
    if not made:
        raise JpegEncodingError(f"a picture of {width} x {height} cannot be a JPEG")
    return Datapoint(
        id=id,
        device=device,
        stream=frame.stream,
        frame_number=frame.number,
        captured=frame.captured,
        width=width,
        height=height,
        jpeg=jpeg.tobytes(),
        prediction=scale_prediction(prediction, width, height),
    )


def fit_size(width: int, height: int, max_size: tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) of a picture that fits in max_size = (height, width), aspect kept, cut to whole pixels, at
    least 1. The arithmetic is the platform's, operation by operation, since truncation shows every rounding.
    """
    if max_size is None:
        return width, height
    max_height, max_width = max_size
    if height <= max_height and width <= max_width:
        return width, height
    ratio = width / height
    if ratio >= max_width / max_height:
        return max_width, max(1, int(max_width / ratio))
    return max(1, int(max_height * ratio)), max_height


def batch_name(prefix: str, interval: BatchInterval, wall_s: float, zone: tzinfo) -> str:
    """The batch of a frame captured at `wall_s` (Unix time): the prefix, and the date of the interval's first day."""
    if interval is BatchInterval.NEVER:
        return prefix
    day: date = datetime.fromtimestamp(wall_s, zone).date()
    if interval is BatchInterval.WEEKLY:
        day -= timedelta(days=day.weekday())
    elif interval is BatchInterval.MONTHLY:
        day = day.replace(day=1)
    return f"{prefix}_{day:%Y_%m_%d}"
