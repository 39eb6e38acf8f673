"""The stand-in for the inference server: the documented routes, on loopback, over connections that are kept alive."""

from __future__ import annotations

import base64
import errno
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from canaries import KEY
from rigs.inference import detector as sight
from rigs.inference.requests import (
    TASKS,
    InferenceRequest,
    InvalidInferenceRequest,
    invalid_request,
    json_object,
    key_of,
    parse_request,
)
from rigs.platform.faults import Faults, Status, apply_fault
from rigs.platform.records import PlatformRequest, Reply, reply
from rigs.platform.server import _is_listening, _Server

MODELS = {
    "boxes/1": "object-detection",
    "shapes/1": "instance-segmentation",
    "points/1": "keypoint-detection",
    "labels/1": "classification",
    "many/1": "multi-label-classification",
}
_LEGACY = re.compile(r"/[^/]+/[^/]+")
_LEAST_CONFIDENCE = 0.4  # the server's default


@dataclass(frozen=True)
class Received:
    """A request as it is remembered, without its key. key_in: where that was ("query", "header", "body"), None for
    nowhere. wanted: None where it asked for no inference, or for none that could be understood. status: None until it
    was answered, and for ever where the connection was cut before a status line."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    size_bytes: int
    key_in: str | None
    key_known: bool
    wanted: InferenceRequest | None = None
    status: int | None = None
    ordered: str | None = None
    answer: bytes = field(default=b"", repr=False)


class InferenceServer:
    """A stand-in for the inference server, on 127.0.0.1, at a port of its own choice.

        with InferenceServer() as server:
            ... POST a picture of painted(...) to f"{server.url}/boxes/1" with KEY ...
            assert server.asked[0].wanted.learning_disabled

    It looks at the pictures (detector.py) and answers for each of `models` what its task is; version 0 of any project
    answers with the stub. Answers to the same picture are the same, byte for byte. `orders` (rigs/platform/faults.py;
    "infer" or "any") make it fail; `go_away` and `come_back` refuse connections in between, at the same port.

    models: model id -> task. key: the one it knows; None for a server that needs none. forbid_active_learning: a
    request that does not disable active learning is answered 500, noted in `offences`, and fails the test at the end.
    rle: it answers masks, not polygons. certificate: files of a certificate chain and its key, for https. Who allows
    reduced masks (allow_reduced_mask_resolution) gets them, with all else in their pixels.
    port: 0 for any free one; OSError where it is taken.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, str] = MODELS,
        key: str | None = KEY,
        forbid_active_learning: bool = False,
        rle: bool = False,
        certificate: tuple[Path, Path] | None = None,
        port: int = 0,
        heard: Callable[[Received], None] = lambda _: None,
    ) -> None:
        self.orders = Faults()
        self.bugs: list[str] = []  # what went wrong in the stand-in itself
        self.offences: list[str] = []
        self.connections = 0
        self.models = dict(models)
        self.key = key
        self._forbid = forbid_active_learning
        self._rle = rle
        self._heard = heard
        self._asked: list[Received] = []
        self._grown = threading.Condition()
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        if port and _is_listening(port):  # the kernel would let us share it
            raise OSError(errno.EADDRINUSE, f"port {port} of 127.0.0.1 is taken")
        # Holds the port while the server is away, without listening: connections are refused, nobody else gets it.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", port))
        self.port: int = self._place.getsockname()[1]
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        self._server: _Listening | None = None
        self.come_back()

    @property
    def asked(self) -> tuple[Received, ...]:
        """Every request, in the order in which they came."""
        with self._grown:
            return tuple(self._asked)

    def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
        """Whether the condition came to hold within the time; looks at every request and answer."""
        with self._grown:
            return self._grown.wait_for(condition, timeout_s)

    def go_away(self) -> None:
        """Cuts every connection and refuses new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.end()

    def come_back(self) -> None:
        """Listens again, at the same port."""
        if self._server is None:
            self._server = _Listening(self, self.port, self._tls)

    def close(self) -> None:
        self.go_away()
        self._place.close()

    def __enter__(self) -> InferenceServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        assert not self.bugs, self.bugs
        assert not self.offences, self.offences

    # For its server

    def connected(self) -> None:
        with self._grown:
            self.connections += 1

    def show(self, path: str) -> Reply:
        return invalid_request(404, f"nothing at {path}").reply

    def answer(self, asked: PlatformRequest, wait: Callable[[float], object]) -> Reply:
        key = key_of(asked)
        received = Received(
            asked.method,
            asked.path,
            tuple((name, value) for name, value in asked.query if name != "api_key"),
            {name: value for name, value in asked.headers.items() if name != "authorization"},
            len(asked.body),
            key[1] if key else None,
            key is not None and key[0] == self.key,
        )
        # Read before an order is carried out on it, so that a request which is to fail is remembered as well.
        refusal: Reply | None = None
        if self._is_inference(asked):
            try:
                received = replace(received, wanted=parse_request(asked))
                refusal = self._offence(received)
            except InvalidInferenceRequest as error:
                refusal = error.reply
        with self._grown:
            number = len(self._asked)
            self._asked.append(received)
            self._grown.notify_all()
        action = self.orders.next_action("infer" if self._is_inference(asked) else "other")
        if isinstance(action, Status) and action.body is None:
            action = replace(action, body={"message": "as ordered"})

        def work() -> Reply:
            return refusal or self._work(asked, received)

        answer = work() if action is None else apply_fault(action, work, wait)
        ordered = None if action is None else repr(action)
        status = answer.status if answer.sent > 0 else None
        received = replace(received, status=status, ordered=ordered, answer=answer.body)
        with self._grown:
            self._asked[number] = received
            self._grown.notify_all()
        self._heard(received)
        return answer

    def _offence(self, received: Received) -> Reply | None:
        wanted = received.wanted
        if not self._forbid or wanted is None or wanted.learning_disabled:
            return None
        with self._grown:
            self.offences.append(f"{wanted.route} {wanted.model_id}: active learning is not disabled")
        return invalid_request(500, "Internal error.").reply

    @staticmethod
    def _is_inference(asked: PlatformRequest) -> bool:
        if asked.method != "POST" or asked.path.startswith("/model/"):
            return False
        if asked.path.startswith("/infer/"):
            return asked.path.removeprefix("/infer/") in TASKS
        return _LEGACY.fullmatch(asked.path) is not None

    def _work(self, asked: PlatformRequest, received: Received) -> Reply:
        try:
            if received.wanted is not None:
                self._check_key(received)
                return self._infer(received.wanted)
            return self._about(asked, received)
        except InvalidInferenceRequest as error:
            return error.reply

    def _check_key(self, received: Received) -> None:
        if self.key is not None and not received.key_known:
            if received.key_in is None:
                raise invalid_request(400, "Required Roboflow API key is missing.")
            raise invalid_request(401, "Unauthorized access to roboflow API - check API key.")

    def _about(self, asked: PlatformRequest, received: Received) -> Reply:
        if (asked.method, asked.path) == ("POST", "/model/add"):
            self._check_key(received)
            model_id = str(json_object(asked).get("model_id"))
            if model_id not in self.models:
                raise invalid_request(404, f"no model {model_id}")
            return self._registry()
        if (asked.method, asked.path) in (("POST", "/model/remove"), ("POST", "/model/clear")):
            return self._registry()  # what it sees, it sees without loading anything
        if asked.method == "GET" and asked.path == "/model/registry":
            return self._registry()
        said = {
            "/info": {"name": "Stand-in", "version": "1.8.3", "uuid": "0" * 8},
            "/healthz": {"status": "healthy"},
            "/readiness": {"status": "ready"},
        }
        if asked.method == "GET" and asked.path in said:
            return reply(200, said[asked.path])
        return reply(404, {"detail": "Not Found"})

    def _registry(self) -> Reply:
        sizes = {"batch_size": 1, "input_height": 640, "input_width": 640}
        listed = [
            {"model_id": model_id, "task_type": task.removeprefix("multi-label-"), **sizes}
            for model_id, task in self.models.items()
        ]
        return reply(200, {"models": listed})

    def _infer(self, wanted: InferenceRequest) -> Reply:
        task = self._task(wanted)
        seen = [self._look(image, task, wanted) for image in wanted.images]
        if wanted.options.get("format") == "image":
            return Reply(200, _drawn(wanted.images[0], seen[0]), (("Content-Type", "image/jpeg"),))
        if wanted.options.get("format") == "image_and_json" or wanted.options.get("visualize_predictions") is True:
            for image, one in zip(wanted.images, seen, strict=True):
                one["visualization"] = base64.b64encode(_drawn(image, one)).decode()
        return reply(200, seen if wanted.as_list else seen[0])

    def _task(self, wanted: InferenceRequest) -> str:
        if wanted.version == "0":
            dataset = wanted.model_id.rpartition("/")[0]
            known = (task for model_id, task in self.models.items() if model_id.startswith(f"{dataset}/"))
            return next(known, "object-detection")
        task = self.models.get(wanted.model_id)
        if task is None:
            raise invalid_request(404, f"Requested Roboflow resource {wanted.model_id} not found.")
        if wanted.task not in (None, task.removeprefix("multi-label-")):
            raise invalid_request(400, f"{wanted.model_id} does {task}, not {wanted.task}")
        return task

    def _look(self, image: bytes, task: str, wanted: InferenceRequest) -> dict[str, Any]:
        decoded = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) if image else None
        if decoded is None:
            raise invalid_request(400, "Could not load input image. Cause: it could not be decoded.")
        pixels = np.asarray(decoded, np.uint8)
        if wanted.version == "0":
            task = task.removeprefix("multi-label-")
            return {"time": 0.0002, "is_stub": True, "model_id": wanted.model_id, "task_type": task}
        height, width = pixels.shape[:2]
        inference_id = wanted.options.get("id") or sight.name_of(image)
        said = {"inference_id": inference_id, "time": 0.01, "image": {"width": width, "height": height}}
        least = float(wanted.options.get("confidence", _LEAST_CONFIDENCE))
        if task == "classification":
            return said | sight.one_label(pixels, least)
        if task == "multi-label-classification":
            return said | sight.many_labels(pixels, least)
        most = int(wanted.options.get("max_detections", 300))
        found = [seen for seen in sight.objects(pixels) if seen.confidence >= least][:most]
        as_rle = self._rle or wanted.options.get("response_mask_format") == "rle"
        if task == "instance-segmentation" and wanted.options.get("allow_reduced_mask_resolution") in (True, "true"):
            return said | sight.on_grid(found, image, as_rle, (width, height))
        return said | {"predictions": sight.detections(found, task, image, as_rle)}


class _Listening(_Server):
    """The platform's server, which also counts its connections."""

    def __init__(self, inference: InferenceServer, port: int, tls: ssl.SSLContext | None) -> None:
        self._connected = inference.connected
        super().__init__(inference, port, tls)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._connected()
        super().finish_request(request, client_address)


def _drawn(image: bytes, said: dict[str, Any]) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    for box in said.get("predictions", ()):
        if isinstance(box, dict) and "x" in box:
            half = box["width"] / 2, box["height"] / 2
            first, last = ((int(box["x"] + s * half[0]), int(box["y"] + s * half[1])) for s in (-1, 1))
            cv2.rectangle(pixels, first, last, (255, 0, 255), 2)
    return cv2.imencode(".jpg", pixels)[1].tobytes()
