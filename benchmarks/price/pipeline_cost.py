"""(a), (b): a whole `framesift run` of a file beside a bare loop over the same file with the same engine.

The run has the stub model and ten strategies that draw on each frame. Costs are slopes between a short and a long
clip, so that neither loading Python nor opening the file is in them; processor time is that of all processes together.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from framesift.demo.scene import Street
from price.figures import Benchmark, Figure
from price.measuring import Cost, cost_of_command, in_turn
from rigs.footage import write_clip

SHORT, LONG = 600, 2400  # frames
FPS = 30
_DRAWN = 300  # different pictures of a clip, shown again and again
_SIZES = {"1080p": (1920, 1080), "720p": (1280, 720)}

# Arguments: the file, 1 where only every sixth picture is converted, 1 where every sixth is encoded too.
_BARE = {
    "av": """
import sys, av, cv2
container = av.open(sys.argv[1])
stream = container.streams.video[0]
stream.thread_count = 1
thin, encode = sys.argv[2] == "1", sys.argv[3] == "1"
for count, frame in enumerate(container.decode(stream)):
    if not thin or count % 6 == 0:
        pixels = frame.to_ndarray(format="bgr24")
        if encode and count % 6 == 0:
            cv2.imencode(".jpg", pixels)
""",
    "opencv": """
import sys, cv2
cv2.setNumThreads(1)
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
thin, encode = sys.argv[2] == "1", sys.argv[3] == "1"
count = 0
while capture.grab():
    if not thin or count % 6 == 0:
        pixels = capture.retrieve()[1]
        if encode and count % 6 == 0:
            cv2.imencode(".jpg", pixels)
    count += 1
""",
}


@dataclass(frozen=True, slots=True)
class Clips:
    """The same street, short and long."""

    folder: Path
    short: Path
    long: Path


def draw_clips(folder: Path, width: int, height: int) -> Clips:
    """Write both clips: H.264 without B-frames, 30 pictures a second, a key frame each second."""
    street = Street(width=640, height=360, frames=_DRAWN)
    drawn = [street.render(number) for number in range(_DRAWN)]

    def clip(frames: int) -> Path:
        pictures = (
            np.asarray(cv2.resize(drawn[number % _DRAWN], (width, height)), np.uint8) for number in range(frames)
        )
        return write_clip(folder / f"{height}-{frames}.mp4", pictures, FPS, FPS, sc_threshold="0")

    return Clips(folder, clip(SHORT), clip(LONG))


def bare_cost(clips: Clips, engine: str, *, thin: bool = False, encode: bool = False) -> Cost:
    """What one frame costs a bare loop."""
    words = [sys.executable, "-c", _BARE[engine]]
    flags = ["1" if thin else "0", "1" if encode else "0"]
    short, _ = cost_of_command([*words, str(clips.short), *flags], clips.folder)
    long, _ = cost_of_command([*words, str(clips.long), *flags], clips.folder)
    return long.slope(short, LONG - SHORT)


def run_cost(clips: Clips, stream: Mapping[str, object], share: float) -> Cost:
    """What one frame costs `framesift run`. share: of the frames, that the last of the ten strategies accepts."""
    short, _ = _run(clips, clips.short, stream, share)
    long, frames = _run(clips, clips.long, stream, share)
    expected = {"fps": LONG // 6, "decode": LONG // FPS}
    assert frames == next((count for key, count in expected.items() if key in stream), LONG), frames
    return long.slope(short, LONG - SHORT)


def _run(clips: Clips, video: Path, stream: Mapping[str, object], share: float) -> tuple[Cost, int]:
    limits = [{"type": "daily", "value": 1_000_000}]
    shares = [1e-9] * 9 + [max(share, 1e-9)]
    strategies = [
        {"name": f"draw_{number}", "type": "random", "traffic_percentage": of, "limits": limits}
        for number, of in enumerate(shares)
    ]
    policy = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": strategies,
        "batching_strategy": {"batches_name_prefix": "bench", "recreation_interval": "daily"},
    }
    settings = {
        "device": "bench",
        "streams": [{"name": "street", "source": str(video), **stream}],
        "model": {"type": "stub"},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
        "status": {"bind": None},
    }
    with tempfile.TemporaryDirectory(dir=clips.folder) as name:
        folder = Path(name)
        (folder / "policy.json").write_text(json.dumps(policy))
        (folder / "framesift.yaml").write_text(json.dumps(settings))  # JSON is YAML
        cost, printed = cost_of_command([sys.executable, "-m", "framesift", "run"], folder)
    stopped = json.loads(printed.splitlines()[-1])
    return cost, stopped["frames"]


def _each_frame(runs: int) -> Iterator[Figure]:
    for name, size in _SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            clips = draw_clips(Path(folder), *size)
            for engine, processor_bound in (("av", 1.20), ("opencv", 1.12)):
                costs = in_turn(
                    runs,
                    bare=partial(bare_cost, clips, engine),
                    run=partial(run_cost, clips, {"engine": engine}, 0.0),
                    encoding=partial(bare_cost, clips, engine, encode=True),
                    accepting=partial(run_cost, clips, {"engine": engine}, 1 / 6),
                )
                what = f"{name}, {engine}, none accepted"
                yield from _ratios(what, costs["run"], costs["bare"], 1.10, processor_bound)
                what = f"{name}, {engine}, five a second, bare encodes them too"
                yield from _ratios(what, costs["accepting"], costs["encoding"], None, None)


def _ratios(
    what: str, run: Cost, bare: Cost, wall_bound: float | None, processor_bound: float | None
) -> Iterator[Figure]:
    wall = f"{1000 * run.wall_s:.2f} / {1000 * bare.wall_s:.2f} ms"
    processor = f"{1000 * run.processor_s:.2f} / {1000 * bare.processor_s:.2f} ms"
    yield Figure(f"{what}: wall", run.wall_s / bare.wall_s, "x", wall_bound, wall)
    yield Figure(f"{what}: processor", run.processor_s / bare.processor_s, "x", processor_bound, processor)


def _some_frames(runs: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        clips = draw_clips(Path(folder), *_SIZES["1080p"])
        costs = in_turn(
            runs,
            bare=lambda: bare_cost(clips, "av", thin=True),
            thinned=lambda: run_cost(clips, {"fps": 5}, 0.0),
            all_of_them=lambda: run_cost(clips, {}, 0.0),
            keyframes=lambda: run_cost(clips, {"decode": "keyframes"}, 0.0),
        )
        yield from _ratios("fps: 5 of 30, bare converts one in six", costs["thinned"], costs["bare"], None, 1.05)
        yield from _ratios("decode: keyframes, beside all", costs["keyframes"], costs["all_of_them"], None, 0.2)


BENCHMARKS = (
    Benchmark("a", "each frame through the pipeline, beside a bare loop", _each_frame),
    Benchmark("b", "some of the frames", _some_frames),
)
