"""How fast a backlog leaves for the platform while a share of the calls fails at random, against a platform in health.

    .venv/bin/python benchmarks/drain.py [--rows 600] [--latency-s 0.1] [--share 0.5]

Four workers deliver from a real spool to the stand-in for the platform (tests/rigs/platform) over HTTP: an upload
and an annotation for each datapoint. Printed are the datapoints delivered in a second until nine of ten were, and until
all were, and both as a share of the healthy speed: 0.4 is the least that is right where half of the calls fail. The
failures are errors (500), or connections that are cut.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from framesift.clock.clock import SystemClock
from framesift.http_client.client import HttpClient
from framesift.roboflow import RoboflowClient
from framesift.sinks.roboflow import RoboflowSink, RoboflowSinkSettings
from framesift.upload.uploader import Uploader
from rigs.platform import KEY, Cut, Fault, Platform, Status
from rigs.platform.records import PlatformRequest, Reply
from rigs.uploads import open_spool, put

PROJECT = "parking"


class SlowPlatform(Platform):
    """A platform whose every answer takes its time."""

    def __init__(self, latency_s: float) -> None:
        super().__init__()
        self._latency_s = latency_s

    def __enter__(self) -> SlowPlatform:
        """Returns itself."""
        return self

    def answer(self, asked: PlatformRequest, wait: Callable[[float], object]) -> Reply:
        """Waits, and answers."""
        wait(self._latency_s)
        return super().answer(asked, wait)


def unexpected(error: BaseException) -> None:
    """A worker must not end."""
    raise error


def drain(rows: int, latency_s: float, *faults: Fault) -> tuple[float, float]:
    """Datapoints a second, until nine of ten are delivered, and until all are."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder, SlowPlatform(latency_s) as platform:
        platform.add_project(PROJECT, "object-detection")
        platform.orders.add(*faults)
        spool = open_spool(Path(folder), clock)
        put(spool, range(rows), clock.now())
        http = HttpClient()
        sink = RoboflowSink(
            RoboflowSinkSettings(type="roboflow", project=PROJECT),
            RoboflowClient(http, api_key=KEY, api_url=platform.url),
        )
        uploader = Uploader(
            spool, sink, workers=4, sink_limits=(), clock=clock, rng=random.Random(5), on_failure=unexpected
        )
        began_s = time.monotonic()
        uploader.start()
        most_s = 0.0
        while not uploader.is_drained():
            if not most_s and sum(spool.outcome_counts().values()) >= 0.9 * rows:
                most_s = time.monotonic() - began_s
            time.sleep(0.05)
        all_s = time.monotonic() - began_s
        uploader.stop(10.0)
        assert sum(spool.outcome_counts().values()) == rows
        spool.close()
    return 0.9 * rows / (most_s or all_s), rows / all_s


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--latency-s", type=float, default=0.1)
    parser.add_argument("--share", type=float, default=0.5)
    given = parser.parse_args()
    healthy = drain(given.rows, given.latency_s)
    print(f"healthy: {healthy[0]:.1f} a second for the first nine tenths, {healthy[1]:.1f} for all", flush=True)
    for what, fault in (("errors", Status(500)), ("cut connections", Cut())):
        found = drain(given.rows, given.latency_s, Fault("any", fault, times=None, share=given.share))
        shares = [f"{a:.1f} ({a / b:.2f} of healthy)" for a, b in zip(found, healthy, strict=True)]
        print(f"{given.share:.0%} {what}: {shares[0]} for the first nine tenths, {shares[1]} for all", flush=True)


if __name__ == "__main__":
    main()
