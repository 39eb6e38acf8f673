"""(f): how long a start takes, and the memory of a daemon with one camera: at rest, and while the platform hangs.

Memory is PSS of all processes (the daemon, the template of its readers, one reader), as the kernel says.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from canaries import KEY
from memory import memory_mib, processor_s
from price.figures import Benchmark, Figure
from price.measuring import Cost, median_cost
from rigs.daemon import NEW_PROCESS, Daemon, children, framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.hanging import reader_pids
from rigs.hanging_server import HangingServer
from rigs.scripted_camera import ScriptedCamera, rtp_payloads

_RESTS_S = 10.0
_HANGS_S = 40.0


def _start(folder: Path) -> Cost:
    began_s = time.perf_counter()
    with Daemon(folder, command=NEW_PROCESS) as daemon:
        daemon.wait_for("ready", 60.0)
        cost = Cost(time.perf_counter() - began_s, processor_s(daemon.process.pid))
        daemon.stop()
    return cost


def _memory_mib(daemon: Daemon) -> float:
    pids = [daemon.process.pid, *children(daemon.process.pid), *reader_pids(daemon.process.pid)]
    return sum(memory_mib(pid)["pss"] for pid in pids)


def _settings(folder: Path, source: str, **more: Any) -> None:
    write_configuration(folder, {"streams": [{"name": "gate", "source": source, "fps": 5}], **more})


def _starts(runs: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = rtp_payloads(numbered_clip(folder / "clip.mp4", 100, (640, 384)))
        with ScriptedCamera(pictures=pictures) as camera:
            _settings(folder, camera.url)
            cost = median_cost([_start(folder) for _ in range(runs)])
            yield Figure("start until ready: wall", cost.wall_s, "s", 1.5)
            yield Figure("start until ready: processor", cost.processor_s, "s")
            with Daemon(folder, command=NEW_PROCESS) as daemon:
                daemon.wait_for("stream", 60.0, state="running")
                daemon.until(lambda: False, _RESTS_S)
                rest_mib = _memory_mib(daemon)
                daemon.stop()
            yield Figure("memory with one camera", rest_mib, "MB", 180.0)
            with HangingServer("answer") as platform:
                (folder / "hanging").mkdir()
                sink = {"type": "roboflow", "project": "street"}
                roboflow = {"api_key": KEY, "api_url": platform.url}
                _settings(folder / "hanging", camera.url, sink=sink, roboflow=roboflow)
                with Daemon(folder / "hanging", command=NEW_PROCESS) as daemon:
                    daemon.wait_for("stream", 60.0, state="running")
                    daemon.until(lambda: False, _RESTS_S)
                    before_mib = _memory_mib(daemon)
                    daemon.until(lambda: False, _HANGS_S)
                    grown_mib = _memory_mib(daemon) - before_mib
                    daemon.stop()
                    waiting = len(framesift(folder / "hanging", "spool", "list", "--json").stdout.splitlines())
            yield Figure("memory more, while the platform hangs", grown_mib, "MB", 20.0, f"{waiting} datapoints wait")


BENCHMARKS = (Benchmark("f", f"start and memory (Python {sys.version.split()[0]})", _starts),)
