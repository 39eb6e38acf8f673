"""The lines of the decision record, as docs/decisions.md describes them.

Written piece by piece, since a general encoder would cost as much as a strategy: what comes again and again, like the
name of a strategy and its bound, is encoded once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from framesift.decisions.decision import FrameDecision, Outcome, StrategyResult
from framesift.decisions.measurement import Measurement, Relation
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


def decision_line(decision: FrameDecision, quota: QuotaByStrategy) -> str:
    """The line of one decision."""
    parts = [
        f'"type":"decision","at":{decision.captured_s:.3f},"stream":{_text(decision.stream)}',
        f'"frame":{decision.frame},"epoch":{decision.epoch},"outcome":"{decision.outcome.value}"',
    ]
    if decision.media_s is not None:
        parts.append(f'"media_s":{decision.media_s:.3f}')
    if decision.reason is not None:
        parts.append(f'"reason":"{decision.reason.value}"')
    if decision.id:
        parts.append(f'"id":"{decision.id}"')
    if decision.strategy:
        parts.append(f'"strategy":{_text(decision.strategy)}')
    if decision.chosen_id:
        parts.append(f'"chosen_id":"{decision.chosen_id}"')
    parts.append(f'"classes":{_counts(count_classes(decision.prediction))}')
    if confidences := _confidences(decision.prediction):
        parts.append(f'"confidence":[{_number(min(confidences))},{_number(max(confidences))}]')
    parts.append(f'"strategies":[{",".join(map(_result, decision.results))}]')
    named = dict.fromkeys([decision.strategy, *(result.strategy for result in decision.results)])
    parts.append(f'"quota":{json.dumps({name: quota[name] for name in named if name in quota})}')
    return _object(parts)


def outcome_line(stream: str, id: str, at_s: float, outcome: str | RefusalReason) -> str:
    """The line of what became of a frame that was held or waited. outcome: the strategy charged, or why not."""
    begin = f'"type":"outcome","at":{at_s:.3f},"stream":{_text(stream)},"id":{_text(id)}'
    if isinstance(outcome, RefusalReason):
        return _object([begin, f'"outcome":"{Outcome.REFUSED.value}","reason":"{outcome.value}"'])
    return _object([begin, f'"outcome":"{Outcome.ACCEPTED.value}","strategy":{_text(outcome)}'])


def counts_line(
    stream: str,
    since_s: float,
    until_s: float,
    counts: Mapping[str, Mapping[str, int]],
    best: Mapping[str, tuple[float, Measurement]],
) -> str:
    """The line of what was counted on a stream. counts: matched, accepted and refused. best: with the nearness."""
    parts = [f'"type":"counts","from":{since_s:.3f},"to":{until_s:.3f},"stream":{_text(stream)}']
    parts += [f'"{key}":{_counts(found)}' for key, found in counts.items() if found]
    if best:
        each = [f"{_text(strategy)}:{{{_measurement(one)}}}" for strategy, (_, one) in best.items()]
        parts.append(f'"best":{_object(each)}')
    return _object(parts)


def span_line(type: str, from_s: float, to_s: float, **numbers: int) -> str:
    """The line of what is so in a span of time."""
    return json.dumps({"type": type, "from": round(from_s, 3), "to": round(to_s, 3), **numbers})


def stop_line(at_s: float) -> str:
    """The line with which a run ends."""
    return json.dumps({"type": "stop", "at": round(at_s, 3)})


def _result(result: StrategyResult) -> str:
    parts = [f'"name":{_text(result.strategy)},"matched":{"true" if result.matched else "false"}']
    if result.score is not None:
        parts.append(f'"score":{_number(result.score)}')
    if result.measurement is not None:
        parts.append(_measurement(result.measurement))
    if result.excluded:
        parts.append(f'"excluded":{_text(result.excluded)}')
    if result.similar is not None:
        id, distance, threshold = result.similar
        found = f'"id":{json.dumps(id)},"distance":{_number(distance)},"threshold":{_number(threshold)}'
        parts.append(f'"similar":{{{found}}}')
    return _object(parts)


def _measurement(measured: Measurement) -> str:
    what, value, relation, bound, draw, probability = measured
    text = f'{_criterion(what, relation, bound)},"value":{_number(value)}'
    return text if draw is None else f'{text},"draw":{_number(draw)},"probability":{_number(probability)}'


@lru_cache(maxsize=1024)
def _criterion(what: str, relation: Relation, bound: float) -> str:
    return f'"what":{json.dumps(what)},"relation":"{relation}","bound":{_number(bound)}'


def _counts(counts: Mapping[str, int]) -> str:
    return _object([f"{_text(key)}:{count}" for key, count in counts.items()])


@lru_cache(maxsize=1024)
def _text(text: str) -> str:
    return json.dumps(text)


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else json.dumps(value)


def _object(parts: Iterable[str]) -> str:
    return f"{{{','.join(parts)}}}"


def _confidences(prediction: Prediction) -> Sequence[float]:
    """Those of all objects, or of what a classifier says."""
    if isinstance(prediction, Detections):
        return prediction.columns.confidence
    if isinstance(prediction, Classification):
        return (prediction.confidence,)
    return [score.confidence for score in prediction.scores] if isinstance(prediction, MultiLabel) else ()
