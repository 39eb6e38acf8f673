"""What passes between clients and an inference server, as far as it is understood: which requests are inferences, of
which pictures, and what the server said of each. What is not understood is nobody's business here.

The routes are those of Roboflow's inference server: POST /infer/{task} with JSON, and POST /{dataset}/{version} with
base64 or a form.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from framesift.doors.forms import BadForm, boundary_of, parts
from framesift.doors.http1 import Head
from framesift.doors.outcomes import Outcome
from framesift.doors.submitted import Fault, from_base64, parsed
from framesift.prediction import Task

MOST_IMAGES = 32
_TASKS = {
    "/infer/object_detection": Task.OBJECT_DETECTION,
    "/infer/instance_segmentation": Task.INSTANCE_SEGMENTATION,
    "/infer/keypoints_detection": Task.KEYPOINT_DETECTION,
    "/infer/classification": Task.CLASSIFICATION,
}
_LEGACY = re.compile(r"/([A-Za-z0-9_-]{1,128}/[0-9]{1,9})/?")
_MODEL = re.compile(r"[A-Za-z0-9_-]{1,128}/[A-Za-z0-9_-]{1,128}")
_STUB = re.compile(rb'"model_id"\s*:\s*"[A-Za-z0-9_-]{1,128}(?:/|\\/)0"')
_TRUE = ("true", "1", "yes", "on", "t", "y")


@dataclass(frozen=True, slots=True)
class Call:
    """An inference, as far as its head tells. task, model_id: None where only the body says. query: without the key."""

    task: Task | None
    model_id: str | None
    query: Mapping[str, str] = field(repr=False)

    @property
    def is_stub(self) -> bool:
        return self.model_id is not None and self.model_id.endswith("/0")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call asks. images: the files' bytes. as_list: the answer is a list."""

    model_id: str
    images: tuple[bytes, ...] = field(repr=False)
    as_list: bool


class Skipped(Exception):
    """There is nothing to sample here."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


def call_of(head: Head) -> Call | None:
    """None where this is no inference of a kind that is known."""
    method, target, _ = head.first
    path, _, query = target.partition("?")
    if method != "POST":
        return None
    said = {name: value for name, value in parse_qsl(query, max_num_fields=None) if name != "api_key"}
    if path in _TASKS:
        return Call(_TASKS[path], None, said)
    legacy = _LEGACY.fullmatch(path)
    return None if legacy is None else Call(None, legacy[1], said)


def stub_answer(call: Call, body: bytes) -> dict[str, Any] | list[Any] | None:
    """The answer to a call of a model's version 0, which is no model at all; None where another one is called."""
    if call.model_id is not None:
        return _stub(call.model_id, Task.OBJECT_DETECTION) if call.is_stub else None
    if _STUB.search(body) is None:  # nearly all: looked at without being read
        return None
    try:
        sent = _object(body)
    except Skipped:
        return None
    model_id = sent.get("model_id")
    if not isinstance(model_id, str) or not model_id.endswith("/0"):
        return None
    stub = _stub(model_id, call.task or Task.OBJECT_DETECTION)
    images = sent.get("image")
    return [stub] * len(images) if isinstance(images, list) else stub


def _stub(model_id: str, task: Task) -> dict[str, Any]:
    return {"time": 0.0, "is_stub": True, "model_id": model_id, "task_type": str(task)}


def asked(call: Call, head: Head, body: bytes) -> Asked:
    """What the request asks. Raises Skipped."""
    if call.model_id is None:
        return _asked_v1(body)
    if call.query.get("disable_active_learning", "").lower() in _TRUE:
        raise Skipped(Outcome.NOT_WANTED)
    if "image" in call.query or call.query.get("image_type", "base64") != "base64":
        raise Skipped(Outcome.ELSEWHERE)
    return Asked(call.model_id, (_image_of_legacy(head, body),), as_list=False)


def _asked_v1(body: bytes) -> Asked:
    sent = _object(body)
    if sent.get("disable_active_learning") not in (None, False, 0, "false", "False"):
        raise Skipped(Outcome.NOT_WANTED)
    images, model_id = sent.get("image"), sent.get("model_id")
    listed = images if isinstance(images, list) else [images]
    if not isinstance(model_id, str) or _MODEL.fullmatch(model_id) is None or not 1 <= len(listed) <= MOST_IMAGES:
        raise Skipped(Outcome.UNREADABLE)
    found = []
    for image in listed:
        if not isinstance(image, dict):
            raise Skipped(Outcome.UNREADABLE)
        if image.get("type") != "base64":
            raise Skipped(Outcome.ELSEWHERE)
        found.append(_from_base64(image.get("value")))
    return Asked(model_id, tuple(found), as_list=isinstance(images, list))


def _image_of_legacy(head: Head, body: bytes) -> bytes:
    boundary = boundary_of(head.get("content-type"))
    if boundary is None:
        return _from_base64(body.decode("latin-1"))
    try:
        return next(part.content for part in parts(body, boundary) if part.name == "file")
    except (BadForm, StopIteration):
        raise Skipped(Outcome.UNREADABLE) from None


def _from_base64(text: object) -> bytes:
    try:
        return from_base64(text.strip('"')) if isinstance(text, str) else b""
    except ValueError:
        raise Skipped(Outcome.UNREADABLE) from None


def answers(head: Head, body: bytes, wanted: Asked) -> list[Any]:
    """What the server said of each picture, not parsed yet. Raises Skipped."""
    if head.status != 200 or head.get("content-type").partition(";")[0].strip().lower() != "application/json":
        raise Skipped(Outcome.PASSED)  # an error, or a drawing
    said = _json(_unpacked(head, body))
    if not wanted.as_list:
        return [said]
    if not isinstance(said, list) or len(said) != len(wanted.images):
        raise Skipped(Outcome.UNREADABLE)
    return said


def _unpacked(head: Head, body: bytes, most_bytes: int = 24 << 20) -> bytes:
    coding = head.words("content-encoding")
    if not coding:
        return body
    if coding != ["gzip"]:
        raise Skipped(Outcome.UNREADABLE)
    try:
        inflate = zlib.decompressobj(31)
        content = inflate.decompress(body, most_bytes)
    except zlib.error:
        raise Skipped(Outcome.UNREADABLE) from None
    if not inflate.eof:
        raise Skipped(Outcome.UNREADABLE)
    return content


def _object(body: bytes) -> dict[str, Any]:
    sent = _json(body)
    if not isinstance(sent, dict):
        raise Skipped(Outcome.UNREADABLE)
    return sent


def _json(body: bytes) -> Any:
    try:
        return parsed(body, "")
    except Fault:
        raise Skipped(Outcome.UNREADABLE) from None
