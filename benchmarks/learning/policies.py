"""The policies that are compared. Each may collect BUDGET frames a day; all of it is the product's own."""

from __future__ import annotations

from typing import Any

from framesift.policy.policy import Policy
from learning.collecting import policy_with

BUDGET = 24
_HOURLY = [{"type": "hourly", "value": 1}, {"type": "daily", "value": BUDGET}]
_DAILY = [{"type": "daily", "value": BUDGET}]
_NEAR_DUPLICATE = {"threshold": "auto", "memory": 256}
_HOLD = {"mode": "hold_queue", "max_hold_s": 3600, "max_held": 64}
_LONGER = {**_HOLD, "max_hold_s": 10_800}
_ADAPTIVE = {"mode": "adaptive_threshold"}

_AS_BUDGET = -1.0  # stands for the share of a day's frames that is the budget

RANDOM = "random"
AGAIN = "random, drawn anew"
CRON = "cron + near_duplicate"
_CLOSE: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "probability": 1.0}
_UNCERTAIN: dict[str, Any] = {"type": "uncertainty", "near_duplicate": _NEAR_DUPLICATE}
_BALANCED = {**_UNCERTAIN, "class_balance": True}
_CONTRADICTS = {"type": "temporal_inconsistency", "near_duplicate": _NEAR_DUPLICATE}

# Roboflow's strategy with an hourly limit: the best of these is what others are compared with.
REFERENCE: dict[str, dict[str, Any]] = {
    f"close_to_threshold 0.5 +- {epsilon}, {hourly} an hour": {
        **_CLOSE,
        "epsilon": epsilon,
        "limits": [{"type": "hourly", "value": hourly}, {"type": "daily", "value": BUDGET}],
    }
    for epsilon, hourly in ((0.1, 1), (0.25, 1), (0.4, 1), (0.25, 2))
}
WITHOUT_PACING: dict[str, dict[str, Any]] = {
    # Uniform over the day: so many on average, since no limit stops it in the evening.
    RANDOM: {"type": "random", "traffic_percentage": _AS_BUDGET},
    AGAIN: {"type": "random", "traffic_percentage": _AS_BUDGET},
    "close_to_threshold 0.5 +- 0.25, a daily limit only": {**_CLOSE, "epsilon": 0.25, "limits": _DAILY},
    **REFERENCE,
    # The first frame of each hour that looks new.
    CRON: {"type": "random", "traffic_percentage": 1.0, "near_duplicate": _NEAR_DUPLICATE, "limits": _HOURLY},
    "random + near_duplicate": {
        "type": "random",
        "traffic_percentage": _AS_BUDGET,
        "near_duplicate": _NEAR_DUPLICATE,
        "limits": _DAILY,
    },
    "uncertainty of at least 0.5 + near_duplicate, 1 an hour": {**_UNCERTAIN, "minimum_score": 0.5, "limits": _HOURLY},
    "temporal_inconsistency + near_duplicate, 1 an hour": {**_CONTRADICTS, "limits": _HOURLY},
}
WITH_PACING: dict[str, dict[str, Any]] = {
    "random + near_duplicate, hold_queue": {
        "type": "random",
        "traffic_percentage": 1.0,
        "near_duplicate": _NEAR_DUPLICATE,
        "limits": _DAILY,
        "pacing": _HOLD,
    },
    "temporal_inconsistency + near_duplicate, hold_queue": {**_CONTRADICTS, "limits": _DAILY, "pacing": _HOLD},
    "uncertainty + near_duplicate, hold_queue": {**_UNCERTAIN, "limits": _DAILY, "pacing": _HOLD},
    "uncertainty + near_duplicate, adaptive_threshold": {**_UNCERTAIN, "limits": _DAILY, "pacing": _ADAPTIVE},
    "class-balanced uncertainty + near_duplicate, hold_queue": {**_BALANCED, "limits": _DAILY, "pacing": _HOLD},
    "class-balanced uncertainty + near_duplicate, hold_queue of 3 h": {
        **_BALANCED,
        "limits": _DAILY,
        "pacing": _LONGER,
    },
    "class-balanced uncertainty + near_duplicate, adaptive_threshold": {
        **_BALANCED,
        "limits": _DAILY,
        "pacing": _ADAPTIVE,
    },
}
STRATEGIES = WITHOUT_PACING | WITH_PACING


def policy_of(strategy: str, frames_a_day: int) -> Policy:
    """The policy that has one strategy of STRATEGIES, for a camera with so many frames a day."""
    options = dict(STRATEGIES[strategy])
    if options.get("traffic_percentage") == _AS_BUDGET:
        options["traffic_percentage"] = BUDGET / frames_a_day
    return policy_with(options)
