"""What readers, dead cameras and large pictures cost: memory and processor of a real `framesift run`, in one run.

    .venv/bin/python benchmarks/memory.py [--readers 8] [--seconds 30] [--size 640x384]

It prints a JSON line for each of three:

    readers          PSS and USS (private memory) of a reader in MiB, as the kernel says in smaps_rollup, the median of
                     all; beside it what a process of its own costs that has only loaded what a reader needs
    dead cameras     the share of a core that a daemon with ten cameras uses that refuse connections, all its processes
                     together, and from it what one attempt costs; beside it what such a process costs to start
    large picture    by how much the peak of the daemon's memory grows in MiB while a listener gets a JPEG of 64
                     megapixels, and how large the picture was that it stored
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the rigs of the tests

from rigs.daemon import NEW_PROCESS, Daemon, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.hanging import reader_pids
from rigs.raw_http_server import reserve_closed_port

LOADS = "import framesift.streams.reader, cv2; print(flush=True); input()"
MIB = 1 << 20


def memory_mib(pid: int) -> dict[str, float]:
    """Return PSS and USS of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    uss = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"pss": round(kib["Pss"] / 1024, 1), "uss": round(uss / 1024, 1)}


def own_process() -> dict[str, Any]:
    """Return what a process costs that loads what a reader needs: memory, and seconds of a processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-c", LOADS]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        memory = memory_mib(process.pid)
        process.communicate("\n")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return memory | {"processor_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)}


def processor_s(pid: int) -> float:
    """Return the seconds of a processor that a process and those below it have used, ended ones included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    below = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return used + sum(processor_s(int(child)) for child in below)


def measure_readers(folder: Path, count: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return the memory of readers that read the same clip again and again."""
    numbered_clip(folder / "clip.mp4", frames=100, size=size)
    streams = [{"name": f"gate-{n}", "source": "clip.mp4", "loop": True, "fps": 5} for n in range(count)]
    write_configuration(folder, {"streams": streams, "model": unhurried(folder)})
    with Daemon(folder, command=NEW_PROCESS) as daemon:
        for stream in streams:
            daemon.wait_for("stream", 60.0, stream=stream["name"], state="running")
        daemon.until(lambda: False, 5.0)
        found = [memory_mib(pid) for pid in reader_pids(daemon.process.pid)]
        daemon.stop()
    assert len(found) == count
    return {kind: round(statistics.median(memory[kind] for memory in found), 1) for kind in ("pss", "uss")}


def measure_dead_cameras(folder: Path, seconds: float) -> dict[str, Any]:
    """Return what cameras cost that refuse connections."""
    guard, port = reserve_closed_port()
    streams = [{"name": f"dead-{n}", "source": f"rtsp://127.0.0.1:{port}/{n}"} for n in range(10)]
    write_configuration(folder, {"streams": streams})
    with guard, Daemon(folder, command=NEW_PROCESS) as daemon:
        for stream in streams:
            daemon.wait_for("stream", 60.0, stream=stream["name"], state="lost")
        daemon.until(lambda: False, 20.0)  # until the pauses have grown
        before_s, began_s = processor_s(daemon.process.pid), time.monotonic()
        daemon.until(lambda: False, seconds)
        share = (processor_s(daemon.process.pid) - before_s) / (time.monotonic() - began_s)
        daemon.stop()
    return {"cores": round(share, 4)}


def measure_large_picture(folder: Path) -> dict[str, Any]:
    """Return what a picture of 64 megapixels at a listener adds to the peak of the memory."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    write_configuration(folder, {"listeners": [{"listen": listen}]})
    noise = np.random.default_rng(1).integers(0, 255, (900, 1200, 3), np.uint8)
    picture = cv2.resize(noise, (9216, 6944))
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()
    small = cv2.imencode(".jpg", picture[:480, :640])[1].tobytes()
    with Daemon(folder, command=NEW_PROCESS) as daemon:
        daemon.wait_for("ready", 60.0)

        def send(image: bytes) -> dict[str, Any]:
            form = {"image": image, "stream": (None, "gate"), "prediction": (None, '{"predictions": []}')}
            answer = requests.post(f"http://{listen}/datapoints", files=form, timeout=120)  # type: ignore[arg-type]
            return {"status": answer.status_code, "accepted": bool(answer.json().get("strategy"))}

        send(small)
        place = Path(f"/proc/{daemon.process.pid}")
        (place / "clear_refs").write_text("5")  # the peak is counted from here
        before = _status_bytes(place, "VmRSS")
        answer = send(jpeg)
        grown = _status_bytes(place, "VmHWM") - before
        daemon.stop()
    return {"body_mib": round(len(jpeg) / MIB, 1), "peak_grown_mib": round(grown / MIB, 1)} | answer


def _status_bytes(place: Path, name: str) -> int:
    (line,) = (line for line in (place / "status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Measure all three."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--readers", type=int, default=8)
    options.add_argument("--seconds", type=float, default=30.0, help="how long the dead cameras are watched")
    options.add_argument("--size", default="640x384")
    options.add_argument("--only", default="readers,dead cameras,large picture")
    chosen = options.parse_args()
    width, height = (int(side) for side in chosen.size.split("x"))
    own = own_process()
    for kind in chosen.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            if kind == "readers":
                found = measure_readers(Path(folder), chosen.readers, (width, height))
                found = {"a_reader_mib": found, "a_process_of_its_own_mib": own}
            elif kind == "dead cameras":
                found = measure_dead_cameras(Path(folder), chosen.seconds)
                found |= {"a_process_of_its_own_s": own["processor_s"]}
            else:
                found = measure_large_picture(Path(folder))
        print(json.dumps({"what": kind, **found}), flush=True)


if __name__ == "__main__":
    main()
