"""Sixteen streams of which nothing is accepted: a daemon with all its processes writes next to nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rigs.daemon import NEW_PROCESS, POLICY, Daemon, write_configuration
from rigs.scenes import scene_clip

MOST_A_DAY = 50_000_000
MEASURED_S = 130.0  # twice what is done every minute, six times what is done every 20 s


def processes(pid: int) -> list[int]:
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    ]
    return [pid, *(found for child in children for found in processes(child))]


def dirtied_bytes(pid: int) -> int:
    """Whole pages that it has dirtied in files; what it says to the log is a pipe here, and does not count."""
    counted = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counted["write_bytes"])


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_sixteen_idle_streams_write_at_most_fifty_megabytes_a_day(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 3, frames=10)
    streams = [{"name": f"s{number}", "source": "clip.mkv", "loop": True, "fps": 5} for number in range(16)]
    nothing = {"name": "none", "type": "random", "traffic_percentage": 0.0}
    write_configuration(
        tmp_path,
        {"streams": streams, "status": {"bind": "127.0.0.1:0"}},
        {**POLICY, "sampling_strategies": [nothing], "near_duplicate": {"threshold": "auto"}},
    )
    with Daemon(tmp_path, command=NEW_PROCESS) as daemon:
        for stream in streams:
            daemon.wait_for("stream", stream=stream["name"], state="running", timeout_s=60.0)
        before = {pid: dirtied_bytes(pid) for pid in processes(daemon.process.pid)}
        began_s = time.monotonic()
        daemon.until(lambda: False, MEASURED_S)
        after = {pid: dirtied_bytes(pid) for pid in processes(daemon.process.pid)}
        took_s = time.monotonic() - began_s
        assert daemon.stop() == 0
    grown = sum(count - before.get(pid, 0) for pid, count in after.items())
    assert grown * 86_400 / took_s <= MOST_A_DAY
