"""Masks secrets: credentials in addresses, and known secrets in any text."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

MASK = "****"
# What the names of secrets have in them: pass, but not passed, passage and passthrough; auth, but not author.
_STEMS = r"pass(?!ed|es|ing|ag|eng|iv|ion|por|thr)|pwd|pw(?=$|=)|auth(?!or(?!i[sz]))|cookie|jwt"
_STEMS += "|secret|token|credential|bearer"
# Without - and _, and in small letters. `signature` alone is no secret: it is how pictures are compared.
_SECRET_NAME = re.compile(rf"{_STEMS}|^pw|^pin$|creds?$|keys?\d*$|sig$|.signature$")
# They are named like secrets, and hold paths or public keys.
_NO_SECRETS = {"PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY", "SSH_ASKPASS", "GPG_KEY", "CREDENTIALS_DIRECTORY"}
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
# Schemes of addresses. They are recognised with wrong slashes too: `rtsp:/user:password@camera` is no file.
NETWORK_SCHEMES = (
    *("rtsp", "rtsps", "rtspt", "rtspu", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp", "http", "https", "ftp", "ftps"),
    *("ws", "wss", "redis", "rediss", "mqtt", "mqtts", "onvif"),
)
_SCHEME = re.compile(rf"({'|'.join(NETWORK_SCHEMES)}):/?(?!/)", re.IGNORECASE)
_NAMED = re.compile(rf"((?:{_STEMS}|key|signature|user|login)[A-Za-z_-]{{0,32}}=)[^&/?;\s]*", re.IGNORECASE)
# An ordinary path is made of words and numbers: `Streaming/Channels/101`, `h264Preview_01_main`, `live.sdp`. A
# part that mixes letters and digits in another way, or is longer, may be a token.
_LETTERS = r"(?:[A-Z]?[a-z]{1,12}|[A-Z]{1,12})"
_WORD = re.compile(rf"{_LETTERS}{{0,2}}[0-9]{{0,8}}{_LETTERS}?")
_MAX_WORD = 16
_MAX_MIXED_WORD = 12
_SECRET_WORD = re.compile(rf"{_STEMS}|key", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a key of such a name holds a secret: `password`, `accessKey`, `api-key`, `auth`."""
    return _SECRET_NAME.search(re.sub(r"[-_. ]", "", name).lower()) is not None


def is_secret_variable(name: str) -> bool:
    """Whether a variable of the environment holds a secret, by its name."""
    return name not in _NO_SECRETS and is_secret_name(name)


def named_secrets(data: object, *, inside: bool = False) -> Iterator[str]:
    """The texts, and the numbers as texts, under keys that are named like secrets, in data without a schema.

    inside: whether all of it stands under such a key.
    """
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from named_secrets(value, inside=inside or is_secret_name(str(key)))
            if inside and value is None:  # {secret} is a block in YAML, with a key that has no value
                yield str(key)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from named_secrets(value, inside=inside)
    elif inside and isinstance(data, str | int) and not isinstance(data, bool):
        yield str(data)


def redact_url(url: str) -> str:
    """The address with its user, password, query values, and possible tokens in its path masked.

    The path of a file is returned as it is, except what looks like credentials in it.
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
        return MASK  # a password with an unescaped "/", "?" or "#": what looks like the host is part of the password
    # The path of some cameras is `/user=admin&password=...`.
    path = "/".join(
        _without_value(segment) if "=" in segment or _may_be_token(segment) else segment
        for segment in parts.path.split("/")
    )
    query = "&".join(_without_value(part) for part in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def is_malformed_address(text: str) -> bool:
    """Whether a text is probably an address without its scheme or with wrong slashes.

    Examples: `rtsp:/camera/live`, `user:password@camera/live`. To name such a file, write `./user:password@camera`.
    """
    if "://" in text or text.startswith(("/", "./", "../")):
        return False
    return _SCHEME.match(text) is not None or ":" in text.rpartition("@")[0]


def path_tokens(url: str) -> Iterator[str]:
    """The parts of an address's path that may be tokens, as they are written there."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return
    yield from (segment for segment in path.split("/") if "=" not in segment and _may_be_token(segment))


def _redacted_path(path: str) -> str:
    """Masks credentials in a file's path, or in an address without a scheme."""
    before, at, behind = path.rpartition("@")
    if at and ":" in before:
        return f"{MASK}@{_redacted_path(behind)}"
    return _NAMED.sub(rf"\1{MASK}", path)


def _without_value(part: str) -> str:
    name, equals, _value = part.partition("=")
    return f"{name}={MASK}" if equals else MASK


def _may_be_token(segment: str) -> bool:
    words = re.split(r"[-_.~]", unquote(segment))
    return _SECRET_WORD.search(segment) is not None or any(
        _WORD.fullmatch(word) is None
        or len(word) > (_MAX_WORD if word.isalpha() or word.isdecimal() else _MAX_MIXED_WORD)
        for word in words
    )


class Redactor:
    """Masks secrets in any text: those in addresses, and the given ones in every encoding that an address may use.

    Given secrets shorter than 4 characters are not masked: that would damage ordinary words. Call it with a text.
    Thread-safe.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(secret) >= 4:
                spellings |= {spelling for form in (secret, unquote(secret)) for spelling in _spellings(form)}
        # The longest first: a secret may contain another one.
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text with all secrets replaced by ****."""
        # Addresses first: a masked secret could make an address unreadable, and its unknown secrets would stay.
        if "://" in text or "@" in text:
            text = re.sub(r"\S+", _redacted_word, text)
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        # Last: it ends at a space or a slash, and would take the beginning off a secret that has one.
        return _NAMED.sub(rf"\1{MASK}", text) if "=" in text else text

    def __repr__(self) -> str:
        return f"Redactor({len(self._spellings)} spellings)"


def _redacted_word(found: re.Match[str]) -> str:
    """A word of a text, masked if it is an address; quotes and brackets around it stay."""
    word = found[0]
    if "://" not in word and ":" not in word.rpartition("@")[0]:
        return word
    address = word.lstrip("([{<\"'").rstrip(")]}>\"',.;:")
    before, address, behind = word.partition(address) if address else ("", "", word)
    return before + redact_url(address) + behind


def _spellings(secret: str) -> Iterator[str]:
    """The secret as it is, percent-encoded, in Base64 (HTTP Basic), and escaped as in JSON and in Python."""
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
