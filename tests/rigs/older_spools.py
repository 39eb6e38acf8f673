"""Spool files of earlier formats, as the versions of the program wrote them, and what any spool file contains."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from clocks import NOON_S, ManualClock
from framesift.spool import rows
from rigs.spools import BATCH

SAID = '{"predictions": []}'
_STATES = ("ready", "buried", "registered", "sending", "ready", "ready")


@dataclass(frozen=True)
class Content:
    """What a spool file of any format contains, in terms that all formats have.

    datapoints: by id, facts and state of delivery. pictures: by id, the prediction and the picture's bytes.
    """

    datapoints: dict[str, tuple[object, ...]]
    pictures: dict[str, tuple[str, bytes]]
    charges: dict[str, tuple[object, ...]]
    tally: dict[str, int]
    classes: dict[str, int]
    sends: list[tuple[object, ...]]
    others: dict[str, list[tuple[object, ...]]]
    last_seq: int


# What else the limits keep, as far as the format has the table.
_OTHERS = {
    "late": "id, wall_s, boottime_s, boot_id, quotas, candidates",
    "carried": "account, window, at_s, amount",
    "batch_past": "batch, images",
    "batch_there": "batch, images, mark, asked_at_s",
}


def read_content(path: Path) -> Content:
    """Reads a file with SQL alone. Raises AssertionError where the file is not intact."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        others = {table: _OTHERS[table] for table in _OTHERS if version > 1 or table in ("carried", "batch_past")}
        table = "datapoint JOIN delivery USING (seq)" if version == 3 else "datapoint"
        pictures = "picture ON number = datapoint.seq" if version == 3 else "image USING (seq)"
        since_2 = "strategy, batch, NULL, 0" if version == 1 else "account, batch_key, project, refusals"
        charges = (
            "strategy, batch, at_s, granted_by, ''" if version == 1 else "account, batch, at_s, granted_by, project"
        )
        facts = (
            "id, seq, state, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, rank, tags, batch,"
            f" annotate, width, height, size_bytes, attempts, tried, next_at_s, image_id, why, {since_2}"
        )
        bytes_ = "bytes" if version == 3 else "jpeg"
        found = Content(
            {row[0]: row[1:] for row in connection.execute(f"SELECT {facts} FROM {table}")},
            {
                id: (said, jpeg)
                for id, said, jpeg in connection.execute(
                    f"SELECT id, prediction, {bytes_} FROM datapoint JOIN {pictures}"
                )
            },
            {row[0]: row[1:] for row in connection.execute(f"SELECT id, {charges} FROM charge")},
            dict(connection.execute("SELECT exit, number FROM tally").fetchall()),
            dict(connection.execute("SELECT class, number FROM class_count").fetchall()),
            connection.execute("SELECT seq, id, at_s, until_s FROM send ORDER BY seq").fetchall(),
            {table: sorted(connection.execute(f"SELECT {columns} FROM {table}")) for table, columns in others.items()},
            connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'").fetchone()[0],
        )
        hashes = connection.execute(f"SELECT hash, prediction, {bytes_} FROM datapoint JOIN {pictures}").fetchall()
        assert all(hash == rows.content_hash(said, jpeg) for hash, said, jpeg in hashes)
        assert found.pictures.keys() == found.datapoints.keys()
    return found


def write_older(path: Path, version: int, *, datapoints: int, seed: int = 1, most_bytes: int = 3000) -> None:
    """A file of format 1 or 2 with datapoints in all states, their charges and sends, and counted outcomes."""
    chance = random.Random(seed)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript((Path(__file__).parent / f"spool_{version}.sql").read_text())
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        for number in range(datapoints):
            _write_one(connection, version, chance, f"{seed:08x}{chance.getrandbits(96):024x}", number, most_bytes)
        for name in ("car", "bus"):
            connection.execute(
                "INSERT INTO class_count VALUES (?, 5) ON CONFLICT (class) DO UPDATE SET number = number + 5", (name,)
            )
        (there,) = connection.execute("SELECT count(*) FROM datapoint").fetchone()
        (counted,) = connection.execute("SELECT coalesce(sum(number), 0) FROM tally").fetchone()
        connection.execute("INSERT OR REPLACE INTO tally VALUES ('evicted', 7)")
        connection.execute("UPDATE sqlite_sequence SET seq = ?", (there + counted + 7,))
        now = ManualClock().now()  # as it will be when the file is opened: no step of the clock
        connection.execute("INSERT OR REPLACE INTO seen VALUES (1, ?, ?, ?)", (now.wall_s, now.boottime_s, now.boot_id))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write_one(
    connection: sqlite3.Connection, version: int, chance: random.Random, id: str, number: int, most_bytes: int
) -> None:
    state = _STATES[number % len(_STATES)]
    jpeg = b"\xff\xd8" + chance.randbytes(chance.randrange(100, most_bytes)) + b"\xff\xd9"
    at_s = NOON_S - number
    values: dict[str, object] = {
        "id": id,
        "state": state,
        "device": "gate-7",
        "stream": "gate",
        "frame": number,
        "captured_at_s": at_s,
        "accepted_at_s": at_s + 0.2,
        "strategy": "hard",
        "score": chance.choice([None, chance.random()]),
        "rank": chance.random(),
        "tags": '["north", "früh"]',
        "batch": BATCH,
        "annotate": number % 2,
        "width": 64,
        "height": 48,
        "size_bytes": len(jpeg),
        "attempts": int(state != "ready"),
        "tried": 2,
        "next_at_s": NOON_S + 60.0 if number % 7 == 4 else None,
        "image_id": f"theirs-{number}" if state == "registered" else None,
        "why": "refused: größer" if state == "buried" else None,
    }
    charge: dict[str, object] = {"id": id, "batch": BATCH, "at_s": at_s, "granted_by": "local"}
    if version == 2:
        values |= {"account": "hard", "batch_key": BATCH, "project": None, "refusals": number % 3}
        charge |= {"account": "hard", "project": ""}
    else:
        charge |= {"strategy": "hard"}
    for table, row in (("datapoint", values), ("charge", charge)):
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    (seq,) = connection.execute("SELECT seq FROM datapoint WHERE id = ?", (id,)).fetchone()
    connection.execute("INSERT INTO image VALUES (?, ?, ?, ?)", (seq, rows.content_hash(SAID, jpeg), SAID, jpeg))
    if state == "sending":
        connection.execute("INSERT INTO send (id, at_s) VALUES (?, ?)", (id, at_s + 1.0))
