"""Thumbnails of refused frames: small JPEGs beside the record's lines, in a folder that never exceeds a size.

    thumbnails/00000017-0000000123-5f3a9c1e.jpg     the number of the file in which its line is, a count, a checksum

The oldest go first, and all of them go with their lines. A file is written as a whole, but not synced: what a power cut
made of it is told by the checksum in its name.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from framesift.atomic_files import create_file, make_folder
from framesift.decisions.decision import RefusedThumbnail

FOLDER = "thumbnails"  # in the record's
_NAME = re.compile(r"(\d{8})-(\d{10})-([0-9a-f]{8})\.jpg")
_PARTIAL = ".partial"
_BLOCK = 4096  # bytes of which a disk gives whole ones
_PART = 8  # of the bound is made free at once


class ThumbnailFiles:
    """Writes them. For one thread at a time."""

    def __init__(self, record: Path, max_bytes: int) -> None:
        """record: the folder of the record. max_bytes: of all thumbnails together, each in whole blocks of the disk."""
        self._folder = record / FOLDER
        self._max_bytes = max_bytes
        self._held_bytes: int | None = None  # at least what there is; None: not known
        self._count = 0

    def add(self, jpeg: bytes, file_number: int) -> str:
        """Write one, and return its name. file_number: of the record's file. Raises OSError."""
        try:
            self._make_room(_on_disk(len(jpeg)))
            self._count += 1
            name = f"{file_number:08d}-{self._count:010d}-{zlib.crc32(jpeg):08x}.jpg"
            partial = self._folder / _PARTIAL
            partial.unlink(missing_ok=True)
            with os.fdopen(create_file(partial, os.O_WRONLY | os.O_EXCL), "wb") as file:
                file.write(jpeg)
            partial.replace(self._folder / name)
        except OSError:
            self._held_bytes = None  # the next time begins anew: the folder may be another one
            raise
        return name

    def keep_only(self, file_numbers: Collection[int]) -> None:
        """Delete those whose lines were in other files of the record. Raises OSError."""
        for path, number, _ in _found(self._folder):
            if number not in file_numbers:
                path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        if self._held_bytes is None or self._held_bytes + size > self._max_bytes:
            make_folder(self._folder)
            found = _found(self._folder)
            sizes = [_size_on_disk(path) for path, _, _ in found]
            held = sum(sizes)
            if held + size > self._max_bytes:
                for (path, _, _), freed in zip(found, sizes, strict=True):
                    if held + size <= self._max_bytes - self._max_bytes // _PART:
                        break
                    path.unlink(missing_ok=True)
                    held -= freed
            self._held_bytes = held
            self._count = max([self._count, *(count for _, _, count in found)])
        self._held_bytes += size


class ThumbnailedLines:
    """Lines of refused frames, which wait until their thumbnails can be made. For one thread at a time."""

    def __init__(self, files: ThumbnailFiles) -> None:
        self._files = files
        self._waiting: list[tuple[bytes, RefusedThumbnail]] = []
        self._file_numbers: Sequence[int] = ()
        self.problem = ""  # why the last ones could not be kept, "" for none

    def complete(
        self,
        lines: Iterable[tuple[bytes, RefusedThumbnail | None]],
        file_numbers: Sequence[int],
        *,
        is_last: bool = False,
    ) -> list[bytes]:
        """Take lines with the thumbnails that they may get; return those that can be written, earlier ones first.

        file_numbers: of the record's files, that of the present one at the end. is_last: none waits any more, and each
        gets the mask that is known. A disk that fails is a `problem`, and the line goes without a thumbnail.
        """
        waiting, self._waiting = self._waiting, []
        ready: list[bytes] = []
        self.problem = ""
        if file_numbers != self._file_numbers:  # the record has begun a file, and perhaps deleted one
            with self._telling():
                self._files.keep_only(file_numbers)
                self._file_numbers = file_numbers
        for line, thumbnail in (*waiting, *lines):
            if thumbnail is not None:
                if not (is_last or thumbnail.is_settled):
                    self._waiting.append((line, thumbnail))
                    continue
                jpeg = thumbnail.jpeg()
                if jpeg is not None:
                    with self._telling():
                        name = self._files.add(jpeg, file_numbers[-1])
                        line = b'%b,"thumbnail":"%b"}' % (line[:-1], name.encode())
            ready.append(line)
        return ready

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.problem = f"{error.filename or FOLDER}: {error.strerror or error}: thumbnails are not kept"


def read_thumbnail(record: Path, name: str) -> bytes | None:
    """A thumbnail as a JPEG; None if it is not there any more, or not whole. name: as in a line."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        return None
    try:
        jpeg = (record / FOLDER / name).read_bytes()
    except OSError:
        return None
    return jpeg if f"{zlib.crc32(jpeg):08x}" == parts[3] else None


def thumbnail_file(record: Path, line: Mapping[str, Any]) -> Path | None:
    """The file with the thumbnail of a line; None if it has none, if that is gone, or not whole."""
    name = str(line.get("thumbnail", ""))
    return None if read_thumbnail(record, name) is None else record / FOLDER / name


def delete_thumbnails(record: Path, *, but: Collection[str] = (), dry_run: bool = False) -> int:
    """Delete all thumbnails but those with these names, and return how many they are. Raises OSError.

    dry_run: only counts.
    """
    others = [path for path, _, _ in _found(record / FOLDER) if path.name not in but]
    if not dry_run:
        for path in (*others, record / FOLDER / _PARTIAL):
            path.unlink(missing_ok=True)
    return len(others)


def _found(folder: Path) -> list[tuple[Path, int, int]]:
    """Path, number of the record's file and count of each thumbnail, the oldest first."""
    if not folder.is_dir():
        return []
    names = sorted(
        filter(None, map(_NAME.fullmatch, (path.name for path in folder.iterdir()))), key=lambda name: name[0]
    )
    return [(folder / name[0], int(name[1]), int(name[2])) for name in names]


def _size_on_disk(path: Path) -> int:
    try:
        return _on_disk(path.stat().st_size)
    except FileNotFoundError:  # it was forgotten meanwhile
        return 0


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
