"""What the start of a run needs of the spool beside its own methods."""

from __future__ import annotations

from collections.abc import Callable

from framesift.spool import Spool, SpoolBroken, SpoolInUse


def open_when_free(spool: Spool, waits: Callable[[str], bool]) -> None:
    """Open the spool, again and again while `waits` says so. Raises the spool's own errors."""
    while True:
        try:
            return spool.open()
        except SpoolInUse as error:
            if not waits(str(error)):
                raise


def used_by_window(spool: Spool, account: str) -> dict[str, int] | None:
    """Return what an account has used of its open windows; None while the disk fails."""
    try:
        return {usage.window.value: usage.count for usage in spool.quota_usage() if usage.account == account}
    except SpoolBroken:
        return None
