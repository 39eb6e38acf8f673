"""How many datapoints a file has lost: all that ever got a number, less those that left and those that are there."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from framesift.spool import checksums
from framesift.spool.damaged_file import DamagedFile
from framesift.spool.delivery import SINK
from framesift.spool.disk_errors import Malformed
from framesift.spool.records import FinalOutcome

# In the table `tally`: datapoints of which nobody knows any more how they left, because the numbers were damaged.
UNKNOWN_EXIT = "unknown"


@dataclass(frozen=True, slots=True)
class Losses:
    """number: datapoints that can't be read any more; the smallest possible number unless is_exact."""

    number: int
    is_exact: bool


def verify_counts(cursor: sqlite3.Cursor | sqlite3.Connection) -> None:
    """Raises Malformed if a datapoint is missing that never left, or one has no state. Raises sqlite3.Error."""
    given, left, there, states = cursor.execute(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'), 0),"
        " (SELECT coalesce(sum(number), 0) FROM tally), (SELECT count(*) FROM datapoint),"
        " (SELECT count(*) FROM datapoint JOIN delivery USING (seq) WHERE sink = ?)",
        (SINK,),
    ).fetchone()
    if (given, there) != (left + there, states):
        raise Malformed(f"of {given} datapoints {left} have left, and {there} are there ({states} with a state)")


def count_losses(cursor: sqlite3.Cursor, old: DamagedFile, saved: int) -> Losses:
    """Counts what was not saved as buried, and makes the new file's numbers fit: of row numbers given, and of outcomes.

    saved: how many datapoints are in the new file.
    """
    tally = old.tables["tally"]
    left = 0
    for (outcome, number, checksum), is_whole in old.rows("tally"):
        if is_whole and isinstance(number, int):
            cursor.execute("INSERT INTO tally (exit, number, checksum) VALUES (?, ?, ?)", (outcome, number, checksum))
            left += number
    seen = old.seqs_seen()
    highest, unsaved = max(seen, default=0), len(seen) - saved
    given = max([0, *(row[1] for row, _ in old.rows("sqlite_sequence") if row[0] == "datapoint")], key=_number)
    given = _number(given)
    if old.has_all_rows:
        losses = Losses(max(0, unsaved), is_exact=True)
    elif tally.is_whole and given >= max(highest, left + saved):
        losses = Losses(given - left - saved, is_exact=True)
    else:
        losses = Losses(max(0, unsaved, highest - left - saved if tally.is_whole else 0), is_exact=False)
    total = left + saved + losses.number
    unknown = max(highest, 0 if tally.is_whole else given) - total
    if unknown > 0:
        _count(cursor, UNKNOWN_EXIT, unknown)
        total += unknown
    _count(cursor, FinalOutcome.BURIED.value, losses.number)
    # Row numbers must continue after those of the old file, because they are the order in the queue.
    cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'datapoint'")
    cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('datapoint', ?)", (total,))
    return losses


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 48 else 0


def _count(cursor: sqlite3.Cursor, exit: str, number: int) -> None:
    if number:
        cursor.execute(
            "INSERT INTO tally (exit, number) VALUES (?, ?)"
            " ON CONFLICT (exit) DO UPDATE SET number = number + excluded.number",
            (exit, number),
        )
        checksums.seal(cursor, "tally", "exit = ?", (exit,))
