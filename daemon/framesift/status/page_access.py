"""PageAccess: the page for a browser, and who may see pictures on it.

Numbers are shown to whoever may read /status. Pictures, and with a token everything, need the key: a browser gets it
once, as `/?key=KEY`, and from then on sends it as a cookie that no other site can use and no script can read.
`framesift status --open` opens the page with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

from framesift.atomic_files import write_atomically
from framesift.status.answers import StatusAnswer, text_answer

_KEY_DIGITS = 64
_LASTS_S = 30 * 86_400


class StatusWebPage(Protocol):
    """What a browser is shown. Thread-safe; every method may wait for the disk."""

    def answer(self, path: str, query: Mapping[str, str], *, has_key: bool) -> StatusAnswer | None:
        """Return the answer to a GET; None if there is no such page. has_key: whether pictures may be seen."""
        ...

    def live(self) -> bytes:
        """Return one line: what is sent to each viewer now and then."""
        ...


class PageAccess:
    """For the thread of the status server; `page` may be called by several. page: what is shown."""

    def __init__(self, page: StatusWebPage, key: str) -> None:
        self.page = page
        self._key = key.encode()

    def has_key(self, fields: Mapping[bytes, bytes], host: str) -> bool:
        """Return whether a request has the key. fields: of the head, by their names in lower case."""
        name = _cookie_name(host)
        for cookie in fields.get(b"cookie", b"").split(b";"):
            found, _, value = cookie.strip().partition(b"=")
            if found == name and hmac.compare_digest(value, self._key):
                return True
        return False

    def opened(self, path: str, query: bytes, host: str) -> StatusAnswer | None:
        """Return the answer that gives a browser its cookie, where a request has the key in its address; else None."""
        given = dict(parse_qsl(query.decode("latin-1"))).get("key")
        if path != "/" or given is None:
            return None
        if not hmac.compare_digest(given.encode(), self._key):
            return text_answer("the key is wrong; framesift status --open opens the page with the right one", 401)
        cookie = (
            f"{_cookie_name(host).decode()}={self._key.decode()}; HttpOnly; SameSite=Strict; Path=/; Max-Age={_LASTS_S}"
        )
        return text_answer("the page is at /", 303, ("location", "/"), ("set-cookie", cookie))


def page_key(token: str | None, file: Path) -> str:
    """Return the key of a daemon's page: by its token, or, without one, what the file has.

    It is written if need be; where it can't be, the key is a new one each time.
    """
    if token is not None:
        return hmac.new(token.encode(), b"framesift page", hashlib.sha256).hexdigest()
    try:
        found = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        found = ""
    if len(found) != _KEY_DIGITS:
        found = secrets.token_hex(_KEY_DIGITS // 2)
        with contextlib.suppress(OSError):
            write_atomically(file, found.encode())
    return found


def key_file(spool: Path) -> Path:
    """Return where the key of a daemon without a token is kept. spool: its spool."""
    return spool.with_name(f"{spool.name}.page-key")


def _cookie_name(host: str) -> bytes:
    """Another one for each port, since a browser sends a host's cookies to all its ports."""
    port = host.rpartition(":")[2]
    return f"framesift_{port if port.isdecimal() else 80}".encode()
