"""Plan: the policy for a budget of images a day, worked out from footage and tried on it.

With a model there are three parts. `hardest` takes scenes of which the model is unsure as they come, from a score on
that as many scenes a day have as there is budget; where the footage is shorter than a day, nobody knows how many that
is, and an adaptive threshold finds it. `every-hour` takes the best of what is left in each hour, so that no hour is
missing. The baseline takes frames by chance. Without a model, frames that look new are drawn evenly over the day.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from framesift.policy.policy import Policy
from framesift.simulation.footage import DAY_S, SimulatedFrame
from framesift.simulation.outcome import PolicyOutcome
from framesift.simulation.simulate import NamedPolicy, simulate
from framesift.simulation.survey import NEAR, Survey, survey

BASELINE_SHARE = 0.1
SMALLEST_BUDGET = 10
_HOURS_SHARE = 0.25  # of the budget at most, for the best of each hour
_RARE_SHARE, _RARE_BELOW, _MOST_RARE = 0.1, 0.05, 8
WHOLE_DAY = 0.8  # days of footage from which on a score can be chosen
# How many more scenes than there is budget are let through: days differ, and what is not spent is lost.
_LENIENCES = (1.0, 1.15, 1.35, 1.6)
_SPENT = 0.95
_MIN_INTERVAL_S = 2.0  # shorter where the budget has no room for it


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """policy: as JSON data. reasons: for each number of it, what it is for. outcome: on the footage itself."""

    policy: dict[str, Any]
    reasons: tuple[tuple[str, str], ...]
    seen: Survey
    outcome: PolicyOutcome


@dataclass(frozen=True, slots=True)
class _Parts:
    """How many images a day each part has."""

    baseline: int
    every_hour: int
    rare: int
    hardest: int


def make_plan(budget: int, read: Callable[[], Iterable[SimulatedFrame]], *, name: str, time_zone: str = "UTC") -> Plan:
    """The policy that spends a budget of images a day on frames like these.

    read: returns the frames, each time from the beginning: they are read twice. name: of the policy, for its batches.
    Raises ValueError for a budget below SMALLEST_BUDGET, SimulationError and ConfigError for the footage.
    """
    if budget < SMALLEST_BUDGET:
        raise ValueError(f"a plan needs at least {SMALLEST_BUDGET} images a day, not {budget}")
    seen = survey(read(), time_zone=time_zone)
    candidates = _candidates(budget, seen, name, time_zone)
    named = [NamedPolicy(str(number), _parsed(policy)) for number, (policy, _) in enumerate(candidates)]
    outcomes = simulate(named, read(), seed=0)
    days = max(seen.days, 1e-9)
    spent = [outcome.images / days / budget for outcome in outcomes]
    best = next((place for place, share in enumerate(spent) if share >= _SPENT), spent.index(max(spent)))
    policy, reasons = candidates[best]
    return Plan(policy, tuple(reasons), seen, outcomes[best])


def _parsed(policy: dict[str, Any]) -> Policy:
    return Policy.model_validate_json(json.dumps(policy))


_Candidate = tuple[dict[str, Any], list[tuple[str, str]]]


def _candidates(budget: int, seen: Survey, name: str, time_zone: str) -> Sequence[_Candidate]:
    """Policies to try, the strictest first."""
    if not seen.has_model:
        return [_without_model(budget, name, time_zone)]
    if seen.days < WHOLE_DAY:
        return [_with_model(budget, seen, name, time_zone, None)]
    return [_with_model(budget, seen, name, time_zone, lenience) for lenience in _LENIENCES]


def _without_model(budget: int, name: str, time_zone: str) -> _Candidate:
    strategy = {
        "name": "new",
        "type": "random",
        "traffic_percentage": 1.0,
        "near_duplicate": NEAR,
        "limits": [_daily(budget)],
        "pacing": {"mode": "hold_queue"},
    }
    reasons = [
        ("new", "there is no model: of all frames that look new, an even sample is drawn over the whole day"),
        (f"daily {budget}", f"the budget; the baseline has {BASELINE_SHARE:.0%} of it"),
        *_common_reasons(),
    ]
    return _policy([strategy], name, time_zone), reasons


def _with_model(budget: int, seen: Survey, name: str, time_zone: str, lenience: float | None) -> _Candidate:
    """lenience: how many scenes are let through for each image of the budget; None: that is found while it runs."""
    rare = _rare_classes(seen)
    parts = _divide(budget, seen, has_rare=bool(rare))
    unsure: dict[str, Any] = {"type": "uncertainty", "near_duplicate": NEAR}
    interval_s = min(_MIN_INTERVAL_S, float(f"{DAY_S / 2 / parts.hardest:.2g}"))
    hardest = {"name": "hardest", **unsure, "min_interval_s": interval_s}
    if lenience is None:
        hardest |= {"limits": [_daily(parts.hardest)], "pacing": {"mode": "adaptive_threshold"}}
        why = f"the footage has {24 * seen.days:.1f} hours: which score is enough is found while it runs"
        reasons = [("hardest: adaptive_threshold", why)]
    else:
        threshold = _rounded_down(seen.threshold_for(lenience * parts.hardest))
        hourly = min(parts.hardest, max(3, math.ceil(1.5 * seen.most_in_an_hour(threshold))))
        limits = [{"type": "hourly", "value": hourly}, _daily(parts.hardest)]
        hardest |= {"minimum_score": threshold, "limits": limits}
        fullest = seen.most_in_an_hour(threshold)
        reasons = [
            (f"hardest: minimum_score {threshold:g}", _why_score(seen, threshold, lenience)),
            (f"hardest: hourly {hourly}", f"the fullest hour had {fullest}: a bad one must not take the day"),
        ]
    reasons.append(
        (f"hardest: daily {hardest['limits'][-1]['value']}", "what is left of the budget for the best scenes")
    )
    reasons.append((f"hardest: min_interval_s {interval_s:g}", "two frames that are closer show the same moment"))
    strategies = [hardest]
    if rare:
        strategies.insert(0, {"name": "rare", **unsure, "selected_class_names": rare, "limits": [_daily(parts.rare)]})
        why = f"each is in less than {_RARE_BELOW:.0%} of the frames with something in them: {', '.join(rare)}"
        reasons.append((f"rare: daily {parts.rare}", why))
    every_hour = {"name": "every-hour", **unsure, "minimum_score": 0.01, "pacing": {"mode": "hold_queue"}}
    strategies.append(every_hour | {"limits": [{"type": "hourly", "value": _an_hour(parts)}, _daily(parts.every_hour)]})
    hours = f"something was seen in {seen.active_hours} of {24 * seen.days:.1f} hours"
    is_enough = parts.every_hour >= seen.active_hours_a_day
    best = "the best of each" if is_enough else "the best of several hours together"
    reasons.append((f"every-hour: daily {parts.every_hour}", f"{hours}: {best} that `hardest` has left"))
    return _policy(strategies, name, time_zone), [*reasons, *_common_reasons()]


def _why_score(seen: Survey, threshold: float, lenience: float) -> str:
    a_day = sum(scene.score >= threshold for scene in seen.scenes) / seen.days
    if threshold == 0:
        return f"the model is unsure in about {a_day:.0f} scenes a day, fewer than there is budget: all are let through"
    return (
        f"about {a_day:.0f} scenes a day are at least so uncertain, {lenience:g} for each image: days differ, "
        "and what is not spent is lost"
    )


def _divide(budget: int, seen: Survey, *, has_rare: bool) -> _Parts:
    """The budget less the baseline's share, which the policy takes off each limit."""
    every_hour = max(1, min(math.ceil(seen.active_hours_a_day), round(_HOURS_SHARE * budget)))
    rare = round(_RARE_SHARE * budget) if has_rare else 0
    return _Parts(round(BASELINE_SHARE * budget), every_hour, rare, budget - every_hour - rare)


