"""What the pipeline costs beside a bare OpenCV read loop: frames per second and CPU, as ratios, in one run.

    .venv/bin/python benchmarks/pipeline.py [--frames 600] [--runs 3]

Both sides read the same rendered 1080p file to its end. The pipeline is an ordinary `framesift run`, with the stub
model and ten strategies; CPU is that of all its processes (readers included), as the kernel accounts for ended
children. The start of Python and the loading of modules belong to both and are measured too.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2

from framesift.demo.scene import Street

BARE_LOOP = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
count = 0
while capture.read()[0]:
    count += 1
print(count)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One side's cost: seconds on the wall and of CPU, frames read, datapoints accepted."""

    wall_s: float
    cpu_s: float
    frames: int
    accepted: int = 0


def main() -> None:
    """Measure both sides in turn, and print the ratios of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = folder / "street.mp4"
        _write_1080p(video, given.frames)
        bare: list[Run] = []
        pipeline: list[Run] = []
        for turn in range(given.runs):  # in turn: both sides then meet the same load on a shared machine
            bare.append(_bare(video))
            pipeline.append(_pipeline(folder, video, turn))
            print(f"run {turn + 1}: bare {_line(bare[-1])}; pipeline {_line(pipeline[-1])}", flush=True)
    print(f"1080p, {given.frames} frames, stub model, ten strategies, medians of {given.runs} runs:")
    speed = statistics.median(r.frames / r.wall_s for r in pipeline) / statistics.median(
        b.frames / b.wall_s for b in bare
    )
    cpu = statistics.median(r.cpu_s / r.frames for r in pipeline) / statistics.median(b.cpu_s / b.frames for b in bare)
    sampled = statistics.median(r.accepted for r in pipeline)
    print(f"  frames per second, pipeline / bare loop: {speed:.2f}")
    print(f"  CPU per frame, pipeline / bare loop:     {cpu:.2f}")
    print(f"  frames sampled by the pipeline:          {sampled:.0f} of {pipeline[0].frames}")


def _line(run: Run) -> str:
    return f"{run.frames} frames, {run.frames / run.wall_s:.0f}/s, {1000 * run.cpu_s / run.frames:.1f} ms CPU each"


def _write_1080p(path: Path, frames: int) -> None:
    street = Street(width=640, height=360, frames=frames)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (1920, 1080))
    for number in range(frames):
        writer.write(cv2.resize(street.render(number), (1920, 1080), interpolation=cv2.INTER_LINEAR))
    writer.release()


def _measured(command: list[str], folder: Path) -> tuple[float, float, str]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started_s = time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    wall_s = time.perf_counter() - started_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, done.stdout


def _bare(video: Path) -> Run:
    wall_s, cpu_s, printed = _measured([sys.executable, "-c", BARE_LOOP, str(video)], video.parent)
    return Run(wall_s, cpu_s, int(printed))


def _pipeline(folder: Path, video: Path, turn: int) -> Run:
    home = folder / f"pipeline-{turn}"
    home.mkdir()
    strategies = [
        {
            "name": f"every_{n}",
            "type": "random",
            "traffic_percentage": 0.002 * n,
            "limits": [{"type": "daily", "value": 50}],
        }
        for n in range(1, 11)
    ]
    policy = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": strategies,
        "batching_strategy": {"batches_name_prefix": "bench", "recreation_interval": "daily"},
    }
    (home / "policy.json").write_text(json.dumps(policy))
    settings = {
        "device": "bench",
        "streams": [{"name": "street", "source": str(video)}],
        "model": {"type": "stub"},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
        "status": {"bind": None},
    }
    (home / "framesift.yaml").write_text(json.dumps(settings))  # JSON is YAML
    wall_s, cpu_s, printed = _measured([sys.executable, "-m", "framesift", "run"], home)
    last = json.loads(printed.splitlines()[-1])
    return Run(wall_s, cpu_s, last["frames"], last["accepted"])


if __name__ == "__main__":
    main()
