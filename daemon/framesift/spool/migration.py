"""Makes a file of format 1 or 2 one of this format, in one transaction. Pictures are neither copied nor read.

The facts of each row are copied to the new tables, the old ones are dropped, and the table of pictures is renamed. Then
the list of tables gets the texts and the order that it has in a new file, so that a flipped bit in it shows.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator

from framesift.limits.row_checksums import register
from framesift.spool import checksums, identity, layout, schema
from framesift.spool.disk_errors import FailureKind, Malformed, failure_kind

# Columns of `datapoint` and `delivery` that have the same names in all formats.
_FACTS = (
    "seq, id, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, tags, {project} AS project, batch,"
    " {account} AS account, {batch_key} AS batch_key, annotate, width, height, size_bytes, NULL AS picture_hash,"
    " '{{}}' AS extra"
)
_STATE = (
    "seq, '' AS sink, state, rank, attempts, tried, {refusals} AS refusals, next_at_s, image_id, why, '{{}}' AS extra"
)
# Format 1 charged quota to the names of strategies, and had no projects, refusals and shared limits.
_SINCE_2 = {1: {"project": "NULL", "account": "strategy", "batch_key": "batch", "refusals": "0"}, 2: {}}
_COPY_CHARGES_OF_1 = (
    "INSERT INTO charge (id, account, batch, at_s, granted_by, project)"
    " SELECT id, strategy, batch, at_s, granted_by, '' FROM old_charge"
)
_REPLACED = {1: ("datapoint", "tally", "charge"), 2: ("datapoint", "tally", "identity")}
_SEALED = {1: ("seen",), 2: ("charge", "late", "seen")}  # tables of the limits that get a checksum
_RENAMED = (
    "ALTER TABLE image RENAME TO picture",
    "ALTER TABLE picture RENAME COLUMN seq TO number",
    "ALTER TABLE picture RENAME COLUMN jpeg TO bytes",
    "ALTER TABLE picture ADD COLUMN seq INTEGER AS (number & 281474976710655) VIRTUAL",
    "ALTER TABLE picture ADD COLUMN role INTEGER AS (number >> 48) VIRTUAL",
    "ALTER TABLE send ADD COLUMN sink TEXT NOT NULL DEFAULT ''",
)
_BYTES_PER_ROW = 700  # of the new tables, and of the log while they are written
CACHE_KIB = 32 * 2**10  # a smaller cache would write many pages of the new tables more than once


def migrate(connection: sqlite3.Connection, limits_tables: str) -> None:
    """Migrates an older file, in one transaction. limits_tables: SQL of the tables of the limits.

    Raises sqlite3.Error; the file is then unchanged.
    """
    register(connection)
    try:
        with one_transaction(connection):
            _migrate(connection, limits_tables)
    except sqlite3.IntegrityError as error:
        raise Malformed(f"a row of the older format ({error})") from None
    except sqlite3.OperationalError as error:
        kind = failure_kind(error)
        if kind is FailureKind.BUG:  # a name in the list of tables is another one
            raise Malformed(f"a table of the older format ({error})") from None
        if kind is not FailureKind.FULL:
            raise
        (rows,) = connection.execute("SELECT count(*) FROM datapoint").fetchone()
        needed = 1 + rows * _BYTES_PER_ROW // 10**6
        raise sqlite3.OperationalError(
            f"the disk is full: to upgrade the spool to format {schema.VERSION}, about {needed} MB must be free;"
            " nothing in it was changed"
        ) from None


@contextlib.contextmanager
def one_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that changes much."""
    (cache,) = connection.execute("PRAGMA cache_size").fetchone()
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself when the disk is full
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute(f"PRAGMA cache_size = {cache}")


