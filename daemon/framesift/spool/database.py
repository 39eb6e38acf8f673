"""The spool's file and what lies beside it: the lock, the reserve, and how a connection is made.

spool.db            the database, with spool.db-wal and spool.db-shm while it is open
spool.db.lock       held while a daemon has the spool open
spool.db.reserve    8 MiB that are given up when the disk is full
spool.db.corrupt-*  what could not be read, moved aside and kept
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
from enum import Enum
from pathlib import Path

from framesift.atomic_files import make_folder
from framesift.clock.clock import Clock
from framesift.limits import local
from framesift.spool import layout as shape
from framesift.spool import schema
from framesift.spool.records import SpoolInUse, SpoolTooNew, SpoolUnusable

RESERVE_BYTES = 8 * 2**20
LOCK_TIMEOUT_S = 15.0
BUSY_TIMEOUT_MS = 5000
WAL_BYTES = 4 * 2**20
# What a long transaction keeps for undoing a part of it, SQLite would put into a file that it opens in the middle.
_NOTHING_BESIDE = "PRAGMA temp_store = MEMORY"


class FailureKind(Enum):
    """What an error means for us."""

    FULL = "the disk is full"
    CORRUPT = "the file is damaged"
    IO = "reading or writing failed"
    READ_ONLY = "the disk can't be written to"
    BUSY = "another process is writing"
    NO_DESCRIPTORS = "no file descriptor is free"
    BUG = "the statement is wrong"


# What the disk, and what lies on it, may raise. (SQLite quotes what is damaged, and its words may then be no UTF-8.)
STORAGE_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError)


class Malformed(sqlite3.DatabaseError):
    """What was read can't be what was written."""

    def __init__(self, what: str) -> None:
        super().__init__(f"malformed: {what}")


# By text, since the codes are only in Python 3.11 and newer. SQLite's texts have been the same for decades.
_TEXTS = (
    ("Could not decode to UTF-8", FailureKind.CORRUPT),  # first: what follows in it is the text itself
    ("is full", FailureKind.FULL),
    ("malformed", FailureKind.CORRUPT),
    ("not a database", FailureKind.CORRUPT),
    ("unsupported file format", FailureKind.CORRUPT),
    ("disk I/O error", FailureKind.IO),
    ("readonly", FailureKind.READ_ONLY),
    ("unable to open", FailureKind.READ_ONLY),
    ("locked", FailureKind.BUSY),
    ("busy", FailureKind.BUSY),
)


