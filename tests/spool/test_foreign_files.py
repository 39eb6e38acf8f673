"""A path of the spool that names a file of somebody else: it is refused and stays as it is. What was a spool is not."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.spool import SpoolUnusable, admin
from framesift.spool.downgrade import downgrade
from framesift.spool.page_file import PAGE_BYTES
from rigs.spools import RecordedReports, accepted, make_spool, put

OTHERS = {
    "a text": b"sampling_strategies: []\n" * 50,
    "a short text": b"device: gate-7\n",
    "a video": random.Random(1).randbytes(3_000_000),
    "a picture in a sparse file": bytes(300_000) + b"\xff\xd8 a picture \xff\xd9",
}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def filled(folder: Path, number: int = 5) -> set[str]:
    """A closed spool; the ids of its datapoints."""
    clock = ManualClock()
    spool = make_spool(folder, clock)
    spool.open()
    ids = {accepted(put(spool, clock, jpeg=b"\xff\xd8 a picture" * 500)) for _ in range(number)}
    spool.close()
    return ids


def without_others(folder: Path) -> Path:
    """Takes all files of the spool away but the database."""
    for path in folder.iterdir():
        if path.name != "spool.db":
            path.unlink()
    return folder / "spool.db"


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_no_database_and_never_was_a_spool_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(OTHERS[name])
    refused = f"{path} is no spool of framesift, and was not changed: give the spool a path of its own"
    for _ in range(2):  # the first refusal leaves nothing that the second takes for a spool's
        with pytest.raises(SpoolUnusable, match=refused):
            make_spool(tmp_path, ManualClock()).open()
    for command in (admin.list_rows, lambda path: admin.drop(path, None), lambda path: downgrade(path, ManualClock())):
        with pytest.raises(SpoolUnusable, match=refused):
            command(path)
    assert content(tmp_path) == {"spool.db": OTHERS[name]}


def test_another_programs_database_is_refused_and_kept_though_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    for damaged in (before, before[:100] + random.Random(1).randbytes(len(before) - 100), before[:200]):
        path.write_bytes(damaged)
        with pytest.raises(SpoolUnusable, match="no spool of framesift"):
            make_spool(tmp_path, ManualClock()).open()
        assert content(tmp_path) == {"spool.db": damaged}


def test_a_folder_is_refused_before_anything_is_made_beside_it(tmp_path: Path) -> None:
    (tmp_path / "spool.db").mkdir()
    with pytest.raises(SpoolUnusable, match="is a folder, and the spool needs a file of its own"):
        make_spool(tmp_path, ManualClock()).open()
    assert [path.name for path in tmp_path.iterdir()] == ["spool.db"]


def test_a_copy_of_a_spool_whose_first_page_is_lost_is_known_by_its_identity(tmp_path: Path) -> None:
    ids = filled(tmp_path)
    path = without_others(tmp_path)
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(PAGE_BYTES))
    spool = make_spool(tmp_path, ManualClock())
    spool.open()
    assert {row.id for row in spool.list_rows()} == ids
    spool.close()


@pytest.mark.parametrize(
    "left", [bytes(5000), b"\xff" * 5000, bytes(10), b"SQLite f", b"SQLite format 3\0" + bytes(50)]
)
def test_a_file_in_which_nothing_is_left_begins_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "spool.db").write_bytes(left)
    reports = RecordedReports()
    spool = make_spool(tmp_path, ManualClock(), report=reports)
    spool.open()
    accepted(put(spool, ManualClock()))
    spool.close()
    assert reports.names() == ["spool_moved_aside"]


@pytest.mark.parametrize("beside", ["spool.db.lock", "spool.db.reserve"])
def test_whatever_became_of_its_content_a_lock_or_a_reserve_beside_it_shows_that_it_was_a_spool(
    tmp_path: Path, beside: str
) -> None:
    filled(tmp_path)
    kept = (tmp_path / beside).read_bytes()
    path = without_others(tmp_path)
    (tmp_path / beside).write_bytes(kept)
    path.write_bytes(OTHERS["a text"])
    reports = RecordedReports()
    spool = make_spool(tmp_path, ManualClock(), report=reports)
    spool.open()
    spool.close()
    assert reports.names() == ["spool_moved_aside"]
