"""The shared ledgers of all projects for which a device collects: one ledger per project."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import quote

from framesift.clock.moment import Moment
from framesift.limits import Limit, Quota, QuotaGranted, QuotaPending, QuotaRefused
from framesift.limits.shared.ledger import RESTORE_S, Ledger
from framesift.limits.shared.requests import Calendar, ChargeRequest
from framesift.limits.shared.server import RedisAddress


class SharedLedgers:
    """Creates the ledger of each project on first use, and charges the right one. Thread-safe.

    prefix: the beginning of all keys in Redis. local_ceiling: the share of each limit (0 to 1) that this device may
    accept with pending quota while the server is unavailable. wake: called when the reconciler has something to do.
    """

    def __init__(
        self,
        server: RedisAddress,
        *,
        prefix: str,
        calendar: Calendar,
        local_ceiling: float = 1.0,
        restore_s: float = RESTORE_S,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.wake = wake
        self._server = server
        self._prefix = prefix
        self._calendar = calendar
        self._local_ceiling = local_ceiling
        self._restore_s = restore_s
        self._identity: tuple[str, str] | None = None  # device id and instance id
        self._lock = threading.Lock()
        self._ledgers: dict[str, Ledger] = {}

    def charge(
        self, id: str, quotas: Sequence[Quota], captured: Moment, now: Moment
    ) -> QuotaGranted | QuotaRefused | QuotaPending:
        """Charges the ledger of the quotas' project, see Ledger.charge. QuotaPending if it is unavailable."""
        ledger = self.ledger_for(quotas[0].project)
        answer = None if ledger is None else ledger.charge(ChargeRequest(id, tuple(quotas), captured), now)
        return QuotaPending(tuple(map(self._local_quota, quotas))) if answer is None else answer

    def time_s(self, now: Moment) -> float:
        """The Unix time by the clock that decides the windows: all ledgers have the same server."""
        ledger = next((ledger for _, ledger in self.ledgers()), None)
        return now.wall_s if ledger is None else ledger.time_s(now)

    def report_stored(self, project: str, id: str, is_stored: bool) -> None:
        """Reports whether the datapoint is in the spool, see Ledger.report_stored."""
        ledger = self.ledger_for(project)
        if ledger is not None:
            ledger.report_stored(id, is_stored)

    def request_audit(self) -> None:
        """Requests an audit of all ledgers and wakes the reconciler, for example after a refund in the spool."""
        for _, ledger in self.ledgers():
            ledger.request_audit()
        self.wake()

    def set_identity(self, device: str, instance_id: str) -> None:
        """Sets the device id and the instance id, see LedgerProtocol. Charges of an earlier device id stay."""
        with self._lock:
            if (device, instance_id) == self._identity:
                return
            self._identity = device, instance_id
            old, self._ledgers = self._ledgers, {}
        for ledger in old.values():
            ledger.close()

    def ledger_for(self, project: str) -> Ledger | None:
        """The ledger of the project; None before `set_identity`."""
        with self._lock:
            if self._identity is not None and project not in self._ledgers:
                self._ledgers[project] = Ledger(
                    self._server,
                    # Braces keep all keys of a project in one hash slot of a Redis Cluster.
                    f"{self._prefix}:{{{quote(project, safe='') or '-'}}}",
                    *self._identity,
                    calendar=self._calendar,
                    restore_s=self._restore_s,
                    wake=self.wake,
                )
            return self._ledgers.get(project)

    def ledgers(self) -> list[tuple[str, Ledger]]:
        """All ledgers so far, each with its project."""
        with self._lock:
            return list(self._ledgers.items())

    def set_local_ceiling(self, local_ceiling: float) -> None:
        """Replace the share of each limit that may be accepted while the server is unavailable."""
        self._local_ceiling = local_ceiling

    def close(self) -> None:
        """Closes the connections of all ledgers."""
        for _, ledger in self.ledgers():
            ledger.close()

    def _local_quota(self, quota: Quota) -> Quota:
        """The quota with the share of its limits that this device may use while the server is unavailable."""
        most = quota.max_batch_images
        return replace(
            quota,
            limits=tuple(map(self._local_limit, quota.limits)),
            max_batch_images=None if most is None else int(most * self._local_ceiling),
            turns=None if quota.turns is None else replace(quota.turns, limit=self._local_limit(quota.turns.limit)),
        )

    def _local_limit(self, limit: Limit) -> Limit:
        return Limit(limit.window, int(limit.value * self._local_ceiling))
