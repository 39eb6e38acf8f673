"""HoldQueue: the frames that one strategy with `hold_queue` holds, until a turn is due for the best of them.

    offer ──> contender ──> held ──> accepted     one at each turn: the best of its window
                  └──────────┴─────> dropped      a better one took its place, or none was due in time

The contender is one frame, in memory: the best since a frame was last stored. It is stored, and so held for good, if it
is among the best `max_held` or beats those that look like it by 5 %, but no more often than eight times a turn: a
synced write for every better frame would wear out flash. Of frames that look alike only the best is held.

Turns that were saved up, over a night in which nothing came, are used no faster than eight times as fast as they are
earned: the first frames of the morning would take them all. When a turn is due, a frame gets it that is the best of at
least an eighth of the time in which one is earned; or, where frames are not held for so long, of half of `max_hold_s`.

A frame takes a turn of the window of the limit in which it was captured. So when a window closes, the best of its
frames get the turns that are left, and its others are dropped.

The queue does nothing by itself, reads no clock and writes nothing: its owner asks it what is to be done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Generic, TypeVar

from framesift.clock.moment import Moment
from framesift.frame import RefusalReason
from framesift.limits import Turns, window_end, window_start
from framesift.sampling.likeness import Likeness, LikenessIndex
from framesift.strategies import PacingOptions

STEPS_PER_TURN = 8  # writes, and questions for turns that were saved up
_BEATS_BY = 0.05
# After the moment at which a turn is earned: clocks are compared in floating point, and a fleet's differ a little.
AFTER_TURN_S = 0.01
_SAME_TIME_S = 1e-4  # sums of Unix times differ by as much as a microsecond

Content = TypeVar("Content")


@dataclass(eq=False)
class HeldCandidate(Generic[Content]):
    """A frame that wants a turn.

    score: higher is more worth a label. likeness: None where frames that look alike are all taken. content: what its
    owner needs to accept it. is_stored: it survives a power cut.
    """

    id: str
    score: float
    captured: Moment
    likeness: Likeness | None
    content: Content
    is_stored: bool = False
    window: tuple[object, int] | None = None  # of its queue: what depends on the clock, and when its window opened


@dataclass(frozen=True, slots=True)
class QueueTime:
    """A moment, and its Unix time by the clock that decides the windows: the device's, or that of shared limits."""

    moment: Moment
    wall_s: float

    def wall_s_of(self, captured: Moment) -> float:
        """The Unix time of an earlier moment by the same clock."""
        return self.wall_s - captured.age_s(self.moment)


@dataclass(frozen=True, slots=True)
class Dropped(Generic[Content]):
    """A candidate that gets no turn, and why."""

    candidate: HeldCandidate[Content]
    reason: RefusalReason