def failure_kind(error: Exception) -> FailureKind:
    """Of one of FAILURES; any other is a bug."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return FailureKind.FULL
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return FailureKind.NO_DESCRIPTORS
        return FailureKind.IO if error.errno == errno.EIO else FailureKind.READ_ONLY
    if isinstance(error, UnicodeDecodeError | sqlite3.DataError):  # the latter: a length that nothing is written with
        return FailureKind.CORRUPT
    text = str(error)
    return next((kind for words, kind in _TEXTS if words in text), FailureKind.BUG)


def is_damage(error: Exception) -> bool:
    return failure_kind(error) is FailureKind.CORRUPT


def sibling_path(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def remove_database(path: Path) -> None:
    """A database that nobody needs, and its log."""
    for end in ("", "-wal", "-shm"):
        sibling_path(path, end).unlink(missing_ok=True)


def acquire_lock(path: Path, clock: Clock, stop: threading.Event) -> int:
    """The descriptor that holds the spool until it is closed. Waits a while for a daemon that may be ending.

    Raises SpoolInUse, SpoolUnusable, or OSError where the disk itself refuses.
    """
    descriptor = _lock_file(sibling_path(path, ".lock"))
    deadline = clock.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if clock.monotonic() >= deadline or clock.wait(stop, 0.25):
                os.close(descriptor)
                raise SpoolInUse(f"{path} is in use by another process") from None


def _lock_file(path: Path) -> int:
    try:
        make_folder(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _refuse_link(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and path.exists():
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if error.errno in _FORBIDDING:
            raise _forbidden(path.parent, error) from None
        raise


# The rest may be otherwise in a while.
_FORBIDDING = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def _forbidden(path: Path, error: OSError) -> SpoolUnusable:
    return SpoolUnusable(f"{path}: {error.strerror} for uid {os.geteuid()}; the spool must be able to write there")


def _refuse_link(path: Path) -> None:
    """Raises SpoolUnusable. The folder may be a symbolic link; a file of the spool's may not: whoever may put one there
    would choose which file is written to. (SQLite itself follows none at its log and its index.)
    """
    if os.path.islink(path):  # noqa: PTH114  # unlike Path.is_symlink, it takes what may not be looked at for none
        raise SpoolUnusable(f"{path} is a symbolic link, and the spool writes through none: name the file itself")


def check_format(path: Path) -> int:
    """Looks at an existing file without touching it, and returns its format: 0 where there is none yet.

    Raises SpoolUnusable, SpoolTooNew, sqlite3.DatabaseError if it can't be read, or isn't as it was made, and OSError
    where that may pass.
    """
    _refuse_link(path)
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return 0
    try:
        with path.open("r+b"):
            pass
    except OSError as error:
        if error.errno in _FORBIDDING:
            raise _forbidden(path, error) from None
        if error.errno != errno.EROFS:
            raise
    with path.open("rb") as content:
        if shape.header_is_damaged(content.read(shape.HEADER_BYTES)):
            raise Malformed("the file's header")
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        mark = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = shape.read_table_list(connection)
    expected = shape.expected_table_list(local.TABLES)
    if shape.differs_by_one_bit(tables, expected):
        raise Malformed("the list of tables")
    # A newer format has other tables: where they are this one's, a bit of the numbers has changed.
    wrong = (mark ^ schema.APPLICATION_ID).bit_count() + (version ^ schema.VERSION).bit_count()
    if wrong == 1 and shape.same_tables(tables, expected):
        raise Malformed(f"it has the tables of format {schema.VERSION}, and its header says {mark:#x}, {version}")
    if tables and mark != schema.APPLICATION_ID:
        raise SpoolUnusable(
            f"{path} is an SQLite database, but no spool of framesift: give the spool a path of its own"
        )
    if version > schema.VERSION:
        raise SpoolTooNew(
            f"{path} was written by a newer framesift (format {version}, this one reads up to {schema.VERSION})"
        )
    if tables and (version == 0 or (version == schema.VERSION and not shape.has_all_tables(tables, expected))):
        raise Malformed("tables are missing")
    return int(version)


def connect(path: Path, max_bytes: int) -> sqlite3.Connection:
    """The one read-write connection. Makes the tables in an empty file, and this version's of an older one's. Raises
    sqlite3.Error, SpoolUnusable.
    """
    _refuse_link(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL would lose every acknowledged row of the open log in a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(_NOTHING_BESIDE)
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        wal_bytes = min(WAL_BYTES, max_bytes // 8)
        connection.execute(f"PRAGMA wal_autocheckpoint = {max(16, wal_bytes // page_bytes)}")
        connection.execute(f"PRAGMA journal_size_limit = {wal_bytes}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            schema.create(connection, local.TABLES)
        elif version < schema.VERSION:
            schema.migrate(connection, local.TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that sees what is committed and never waits for the writer. It reads every text: where one is
    damaged, with U+FFFD in it.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.text_factory = decode_lossy
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute(_NOTHING_BESIDE)
    return connection


def decode_lossy(text: bytes) -> str:
    """A stored text for people, whatever became of it."""
    return text.decode("utf-8", "replace")


class DiskReserve:
    """Space that is ours already when the disk is full: on a full disk even a deletion needs room for its log.

    Two files, because the log and its index need an inode each on a disk that has run out of them.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (sibling_path(path, ".reserve"), sibling_path(path, ".reserve-2"))

    def release(self) -> bool:
        """True if there was something to give up."""
        there = False
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink()
                there = True
        return there

    def allocate(self, min_free_bytes: int) -> bool:
        """Makes it again if the disk has room for it; True if it is there."""
        size_bytes = RESERVE_BYTES // len(self._paths)
        try:
            for path in self._paths:
                if not path.is_symlink() and path.exists() and path.stat().st_size == size_bytes:
                    continue
                if free_bytes(path.parent) < min_free_bytes + size_bytes:
                    return False
                path.unlink(missing_ok=True)  # of another size, or a symbolic link to somewhere else
                with path.open("xb") as file:
                    os.posix_fallocate(file.fileno(), 0, size_bytes)
        except OSError:
            self.release()
            return False
        return True


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def move_aside(path: Path, wall_s: float) -> Path:
    """Renames the database and its log to spool.db.corrupt-<time> (and -wal), which are kept."""
    stamp = f"{int(wall_s)}"
    number = 0
    while sibling_path(path, f".corrupt-{stamp}").exists():
        number += 1
        stamp = f"{int(wall_s)}-{number}"
    aside = sibling_path(path, f".corrupt-{stamp}")
    path.rename(aside)
    wal = sibling_path(path, "-wal")
    if wal.exists():
        wal.rename(sibling_path(aside, "-wal"))
    sibling_path(path, "-shm").unlink(missing_ok=True)
    return aside
