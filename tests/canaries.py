"""Secrets that every test may use, and that must not appear in any output: `conftest.py` searches after each test.

KEY is the platform's key, PASSWORD a camera's. A settings file, or a file under a folder `credentials`, is where a
secret may lie; nothing that the program writes is called so.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

KEY = "canary-key-5f1d9c2e7b"
PASSWORD = "Canary-7f3a!@/x"

_MAY_HOLD_SECRETS = {"framesift.yaml", "credentials"}
_CHUNK_BYTES = 1 << 20


def _spellings() -> Iterator[str]:
    for secret in (KEY, PASSWORD):
        yield from {
            secret,
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            b64encode(secret.encode()).decode(),
        }


SPELLINGS = tuple(sorted(_spellings()))
_BYTES = tuple(spelling.encode() for spelling in SPELLINGS)
# In each spelling there is one of two; most of what is searched has neither, and there is much of it.
_SIGNS = (b"anary", b64encode(b"?anary")[2:8])
assert all(any(sign in spelling for sign in _SIGNS) for spelling in _BYTES)
_LONGEST = max(map(len, _BYTES))


def find_in_text(text: str) -> list[str]:
    """The spellings of the canaries that the text contains."""
    return [spelling for spelling in SPELLINGS if spelling in text]


def find_in_files(folder: Path) -> list[str]:
    """The files under the folder that hold a canary and should not, each with the spelling."""
    return [f"{path.relative_to(folder)}: {spelling}" for path in _files(folder) for spelling in _in_file(path)]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not _MAY_HOLD_SECRETS & set(path.relative_to(folder).parts):
            yield path


def _in_file(path: Path) -> Iterator[str]:
    found: set[bytes] = set()
    try:
        with path.open("rb") as file:
            tail = b""
            while chunk := file.read(_CHUNK_BYTES):
                content = tail + chunk
                if any(sign in content for sign in _SIGNS):
                    found |= {spelling for spelling in _BYTES if spelling in content}
                tail = content[-_LONGEST:]
    except OSError:  # it went away, or this user may not read it: the test's own doing
        return
    for spelling in found:
        yield spelling.decode()