@dataclass
class HoldQueue(Generic[Content]):
    """For one thread at a time. options, turns, zone: may be replaced at any time."""

    options: PacingOptions
    turns: Turns
    zone: tzinfo
    # A new tuple with each change: the index is of the tuple of which it was made.
    _held: tuple[HeldCandidate[Content], ...] = ()
    _index: tuple[tuple[HeldCandidate[Content], ...], LikenessIndex] = ((), LikenessIndex(()))
    _contender: HeldCandidate[Content] | None = None
    _may_write_s: float = -math.inf
    # By when a window opened: not to ask for a turn before that, and since when frames of it are held without a gap.
    _ask_s: dict[int, float] = field(default_factory=dict)
    _since_s: dict[int, float] = field(default_factory=dict)

    # --- frames come ----------------------------------------------------------------------------------------------

    def refusal(self, score: float, likeness: Likeness | None) -> RefusalReason | None:
        """Why such a frame would not be held; None if it would. Costs microseconds, and changes nothing."""
        if self._contender is not None and score <= self._contender.score:
            return RefusalReason.OUTSCORED
        if len(self._held) >= self.options.max_held and score <= self._lowest.score:
            return RefusalReason.OUTSCORED
        if all(_beats(score, other.score) for other in self._alike(likeness)):
            return None
        return RefusalReason.NEAR_DUPLICATE

    def offer(self, candidate: HeldCandidate[Content]) -> list[Dropped[Content]]:
        """Takes a frame for which `refusal` gives no reason as the contender. Returns the one before it."""
        before, self._contender = self._contender, candidate
        if before is None:
            return []
        is_alike = candidate.likeness is not None and bool(candidate.likeness.alike([before.likeness]))
        return [Dropped(before, RefusalReason.NEAR_DUPLICATE if is_alike else RefusalReason.OUTSCORED)]

    def restore(self, stored: Iterable[HeldCandidate[Content]]) -> None:
        """Begins with frames that were stored before a restart."""
        self._held = (*self._held, *stored)

    # --- what is to be done ---------------------------------------------------------------------------------------

    def begin_write(
        self, time: QueueTime, *, at_once: bool = False
    ) -> tuple[HeldCandidate[Content], list[Dropped[Content]]] | None:
        """The contender, which is to be stored now, and the frames that it displaces; None if nothing is due.

        It is held from now on. If it can't be stored, `undo_write` has to follow. at_once: however short ago the last
        one was.
        """
        contender = self._contender
        if contender is None or (time.wall_s + _SAME_TIME_S < self._may_write_s and not at_once):
            return None
        self._contender = None
        self._may_write_s = time.wall_s + self._interval_s(time)
        dropped = [Dropped(other, RefusalReason.NEAR_DUPLICATE) for other in self._alike(contender.likeness)]
        self._remove(one.candidate for one in dropped)
        self._held = (*self._held, contender)
        while len(self._held) > self.options.max_held:
            lowest = self._lowest
            dropped.append(Dropped(lowest, RefusalReason.OUTSCORED))
            self._remove([lowest])
        return contender, [one for one in dropped if one.candidate is not contender]

    def undo_write(self, candidate: HeldCandidate[Content]) -> list[Dropped[Content]]:
        """A frame could not be stored: it is the contender again, unless there is a better one."""
        self._remove([candidate])
        return self.put_back(candidate)

    def put_back(self, candidate: HeldCandidate[Content]) -> list[Dropped[Content]]:
        """Holds a frame again that was removed for a turn and did not get it."""
        if candidate.is_stored:
            self._held = (*self._held, candidate)
            return []
        if self._contender is not None and self._contender.score >= candidate.score:
            return [Dropped(candidate, RefusalReason.OUTSCORED)]
        return self.offer(candidate)

    def expire(self, time: QueueTime) -> list[Dropped[Content]]:
        """Drops the frames that were held for `max_hold_s`."""
        old = [one for one in self if one.captured.age_s(time.moment) > self.options.max_hold_s]
        self._remove(old)
        return [Dropped(one, RefusalReason.OUTSCORED) for one in old]

    def best_to_ask(self, time: QueueTime) -> HeldCandidate[Content] | None:
        """The frame for which a turn should be asked for now; None if it is too early, or none is held."""
        windows = self._by_window(time)
        self._ask_s = {
            opened_s: at_s
            for opened_s, at_s in self._ask_s.items()
            if opened_s in windows or time.wall_s <= window_end(self.turns.limit.window, opened_s, self.zone)
        }
        for opened_s, held in sorted(windows.items()):
            if self._ask_at_s(opened_s, held, time) <= time.wall_s + _SAME_TIME_S:
                return max(held, key=lambda one: one.score)
        return None

    def record_turn(self, candidate: HeldCandidate[Content], time: QueueTime) -> None:
        """A frame was accepted: another one of its window is not asked for at once, so that better ones may come."""
        self._ask_s[self._opened_s(candidate, time)] = time.wall_s + self._interval_s(time)

    def no_turn(self, candidate: HeldCandidate[Content], time: QueueTime) -> list[Dropped[Content]]:
        """No turn was due for a frame that was removed for it: it is held again.

        Its window is asked again when the next turn is earned; if it is over, never, and its frames are dropped.
        """
        dropped = self.put_back(candidate)
        opened_s = self._opened_s(candidate, time)
        window_s = window_end(self.turns.limit.window, opened_s, self.zone) - opened_s
        next_s = self.turns.next_earned_s(time.wall_s - opened_s, window_s)
        if time.wall_s < opened_s + window_s + AFTER_TURN_S:
            self._ask_s[opened_s] = opened_s + min(next_s, window_s) + AFTER_TURN_S
            return dropped
        late = [one for one in self if self._opened_s(one, time) == opened_s]
        self._remove(late)
        return [*dropped, *(Dropped(one, RefusalReason.OUTSCORED) for one in late)]

    def remove(self, candidate: HeldCandidate[Content]) -> None:
        """A frame is held no more: it was accepted, or can't be."""
        self._remove([candidate])

    def drop_alike(self, accepted: Likeness) -> list[Dropped[Content]]:
        """Drops the frames that look like one that was accepted."""
        alike = [one for one in self if one.likeness is not None and one.likeness.alike([accepted])]
        self._remove(alike)
        return [Dropped(one, RefusalReason.NEAR_DUPLICATE) for one in alike]

    def drop_all(self) -> list[Dropped[Content]]:
        """Drops all frames: their strategy holds none any more."""
        everything = list(self)
        self._remove(everything)
        return [Dropped(one, RefusalReason.OUTSCORED) for one in everything]

    def wake_s(self, time: QueueTime) -> float:
        """Seconds until something is to be done; inf if that depends on new frames."""
        at_s = [self._may_write_s] if self._contender is not None else []
        at_s += [self._ask_at_s(opened_s, held, time) for opened_s, held in self._by_window(time).items()]
        at_s += [time.wall_s_of(one.captured) + self.options.max_hold_s + AFTER_TURN_S for one in self]
        return max(0.0, min(at_s, default=math.inf) - time.wall_s)

    def __iter__(self) -> Iterator[HeldCandidate[Content]]:
        """All frames, those that are stored first."""
        yield from self._held
        if self._contender is not None:
            yield self._contender

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._held) + (self._contender is not None)

    @property
    def _lowest(self) -> HeldCandidate[Content]:
        return min(self._held, key=lambda one: one.score)

    def _alike(self, likeness: Likeness | None) -> list[HeldCandidate[Content]]:
        """The frames that look like one of this likeness."""
        if likeness is None:
            return []
        if self._index[0] is not self._held:
            self._index = self._held, LikenessIndex([one.likeness for one in self._held])
        alike = [self._held[place] for place in self._index[1].alike(likeness)]
        if self._contender is not None and likeness.alike([self._contender.likeness]):
            alike.append(self._contender)
        return alike

    def _remove(self, gone: Iterable[HeldCandidate[Content]]) -> None:
        leaving = set(map(id, gone))
        if id(self._contender) in leaving:
            self._contender = None
        self._held = tuple(one for one in self._held if id(one) not in leaving)
        if not len(self):
            self._since_s.clear()

    def _opened_s(self, candidate: HeldCandidate[Content], time: QueueTime) -> int:
        """When the window opened in which a frame was captured; worked out anew after a step of the clock."""
        known = candidate.window
        key = (self.turns.limit.window, self.zone, round(time.wall_s - time.moment.boottime_s), time.moment.boot_id)
        if known is None or known[0] != key:
            opened_s = window_start(self.turns.limit.window, time.wall_s_of(candidate.captured), self.zone)
            known = candidate.window = key, opened_s
        return known[1]

    def _by_window(self, time: QueueTime) -> dict[int, list[HeldCandidate[Content]]]:
        """All frames, by when the window opened in which they were captured."""
        found: dict[int, list[HeldCandidate[Content]]] = {}
        for one in self:
            found.setdefault(self._opened_s(one, time), []).append(one)
        return found

    def _ask_at_s(self, opened_s: int, held: list[HeldCandidate[Content]], time: QueueTime) -> float:
        """When a turn is to be asked for: not for the first frame that comes, but for the best of a while."""
        if opened_s not in self._since_s:
            self._since_s[opened_s] = min(time.wall_s_of(one.captured) for one in held)
        at_s = self._since_s[opened_s] + min(self._interval_s(time), self.options.max_hold_s / 2)
        at_s = max(at_s, self._ask_s.get(opened_s, -math.inf))
        return min(at_s, window_end(self.turns.limit.window, opened_s, self.zone) + AFTER_TURN_S)

    def _interval_s(self, time: QueueTime) -> float:
        window = self.turns.limit.window
        window_s = window_end(window, time.wall_s, self.zone) - window_start(window, time.wall_s, self.zone)
        return window_s / (STEPS_PER_TURN * max(1, self.turns.limit.value))


def _beats(score: float, other: float) -> bool:
    return score > other + _BEATS_BY * abs(other)