def _migrate(connection: sqlite3.Connection, limits_tables: str) -> None:
    for table in ("datapoint", "charge"):  # their rows have no checksums: the indexes, which are dropped, have copies
        problem = str(connection.execute(f"PRAGMA integrity_check('{table}')").fetchone()[0])
        if problem != "ok":
            raise Malformed(problem)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'").fetchone()
    last_seq = 0 if row is None else row[0]
    replaced = _REPLACED[version]
    drop_indexes(connection, replaced, kept=schema.TABLES + limits_tables)
    for table in replaced:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in _RENAMED:
        connection.execute(statement)
    for table in _SEALED[version]:
        connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum BLOB")
    for statement in statements(schema.TABLES + limits_tables):
        connection.execute(re.sub(r"^CREATE (TABLE|INDEX) ", r"CREATE \1 IF NOT EXISTS ", statement))
    _count_lost(connection, last_seq)
    names = {name: name for name in ("project", "account", "batch_key", "refusals")} | _SINCE_2[version]
    copy(connection, "datapoint", f"SELECT {_FACTS.format(**names)} FROM old_datapoint ORDER BY seq")
    copy(connection, "delivery", f"SELECT {_STATE.format(**names)} FROM old_datapoint ORDER BY seq")
    copy(connection, "tally", "SELECT exit, number FROM old_tally")
    if version == 1:
        connection.execute(_COPY_CHARGES_OF_1)
        id = identity.new(schema.VERSION).id
    else:
        (id,) = connection.execute("SELECT id FROM old_identity").fetchone()
    for table in ("charge", "late", "seen"):
        checksums.seal(connection, table, "true", ())
    for table in replaced:
        connection.execute(f"DROP TABLE old_{table}")
    set_last_seq(connection, last_seq)
    unify_table_list(connection, layout.expected_table_list(limits_tables))
    identity.write(connection, identity.Identity(id, schema.VERSION, schema.APPLICATION_ID))
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")


def copy(connection: sqlite3.Connection, table: str, rows: str) -> None:
    """Inserts the rows of a query into a table, each with its checksum."""
    cursor = connection.execute(f"SELECT * FROM ({rows}) LIMIT 0")
    columns = ", ".join(column[0] for column in cursor.description)
    connection.execute(
        f"INSERT INTO {table} ({columns}, checksum) SELECT {columns}, {checksums.SUMS[table]} FROM ({rows})"
    )


def _count_lost(connection: sqlite3.Connection, last_seq: int) -> None:
    """Counts rows that an older version lost without counting them. last_seq: how many rows were ever accepted."""
    connection.execute(
        "INSERT INTO old_tally (exit, number) SELECT 'buried', rest FROM (SELECT ?"
        " - (SELECT coalesce(sum(number), 0) FROM old_tally) - (SELECT count(*) FROM old_datapoint) AS rest)"
        " WHERE rest > 0 ON CONFLICT (exit) DO UPDATE SET number = number + excluded.number",
        (last_seq,),
    )


def set_last_seq(connection: sqlite3.Connection, last_seq: int) -> None:
    """Row numbers continue after this one, and after all that are in the file or were counted."""
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'datapoint'")
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'datapoint', max(?, (SELECT coalesce(max(seq), 0) FROM"
        " datapoint), (SELECT coalesce(sum(number), 0) FROM tally) + (SELECT count(*) FROM datapoint))",
        (last_seq,),
    )


def drop_indexes(connection: sqlite3.Connection, replaced: tuple[str, ...], kept: str) -> None:
    """Drops all indexes of the tables that are replaced, and those that are not in the SQL `kept`."""
    wanted = {plain(statement) for statement in statements(kept)}
    found = connection.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    for name, table, sql in found.fetchall():
        if table in replaced or plain(sql) not in wanted:
            connection.execute(f"DROP INDEX {name}")


def unify_table_list(connection: sqlite3.Connection, wanted: list[layout.TableEntry]) -> None:
    """Gives the list of tables the texts and the order of a new file. A text that means something else stays."""
    connection.execute("PRAGMA writable_schema = ON")
    try:
        found = dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall())
        connection.execute("UPDATE sqlite_master SET rowid = rowid + 1000000")
        for place, (_, name, _, _, sql) in enumerate(wanted, start=1):
            text = sql.decode()
            is_same = plain(found[name.decode()] or "None") == plain(text)
            connection.execute("UPDATE sqlite_master SET rowid = ? WHERE name = ?", (place, name.decode()))
            if is_same and text != "None":
                connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (text, name.decode()))
    finally:
        connection.execute("PRAGMA writable_schema = RESET")


def statements(sql: str) -> list[str]:
    """The statements of SQL without comments in their middle."""
    return [part.strip() for part in re.sub(r"--.*", "", sql).split(";") if part.strip()]


def plain(sql: str) -> str:
    """The same text for statements that differ only in spaces and in quotes around names."""
    return re.sub(r"\s*([(),])\s*", r"\1", re.sub(r"\s+", " ", sql.replace('"', ""))).strip()
