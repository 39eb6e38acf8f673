"""Requests to the inference server, from either route: the model, the pictures, and what is invalid."""

from __future__ import annotations

import base64
import binascii
import email
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rigs.platform.records import PlatformRequest, Reply, reply

TASKS = {
    "object_detection": "object-detection",
    "instance_segmentation": "instance-segmentation",
    "keypoints_detection": "keypoint-detection",
    "classification": "classification",
}
_NUMBERS = ("confidence", "iou_threshold", "max_detections")
_FLAGS = ("disable_active_learning", "class_agnostic_nms", "visualize_predictions")


class InvalidInferenceRequest(Exception):
    """What the server answers instead."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(answer.status)
        self.reply = answer


def invalid_request(status: int, message: str) -> InvalidInferenceRequest:
    return InvalidInferenceRequest(reply(status, {"message": message}))


@dataclass(frozen=True)
class InferenceRequest:
    """One inference. route: "v1" or "legacy". task: the one that a v1 path names. images: the files as they came.
    as_list: the answer is to be a list. options: what else was said, without key and pictures, as v1 names it."""

    route: str
    model_id: str
    task: str | None
    images: tuple[bytes, ...] = field(repr=False)
    as_list: bool = False
    learning_disabled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return self.model_id.rpartition("/")[2]


def key_of(asked: PlatformRequest) -> tuple[str, str] | None:
    """The key, and where it was: the query counts first, then the header, then the body."""
    if (key := asked.value("api_key")) is not None:
        return key, "query"
    kind, _, key = asked.headers.get("authorization", "").partition(" ")
    if kind == "Bearer":
        return key, "header"
    try:
        body = json.loads(asked.body) if asked.body[:1] == b"{" else None
    except ValueError:
        return None
    key = body.get("api_key") if isinstance(body, dict) else None
    return (key, "body") if isinstance(key, str) else None


def parse_request(asked: PlatformRequest) -> InferenceRequest:
    """Raises InvalidInferenceRequest."""
    if asked.path.startswith("/infer/"):
        return _v1(asked, TASKS[asked.path.removeprefix("/infer/")])
    return _legacy(asked)


def _v1(asked: PlatformRequest, task: str) -> InferenceRequest:
    body = json_object(asked)
    options = {name: value for name, value in body.items() if name not in ("api_key", "image", "model_id")}
    wrong = [name for name in _NUMBERS if not isinstance(options.get(name, 0), int | float)]
    wrong += [name for name in _FLAGS if not isinstance(options.get(name, False), bool)]
    wrong += [name for name in ("model_id", "image") if name not in body]
    image = body.get("image")
    images: list[Any] = image if isinstance(image, list) else [image]
    if any(not isinstance(one, dict) or "type" not in one for one in images) and "image" not in wrong:
        wrong.append("image")
    if wrong:
        raise InvalidInferenceRequest(_invalid(*wrong))
    return InferenceRequest(
        "v1",
        str(body["model_id"]),
        task,
        tuple(_from_text(str(one.get("value")), str(one["type"])) for one in images),
        as_list=isinstance(image, list),
        learning_disabled=options.get("disable_active_learning") is True,
        options=options,
    )


def _legacy(asked: PlatformRequest) -> InferenceRequest:
    options: dict[str, Any] = {name: value for name, value in asked.query if name not in ("api_key", "image")}
    if asked.value("image") is not None:
        raise invalid_request(400, "this stand-in fetches no images from elsewhere")
    try:
        for name, meant in (("confidence", "confidence"), ("overlap", "iou_threshold")):
            if name in options:
                number = float(options.pop(name))
                options[meant] = max(0.01, number / 100 if number >= 1 else number)
        if "max_detections" in options:
            options["max_detections"] = int(options["max_detections"])
    except ValueError:
        raise InvalidInferenceRequest(_invalid("confidence, overlap or max_detections")) from None
    content_type = asked.headers.get("content-type")
    if content_type is None:
        raise invalid_request(400, "a Content-Type is missing")
    if content_type.startswith("multipart/form-data"):
        image = _part(asked, "file")
    else:
        image = _from_text(asked.body.decode("latin-1"), str(options.get("image_type", "base64")))
    disabled = str(options.get("disable_active_learning", "")).lower() in ("true", "1")
    model_id = asked.path.strip("/")
    return InferenceRequest("legacy", model_id, None, (image,), learning_disabled=disabled, options=options)


def json_object(asked: PlatformRequest) -> dict[str, Any]:
    try:
        body = json.loads(asked.body)
    except ValueError:
        raise InvalidInferenceRequest(_invalid("body")) from None
    if not isinstance(body, dict):
        raise InvalidInferenceRequest(_invalid("body"))
    return body


def _from_text(text: str, kind: str) -> bytes:
    if kind != "base64":
        raise invalid_request(400, f"this stand-in takes no image of type {kind}")
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_request(400, "could not decode the base64 of the image") from None


def _part(asked: PlatformRequest, name: str) -> bytes:
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + asked.body)
    for part in message.walk():
        if not part.is_multipart() and part.get_param("name", header="content-disposition") == name:
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content
    raise InvalidInferenceRequest(_invalid(name))


def _invalid(*names: str) -> Reply:
    said = [{"loc": ["body", name], "msg": "missing, or of a wrong type", "type": "value_error"} for name in names]
    return reply(422, {"detail": said})
