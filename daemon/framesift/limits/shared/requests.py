"""What a device asks of a ledger at once, and what it is answered: see ledger.lua, which speaks the other half."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timezone, tzinfo
from typing import Any

from framesift.clock.moment import Moment
from framesift.limits import (
    LimitsUnavailable,
    Quota,
    QuotaGranted,
    QuotaRefused,
    SharedCharge,
    Window,
    window_end,
    window_start,
)

MAX_PENDING_S = 48 * 3600.0  # how far back a credit may be asked for
_MARGIN_S = 48 * 3600.0  # how much longer a day is kept: it may have just ended, and a device be away
_BATCH_KEPT_S = 40 * 86400.0
LEASE_S = 25.0  # how long a name is another's, who has said that he runs under it
_ASK_EVERY_S = 50.0  # how often the fleet asks the platform for its batches
_KINDS = (Window.MINUTELY, Window.HOURLY, Window.DAILY)
_NUMBER = {kind: number for number, kind in enumerate(_KINDS, 1)}


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which windows there are. start, end: Unix times at which the window of a Unix time opens and closes; days hold
    whole hours, and hours whole minutes.
    """

    start: Callable[[Window, float], int]
    end: Callable[[Window, float], int]

    @classmethod
    def for_zone(cls, zone: tzinfo) -> Calendar:
        return cls(lambda kind, at_s: window_start(kind, at_s, zone), lambda kind, at_s: window_end(kind, at_s, zone))

    def bounds_around(self, kind: Window, at_s: float) -> list[int]:
        """Where the windows before, at and after `at_s` begin, and where the last of them ends."""
        start, end = self.start(kind, at_s), self.end(kind, at_s)
        return [self.start(kind, start - 1), start, end, self.end(kind, end)]

    def day_starts(self, from_s: float, to_s: float) -> tuple[int, ...]:
        """Where each day of this time begins."""
        days = [self.start(Window.DAILY, from_s)]
        while (end := self.end(Window.DAILY, days[-1])) <= to_s:
            days.append(end)
        return tuple(days)


UTC_CALENDAR = Calendar.for_zone(timezone.utc)


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """A datapoint that needs a credit. captured: when its frame was."""

    id: str
    quotas: tuple[Quota, ...]
    captured: Moment


@dataclass(frozen=True, slots=True)
class DeviceCharge:
    """A credit that the device holds. at_s: Unix time of the capture, by the ledger's clock."""

    id: str
    account: str
    batch: str
    at_s: float


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What the device has of a batch: charges, and those of them that are no longer on their way. is_whole: nothing of
    its own is on its way between the ledger and the spool.
    """

    batch: str
    charged: int
    left_spool: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class PlatformBatchSize:
    """The platform has `images` in a batch. mark: what `mark` said before the platform was asked."""

    batch: str
    images: int
    left_spool: int


@dataclass(frozen=True, slots=True)
class LedgerRequest:
    """What is asked for at once; it is done in this order, at one instant.

    refund: ids, with the day in which an audit found them. mark: batches, about which the platform is to be asked.
    audit: Unix times at which days begin. look: accounts and windows. lease: whether to say that the device runs.
    """

    refund: Sequence[tuple[str, int]] = ()
    restore: Sequence[DeviceCharge] = ()
    batch_reports: Sequence[BatchReport] = ()
    platform_sizes: Sequence[PlatformBatchSize] = ()
    left_spool: Sequence[str] = ()
    charge: Sequence[ChargeRequest] = ()
    audit_days: Sequence[int] = ()
    usage: Sequence[tuple[str, Window]] = ()
    lease: bool = False


@dataclass(frozen=True, slots=True)
class LedgerRestoring:
    """The ledger charges nobody, or not this device, before it knows again what it has forgotten."""


@dataclass(frozen=True, slots=True)
class ClockMismatch:
    """The ledger's clock shows quite another time than the device thought."""


@dataclass(frozen=True, slots=True)
class LedgerRefused(QuotaRefused):
    """What was in the way of each quota: the limit's window, or None for the batch. at_s: as in SharedCharge."""

    at_s: float
    obstacles: tuple[Window | None, ...]


ChargeDecision = QuotaGranted | LedgerRefused | LedgerRestoring | ClockMismatch


@dataclass(frozen=True, slots=True)
class LedgerAnswer:
    """generation: of the ledger's memory. now_s: Unix time of its clock. restoring_s: how long it charges nobody yet.

    charge: in the order of the requests. mark: of each batch, None where another device asks the platform. audit: the
    ids that the device holds, with their day. look: the fleet's charges in the windows that are open. is_alone: False
    where the device runs at another place, too; its audit is empty then.
    """

    generation: str
    now_s: float
    restoring_s: float
    decisions: tuple[ChargeDecision, ...]
    left_spool: tuple[int | None, ...]
    charged_ids: tuple[tuple[str, int], ...]
    usage: tuple[int, ...]
    is_only_instance: bool


