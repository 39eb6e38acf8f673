"""A spool of an earlier format is migrated completely at the first start."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.limits import Window
from framesift.spool import FinalOutcome, NotAccepted, SpoolUnusable, State, admin, database, migration, rows
from rigs.spools import BATCH, make_spool, put, quota

PICTURE = b"\xff\xd8 taken long ago \xff\xd9"
SAID = '{"predictions": []}'


def write_format_1(path: Path, *, datapoints: int = 3) -> None:
    """Waiting, buried and registered datapoints, one more charge, and a last datapoint that has left."""
    with sqlite3.connect(path) as connection:
        connection.executescript((Path(__file__).parents[1] / "rigs" / "spool_1.sql").read_text())
        for number in range(datapoints):
            state = ("ready", "buried", "registered")[number % 3]
            connection.execute(
                "INSERT INTO datapoint (id, state, device, stream, frame, captured_at_s, accepted_at_s, strategy,"
                " score, rank, tags, batch, annotate, width, height, size_bytes, attempts, tried, image_id)"
                " VALUES (?, ?, 'gate-7', 'gate', ?, ?, ?, 'hard', NULL, 0, '[\"north\"]', ?, 1, 64, 48, ?, 1, 2, ?)",
                (
                    f"id-{number}",
                    state,
                    number,
                    NOON_S,
                    NOON_S,
                    BATCH,
                    len(PICTURE),
                    "theirs" if state == "registered" else None,
                ),
            )
            connection.execute(
                "INSERT INTO image SELECT seq, ?, ?, ? FROM datapoint WHERE id = ?",
                (rows.content_hash(SAID, PICTURE), SAID, PICTURE, f"id-{number}"),
            )
        for number in range(datapoints + 1):
            connection.execute("INSERT INTO charge VALUES (?, 'hard', ?, ?, 'local')", (f"id-{number}", BATCH, NOON_S))
        connection.execute("INSERT INTO tally VALUES ('delivered', 7)")
        connection.execute("UPDATE sqlite_sequence SET seq = 40")
    connection.close()


def test_all_rows_are_migrated_and_can_be_delivered(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db")
    spool = make_spool(tmp_path, ManualClock())
    spool.open()
    assert spool.outcome_counts()[FinalOutcome.DELIVERED] == 7
    assert {listed.id: listed.state for listed in spool.list_rows()} == {
        "id-0": State.READY,
        "id-1": State.BURIED,
        "id-2": State.REGISTERED,
    }
    items = spool.claim(9).items
    assert [(item.id, item.project, item.image_id, item.tags, item.tried, item.refusals) for item in items] == [
        ("id-2", None, "theirs", ("north",), 3, 0),
        ("id-0", None, None, ("north",), 3, 0),
    ]
    assert spool.read_jpeg("id-0") == PICTURE
    spool.close()


def test_migrated_charges_count(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db")
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    answers = [put(spool, clock, [quota("hard", (Window.DAILY, 5))]) for _ in range(2)]
    assert [isinstance(answer, NotAccepted) for answer in answers] == [False, True]
    spool.close()


def test_new_rows_have_higher_numbers_than_all_earlier_rows(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db")
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock)
    spool.close()
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        assert connection.execute("SELECT max(seq) FROM datapoint").fetchone() == (41,)
    connection.close()


def test_a_migrated_file_has_the_tables_of_a_new_file(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db")
    database.connect(tmp_path / "spool.db", 2**26).close()
    database.connect(tmp_path / "new.db", 2**26).close()

    def shape(name: str) -> tuple[dict[str, list[object]], set[str], int]:
        connection = sqlite3.connect(tmp_path / name)
        found = connection.execute("SELECT type, name FROM sqlite_master").fetchall()
        tables = {n: connection.execute(f"PRAGMA table_info({n})").fetchall() for kind, n in found if kind == "table"}
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
        return tables, {n for kind, n in found if kind == "index"}, version

    assert shape("spool.db") == shape("new.db")


def test_an_interrupted_migration_changes_nothing(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db")
    before = (tmp_path / "spool.db").read_bytes()
    connection = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migration.migrate(connection, "nonsense;")
    connection.close()
    assert (tmp_path / "spool.db").read_bytes() == before


def test_the_command_line_asks_to_start_the_daemon_first_for_an_older_file(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db")
    before = (tmp_path / "spool.db").read_bytes()
    for look in (lambda: admin.list_rows(tmp_path / "spool.db"), lambda: admin.drop(tmp_path / "spool.db", None)):
        with pytest.raises(SpoolUnusable, match="older framesift"):
            look()
    assert (tmp_path / "spool.db").read_bytes() == before
