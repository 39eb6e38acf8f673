"""The shared ledger of one project: the charges of many devices, kept in Redis by one script (ledger.lua).

Guarantees:
1. For every strategy and window, and every batch, charges never exceed the limit, whichever device they come from: a
   decision is one round trip, which charges all windows or none.
2. Charging the same id twice charges once. A refund removes the charge of that id only, from the windows that it was
   charged to.
3. The windows are those of the capture: the server's time minus the frame's age. The device's own wall clock doesn't
   matter within one boot.
4. `charge` waits at most FRAME_TIMEOUT_S, and after one failure not at all until `connect` has succeeded.
5. After the server has lost its data, this device is granted nothing until it has reported its charges, and no device
   is granted anything for RESTORE_S.

Any thread may call all methods, but `connect` and `send` wait WORKER_TIMEOUT_S or longer.
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
    NO_TURN,
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
# A refusal is cached for this time, or until its window ends: another device may refund a charge meanwhile.
REFUSAL_CACHE_S = 5.0
_MAX_CACHED = 1000
_ANSWER_TIME_FACTOR = 1.5  # this multiple of the recent answer time must be left for an answer


class Ledger:
    """The ledger of one project, as one device uses it. It has one connection for frames and one for the reconciler.

    key: its key in Redis. device, instance_id: see LedgerProtocol. wake: called by any thread when the reconciler has
    something to do. problem: why the ledger is unavailable, None if it is available. synced_generation: the generation
    that knows all charges of this device, None if there is none yet.
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
        self.synced_generation: str | None = None
        self._protocol = LedgerProtocol(device, instance_id, calendar, restore_s)
        self._wake = wake
        self._clock_offset: tuple[str, float] | None = None  # boot id, and the server's time minus the boot time
        self._answer_time_s = 0.0  # recent maximum on the connection for frames
        self._frame_connection, self._frame_lock = LedgerConnection(server, WORKER_TIMEOUT_S), threading.Lock()
        self._worker_connection, self._worker_lock = LedgerConnection(server, WORKER_TIMEOUT_S), threading.Lock()
        self._lock = threading.Lock()  # guards the attributes below
        # Ids that may be charged and aren't known to be in the spool -> start of the charged day, None if unknown.
        self._unconfirmed: dict[str, int | None] = {}
        self._refunds: list[tuple[str, int]] = []  # ids to refund, with the start of their day
        self._needs_audit = False
        self._exhausted: dict[tuple[str, Limit | int], _Exhausted] = {}

    # --- for frames -----------------------------------------------------------------------------------------------

    def charge(self, request: ChargeRequest, now: Moment) -> QuotaGranted | QuotaRefused | None:
        """Charges the first quota that has room in all its windows and its batch, or none.

        Returns None if the ledger is unavailable. Unless the answer is a refusal, call `report_stored` afterwards.
        """
        refusal = self._find_refusal(request, now)
        if refusal is not None:
            return refusal
        decision = self._request_charge(request, now)
        if isinstance(decision, LedgerRefused):
            self._cache_refusal(request, decision, now)
            self.report_stored(request.id, is_stored=True)
        elif isinstance(decision, QuotaGranted) and decision.shared is not None:
            with self._lock:
                self._unconfirmed[request.id] = self.calendar.start(Window.DAILY, decision.shared.at_s)
        return decision if isinstance(decision, QuotaGranted | QuotaRefused) else None

    def report_stored(self, id: str, is_stored: bool) -> None:
        """Reports whether the datapoint is in the spool. If it is not, its charge is refunded by the reconciler."""
        with self._lock:
            was_requested = id in self._unconfirmed
            day = self._unconfirmed.pop(id, None)
            if is_stored or not was_requested:
                return
            if day is not None and len(self._refunds) < _MAX_CACHED:
                self._refunds.append((id, day))
            else:  # it is not known whether it was charged
                self._needs_audit = True
        self._wake()

    def _request_charge(self, request: ChargeRequest, now: Moment) -> ChargeDecision | None:
        deadline_s = time.monotonic() + FRAME_TIMEOUT_S
        # Leave enough time for an answer: a frame that gives up because of the queue says nothing about the server.
        queue_s = max(0.0, FRAME_TIMEOUT_S - _ANSWER_TIME_FACTOR * self._answer_time_s)
        if self.problem is not None or not self._frame_lock.acquire(timeout=queue_s):
            return None
        try:
            start_s = time.monotonic()
            with self._lock:
                self._unconfirmed[request.id] = None
            while self.problem is None:  # repeated if the estimate of the server's time was wrong
                answer = self._exchange(
                    lambda key, message: self._frame_connection.run_script(key, message, deadline_s - time.monotonic()),
                    LedgerRequest(charge=[request]),
                    now,
                )
                decision = answer.decisions[0]
                self._record_answer_time(time.monotonic() - start_s)
                if not isinstance(decision, ClockMismatch):
                    if not isinstance(decision, QuotaGranted | QuotaRefused):
                        self._mark_unavailable("the server has lost its data")
                    return decision
        except LimitsUnavailable as error:
            self._mark_unavailable(str(error))
        finally:
            self._frame_lock.release()
        return None

    def _record_answer_time(self, answer_s: float) -> None:
        self._answer_time_s = max(answer_s, 0.9 * self._answer_time_s)

    def _mark_unavailable(self, problem: str) -> None:
        self.problem = problem
        self._wake()

    # --- cached refusals ------------------------------------------------------------------------------------------

    def _find_refusal(self, request: ChargeRequest, now: Moment) -> QuotaRefused | None:
        if self.problem is not None:
            return None
        at_s = self._server_time_s(now) - request.captured.age_s(now)
        is_batch_full = False
        with self._lock:
            for quota in request.quotas:
                for key in _limit_keys(quota):
                    exhausted = self._exhausted.get(key)
                    if exhausted is not None and exhausted.applies(at_s, now):
                        is_batch_full |= not isinstance(key[1], Limit)
                        break
                else:
                    return None
        return QuotaRefused(is_batch_full)

    def _cache_refusal(self, request: ChargeRequest, refused: LedgerRefused, now: Moment) -> None:
        until_s = now.boottime_s + REFUSAL_CACHE_S
        with self._lock:
            if len(self._exhausted) > _MAX_CACHED:
                self._exhausted.clear()
            for quota, obstacle in zip(request.quotas, refused.obstacles, strict=True):
                window = obstacle if isinstance(obstacle, Window) else None
                if obstacle == NO_TURN:
                    continue  # one may be due soon
                if window is None:
                    span = (float("-inf"), float("inf"))
                else:
                    span = (self.calendar.start(window, refused.at_s), self.calendar.end(window, refused.at_s))
                for key in _limit_keys(quota):
                    if window == (key[1].window if isinstance(key[1], Limit) else None):
                        self._exhausted[key] = _Exhausted(*span, until_s, now.boot_id)

    def time_s(self, now: Moment) -> float:
        """The Unix time by the ledger's clock; by the device's own while nothing is known of that."""
        return self._server_time_s(now)

    # --- for the reconciler ---------------------------------------------------------------------------------------

    def connect(self, now: Moment) -> LedgerAnswer:
        """Opens both connections again and reserves the device id for this instance.

        Raises LimitsUnavailable, also if an answer takes longer than FRAME_TIMEOUT_S.
        """
        with self._frame_lock:
            self._exchange(self._frame_connection.open, LedgerRequest(), now)
            start_s = time.monotonic()
            self._exchange(
                lambda key, message: self._frame_connection.run_script(key, message, FRAME_TIMEOUT_S),
                LedgerRequest(),
                now,
            )
            self._record_answer_time(time.monotonic() - start_s)
        with self._worker_lock:
            return self._exchange(self._worker_connection.open, LedgerRequest(lease=True), now)

    def send(self, request: LedgerRequest, now: Moment) -> LedgerAnswer:
        """Sends a request and returns its answer.

        Raises LimitsUnavailable. It is then unknown whether the request was executed.
        """
        with self._worker_lock:
            if not self._worker_connection.is_open:
                raise LimitsUnavailable(self.problem or "it is not connected")
            try:
                return self._exchange(
                    lambda key, message: self._worker_connection.run_script(key, message, WORKER_TIMEOUT_S),
                    request,
                    now,
                )
            except LimitsUnavailable as error:
                self._mark_unavailable(str(error))
                raise

    def set_synced(self, generation: str) -> None:
        """Records that this generation of the ledger knows all charges of the device, so that it may grant quota."""
        self.synced_generation = generation

    def set_available(self) -> None:
        """Lets `charge` ask the server again."""
        self.problem = None

    def set_unavailable(self, problem: str) -> None:
        """Keeps `charge` from asking the server. problem: why, for the operator."""
        self.problem = problem

    def unconfirmed_ids(self) -> frozenset[str]:
        """The ids that may be charged and are not known to be in the spool."""
        with self._lock:
            return frozenset(self._unconfirmed)

    def request_audit(self) -> None:
        """Requests a comparison of the ledger with the spool: something may be charged that the spool doesn't have."""
        with self._lock:
            self._needs_audit = True

    def pop_refunds(self) -> list[tuple[str, int]]:
        """Returns and forgets the ids to refund, each with the start of its day (Unix time)."""
        with self._lock:
            refunds, self._refunds = self._refunds, []
        return refunds

    def pop_audit_request(self) -> bool:
        """Tells whether an audit was requested, and clears the request."""
        with self._lock:
            is_needed, self._needs_audit = self._needs_audit, False
        return is_needed

    def audit_days(self, now: Moment) -> tuple[int, ...]:
        """The starts of the days that an audit may compare. The spool may have pruned charges of older days."""
        now_s = self._server_time_s(now)
        since_s = now_s - MAX_PENDING_S + 3600.0
        return tuple(day for day in self.calendar.day_starts(since_s, now_s + 86400.0) if day >= since_s)

    def ledger_time_s(self, age_s: float, now: Moment) -> float:
        """The Unix time, by the ledger's clock, of an event that was `age_s` seconds ago."""
        return math.floor((self._server_time_s(now) - age_s) * 1000) / 1000

    def close(self) -> None:
        """Closes both connections, except one that is being opened: resolving a host name can take half a minute."""
        for lock, connection in (
            (self._frame_lock, self._frame_connection),
            (self._worker_lock, self._worker_connection),
        ):
            if lock.acquire(timeout=CLOSE_TIMEOUT_S):
                connection.close()
                lock.release()

    def _exchange(self, send: Callable[[str, bytes], bytes], request: LedgerRequest, now: Moment) -> LedgerAnswer:
        message = self._protocol.encode(
            request,
            generation=self.synced_generation,
            new_generation=secrets.token_hex(8),
            now=now,
            now_s=self._server_time_s(now),
        )
        answer = self._protocol.decode(send(self.key, message), request)
        self._clock_offset = (now.boot_id, answer.now_s - now.boottime_s)
        return answer

    def _server_time_s(self, now: Moment) -> float:
        """The ledger's Unix time now, estimated from its last answer; without one, this device's wall time."""
        offset = self._clock_offset
        return now.wall_s if offset is None or offset[0] != now.boot_id else offset[1] + now.boottime_s


@dataclass(frozen=True, slots=True)
class _Exhausted:
    """There is no room for captures from start_s to before end_s (Unix times by the ledger's clock).

    It is valid until the boot time `until_boottime_s` of the boot `boot_id`.
    """

    start_s: float
    end_s: float
    until_boottime_s: float
    boot_id: str

    def applies(self, at_s: float, now: Moment) -> bool:
        return (
            self.start_s <= at_s < self.end_s and now.boot_id == self.boot_id and now.boottime_s < self.until_boottime_s
        )


def _limit_keys(quota: Quota) -> Iterator[tuple[str, Limit | int]]:
    """The limits by which a quota may be refused, each with the key under which it is counted."""
    for limit in quota.limits:
        yield quota.account, limit
    if quota.max_batch_images is not None:
        yield quota.batch, quota.max_batch_images
