"""(g): whether costs grow in proportion to streams and strategies, and not at all with the rows of the spool."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from clocks import ManualClock
from price.figures import Benchmark, Figure
from price.measuring import Cost, cost_of_command, median_cost
from price.sampling_cost import MIXED, decision_cost, sampler_of
from rigs.daemon import write_configuration
from rigs.footage import numbered_clip
from rigs.spools import accepted, make_spool, put

_SHORT, _LONG = 300, 1200  # frames of a stream
_STREAMS = (1, 4, 16)
_STRATEGIES = (10, 20, 50)
_ROWS = (0, 10_000, 100_000)
_PUTS = 300
_WRITERS = 32  # at once, so that their rows share commits


def _streams(runs: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = {frames: numbered_clip(folder / f"{frames}.mp4", frames) for frames in (_SHORT, _LONG)}

        def run(streams: int, frames: int) -> Cost:
            entries = [{"name": f"gate-{n}", "source": str(clips[frames])} for n in range(streams)]
            draw = {"name": "never", "type": "random", "traffic_percentage": 1e-12}
            policy = {
                "enabled": True,
                "persist_predictions": True,
                "sampling_strategies": [draw],
                "batching_strategy": {"batches_name_prefix": "bench", "recreation_interval": "never"},
            }
            with tempfile.TemporaryDirectory(dir=folder) as home:
                write_configuration(Path(home), {"streams": entries}, policy)
                cost, printed = cost_of_command([sys.executable, "-m", "framesift", "run"], Path(home))
            assert json.loads(printed.splitlines()[-1])["frames"] == streams * frames
            return cost

        costs: dict[int, list[Cost]] = {streams: [] for streams in _STREAMS}
        for _ in range(runs):
            for streams in _STREAMS:
                slope = run(streams, _LONG).slope(run(streams, _SHORT), streams * (_LONG - _SHORT))
                costs[streams].append(slope)
        each = {streams: median_cost(found).processor_s for streams, found in costs.items()}
    beside = ", ".join(f"{streams}: {1e6 * cost:.0f} us" for streams, cost in each.items())
    yield Figure("a frame of 320x192 with 16 streams, beside one", each[16] / each[1], "x", 1.25, beside)


def _strategies(runs: int) -> Iterator[Figure]:
    costs: dict[int, list[float]] = {count: [] for count in _STRATEGIES}
    for _ in range(5 * runs):
        for count in _STRATEGIES:
            costs[count].append(decision_cost(sampler_of(MIXED * (count // len(MIXED))), 10).processor_s)
    each = {count: statistics.median(found) for count, found in costs.items()}
    ratio = (each[50] - each[20]) / 3 / (each[20] - each[10])
    beside = ", ".join(f"{count}: {1e6 * cost:.1f} us" for count, cost in each.items())
    yield Figure("ten more strategies, from 20 to 50, beside from 10 to 20", ratio, "x", 1.25, beside)


def _rows(runs: int) -> Iterator[Figure]:
    """Acceptances of small pictures, one by one, in spools that hold so many already."""
    with tempfile.TemporaryDirectory() as name:
        spools = {}
        clock = ManualClock()
        for rows in _ROWS:
            folder = Path(name) / str(rows)
            folder.mkdir()
            spool = spools[rows] = make_spool(folder, clock, max_bytes=2**40)
            spool.open()

            def fill(count: int, spool: object = spool) -> None:
                for _ in range(count):
                    put(spool, clock)  # type: ignore[arg-type]

            writers = [threading.Thread(target=fill, args=(rows // _WRITERS,)) for _ in range(_WRITERS)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
        costs: dict[int, list[Cost]] = {rows: [] for rows in _ROWS}
        for _ in range(runs):
            for rows, spool in spools.items():
                began_s, began_processor_s = time.perf_counter(), time.process_time()
                for _ in range(_PUTS):
                    accepted(put(spool, clock))
                wall_s, processor_s = time.perf_counter() - began_s, time.process_time() - began_processor_s
                costs[rows].append(Cost(wall_s / _PUTS, processor_s / _PUTS))
        for spool in spools.values():
            spool.close()
    each = {rows: median_cost(found).processor_s for rows, found in costs.items()}
    beside = ", ".join(f"{rows}: {1e6 * cost:.0f} us" for rows, cost in each.items())
    yield Figure("an acceptance beside 100,000 rows, beside none", each[100_000] / each[0], "x", 1.25, beside)


def _growth(runs: int) -> Iterator[Figure]:
    yield from _strategies(runs)
    yield from _rows(runs)
    yield from _streams(runs)


BENCHMARKS = (Benchmark("g", "growth", _growth),)
