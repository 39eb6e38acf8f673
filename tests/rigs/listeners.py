"""A listener with everything real behind it (intakes, spool, telemetry), and pictures to hand in."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests
from numpy.typing import NDArray

from clocks import ManualClock
from framesift.clock.clock import Clock
from framesift.listeners import ListenerSettings
from framesift.listeners.connection_slots import ClientConnection
from framesift.listeners.ingest import IngestBounds, IngestListener
from framesift.listeners.proxy import ProxyListener
from framesift.listeners.stream_intakes import ModelPolicies
from framesift.policy.policy import Policy, parse
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.spool import ClaimedDatapoint
from framesift.telemetry import Telemetry
from rigs.spools import make_spool

ALL = {"name": "all", "type": "random", "traffic_percentage": 1.0}


def policy(*strategies: dict[str, Any], **more: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": strategies or (ALL,),
        "batching_strategy": {"batches_name_prefix": "b", "recreation_interval": "never"},
        **more,
    }
    return parse(json.dumps(whole), "policy.json")


def picture(width: int = 64, height: int = 48, kind: str = ".jpg") -> bytes:
    """A file of that size with something in it."""
    across = np.linspace(0, 250, width, dtype=np.uint8)
    pixels = np.stack([np.tile(across, (height, 1))] * 3, axis=2)
    return bytes(cv2.imencode(kind, pixels)[1])


def pixels_of(jpeg: bytes) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def raw_exchange(port: int, *content: bytes, timeout_s: float = 60.0) -> bytes:
    """Send these bytes to a port of this machine, and return what comes back until the other side ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        for some in content:
            connection.sendall(some)
        return read_all(connection)


def request_head(*lines: str, first: str = "POST /datapoints HTTP/1.1", host: str = "Host: localhost") -> bytes:
    """The head of a request with JSON, in bytes; its body is to follow."""
    return "\r\n".join((first, host, "Content-Type: application/json", *lines, "", "")).encode("latin-1")


def read_all(connection: socket.socket, count: int = 1 << 40) -> bytes:
    """What comes until the other side ends, or so many bytes of it."""
    got = b""
    try:
        while len(got) < count and (some := connection.recv(min(count - len(got), 65536))):
            got += some
    except ConnectionResetError:
        pass
    return got


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def prediction_json(width: int = 64, height: int = 48, /, **of_the_car: Any) -> dict[str, Any]:
    """A prediction in the wire format: one car."""
    car = {"x": 32.0, "y": 24.0, "width": 16.0, "height": 8.0, "confidence": 0.5, "class": "car", "class_id": 0}
    return {"image": {"width": width, "height": height}, "predictions": [{**car, **of_the_car}]}


@dataclass(frozen=True)
class Style:
    """How the log is written."""

    format: str = "json"
    level: str = "debug"


class Handler:
    """What serves the clients of a server: a function. Exceptions are collected in `errors`."""

    def __init__(self, serve: Callable[[ClientConnection], Awaitable[None]], errors: list[BaseException]) -> None:
        self._serve = serve
        self.report_error = self.report_failure = errors.append

    async def serve(self, connection: ClientConnection) -> None:
        await self._serve(connection)


class RunningListener:
    """A listener, and what stands behind it. intake_of: instead of the usual intakes."""

    def __init__(
        self,
        folder: Path,
        what: Policy,
        clock: Clock,
        intake_of: Callable[[str], Intake] | None,
        bounds: IngestBounds | None,
        most_waiting: int,
        models: ModelPolicies | None,
        spool: dict[str, Any],
        options: dict[str, Any],
    ) -> None:
        self.policy = what
        self.clock = clock
        self.out = io.StringIO()
        self.telemetry = Telemetry(clock, Style(), out=self.out)
        self.spool = make_spool(folder, clock, **spool)
        self.intakes: dict[str, Intake] = {}
        self.failures: list[BaseException] = []
        self._looked = threading.Condition()
        chosen = ListenerSettings.model_validate_json(json.dumps({"listen": "127.0.0.1:0", **options}))
        self.listener: IngestListener | ProxyListener
        parts: dict[str, Any] = {
            "intake_of": intake_of or self.intake_of,
            "clock": clock,
            "telemetry": self.telemetry,
            "on_failure": self.failures.append,
        }
        if chosen.upstream is None:
            self.listener = IngestListener(chosen, bounds=bounds, **parts)
        else:
            self.listener = ProxyListener(chosen, max_waiting=most_waiting, model_policies=models, **parts)

    def intake_of(self, stream: str) -> Intake:
        intake = self.intakes[stream] = Intake(
            stream,
            CollectionOrigin("gate-7", ("fleet",), ("north",), seed=0),
            policy=self.policy,
            accepted=AcceptedFrames(),
            admission=Admission(self.spool, self.clock),
            telemetry=self.telemetry,
            on_accepted=lambda: None,
        )
        return intake

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    def post(self, content: Any = None, **how: Any) -> requests.Response:
        """To /datapoints: an object as JSON, or whatever `requests` takes."""
        if content is not None:
            how["json"] = content
        return requests.post(f"{self.url}/datapoints", timeout=30.0, **how)

    def items(self) -> tuple[ClaimedDatapoint, ...]:
        """What is in the spool: all of it, once."""
        return tuple(self.spool.claim(1000).items)

    def count(self, outcome: str) -> int:
        return self.telemetry.report().listeners.get(outcome, 0)

    def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Looks a hundred times a second whether the condition holds."""
        with self._looked:
            for _ in range(int(timeout_s * 100)):
                if condition():
                    return True
                self._looked.wait(0.01)
        return condition()


@contextmanager
def running_listener(
    folder: Path,
    what: Policy | None = None,
    *,
    clock: Clock | None = None,
    intake_of: Callable[[str], Intake] | None = None,
    bounds: IngestBounds | None = None,
    most_waiting: int = 32,
    models: ModelPolicies | None = None,
    spool: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[RunningListener]:
    made = RunningListener(
        folder, what or policy(), clock or ManualClock(), intake_of, bounds, most_waiting, models, spool or {}, options
    )
    made.spool.open()
    try:
        made.listener.start()
        yield made
    finally:
        made.listener.stop(5.0)
        made.spool.close()
    assert not made.failures, made.failures
