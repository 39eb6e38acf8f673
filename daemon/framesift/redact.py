"""No secret gets out: addresses lose their credentials by parsing, and known secrets are struck from any text."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

MASK = "****"
_ESCAPE = re.compile(r"%[0-9A-F]{2}")


def redacted_url(url: str) -> str:
    """The address without user, password, and the values in its path and query. What has no host comes as it is."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = parts.port
    except ValueError:  # an address that can't be parsed can't be shown safely either
        return MASK
    if not parts.scheme or host is None:
        return url
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    if parts.username is not None or parts.password is not None:
        netloc = f"{MASK}@{netloc}"
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return MASK  # a password with an unescaped "/", "?" or "#": what looks like the host is a part of it
    path = "/".join(_without_value(segment) for segment in parts.path.split("/"))
    query = "&".join(f"{name.partition('=')[0]}={MASK}" for name in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def _without_value(segment: str) -> str:
    """Some cameras want `/user=admin&password=...` as the path itself."""
    name, equals, _value = segment.partition("=")
    return f"{name}={MASK}" if equals else segment


class Redactor:
    """Strikes the secrets that it was told from any text, in every spelling that an address could give them.

    Secrets shorter than 4 characters are not struck: they would shred ordinary words, and hide nothing.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(secret) >= 4:
                spellings |= {spelling for form in (secret, unquote(secret)) for spelling in _spellings(form)}
        # The longest first, so that a secret that contains another one leaves no tail behind.
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text

    def __repr__(self) -> str:
        return f"Redactor({len(self._spellings)} spellings)"


def _spellings(secret: str) -> Iterator[str]:
    """The secret as it is, in an address, in HTTP's Basic authorization, and between quotes in JSON and in Python."""
    yield secret
    for encoded in (
        quote(secret, errors="replace"),
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
    ):
        yield encoded
        yield _ESCAPE.sub(lambda found: found.group().lower(), encoded)
    yield b64encode(secret.encode("utf-8", "replace")).decode()
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
