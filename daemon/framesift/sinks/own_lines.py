"""The lines of metadata.jsonl that framesift wrote: how they are recognised, and what an index keeps of each.

Only pictures with such a line count for the bounds of a folder, and only they are ever removed. Lines and pictures of
other programs, or those that a person has changed, are nobody's business but theirs.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from framesift.atomic_files import safe_name

# In the order in which the folder sink writes the keys; the name has only characters of `safe_name` and "_".
_TEXT = rb'"((?:[^"\\]|\\.)*)"'
_OWN_LINE = re.compile(
    rb'\{"file_name": "images/([A-Za-z0-9_-]+)\.jpg", "id": ' + _TEXT + rb', "device": ' + _TEXT + rb', "stream": '
    + _TEXT + rb', "frame": \d+, "captured_at": "([^"\\]+)Z"'
)  # fmt: skip
UNMEASURED = -1


@dataclass(frozen=True, slots=True)
class OwnLine:
    """What a line says of its picture. name: of the files, without folder and ending. captured_at_s: Unix time."""

    name: str
    id: str
    stream: str
    captured_at_s: float


def parse_own_line(line: bytes) -> OwnLine | None:
    """The parts of a line that framesift wrote; None for any other line."""
    found = _OWN_LINE.match(line)
    if found is None:
        return None
    try:
        name, id, stream = found[1].decode("ascii"), _text(found[2]), _text(found[4])
        captured = datetime.fromisoformat(found[5].decode("ascii")).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return OwnLine(name, id, stream, captured.timestamp()) if name.endswith(f"_{safe_name(id)}") else None


def object_in_line(line: bytes) -> dict[str, Any] | None:
    """The object of any line; None for one that is no JSON object, is being written, or is nested too deep to read."""
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def name_in_line(line: bytes) -> str | None:
    """The name of the picture of a line that framesift wrote, also where a person has changed it since."""
    own = parse_own_line(line)
    if own is not None or b"images/" not in line:
        return None if own is None else own.name
    file_name = (object_in_line(line) or {}).get("file_name")
    if not isinstance(file_name, str) or not file_name.startswith("images/") or not file_name.endswith(".jpg"):
        return None
    return file_name.removeprefix("images/").removesuffix(".jpg")


def _text(quoted: bytes) -> str:
    text = json.loads(b'"' + quoted + b'"')
    assert isinstance(text, str)
    return text


class PictureIndex:
    """Offset, length, age and size of each own line, in the order of the file; 28 bytes of memory each.

    sizes: bytes of picture, label and line, UNMEASURED where that isn't known yet. size_bytes: the sum of the others.
    unmeasured: how many are not known.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all lines: the file is another one."""
        self.offsets, self.lengths = array("Q"), array("I")
        self.times_s, self.sizes = array("d"), array("q")
        self.size_bytes = self.unmeasured = 0

    def __len__(self) -> int:
        """The number of own lines."""
        return len(self.offsets)

    def add(self, line: bytes, offset: int) -> None:
        """Adds a line that begins at `offset` of the file, if it is an own one."""
        own = parse_own_line(line)
        if own is not None:
            self.offsets.append(offset)
            self.lengths.append(len(line))
            self.times_s.append(own.captured_at_s)
            self.sizes.append(UNMEASURED)
            self.unmeasured += 1

    def set_size(self, position: int, size_bytes: int) -> None:
        """Records the size of an unmeasured picture with its label and line."""
        assert self.sizes[position] == UNMEASURED
        self.sizes[position] = size_bytes
        self.size_bytes += size_bytes
        self.unmeasured -= 1

    def remove(self, removed: Collection[int]) -> None:
        """Removes the lines that begin at these offsets: those after them move forward."""
        kept = np.array([offset not in removed for offset in self.offsets], dtype=bool)
        lengths = np.array(self.lengths, dtype=np.uint64)
        before = np.cumsum(np.where(kept, 0, lengths), dtype=np.uint64)
        offsets = np.array(self.offsets, dtype=np.uint64) - before
        self.offsets = array("Q", offsets[kept].tobytes())
        self.lengths = array("I", np.array(self.lengths, dtype=np.uint32)[kept].tobytes())
        self.times_s = array("d", np.array(self.times_s)[kept].tobytes())
        sizes = np.array(self.sizes, dtype=np.int64)[kept]
        self.sizes = array("q", sizes.tobytes())
        self.unmeasured = int((sizes == UNMEASURED).sum())
        self.size_bytes = int(sizes.sum()) - self.unmeasured * UNMEASURED

    def oldest_first(self) -> Iterator[int]:
        """The positions in the arrays, by time of capture."""
        return iter(np.argsort(np.array(self.times_s), kind="stable").tolist())
