"""Programs with a model of their own, which hand pictures in over HTTP, and remember what they were promised."""

from __future__ import annotations

import json
import random
import socket
import threading
from types import TracebackType

import cv2
import numpy as np
import requests

_SIZE = (240, 320)  # rows, columns


class Clients:
    """One thread that posts a picture every few seconds, for one stream after the other. Thread-safe.

    address: of the listener. number: of streams, client-0 and so on. every_s: between two pictures.
    """

    def __init__(self, address: str, number: int, every_s: float = 3.0) -> None:
        self._address = address
        self._number = number
        self._every_s = every_s
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._promised: list[str] = []
        self.posted = self.answered = 0
        self._thread = threading.Thread(target=self._post, name="clients", daemon=True)

    def take_promised(self) -> list[str]:
        """The ids that were answered as accepted since the last call."""
        with self._lock:
            promised, self._promised = self._promised, []
        return promised

    def send_garbage(self, chance: random.Random) -> None:
        """Twenty connections with what no client should send; each is closed at once."""
        host, _, port = self._address.partition(":")
        for _ in range(20):
            kind = chance.choice(
                (b"GARBAGE \xff\xfe\r\n\r\n", b"POST /datapoints HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n")
            )
            try:
                with socket.create_connection((host, int(port)), timeout=5) as one:
                    one.sendall(kind + chance.randbytes(2000))
            except OSError:
                continue

    def _post(self) -> None:
        rng = np.random.default_rng()
        number = 0
        while not self._ended.wait(self._every_s):
            noise = cv2.GaussianBlur(rng.integers(0, 255, (*_SIZE, 3), np.uint8), (5, 5), 0)
            jpeg = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            box = {"x": 100, "width": 30, "height": 20, "class": "block", "class_id": 0}
            boxes = [{**box, "y": y, "confidence": float(rng.uniform(0.1, 1.0))} for y in (30, 90, 150)]
            prediction = json.dumps({"predictions": boxes})
            form = {
                "image": ("a.jpg", jpeg),
                "prediction": (None, prediction),
                "stream": (None, f"client-{number % self._number}"),
            }
            number += 1
            try:
                answer = requests.post(f"http://{self._address}/datapoints", files=form, timeout=10)  # type: ignore[arg-type]
                said = answer.json()
            except (requests.RequestException, ValueError):  # the daemon is away, or was killed at this moment
                said = {}
            with self._lock:
                self.posted += 1
                self.answered += bool(said)
                if said.get("strategy"):
                    self._promised.append(said["id"])

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(15)
