"""Which requests a listener without a token trusts.

A web page can make a browser call this machine: under the page's own host name, if that name resolves to 127.0.0.1, or
by a form that is sent from the page. The first is recognized by the Host field, the second by the Origin field.
"""

from __future__ import annotations

from framesift.listeners.http1 import Head

_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def has_allowed_host(head: Head, listen_host: str) -> bool:
    """Return whether the Host field names this machine. listen_host: the listener's address, which is allowed too."""
    return _is_own(head.get("host"), listen_host)


def has_foreign_origin(head: Head, listen_host: str) -> bool:
    """Return whether the Origin field says that a web page of another machine sends the request."""
    origin = head.get("origin")
    return bool(origin) and not _is_own(origin.partition("://")[2], listen_host)


def _is_own(host: str, listen_host: str) -> bool:
    lower = host.lower()
    name = lower.rpartition(":")[0] if lower.rpartition(":")[2].isdecimal() else lower
    return name in (*_LOCAL, f"[{listen_host}]" if ":" in listen_host else listen_host)
