"""BaselineQueue: the frame that the baseline has drawn in each interval, until the interval is over.

A day, of which k images are the baseline's, has k intervals of equal length. Of the n frames that were seen in one, on
all streams, one is drawn uniformly: the i-th replaces the one before it with the probability 1 / i (Vitter, Random
Sampling with a Reservoir, 1985, algorithm R, for one). When the interval is over it is accepted, with n as its weight:
so many frames it stands for. An interval in which no frame was seen gives nothing.

Its owner uses it as any HoldQueue.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from datetime import tzinfo

from framesift.frame import RefusalReason
from framesift.limits import Turns, window_end, window_start
from framesift.sampling.hold_queue import AFTER_TURN_S, Content, Dropped, HeldCandidate, HoldQueue, QueueTime
from framesift.sampling.likeness import Likeness
from framesift.strategies import PacingOptions

_MAX_INTERVALS = 8  # that are remembered: frames of several streams may come a little late


class BaselineQueue(HoldQueue[Content]):
    """For one thread at a time."""

    def __init__(self, options: PacingOptions, turns: Turns, zone: tzinfo, *, rng: random.Random) -> None:
        """turns: of the baseline's daily limit. rng: for the draws."""
        super().__init__(options, turns, zone)
        self._rng = rng
        self._seen: dict[float, int] = {}  # frames, by the end of the interval

    def draw(self, captured_at_s: float) -> bool:
        """Whether a frame takes the place of the one that was drawn before it in its interval.

        To be called once for each frame that is seen. captured_at_s: Unix time by the clock that decides the windows.
        """
        ends_s = self._ends_s(captured_at_s)
        seen = self._seen[ends_s] = self._seen.get(ends_s, 0) + 1
        if len(self._seen) > _MAX_INTERVALS:
            del self._seen[min(self._seen)]
        return self._rng.random() * seen < 1.0

    def weight(self, candidate: HeldCandidate[Content], time: QueueTime) -> int | None:
        """How many frames were seen in the interval of a frame; None if that was forgotten."""
        return self._seen.get(self._ends_s(time.wall_s_of(candidate.captured)))

    def restore_weight(self, candidate: HeldCandidate[Content], weight: int, time: QueueTime) -> None:
        """Begins with how many were seen in the interval of a restored frame before the restart."""
        ends_s = self._ends_s(time.wall_s_of(candidate.captured))
        self._seen[ends_s] = self._seen.get(ends_s, 0) + weight

    def refusal(self, score: float, likeness: Likeness | None) -> RefusalReason | None:  # noqa: ARG002
        """None: what was drawn is held."""
        return None

    def offer(self, candidate: HeldCandidate[Content]) -> list[Dropped[Content]]:
        """Holds a frame that was drawn. Returns the one that was drawn before it in its interval."""
        before = [one for one in self if self._is_same_interval(one, candidate)]
        self._remove(before)
        self._held = (*self._held, candidate)
        return [Dropped(one, RefusalReason.OUTSCORED) for one in before]

    def put_back(self, candidate: HeldCandidate[Content]) -> list[Dropped[Content]]:
        """Holds a frame again that was removed for its turn."""
        self._held = (*self._held, candidate)
        return []

    def undo_write(self, candidate: HeldCandidate[Content]) -> list[Dropped[Content]]:  # noqa: ARG002
        """A frame could not be stored: it stays in memory."""
        return []

    def begin_write(
        self, time: QueueTime, *, at_once: bool = False
    ) -> tuple[HeldCandidate[Content], list[Dropped[Content]]] | None:
        """See HoldQueue."""
        unstored = next((one for one in self if not one.is_stored), None)
        if unstored is None or (time.wall_s < self._may_write_s and not at_once):
            return None
        self._may_write_s = time.wall_s + self._interval_s(time)
        return unstored, []

    def expire(self, time: QueueTime) -> list[Dropped[Content]]:  # noqa: ARG002
        """Nothing: the end of its interval ends a hold."""
        return []

    def best_to_ask(self, time: QueueTime) -> HeldCandidate[Content] | None:
        """A frame whose interval is over."""
        return next((one for one in self if self._due_s(one, time) <= time.wall_s), None)

    def record_turn(self, candidate: HeldCandidate[Content], time: QueueTime) -> None:
        """Nothing: each interval has its own turn."""

    def no_turn(self, candidate: HeldCandidate[Content], time: QueueTime) -> list[Dropped[Content]]:  # noqa: ARG002
        """Another device of the fleet has had the turn."""
        return [Dropped(candidate, RefusalReason.OUTSCORED)]

    def drop_alike(self, accepted: Likeness) -> list[Dropped[Content]]:  # noqa: ARG002
        """Nothing: the baseline takes near duplicates too."""
        return []

    def wake_s(self, time: QueueTime) -> float:
        """See HoldQueue."""
        at_s = [self._due_s(one, time) for one in self]
        at_s += [self._may_write_s for one in self if not one.is_stored]
        return max(0.0, min(at_s, default=math.inf) - time.wall_s)

    def restore(self, stored: Iterable[HeldCandidate[Content]]) -> None:
        """See HoldQueue."""
        self._held = (*self._held, *stored)

    def _is_same_interval(self, one: HeldCandidate[Content], other: HeldCandidate[Content]) -> bool:
        time = QueueTime(other.captured, other.captured.wall_s)
        return self._ends_s(time.wall_s_of(one.captured)) == self._ends_s(time.wall_s)

    def _due_s(self, candidate: HeldCandidate[Content], time: QueueTime) -> float:
        return self._ends_s(time.wall_s_of(candidate.captured)) + AFTER_TURN_S

    def _ends_s(self, at_s: float) -> float:
        """When the interval of a capture ends."""
        window, number = self.turns.limit.window, max(1, self.turns.limit.value)
        opened_s = window_start(window, at_s, self.zone)
        length_s = (window_end(window, at_s, self.zone) - opened_s) / number
        return opened_s + (math.floor((at_s - opened_s) / length_s) + 1) * length_s
