"""No secret gets out: addresses lose their credentials by parsing, and known secrets are struck from any text."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

MASK = "****"
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
# Schemes of addresses, told also where the slashes are wrong: `rtsp:/user:password@camera` is no file.
NETWORK_SCHEMES = (
    *("rtsp", "rtsps", "rtspt", "rtspu", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp", "http", "https", "ftp", "ftps"),
    *("ws", "wss", "redis", "rediss", "mqtt", "mqtts", "onvif"),
)
_SCHEME = re.compile(rf"({'|'.join(NETWORK_SCHEMES)}):/?(?!/)", re.IGNORECASE)
_NAMED = re.compile(
    r"((?:passw|pwd|secret|token|key|credential|auth|user|login)[A-Za-z_-]{0,32}=)[^&/?;\s]*", re.IGNORECASE
)
# What a path is made of: words and numbers, `Streaming/Channels/101`, `h264Preview_01_main`, `live.sdp`. What mixes
# letters and digits in another way, or is longer, may be a token.
_LETTERS = r"(?:[A-Z]?[a-z]{1,12}|[A-Z]{1,12})"
_WORD = re.compile(rf"{_LETTERS}{{0,2}}[0-9]{{0,8}}{_LETTERS}?")
_LONGEST_WORD = 16
_LONGEST_MIXED = 12
_TELLING = re.compile(r"passw|pwd|secret|token|key|credential|auth", re.IGNORECASE)


def redact_url(url: str) -> str:
    """The address without user, password, the values in its path and query, and what may be a token in its path.

    A path of a file comes as it is; what looks like credentials in it does not.
    """
    wrong = _SCHEME.match(url)
    if wrong is not None:
        shown = redact_url(f"{wrong[1]}://{url[wrong.end() :]}")
        return shown if shown == MASK else f"{wrong[0]}{shown.partition('://')[2]}"
    if "://" not in url:
        return _redacted_path(url)
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = parts.port
    except ValueError:  # an address that can't be parsed can't be shown safely either
        return MASK
    if not parts.scheme or host is None:
        return _redacted_path(url)
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    if parts.username is not None or parts.password is not None:
        netloc = f"{MASK}@{netloc}"
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return MASK  # a password with an unescaped "/", "?" or "#": what looks like the host is a part of it
    # Some cameras want `/user=admin&password=...` as the path itself.
    path = "/".join(
        _without_value(segment) if "=" in segment or _may_be_token(segment) else segment
        for segment in parts.path.split("/")
    )
    query = "&".join(_without_value(part) for part in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def is_malformed_address(text: str) -> bool:
    """Whether a text is meant as an address, and lacks its scheme or its slashes: `rtsp:/camera/live`,
    `user:password@camera/live`. A file of such a name is `./user:password@camera`.
    """
    if "://" in text or text.startswith(("/", "./", "../")):
        return False
    return _SCHEME.match(text) is not None or ":" in text.rpartition("@")[0]


def path_tokens(url: str) -> Iterator[str]:
    """The parts of an address's path that may be tokens, as they stand there."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return
    yield from (segment for segment in path.split("/") if "=" not in segment and _may_be_token(segment))


def _redacted_path(path: str) -> str:
    """A file's path, or an address that lacks its scheme."""
    before, at, behind = path.rpartition("@")
    if at and ":" in before:
        return f"{MASK}@{_redacted_path(behind)}"
    return _NAMED.sub(rf"\1{MASK}", path)


def _without_value(part: str) -> str:
    name, equals, _value = part.partition("=")
    return f"{name}={MASK}" if equals else MASK


def _may_be_token(segment: str) -> bool:
    words = re.split(r"[-_.~]", unquote(segment))
    return _TELLING.search(segment) is not None or any(
        _WORD.fullmatch(word) is None
        or len(word) > (_LONGEST_WORD if word.isalpha() or word.isdecimal() else _LONGEST_MIXED)
        for word in words
    )


class Redactor:
    """Strikes what is secret from any text: in addresses, by parsing them, and the secrets that it was told, in every
    spelling that an address could give them.

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
        # Addresses first: struck secrets would make them unreadable as addresses, and leave what nobody knew to strike.
        if "://" in text or "@" in text:
            text = re.sub(r"\S+", _redacted_word, text)
        if "=" in text:
            text = _NAMED.sub(rf"\1{MASK}", text)
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text

    def __repr__(self) -> str:
        return f"Redactor({len(self._spellings)} spellings)"


def _redacted_word(found: re.Match[str]) -> str:
    """Of a text's word that is an address: without its secrets, but with the quotes and brackets around it."""
    word = found[0]
    if "://" not in word and ":" not in word.rpartition("@")[0]:
        return word
    address = word.lstrip("([{<\"'").rstrip(")]}>\"',.;:")
    before, address, behind = word.partition(address) if address else ("", "", word)
    return before + redact_url(address) + behind


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
