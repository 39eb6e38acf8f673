"""How often the 95 % intervals of `framesift estimate` hold the truth: on simulated days whose truth is known.

    .venv/bin/python benchmarks/estimate.py [--days 1000] [--strata 30 48 96 240] [--labelled 0.5]

For each kind of day (tests/rigs/simulated_days.py) and each number of baseline pictures a day: in how many of 100 days
the interval holds the truth of all frames of that day, how often it lies below or above it, how wide it is, and in how
many days there were too few pictures for one. 93 to 97 is right; docs/estimate.md has the table. --labelled: the share
of the pictures that have a label, for precision and recall; the others are left out at random. 1,000 days take three
minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from rigs.coverage import Coverage, estimate_day
from rigs.simulated_days import DayKind, simulate_day


def coverages(kind: DayKind, strata: int, days: int, labelled: float, seed: int) -> Iterator[Coverage]:
    """What became of each measure over the days."""
    found: dict[str, Coverage] = {}
    for number in range(days):
        rng = np.random.default_rng([seed, number])
        for measure, truth, estimate in estimate_day(rng, simulate_day(rng, kind), strata, labelled):
            found.setdefault(measure, Coverage(measure)).add(truth, estimate)
    yield from found.values()


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--strata", type=int, nargs="+", default=[30, 48, 96, 240])
    parser.add_argument("--labelled", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    heads = ("held %", "below %", "above %", "width", "too few")
    print("day      pictures measure  ", *heads)
    for kind in DayKind:
        for strata in args.strata:
            for c in coverages(kind, strata, args.days, args.labelled, args.seed):
                figures = f"{c.held:6.1f} {c.below:7.1f} {c.above:7.1f} {c.mean_width:5.3f} {c.too_few:7}"
                print(f"{kind.value:8} {strata:8} {c.measure:9} {figures}", flush=True)


if __name__ == "__main__":
    main()
