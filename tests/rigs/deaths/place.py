"""Where a daemon dies: its settings, the platform and the ledger that it talks to, and what is compared after it."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import requests

from canaries import KEY
from framesift.limits import Limit, Window
from rigs.auditor import audit
from rigs.daemon import POLICY, Daemon, free_address, write_configuration
from rigs.operator_view import OperatorView
from rigs.platform import Platform
from rigs.redis_server import RedisServer
from rigs.soak.accounts import Accounts
from rigs.soak.books import read_platform, read_spool

PROJECT = "parking"
LIMITS = {"all": (Limit(Window.MINUTELY, 5000), Limit(Window.DAILY, 1_000_000))}
# It finds something in every picture: one without a prediction has no annotation at the platform.
_MODEL = (
    "def make():\n"
    "    box = {'x': 9, 'y': 9, 'width': 4, 'height': 4, 'class': 'car', 'confidence': 0.5}\n"
    "    return lambda pixels: {'predictions': [box]}\n"
)
_LEDGER = f"framesift:{{{PROJECT}}}"


class DeathPlace:
    """One daemon at a time, which takes pictures over HTTP and of streams. folder: a later place goes on with it.

    known: the beginnings of ids that were accepted in earlier runs. workers: threads that deliver.
    """

    def __init__(
        self, folder: Path, known: Sequence[str] = (), streams: Sequence[dict[str, Any]] = (), workers: int = 4
    ) -> None:
        self.folder = folder
        self.spool = folder / "spool.db"
        self.accounts = Accounts(known)
        (folder / "redis").mkdir(parents=True, exist_ok=True)
        self.redis = RedisServer(folder / "redis", appendonly="yes")
        self.platform = Platform(folder=folder / "platform", one_of="name")
        self.platform.add_project(PROJECT)
        self.listener, self._status = free_address(), free_address()
        self._streams = streams
        self._workers = workers
        self._open = ExitStack()
        self._promised: list[str] = []
        self._rng = np.random.default_rng()

    def __enter__(self) -> DeathPlace:
        self._open.callback(self.platform.close)
        self.redis.start()
        self._open.callback(self.redis.stop)
        self.redis.wait_until_stored(_LEDGER)
        limits = [{"type": limit.window.value, "value": limit.value} for limit in LIMITS["all"]]
        strategy = {"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": limits}
        (self.folder / "finds.py").write_text(_MODEL)
        settings = {
            "model": {"type": "python", "factory": "finds:make", "path": "."},
            "streams": list(self._streams),
            "upload": {"workers": self._workers},
            "listeners": [{"listen": self.listener}],
            "limits": {"redis": {"url": f"redis://127.0.0.1:{self.redis.port}"}},
            "status": {"bind": self._status},
            **self.platform.settings(PROJECT),
        }
        write_configuration(self.folder, settings, {**POLICY, "sampling_strategies": [strategy]})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def start(self, *, is_collecting: bool = True) -> Daemon:
        """A daemon that has started everything, and that the ledger answers."""
        enabled = "true" if is_collecting else "false"
        daemon = Daemon(self.folder, ROBOFLOW_API_KEY=KEY, ACTIVE_LEARNING_ENABLED=enabled)
        daemon.wait_for("ready", 60.0)
        view = OperatorView(self.folder, int(self._status.rpartition(":")[2]), daemon)
        view.until(lambda: view.fields().get("quota", {}).get("granted_by") == "shared", 90.0)
        return daemon

    def post(self) -> str | None:
        """Hands one picture in. The id that was promised, None where the daemon died before it answered."""
        noise = self._rng.integers(0, 255, (60, 80, 3), np.uint8)
        jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
        box = {"x": 20, "y": 20, "width": 9, "height": 9, "class": "car", "class_id": 0, "confidence": 0.5}
        form = {
            "image": ("a.jpg", jpeg),
            "stream": (None, "client"),
            "prediction": (None, json.dumps({"predictions": [box]})),
        }
        try:
            answer = requests.post(f"http://{self.listener}/datapoints", files=form, timeout=20)  # type: ignore[arg-type]
            promised: str | None = answer.json()["id"]
        except (requests.RequestException, ValueError):
            return None
        if promised is not None:
            self._promised.append(promised)
        return promised

    def is_settled(self) -> bool:
        """Whether nothing is in the spool any more."""
        return not read_spool(self.spool).there

    def compare(self) -> tuple[int, list[str], list[str]]:
        """How many were ever accepted, ids that are new, and what does not fit."""
        promised, self._promised = self._promised, []
        before = set(self.accounts.known)
        spool = read_spool(self.spool)
        found = self.accounts.compare(spool, read_platform(self.platform), promised)
        return spool.given, sorted(self.accounts.known - before), found

    def settle(self) -> list[str]:
        """Delivers all that is left, and compares everything, the ledger too."""
        daemon = self.start(is_collecting=False)
        with daemon:
            for _ in range(600):
                if self.is_settled():
                    break
                threading.Event().wait(0.1)
            _, _, found = self.compare()
            if not self.is_settled():
                found.append("the spool does not become empty")
            found += audit(self.redis.client, [self.spool], LIMITS, batches={}).differences
            code = daemon.stop(30.0)
        if code not in (0, -signal.SIGTERM):
            found.append(f"the last daemon ended with {code}")
        return found
