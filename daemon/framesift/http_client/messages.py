"""Texts about failures of HTTP servers, for every client of the package: meanings of statuses, and safe quotations."""

from __future__ import annotations

from collections.abc import Callable

MAX_QUOTED_CHARS = 200
_STATUS_MEANINGS = {
    401: "does not accept the key",
    402: "asks for payment",
    403: "does not allow this with the key",
    404: "does not have it",
    405: "has no such route",
    407: "can't be reached: the proxy asks for credentials",
    408: "waited too long for the request",
    409: "has it already",
    423: "has paused the workspace",
    429: "asks for fewer requests",
    501: "can't do this",
    502: "got no good answer from the server behind it",
    503: "is busy, or not ready",
    504: "got no answer in time from the server behind it",
    507: "is out of memory or disk space",
}


def describe_status(status: int) -> str:
    """Return what a server with this HTTP error status does, to follow its name in a sentence.

    status: 400 to 599. Example: "the platform " + describe_status(401) is "the platform does not accept the key".
    """
    return _STATUS_MEANINGS.get(status, "fails" if status >= 500 else "refuses it")


def quote_server_text(text: str, redact: Callable[[str], str]) -> str:
    """Return a text that a server sent, fit for one log line: printable, without secrets, at most 200 characters.

    redact: replaces the secrets in a text. It runs before the text is cut, because half a secret is not recognized.
    """
    printable = redact("".join(c if c.isprintable() else " " for c in text)).strip()
    return printable if len(printable) <= MAX_QUOTED_CHARS else f"{printable[:MAX_QUOTED_CHARS]}..."
