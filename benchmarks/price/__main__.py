"""What a frame costs: every part of the pipeline beside the bare work that nobody can avoid, in one run.

    PYTHONPATH=benchmarks .venv/bin/python -m price [--only abc] [--runs 3]

Each figure stands beside the bound that we want to keep. docs/performance.md has the results and says what they mean.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # the rigs of the tests

from price import (
    datapoint_cost,
    growth,
    onnx_cost,
    pipeline_cost,
    refusal_cost,
    sampling_cost,
    start_cost,
    wire_cost,
)
from price.figures import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = (
    *pipeline_cost.BENCHMARKS,
    *sampling_cost.BENCHMARKS,
    *datapoint_cost.BENCHMARKS,
    *refusal_cost.BENCHMARKS,
    *start_cost.BENCHMARKS,
    *growth.BENCHMARKS,
    *onnx_cost.BENCHMARKS,
    *wire_cost.BENCHMARKS,
)


def main() -> None:
    """Measure what was asked for, and print each figure as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    letters = "".join(benchmark.letter for benchmark in BENCHMARKS)
    parser.add_argument("--only", default=letters, help=f"which parts, of {letters}")
    parser.add_argument("--runs", type=int, default=3, help="how often each side is measured")
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}", flush=True)
    over = 0
    for benchmark in BENCHMARKS:
        if benchmark.letter not in given.only:
            continue
        print(f"({benchmark.letter}) {benchmark.title}", flush=True)
        began_s = time.monotonic()
        for figure in benchmark.measure(given.runs):
            print(figure.line(), flush=True)
            over += figure.bound is not None and figure.value > figure.bound
        print(f"      measured in {time.monotonic() - began_s:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{over} figures are over their bounds" if over else "all bounds are kept")


if __name__ == "__main__":
    main()
