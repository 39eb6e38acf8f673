"""What of a policy a dry run can judge where the predictions have no pictures."""

from __future__ import annotations

from framesift.policy.policy import Policy
from framesift.strategies import StrategyOptions


def compares_pictures(policy: Policy, strategy: StrategyOptions) -> bool:
    """Whether a strategy's near_duplicate needs pictures, or their signatures."""
    near_duplicate = policy.near_duplicate_of(strategy)
    return near_duplicate is not None and near_duplicate.signature == "picture"


def without_near_duplicate(policy: Policy) -> Policy:
    """The policy without what compares pictures."""
    strategies = tuple(
        strategy.model_copy(
            update={
                "near_duplicate": None if compares_pictures(policy, strategy) else policy.near_duplicate_of(strategy)
            }
        )
        for strategy in policy.sampling_strategies
    )
    return policy.model_copy(update={"near_duplicate": None, "sampling_strategies": strategies})
