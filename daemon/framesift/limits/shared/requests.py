"""Requests to the shared ledger and its answers, as records and as JSON. The other side is the script ledger.lua."""

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
    Turns,
    Window,
    window_end,
    window_start,
)

MAX_PENDING_S = 48 * 3600.0  # how long after the capture quota may be requested
_RETENTION_MARGIN_S = 48 * 3600.0  # how much longer a day is kept: a device may be offline
_BATCH_RETENTION_S = 40 * 86400.0
LEASE_S = 25.0  # how long a device id stays reserved for the instance that has used it last
_PLATFORM_INTERVAL_S = 50.0  # how often, at most, one device of the fleet asks the platform for a batch
BATCH_FULL, NO_TURN = 0, -1  # obstacles that are no limit's window
_WINDOWS = (Window.MINUTELY, Window.HOURLY, Window.DAILY)
_WINDOW_NUMBERS = {window: number for number, window in enumerate(_WINDOWS, 1)}


@dataclass(frozen=True, slots=True)
class Calendar:
    """The calendar windows of a time zone.

    start, end: functions of a window and a Unix time; they return the Unix times at which the window that contains it
    opens and closes. A day consists of whole hours, an hour of whole minutes.
    """

    start: Callable[[Window, float], int]
    end: Callable[[Window, float], int]

    @classmethod
    def for_zone(cls, zone: tzinfo) -> Calendar:
        """The calendar of one fixed time zone."""
        return cls(
            lambda window, at_s: window_start(window, at_s, zone), lambda window, at_s: window_end(window, at_s, zone)
        )

    def bounds_around(self, window: Window, at_s: float) -> list[int]:
        """Four Unix times: where the windows before, at and after `at_s` begin, and where the last of them ends."""
        start, end = self.start(window, at_s), self.end(window, at_s)
        return [self.start(window, start - 1), start, end, self.end(window, end)]

    def day_starts(self, from_s: float, to_s: float) -> tuple[int, ...]:
        """The Unix times at which the days from the one of `from_s` to the one of `to_s` begin."""
        days = [self.start(Window.DAILY, from_s)]
        while (end := self.end(Window.DAILY, days[-1])) <= to_s:
            days.append(end)
        return tuple(days)


UTC_CALENDAR = Calendar.for_zone(timezone.utc)


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """A datapoint that needs quota, and the quotas from which the first one with room is charged."""

    id: str
    quotas: tuple[Quota, ...]
    captured: Moment


@dataclass(frozen=True, slots=True)
class DeviceCharge:
    """A charge that is recorded in the device's spool. at_s: Unix time of the capture, by the ledger's clock."""

    id: str
    account: str
    batch: str
    at_s: float


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The device's own counts for a batch.

    charged: datapoints that are charged to it. left_spool: those of them that have left the spool or are registered at
    the platform. is_complete: no charge of this device is on its way between the ledger and the spool.
    """

    batch: str
    charged: int
    left_spool: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class PlatformBatchSize:
    """The number of images that the platform has in a batch.

    left_spool: the fleet's count, as the ledger answered before the platform was asked.
    """

    batch: str
    images: int
    left_spool: int


@dataclass(frozen=True, slots=True)
class LedgerRequest:
    """One request to the ledger. The script executes its parts in this order, as one atomic step.

    refund: ids to refund, each with the start of its day (Unix time). restore: charges that the ledger may have lost.
    left_spool: batches about which this device wants to ask the platform. audit_days: starts of days whose charges are
    listed. usage: accounts and windows. lease: whether to reserve the device id for this instance.
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
    """The ledger grants nothing yet, to any device or to this one: its data is being restored."""


@dataclass(frozen=True, slots=True)
class ClockMismatch:
    """The ledger's clock differs too much from the device's estimate: the request must be sent again."""


@dataclass(frozen=True, slots=True)
class LedgerRefused(QuotaRefused):
    """No quota of the request has room.

    at_s: Unix time of the capture by the ledger's clock. obstacles: for each quota, the window of the limit that is
    reached, BATCH_FULL or NO_TURN.
    """

    at_s: float = 0.0
    obstacles: tuple[Window | int, ...] = ()


ChargeDecision = QuotaGranted | LedgerRefused | LedgerRestoring | ClockMismatch


