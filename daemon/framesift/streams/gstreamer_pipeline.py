"""A pipeline's text, as `gst-launch` takes it: what it must end in, and what of it may be shown.

On a Jetson such a text is

    rtspsrc location=rtsp://10.0.0.5/live user-id=viewer user-pw="a word" ! rtph264depay ! nvv4l2decoder ! nvvidconv
    ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from framesift.config.redact import MASK, path_tokens, redact_url

PIPELINE_END = "video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
_BGR = re.compile(r"""video/x-raw\b[^!]*[,\s]format\s*=\s*(?:\(string\))?\s*["']?BGR\b[^!]*!\s*appsink\b[^!]*$""")
_PROPERTY = re.compile(r'(?<![\w/.-])([A-Za-z][\w-]*\s*=\s*)("(?:\\.|[^"\\])*"?|(?:\\.|[^\s\\])+)')
_SECRET = re.compile(
    r"pass|pwd|(?:^|[-_])pw(?:$|\W)|secret|token|key|credential|auth|user|login|cookie|(?:^|[-_])(?:id|pin)(?:$|\W)",
    re.IGNORECASE,
)


def pipeline_problem(text: str) -> str:
    """Return what keeps this text from being a pipeline whose pictures can be read, "" if nothing is known."""
    if any(not character.isprintable() and character not in "\t\n" for character in text):
        return "source may have no characters that can't be printed"
    if not _BGR.search(text):
        return f"source is a pipeline that ends in: {PIPELINE_END}"
    return ""


def redacted_pipeline(text: str) -> str:
    """Return the text as it may be shown: addresses without credentials, and values of secret-looking names masked."""
    return _PROPERTY.sub(lambda found: found[1] + _shown(found[1], found[2]), " ".join(text.split()))


def pipeline_secrets(text: str) -> Iterator[str]:
    """All of the text that is masked, in the spellings that GStreamer might print."""
    for name, value in _PROPERTY.findall(text):
        plain = _unquoted(value)
        if "://" in plain:
            yield from _address_secrets(plain)
        elif _is_secret(name, plain):
            yield plain
            yield value


def _shown(name: str, value: str) -> str:
    plain = _unquoted(value)
    if "://" in plain:
        return redact_url(plain)
    return MASK if _is_secret(name, plain) else value


def _is_secret(name: str, plain: str) -> bool:
    return _SECRET.search(name) is not None or _SECRET.search(plain) is not None


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value.strip('"'))


def _address_secrets(address: str) -> Iterator[str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        yield address
        return
    userinfo = parts.netloc.rpartition("@")[0]
    yield from (secret for secret in (userinfo, *map(unquote, userinfo.partition(":")[::2]), parts.query) if secret)
    yield from path_tokens(address)
