"""What a spool's file is: its unique id, its format and the program's mark, in two rows with checksums.

The header of the file says the same, without a checksum.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from framesift.limits.row_checksums import row_checksum
from framesift.spool import checksums
from framesift.spool.disk_errors import Malformed

APPLICATION_ID = 0x46534654
_COPIES = (1, 2)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file is. id: 32 hexadecimal digits; a file that replaces a damaged one gets another id."""

    id: str
    format: int
    application: int


@dataclass(frozen=True, slots=True)
class FoundIdentity:
    """A row of the table `identity`. roots: the first page of each table and index, by name."""

    identity: Identity
    roots: dict[str, int]


def new(format: int) -> Identity:
    """The identity of a new file."""
    return Identity(uuid.uuid4().hex, format, APPLICATION_ID)


def write(cursor: sqlite3.Cursor | sqlite3.Connection, identity: Identity) -> None:
    """Writes both rows, in the caller's transaction. Call it when all tables and indexes are in their places."""
    roots = dict(cursor.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    cursor.execute("DELETE FROM identity")
    for number in _COPIES:
        cursor.execute(
            "INSERT INTO identity (number, id, format, application, roots, checksum) VALUES (?, ?, ?, ?, ?, x'')",
            (number, identity.id, identity.format, identity.application, json.dumps(roots)),
        )
    checksums.seal(cursor, "identity", "true", ())


def read(cursor: sqlite3.Cursor | sqlite3.Connection) -> Identity:
    """The identity, from the first row that is whole. Raises Malformed if none is, and other sqlite3.Error."""
    row = cursor.execute(
        f"SELECT id, format, application FROM identity WHERE {checksums.IS_WHOLE['identity']} LIMIT 1"
    ).fetchone()
    if row is None:
        raise Malformed("the file has no id")
    return Identity(*row)


def of_values(values: Sequence[object]) -> FoundIdentity | None:
    """The identity in a row with these values, number first; None if it isn't one, or not what was written."""
    checked = checksums.CHECKED_COLUMNS["identity"]
    if len(values) <= len(checked) or values[len(checked)] != row_checksum("identity", *values[: len(checked)]):
        return None
    named = dict(zip(checked, values, strict=False))
    found = Identity(str(named["id"]), int(str(named["format"])), int(str(named["application"])))
    return FoundIdentity(found, json.loads(str(named["roots"])))