def _an_hour(parts: _Parts) -> int:
    return max(1, parts.every_hour // 24)


def _rare_classes(seen: Survey) -> list[str]:
    total = max(1, seen.with_something)
    rare = [name for name, count in seen.classes.items() if count < _RARE_BELOW * total]
    common = [name for name in seen.classes if name not in rare]
    return sorted(rare)[:_MOST_RARE] if common else []


def _common_reasons() -> list[tuple[str, str]]:
    return [
        ("near_duplicate: auto", "what looks like a picture that was collected is refused: the camera's noise decides"),
        (
            f"baseline: {BASELINE_SHARE:g}",
            "chosen by chance alone, they tell what the model does on ordinary frames (framesift estimate)",
        ),
    ]


def _daily(value: int) -> dict[str, Any]:
    return {"type": "daily", "value": value}


def _rounded_down(score: float) -> float:
    """To three digits, so that a person can read it."""
    if score <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(score)) - 2)
    return float(f"{math.floor(score / unit + 1e-9) * unit:.6g}")


def _policy(strategies: Sequence[dict[str, Any]], name: str, time_zone: str) -> dict[str, Any]:
    return {
        "enabled": True,
        "persist_predictions": True,
        "time_zone": time_zone,
        "sampling_strategies": list(strategies),
        "baseline": {"share": BASELINE_SHARE},
        "batching_strategy": {"batches_name_prefix": name, "recreation_interval": "daily"},
    }
