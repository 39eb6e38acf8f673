"""What an error of the disk or of SQLite means for the spool."""

from __future__ import annotations

import errno
import sqlite3
from enum import Enum


class FailureKind(Enum):
    """What an error of the disk, or of SQLite, means for the spool."""

    FULL = "the disk is full"
    CORRUPT = "the file is damaged"
    IO = "reading or writing failed"
    READ_ONLY = "the disk can't be written to"
    BUSY = "another process is writing"
    NO_DESCRIPTORS = "no file descriptor is free"
    BUG = "the statement is wrong"


# Errors that a failing disk or a damaged file may raise. (SQLite quotes damaged text, which may then not be UTF-8.)
STORAGE_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError)


class Malformed(sqlite3.DatabaseError):
    """The file contains something that is never written: it is damaged."""

    def __init__(self, what: str) -> None:
        super().__init__(f"malformed: {what}")


# By message, because Python 3.10 has no error codes. SQLite's messages have been the same for decades.
_TEXTS = (
    ("Could not decode to UTF-8", FailureKind.CORRUPT),  # first: the rest of this message is the damaged text itself
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
    """The kind of one of STORAGE_ERRORS. Any other SQLite error is a bug."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return FailureKind.FULL
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return FailureKind.NO_DESCRIPTORS
        return FailureKind.IO if error.errno == errno.EIO else FailureKind.READ_ONLY
    if isinstance(error, UnicodeDecodeError | sqlite3.DataError):  # DataError: a length that is never written
        return FailureKind.CORRUPT
    text = str(error)
    return next((kind for words, kind in _TEXTS if words in text), FailureKind.BUG)


def is_damage(error: Exception) -> bool:
    """Whether the error means that the file is damaged."""
    return failure_kind(error) is FailureKind.CORRUPT
