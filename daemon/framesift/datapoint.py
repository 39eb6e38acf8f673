"""Datapoint: an accepted frame, as a JPEG of bounded size, with its prediction in the pixels of that JPEG.

A Candidate is a strategy that matched the frame, with everything that depends on the strategy: the tags and the batch
that the datapoint would get. The first candidate whose quota has room is used.
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import Enum

from framesift.clock.moment import Moment
from framesift.frame import Frame
from framesift.pictures.outgoing import OutgoingPicture, PictureMask, encode_outgoing
from framesift.prediction.prediction import Prediction, scale_prediction


class BatchInterval(str, Enum):
    """How often a new labelling batch begins."""

    NEVER = "never"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class PictureSource(str, Enum):
    """Which picture of a stream with snapshots was kept."""

    SNAPSHOT = "snapshot"  # the snapshot's
    OWN = "own-picture"  # the frame's own, since no snapshot could be used; also the tag of such a datapoint

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What is recorded of a datapoint's picture, beside its size; None where it is not known or does not apply.

    sent_s: Unix time at which the camera captured it, by the camera's clock. source: None for streams without
    snapshots. missed: why it is the frame's own picture. frame_width, frame_height: of the frame that the model saw,
    in pixels. skew_s: how many seconds after the frame the picture was taken. skew_by: how that is known, "sender" by
    the camera's clock, "arrival" by when the data came. weight: of the baseline's, how many frames it stands for.
    sequence: of a neighbour, the id of the datapoint beside which it was collected. sequence_offset_s: how many seconds
    later than that it was captured.
    """

    sent_s: float | None = None
    source: PictureSource | None = None
    missed: str | None = None
    frame_width: int | None = None
    frame_height: int | None = None
    skew_s: float | None = None
    skew_by: str | None = None
    weight: int | None = None
    sequence: str | None = None
    sequence_offset_s: float | None = None

    def to_json(self) -> str:
        """The facts that are known, as a JSON object; "{}" for none."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})


@dataclass(frozen=True, slots=True)
class Datapoint:
    """An accepted frame, ready for the spool.

    frame_number: see Frame.number. width, height: of the JPEG in pixels; the coordinates of `prediction` refer to them.
    """

    id: str
    device: str
    stream: str
    frame_number: int
    captured: Moment
    width: int
    height: int
    jpeg: bytes
    prediction: Prediction
    facts: PictureFacts = PictureFacts()


@dataclass(frozen=True, slots=True)
class Selection:
    """Some datapoints: by their ids, or where that is None by stream and time of capture.

    since_s, until_s: Unix times; `until_s` itself is not included.
    """

    ids: frozenset[str] | None = None
    stream: str | None = None
    since_s: float = -math.inf
    until_s: float = math.inf

    def includes(self, id: str, stream: str, captured_at_s: object) -> bool:
        """Whether a datapoint belongs to it; of a stream, also one whose time of capture is damaged."""
        if self.ids is not None:
            return id in self.ids
        if not isinstance(captured_at_s, int | float):
            return stream == self.stream
        return stream == self.stream and self.since_s <= captured_at_s < self.until_s


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy that matched the frame.

    score: higher is more worth a label; None for a strategy without a score. with_prediction: whether the prediction is
    delivered with the image (`persist_predictions` of the policy). project: the platform's project that gets the
    datapoint; None for the sink's own project. is_evictable: whether its score decides if it is evicted from a full
    spool; otherwise it is the last to go.
    """

    strategy: str
    score: float | None
    tags: tuple[str, ...]
    batch: str
    with_prediction: bool = True
    project: str | None = None
    is_evictable: bool = True


def new_datapoint_id() -> str:
    """A new id that no other datapoint has: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def encode_datapoint(
    frame: Frame,
    prediction: Prediction,
    *,
    id: str,
    device: str,
    mask: PictureMask,
    max_size: tuple[int, int] | None,
    jpeg_quality: int | None,
) -> Datapoint:
    """Encodes the frame as a datapoint. The picture is scaled down if necessary, and the prediction with it.

    id: from `new_datapoint_id`. mask, max_size, jpeg_quality: see `encode_outgoing`, and what it raises.
    """
    picture = encode_outgoing(frame.picture, mask=mask, max_size=max_size, jpeg_quality=jpeg_quality)
    return create_datapoint(frame, prediction, picture, id=id, device=device, facts=PictureFacts(sent_s=frame.sent_s))


def create_datapoint(
    frame: Frame, prediction: Prediction, picture: OutgoingPicture, *, id: str, device: str, facts: PictureFacts
) -> Datapoint:
    """Makes a datapoint of a frame with a picture of any size. Reads no pixels of the frame."""
    return Datapoint(
        id=id,
        device=device,
        stream=frame.stream,
        frame_number=frame.number,
        captured=frame.captured,
        width=picture.width,
        height=picture.height,
        jpeg=picture.content,
        prediction=scale_prediction(prediction, picture.width, picture.height),
        facts=facts,
    )


def batch_name(prefix: str, interval: BatchInterval, wall_s: float, zone: tzinfo) -> str:
    """The batch name for a frame captured at `wall_s` (Unix time): the prefix and the first day of the interval."""
    if interval is BatchInterval.NEVER:
        return prefix
    day: date = datetime.fromtimestamp(wall_s, zone).date()
    if interval is BatchInterval.WEEKLY:
        day -= timedelta(days=day.weekday())
    elif interval is BatchInterval.MONTHLY:
        day = day.replace(day=1)
    return f"{prefix}_{day:%Y_%m_%d}"
