"""How a datapoint is accepted: quota is charged, room is made and the row is written, all in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.frame import RefusalReason
from framesift.limits import Quota, QuotaGranted, QuotaPending, QuotaRefused
from framesift.limits.local import LocalLimits
from framesift.prediction.prediction import count_classes
from framesift.prediction.wire_format import to_wire
from framesift.spool import held, rows, signatures
from framesift.spool.records import Accepted, NotAccepted, WhenFull, refusal_reason
from framesift.spool.shared_quota import charge
from framesift.spool.signatures import AcceptedSignature
from framesift.spool.space import Transaction


@dataclass(frozen=True, slots=True)
class NewDatapoint:
    """A datapoint that is to be accepted, with all that can be prepared before the transaction.

    candidates, quotas: in the same order. grant: the answer of the shared limits, None if this device counts alone.
    signature: under which the frame is remembered, None where it isn't. was_held: there is a held frame with its id.
    prediction: JSON in the wire format. hash: of prediction and JPEG. classes: predicted objects (or labels) per class.
    """

    datapoint: Datapoint
    candidates: Sequence[Candidate]
    quotas: Sequence[Quota]
    grant: QuotaGranted | QuotaPending | None
    signature: AcceptedSignature | None
    prediction: str
    hash: bytes
    classes: Counter[str]
    was_held: bool = False

    @classmethod
    def prepare(
        cls,
        datapoint: Datapoint,
        candidates: Sequence[Candidate],
        quotas: Sequence[Quota],
        grant: QuotaGranted | QuotaPending | None,
        signature: AcceptedSignature | None = None,
        *,
        was_held: bool = False,
    ) -> NewDatapoint:
        """Prepares a datapoint for `accept`. Raises ValueError if candidates and quotas have different strategies."""
        if [c.strategy for c in candidates] != [q.strategy for q in quotas]:
            raise ValueError("candidates and quotas name different strategies")
        prediction = json.dumps(to_wire(datapoint.prediction), allow_nan=False, separators=(",", ":"))
        hash = rows.content_hash(prediction, datapoint.jpeg)
        classes = count_classes(datapoint.prediction)
        return cls(datapoint, candidates, quotas, grant, signature, prediction, hash, classes, was_held)

    @property
    def size_bytes(self) -> int:
        """Size of the JPEG and the prediction."""
        return len(self.prediction) + len(self.datapoint.jpeg)


def accept(
    cursor: sqlite3.Cursor,
    transaction: Transaction,
    new: NewDatapoint,
    *,
    limits: LocalLimits,
    when_full: WhenFull,
    now: Moment,
) -> Accepted | NotAccepted:
    """Accepts the datapoint for the first candidate that has quota. An id that was accepted before is not changed.

    Raises SpoolFull.
    """
    datapoint = new.datapoint
    known = rows.strategy_of(cursor, datapoint.id)
    if known is not None:
        return Accepted(datapoint.id, known)
    charged = charge(cursor, limits, datapoint, new.candidates, new.quotas, new.grant, now)
    if not isinstance(charged, QuotaGranted):
        return NotAccepted(refusal_reason(charged) if isinstance(charged, QuotaRefused) else RefusalReason.LIMIT)
    if new.was_held:  # before room is made: it has some already
        held.delete(cursor, [datapoint.id])
    pairs = zip(new.candidates, new.quotas, strict=True)
    candidate, quota = next(pair for pair in pairs if pair[0].strategy == charged.strategy)
    if new.signature is not None:
        captured_at_s = datapoint.captured.wall_s_as_of(now)
        signatures.insert(cursor, datapoint.id, captured_at_s, new.signature, transaction.max_bytes)
    transaction.make_room(cursor, new.size_bytes, rows.rank_of(candidate), when_full)
    rows.insert(
        cursor,
        datapoint,
        candidate,
        quota,
        new.prediction,
        new.hash,
        captured_at_s=datapoint.captured.wall_s_as_of(now),
        accepted_at_s=now.wall_s,
    )
    rows.count_classes(cursor, new.classes)
    return Accepted(datapoint.id, charged.strategy)
