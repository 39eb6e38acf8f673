"""A spool of an earlier format is migrated completely at the first start."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.limits import Window, local
from framesift.spool import (
    FinalOutcome,
    NotAccepted,
    SpoolBroken,
    SpoolUnusable,
    State,
    admin,
    database,
    layout,
    migration,
    rows,
)
from framesift.spool.disk_errors import FailureKind, Malformed, failure_kind
from rigs.older_spools import read_content, write_older
from rigs.spool_upgrades import check_upgraded, kill_upgrades
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


def test_a_picture_that_was_cut_off_in_an_older_file_is_buried_and_not_sent(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db", datapoints=1)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
        cut = PICTURE[:-5]
        connection.execute("UPDATE image SET jpeg = ?, hash = ?", (cut, rows.content_hash(SAID, cut)))
        connection.commit()
    spool = make_spool(tmp_path, ManualClock())
    spool.open()
    assert [item.id for item in spool.claim(9).items] == ["id-0"]
    with pytest.raises(SpoolBroken, match=f"it has {len(PICTURE) - 5} bytes instead of {len(PICTURE)}"):
        spool.read_jpeg("id-0")
    assert [listed.state for listed in spool.list_rows()] == [State.BURIED]
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
    with pytest.raises(Malformed, match="nonsense"):
        migration.migrate(connection, "nonsense;")
    connection.close()
    assert (tmp_path / "spool.db").read_bytes() == before


@pytest.mark.parametrize("version", [1, 2])
def test_everything_in_an_older_file_is_there_after_the_upgrade(tmp_path: Path, version: int) -> None:
    path = tmp_path / "spool.db"
    write_older(path, version, datapoints=60)
    check_upgraded(tmp_path, read_content(path))


@pytest.mark.parametrize(
    ("version", "number"),
    [(2, 4), pytest.param(2, 12, marks=pytest.mark.exhaustive), pytest.param(1, 2, marks=pytest.mark.exhaustive)],
)
def test_an_upgrade_that_is_killed_leaves_everything_there(tmp_path: Path, version: int, number: int) -> None:
    assert kill_upgrades(tmp_path, version, number, datapoints=200).total() == number


@pytest.mark.parametrize("version", [1, 2])
def test_a_migrated_file_has_the_list_of_tables_of_a_new_file(tmp_path: Path, version: int) -> None:
    write_older(tmp_path / "spool.db", version, datapoints=5)
    with closing(database.connect(tmp_path / "spool.db", 2**26)) as connection:
        found = layout.read_table_list(connection)
    assert layout.same_tables(found, layout.expected_table_list(local.TABLES))


def test_an_upgrade_copies_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    write_older(path, 2, datapoints=200, most_bytes=40_000)
    before = path.stat().st_size
    with closing(database.connect(path, 2**26)) as connection:
        log_bytes = (tmp_path / "spool.db-wal").stat().st_size
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert log_bytes < before / 4
    assert path.stat().st_size - before < before / 20


def test_rows_that_an_older_version_lost_are_counted_as_buried(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    write_older(path, 2, datapoints=5)
    before = read_content(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = seq + 3")
    database.connect(path, 2**26).close()
    after = read_content(path)
    assert after.tally == {**before.tally, "buried": 3}
    assert after.last_seq == sum(after.tally.values()) + len(after.datapoints)


def test_a_disk_that_is_too_full_for_the_upgrade_is_said_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    write_older(path, 2, datapoints=200, most_bytes=300)
    before = read_content(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(sqlite3.OperationalError, match=r"the disk is full: to upgrade .* MB") as caught:
            migration.migrate(connection, local.TABLES)
        assert failure_kind(caught.value) is FailureKind.FULL
    assert read_content(path) == before
    check_upgraded(tmp_path, before)


def test_a_damaged_row_of_an_older_file_is_damage_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    write_older(path, 2, datapoints=5)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")  # a flipped bit needs no permission
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'stream        TEXT NOT NULL', 'stream TEXT')")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE datapoint SET stream = NULL WHERE seq = 2")
        with pytest.raises(Malformed, match="older format"):
            migration.migrate(connection, local.TABLES)


def test_the_command_line_asks_to_start_the_daemon_first_for_an_older_file(tmp_path: Path) -> None:
    write_format_1(tmp_path / "spool.db")
    before = (tmp_path / "spool.db").read_bytes()
    for look in (lambda: admin.list_rows(tmp_path / "spool.db"), lambda: admin.drop(tmp_path / "spool.db", None)):
        with pytest.raises(SpoolUnusable, match="older framesift"):
            look()
    assert (tmp_path / "spool.db").read_bytes() == before
