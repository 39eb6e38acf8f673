"""Parses requests to an inference server and its responses: which model is called with which pictures.

The routes are those of Roboflow's inference server: POST /infer/{task} with JSON, and POST /{dataset}/{version} with
base64 or a form. Anything else is not parsed, only forwarded.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from framesift.listeners.datapoint_requests import InvalidRequest, decode_base64, parse_json
from framesift.listeners.http1 import Head
from framesift.listeners.multipart import BadMultipart, boundary_of, parse_parts
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.prediction.prediction import Task

MAX_IMAGES = 32
_TASKS = {
    "/infer/object_detection": Task.OBJECT_DETECTION,
    "/infer/instance_segmentation": Task.INSTANCE_SEGMENTATION,
    "/infer/keypoints_detection": Task.KEYPOINT_DETECTION,
    "/infer/classification": Task.CLASSIFICATION,
}
_LEGACY = re.compile(r"/([A-Za-z0-9_-]{1,128}/[0-9]{1,9})/?")
_PROJECT = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MODEL = re.compile(r"[A-Za-z0-9_-]{1,128}/[A-Za-z0-9_-]{1,128}")
_STUB = re.compile(rb'"model_id"\s*:\s*"[A-Za-z0-9_-]{1,128}(?:/|\\/)0"')
_TRUE = ("true", "1", "yes", "on", "t", "y")


@dataclass(frozen=True, slots=True)
class InferenceCall:
    """A request for an inference, as far as its head tells.

    task, model_id: None if only the body tells. query: the parameters of the query, without api_key.
    """

    task: Task | None
    model_id: str | None
    query: Mapping[str, str] = field(repr=False)

    @property
    def is_stub(self) -> bool:
        """Whether the head names version 0 of a project, which is no model."""
        return self.model_id is not None and self.model_id.endswith("/0")


@dataclass(frozen=True, slots=True)
class InferenceInput:
    """The content of an inference request.

    dataset: the project where the client wants its pictures, None for the model's project. image_count: number of
    pictures. is_list: whether the response is a list. images: returns the pictures' files; raises NothingToSample.
    """

    model_id: str
    dataset: str | None
    image_count: int
    is_list: bool
    images: Callable[[], tuple[bytes, ...]] = field(repr=False)


class NothingToSample(Exception):
    """The exchange has nothing to sample. outcome: the reason, to be counted."""

    def __init__(self, outcome: RequestOutcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


def parse_call(head: Head) -> InferenceCall | None:
    """Return the inference that a request asks for, None if it is not one of the known routes."""
    method, target, _ = head.start_line
    path, _, query = target.partition("?")
    if method != "POST":
        return None
    parameters = {name: value for name, value in parse_qsl(query, max_num_fields=None) if name != "api_key"}
    if path in _TASKS:
        return InferenceCall(_TASKS[path], None, parameters)
    legacy = _LEGACY.fullmatch(path)
    return None if legacy is None else InferenceCall(None, legacy[1], parameters)


@dataclass(frozen=True, slots=True)
class StubCall:
    """A call of version 0 of a project, which is no model. image_count: None if the pictures are not in a list."""

    model_id: str
    image_count: int | None = None

    @property
    def project(self) -> str:
        """The project, from the model's id."""
        return self.model_id.partition("/")[0]

    def response_content(self, task: Task) -> dict[str, Any] | list[Any]:
        """Return the response's content for a project of this task."""
        stub = {"time": 0.0, "is_stub": True, "model_id": self.model_id, "task_type": str(task)}
        return stub if self.image_count is None else [stub] * self.image_count


def parse_stub_call(call: InferenceCall, body: bytes) -> StubCall | None:
    """Return the stub that is called, None if a model is called. body: of the request."""
    if call.model_id is not None:
        return StubCall(call.model_id) if call.is_stub else None
    if _STUB.search(body) is None:  # true of nearly all: searching is cheaper than parsing
        return None
    try:
        content = parse_json_object(body)
    except NothingToSample:
        return None
    model_id = content.get("model_id")
    if not is_stub_id(model_id):
        return None
    images = content.get("image")
    return StubCall(str(model_id), len(images) if isinstance(images, list) else None)


def is_stub_id(model_id: object) -> bool:
    """Return whether this is the id of version 0 of a project."""
    return isinstance(model_id, str) and _MODEL.fullmatch(model_id) is not None and model_id.endswith("/0")


