"""How old a camera's picture is when the model begins with it, and whether many cameras get their shares.

    .venv/bin/python benchmarks/freshness.py [--seconds 60] [--only many,keyframes,slow,thinned]

Each case is a real `framesift run` beside RTSP servers on this machine, whose cost belongs to the load too. What
is printed comes from the daemon's own /metrics: for each camera the share of pictures that were at most 1.5 of its
intervals old, and the frames that it got of those that it should get; the cores that the daemon used with its readers.

    many         sixteen cameras of 640x360, 15 to 25 pictures a second, fps: 1 to 5, the stub model
    keyframes    sixteen cameras of 1920x1080, decode: keyframes, a key frame each second
    slow         a camera of 25 pictures a second, and a model that takes 100 ms
    thinned      the same with fps: 2, and a model that takes 700 ms
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the rigs of the tests

from framesift.demo.scene import Street
from memory import processor_s
from rigs.daemon import NEW_PROCESS, Daemon, write_configuration
from rigs.footage import write_clip
from rigs.rtsp import reserved_port
from rigs.scripted_camera import ScriptedCamera, rtp_payloads

SETTLED_AFTER_S = 10.0
CLIP_S = 8


@dataclass(frozen=True, slots=True)
class Case:
    """What runs. rates, fps: of the cameras and of the streams, in turn; an fps of 0 is none. model_s: 0: the stub."""

    size: tuple[int, int]
    cameras: int
    rates: tuple[int, ...]
    fps: tuple[float, ...] = (0.0,)
    model_s: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def rate(self, camera: int) -> int:
        """Pictures a second of this camera."""
        return self.rates[camera % len(self.rates)]

    def expected_fps(self, camera: int) -> float:
        """Frames a second that the model should get of this camera."""
        fps = self.fps[camera % len(self.fps)] or float(self.shown_rate(camera))
        return min(fps, 1.0 / self.model_s) if self.model_s else fps

    def shown_rate(self, camera: int) -> int:
        """Pictures a second that are decoded."""
        return 1 if self.settings.get("decode") == "keyframes" else self.rate(camera)


CASES = {
    "many": Case((640, 360), 16, (15, 20, 25), (1.0, 2.0, 3.0, 4.0, 5.0)),
    "keyframes": Case((1920, 1080), 16, (15, 20, 25), settings={"decode": "keyframes"}),
    "slow": Case((640, 360), 1, (25,), model_s=0.1),
    "thinned": Case((640, 360), 1, (25,), (2.0,), model_s=0.7),
}


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default=",".join(CASES))
    given = parser.parse_args()
    for name in given.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            print(name, flush=True)
            run_case(Path(folder), CASES[name], given.seconds)


def run_case(folder: Path, case: Case, seconds: float) -> None:
    """Run one case, and print what it showed."""
    street = Street(width=640, height=360, frames=150)
    drawn = [np.asarray(cv2.resize(street.render(number), case.size), np.uint8) for number in range(150)]
    shown = {}
    for rate in case.rates:
        pictures = (drawn[number % len(drawn)] for number in range(rate * CLIP_S))
        clip = write_clip(folder / f"{rate}.mp4", pictures, rate, rate, sc_threshold="0")
        shown[rate] = rtp_payloads(clip)
    with reserved_port() as guard:
        status = f"127.0.0.1:{guard.getsockname()[1]}"
    (folder / "slow.py").write_text(
        "import time\ndef make(seconds):\n    return lambda pixels: time.sleep(seconds) or {'predictions': []}\n"
    )
    slow = {"type": "python", "factory": "slow:make", "path": ".", "options": {"seconds": case.model_s}}
    with contextlib.ExitStack() as stack:
        cameras = {
            rate: stack.enter_context(ScriptedCamera(pictures=payloads, fps=rate)) for rate, payloads in shown.items()
        }
        streams = [
            {"name": f"gate-{n}", "source": cameras[case.rate(n)].url, **case.settings}
            | ({"fps": case.fps[n % len(case.fps)]} if case.fps[n % len(case.fps)] else {})
            for n in range(case.cameras)
        ]
        model = slow if case.model_s else {"type": "stub"}
        write_configuration(folder, {"streams": streams, "model": model, "status": {"bind": status}})
        policy = (folder / "policy.json").read_text().replace('"traffic_percentage": 1.0', '"traffic_percentage": 1e-9')
        (folder / "policy.json").write_text(policy)
        with Daemon(folder, command=NEW_PROCESS) as daemon:
            for stream in streams:
                daemon.wait_for("stream", 120.0, stream=stream["name"], state="running")
            daemon.until(lambda: False, SETTLED_AFTER_S)
            before, began_s, used_s = read_metrics(status), time.monotonic(), processor_s(daemon.process.pid)
            daemon.until(lambda: False, seconds)
            after, took_s = read_metrics(status), time.monotonic() - began_s
            cores = (processor_s(daemon.process.pid) - used_s) / took_s
            lost = [event for event in daemon.events if event.get("state") in ("lost", "unusable")]
            daemon.stop()
    _print_case(case, {key: value - before.get(key, 0.0) for key, value in after.items()}, took_s, cores, len(lost))


def read_metrics(status: str) -> dict[tuple[str, str, str], float]:
    """Return the samples of all counters and histograms: (name, stream, bound or reason) -> value."""
    with urllib.request.urlopen(f"http://{status}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (
            sample.name,
            sample.labels.get("stream", ""),
            sample.labels.get("le", sample.labels.get("why", "")),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _print_case(
    case: Case, grown: Mapping[tuple[str, str, str], float], took_s: float, cores: float, losses: int
) -> None:
    name = "framesift_picture_age_seconds"
    shares, fresh, ages, bounds_ms = [], [], [], set()
    for camera in range(case.cameras):
        stream = f"gate-{camera}"
        count = grown.get((f"{name}_count", stream, ""), 0.0)
        # The smallest bucket that is not below 1.5 intervals.
        bounds = sorted((float(le), le) for n, s, le in grown if n == f"{name}_bucket" and s == stream)
        bound = next(le for value, le in bounds if value >= 1.5 / case.shown_rate(camera))
        bounds_ms.add(round(1000 * float(bound)))
        shares.append(count / (case.expected_fps(camera) * took_s))
        fresh.append(grown[f"{name}_bucket", stream, bound] / count if count else 0.0)
        ages.append(1000 * grown[f"{name}_sum", stream, ""] / count if count else float("inf"))
    skipped: dict[str, float] = {}
    for (n, _stream, why), value in grown.items():
        if n == "framesift_frames_skipped_total":
            skipped[why] = skipped.get(why, 0.0) + value
    print(f"  cameras                             {case.cameras}, measured for {took_s:.0f} s")
    print(f"  mean age of a picture, ms           {min(ages):.1f} to {max(ages):.1f}")
    print(f"  within {sorted(bounds_ms)} ms, share".ljust(38) + f"{min(fresh):.4f} to {max(fresh):.4f}")
    print(f"  frames, of those wanted             {min(shares):.3f} to {max(shares):.3f}")
    print(f"  skipped pictures                    { ({why: int(n) for why, n in skipped.items() if n}) }")
    print(f"  lost connections                    {losses}")
    print(f"  cores used                          {cores:.2f}", flush=True)


if __name__ == "__main__":
    main()
