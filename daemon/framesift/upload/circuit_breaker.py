"""The gate: open while the sink takes things; shut since its answers said that it takes nothing at all.

    open    -- the whole sink failed; or three unsure failures in a row; or most items of late were refused -->  shut
    shut    -- any answer that is none of these --------------------------------------------------------->  open

While it is shut one item at a time asks whether it still is so, at growing intervals: each time one that has not asked
yet, where there is one. Once it is open those that asked in vain come after the others, one after every few that got
through, until one of them gets through as well: so that items which the sink will never take can't keep it shut.

Whose trouble an unsure failure is, the neighbours tell: the item's own, where the answer before it was good and hardly
any of the latest other items failed so too; else the sink's. Only the item's own counts towards giving it up.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from enum import Enum

from framesift.clock.clock import MAX_WAIT_S

FAILURES_TO_OPEN = 3  # so many failures, of whichever items, and the gate shuts
REMEMBERED_ITEMS = 8  # items whose last answer is remembered
REFUSALS_TO_OPEN = 5  # of the latest, from which on it is the sink that refuses
MAX_OTHER_FAILURES = 1  # others of the latest that may have failed, for a failure to be the item's own
REFUSED_PAUSE_S = 300.0  # somebody has to do something about it: asking more often won't help
_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
_MOST_ASKED = 500


def backoff_s(failures: int, chance: random.Random) -> float:
    """Seconds to wait after so many failures in a row (at least 1): at least a second, and full jitter above it, up to
    min(300, 2 x 2^n) with n counted from 0. (Brooker, "Exponential Backoff And Jitter", 2015.)
    """
    return chance.uniform(_SHORTEST_PAUSE_S, min(_LONGEST_PAUSE_S, 2.0 * 2.0 ** min(failures - 1, 16)))


class SinkSignal(Enum):
    """What the sink made of an item, as far as it tells something of the sink."""

    SUCCEEDED = "good"
    ITEM_FAILED = "item"  # this item's own trouble: others get through
    REFUSED = "refused"  # it would refuse it again
    UNCLEAR = "unsure"  # it failed
    SINK_FAILED = "sink"  # nothing would get through


@dataclass(frozen=True, slots=True)
class BreakerDecision:
    """What an answer means. own: whether it is the item's own trouble. shut: whether the gate is shut now; refuses:
    because the sink refuses everything. news: whether that is another state than before, or another reason.
    """

    item_at_fault: bool
    is_open: bool
    all_refused: bool
    changed: bool


class SinkCircuitBreaker:
    """Shared by all workers. Times are monotonic, in seconds."""

    def __init__(self, rng: random.Random) -> None:
        self._lock = threading.Lock()
        self._chance = rng
        self._why: str | None = None  # None while it is open
        self._refuses = False
        self._shuts = 0  # in a row
        self._until_s = 0.0
        self._probing: int | None = None
        self._asked: dict[str, None] = {}  # in vain, in the order in which they did
        self._through = 0  # others since then
        self._turn: str | None = None  # one of those that asked, whose turn it is again
        self._before: SinkSignal | None = None
        self._failures = 0  # in a row
        self._latest: dict[str, SinkSignal] = {}  # in the order of their answers

    def enter(self, now_s: float) -> float:
        """0: go through (where the gate is shut, as the only one, until `leave`); else the seconds to wait."""
        with self._lock:
            if self._why is None:
                return 0.0
            if now_s < self._until_s:
                return self._until_s - now_s
            if self._probing is not None:
                return MAX_WAIT_S
            self._probing = threading.get_ident()
            return 0.0

    def leave(self) -> None:
        with self._lock:
            if self._probing == threading.get_ident():
                self._probing = None

    def failed_probes(self) -> tuple[str, ...]:
        """Items with which it was asked in vain: others first."""
        with self._lock:
            return tuple(self._asked)

    def probe_now(self, now_s: float) -> None:
        """Somebody wants to know now: the next one may ask."""
        with self._lock:
            self._until_s = min(self._until_s, now_s)

    def record(
        self, id: str, answer: SinkSignal, why: str, now_s: float, retry_after_s: float | None = None
    ) -> BreakerDecision:
        """why: what failed, for people. asked_s: in how many seconds the sink wants to be asked again."""
        with self._lock:
            own = self._is_own(id, answer)
            self._remember(id, answer)
            was = self._why
            refuses = answer is SinkSignal.REFUSED and self._refuse_all()
            if answer is SinkSignal.SINK_FAILED or refuses or (answer is SinkSignal.UNCLEAR and self._is_shutting()):
                self._shut(id, why, now_s, REFUSED_PAUSE_S if refuses else retry_after_s)
                news = self._why != was or self._refuses != refuses
                self._refuses = refuses
                return BreakerDecision(
                    item_at_fault=own and not refuses, is_open=True, all_refused=refuses, changed=news
                )
            # What was under way when it was shut says nothing of the time since.
            if answer is not SinkSignal.UNCLEAR:
                self._got_through(id)
                if self._probing == threading.get_ident():
                    self._open()
            shut = self._why is not None
            return BreakerDecision(
                item_at_fault=own, is_open=shut, all_refused=shut and self._refuses, changed=was != self._why
            )

    def _is_own(self, id: str, answer: SinkSignal) -> bool:
        if answer is SinkSignal.UNCLEAR:
            others = sum(a is SinkSignal.UNCLEAR for other, a in self._latest.items() if other != id)
            return (
                self._before not in (None, SinkSignal.UNCLEAR, SinkSignal.SINK_FAILED) and others <= MAX_OTHER_FAILURES
            )
        return answer is not SinkSignal.SINK_FAILED

    def _remember(self, id: str, answer: SinkSignal) -> None:
        self._before = answer
        self._failures = self._failures + 1 if answer in (SinkSignal.UNCLEAR, SinkSignal.SINK_FAILED) else 0
        if answer is not SinkSignal.SINK_FAILED:  # which says nothing of the item
            self._latest.pop(id, None)
            self._latest[id] = answer
            if len(self._latest) > REMEMBERED_ITEMS:
                del self._latest[next(iter(self._latest))]

    def _refuse_all(self) -> bool:
        return sum(answer is SinkSignal.REFUSED for answer in self._latest.values()) >= REFUSALS_TO_OPEN

    def _is_shutting(self) -> bool:
        return self._why is not None or self._failures >= FAILURES_TO_OPEN

    def _shut(self, id: str, why: str, now_s: float, asked_s: float | None) -> None:
        if len(self._asked) >= _MOST_ASKED:
            self._asked.clear()
        self._asked.pop(id, None)
        self._asked[id] = None
        self._through = 0
        if asked_s is not None:
            # Many devices may have been told the same: they shouldn't come back in the same instant.
            asked_s = max(_SHORTEST_PAUSE_S, asked_s) * self._chance.uniform(1.0, 1.1)
            self._until_s = max(self._until_s, now_s + asked_s)
        elif self._why is None or now_s >= self._until_s:  # else an answer to what was under way when it was shut
            self._until_s = now_s + backoff_s(self._shuts + 1, self._chance)
        else:
            return
        self._shuts += 1
        self._why = why

    def _open(self) -> None:
        if self._refuses:  # no longer: what is refused from now on speaks of the items again
            self._latest = {id: answer for id, answer in self._latest.items() if answer is not SinkSignal.REFUSED}
        self._why = None
        self._refuses = False
        self._shuts = 0

    def _got_through(self, id: str) -> None:
        if id in self._asked or id == self._turn:
            self._asked.clear()
        self._through += 1
        if self._through >= REMEMBERED_ITEMS and self._asked:
            self._turn = next(iter(self._asked))
            del self._asked[self._turn]
            self._through = 0
