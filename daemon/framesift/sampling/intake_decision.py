"""IntakeDecision: what an intake has decided on one frame."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.frame import RefusalReason
from framesift.spool import Accepted


@dataclass(frozen=True, slots=True)
class PendingFrame:
    """A frame of which it is not known yet what becomes of it.

    id: of the datapoint that it may become. strategy: the one that holds it, "" if it waits. is_held: until a turn is
    due; else it has quota, and waits for what its picture needs.
    """

    id: str
    strategy: str = ""
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class IntakeDecision:
    """The decision on one frame.

    matched: the strategies that wanted it, in the policy's order. accepted: its id and the strategy that was charged;
    None where it was refused, for the reason `refusal`, or where that is not decided yet (then both are None): it is
    held until a turn is due, it waits for what its picture needs, or a strategy may still want it when it has seen the
    frames after it.
    """

    matched: tuple[str, ...]
    accepted: Accepted | None
    refusal: RefusalReason | None
    is_held: bool = False
