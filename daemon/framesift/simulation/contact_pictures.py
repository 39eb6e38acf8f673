"""The pictures of chosen frames: taken out of the videos in a second pass, without the model, masked, and small.

A recording has no pictures: of its frames there are the predictions alone.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from framesift.clock.clock import Clock
from framesift.frame import Frame, Pixels
from framesift.pictures.outgoing import NO_MASK, JpegEncodingError, PictureMask, Unmasked, encode_outgoing
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask, StreamPrivacy
from framesift.sampling.recorded_frame import RecordedFrame
from framesift.simulation.footage import FootageSource
from framesift.simulation.outcome import ChosenFrame, PolicyOutcome
from framesift.streams import Stream, StreamLost, StreamSettings

MOST_PICTURES = 24  # of each policy
MOST_BYTES = 8 << 20  # of all pictures together
SIZE = (200, 320)  # (height, width) into which a picture must fit
_QUALITY = 70
# Of a JPEG of quality 95, where there is no picture to encode: 320 KB for 1920 x 1080.
_BYTES_PER_PIXEL = 0.15

Place = tuple[int, int]  # source and line


@dataclass(frozen=True, slots=True, eq=False)
class ContactPicture:
    """A frame as it is shown. jpeg: None where there is no picture, for the reason `why`.

    sizes: in bytes, of the JPEG that each policy would keep, by the policy's name.
    """

    prediction: Prediction
    jpeg: bytes | None
    why: str
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class VideoPictures:
    """How the pictures of a video are read again. privacy: what masks them; None where nothing is covered."""

    settings: StreamSettings
    privacy: StreamPrivacy | None


def shown(outcome: PolicyOutcome) -> tuple[ChosenFrame, ...]:
    """The chosen frames of a policy that are shown: all, or some that are spread evenly over the time."""
    chosen = outcome.chosen
    if len(chosen) <= MOST_PICTURES:
        return tuple(chosen)
    return tuple(chosen[round(i * (len(chosen) - 1) / (MOST_PICTURES - 1))] for i in range(MOST_PICTURES))


def take_pictures(
    outcomes: Sequence[PolicyOutcome],
    sources: Sequence[FootageSource],
    videos: Mapping[int, VideoPictures],
    *,
    clock: Clock,
) -> dict[Place, ContactPicture]:
    """The pictures of the frames that are shown. videos: by the number of the source; a recording has none."""
    wanted: dict[int, dict[int, list[PolicyOutcome]]] = {}
    for outcome in outcomes:
        for one in shown(outcome):
            of_line = wanted.setdefault(one.source, {}).setdefault(one.line, [])
            if outcome not in of_line:
                of_line.append(outcome)
    found: dict[Place, ContactPicture] = {}
    left_bytes = MOST_BYTES
    for number, lines in wanted.items():
        if number in videos:
            made = _of_video(sources[number], videos[number], lines, clock)
        else:
            made = {
                line: _without_picture(recorded, "a recording has no pictures")
                for line, recorded in _lines(sources[number], lines)
            }
        for line, picture in made.items():
            size = len(picture.jpeg or b"")
            if size > left_bytes:
                picture = ContactPicture(picture.prediction, None, "left out: there are too many", picture.sizes)
                size = 0
            left_bytes -= size
            found[number, line] = picture
    return found


def bytes_of_image(outcome: PolicyOutcome, pictures: Mapping[Place, ContactPicture]) -> tuple[float, bool] | None:
    """How large an image of a policy is in the mean, in bytes, and whether that is a mere estimate; None without any.

    Measured where pictures were encoded as the policy says; else worked out from the number of pixels.
    """
    kept = [pictures[one.source, one.line] for one in shown(outcome)]
    sizes = [one.sizes[outcome.name] for one in kept if outcome.name in one.sizes]
    if sizes:
        return sum(sizes) / len(sizes), False
    pixels = [one.prediction.width * one.prediction.height for one in kept if one.prediction.width > 1]
    return (_BYTES_PER_PIXEL * sum(pixels) / len(pixels), True) if pixels else None


def _lines(source: FootageSource, wanted: Collection[int]) -> list[tuple[int, RecordedFrame]]:
    last = max(wanted)
    found = []
    for line, recorded in enumerate(source.read()):
        if line in wanted:
            found.append((line, recorded))
        if line >= last:
            break
    return found


def _without_picture(recorded: RecordedFrame, why: str) -> ContactPicture:
    return ContactPicture(recorded.prediction, None, why, {})


@dataclass(eq=False)
class _Waiting:
    """A picture that waits for its mask, which the next frame may change."""

    line: int
    recorded: RecordedFrame
    pixels: Pixels
    pending: PendingMask | None


def _of_video(
    source: FootageSource, video: VideoPictures, wanted: Mapping[int, Sequence[PolicyOutcome]], clock: Clock
) -> dict[int, ContactPicture]:
    made: dict[int, ContactPicture] = {}
    waiting: list[_Waiting] = []
    lines = enumerate(source.read())
    line, recorded = next(lines)
    stop = threading.Event()
    stream = Stream(video.settings, clock=clock, stop=stop, rng=random.Random(0))

    def settle(*, at_end: bool = False) -> None:
        for one in [one for one in waiting if at_end or one.pending is None or one.pending.is_settled]:
            waiting.remove(one)
            made[one.line] = _encode(one, wanted[one.line])

    try:
        for frame in stream.frames():
            while recorded.number < frame.number:
                line, recorded = next(lines)
            if recorded.number > frame.number:
                continue  # the model has failed on it
            if video.privacy is not None:
                video.privacy.observe(frame, recorded.prediction)
            settle()
            if line in wanted:
                one = _begin(frame, line, recorded, video.privacy)
                if isinstance(one, _Waiting):
                    waiting.append(one)
                else:
                    made[line] = one
            if line > max(wanted) and not waiting:
                break
    except (StreamLost, StopIteration):
        pass  # the video has changed: what is missing is said below
    finally:
        stop.set()
        stream.close()
    if video.privacy is not None:
        video.privacy.end_stream()
    settle(at_end=True)
    missing = wanted.keys() - made.keys()
    if missing:
        made |= {line: _without_picture(one, "the video can't be read again") for line, one in _lines(source, missing)}
    return made


def _begin(
    frame: Frame, line: int, recorded: RecordedFrame, privacy: StreamPrivacy | None
) -> _Waiting | ContactPicture:
    try:
        pending = None if privacy is None else privacy.begin(frame, recorded.prediction)
    except Unmasked as error:
        return _without_picture(recorded, str(error))
    return _Waiting(line, recorded, frame.pixels.copy(), pending)


def _encode(one: _Waiting, outcomes: Sequence[PolicyOutcome]) -> ContactPicture:
    try:
        mask: PictureMask = NO_MASK if one.pending is None else one.pending.mask()
        small = encode_outgoing(one.pixels, mask=mask, max_size=SIZE, jpeg_quality=_QUALITY)
        sizes = {outcome.name: len(_as_kept(one.pixels, mask, outcome.policy)) for outcome in outcomes}
    except (Unmasked, JpegEncodingError) as error:
        return _without_picture(one.recorded, str(error))
    return ContactPicture(one.recorded.prediction, small.content, "", sizes)


def _as_kept(pixels: Pixels, mask: PictureMask, policy: Policy) -> bytes:
    """The JPEG that the policy keeps of a picture."""
    size, quality = policy.max_image_size, policy.jpeg_compression_level
    return encode_outgoing(pixels, mask=mask, max_size=size, jpeg_quality=quality).content
