"""RecordFiles: lines of JSON in files of one folder, which together never exceed a size; older ones are compressed.

    decisions.jsonl              the present file; a line that a power cut has torn is left out by readers
    decisions-00000017.jsonl.gz  an earlier one; the higher the number, the newer

A file is compressed when it has an eighth of the size; the oldest ones are deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from framesift.atomic_files import create_file, make_folder, write_atomically
from framesift.decisions.refused_thumbnails import delete_thumbnails

PRESENT = "decisions.jsonl"
_EARLIER = re.compile(r"decisions-(\d{8})\.jsonl(\.gz)?")
_LOCK = "lock"  # of everybody who writes
_PART = 8
_LEVEL = 6  # of the compression
_AT_ONCE = 1024  # bytes, of which damage costs all


class ForgottenLines(NamedTuple):
    """How many lines were removed, and how many thumbnails."""

    lines: int = 0
    thumbnails: int = 0


class RecordFiles:
    """For one thread at a time."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """max_bytes: of all files together."""
        self.folder = folder
        self._path = folder / PRESENT
        self._max_bytes = max_bytes
        self._file: int | None = None
        self._lock: int | None = None
        self._inode = 0  # of the present file
        self._size = 0

    def append(self, lines: Iterable[bytes]) -> None:
        """Append lines, each without its end. Raises OSError; then some may be written, the last one in part."""
        try:
            self._append(lines)
        except OSError:
            self.close()  # the next time begins anew: the folder may be another one
            raise

    def _append(self, lines: Iterable[bytes]) -> None:
        with self._locked():
            file = self._present()
            content = b"".join(b"%b\n" % line for line in lines)
            written = 0
            while written < len(content):
                written += os.write(file, content[written:])
            self._size += written
            if self._size >= self._max_bytes // _PART:
                self._rotate()

    def numbers(self) -> list[int]:
        """The numbers of the earlier files, and at the end the one that the present file will have."""
        earlier = [number for number, _ in _earlier(self.folder)]
        return [*earlier, max(earlier, default=0) + 1]

    def close(self) -> None:
        """Close what is open."""
        self._close_present()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_present(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _present(self) -> int:
        """The descriptor of the present file, at a place where a line may begin."""
        if self._file is not None:
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_ino == self._inode:  # nobody has replaced it
                    return self._file
            self._close_present()
        self._file = create_file(self._path, os.O_RDWR | os.O_APPEND)
        self._inode = os.fstat(self._file).st_ino
        self._size = os.lseek(self._file, 0, os.SEEK_END)
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":  # the last write was torn
            self._size += os.write(self._file, b"\n")
        return self._file

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let nobody else change the files meanwhile. Raises OSError."""
        if self._lock is None:
            make_folder(self.folder)
            self._lock = create_file(self.folder / _LOCK, os.O_RDWR)
            with _exclusively(self._lock):
                _finish_compressing(self.folder)
        with _exclusively(self._lock):
            yield

    def _rotate(self) -> None:
        self._close_present()
        self._path.replace(self.folder / f"decisions-{self.numbers()[-1]:08d}.jsonl")
        _finish_compressing(self.folder)
        self._delete_oldest()

    def _delete_oldest(self) -> None:
        """Keep room for the present file beside the earlier ones."""
        left = self._max_bytes - self._max_bytes // _PART
        for _, path in reversed(_earlier(self.folder)):
            left -= path.stat().st_size
            if left < 0:
                path.unlink()


def read_lines(folder: Path, *, containing: str = "") -> Iterator[dict[str, Any]]:
    """Yields all lines, the newest first. What is torn or damaged is left out. Raises OSError.

    containing: only lines with this text are parsed, which is far quicker than to look at all.
    """
    wanted = json.dumps(containing)[1:-1].encode()
    for path in [folder / PRESENT, *(path for _, path in reversed(_earlier(folder)))]:
        lines = _content(path).split(b"\n")
        for line in reversed(lines):
            if wanted not in line:
                continue
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found


def forget_lines(folder: Path, is_selected: Callable[[dict[str, Any]], bool], *, dry_run: bool) -> ForgottenLines:
    """Remove lines from all files, with every thumbnail that no other line names, while a daemon writes or not.

    Returns how many they are. dry_run: only counts. Raises OSError.
    """
    if not folder.is_dir():
        return ForgottenLines()
    lock = create_file(folder / _LOCK, os.O_RDWR)
    found = 0
    named: set[str] = set()  # the thumbnails of the lines that stay
    try:
        with _exclusively(lock):
            for path in [folder / PRESENT, *(path for _, path in _earlier(folder))]:
                lines = _content(path).splitlines(keepends=True)
                kept = [line for line in lines if not _is_selected(line, is_selected)]
                named.update(_thumbnails(kept))
                found += len(lines) - len(kept)
                if len(kept) < len(lines) and not dry_run:
                    content = b"".join(kept)
                    write_atomically(path, gzip.compress(content, _LEVEL) if path.suffix == ".gz" else content)
            thumbnails = delete_thumbnails(folder, but=named, dry_run=dry_run)
    finally:
        os.close(lock)
    return ForgottenLines(found, thumbnails)


def _is_selected(line: bytes, is_selected: Callable[[dict[str, Any]], bool]) -> bool:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        return isinstance(found, dict) and is_selected(found)
    return False


def _thumbnails(lines: Iterable[bytes]) -> Iterator[str]:
    """The names of the thumbnails that lines have."""
    for line in lines:
        if b'"thumbnail"' in line:
            with contextlib.suppress(ValueError):
                yield str(json.loads(line)["thumbnail"])


@contextlib.contextmanager
def _exclusively(lock: int) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


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
        for begin in range(0, len(stored), _AT_ONCE):
            content += reader.decompress(stored[begin : begin + _AT_ONCE])
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
