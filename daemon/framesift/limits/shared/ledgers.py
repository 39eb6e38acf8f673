"""The ledgers of all projects that a device collects for: one each, since a project is what a fleet shares."""

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
    """For any thread. prefix: what all keys begin with. ceiling: of each limit, how much this device may accept without
    a credit while nobody can be asked, from 0 to 1. look: called when there is something to do for whoever attends.
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
        self._ceiling = local_ceiling
        self._restore_s = restore_s
        self._name: tuple[str, str] | None = None  # and the place
        self._lock = threading.Lock()
        self._ledgers: dict[str, Ledger] = {}

    def charge(
        self, id: str, quotas: Sequence[Quota], captured: Moment, now: Moment
    ) -> QuotaGranted | QuotaRefused | QuotaPending:
        """See Ledger.charge."""
        ledger = self.ledger_for(quotas[0].project)
        answer = None if ledger is None else ledger.charge(ChargeRequest(id, tuple(quotas), captured), now)
        return QuotaPending(tuple(map(self._without_credit, quotas))) if answer is None else answer

    def report_stored(self, project: str, id: str, is_stored: bool) -> None:
        """See Ledger.settled."""
        ledger = self.ledger_for(project)
        if ledger is not None:
            ledger.report_stored(id, is_stored)

    def request_audit(self) -> None:
        """Something may be charged that this device doesn't hold: a credit was given back."""
        for _, ledger in self.ledgers():
            ledger.request_audit()
        self.wake()

    def set_identity(self, device: str, instance_id: str) -> None:
        """Under which name this device charges, and where it runs: see Language. What it charged under another name
        stays charged.
        """
        with self._lock:
            if (device, instance_id) == self._name:
                return
            self._name = device, instance_id
            old, self._ledgers = self._ledgers, {}
        for ledger in old.values():
            ledger.close()

    def ledger_for(self, project: str) -> Ledger | None:
        """The project's; None where the device has no name yet."""
        with self._lock:
            if self._name is not None and project not in self._ledgers:
                self._ledgers[project] = Ledger(
                    self._server,
                    # The braces keep all keys of a project in one slot of a cluster.
                    f"{self._prefix}:{{{quote(project, safe='') or '-'}}}",
                    *self._name,
                    calendar=self._calendar,
                    restore_s=self._restore_s,
                    wake=self.wake,
                )
            return self._ledgers.get(project)

    def ledgers(self) -> list[tuple[str, Ledger]]:
        with self._lock:
            return list(self._ledgers.items())

    def close(self) -> None:
        for _, ledger in self.ledgers():
            ledger.close()

    def _without_credit(self, quota: Quota) -> Quota:
        most = quota.max_batch_images
        return replace(
            quota,
            limits=tuple(Limit(limit.window, int(limit.value * self._ceiling)) for limit in quota.limits),
            max_batch_images=None if most is None else int(most * self._ceiling),
        )
