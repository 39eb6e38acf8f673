"""Trial: a policy at work on recorded predictions: for each, who wants it, who is charged, or why nobody is.

The daemon's own rooms decide: its sampling, with the draws of a stream of that name, and its limits, in a database that
nobody keeps. Time is the predictions' own: each is taken at its `captured_at`, in whose windows it is charged.
Predictions have no pictures, so near_duplicate refuses nothing here.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from framesift.clock.moment import Moment
from framesift.frame import Frame, RefusalReason
from framesift.limits import Quota, QuotaGranted, QuotaRefused, QuotaUnknown
from framesift.limits.local import TABLES, LocalLimits
from framesift.policy.policy import Policy
from framesift.prediction import wire_format as wire
from framesift.sampling.candidates import CollectionOrigin, candidates_for
from framesift.sampling.sampler import AcceptedClasses, Sampler

# The calendars of all zones can reckon with what lies between.
_EARLIEST_S, _LATEST_S = 0.0, 253_370_764_800.0  # 1970-01-01 and 9999-01-01
_LONGEST_SIDE = 100_000  # in pixels, as of any picture
_INSTANT = TypeAdapter(AwareDatetime)
_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """matched: the strategies that want the frame, in the policy's order. charged: who gets it, None where nobody does,
    for a reason. at_s: Unix time of the capture. dropped: how many malformed parts of the prediction are left out.
    """

    matched: tuple[str, ...]
    strategy: str | None
    refusal: RefusalReason | None
    captured_at_s: float
    dropped_parts: int


class DryRun:
    """Considers predictions in order, in one thread. Limits and batches hold over all of them."""

    def __init__(self, policy: Policy, *, seed: int, stream: str, started_s: float) -> None:
        """stream: whose random draws. started_s: Unix time of the first prediction, unless it tells its own."""
        plain = tuple(s.model_copy(update={"near_duplicate": None}) for s in policy.sampling_strategies)
        self._policy = policy.model_copy(update={"near_duplicate": None, "sampling_strategies": plain})
        self.ignores_near_duplicate = any(policy.near_duplicate_of(s) for s in policy.sampling_strategies)
        self._sampler = Sampler(stream, self._policy, seed=seed, accepted_classes=AcceptedClasses())
        self._origin = CollectionOrigin(device="", tags=(), stream_tags=(), seed=seed)
        self._stream = stream
        self._number = 0
        self._at_s = started_s
        self._limits = LocalLimits(ZoneInfo(policy.time_zone))
        # A database without a name lies in memory until it outgrows SQLite's cache, then in a file without a name.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.executescript(TABLES + "BEGIN;")
        self._cursor = self._connection.cursor()

    def evaluate(self, payload: object) -> DryRunResult:
        """payload: a prediction in the wire format as parsed JSON, with `task` and `captured_at` (Unix seconds, or ISO
        8601 with a zone) if it likes; or an object that holds one as `prediction`. One without `captured_at` is taken
        at the time of the one before. Raises ValueError that says what is wrong and what is allowed.
        """
        if not isinstance(payload, Mapping):
            raise ValueError(f"a prediction is a JSON object, not {type(payload).__name__}")
        told = payload.get("captured_at")
        at_s = self._at_s if told is None else _instant_s(told)
        inner = _inner(payload)
        width, height = _mask_size(inner)
        prediction = wire.parse_prediction(inner, width=width, height=height)
        self._at_s = at_s
        captured = Moment(at_s, at_s, "trial")
        frame = Frame(self._stream, self._number, _NO_PIXELS, captured)
        self._number += 1
        verdict = self._sampler.decide(frame, prediction)
        matched = tuple(match.strategy for match in verdict.matches)
        if verdict.refusal is not None:
            return DryRunResult(matched, None, verdict.refusal, at_s, prediction.dropped_count)
        _, quotas = candidates_for(self._policy, verdict, prediction, self._origin, captured, captured)
        answer = self._charge(quotas, captured)
        if isinstance(answer, RefusalReason):
            return DryRunResult(matched, None, answer, at_s, prediction.dropped_count)
        self._sampler.record_accepted(frame, prediction, verdict)
        return DryRunResult(matched, answer, None, at_s, prediction.dropped_count)

    def close(self) -> None:
        self._connection.close()

    def _charge(self, quotas: tuple[Quota, ...], captured: Moment) -> str | RefusalReason:
        """The strategy that is charged, or why none is. One after the other, so that the uses of each are counted at
        most once, and only where it isn't known by heart what leaves no room.
        """
        batch_full = False
        for quota in quotas:
            grant = self._limits.check(None, [quota], captured, captured)
            # Of a batch that is known to be full, it isn't known whether a limit would have refused as well.
            if isinstance(grant, QuotaUnknown) or (
                isinstance(grant, QuotaRefused) and grant.batch_full and quota.limits
            ):
                if not quota.limits and quota.max_batch_images is None:
                    return quota.strategy  # nobody will ever count it
                grant = self._limits.charge(self._cursor, str(self._number), [quota], captured, captured)
                if isinstance(grant, QuotaRefused):
                    self._limits.check(self._cursor, [quota], captured, captured)  # which learns it by heart
            if isinstance(grant, QuotaGranted):
                return grant.strategy
            batch_full |= isinstance(grant, QuotaRefused) and grant.batch_full
        return RefusalReason.BATCH_FULL if batch_full else RefusalReason.LIMIT


def _inner(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    if "prediction" not in payload:
        return payload
    inner = payload["prediction"]
    if not isinstance(inner, Mapping):
        raise ValueError(f"prediction: {_shown(inner)} is not allowed; it must be an object in the wire format")
    return {**{key: payload[key] for key in ("task_type", "task") if key in payload}, **inner}


def _mask_size(payload: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height in pixels for a prediction that doesn't say its picture's: those of its first mask, else any,
    since no strategy asks where an object lies.
    """
    items = payload.get("predictions")
    for item in items if isinstance(items, list) else ():
        rle = item.get("rle") if isinstance(item, Mapping) else None
        size = rle.get("size") if isinstance(rle, Mapping) else None
        if (
            isinstance(size, list)
            and len(size) == 2
            and all(type(side) is int and 0 < side <= _LONGEST_SIDE for side in size)
        ):
            return size[1], size[0]
    return 1, 1


def _instant_s(value: object) -> float:
    """Unix time of `captured_at`."""
    found: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value) if abs(value) <= _LATEST_S else math.inf
    elif isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[T ]", value, re.IGNORECASE):
        try:
            found = _seconds(_INSTANT.validate_python(value))
        except ValidationError:
            found = None
    if found is None or not _EARLIEST_S <= found < _LATEST_S:
        raise ValueError(
            f"captured_at: {_shown(value)} is not allowed; it must be Unix seconds from {_EARLIEST_S:.0f} on, "
            f"or ISO 8601 with a zone, such as 2026-09-10T12:00:00Z"
        )
    return found


def _seconds(instant: datetime) -> float:
    try:
        return instant.timestamp()
    except (OverflowError, ValueError):  # the first or the last hours that a calendar knows
        return math.inf


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
