"""Pacing: which of the strategies that want a frame may take it now, and which of them holds it.

It stands between the sampler and the limits. In the policy's order the first match without `hold_queue` that has quota
is charged; only if there is none, the first match with `hold_queue` holds the frame. A frame that drops out of a hold
is offered to nobody else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from framesift.clock.moment import Moment
from framesift.frame import RefusalReason
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.sampling.adaptive_threshold import AdaptiveThreshold
from framesift.sampling.held_frame import HeldFrame
from framesift.sampling.hold_queue import HeldCandidate
from framesift.sampling.likeness import Likeness
from framesift.sampling.min_intervals import MinIntervals
from framesift.sampling.pacing_rules import PacingRule
from framesift.spool import AcceptedSignature
from framesift.strategies import Match

# How often the charges of a window are counted anew: other devices and earlier processes have charged it, too.
RECOUNT_S = 60.0
# Refusals after which a frame may still be held: no strategy could be charged now.
WITHOUT_QUOTA = (
    RefusalReason.LIMIT,
    RefusalReason.BATCH_FULL,
    RefusalReason.OUTSCORED,
    RefusalReason.MIN_INTERVAL,
)


@dataclass(frozen=True, slots=True)
class PacedMatches:
    """What the pacing leaves of the matches.

    now: those that may be charged. held: the one that holds the frame if none of them has quota, and its score.
    refusal: why nothing is left of the matches; None where something is.
    """

    now: tuple[Match, ...]
    held: tuple[Match, float] | None = None
    refusal: RefusalReason | None = None


class Holds(Protocol):
    """The hold queues of this device, as streams use them: see HoldQueues."""

    def follow(self, scope: str, policy: Policy) -> None:
        """Apply a policy to the strategies of a scope."""
        ...

    def register(
        self, stream: str, memory: str, on_turn: Callable[[str, Prediction, AcceptedSignature | None], None]
    ) -> None:
        """Set what is called when a held frame of a stream is accepted."""
        ...

    def refusal(self, account: str, score: float, likeness: Likeness | None) -> RefusalReason | None:
        """Return why a frame would not be held; None if it would."""
        ...

    def draw(self, account: str, captured: Moment) -> bool:
        """Whether the baseline takes a frame."""
        ...

    def hold(self, account: str, candidate: HeldCandidate[HeldFrame]) -> RefusalReason | None:
        """Hold a frame, or return why not."""
        ...

    def drop_alike(self, accepted: Likeness) -> None:
        """Drop what looks like a frame that was accepted."""
        ...


class Pacing:
    """The intervals and thresholds of all strategies of this device. Thread-safe.

    holds: its hold queues, None where there are none; set before the first frame.
    """

    def __init__(self, count_used: Callable[[str], Mapping[str, int] | None] = lambda _: None) -> None:
        """count_used: returns what an account has used of its open windows, by window; None while that is not known.

        It may take a millisecond.
        """
        self.intervals = MinIntervals()
        self.holds: Holds | None = None
        self._count_used = count_used
        self._lock = threading.Lock()
        self._thresholds: dict[str, AdaptiveThreshold] = {}
        self._counted_s: dict[str, float] = {}

    def select(
        self,
        matches: tuple[Match, ...],
        rules: Mapping[str, PacingRule],
        score_of: Callable[[Match], float],
        captured_at_s: float,
    ) -> PacedMatches:
        """Applies the pacing of each match. score_of: by which frames of a strategy are compared.

        captured_at_s: Unix time of the capture. To be called once for each frame that strategies want, in order.
        """
        now: list[Match] = []
        held: tuple[Match, float] | None = None
        for match in matches:
            rule = rules[match.strategy]
            if rule.pacing is None or self._accepts(rule, match, score_of, captured_at_s):
                now.append(match)
            elif rule.holds and held is None:
                held = match, score_of(match)
        return PacedMatches(tuple(now), held, None if now or held else RefusalReason.OUTSCORED)

    def record_used(self, account: str, captured_at_s: float) -> None:
        """An image of this account was charged."""
        with self._lock:
            if account in self._thresholds:
                self._thresholds[account].record_used(captured_at_s)

    def _accepts(
        self, rule: PacingRule, match: Match, score_of: Callable[[Match], float], captured_at_s: float
    ) -> bool:
        if rule.turns is None or rule.holds:
            return False
        limit, account = rule.turns.limit, rule.account
        used: int | None = None
        if abs(captured_at_s - self._counted_s.get(account, -RECOUNT_S)) >= RECOUNT_S:
            counts = self._count_used(account)
            used = None if counts is None else counts.get(limit.window.value, 0)
            self._counted_s[account] = captured_at_s
        with self._lock:
            threshold = self._thresholds.get(account)
            if threshold is None or threshold.limit != limit:
                threshold = self._thresholds[account] = AdaptiveThreshold(limit, rule.zone)
            if used is not None:
                threshold.set_used(used, captured_at_s)
            return threshold.accepts(score_of(match), captured_at_s)
