"""The spool's database file: its lock, the check of its format, and connections to it.

Files of a spool:

    spool.db            the database, with spool.db-wal and spool.db-shm while it is open
    spool.db.lock       locked while a daemon has the spool open
    spool.db.reserve*   8 MiB of disk space that are released when the disk is full
    spool.db.corrupt-*  a damaged file that was moved aside and kept
    spool.db.watched-*  which pictures of a watched folder were read, by its stream
    spool.db.taken-*    which datapoints of such a file are in the spool, or were
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from pathlib import Path

from framesift.atomic_files import create_file, give_to_group, make_folder
from framesift.clock.clock import Clock
from framesift.limits import local
from framesift.limits.row_checksums import register
from framesift.processes import holder_of_locked
from framesift.spool import migration, schema
from framesift.spool.page_file import PAGE_BYTES
from framesift.spool.records import SpoolInUse, SpoolUnusable

LOCK_TIMEOUT_S = 15.0
BUSY_TIMEOUT_MS = 5000
WAL_BYTES = 4 * 2**20
# Otherwise SQLite opens temporary files during a long transaction, to be able to undo a part of it.
_NO_TEMPORARY_FILES = "PRAGMA temp_store = MEMORY"


def sibling_path(path: Path, suffix: str) -> Path:
    """The path of a file beside the database, for example with suffix "-wal"."""
    return path.with_name(path.name + suffix)


def remove_database(path: Path) -> None:
    """Deletes a database that is no longer needed, and its log. Raises OSError."""
    for end in ("", "-wal", "-shm"):
        sibling_path(path, end).unlink(missing_ok=True)


def acquire_lock(path: Path, clock: Clock, stop: threading.Event) -> int:
    """Locks the spool. Returns a file descriptor: closing it releases the lock.

    Waits up to 15 s for another daemon to end. Raises SpoolInUse, SpoolUnusable, or OSError if the disk fails.
    """
    descriptor = _lock_file(sibling_path(path, ".lock"))
    deadline = clock.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if clock.monotonic() >= deadline or clock.wait(stop, 0.25):
                holder = holder_of_locked(descriptor)
                os.close(descriptor)
                raise SpoolInUse(
                    f"{path} is in use by {holder}: stop that one, or give each daemon a spool.path of its own"
                ) from None


def _lock_file(path: Path) -> int:
    try:
        make_folder(path.parent)
        return create_file(path, os.O_RDWR)
    except OSError as error:
        refuse_link(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and path.exists():
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        # A spool that exists may come back: its disk became read-only later.
        is_first_start = not os.path.exists(path.with_suffix(""))  # noqa: PTH110  # False where this user may not look
        if error.errno in PERMISSION_ERRORS or (is_first_start and error.errno in _PLACE_ERRORS):
            raise unusable(path.parent, error) from None
        raise


# Errors that need a change by the operator; any other may pass.
PERMISSION_ERRORS = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
# Errors of the path of a spool that does not exist yet. (mkdir in /proc is ENOENT.)
_PLACE_ERRORS = (errno.EROFS, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG)


def unusable(path: Path, error: OSError) -> SpoolUnusable:
    """What to raise where this user may not write."""
    return SpoolUnusable(
        f"{path}: {error.strerror} for uid {os.geteuid()}; the spool must be able to write there: let spool.path name "
        "a file in a folder that this user may write to, such as /var/lib/framesift"
    )


def refuse_link(path: Path) -> None:
    """Raises SpoolUnusable if a file of the spool is a symbolic link.

    Whoever can create a link there could choose which file is written to. The folder may be a link. (SQLite itself
    follows no links at its log and its index.)
    """
    if os.path.islink(path):  # noqa: PTH114  # unlike Path.is_symlink, it returns False without permission
        raise SpoolUnusable(f"{path} is a symbolic link, and the spool writes through none: name the file itself")


def connect(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Opens the read-write connection. Creates the tables in an empty file and migrates an older format.

    max_bytes: limit of the spool; the write-ahead log gets a part of it. Raises sqlite3.Error, SpoolUnusable.
    """
    refuse_link(path)
    if not path.exists():  # never otherwise: closing it would take away the locks of other connections
        os.close(create_file(path, os.O_RDWR))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        register(connection)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; one that exists keeps its own
        connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL would lose every acknowledged row of the open log in a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(_NO_TEMPORARY_FILES)
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        wal_bytes = min(WAL_BYTES, max_bytes // 8)
        connection.execute(f"PRAGMA wal_autocheckpoint = {max(16, wal_bytes // page_bytes)}")
        connection.execute(f"PRAGMA journal_size_limit = {wal_bytes}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            schema.create(connection, local.TABLES)
        elif version < schema.VERSION:
            migration.migrate(connection, local.TABLES)
        for end in ("-wal", "-shm"):  # SQLite gives them the mode of the file, but not its group
            give_to_group(sibling_path(path, end))
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Opens a connection that reads committed data and never waits for the writer. Raises sqlite3.Error.

    Damaged text is returned with U+FFFD in it.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    register(connection)
    connection.text_factory = decode_lossy
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute(_NO_TEMPORARY_FILES)
    return connection


def decode_lossy(text: bytes) -> str:
    """A stored text, with U+FFFD in place of invalid UTF-8."""
    return text.decode("utf-8", "replace")


def move_aside(path: Path, wall_s: float) -> Path:
    """Renames the database and its log to spool.db.corrupt-<time> (and -wal). Returns the new path. Raises OSError."""
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
