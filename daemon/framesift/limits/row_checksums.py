"""A checksum of a row of a table: a flipped bit in any of its columns shows.

Every connection of the spool has the function in SQL, too. Texts count as their UTF-8, so that a text which is no
longer valid UTF-8 raises nothing there: `row_checksum('tally', CAST(exit AS BLOB), number)`.
"""

from __future__ import annotations

import hashlib
import sqlite3


def row_checksum(table: str, *values: object) -> bytes:
    """BLAKE2b (8 bytes) of the table's name and the values of a row, as the database returns them.

    values: None, int, float, and texts as str or as the bytes of their UTF-8.
    """
    return _of_bytes(table, *[value.encode() if isinstance(value, str) else value for value in values])


def _of_bytes(table: str, *values: object) -> bytes:
    """The same, for texts that are bytes already, as SQL gives them."""
    return hashlib.blake2b(repr((table, *values)).encode(), digest_size=8).digest()


def register(connection: sqlite3.Connection) -> None:
    """Makes the SQL function `row_checksum` known to a connection."""
    connection.create_function("row_checksum", -1, _of_bytes, deterministic=True)
