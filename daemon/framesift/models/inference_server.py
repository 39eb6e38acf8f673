"""A model that runs in an inference server beside the daemon. It is asked over HTTP, one picture at a time.

Loading it sends no request: the server may start later, go away, and come back. While it can't be asked, `predict`
raises ModelUnavailable; after a few failures in a row it does so at once (see inference_circuit_breaker.py). Every
request switches off the server's own active learning, so that nothing is collected twice. The API key never appears in
a text.
"""

from __future__ import annotations

import json
import random
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from framesift import __version__
from framesift.config.redact import Redactor
from framesift.frame import Frame
from framesift.http_client import Exchanges, HttpClient, HttpRequest, quote_server_text
from framesift.models.inference_answers import PictureRefused, ServerUnavailable, classify_answer
from framesift.models.inference_circuit_breaker import BreakerOpen, InferenceCircuitBreaker
from framesift.models.inference_settings import InferenceServerSettings, is_private_host
from framesift.models.model import ModelFailed, ModelNotes, ModelUnavailable
from framesift.pictures.outgoing import JpegEncodingError, encode_for_model, fit_size
from framesift.prediction import wire_format
from framesift.prediction.prediction import (
    Classification,
    MultiLabel,
    Prediction,
    Stub,
    Task,
    scale_prediction,
    with_origin,
)

# Enough for a thousand objects with outlines of some hundred points each.
MAX_ANSWER_BYTES = 16 << 20
_V1_ROUTES = {
    Task.OBJECT_DETECTION: "object_detection",
    Task.INSTANCE_SEGMENTATION: "instance_segmentation",
    Task.KEYPOINT_DETECTION: "keypoints_detection",
    Task.CLASSIFICATION: "classification",
}


