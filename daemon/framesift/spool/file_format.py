"""Whether a file is a spool, and of which format: what its header, its identity and its list of tables say."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Collection
from pathlib import Path

from framesift.limits import local
from framesift.spool import header, kept_descriptors, layout, schema
from framesift.spool.database import PERMISSION_ERRORS, refuse_link, sibling_path, unusable
from framesift.spool.disk_errors import Malformed, is_damage
from framesift.spool.disk_reserve import DiskReserve
from framesift.spool.page_file import HEADER_BYTES, PageFile
from framesift.spool.records import SpoolTooNew, SpoolUnusable

_BLOCK_BYTES = 1 << 20
_TABLES_OF_1 = {"datapoint", "image", "charge", "tally"}


def check_format(path: Path) -> int:
    """Returns the format version of an existing file without changing it, 0 if there is no file yet.

    Raises SpoolUnusable, SpoolTooNew, sqlite3.DatabaseError if the file is damaged, and OSError if the disk fails at
    this moment.
    """
    refuse_link(path)
    if not path.exists():
        return 0
    if path.is_file() and path.stat().st_size == 0:
        if DiskReserve(path).exists() or _has_content(sibling_path(path, "-wal")):
            raise Malformed("it is empty, and has been a spool")
        return 0
    try:
        with kept_descriptors.holding(path, write=True):
            pass
    except OSError as error:
        if error.errno in PERMISSION_ERRORS:
            raise unusable(path, error) from None
        if error.errno != errno.EROFS:
            raise
    if path.is_file() and path.stat().st_size < HEADER_BYTES:  # SQLite would begin a new database in it
        raise Malformed("it was cut off")
    said = header.read(path)
    is_ours = said.is_whole and said.application == schema.APPLICATION_ID
    if not is_ours or said.format != schema.VERSION:
        # A file of an earlier format has no such identity: don't search all of it.
        found = header.find_identity(path, search=not (is_ours and 0 < said.format < schema.VERSION))
        if found is not None and found.identity.application == schema.APPLICATION_ID:
            if min(said.format, found.identity.format) > schema.VERSION:
                raise _too_new(path, found.identity.format)
            raise Malformed(f"its header says format {said.format}, its identity {found.identity.format}")
    if said.application == schema.APPLICATION_ID and not said.is_whole:
        raise Malformed("the file's header")
    return _check_tables(path)


def refuse_foreign(path: Path) -> None:
    """Raises SpoolUnusable, SpoolTooNew if the path names something that is no spool, and no damaged one either.

    To be called before the spool is locked: only until then does a lock file show that there has been a spool. Changes
    nothing. What can't be read at this moment is left to `check_format`.
    """
    refuse_link(path)
    with contextlib.suppress(OSError):
        if path.exists() and not path.is_file():
            what = "is a folder" if path.is_dir() else "is no ordinary file"
            raise SpoolUnusable(f"{path} {what}, and the spool needs a file of its own: let spool.path name one")
        if not _has_content(path) or header.read(path).application == schema.APPLICATION_ID:
            return
        if sibling_path(path, ".lock").exists() or DiskReserve(path).exists():
            return  # whatever became of its content
        with kept_descriptors.holding(path) as descriptor:
            begin = os.pread(descriptor, HEADER_BYTES, 0)
            is_blank = _is_blank(descriptor)
        if is_blank or (len(begin) < HEADER_BYTES and header.MAGIC.startswith(begin[: len(header.MAGIC)])):
            return  # nothing is lost with it
        if begin.startswith(header.MAGIC) and _is_readable_spool(path):
            return
        if _format_in(path) is None:
            raise SpoolUnusable(
                f"{path} is no spool of framesift, and was not changed: give the spool a path of its own (if it was a "
                "spool, move the file away, and `framesift spool recover FILE` takes back what can be read)"
            )


def _is_readable_spool(path: Path) -> bool:
    """Whether SQLite can read the list of tables, and it is that of a spool. Raises SpoolUnusable, SpoolTooNew."""
    try:
        _check_tables(path)
    except sqlite3.Error as error:
        return not is_damage(error)  # another process may have it locked
    return True


def _is_blank(descriptor: int) -> bool:
    """Whether there is nothing in the file but what a power cut or worn flash leaves: zeros, or bytes of 255."""
    at = 0
    while block := os.pread(descriptor, _BLOCK_BYTES, at):
        if block.strip(b"\0\xff"):
            return False
        at += len(block)
    return True


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _too_new(path: Path, format: int) -> SpoolTooNew:
    return SpoolTooNew(
        f"{path} was written by a newer framesift (format {format}, this one reads up to {schema.VERSION})"
    )


def _check_tables(path: Path) -> int:
    """Checks the list of tables of a file whose identity doesn't contradict its header. Returns its format."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        mark = connection.execute("PRAGMA application_id").fetchone()[0]
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        tables = layout.read_table_list(connection)
    if not tables and mark != schema.APPLICATION_ID:
        return version
    expected = layout.expected_table_list(local.TABLES)
    by_tables = format_of({entry[1].decode("utf-8", "replace") for entry in tables})
    if mark != schema.APPLICATION_ID and by_tables is None:
        raise SpoolUnusable(
            f"{path} is an SQLite database, but no spool of framesift: give the spool a path of its own"
        )
    if version > schema.VERSION and by_tables in (None, schema.VERSION) and not layout.same_tables(tables, expected):
        raise _too_new(path, version)
    if layout.differs_by_one_bit(tables, expected):
        raise Malformed("the list of tables")
    if mark != schema.APPLICATION_ID or version != by_tables:
        raise Malformed(f"it has the tables of format {by_tables}, and its header says {mark:#x}, {version}")
    return version


def format_of(tables: Collection[str]) -> int | None:
    """The format of a file with these tables and indexes; None if tables are missing."""
    if {entry[1].decode() for entry in layout.expected_table_list(local.TABLES)} <= set(tables):
        return schema.VERSION
    if not set(tables) >= _TABLES_OF_1:
        return None
    return 2 if "late" in tables else 1


def repair_header(path: Path) -> bool:
    """Puts the header of a spool right. Returns whether anything was wrong with it. Raises OSError."""
    format = _format_in(path)
    return format is not None and format <= schema.VERSION and header.repair(path, format)


def _format_in(path: Path) -> int | None:
    """The format that the pages themselves show, whatever the header says; None if they show none."""
    with contextlib.closing(PageFile(path)) as file:
        format = format_of(header.master_roots(file))
        # First the tables: one that was made an older one has the identity of this format on its free pages.
        found = None if format in (1, 2) else header.identity_of(file)
    return format if found is None else found.identity.format
