"""How the benchmarks measure: processor time beside wall time, slopes instead of totals, sides in turn.

Other work on a shared machine changes wall time much and processor time somewhat. Sides that are compared are therefore
measured in turn, several times, and their medians are compared. A slope is the difference between a long and a short
run, so that what a start costs is not in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds on the wall and of a processor."""

    wall_s: float
    processor_s: float

    def slope(self, shorter: Cost, steps: int) -> Cost:
        """What one of the `steps` costs by which this run was longer than the other."""
        wall_s, processor_s = self.wall_s - shorter.wall_s, self.processor_s - shorter.processor_s
        return Cost(wall_s / steps, processor_s / steps)


def cost_of_command(words: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> tuple[Cost, str]:
    """Run a command to its end; return its cost, all its processes included, and what it printed to stdout."""
    # The kernel accounts for a process once it was waited for. The readers and their template outlive the daemon by a
    # moment, and become children of this process.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.perf_counter()
    done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True, env=environ)
    wall_s = time.perf_counter() - began_s
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done.stdout


def cost_of_call(call: Callable[[], object], times: int) -> Cost:
    """Call it so often; return what one call cost, with all threads of this process."""
    began_s, began_processor_s = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    wall_s, processor_s = time.perf_counter() - began_s, time.process_time() - began_processor_s
    return Cost(wall_s / times, processor_s / times)


def median_cost(costs: Sequence[Cost]) -> Cost:
    """The medians of both."""
    return Cost(statistics.median(c.wall_s for c in costs), statistics.median(c.processor_s for c in costs))


def in_turn(runs: int, **sides: Callable[[], Cost]) -> dict[str, Cost]:
    """Measure each side once, then each again, and so on; return the medians by the sides' names."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            costs[name].append(side())
    return {name: median_cost(found) for name, found in costs.items()}
