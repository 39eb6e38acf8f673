"""How long `framesift run` takes from SIGTERM to its end while something hangs and both cores are busy.

    .venv/bin/python benchmarks/stopping.py [--runs 5] [--load 2] [--only answer,model]

Each run is a daemon of its own with a stream that is read as fast as it goes. What hangs: the platform, at each step of
a connection; the model; the inference server; the Redis server; the camera; the reader (stopped with SIGSTOP). It
prints the longest and the median time of each, and what the log says that did not stop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the rigs of the tests

from rigs.daemon import NEW_PROCESS, Daemon
from rigs.footage import numbered_clip
from rigs.hanging import KINDS, hanging


@contextlib.contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep so many processor cores busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def stop_once(kind: str, folder: Path) -> tuple[float, list[str]]:
    """Return the seconds from SIGTERM to the end of a daemon in which this hangs, and the components that were late."""
    numbered_clip(folder / "clip.mp4", frames=100)
    with hanging(kind, folder) as hangs, Daemon(folder, command=NEW_PROCESS) as daemon:
        hangs.wait_until_it_hangs(daemon)
        began_s = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(60.0)
        took_s = time.monotonic() - began_s
        daemon.wait(10.0)
        late = [
            str(line.get("component", line["event"]))
            for line in daemon.events
            if line["event"] in ("component_not_stopped", "spool_close_timed_out")
        ]
    return took_s, late


def main() -> None:
    """Measure every kind, and print a line for each."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--load", type=int, default=2, help="busy loops beside the daemon")
    options.add_argument("--only", default=",".join(KINDS))
    chosen = options.parse_args()
    with busy_cores(chosen.load):
        for kind in chosen.only.split(","):
            times, late = [], set()
            for _ in range(chosen.runs):
                with tempfile.TemporaryDirectory() as folder:
                    took_s, names = stop_once(kind, Path(folder))
                times.append(took_s)
                late.update(names)
            print(
                json.dumps(
                    {
                        "hangs": kind,
                        "runs": len(times),
                        "median_s": round(statistics.median(times), 2),
                        "longest_s": round(max(times), 2),
                        "not_stopped": sorted(late),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
