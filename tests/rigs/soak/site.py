"""The site of a soak: a daemon with sixteen streams, and all that is around it."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from canaries import KEY
from framesift.limits import Limit, Window
from rigs.daemon import Daemon, free_address, write_configuration
from rigs.fault_proxy import FaultProxy, fault_proxy
from rigs.footage import numbered_clip
from rigs.platform import Platform
from rigs.redis_server import RedisServer
from rigs.rtp_faults import RtpFaults
from rigs.rtsp import CuttableConnection, RtspCamera
from rigs.soak.clients import Clients

PROJECT = "parking"
CAMERAS, FILES, CLIENTS = 8, 6, 2
# Of a camera's pictures, before and after it is set to another one. In larger ones too little would move: rendered
# pictures have no noise, and such a camera counts as frozen.
SIZES = (320, 192), (288, 176)
MOST_SENT_A_MINUTE = 20
MOST_A_BATCH = 3000  # of each day

LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "of clients": (Limit(Window.MINUTELY, 2), Limit(Window.DAILY, 1500)),
    "hard": (Limit(Window.MINUTELY, 6), Limit(Window.HOURLY, 240), Limit(Window.DAILY, 3500)),
    "best": (Limit(Window.HOURLY, 60), Limit(Window.DAILY, 1000)),
    "everyday": (Limit(Window.MINUTELY, 3), Limit(Window.HOURLY, 120)),
}

# It finds the block that moves through the clips, and is the less sure of it the farther it is to the right.
_MODEL = """
import numpy as np
class Detector:
    task, class_names = "object-detection", ("block",)
    def predict(self, pixels):
        row = pixels[pixels.shape[0] // 2 + 8]
        found = np.flatnonzero((row[:, 2] > 170) & (row[:, 0] < 110))
        if not len(found):
            return {"predictions": []}
        middle = float(found.mean())
        sure = 0.95 - 0.6 * middle / pixels.shape[1]
        box = {"x": middle, "y": pixels.shape[0] / 2 + 12, "width": 32, "height": 24, "confidence": sure}
        return {"predictions": [{**box, "class": "block", "class_id": 0}]}
"""


def policy(mark: str = "first") -> dict[str, Any]:
    """The policy. mark: a tag, by which one reload differs from another."""

    def limits(name: str) -> list[dict[str, Any]]:
        return [{"type": limit.window.value, "value": limit.value} for limit in LIMITS[name]]

    return {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {
            "batches_name_prefix": "soak",
            "recreation_interval": "daily",
            "max_batch_images": MOST_A_BATCH,
        },
        "sampling_strategies": [
            {"name": "of clients", "type": "detections_number_based", "more_than": 1, "probability": 1.0,
             "limits": limits("of clients")},
            {"name": "hard", "type": "uncertainty", "minimum_score": 0.6, "tags": [mark], "limits": limits("hard")},
            {"name": "best", "type": "uncertainty", "minimum_score": 0.3, "limits": limits("best"),
             "pacing": {"mode": "hold_queue"}},
            {"name": "everyday", "type": "random", "traffic_percentage": 0.02, "limits": limits("everyday")},
        ],
    }  # fmt: skip


class CameraHouse:
    """An RTSP server with one clip, which can come back with pictures of another size."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._size = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._film()
        self.server = RtspCamera(folder)

    def _film(self) -> None:
        clip = self._folder / "new.mp4"
        numbered_clip(clip, frames=250, fps=5, size=SIZES[self._size], begin_at=1000 * self._seed)
        clip.replace(self._folder / "clip.mp4")

    def reboot_with_another_size(self) -> None:
        """After `server.stop()`: it comes back."""
        self._size = 1 - self._size
        self._film()
        self.server.start()


class Site:
    """One daemon with sixteen streams, and what it talks to. All of it runs from `__enter__` to `__exit__`.

    folder: keeps the spool, the platform's and the ledger's data; a later site goes on with them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool.db"
        self._open = ExitStack()
        self.houses = [CameraHouse(folder / f"cameras-{n}", n) for n in range(2)]
        self.faults = [RtpFaults() for _ in range(CAMERAS)]
        self.wires: list[CuttableConnection] = []
        (folder / "redis").mkdir(exist_ok=True)
        self.redis = RedisServer(folder / "redis", appendonly="yes", appendfsync="everysec")
        self.ledger_wire: FaultProxy
        self.platform = Platform(folder=folder / "platform", one_of="name")
        self.platform.add_project(PROJECT, "object-detection", active_learning=None)
        self.status, self.listener = free_address(), free_address()
        self.clients = Clients(self.listener, CLIENTS)
        self.daemon: Daemon | None = None

    def __enter__(self) -> Site:
        open_ = self._open
        open_.callback(self.platform.close)
        self.redis.start()
        open_.callback(self.redis.stop)
        if not self.redis.client.dbsize():
            self.redis.wait_until_stored(f"framesift:{{{PROJECT}}}")  # or its first minute would grant nothing
        self.ledger_wire = open_.enter_context(fault_proxy(self.redis.port))
        for house in self.houses:
            open_.enter_context(house.server)
        for number in range(CAMERAS):
            server = self.houses[number % len(self.houses)].server
            self.wires.append(open_.enter_context(CuttableConnection(server.port, faults=self.faults[number])))
        self._configure()
        open_.callback(self._end_daemon)
        open_.enter_context(self.clients)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def start_daemon(self) -> Daemon:
        """It dies with this process, and must be ended before another one is started."""
        alive = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "framesift", "run")
        self.daemon = Daemon(self.folder, command=alive, ROBOFLOW_API_KEY=KEY)
        return self.daemon

    def write_policy(self, text: str) -> None:
        (self.folder / "policy.json").write_text(text)

    def _end_daemon(self) -> None:
        if self.daemon is not None:
            self.daemon.__exit__(None, None, None)

    def _configure(self) -> None:
        (self.folder / "detector.py").write_text(_MODEL)
        streams: list[dict[str, Any]] = [
            {"name": f"camera-{n}", "source": wire.url("clip.mp4"), "fps": 1} for n, wire in enumerate(self.wires)
        ]
        for number in range(FILES):
            clip = self.folder / f"file-{number}.mp4"
            if not clip.exists():
                numbered_clip(clip, frames=600, fps=2, begin_at=5000 + 1000 * number)
            streams.append({"name": f"file-{number}", "source": clip.name, "loop": True, "pace": "realtime", "fps": 1})
        there = self.platform.settings(PROJECT)
        there["sink"]["limits"] = [{"type": "minutely", "value": MOST_SENT_A_MINUTE}]
        settings = {
            "device": "soak",
            "streams": streams,
            "listeners": [{"listen": self.listener}],
            "model": {"type": "python", "factory": "detector:Detector", "path": "."},
            "limits": {"redis": {"url": f"redis://127.0.0.1:{self.ledger_wire.port}"}},
            "spool": {"path": "spool.db", "max_bytes": "4MiB", "min_free_bytes": "1MiB"},
            "decisions": {"max_bytes": "4MiB"},
            "status": {"bind": self.status},
            **there,
        }
        write_configuration(self.folder, settings, policy())


def chance_of(seed: int, round_number: int) -> random.Random:
    """What decides about a round."""
    return random.Random(f"{seed} {round_number}")


def policy_text(mark: str) -> str:
    return json.dumps(policy(mark))
