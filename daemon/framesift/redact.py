"""No secret gets out: addresses lose their credentials by parsing, and known secrets are struck from any text."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

MASK = "****"


def redacted_url(url: str) -> str:
    """The address without user, password, and the values of its query; what has no host comes back unchanged."""
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
    query = "&".join(f"{name.partition('=')[0]}={MASK}" for name in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


class Redactor:
    """Strikes the secrets that it was told from any text, in every spelling that an address could give them.

    Secrets shorter than 4 characters are not struck: they would shred ordinary words, and hide nothing.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(secret) >= 4:
                spellings |= {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), unquote(secret)}
        # The longest first, so that a secret that contains another one leaves no tail behind.
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text

    def __repr__(self) -> str:
        return f"Redactor({len(self._spellings)} spellings)"
