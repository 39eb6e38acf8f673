"""(c): sampling alone: what the decision on one frame costs, by the number of strategies and of objects.

Each decision is on a prediction that nobody has looked at, as each frame brings one. It is read off the wire before the
clock runs. No strategy draws below its share, so that each decision ends with "no match": what comes after a match is
in (d).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from framesift.clock.moment import Moment
from framesift.frame import Frame
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.prediction.wire_format import parse_prediction
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.sampler import Sampler
from price.figures import Benchmark, Figure
from price.measuring import Cost, in_turn
from price.wire_cost import wire_prediction

_CALLS = 300
_SHARE = 1e-12
_NEAR: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.1, "probability": _SHARE}
# What a policy has, in this order; ten of them are the policy of the bounds.
MIXED: tuple[dict[str, Any], ...] = (
    {**_NEAR, "minimum_objects_close_to_threshold": 2},
    {"type": "uncertainty", "minimum_score": 0.5, "probability": _SHARE},
    {"type": "detections_number_based", "more_than": 10, "probability": _SHARE},
    {"type": "random", "traffic_percentage": _SHARE},
    {**_NEAR, "threshold": 0.3, "selected_class_names": ["car", "bus"]},
    {"type": "uncertainty", "aggregation": "max", "selected_class_names": ["person"], "probability": _SHARE},
    {"type": "detections_number_based", "less_than": 90, "selected_class_names": ["car"], "probability": _SHARE},
    {**_NEAR, "threshold": 0.7, "epsilon": 0.05},
    {"type": "uncertainty", "aggregation": "mean", "probability": _SHARE},
    {"type": "classes_based", "selected_class_names": ["car"], "probability": _SHARE},
)
_FRAME = Frame("gate", 0, np.zeros((72, 128, 3), np.uint8), Moment(1_800_000_000.0, 100.0, "boot"))


def sampler_of(strategies: Sequence[dict[str, Any]]) -> Sampler:
    """A sampler with these strategies."""
    policy = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": [{"name": f"strategy {n}", **fields} for n, fields in enumerate(strategies)],
        "batching_strategy": {"batches_name_prefix": "bench", "recreation_interval": "daily"},
    }
    checked = Policy.model_validate_json(json.dumps(policy))
    return Sampler("gate", checked, seed=1, accepted=AcceptedFrames())


def decision_cost(sampler: Sampler, objects: int) -> Cost:
    """What one decision costs; every prediction is a new one."""
    payload = wire_prediction(objects)
    predictions: list[Prediction] = [parse_prediction(payload) for _ in range(_CALLS)]
    began_s, began_processor_s = time.perf_counter(), time.process_time()
    for prediction in predictions:
        sampler.decide(_FRAME, prediction)
    wall_s, processor_s = time.perf_counter() - began_s, time.process_time() - began_processor_s
    return Cost(wall_s / _CALLS, processor_s / _CALLS)


def _sampling(runs: int) -> Iterator[Figure]:
    policies = {f"{count} of {len(MIXED)} kinds": MIXED[:count] for count in (1, 2, 5, 10)}
    policies["10 close_to_threshold"] = tuple({**_NEAR, "threshold": n / 10} for n in range(10))
    for name, strategies in policies.items():
        sampler = sampler_of(strategies)
        costs = in_turn(5 * runs, **{str(n): partial(decision_cost, sampler, n) for n in (0, 10, 100)})
        for objects, cost in costs.items():
            bound = {"0": 10.0, "100": 60.0}.get(objects) if len(strategies) == 10 else None
            yield Figure(f"{name}, {objects} objects", 1e6 * cost.processor_s, "us", bound)


BENCHMARKS = (Benchmark("c", "sampling alone", _sampling),)
