"""RecordFiles: lines of JSON in files of one folder, which together never exceed a size; older ones are compressed.

    decisions.jsonl              the present file; a line that a power cut has torn is left out by readers
    decisions-00000017.jsonl.gz  an earlier one; the higher the number, the newer

A file is compressed when it has an eighth of the size; the oldest ones are deleted.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from framesift.atomic_files import create_file, make_folder

PRESENT = "decisions.jsonl"
_EARLIER = re.compile(r"decisions-(\d{8})\.jsonl(\.gz)?")
_PART = 8
_LEVEL = 6  # of the compression


class RecordFiles:
    """For one thread at a time."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """max_bytes: of all files together."""
        self.folder = folder
        self._max_bytes = max_bytes
        self._is_ready = False

    def append(self, lines: Iterable[str]) -> None:
        """Append lines, each without its end. Raises OSError; then some may be written, the last one in part."""
        if not self._is_ready:
            make_folder(self.folder)
            _finish_compressing(self.folder)
            self._is_ready = True
        present = self.folder / PRESENT
        content = "".join(f"{line}\n" for line in lines).encode()
        with os.fdopen(create_file(present, os.O_RDWR | os.O_APPEND), "ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # the last write was torn
                    content = b"\n" + content
            written = 0
            while written < len(content):
                written += file.write(content[written:])
            size = file.tell()
        if size >= self._max_bytes // _PART:
            self._rotate()

    def _rotate(self) -> None:
        numbers = [number for number, _ in _earlier(self.folder)]
        (self.folder / PRESENT).replace(self.folder / f"decisions-{max(numbers, default=0) + 1:08d}.jsonl")
        _finish_compressing(self.folder)
        self._delete_oldest()

    def _delete_oldest(self) -> None:
        """Keep room for the present file beside the earlier ones."""
        left = self._max_bytes - self._max_bytes // _PART
        for _, path in reversed(_earlier(self.folder)):
            left -= path.stat().st_size
            if left < 0:
                path.unlink()


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields all lines, the newest first. What is torn or damaged is left out. Raises OSError."""
    for path in [folder / PRESENT, *(path for _, path in reversed(_earlier(folder)))]:
        lines = _content(path).split(b"\n")
        for line in reversed(lines):
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found


def _content(path: Path) -> bytes:
    try:
        stored = path.read_bytes()
    except FileNotFoundError:  # there is none yet, or it was compressed meanwhile
        return b""
    if path.suffix != ".gz":
        return stored
    content = bytearray()
    reader = zlib.decompressobj(wbits=31)
    with contextlib.suppress(zlib.error):  # what is before the damage is still good
        for begin in range(0, len(stored), 1 << 16):
            content += reader.decompress(stored[begin : begin + (1 << 16)])
    return bytes(content)


def _earlier(folder: Path) -> list[tuple[int, Path]]:
    """The earlier files, the oldest first; of one that is there twice, the compressed one."""
    found: dict[int, Path] = {}
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            if name := _EARLIER.fullmatch(path.name):
                found[int(name[1])] = path
    return sorted(found.items())


def _finish_compressing(folder: Path) -> None:
    """Compress what is not compressed yet, one file at a time; also after a crash in between."""
    for path in sorted(folder.glob("decisions-*.jsonl")):
        compressed = path.with_name(f"{path.name}.gz")
        if not compressed.exists():
            partial = path.with_name(f"{path.name}.gz.partial")
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
            with (
                os.fdopen(create_file(partial, os.O_WRONLY | os.O_EXCL), "wb") as file,
                gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL, filename="") as packed,
            ):
                packed.write(path.read_bytes())
            partial.replace(compressed)
        path.unlink()
