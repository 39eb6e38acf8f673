"""Parses requests to POST /datapoints: a form or JSON into items; an item into picture, prediction, stream and time.

Each error names the place, the value, and what is allowed. In a model's answer malformed objects are left out; here a
prediction is taken whole or not at all, because its sender gets the error and can correct it.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from framesift.clock.moment import Moment
from framesift.config.schema import NAME_PATTERN
from framesift.listeners.multipart import BadMultipart, FormPart, boundary_of, parse_parts
from framesift.pictures import encoded_picture as pictures
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import MAX_CONFIDENCE, MAX_OBJECTS, Prediction, Stub, Task

MAX_ITEMS = 32
# A JSON value needs far more memory than its text, so their number is limited before parsing.
MAX_VALUES = 500_000
MAX_AGE_S = 48 * 3600.0  # for so long the spool remembers which quota was charged
MAX_SKEW_S = 60.0

_KEYS = ("image", "prediction", "stream", "captured_at", "task")
_DATA_URL = re.compile(r"data:image/[a-z+.-]{1,20};base64,", re.IGNORECASE)
_MAX_IMAGE_TEXT = pictures.MAX_BYTES * 3 // 2  # base64 of the largest picture, with line ends
_NUMBERS = ("x", "y", "width", "height", "confidence")


class InvalidRequest(Exception):
    """A request or an item that is not accepted.

    status: for the response. message: what is wrong. where: the place in the request, "" for the whole of it.
    """

    def __init__(self, status: int, why: str, where: str = "") -> None:
        super().__init__(why)
        self.status = status
        self.message = why
        self.where = where


@dataclass(frozen=True, slots=True)
class SubmittedItem:
    """One datapoint as it was sent, not checked yet.

    where: its place in the request. image: bytes (form) or base64 text (JSON). The other fields: JSON values or text.
    """

    where: str
    image: Any = field(repr=False)
    prediction: Any = field(repr=False)
    stream: Any
    captured_at: Any
    task: Any

    def path_of(self, key: str) -> str:
        """Return the place of one of its fields, for error messages."""
        return f"{self.where}.{key}" if self.where else key


@dataclass(frozen=True, slots=True)
class Submission:
    """The datapoints of one request. is_batch: whether the response is a list."""

    items: tuple[SubmittedItem, ...]
    is_batch: bool


def parse_submission(content_type: str, body: bytes | bytearray) -> Submission:
    """Split the body of a request into items. Raises InvalidRequest."""
    boundary = boundary_of(content_type)
    if boundary is not None:
        try:
            return _of_form(parse_parts(body, boundary))
        except BadMultipart as error:
            raise InvalidRequest(400, f"this is not multipart/form-data: {error}") from None
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return _of_json(body)
    raise InvalidRequest(
        415, f"Content-Type is multipart/form-data or application/json, not {content_type[:80]!r}", "Content-Type"
    )


# -- a form


def _of_form(parts: tuple[FormPart, ...]) -> Submission:
    """Read a form: each part `image` begins a datapoint; parts before the first image hold for all."""
    images = sum(1 for part in parts if part.name == "image")
    if not images:
        raise InvalidRequest(400, "a part called image is missing", "image")
    _check_count(images)
    for_all: dict[str, Any] = {}
    each: list[dict[str, Any]] = []
    for part in parts:
        if part.name not in _KEYS:
            raise InvalidRequest(400, f"{part.name[:60]!r} is not one of {', '.join(_KEYS)}")
        if part.name == "image":
            each.append({"image": part.content})
            continue
        known = each[-1] if each else for_all
        if part.name in known:
            raise InvalidRequest(400, "it stands twice for one image", part.name)
        if part.name == "prediction":
            if images > 1 and not each:
                raise InvalidRequest(
                    400, "with several images, each image must stand before its prediction", "prediction"
                )
            known["prediction"] = part.content
        else:
            known[part.name] = _text(part)
    where = "datapoints[{}]" if images > 1 else ""
    return Submission(
        tuple(_item({**for_all, **item}, where.format(number)) for number, item in enumerate(each)), images > 1
    )


def _text(part: FormPart) -> str:
    try:
        if len(part.content) <= 200:
            return part.content.decode()
    except UnicodeDecodeError:
        pass
    raise InvalidRequest(400, "a text of at most 200 bytes is allowed", part.name)


# -- JSON


def _of_json(body: bytes | bytearray) -> Submission:
    content = parse_json(body, "")
    if not isinstance(content, dict):
        raise InvalidRequest(400, f"a JSON object is allowed, not {_kind(content)}")
    if "datapoints" not in content:
        return Submission((_item(content, ""),), False)
    items = content["datapoints"]
    if len(content) > 1 or not isinstance(items, list) or not items:
        raise InvalidRequest(400, "datapoints must be the only key, and a list with at least one element", "datapoints")
    _check_count(len(items))
    return Submission(tuple(_item(item, f"datapoints[{number}]") for number, item in enumerate(items)), True)


def parse_json(text: bytes | bytearray, where: str) -> Any:
    """Parse JSON with a limit on the number of values. where: its place in the request. Raises InvalidRequest."""
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise InvalidRequest(413, f"this JSON has more than {MAX_VALUES:,} values", where)
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except RecursionError:
        raise InvalidRequest(400, "this JSON is nested too deep", where) from None
    except ValueError as error:  # undecodable bytes and endless digits are ValueErrors too
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)[:100]
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(400, f"this is not JSON: {why}{at}", where) from None


def _refuse_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text[:40])


def _item(content: object, where: str) -> SubmittedItem:
    """Make an item of any JSON value. An error is raised later, by `image_of`, so that it does not stop the others."""
    known = content if isinstance(content, dict) else {}
    if not isinstance(content, dict) or set(content) - set(_KEYS):
        unknown = (
            _kind(content) if not isinstance(content, dict) else repr(min(map(str, set(content) - set(_KEYS)))[:60])
        )
        known = {
            "image": InvalidRequest(400, f"a datapoint is an object of {', '.join(_KEYS)}; this is {unknown}", where)
        }
    return SubmittedItem(where, *(known.get(key) for key in _KEYS))


def _check_count(count: int) -> None:
    if count > MAX_ITEMS:
        raise InvalidRequest(413, f"there are {count} datapoints; at most {MAX_ITEMS} are allowed", "datapoints")


# -- one item


def stream_of(item: SubmittedItem, default: str) -> str:
    """Return the stream that the item names, or the default. Raises InvalidRequest."""
    if item.stream is None:
        return default
    if not isinstance(item.stream, str) or re.fullmatch(NAME_PATTERN, item.stream) is None:
        allowed = "1 to 64 letters, digits, dots, hyphens and underscores are allowed, the first a letter or digit"
        raise InvalidRequest(400, f"{item.stream!r:.80}: {allowed}", item.path_of("stream"))
    return item.stream


def image_of(item: SubmittedItem) -> bytes:
    """Return the bytes of the item's picture file. Raises InvalidRequest."""
    if isinstance(item.image, InvalidRequest):
        raise item.image
    if isinstance(item.image, bytes):
        return item.image
    where = item.path_of("image")
    if not isinstance(item.image, str):
        raise InvalidRequest(400, f"base64 of a JPEG or PNG is allowed, not {_kind(item.image)}", where)
    try:
        return decode_base64(item.image)
    except ValueError as error:
        raise InvalidRequest(413 if len(item.image) > _MAX_IMAGE_TEXT else 400, str(error), where) from None


