"""What snapshots cost: the packets of a main stream kept and a picture now and then, beside decoding all of it.

    .venv/bin/python benchmarks/snapshots.py [--seconds 60] [--every 10] [--size 1920x1080] [--group 50]

One camera of 25 pictures a second serves both at the same time, each with a reader process of its own: a
`SnapshotSource` that is asked for one picture each `--every` seconds, and a `Stream` that decodes everything and shows
one picture in that time. What is printed is the share of a processor of each reader process, and the first as a part of
the second.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the rigs of the tests

from framesift.clock.clock import SystemClock
from framesift.demo.scene import Street
from framesift.frame import Frame
from framesift.streams import Stream, StreamSettings
from framesift.streams.snapshots.snapshot_source import SnapshotSource
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotPicture
from memory import processor_s
from rigs.footage import with_sensor_noise, write_clip
from rigs.scripted_camera import ScriptedCamera, rtp_payloads
from rigs.stream_reader import reader_pids

FPS = 25
CLIP_S = 8
SETTLED_AFTER_S = 8.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two pictures")
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--group", type=int, default=50, help="pictures from one key frame to the next")
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        clip = write_clip(Path(folder, "main.mp4"), street(width, height), FPS, asked.group)
        print(
            f"{asked.size}, {FPS} a second, groups of {asked.group}, {clip.stat().st_size * 8e-6 / CLIP_S:.1f} Mbit/s"
        )
        with ScriptedCamera(pictures=rtp_payloads(clip), fps=FPS, clock_ahead_s=0.0) as camera:
            measure(camera.url, asked.seconds, asked.every)


def street(width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a rendered street, enlarged, with a sensor's noise, which is what a camera's bits go into."""
    scene, rng = Street(width=640, height=360, frames=FPS * CLIP_S), np.random.default_rng(1)
    for number in range(FPS * CLIP_S):
        pixels = np.asarray(cv2.resize(scene.render(number), (width, height)), np.uint8)
        yield with_sensor_noise(pixels, 2.0, rng)


def measure(source: str, seconds: float, every_s: float) -> None:
    """Measure both at the same time, and print."""
    clock, stop = SystemClock(), threading.Event()
    snapshot = StreamSettings.model_validate({"name": "kept", "source": source, "snapshot": {"source": source}})
    whole = StreamSettings.model_validate({"name": "whole", "source": source, "fps": 1.0 / every_s})
    snapshots = SnapshotSource(snapshot, clock=clock, rng=random.Random(1))
    frames = Stream(whole, clock=clock, stop=stop, rng=random.Random(2)).frames()
    reading = threading.Thread(target=lambda: [None for _ in frames], daemon=True)
    snapshots.start()
    reading.start()
    stop.wait(SETTLED_AFTER_S)
    (keeper,), (reader,) = reader_pids("kept.snapshot"), reader_pids("whole")
    before, began_s = (processor_s(keeper), processor_s(reader)), time.monotonic()
    answers: list[SnapshotPicture | SnapshotMissed] = []
    took_s: list[float] = []
    while time.monotonic() - began_s < seconds:
        now = clock.now()
        wanted = Frame("kept", 0, np.zeros((2, 2, 3), np.uint8), now, sent_s=now.wall_s)
        answers.append(snapshots.request(wanted, deadline_s=now.boottime_s + 5.0).wait())
        took_s.append(clock.now().boottime_s - now.boottime_s)
        stop.wait(max(0.0, began_s + len(answers) * every_s - time.monotonic()))
    passed_s = time.monotonic() - began_s
    kept, decoded = ((processor_s(pid) - used) / passed_s for pid, used in zip((keeper, reader), before, strict=True))
    pictures = sum(isinstance(answer, SnapshotPicture) for answer in answers)
    print(f"kept: {kept:.1%} of a processor; {pictures} of {len(answers)} pictures, after {max(took_s):.2f} s at most")
    print(f"decoded: {decoded:.1%} of a processor")
    print(f"kept / decoded: {kept / decoded:.3f}; memory for packets {snapshots.kept_bytes / 1e6:.1f} MB")
    snapshots.stop(5.0)
    stop.set()
    reading.join(5.0)


if __name__ == "__main__":
    main()
