"""Quota: what a datapoint needs to leave, the limit that an account has, and the answers to a request for quota."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.limits.turns import Turns
from framesift.limits.windows import Limit


@dataclass(frozen=True, slots=True)
class Quota:
    """What one datapoint is charged to if this strategy collects it: the strategy's limits and the batch.

    batch: the key under which the batch is counted (its name, with the project where there are several projects).
    max_batch_images: how many datapoints the batch may hold, None for any number. It works as one more limit, for all
    strategies that fill the batch together. scope: which policy the strategy belongs to, where streams have policies
    of their own. project: devices that share limits share them per project; "" where no project is named. All quotas
    of one frame have the same project. turns: of a strategy with pacing: there is room only when one is due.
    """

    strategy: str
    limits: tuple[Limit, ...]
    batch: str
    max_batch_images: int | None = None
    scope: str = ""
    project: str = ""
    turns: Turns | None = None

    @property
    def account(self) -> str:
        """The key under which the strategy's charges are counted."""
        return f"{self.scope}/{self.strategy}" if self.scope else self.strategy


@dataclass(frozen=True, slots=True)
class AccountLimit:
    """One limit of a strategy, for reports of its usage.

    name: the key under which the charges are counted, see `Quota.account`. project: as in Quota. is_by_hand: of what an
    operator takes, which most never do.
    """

    project: str
    name: str
    limit: Limit
    is_by_hand: bool = False


@dataclass(frozen=True, slots=True)
class SharedCharge:
    """A charge that the shared ledger has recorded.

    at_s: Unix time of the capture, by the ledger's clock. generation: id of the ledger's data, which changes when the
    server may have lost charges (see ledger.lua).
    """

    at_s: float
    generation: str


@dataclass(frozen=True, slots=True)
class QuotaGranted:
    """This strategy has room. Where a charge was requested, it has been made.

    shared: the charge in the shared ledger, None where this device counts by itself.
    """

    strategy: str
    shared: SharedCharge | None = None


@dataclass(frozen=True, slots=True)
class QuotaRefused:
    """No strategy has room.

    batch_full: for at least one strategy, a full batch was the reason. no_turn: for at least one, no turn is due yet,
    and its limits and its batch have room.
    """

    batch_full: bool
    no_turn: bool = False


@dataclass(frozen=True, slots=True)
class QuotaUnknown:
    """It is not known without more work whether there is room. `charge` decides it later."""


@dataclass(frozen=True, slots=True)
class QuotaPending:
    """The shared ledger is unavailable, so the quota must be requested later.

    local_quotas: the requested quotas, in their order, with the limits that this device may use in the meantime.
    """

    local_quotas: tuple[Quota, ...]


QuotaAnswer = QuotaGranted | QuotaRefused | QuotaUnknown


class LimitsUnavailable(Exception):
    """The shared ledger cannot be reached, or gave no usable answer. The text says why."""
