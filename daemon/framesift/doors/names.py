"""Names by which this machine may be called where no token decides: a web page that has its own name resolve to
127.0.0.1 calls it by that name."""

from __future__ import annotations

from framesift.doors.http1 import Head

_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def is_local(head: Head, listens_at: str) -> bool:
    """listens_at: the address of the door, which is a name of it too."""
    said = head.get("host").lower()
    name = said.rpartition(":")[0] if said.rpartition(":")[2].isdecimal() else said
    return name in (*_LOCAL, f"[{listens_at}]" if ":" in listens_at else listens_at)