@dataclass(frozen=True, slots=True)
class LedgerProtocol:
    """How one device speaks to the ledger. device: unique in the fleet, unless its spool was copied. place: where it
    runs, which no two daemons have at once. restore_s: how long a ledger whose memory is new charges nobody.
    """

    device: str
    instance_id: str
    calendar: Calendar
    restore_s: float

    def encode(
        self, asked: LedgerRequest, *, generation: str | None, new_generation: str, now: Moment, now_s: float
    ) -> bytes:
        """generation: the one that knows all that this device holds. fresh: what a new one would be called. now_s: the
        ledger's time, as far as the device knows.
        """
        request: dict[str, Any] = {
            "device": self.device,
            "generation": generation or "",
            "fresh": new_generation,
            "restore_s": self.restore_s,
            "kept_s": MAX_PENDING_S + _MARGIN_S,
            "batch_kept_s": _BATCH_KEPT_S,
            "ask_every_s": _ASK_EVERY_S,
            "refund": [[id, [day]] for id, day in asked.refund],
            "restore": [self._held(held) for held in asked.restore],
            "report": [[r.batch, r.charged, r.left_spool, r.is_complete] for r in asked.batch_reports],
            "seen": [[s.batch, s.images, s.left_spool] for s in asked.platform_sizes],
            "mark": list(asked.left_spool),
            "charge": [self._wanted(wanted, now, now_s) for wanted in asked.charge],
            "audit": list(asked.audit_days),
            "look": [self._look(account, kind, now_s) for account, kind in asked.usage],
            "lease": [self.instance_id, LEASE_S] if asked.lease else [],
        }
        return json.dumps({key: value for key, value in request.items() if value != []}).encode()

    def decode(self, said: bytes, asked: LedgerRequest) -> LedgerAnswer:
        """Raises LimitsUnavailable where it is no answer to these requests."""
        try:
            found = json.loads(said)
            generation = str(found["generation"])
            answers = LedgerAnswer(
                generation,
                float(found["now"]),
                float(found["restoring"]),
                tuple(
                    _decision(wanted, one, generation)
                    for wanted, one in zip(asked.charge, found["charge"], strict=True)
                ),
                tuple(None if mark is False else int(mark) for mark in found["mark"]),
                tuple((str(id), day) for day, ids in zip(asked.audit_days, found["audit"], strict=True) for id in ids),
                tuple(int(count) for count in found["look"]),
                bool(found["is_alone"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise LimitsUnavailable(f"an answer that is none: {type(error).__name__}") from None
        return answers

    def _held(self, held: DeviceCharge) -> list[Any]:
        minute, hour, day = (self.calendar.start(kind, held.at_s) for kind in _KINDS)
        days = self.calendar.bounds_around(Window.DAILY, held.at_s)[:-1]
        return [held.id, held.account, held.batch, held.at_s, minute, hour, day, days]

    def _wanted(self, wanted: ChargeRequest, now: Moment, now_s: float) -> dict[str, Any]:
        age_s = wanted.captured.age_s(now)
        return {
            "id": wanted.id,
            "age": age_s,
            "starts": [self.calendar.bounds_around(kind, now_s - age_s) for kind in _KINDS],
            "quotas": [
                {
                    "account": quota.account,
                    "limits": [[_NUMBER[limit.window], limit.value] for limit in quota.limits],
                    "batch": quota.batch,
                    **({} if quota.max_batch_images is None else {"most": quota.max_batch_images}),
                }
                for quota in wanted.quotas
            ],
        }

    def _look(self, account: str, kind: Window, now_s: float) -> list[Any]:
        return [self.calendar.start(Window.DAILY, now_s), _NUMBER[kind], self.calendar.start(kind, now_s), account]


def _decision(wanted: ChargeRequest, said: dict[str, Any], generation: str) -> ChargeDecision:
    what = said["is"]
    if what == "granted":
        strategy = next((q.strategy for q in wanted.quotas if q.account == said["account"]), None)
        if strategy is None:
            raise ValueError("charged to an account that was not asked for")
        return QuotaGranted(strategy, SharedCharge(float(said["at"]), generation))
    if what == "refused":
        obstacles = tuple(None if number == 0 else _KINDS[int(number) - 1] for number in said["obstacles"])
        return LedgerRefused(None in obstacles, float(said["at"]), obstacles)
    return LedgerRestoring() if what == "wait" else ClockMismatch()