class InferenceServerModel:
    """The model of an inference server. Thread-safe."""

    class_names: tuple[str, ...] | None = None
    notes = ModelNotes()
    gives_embeddings: bool | None = False

    def __init__(
        self,
        settings: InferenceServerSettings,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        now_s: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        exchanges: Exchanges | None = None,
    ) -> None:
        """ca_file, proxy: from the network settings; the proxy is not used for private hosts. now_s: a monotonic clock.

        rng: for the jitter of the circuit breaker. exchanges: cuts the requests under way.
        """
        self._settings = settings
        self._task = Task(settings.task)
        self.model_id = settings.model_id
        self.task: Task | None = self._task
        self.description = (
            f"inference server {settings.url}: {settings.model_id}, {settings.task}, route {settings.route}"
        )
        key = None if settings.api_key is None else settings.api_key.get_secret_value()
        self._headers = {"User-Agent": f"framesift/{__version__}", "Accept": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._redact = Redactor([] if key is None else [key])
        self._host = str(urlsplit(settings.url).hostname)
        proxy = None if is_private_host(self._host) else proxy
        self._http = HttpClient(ca_file=ca_file, proxy=proxy, exchanges=exchanges)
        self._breaker = InferenceCircuitBreaker(settings.timeout_s, now_s=now_s, rng=rng or random.Random())
        self._closed = False

    def predict(self, frame: Frame) -> Prediction:
        """Asks the server. Raises ModelUnavailable if it can't answer now, ModelFailed if it refuses this picture."""
        if self._closed:
            raise ModelFailed("the model is closed")
        permit = self._breaker.acquire()
        if isinstance(permit, BreakerOpen):
            raise ModelUnavailable(permit.why, permit.wait_s)
        width, height = _size(frame, self._settings.max_image_size)
        request = self._request(b64encode(_jpeg(frame, width, height, self._settings.jpeg_quality)))
        started = time.perf_counter()
        exchange = self._http.exchange(request, within_s=self._settings.timeout_s, max_bytes=MAX_ANSWER_BYTES)
        took_s = time.perf_counter() - started
        with_key = self._settings.api_key is not None
        answer = classify_answer(exchange, host=self._host, with_key=with_key, redact=self._redact)
        if isinstance(answer, ServerUnavailable):
            why = self._message(answer.why)
            raise ModelUnavailable(why, self._breaker.record_failure(permit, why, answer.retry_after_s))
        self._breaker.record_success()
        if isinstance(answer, PictureRefused):
            raise ModelFailed(self._message(answer.why))
        try:
            prediction = self._read(answer.content, width, height)
        except (ValueError, RecursionError) as error:
            raise ModelFailed(
                self._message(f"sent an invalid prediction: {quote_server_text(str(error), self._redact)}")
            ) from None
        time_s = took_s if prediction.time_s is None else prediction.time_s
        return scale_prediction(
            with_origin(prediction, model_id=self.model_id, time_s=time_s), frame.width, frame.height
        )

    def close(self) -> None:
        """Closes the connections."""
        self._closed = True
        self._http.close()

    def _message(self, why: str) -> str:
        return f"the inference server {self._settings.url} {why}"

    def _request(self, image: bytes) -> HttpRequest:
        """The request for a picture. image: base64 of a JPEG."""
        settings = self._settings
        if settings.route == "legacy":
            parameters = {
                "confidence": _fraction(settings.sent_confidence),
                "overlap": _fraction(settings.overlap),
                "max_detections": None if settings.max_detections is None else str(settings.max_detections),
                "format": "json",
                "disable_active_learning": "true",
            }
            query = tuple((name, value) for name, value in parameters.items() if value is not None)
            url = f"{settings.url}/{quote(settings.model_id)}"
            return HttpRequest("POST", url, query, (), self._headers, image, "application/x-www-form-urlencoded")
        body: dict[str, Any] = {
            "model_id": settings.model_id,
            "confidence": settings.sent_confidence,
            "iou_threshold": settings.overlap,
            "max_detections": settings.max_detections,
            "disable_active_learning": True,
        }
        # Inserted into the finished JSON: base64 needs no escapes, and searching for them takes longer than sending.
        head = json.dumps({name: value for name, value in body.items() if value is not None}).encode()[:-1]
        content = b'%s, "image": {"type": "base64", "value": "%s"}}' % (head, image)
        url = f"{settings.url}/infer/{_V1_ROUTES[self._task]}"
        return HttpRequest("POST", url, (), (), self._headers, content, "application/json")

    def _read(self, content: Any, width: int, height: int) -> Prediction:
        """Parses an answer. Raises ValueError if it is not a prediction for this picture size and this task."""
        is_stub = isinstance(content, dict) and bool(content.get("is_stub"))
        task = None if is_stub and "task_type" in content else self._task
        try:
            prediction = wire_format.parse_prediction_of(content, width, height, task)
        except wire_format.OtherPictureSize as error:
            raise ValueError(f"{error}, but one of {width} x {height} was sent") from None
        has_labels = isinstance(prediction, Classification | MultiLabel)
        if not isinstance(prediction, Stub) and has_labels != (self._task is Task.CLASSIFICATION):
            kind = "labels" if has_labels else "objects"
            raise ValueError(f"it has {kind}, but model.task is {self._task}")
        return prediction


def _size(frame: Frame, max_image_size: tuple[int, int] | None) -> tuple[int, int]:
    if frame.height < 1 or frame.width < 1:
        raise ModelFailed(f"a picture of {frame.width} x {frame.height} pixels")
    return fit_size(frame.width, frame.height, max_image_size)


def _jpeg(frame: Frame, width: int, height: int, quality: int) -> bytes:
    try:
        return encode_for_model(frame.pixels, (width, height), quality)
    except JpegEncodingError as error:
        raise ModelFailed(str(error)) from None


def _fraction(value: float | None) -> str | None:
    """A fraction as the legacy route reads it: a number of 1 or more would mean percent."""
    if value is None:
        return None
    return "100" if value == 1.0 else str(value)
