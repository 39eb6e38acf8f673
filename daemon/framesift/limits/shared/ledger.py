"""The ledger of one project, which many devices share: kept in Redis by one script, see ledger.lua.

What is promised:
1. For every strategy and window, and every batch, charges never exceed the limit, whatever device they come from: a
   decision is one round trip that charges in all windows or in none.
2. Charging the same id twice charges once; a refund takes back that id's charge only, from the windows that it was
   charged to.
3. Windows are those of the capture: the server's time less the frame's age. The device's own wall clock is of no matter
   within one boot of it.
4. `charge` waits FRAME_WITHIN_S at most, and after one failure not at all until `open` has succeeded.
5. After the server has lost its memory this device is not charged before it has brought what it holds, and nobody at
   all for RESTORE_S.

All may be called by any thread; `open` and `ask` by those that may wait WITHIN_S or longer.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from framesift.clock.moment import Moment
from framesift.limits import Limit, LimitsUnavailable, Quota, QuotaGranted, QuotaRefused, Window
from framesift.limits.shared.connection import LedgerConnection
from framesift.limits.shared.requests import (
    MAX_PENDING_S,
    UTC_CALENDAR,
    Calendar,
    ChargeDecision,
    ChargeRequest,
    ClockMismatch,
    LedgerAnswer,
    LedgerProtocol,
    LedgerRefused,
    LedgerRequest,
)
from framesift.limits.shared.server import RedisAddress

FRAME_TIMEOUT_S = 0.1
WORKER_TIMEOUT_S = 1.0
CLOSE_TIMEOUT_S = 0.2
RESTORE_S = 60.0
# A refusal is known by heart so long, or until its window ends: another device may give a credit back meanwhile.
REFUSAL_CACHE_S = 5.0
_MOST_REMEMBERED = 1000
_ENOUGH = 1.5  # of what answers took lately, how much must be left for one


class Ledger:
    """key: what the server knows it by. device, place: see Language. look: called, by any thread, when there is
    something to do for the side that may wait.
    """

    def __init__(
        self,
        server: RedisAddress,
        key: str,
        device: str,
        instance_id: str,
        *,
        calendar: Calendar = UTC_CALENDAR,
        restore_s: float = RESTORE_S,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.key = key
        self.calendar = calendar
        self.problem: str | None = "it has not been asked yet"
        self.synced_generation: str | None = None  # the generation that knows all that this device holds
        self._language = LedgerProtocol(device, instance_id, calendar, restore_s)
        self._look = wake
        self._offset_s: tuple[str, float] | None = None  # boot, and the server's time less the boot time
        self._took_s = 0.0  # how long answers took lately on the frames' side, at most
        self._frames, self._frames_lock = LedgerConnection(server, WORKER_TIMEOUT_S), threading.Lock()
        self._worker, self._worker_lock = LedgerConnection(server, WORKER_TIMEOUT_S), threading.Lock()
        self._lock = threading.Lock()  # of what follows
        self._unsettled: dict[str, int | None] = {}  # with the day that was charged, where an answer said so
        self._owed: list[tuple[str, int]] = []  # charges to give back
        self._is_doubtful = False
        self._exhausted: dict[tuple[str, Limit | int], _Exhausted] = {}

    # --- the frames' side -----------------------------------------------------------------------------------------

    def charge(self, wanted: ChargeRequest, now: Moment) -> QuotaGranted | QuotaRefused | None:
        """Charges the first quota that has room in all its windows and its batch, or none. None where nobody can be
        asked. Unless it is refused, `settled` must be told what became of the datapoint.
        """
        by_heart = self._by_heart(wanted, now)
        if by_heart is not None:
            return by_heart
        decision = self._decide(wanted, now)
        if isinstance(decision, LedgerRefused):
            self._learn(wanted, decision, now)
            self.report_stored(wanted.id, is_stored=True)
        elif isinstance(decision, QuotaGranted) and decision.shared is not None:
            with self._lock:
                self._unsettled[wanted.id] = self.calendar.start(Window.DAILY, decision.shared.at_s)
        return decision if isinstance(decision, QuotaGranted | QuotaRefused) else None

    def report_stored(self, id: str, is_stored: bool) -> None:
        """The datapoint is in the spool, with its credit or waiting for one; or it is not: then whatever was charged
        for it is given back, at the next look.
        """
        with self._lock:
            was_asked = id in self._unsettled
            day = self._unsettled.pop(id, None)
            if is_stored or not was_asked:
                return
            if day is not None and len(self._owed) < _MOST_REMEMBERED:
                self._owed.append((id, day))
            else:  # nobody knows whether it was charged
                self._is_doubtful = True
        self._look()

    def _decide(self, wanted: ChargeRequest, now: Moment) -> ChargeDecision | None:
        deadline_s = time.monotonic() + FRAME_TIMEOUT_S
        # Not so long that too little is left for an answer: that others are asking is no fault of the ledger's.
        queue_s = max(0.0, FRAME_TIMEOUT_S - _ENOUGH * self._took_s)
        if self.problem is not None or not self._frames_lock.acquire(timeout=queue_s):
            return None
        try:
            began_s = time.monotonic()
            with self._lock:
                self._unsettled[wanted.id] = None
            while self.problem is None:  # again where our guess of the server's time was wrong
                answers = self._exchange(
                    lambda key, request: self._frames.run_script(key, request, deadline_s - time.monotonic()),
                    LedgerRequest(charge=[wanted]),
                    now,
                )
                decision = answers.decisions[0]
                self._took(time.monotonic() - began_s)
                if not isinstance(decision, ClockMismatch):
                    if not isinstance(decision, QuotaGranted | QuotaRefused):
                        self._lose("its memory is new")
                    return decision
        except LimitsUnavailable as error:
            self._lose(str(error))
        finally:
            self._frames_lock.release()
        return None

    def _took(self, answer_s: float) -> None:
        self._took_s = max(answer_s, 0.9 * self._took_s)

    def _lose(self, problem: str) -> None:
        self.problem = problem
        self._look()

    # --- what is known by heart -----------------------------------------------------------------------------------

    def _by_heart(self, wanted: ChargeRequest, now: Moment) -> QuotaRefused | None:
        if self.problem is not None:
            return None
        at_s = self._guess_s(now) - wanted.captured.age_s(now)
        is_batch_full = False
        with self._lock:
            for quota in wanted.quotas:
                for key in _keys(quota):
                    known = self._exhausted.get(key)
                    if known is not None and known.holds(at_s, now):
                        is_batch_full |= not isinstance(key[1], Limit)
                        break
                else:
                    return None
        return QuotaRefused(is_batch_full)

    def _learn(self, wanted: ChargeRequest, no_room: LedgerRefused, now: Moment) -> None:
        until_s = now.boottime_s + REFUSAL_CACHE_S
        with self._lock:
            if len(self._exhausted) > _MOST_REMEMBERED:
                self._exhausted.clear()
            for quota, kind in zip(wanted.quotas, no_room.obstacles, strict=True):
                if kind is None:
                    span = (float("-inf"), float("inf"))
                else:
                    span = (self.calendar.start(kind, no_room.at_s), self.calendar.end(kind, no_room.at_s))
                for key in _keys(quota):
                    if kind == (key[1].window if isinstance(key[1], Limit) else None):
                        self._exhausted[key] = _Exhausted(*span, until_s, now.boot_id)

    # --- the side that may wait -----------------------------------------------------------------------------------

    def connect(self, now: Moment) -> LedgerAnswer:
        """Connects anew, for both sides, and says that the device runs. Raises LimitsUnavailable, also where the
        answers take longer than a frame waits.
        """
        with self._frames_lock:
            self._exchange(self._frames.open, LedgerRequest(), now)
            began_s = time.monotonic()
            self._exchange(
                lambda key, request: self._frames.run_script(key, request, FRAME_TIMEOUT_S), LedgerRequest(), now
            )
            self._took(time.monotonic() - began_s)
        with self._worker_lock:
            return self._exchange(self._worker.open, LedgerRequest(lease=True), now)

    def send(self, requests: LedgerRequest, now: Moment) -> LedgerAnswer:
        """Raises LimitsUnavailable; the requests may then have been carried out, or not."""
        with self._worker_lock:
            if not self._worker.is_open:
                raise LimitsUnavailable(self.problem or "it is not connected")
            try:
                return self._exchange(
                    lambda key, request: self._worker.run_script(key, request, WORKER_TIMEOUT_S), requests, now
                )
            except LimitsUnavailable as error:
                self._lose(str(error))
                raise

    def set_synced(self, generation: str) -> None:
        """This generation of the ledger's memory knows all that the device holds: it may be charged."""
        self.synced_generation = generation

    def set_available(self) -> None:
        """`charge` may ask again."""
        self.problem = None

    def set_unavailable(self, problem: str) -> None:
        self.problem = problem

    def unconfirmed_ids(self) -> frozenset[str]:
        """Ids that may have been charged, of which it isn't known yet whether they are in the spool."""
        with self._lock:
            return frozenset(self._unsettled)

    def request_audit(self) -> None:
        """Something may be charged that this device doesn't hold."""
        with self._lock:
            self._is_doubtful = True

    def pop_refunds(self) -> list[tuple[str, int]]:
        """Charges that are to be given back (ids, each with its day); they are the caller's now."""
        with self._lock:
            owed, self._owed = self._owed, []
        return owed

    def pop_audit_request(self) -> bool:
        """Whether something may be charged that this device doesn't hold; no more, once it was asked."""
        with self._lock:
            doubtful, self._is_doubtful = self._is_doubtful, False
        return doubtful

    def audit_days(self, now: Moment) -> tuple[int, ...]:
        """Those that an audit may look at: of older ones, the spool itself may not know everything any more."""
        now_s = self._guess_s(now)
        since_s = now_s - MAX_PENDING_S + 3600.0
        return tuple(day for day in self.calendar.day_starts(since_s, now_s + 86400.0) if day >= since_s)

    def ledger_time_s(self, age_s: float, now: Moment) -> float:
        """Unix time, by the ledger's clock, of what is `age_s` old."""
        return math.floor((self._guess_s(now) - age_s) * 1000) / 1000

    def close(self) -> None:
        """What is being opened right now is left to itself: a name that can't be resolved takes half a minute."""
        for lock, link in ((self._frames_lock, self._frames), (self._worker_lock, self._worker)):
            if lock.acquire(timeout=CLOSE_TIMEOUT_S):
                link.close()
                lock.release()

    def _exchange(self, send: Callable[[str, bytes], bytes], requests: LedgerRequest, now: Moment) -> LedgerAnswer:
        request = self._language.encode(
            requests,
            generation=self.synced_generation,
            new_generation=secrets.token_hex(8),
            now=now,
            now_s=self._guess_s(now),
        )
        answers = self._language.decode(send(self.key, request), requests)
        self._offset_s = (now.boot_id, answers.now_s - now.boottime_s)
        return answers

    def _guess_s(self, now: Moment) -> float:
        """The ledger's Unix time at this moment, as far as is known: it says so itself with every answer."""
        offset_s = self._offset_s
        return now.wall_s if offset_s is None or offset_s[0] != now.boot_id else offset_s[1] + now.boottime_s


@dataclass(frozen=True, slots=True)
class _Exhausted:
    """Captures between these two (Unix time by the ledger's clock) have no credit, as far as is known until then."""

    start_s: float
    end_s: float
    until_boottime_s: float
    boot_id: str

    def holds(self, at_s: float, now: Moment) -> bool:
        return (
            self.start_s <= at_s < self.end_s and now.boot_id == self.boot_id and now.boottime_s < self.until_boottime_s
        )


def _keys(quota: Quota) -> Iterator[tuple[str, Limit | int]]:
    """What a quota may be refused by."""
    for limit in quota.limits:
        yield quota.account, limit
    if quota.max_batch_images is not None:
        yield quota.batch, quota.max_batch_images
