"""A model that runs in an inference server beside the machine, asked over HTTP, one picture at a time.

Nothing is asked when it is loaded: the server may come later, go, and come back. While it can't be asked, `predict`
fails with ModelUnavailable; after a few times in a row at once, without asking (breaker.py). Every request disables the
server's own active learning, so that nothing is collected twice. The key is in no text that comes out.
"""

from __future__ import annotations

import json
import random
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import cv2

from framesift import __version__
from framesift.config.redact import Redactor
from framesift.datapoint import fit_size
from framesift.frame import Frame
from framesift.http_client import HttpClient, HttpRequest, quote_server_text
from framesift.models.inference_answers import PictureRefused, ServerUnavailable, classify_answer
from framesift.models.inference_circuit_breaker import BreakerOpen, InferenceCircuitBreaker
from framesift.models.inference_settings import InferenceServerSettings, is_private_host
from framesift.models.model import ModelFailed, ModelNotes, ModelUnavailable
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Classification, MultiLabel, Prediction, Stub, Task, scale_prediction

# A thousand objects with outlines of some hundred points each.
MAX_ANSWER_BYTES = 16 << 20
_PLACES = {
    Task.OBJECT_DETECTION: "object_detection",
    Task.INSTANCE_SEGMENTATION: "instance_segmentation",
    Task.KEYPOINT_DETECTION: "keypoints_detection",
    Task.CLASSIFICATION: "classification",
}


class InferenceServerModel:
    class_names: tuple[str, ...] | None = None
    notes = ModelNotes()

    def __init__(
        self,
        options: InferenceServerSettings,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        now_s: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """ca_file, proxy: as the settings of the network name them; a server of this machine's own network is asked
        without the proxy. now_s: a clock that never steps. chance: what the pauses are jittered with.
        """
        self._options = options
        self._task = Task(options.task)
        self.model_id = options.model_id
        self.task: Task | None = self._task
        self.description = f"inference server {options.url}: {options.model_id}, {options.task}, route {options.route}"
        key = None if options.api_key is None else options.api_key.get_secret_value()
        self._headers = {"User-Agent": f"framesift/{__version__}", "Accept": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._redacted = Redactor([] if key is None else [key])
        self._host = str(urlsplit(options.url).hostname)
        self._web = HttpClient(ca_file=ca_file, proxy=None if is_private_host(self._host) else proxy)
        self._breaker = InferenceCircuitBreaker(options.timeout_s, now_s=now_s, rng=rng or random.Random())
        self._closed = False

    def predict(self, frame: Frame) -> Prediction:
        if self._closed:
            raise ModelFailed("the model is closed")
        turn = self._breaker.acquire()
        if isinstance(turn, BreakerOpen):
            raise ModelUnavailable(turn.why, turn.wait_s)
        width, height = _size(frame, self._options.max_image_size)
        request = self._request(b64encode(_jpeg(frame, width, height, self._options.jpeg_quality)))
        started = time.perf_counter()
        outcome = self._web.exchange(request, within_s=self._options.timeout_s, max_bytes=MAX_ANSWER_BYTES)
        took_s = time.perf_counter() - started
        with_key = self._options.api_key is not None
        answer = classify_answer(outcome, host=self._host, with_key=with_key, redact=self._redacted)
        if isinstance(answer, ServerUnavailable):
            why = self._told(answer.why)
            raise ModelUnavailable(why, self._breaker.record_failure(turn, why, answer.retry_after_s))
        self._breaker.record_success()
        if isinstance(answer, PictureRefused):
            raise ModelFailed(self._told(answer.why))
        try:
            prediction = self._read(answer.content, width, height)
        except (ValueError, RecursionError) as error:
            raise ModelFailed(
                self._told(f"answers what is no prediction: {quote_server_text(str(error), self._redacted)}")
            ) from None
        time_s = took_s if prediction.time_s is None else prediction.time_s
        return scale_prediction(replace(prediction, model_id=self.model_id, time_s=time_s), frame.width, frame.height)

    def close(self) -> None:
        self._closed = True
        self._web.close()

    def _told(self, why: str) -> str:
        return f"the inference server {self._options.url} {why}"

    def _request(self, image: bytes) -> HttpRequest:
        """image: base64 of a JPEG."""
        options = self._options
        if options.route == "legacy":
            said = {
                "confidence": _fraction(options.sent_confidence),
                "overlap": _fraction(options.overlap),
                "max_detections": None if options.max_detections is None else str(options.max_detections),
                "format": "json",
                "disable_active_learning": "true",
            }
            query = tuple((name, value) for name, value in said.items() if value is not None)
            url = f"{options.url}/{quote(options.model_id)}"
            return HttpRequest("POST", url, query, (), self._headers, image, "application/x-www-form-urlencoded")
        body: dict[str, Any] = {
            "model_id": options.model_id,
            "confidence": options.sent_confidence,
            "iou_threshold": options.overlap,
            "max_detections": options.max_detections,
            "disable_active_learning": True,
        }
        # Base64 needs no escapes; to look for some in a picture of this size takes longer than to send it.
        head = json.dumps({name: value for name, value in body.items() if value is not None}).encode()[:-1]
        content = b'%s, "image": {"type": "base64", "value": "%s"}}' % (head, image)
        url = f"{options.url}/infer/{_PLACES[self._task]}"
        return HttpRequest("POST", url, (), (), self._headers, content, "application/json")

    def _read(self, content: Any, width: int, height: int) -> Prediction:
        """Raises ValueError where it is no prediction for a picture of that size, or of another kind."""
        stub = isinstance(content, dict) and bool(content.get("is_stub"))
        task = None if stub and "task_type" in content else self._task
        prediction = wire.parse_prediction(content, width=width, height=height, task=task)
        if (prediction.width, prediction.height) != (width, height):
            of = f"{prediction.width} x {prediction.height}"
            raise ValueError(f"it is for a picture of {of} pixels, but one of {width} x {height} was sent")
        labels = isinstance(prediction, Classification | MultiLabel)
        if not isinstance(prediction, Stub) and labels != (self._task is Task.CLASSIFICATION):
            kind = "labels" if labels else "objects"
            raise ValueError(f"it has {kind}, but model.task is {self._task}")
        return prediction


def _size(frame: Frame, max_image_size: tuple[int, int] | None) -> tuple[int, int]:
    if frame.height < 1 or frame.width < 1:
        raise ModelFailed(f"a picture of {frame.width} x {frame.height} pixels")
    return fit_size(frame.width, frame.height, max_image_size)


def _jpeg(frame: Frame, width: int, height: int, quality: int) -> bytes:
    pixels: Any = frame.pixels
    try:
        if (width, height) != (frame.width, frame.height):
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        made, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ModelFailed(f"a picture of {width} x {height} cannot be a JPEG: {error.err}") from None
    if not made:
        raise ModelFailed(f"a picture of {width} x {height} cannot be a JPEG")
    return jpeg.tobytes()


def _fraction(value: float | None) -> str | None:
    """As the legacy route reads it, which takes a number from 1 on for percent."""
    if value is None:
        return None
    return "100" if value == 1.0 else str(value)
