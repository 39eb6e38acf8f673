"""TakenPictures: which files of a folder were read, over restarts, in eight bytes for each."""

from __future__ import annotations

import bisect
import contextlib
import os
from array import array
from hashlib import blake2b
from pathlib import Path

import numpy as np

from framesift.atomic_files import create_file

_BYTES = 8
_MERGE_AFTER = 1_000
_COMPACT_AFTER = 10_000  # digests of files that are not there any more


def digest(name: str, mtime_ns: int) -> int:
    """Return the number by which a file is remembered: a file that was written anew is another."""
    content = f"{name}\0{mtime_ns}".encode(errors="surrogateescape")
    return int.from_bytes(blake2b(content, digest_size=_BYTES).digest(), "little")


class TakenPictures:
    """A set of digests, in memory and in a file to which each is appended. For one thread.

    Two files of a million have the same digest with a probability of 1 in 37 million. A file that can't be written is
    left out: then it is known for this run only.
    """

    def __init__(self, path: str) -> None:
        """path: of the file, which need not exist; "" for none."""
        self._path = path
        self._sorted = array("Q")
        self._recent: set[int] = set()
        self._written = 0
        if path:
            with contextlib.suppress(OSError):
                content = Path(path).read_bytes()
                self._written = len(content) // _BYTES
                self._sorted = _sorted(content[: self._written * _BYTES])

    def __contains__(self, value: int) -> bool:
        if value in self._recent:
            return True
        index = bisect.bisect_left(self._sorted, value)
        return index < len(self._sorted) and self._sorted[index] == value

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, value: int) -> None:
        """Remember a file."""
        self._recent.add(value)
        if self._path:
            with contextlib.suppress(OSError):
                _write(self._path, value.to_bytes(_BYTES, "little"), os.O_APPEND)
                self._written += 1
        if len(self._recent) >= _MERGE_AFTER:
            self._merge(self._sorted)

    def keep_only(self, present: array[int]) -> None:
        """Forget all but these, which are files that are still there."""
        self._recent.clear()
        self._merge(present)
        if self._written > len(self._sorted) + _COMPACT_AFTER:
            self._rewrite()

    def _merge(self, others: array[int]) -> None:
        both = array("Q", self._recent)
        both.extend(others)
        self._sorted = _sorted(both.tobytes())
        self._recent.clear()

    def _rewrite(self) -> None:
        with contextlib.suppress(OSError):
            new = Path(f"{self._path}.new")
            _write(new, self._sorted.tobytes(), os.O_TRUNC)
            new.replace(self._path)
            self._written = len(self._sorted)


def _write(path: str | Path, content: bytes, flag: int) -> None:
    """Raises OSError."""
    with os.fdopen(create_file(path, os.O_WRONLY | flag), "wb") as file:
        file.write(content)


def _sorted(content: bytes) -> array[int]:
    found = array("Q")
    found.frombytes(np.sort(np.frombuffer(content, np.uint64)).tobytes())
    return found
