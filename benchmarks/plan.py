"""How good a planned policy is on other days: recorded days give the plan, days of the same kind try it.

    PYTHONPATH=benchmarks .venv/bin/python benchmarks/plan.py [--days 3]

The days are those of budget.py: which part of the budget is spent, of the hours with scenes covered, and of the best
scenes kept. The plan is made of one day of a kind, and tried on others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import numpy as np

from budget import BUDGET, KINDS, SimulatedDay, shares, simulated_day
from framesift.policy.policy import Policy
from framesift.sampling.dry_run import DryRun
from framesift.sampling.recorded_frame import parse_recorded
from framesift.simulation.footage import SimulatedFrame
from framesift.simulation.plan import Plan, make_plan


def frames_of(day: SimulatedDay) -> Iterator[SimulatedFrame]:
    """The frames of a day, as footage gives them."""
    for number, line in enumerate(day.lines):
        yield SimulatedFrame(parse_recorded(line), line["captured_at"], line["stream"], 0, number)


def plan_of(day: SimulatedDay) -> Plan:
    """The plan that is made of a day."""
    return make_plan(BUDGET, lambda: frames_of(day), name="benchmark")


def kept_of(day: SimulatedDay, policy: Policy) -> list[int]:
    """The frames that a policy collects, as often as it does: the baseline may take one that a strategy takes too."""
    dry_run = DryRun(policy, seed=0, stream=None, started_s=0.0)
    kept: list[int] = []
    for line in day.lines:
        result = dry_run.evaluate(line)
        for one in (result, *result.replaced):
            kept += [one.number] * (one.strategy is not None)
    drawn = policy.baseline_per_day  # each interval of the day has frames
    dry_run.close()
    return kept + [-1] * drawn


def tried(plan: Plan, day: SimulatedDay) -> tuple[float, float, float]:
    """Which part of the budget is spent, of the active hours covered, of the best scenes kept."""
    kept = kept_of(day, Policy.model_validate_json(json.dumps(plan.policy)))
    scenes, hours = shares(day, [frame for frame in kept if frame >= 0])
    return len(kept) / BUDGET, hours, scenes


def main() -> None:
    """Measures and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=3, help="on which each plan is tried")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    given = parser.parse_args()
    print("| days | spent | hours covered | best scenes kept |\n|---|---|---|---|")
    for kind in given.kinds:
        plan = plan_of(simulated_day(kind, 100))
        found = [tried(plan, simulated_day(kind, seed)) for seed in range(given.days)]
        means = " | ".join(f"{np.mean(part):.2f} ({min(part):.2f})" for part in zip(*found, strict=True))
        print(f"| {kind} | {means} |", flush=True)


if __name__ == "__main__":
    main()
