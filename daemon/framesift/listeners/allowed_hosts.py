"""Who calls, where no token decides: this machine may be called by few names, since a web page that has its own name
resolve to 127.0.0.1 calls it by that name; and pages of elsewhere, which browsers let send forms anywhere, are told by
their Origin.
"""

from __future__ import annotations

from framesift.listeners.http1 import Head

_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def has_allowed_host(head: Head, listen_host: str) -> bool:
    """Whether this machine is called by a name of its own. listens_at: the address of the door, which is one too."""
    return _is_own(head.get("host"), listen_host)


def has_foreign_origin(head: Head, listen_host: str) -> bool:
    """Whether a browser says that a page from another machine sends this."""
    origin = head.get("origin")
    return bool(origin) and not _is_own(origin.partition("://")[2], listen_host)


def _is_own(place: str, listens_at: str) -> bool:
    said = place.lower()
    name = said.rpartition(":")[0] if said.rpartition(":")[2].isdecimal() else said
    return name in (*_LOCAL, f"[{listens_at}]" if ":" in listens_at else listens_at)