def parse_input(call: InferenceCall, head: Head, body: bytes) -> InferenceInput:
    """Parse an inference request. Raises NothingToSample."""
    if call.model_id is None:
        return _parse_input_v1(body)
    if call.query.get("disable_active_learning", "").lower() in _TRUE:
        raise NothingToSample(RequestOutcome.NOT_WANTED)
    if "image" in call.query or call.query.get("image_type", "base64") != "base64":
        raise NothingToSample(RequestOutcome.NO_IMAGE_DATA)
    dataset = _dataset(call.query.get("active_learning_target_dataset"))
    return InferenceInput(call.model_id, dataset, 1, False, lambda: (_image_of_legacy(head, body),))


def _parse_input_v1(body: bytes) -> InferenceInput:
    content = parse_json_object(body)
    if content.get("disable_active_learning") not in (None, False, 0, "false", "False"):
        raise NothingToSample(RequestOutcome.NOT_WANTED)
    images, model_id = content.get("image"), content.get("model_id")
    listed: list[Any] = images if isinstance(images, list) else [images]
    if not isinstance(model_id, str) or _MODEL.fullmatch(model_id) is None or not 1 <= len(listed) <= MAX_IMAGES:
        raise NothingToSample(RequestOutcome.UNREADABLE)
    if not all(isinstance(image, dict) for image in listed):
        raise NothingToSample(RequestOutcome.UNREADABLE)
    if any(image.get("type") != "base64" for image in listed):
        raise NothingToSample(RequestOutcome.NO_IMAGE_DATA)
    return InferenceInput(
        model_id,
        _dataset(content.get("active_learning_target_dataset")),
        len(listed),
        isinstance(images, list),
        lambda: tuple(_from_base64(image.get("value")) for image in listed),
    )


def _dataset(dataset: object) -> str | None:
    if dataset in (None, ""):
        return None
    if not isinstance(dataset, str) or _PROJECT.fullmatch(dataset) is None:
        raise NothingToSample(RequestOutcome.NO_POLICY)
    return dataset


def _image_of_legacy(head: Head, body: bytes) -> bytes:
    boundary = boundary_of(head.get("content-type"))
    if boundary is None:
        return _from_base64(body.decode("latin-1"))
    try:
        return next(part.content for part in parse_parts(body, boundary) if part.name == "file")
    except (BadMultipart, StopIteration):
        raise NothingToSample(RequestOutcome.UNREADABLE) from None


def _from_base64(text: object) -> bytes:
    try:
        return decode_base64(text.strip('"')) if isinstance(text, str) else b""
    except ValueError:
        raise NothingToSample(RequestOutcome.UNREADABLE) from None


def raw_predictions(head: Head, body: bytes, request: InferenceInput) -> list[Any]:
    """Return the server's answer for each picture as JSON values, not parsed further. Raises NothingToSample."""
    if head.status != 200 or head.get("content-type").partition(";")[0].strip().lower() != "application/json":
        raise NothingToSample(RequestOutcome.PASSED)  # an error, or an image with the boxes drawn in
    content = _json(_unpack(head, body))
    if not request.is_list:
        return [content]
    if not isinstance(content, list) or len(content) != request.image_count:
        raise NothingToSample(RequestOutcome.UNREADABLE)
    return content


def _unpack(head: Head, body: bytes, max_bytes: int = 24 << 20) -> bytes:
    coding = head.list_values("content-encoding")
    if not coding:
        return body
    if coding != ["gzip"]:
        raise NothingToSample(RequestOutcome.UNREADABLE)
    try:
        inflate = zlib.decompressobj(31)
        content = inflate.decompress(body, max_bytes)
    except zlib.error:
        raise NothingToSample(RequestOutcome.UNREADABLE) from None
    if not inflate.eof:
        raise NothingToSample(RequestOutcome.UNREADABLE)
    return content


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object. Raises NothingToSample."""
    content = _json(body)
    if not isinstance(content, dict):
        raise NothingToSample(RequestOutcome.UNREADABLE)
    return content


def _json(body: bytes) -> Any:
    try:
        return parse_json(body, "")
    except InvalidRequest:
        raise NothingToSample(RequestOutcome.UNREADABLE) from None
