"""OperatorHands: what an operator makes this run do, at the status server."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from framesift.spool import Spool, SpoolBroken, SpoolFull
from framesift.status import ActionRefused, Operator
from framesift.telemetry import Telemetry


class OperatorHands:
    """The `Hands` of a run. Thread-safe. Everything that is done is in the log, with who asked for it."""

    def __init__(self, spool: Spool, telemetry: Telemetry, on_retry: Callable[[], None]) -> None:
        """on_retry: called when datapoints can be delivered that could not before."""
        self._spool = spool
        self._telemetry = telemetry
        self._on_retry = on_retry

    def drop(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        """See Hands."""
        dropped = self._change(self._spool.by_hand.drop, ids)
        if dropped:
            self._telemetry.state_changed("datapoints_dropped", count=len(dropped), ids=dropped[:20], by=str(who))
        return {"dropped": dropped, "unchanged": _others(ids, dropped)}

    def retry(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        """See Hands."""
        retried = self._change(self._spool.by_hand.retry, ids)
        if retried:
            self._on_retry()
            self._telemetry.state_changed("datapoints_retried", count=len(retried), ids=retried[:20], by=str(who))
        return {"retried": retried, "unchanged": _others(ids, retried)}

    def _change(self, change: Callable[[tuple[str, ...]], tuple[str, ...]], ids: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return change(ids)
        except (SpoolBroken, SpoolFull) as error:
            raise ActionRefused(f"the spool can't be written to: {error}", 503) from None


def _others(ids: tuple[str, ...], changed: tuple[str, ...]) -> tuple[str, ...]:
    """Those that were not changed: not in the spool, being sent, or (for a retry) waiting for nothing."""
    return tuple(id for id in dict.fromkeys(ids) if id not in set(changed))
