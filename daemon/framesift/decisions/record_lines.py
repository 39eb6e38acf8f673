"""The lines of the decision record, as docs/decisions.md describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from framesift.decisions.decision import FrameDecision, Outcome, StrategyResult
from framesift.decisions.measurement import Measurement
from framesift.frame import RefusalReason
from framesift.prediction.prediction import (
    Classification,
    Detections,
    MultiLabel,
    Prediction,
    count_classes,
)

# Of each strategy, what it has used and its limit, by window: hour -> (3, 20).
QuotaByStrategy = Mapping[str, Mapping[str, tuple[int, int]]]

_DECIMALS = 9  # enough for any bound that somebody sets; all digits of a float would make the record twice as long


def decision_line(decision: FrameDecision, quota: QuotaByStrategy) -> bytes:
    """The line of one decision."""
    line: dict[str, Any] = {
        "type": "decision",
        "at": round(decision.captured_s, 3),
        "stream": decision.stream,
        "frame": decision.frame,
        "epoch": decision.epoch,
        "outcome": decision.outcome.value,
    }
    if decision.media_s is not None:
        line["media_s"] = round(decision.media_s, 3)
    if decision.reason is not None:
        line["reason"] = decision.reason.value
    if decision.id:
        line["id"] = decision.id
    if decision.strategy:
        line["strategy"] = decision.strategy
    if decision.chosen_id:
        line["chosen_id"] = decision.chosen_id
    line["classes"] = count_classes(decision.prediction)
    if confidences := _confidences(decision.prediction):
        line["confidence"] = (round(min(confidences), _DECIMALS), round(max(confidences), _DECIMALS))
    line["strategies"] = [_result(result) for result in decision.results]
    named = dict.fromkeys([decision.strategy, *(result.strategy for result in decision.results)])
    line["quota"] = {name: quota[name] for name in named if name in quota}
    return to_json(line)


def outcome_line(stream: str, id: str, at_s: float, outcome: str | RefusalReason) -> bytes:
    """The line of what became of a frame that was held or waited. outcome: the strategy charged, or why not."""
    line = {"type": "outcome", "at": round(at_s, 3), "stream": stream, "id": id}
    if isinstance(outcome, RefusalReason):
        return to_json({**line, "outcome": Outcome.REFUSED.value, "reason": outcome.value})
    return to_json({**line, "outcome": Outcome.ACCEPTED.value, "strategy": outcome})


def counts_line(
    stream: str,
    since_s: float,
    until_s: float,
    counts: Mapping[str, Mapping[str, int]],
    best: Mapping[str, tuple[float, Measurement]],
) -> bytes:
    """The line of what was counted on a stream. counts: matched, accepted and refused. best: with the nearness."""
    line: dict[str, Any] = {"type": "counts", "from": round(since_s, 3), "to": round(until_s, 3), "stream": stream}
    line.update((key, found) for key, found in counts.items() if found)
    if best:
        line["best"] = {strategy: _measurement(one) for strategy, (_, one) in best.items()}
    return to_json(line)


def span_line(type: str, from_s: float, to_s: float, **numbers: int) -> bytes:
    """The line of what is so in a span of time."""
    return to_json({"type": type, "from": round(from_s, 3), "to": round(to_s, 3), **numbers})


def stop_line(at_s: float) -> bytes:
    """The line with which a run ends."""
    return to_json({"type": "stop", "at": round(at_s, 3)})


def _result(result: StrategyResult) -> dict[str, Any]:
    found: dict[str, Any] = {"name": result.strategy, "matched": result.matched}
    if result.score is not None:
        found["score"] = round(result.score, _DECIMALS)
    if result.measurement is not None:
        found.update(_measurement(result.measurement))
    if result.excluded:
        found["excluded"] = result.excluded
    if result.similar is not None:
        id, distance, threshold = result.similar
        found["similar"] = {"id": id, "distance": round(distance, _DECIMALS), "threshold": round(threshold, _DECIMALS)}
    return found


def _measurement(measured: Measurement) -> dict[str, Any]:
    what, value, relation, bound, draw, probability = measured
    found = {"what": what, "relation": relation, "bound": bound, "value": round(value, _DECIMALS)}
    if draw is not None:
        found["draw"] = round(draw, _DECIMALS)
        found["probability"] = probability
    return found


def _confidences(prediction: Prediction) -> Sequence[float]:
    """Those of all objects, or of what a classifier says."""
    if isinstance(prediction, Detections):
        return prediction.columns.confidence
    if isinstance(prediction, Classification):
        return (prediction.confidence,)
    return [score.confidence for score in prediction.scores] if isinstance(prediction, MultiLabel) else ()
