"""A spool can be made one of format 2 again, so that the older version of the program reads it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clocks import NOON_S, ManualClock
from framesift.cli.main import app
from framesift.limits import Window
from framesift.spool import SpoolBroken, SpoolInUse, SpoolUnusable, State, admin, database
from framesift.spool.downgrade import downgrade
from rigs.older_spools import read_content, write_older
from rigs.spools import accepted, make_spool, put, quota


def dump(path: Path) -> tuple[list[str], list[tuple[object, ...]], list[tuple[int]]]:
    """Everything in a file: each row of each table, the list of tables in its order, and the marks in the header."""
    with closing(sqlite3.connect(path)) as connection:
        marks = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "application_id")]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid").fetchall()
        return sorted(connection.iterdump()), tables, marks


def test_an_upgrade_and_a_downgrade_give_the_same_file_again(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    write_older(path, 2, datapoints=40)
    before = dump(path)
    database.connect(path, 2**26).close()
    assert dump(path) != before
    assert downgrade(path, ManualClock()).datapoints == 63  # with those of spool_2.sql
    assert dump(path) == before


def test_a_downgraded_file_has_what_happened_since(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    ids = [accepted(put(spool, clock, [quota("new", (Window.DAILY, 9))], score=number / 10)) for number in range(5)]
    claimed = [item.id for item in spool.claim(4).items]
    spool.complete(claimed[0])
    spool.bury(claimed[1], "refused")
    spool.mark_registered(claimed[2], "theirs")
    spool.retry_later(claimed[3], NOON_S + 60.0, "later")
    spool.close()
    before = read_content(spool.path)
    downgrade(spool.path, clock)
    after = read_content(spool.path)
    assert after == before
    assert {id: values[1] for id, values in after.datapoints.items()} == {
        claimed[1]: "buried",
        claimed[2]: "registered",
        claimed[3]: "ready",
        ids[0]: "ready",
    }
    with closing(sqlite3.connect(spool.path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_row_numbers_go_on_after_the_way_back_and_forth(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    for _ in range(3):
        put(spool, clock)
    for item in spool.claim(3).items:
        spool.complete(item.id)
    spool.close()
    downgrade(spool.path, clock)
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock)
    spool.close()
    with closing(sqlite3.connect(spool.path)) as connection:
        assert connection.execute("SELECT seq FROM datapoint").fetchall() == [(4,)]


def test_what_format_2_has_no_place_for_is_dropped_and_counted(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock)
    spool.close()
    with closing(sqlite3.connect(spool.path, isolation_level=None)) as connection:
        for number in (1, 2, 3):
            connection.execute(
                "INSERT INTO signature (number, stream, options, id, captured_at_s, bytes, checksum)"
                " VALUES (?, 'gate', 'a', ?, 1.0, x'00', x'00')",
                (number, f"id-{number}"),
            )
        connection.execute(
            "INSERT INTO held (id, stream, strategy, score, wall_s, boottime_s, boot_id, facts, prediction, bytes,"
            " hash, checksum) VALUES ('h', 'gate', 'a', 0.5, 1.0, 1.0, 'b', '{}', '{}', x'00', x'00', x'00')"
        )
        connection.execute(
            "INSERT INTO picture (number, hash, prediction, bytes) VALUES (1 + (2 << 48), x'00', '', x'00')"
        )
    done = downgrade(spool.path, clock)
    assert (done.datapoints, done.signatures, done.held, done.pictures) == (1, 3, 1, 1)
    with closing(sqlite3.connect(spool.path)) as connection:
        assert connection.execute("SELECT seq FROM image").fetchall() == [(1,)]


def test_a_damaged_row_is_buried_and_the_others_are_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    ids = [accepted(put(spool, clock)) for _ in range(3)]
    spool.close()
    with closing(sqlite3.connect(spool.path, isolation_level=None)) as connection:
        connection.execute("UPDATE delivery SET attempts = 16384 WHERE seq = 2")
        connection.execute("UPDATE datapoint SET width = 65 WHERE seq = 3")
    downgrade(spool.path, clock)
    states = {id: values[1] for id, values in read_content(spool.path).datapoints.items()}
    assert states == {ids[0]: "ready", ids[1]: "buried", ids[2]: "buried"}


def test_it_is_refused_while_a_daemon_runs_and_for_another_format(tmp_path: Path) -> None:
    clock = ManualClock(waiters=1)
    spool = make_spool(tmp_path, clock)
    spool.open()
    with pytest.raises(SpoolInUse, match="in use by"):
        downgrade(spool.path, clock)
    spool.close()
    downgrade(spool.path, clock)
    before = dump(spool.path)
    with pytest.raises(SpoolUnusable, match="has format 2"):
        downgrade(spool.path, clock)
    assert dump(spool.path) == before


def test_a_failing_downgrade_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    clock = ManualClock()
    path = tmp_path / "spool.db"
    write_older(path, 2, datapoints=10)
    database.connect(path, 2**26).close()
    with closing(sqlite3.connect(path)) as connection:  # no version has this index: format 2 can't have its name twice
        connection.execute("CREATE VIEW datapoint_to_claim AS SELECT 1")
        connection.commit()
    before = dump(path)
    with pytest.raises((SpoolBroken, sqlite3.Error)):
        downgrade(path, clock)
    assert dump(path) == before


def test_the_command_line_says_what_it_did_and_what_to_do_next(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    write_older(path, 2, datapoints=7)
    older = tmp_path / "older.db"
    shutil.copy(path, older)
    database.connect(path, 2**26).close()
    settings = tmp_path / "framesift.yaml"
    settings.write_text(f"spool: {{path: {path}}}\n")
    done = CliRunner().invoke(app, ["spool", "downgrade", "--config", str(settings)])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "has format 2 again, with 30 datapoints" in said
    assert "install the older version" in said
    assert dump(path) == dump(older)
    with pytest.raises(SpoolUnusable, match="older framesift"):
        admin.list_rows(path, State.READY)
