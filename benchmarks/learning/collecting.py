"""What a strategy collects of recorded frames: the product's own strategies, near_duplicate, limits and pacing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from framesift.policy.policy import Policy
from framesift.sampling.dry_run import DryRun


def policy_with(strategy: Mapping[str, Any]) -> Policy:
    """The policy with one strategy. strategy: its options, less its name."""
    return policy_of_strategies([{"name": "it", **strategy}])


def policy_of_strategies(strategies: Sequence[Mapping[str, Any]]) -> Policy:
    """The policy with some strategies."""
    policy = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": list(strategies),
        "batching_strategy": {"batches_name_prefix": "benchmark", "recreation_interval": "never"},
    }
    return Policy.model_validate_json(json.dumps(policy))


def collect(dry_run: DryRun, recorded: Iterable[Mapping[str, Any]]) -> list[int]:
    """The numbers of the frames that are collected, counted over all that the dry run has seen.

    recorded: frames with their predictions, as `run --record` writes them.
    """
    collected: list[int] = []
    for line in recorded:
        result = dry_run.evaluate(line)
        collected += [one.number for one in (result, *result.replaced) if one.strategy is not None]
    return collected
