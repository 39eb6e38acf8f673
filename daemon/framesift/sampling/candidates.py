"""Candidates: for each matched strategy, the datapoint that it would create, and the quota that it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from framesift.clock.moment import Moment
from framesift.config.schema import TAG_PATTERN
from framesift.datapoint import Candidate, batch_name
from framesift.limits import Quota
from framesift.policy.baseline import NAME as BASELINE
from framesift.policy.manual import NAME as MANUAL
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.sampling.pacing_rules import PacingRule
from framesift.strategies import Match


@dataclass(frozen=True, slots=True)
class CollectionOrigin:
    """What every datapoint of one stream has in common.

    device: this machine's name. tags: of this machine. seed: for the random draws of all strategies. project: of the
    platform, for policies without `target_project`; None for the sink's own. scope: under which the limits of the
    policy's strategies are counted; "" for the policy that all streams share. memory: beside the stream's name, under
    which its accepted frames are remembered over restarts; "" but for frames that follow a pair of projects. model_id:
    of the model that the source of the policy names, for predictions that name none; "" for none.
    """

    device: str
    tags: tuple[str, ...]
    stream_tags: tuple[str, ...]
    seed: int
    project: str | None = None
    scope: str = ""
    memory: str = ""
    model_id: str = ""


def candidates_for(
    policy: Policy,
    matches: Sequence[Match],
    prediction: Prediction,
    origin: CollectionOrigin,
    captured: Moment,
    now: Moment,
    rules: Mapping[str, PacingRule],
) -> tuple[tuple[Candidate, ...], tuple[Quota, ...]]:
    """For each matched strategy, in the policy's order: what the datapoint would be, and which quota it needs.

    captured: when the frame was captured. now: the current time, by which `captured` becomes a date. rules: of the
    strategies, by name, see `rules_of`.
    """
    batching = policy.batching_strategy
    tags_of = {MANUAL: policy.manual.tags}
    tags_of |= {strategy.name: strategy.tags for strategy in policy.sampling_strategies}
    if policy.baseline is not None:
        tags_of[BASELINE] = policy.baseline.tags
    project = policy.target_project or origin.project
    batch = batch_name_at(policy, captured.wall_s_as_of(now))
    # The order is the platform's: machine, policy, strategy, model. Then what only framesift adds.
    before = (*origin.tags, *policy.tags)
    after = (*_model_tag(policy, prediction.model_id or origin.model_id), origin.device, *origin.stream_tags)
    candidates: list[Candidate] = []
    quotas: list[Quota] = []
    for match in matches:
        tags = (*before, *tags_of[match.strategy], *after)
        candidates.append(
            Candidate(
                match.strategy,
                match.score,
                tags,
                batch,
                policy.persist_predictions,
                project,
                is_evictable=match.strategy not in (BASELINE, MANUAL),
            )
        )
        rule, key = rules[match.strategy], batch_key(project, batch)
        most, scope = batching.max_batch_images, origin.scope
        quotas.append(Quota(match.strategy, rule.limits, key, most, scope, project or "", rule.turns))
    return tuple(candidates), tuple(quotas)


def batch_name_at(policy: Policy, wall_s: float) -> str:
    """The name of the labelling batch for frames captured at `wall_s` (Unix time)."""
    batching = policy.batching_strategy
    zone = ZoneInfo(policy.time_zone)
    return batch_name(batching.batches_name_prefix, batching.recreation_interval, wall_s, zone)


def batch_key(project: str | None, batch: str) -> str:
    """The name under which a batch is counted: two projects may have batches of the same name."""
    return batch if project is None else f"{project}/{batch}"


def _model_tag(policy: Policy, model_id: str) -> tuple[str, ...]:
    tag = model_id.replace("/", "-")
    return (tag,) if policy.persist_predictions and re.match(TAG_PATTERN, tag) else ()
