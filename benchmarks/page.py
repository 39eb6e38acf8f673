"""What a viewer of the page costs: the processor time of a whole daemon with and without one, in turn.

    .venv/bin/python benchmarks/page.py [--seconds 30] [--rounds 3]

The daemon watches eight streams (one clip, again and again, two frames a second each, no model), and its spool has a
hundred datapoints that can't be delivered. A viewer listens to what changes, as a browser does that shows the page.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from framesift.demo.scene import Street, write_video

_STREAMS = 8
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def free_address() -> str:
    """An address at which nothing listens at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def write_settings(folder: Path, bind: str) -> None:
    """The settings, the policy and a model that waits for half a second, as a slow network does."""
    (folder / "slow.py").write_text(
        "import threading\ndef make():\n    return lambda pixels: threading.Event().wait(0.5) or {'predictions': []}\n"
    )
    (folder / "in the way").write_text("")
    settings = {
        "device": "benchmark",
        "streams": [{"name": f"stream-{n}", "source": "street.mp4", "loop": True} for n in range(_STREAMS)],
        "model": {"type": "python", "factory": "slow:make", "path": "."},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "in the way/collected"},
        "spool": {"path": "spool.db", "min_free_bytes": 0},
        "status": {"bind": bind},
    }
    strategies = [
        {
            "name": f"share-{n}",
            "type": "random",
            "traffic_percentage": 0.1,
            "limits": [{"type": kind, "value": value} for kind, value in (("hourly", 20), ("daily", 100))],
        }
        for n in range(5)
    ]
    policy = {
        "enabled": True,
        "sampling_strategies": strategies,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "b", "recreation_interval": "never"},
    }
    (folder / "framesift.yaml").write_text(json.dumps(settings))
    (folder / "policy.json").write_text(json.dumps(policy))


def cpu_s(pid: int) -> float:
    """The processor time of a process, in seconds, without that of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def share(pid: int, seconds: float) -> float:
    """Which part of one core the process uses over some seconds."""
    before_s, began_s = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pid) - before_s) / (time.monotonic() - began_s)


def listen(bind: str, end: threading.Event) -> None:
    """Be a viewer until the end."""
    connection = http.client.HTTPConnection(bind, timeout=30.0)
    connection.request("GET", "/live")
    answer = connection.getresponse()
    while not end.is_set():
        answer.readline()
    connection.close()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    without, with_one = [], []
    with tempfile.TemporaryDirectory() as name:
        folder, bind = Path(name), free_address()
        write_video(Street(frames=48), folder / "street.mp4")
        write_settings(folder, bind)
        daemon = subprocess.Popen(
            [Path(sys.executable).with_name("framesift"), "run"], cwd=folder, stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(20.0)
            for _ in range(given.rounds):
                without.append(share(daemon.pid, given.seconds))
                end = threading.Event()
                viewer = threading.Thread(target=listen, args=(bind, end))
                viewer.start()
                with_one.append(share(daemon.pid, given.seconds))
                end.set()
                viewer.join()
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)
    added = statistics.median(one - other for one, other in zip(with_one, without, strict=True))
    print(f"a viewer adds {added:.2%} of a core to the {statistics.median(without):.2%} of the daemon")


if __name__ == "__main__":
    main()
