"""Upgrades of spool files that end with SIGKILL at a random moment, and what is in the file afterwards."""

from __future__ import annotations

import random
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from clocks import ManualClock
from framesift.spool import schema
from rigs.older_spools import Content, read_content, write_older
from rigs.spools import RecordedReports, make_spool

CHILD = Path(__file__).parent / "spool_upgrade_child.py"


def kill_upgrades(folder: Path, version: int, number: int, *, datapoints: int, seed: int = 1) -> Counter[str]:
    """Upgrades copies of one file, kills each upgrade, and opens the file again. Returns how the kills found the files.

    Half of the kills come at a random time, half when the log has grown to a random size. Raises AssertionError where
    anything is missing.
    """
    chance = random.Random(seed)
    older = folder / "older.db"
    write_older(older, version, datapoints=datapoints, seed=seed)
    before = read_content(older)
    whole_s, log_bytes = _measure(folder, older)
    found: Counter[str] = Counter()
    for n in range(number):
        home = folder / f"upgrade-{n}"
        home.mkdir()
        shutil.copy(older, home / "spool.db")
        if chance.random() < 0.5:
            said = _kill(home, after_s=chance.uniform(0.0, 1.1 * whole_s))
        else:
            said = _kill(home, log_bytes=chance.randrange(1, log_bytes))
        # Read only, so that the log stays as the kill left it.
        with closing(sqlite3.connect(f"{(home / 'spool.db').as_uri()}?mode=ro", uri=True)) as connection:
            (version_now,) = connection.execute("PRAGMA user_version").fetchone()
        assert version_now in (version, schema.VERSION)
        state = "before the upgrade" if version_now == version else "after it"
        size = (home / "spool.db-wal").stat().st_size if (home / "spool.db-wal").exists() else 0
        found[f"{state}, {'ready' if said else 'not yet ready'}, {'log' if size else 'no log'}"] += 1
        check_upgraded(home, before)
        shutil.rmtree(home)
    return found


def check_upgraded(folder: Path, before: Content) -> None:
    """Opens the spool, and compares everything with what the older file contained."""
    reports = RecordedReports()
    spool = make_spool(folder, ManualClock(), report=reports)
    spool.open()
    spool.close()
    assert [name for name in reports.names() if name != "spool_buried"] == []
    after = read_content(folder / "spool.db")
    assert after.datapoints == {id: _released(values) for id, values in before.datapoints.items()}
    assert after.pictures == before.pictures
    assert after.charges == before.charges
    assert (after.tally, after.classes) == (before.tally, before.classes)
    assert [send[:3] for send in after.sends] == [send[:3] for send in before.sends]
    assert {table: after.others[table] for table in before.others} == before.others
    assert after.last_seq == before.last_seq


def _released(values: tuple[object, ...]) -> tuple[object, ...]:
    """After a start, nothing is being sent."""
    return tuple("ready" if value == "sending" else value for value in values)


def _measure(folder: Path, older: Path) -> tuple[float, int]:
    """How long an upgrade takes, and how large its log gets."""
    home = folder / "measured"
    home.mkdir()
    shutil.copy(older, home / "spool.db")
    with _started(home) as child:
        begun_s = time.monotonic()
        assert child.stdout is not None
        child.stdout.readline()
        whole_s = time.monotonic() - begun_s
        log_bytes = (home / "spool.db-wal").stat().st_size
        child.kill()
    shutil.rmtree(home)
    return whole_s, log_bytes


def _started(home: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "opens\n"
    return child


def _kill(home: Path, *, after_s: float = 60.0, log_bytes: int | None = None) -> str:
    """Kills the upgrade after a time, or as soon as its log has a size. Returns what it had said."""
    wal = home / "spool.db-wal"
    with _started(home) as child:
        assert child.stdout is not None
        end_s = time.monotonic() + after_s
        if log_bytes is None:
            select.select([child.stdout], [], [], max(0.0, end_s - time.monotonic()))
        while log_bytes is not None and time.monotonic() < end_s:
            if wal.exists() and wal.stat().st_size >= log_bytes:
                break
        child.kill()
        return child.stdout.read()
