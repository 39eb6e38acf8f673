"""The spool of `bit_flips.build` as a file of format 1 or 2, as the older versions of the program wrote it."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path

from clocks import ManualClock
from framesift.spool import format_2
from framesift.spool.downgrade import downgrade
from rigs import bit_flips as flips
from rigs.bit_flips import Built

SQL_OF_1 = Path(__file__).parent / "spool_1.sql"


def build_older(folder: Path, format: int, number: int, *, most_bytes: int = 3000) -> Built:
    """A new file of the older format, with the rows of a spool that was made one of format 2."""
    made = build_downgraded(folder.with_name(f"{folder.name}-made"), number, most_bytes=most_bytes)
    folder.mkdir()
    (folder / "spool.db.lock").touch()
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as new:
        new.executescript(format_2.TABLES if format == 2 else SQL_OF_1.read_text())
        new.execute("PRAGMA journal_mode = WAL")
        new.execute("ATTACH ? AS made", (str(made.folder / "spool.db"),))
        new.execute("BEGIN")
        tables = [name for (name,) in new.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [column[1] for column in new.execute(f"PRAGMA main.table_info({table})")]
            source = ["account" if (table, name) == ("charge", "strategy") else name for name in columns]
            new.execute(f"DELETE FROM main.{table}")
            new.execute(f"INSERT INTO main.{table} ({', '.join(columns)}) SELECT {', '.join(source)} FROM made.{table}")
        if format == 1:
            new.execute("UPDATE charge SET granted_by = 'local'")  # no quota was pending
        new.execute("COMMIT")
        new.execute(f"PRAGMA application_id = {0x46534654}")
        new.execute(f"PRAGMA user_version = {format}")
    return dataclasses.replace(made, folder=folder)


def build_downgraded(folder: Path, number: int, *, most_bytes: int = 3000) -> Built:
    """A file of this format that was made one of format 2: its free pages have what this format wrote."""
    made = flips.build(folder, number, most_bytes=most_bytes)
    downgrade(folder / "spool.db", ManualClock())
    for file in folder.iterdir():
        if file.name not in ("spool.db", "spool.db.lock"):
            file.unlink()
    return dataclasses.replace(made, has_checksums=False)