@dataclass(frozen=True, slots=True)
class LedgerAnswer:
    """The ledger's answer to a LedgerRequest.

    generation: id of the ledger's data, see SharedCharge. now_s: Unix time of its clock. restoring_s: for how long it
    grants nothing yet. decisions: in the order of `charge`. left_spool: the fleet's count of each batch, None where
    another device asks the platform. charged_ids: the ids that are charged for this device, with the start of their
    day. usage: the fleet's charges in the open windows. is_only_instance: False if another instance uses the same
    device id; charged_ids is empty then.
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
    """Encodes the requests of one device and decodes the answers.

    device: the device id, unique in the fleet unless the spool was copied. instance_id: differs for any two daemons
    that run at the same time. restore_s: how long a new generation of the ledger grants nothing.
    """

    device: str
    instance_id: str
    calendar: Calendar
    restore_s: float

    def encode(
        self, request: LedgerRequest, *, generation: str | None, new_generation: str, now: Moment, now_s: float
    ) -> bytes:
        """The request as JSON.

        generation: the one that knows all charges of this device, None if there is none yet. new_generation: the id
        that a new generation would get. now_s: the ledger's Unix time, as the device estimates it.
        """
        message: dict[str, Any] = {
            "device": self.device,
            "generation": generation or "",
            "fresh": new_generation,
            "restore_s": self.restore_s,
            "kept_s": MAX_PENDING_S + _RETENTION_MARGIN_S,
            "batch_kept_s": _BATCH_RETENTION_S,
            "ask_every_s": _PLATFORM_INTERVAL_S,
            "refund": [[id, [day]] for id, day in request.refund],
            "restore": [self._encode_charge(charge) for charge in request.restore],
            "report": [[r.batch, r.charged, r.left_spool, r.is_complete] for r in request.batch_reports],
            "seen": [[size.batch, size.images, size.left_spool] for size in request.platform_sizes],
            "mark": list(request.left_spool),
            "charge": [self._encode_charge_request(one, now, now_s) for one in request.charge],
            "audit": list(request.audit_days),
            "look": [self._encode_usage_request(account, window, now_s) for account, window in request.usage],
            "lease": [self.instance_id, LEASE_S] if request.lease else [],
        }
        return json.dumps({key: value for key, value in message.items() if value != []}).encode()

    def decode(self, answer: bytes, request: LedgerRequest) -> LedgerAnswer:
        """Reads the JSON answer to `request`. Raises LimitsUnavailable if it is not a valid answer to it."""
        try:
            found = json.loads(answer)
            generation = str(found["generation"])
            return LedgerAnswer(
                generation,
                float(found["now"]),
                float(found["restoring"]),
                tuple(
                    _decode_decision(asked, one, generation)
                    for asked, one in zip(request.charge, found["charge"], strict=True)
                ),
                tuple(None if count is False else int(count) for count in found["mark"]),
                tuple(
                    (str(id), day) for day, ids in zip(request.audit_days, found["audit"], strict=True) for id in ids
                ),
                tuple(int(count) for count in found["look"]),
                bool(found["is_alone"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise LimitsUnavailable(f"the server's answer is not valid: {type(error).__name__}") from None

    def _encode_charge(self, charge: DeviceCharge) -> list[Any]:
        minute, hour, day = (self.calendar.start(window, charge.at_s) for window in _WINDOWS)
        days = self.calendar.bounds_around(Window.DAILY, charge.at_s)[:-1]
        return [charge.id, charge.account, charge.batch, charge.at_s, minute, hour, day, days]

    def _encode_charge_request(self, request: ChargeRequest, now: Moment, now_s: float) -> dict[str, Any]:
        age_s = request.captured.age_s(now)
        return {
            "id": request.id,
            "age": age_s,
            "starts": [self.calendar.bounds_around(window, now_s - age_s) for window in _WINDOWS],
            "quotas": [
                {
                    "account": quota.account,
                    "limits": [[_WINDOW_NUMBERS[limit.window], limit.value] for limit in quota.limits],
                    "batch": quota.batch,
                    **({} if quota.max_batch_images is None else {"most": quota.max_batch_images}),
                    **({} if quota.turns is None else {"turns": _encode_turns(quota.turns)}),
                }
                for quota in request.quotas
            ],
        }

    def _encode_usage_request(self, account: str, window: Window, now_s: float) -> list[Any]:
        day, start = self.calendar.start(Window.DAILY, now_s), self.calendar.start(window, now_s)
        return [day, _WINDOW_NUMBERS[window], start, account]


def _encode_turns(turns: Turns) -> list[float]:
    return [_WINDOW_NUMBERS[turns.limit.window], turns.limit.value, turns.ahead]


def _decode_decision(request: ChargeRequest, answer: dict[str, Any], generation: str) -> ChargeDecision:
    kind = answer["is"]
    if kind == "granted":
        strategy = next((q.strategy for q in request.quotas if q.account == answer["account"]), None)
        if strategy is None:
            raise ValueError("charged to an account that was not requested")
        return QuotaGranted(strategy, SharedCharge(float(answer["at"]), generation))
    if kind == "refused":
        numbers = [int(number) for number in answer["obstacles"]]
        obstacles = tuple(_WINDOWS[number - 1] if number > 0 else number for number in numbers)
        return LedgerRefused(BATCH_FULL in numbers, NO_TURN in numbers, float(answer["at"]), obstacles)
    return LedgerRestoring() if kind == "wait" else ClockMismatch()
