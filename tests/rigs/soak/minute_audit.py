"""The audit of each minute: compares what spool, platform, ledger, metrics and log say, and names what does not fit.

Every accepted frame is in one place: in the spool, at the platform, or counted under the reason for which it left.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from framesift.limits import Window
from rigs.auditor import audit
from rigs.soak.accounts import Accounts
from rigs.soak.books import Metrics, PlatformBooks, SpoolBooks, by_label, read_metrics, read_platform, read_spool, total
from rigs.soak.site import CAMERAS, CLIENTS, FILES, LIMITS, MOST_A_BATCH, MOST_SENT_A_MINUTE, Site

_STREAMS = CAMERAS + FILES + CLIENTS
_IN_FLIGHT = 2  # frames of a stream that were read and are not decided yet
_LEDGER_TRIES = 5  # in one audit: a charge may be on its way
_LEDGER_AUDITS = 5  # so many audits in a row may find the ledger on its way

# Never right, whatever was done to the daemon: bugs, hangs, and a damaged file, which no fault of a soak damages.
NEVER = frozenset(
    {"action_failed", "failed", "listener_failed", "listener_sampling_failed", "spool_damaged", "spool_moved_aside"}
    | {"spool_repaired", "spool_writer_failed", "status_page_failed", "stream_lost", "thread_hung", "spool_buried"}
)


class MinuteAudit:
    """The auditor of a soak. known: the datapoints that earlier runs have seen."""

    def __init__(self, site: Site, known: Iterable[str]) -> None:
        self._site = site
        self.accounts = Accounts(known)
        self.given_at_start = 0  # of the present daemon
        self.held_at_start = 0  # frames that it decides, and an earlier one has read
        self._ledger_differs = 0

    def look(self, *, ledger_well: bool) -> tuple[dict[str, Any], list[str]]:
        """What was counted, and what does not fit. ledger_well: whether Redis was all right for minutes."""
        promised = self._site.clients.take_promised()  # first: what was promised by now is in the spool
        before = self._metrics()
        spool = read_spool(self._site.spool)
        after = self._metrics()
        platform = read_platform(self._site.platform)  # last: what the spool gave up must be there by now
        before_known = set(self.accounts.known)
        found = [
            *self.accounts.compare(spool, platform, promised),
            *_of_limits(spool, platform),
            *self._of_metrics(before, spool, after),
            *self._of_ledger(ledger_well),
        ]
        counted = {
            "accepted": spool.given,
            "in_spool": len(spool.there),
            "states": dict(Counter(str(state) for state in spool.there.values())),
            "left": dict(spool.left),
            "at_platform": sum(platform.images.values()),
            "held": spool.held,
            "pending": spool.pending,
            "promised": len(promised),
            "new": sorted(self.accounts.known - before_known),
        }
        return counted, found

    def _metrics(self) -> Metrics | None:
        try:
            return read_metrics(self._site.status)
        except OSError:
            return None

    def _of_metrics(self, before: Metrics | None, spool: SpoolBooks, after: Metrics | None) -> list[str]:
        if before is None or after is None:
            return []  # whether it answers is another question
        found = []
        read, accepted, refused = (
            by_label(after, f"framesift_frames_{what}_total", "stream") for what in ("read", "accepted", "refused")
        )
        held = total(by_label(after, "framesift_held_frames", "strategy").values())
        for stream, count in read.items():
            decided = accepted.get(stream, 0.0) + refused.get(stream, 0.0)
            if decided > count + _IN_FLIGHT + self.held_at_start:
                found.append(f"{stream} has read {count:.0f} frames, and decided {decided:.0f}")
        known = total(read.values()) + self.held_at_start
        undecided = known - total(accepted.values()) - total(refused.values()) - held
        if abs(undecided) > _STREAMS * _IN_FLIGHT:
            found.append(f"of {known} frames {undecided} are neither accepted, refused nor held")
        given = spool.given - self.given_at_start
        first = total(by_label(before, "framesift_frames_accepted_total", "stream").values())
        last = total(accepted.values())
        if not first - _STREAMS <= given <= last + _STREAMS:
            found.append(f"{given} were accepted since the start, the metrics say {first} before and {last} after")
        for exit, count in by_label(after, "framesift_datapoints_left_total", "exit").items():
            least = by_label(before, "framesift_datapoints_left_total", "exit").get(exit, 0.0)
            if not least <= spool.left.get(exit, 0) <= count:
                found.append(f"{spool.left.get(exit, 0)} left as {exit}, the metrics say {least:.0f} and {count:.0f}")
        return found

    def _of_ledger(self, ledger_well: bool) -> list[str]:
        """Compares the ledger with the spool; a difference that stays over several audits is one."""
        if not ledger_well:
            self._ledger_differs = 0
            return []
        differences: tuple[str, ...] = ()
        for _ in range(_LEDGER_TRIES):
            made = audit(self._site.redis.client, [self._site.spool], LIMITS, batches={})
            differences = made.differences
            if not differences:
                self._ledger_differs = 0
                return []
            threading.Event().wait(0.3)
        self._ledger_differs += 1
        if self._ledger_differs < _LEDGER_AUDITS:
            return []
        return [f"ledger: {difference}" for difference in differences[:5]]


def _of_limits(spool: SpoolBooks, platform: PlatformBooks) -> list[str]:
    found = []
    for (account, kind, start_s), count in spool.used.items():
        for limit in LIMITS.get(account, ()):
            if limit.window is kind and count > limit.value:
                found.append(
                    f"{account}: {count} are charged to the {kind.value} window {start_s}, limit {limit.value}"
                )
        if account not in LIMITS:
            found.append(f"{count} are charged to {account}, which is no strategy")
    days = Counter({start: 0 for _, _, start in spool.used})
    for (_, kind, start_s), count in spool.used.items():
        if kind is Window.DAILY:
            days[start_s] += count
    # A batch has what the platform counts in it: an evicted frame keeps its charge, but not its place there.
    most = MOST_A_BATCH + spool.left.get("evicted", 0)
    found += [f"{n} are charged on the day {start}, of {most}" for start, n in days.items() if n > most]
    found += [
        f"{n} uploads in the minute {minute}, the sink may have {MOST_SENT_A_MINUTE}"
        for minute, n in platform.uploads_a_minute.items()
        if n > MOST_SENT_A_MINUTE
    ]
    return found
