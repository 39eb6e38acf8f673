"""A client of one device's limits, with a database of nothing but their tables, on a test's clock."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from clocks import ManualClock
from framesift.clock.moment import Moment
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, QuotaUnknown, Window
from framesift.limits.local import TABLES, LocalLimits


def tables(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    of_the_spool = "CREATE TABLE datapoint (id TEXT, seq INTEGER); CREATE TABLE delivery (seq INTEGER, image_id TEXT);"
    connection.executescript(of_the_spool + TABLES)
    return connection


def quota(strategy: str, *limits: tuple[Window, int], most: int | None = None, batch: str = "b") -> Quota:
    return Quota(strategy, tuple(Limit(w, v) for w, v in limits), batch, most)


class LimitsClient:
    """Asks for quota, each time for a new datapoint id."""

    def __init__(self, cursor: sqlite3.Cursor, clock: ManualClock, limits: LocalLimits | None = None) -> None:
        self.cursor = cursor
        self.clock = clock
        self.limits = limits or LocalLimits()
        self.number = 0

    def charge(self, *quotas: Quota, captured: Moment | None = None) -> QuotaGranted | QuotaRefused | QuotaUnknown:
        self.number += 1
        now = self.clock.now()
        return self.limits.charge(self.cursor, f"id-{self.number}", quotas, captured or now, now)

    def granted(self, *quotas: Quota, tries: int = 100) -> int:
        """How many of `tries` are granted."""
        return sum(isinstance(self.charge(*quotas), QuotaGranted) for _ in range(tries))