def decode_base64(text: str) -> bytes:
    """Decode base64 with or without line ends and the beginning of a data URL. Raises ValueError."""
    if len(text) > _MAX_IMAGE_TEXT:
        raise ValueError(f"it is base64 of more than {pictures.MAX_BYTES:,} bytes, the most that are allowed")
    found = _DATA_URL.match(text)
    try:
        return base64.b64decode("".join(text[found.end() if found else 0 :].split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64 (RFC 4648, with its padding)") from None


def captured_of(item: SubmittedItem, now: Moment) -> Moment | None:
    """Return when the picture was taken, None for now. Raises InvalidRequest.

    A time up to a minute in the future means now: the sender's clock is fast. Later times are refused, and so are times
    more than 48 hours ago, because the spool no longer knows the quota of that time. While this machine's own clock is
    not set, times can't be compared, and it means now.
    """
    value, where = item.captured_at, item.path_of("captured_at")
    if value is None or not now.clock_is_set:
        return None
    at_s = _unix_s(value)
    if at_s is None:
        allowed = 'Unix seconds, or ISO 8601 with a zone as "2026-09-10T12:00:00+00:00", is allowed'
        raise InvalidRequest(400, f"{value!r:.80}: {allowed}", where)
    age_s = now.wall_s - at_s
    if not -MAX_SKEW_S <= age_s <= MAX_AGE_S:
        allowed = "from 48 hours ago until now is allowed (and a minute ahead, for a clock that is fast)"
        raise InvalidRequest(
            422, f"{value!r:.80} is {'in the future' if age_s < 0 else 'too long ago'}: {allowed}", where
        )
    age_s = max(0.0, age_s)
    return Moment(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id)


def _unix_s(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value) else _of_iso(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 and math.isfinite(value) else None


def _of_iso(text: str) -> float:
    moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    if moment.tzinfo is None:
        raise ValueError("without a zone")
    return moment.timestamp()


def prediction_of(item: SubmittedItem, width: int, height: int) -> Prediction:
    """Return the item's prediction for a picture of that size in pixels; a stub without one. Raises InvalidRequest."""
    task = _task(item)
    where = item.path_of("prediction")
    content = parse_json(item.prediction, where) if isinstance(item.prediction, bytes) else item.prediction
    if content is None:
        return Stub(task=task or Task.OBJECT_DETECTION, width=width, height=height)
    if isinstance(content, dict) and not content.get("is_stub"):
        # In a model's answer these may be missing; here they are a mistake of the sender.
        if not isinstance(content.get("image"), dict | None):
            raise InvalidRequest(422, "an object of width and height is allowed", f"{where}.image")
        if "top" in content and not isinstance(content.get("predictions"), list):
            raise InvalidRequest(422, "with top, a list of classes is allowed", f"{where}.predictions")
    try:
        prediction = wire.parse_prediction_of(content, width, height, task)
    except wire.OtherPictureSize as error:
        this_one = f"this one has {width} x {height}, turned as its EXIF says"
        raise InvalidRequest(422, f"{error}, but {this_one}", f"{where}.image") from None
    except ValueError as error:
        raise InvalidRequest(422, str(error)[:300], where) from None
    if prediction.dropped:
        raise _explain_dropped(content, width, height, where)
    return prediction


def _task(item: SubmittedItem) -> Task | None:
    if item.task is None:
        return None
    try:
        return Task(item.task)
    except ValueError:
        allowed = ", ".join(str(task) for task in Task)
        raise InvalidRequest(400, f"{item.task!r:.80} is not one of {allowed}", item.path_of("task")) from None


def _explain_dropped(content: Mapping[str, Any], width: int, height: int, where: str) -> InvalidRequest:
    """Return an error that names the first malformed object of a prediction, and what is wrong with it if possible."""
    objects = content["predictions"]
    where = f"{where}.predictions"
    if len(objects) > MAX_OBJECTS:
        return InvalidRequest(422, f"there are {len(objects):,} objects; at most {MAX_OBJECTS:,} are allowed", where)
    if not isinstance(objects, list):
        return InvalidRequest(422, "each is a class with its confidence, a number from 0 to 1, and its class_id", where)
    labels = "top" in content
    for number, item in enumerate(objects):
        image = content.get("image") or {"width": width, "height": height}
        alone = {"image": image, "predictions": [item], **({"top": ""} if labels else {})}
        if wire.parse_prediction(alone).dropped:
            return _explain_malformed(item, f"{where}[{number}]", labels)
    return InvalidRequest(422, "an object of it is malformed", where)


def _explain_malformed(item: object, where: str, labels: bool) -> InvalidRequest:
    if not isinstance(item, dict):
        return InvalidRequest(422, f"an object is allowed, not {_kind(item)}", where)
    for name in ("confidence",) if labels else _NUMBERS:
        value = item.get(name)
        least = -wire.MAX_COORDINATE if name in ("x", "y") else 0.0
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        most = MAX_CONFIDENCE if name == "confidence" else wire.MAX_COORDINATE
        if value is None or not is_number or not least <= value <= most:
            allowed = "a number from 0 to 1" if name == "confidence" else "a number" if least else "a number from 0 on"
            return InvalidRequest(422, f"{value!r:.60} is not allowed: {allowed}", f"{where}.{name}")
    if not isinstance(item.get("class"), str) or not item["class"].strip():
        return InvalidRequest(422, f"{item.get('class')!r:.60} is not allowed: the name of a class", f"{where}.class")
    return InvalidRequest(422, "its points, rle, keypoints or class are malformed", where)


def _kind(value: object) -> str:
    names = {"dict": "an object", "list": "a list", "str": "a text", "NoneType": "nothing", "bool": "true or false"}
    return names.get(type(value).__name__, "a number")
