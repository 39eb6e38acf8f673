"""Makes a file of this format one of format 2 again, for an older version of the program. No daemon may run.

All in one transaction, and pictures are not copied. What format 2 has no place for is dropped, and counted.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from os import close
from pathlib import Path

from framesift.clock.clock import Clock
from framesift.spool import database, delivery, file_format, format_2, identity, kept_descriptors, layout, rows, schema
from framesift.spool.accounting import UNKNOWN_EXIT
from framesift.spool.disk_errors import STORAGE_ERRORS, failure_kind
from framesift.spool.disk_reserve import RESERVE_BYTES, DiskReserve, free_bytes
from framesift.spool.migration import drop_indexes, one_transaction, plain, set_last_seq, statements, unify_table_list
from framesift.spool.records import SpoolBroken, SpoolUnusable

_PICTURES = (
    "DELETE FROM picture WHERE number > 281474976710655",
    "ALTER TABLE picture DROP COLUMN role",
    "ALTER TABLE picture DROP COLUMN seq",
    "ALTER TABLE picture RENAME COLUMN bytes TO jpeg",
    "ALTER TABLE picture RENAME COLUMN number TO seq",
    "ALTER TABLE picture RENAME TO image",
)
_DATAPOINTS = (
    "INSERT OR IGNORE INTO datapoint (seq, id, state, device, stream, frame, captured_at_s, accepted_at_s, strategy,"
    " score, rank, tags, project, batch, account, batch_key, annotate, width, height, size_bytes, attempts, tried,"
    " refusals, next_at_s, image_id, why) SELECT seq, id, state, device, stream, frame, captured_at_s, accepted_at_s,"
    " strategy, score, rank, tags, project, batch, account, batch_key, annotate, width, height, size_bytes, attempts,"
    f" tried, refusals, next_at_s, image_id, why FROM new_datapoint JOIN delivery USING (seq)"
    f" WHERE sink = '{delivery.SINK}' ORDER BY seq"
)
_LOST = (
    "INSERT INTO tally (exit, number) SELECT 'buried', lost FROM"
    " (SELECT (SELECT count(*) FROM new_datapoint) - (SELECT count(*) FROM datapoint) AS lost) WHERE lost > 0"
    " ON CONFLICT (exit) DO UPDATE SET number = number + excluded.number"
)


@dataclass(frozen=True, slots=True)
class DowngradeResult:
    """What a downgrade has done.

    datapoints: how many the file has. signatures, held, pictures: what was dropped: signatures for near duplicates,
    frames that waited to be accepted, and pictures besides the frames themselves.
    """

    datapoints: int
    signatures: int
    held: int
    pictures: int


def downgrade(path: Path, clock: Clock) -> DowngradeResult:
    """Makes the file one of format 2. Waits up to 15 s for a daemon to end.

    Raises SpoolUnusable if it has another format than this program's, SpoolInUse, SpoolTooNew and SpoolBroken. The
    file is then unchanged.
    """
    if not path.is_file():
        raise SpoolUnusable(f"{path}: there is no spool")
    file_format.refuse_foreign(path)
    try:
        with _locked(path, clock):
            version = file_format.check_format(path)
            if version != schema.VERSION:
                raise SpoolUnusable(
                    f"{path} has format {version}: only format {schema.VERSION} can be made an older one"
                )
            if free_bytes(path.absolute().parent) < RESERVE_BYTES:
                DiskReserve(path).release()
            with closing(database.connect(path, 8 * database.WAL_BYTES)) as connection:
                connection.text_factory = database.decode_lossy
                with one_transaction(connection):
                    result = _downgrade(connection)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return result
    except STORAGE_ERRORS as error:
        raise SpoolBroken(f"{path} was not changed: {failure_kind(error).value} ({error})") from None


@contextmanager
def _locked(path: Path, clock: Clock) -> Iterator[None]:
    descriptor = database.acquire_lock(path, clock, threading.Event())
    kept_descriptors.hold(path)
    try:
        yield
    finally:
        kept_descriptors.release(path)
        close(descriptor)


def _downgrade(connection: sqlite3.Connection) -> DowngradeResult:
    rows.bury_damaged(connection.cursor())
    (last_seq,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'datapoint'"
    ).fetchone()
    id = identity.read(connection).id
    (signatures,) = connection.execute("SELECT count(*) FROM signature").fetchone()
    (held,) = connection.execute("SELECT count(*) FROM held").fetchone()
    (pictures,) = connection.execute("SELECT count(*) FROM picture WHERE number > 281474976710655").fetchone()
    found = dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'picture'"
        ).fetchall()
    )
    wanted = {
        statement.split()[2]: statement for statement in statements(format_2.TABLES) if "CREATE TABLE" in statement
    }
    same = {name for name, sql in found.items() if name in wanted and plain(sql) == plain(wanted[name])}
    replaced = tuple(name for name in found if name in wanted and name not in same)
    drop_indexes(connection, replaced, kept=format_2.TABLES)
    for table in replaced:
        connection.execute(f"ALTER TABLE {table} RENAME TO new_{table}")
    for statement in _PICTURES:
        connection.execute(statement)
    for statement in statements(format_2.TABLES):
        connection.execute(re.sub(r"^CREATE (TABLE|INDEX) ", r"CREATE \1 IF NOT EXISTS ", statement))
    for table in replaced:
        if table not in ("datapoint", "identity"):
            _copy(connection, table)
    connection.execute("INSERT INTO identity (one, id) VALUES (1, ?)", (id,))
    connection.execute(_DATAPOINTS)
    connection.execute(_LOST)
    connection.execute("DELETE FROM tally WHERE exit = ?", (UNKNOWN_EXIT,))  # an older version knows no such outcome
    (datapoints,) = connection.execute("SELECT count(*) FROM datapoint").fetchone()
    for table in [*(f"new_{table}" for table in replaced), *(found.keys() - wanted.keys())]:
        connection.execute(f"DROP TABLE {table}")
    set_last_seq(connection, last_seq)
    unify_table_list(connection, layout.table_list_of(format_2.TABLES))
    connection.execute(f"PRAGMA user_version = {format_2.VERSION}")
    return DowngradeResult(datapoints, signatures, held, pictures)


def _copy(connection: sqlite3.Connection, table: str) -> None:
    """Copies the columns that both tables have. A row that format 2 does not allow is damaged, and left out."""
    old, new = (
        [column[1] for column in connection.execute(f"PRAGMA table_info({name})")] for name in (table, f"new_{table}")
    )
    columns = ", ".join(name for name in old if name in new)
    connection.execute(f"INSERT OR IGNORE INTO {table} ({columns}) SELECT {columns} FROM new_{table}")
