"""A damaged spool file: damaged datapoints are buried and counted, all others are delivered."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clocks import ManualClock
from exhaustive import some_of
from framesift.limits import Window
from framesift.spool import FinalOutcome, NotAccepted, Spool, SpoolBroken, State
from framesift.spool.page_file import PAGE_BYTES
from rigs.spools import BATCH, RecordedReports, accepted, make_spool, put, quota


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def filled(folder: Path, clock: ManualClock, number: int = 40) -> list[str]:
    """A closed spool with so many datapoints of three pages each; their ids."""
    spool = make_spool(folder, clock)
    spool.open()
    ids = [accepted(put(spool, clock, [quota("a", (Window.DAILY, 100))], jpeg=picture(n))) for n in range(number)]
    spool.close()
    return ids


def picture(number: int) -> bytes:
    return b"picture %d " % number * 900


def reopened(folder: Path, clock: ManualClock, reports: RecordedReports | None = None) -> Spool:
    spool = make_spool(folder, clock, report=reports or RecordedReports())
    spool.open()
    return spool


def pages_of(path: Path, table: str) -> list[int]:
    """Numbers (from 0) of the leaf pages of a small table or index: its root, or the root's children.

    The format: https://www.sqlite.org/fileformat2.html#b_tree_pages
    """
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    page = path.read_bytes()[(root - 1) * PAGE_BYTES : root * PAGE_BYTES]
    if page[0] in (0x0A, 0x0D):  # a leaf of an index, of a table
        return [int(root) - 1]
    cells = [int.from_bytes(page[12 + 2 * n : 14 + 2 * n], "big") for n in range(int.from_bytes(page[3:5], "big"))]
    children = [page[cell : cell + 4] for cell in cells] + [page[8:12]]
    return [int.from_bytes(child, "big") - 1 for child in children]


def scribble(path: Path, page: int, what: bytes = b"\xa5") -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write((what * PAGE_BYTES)[:PAGE_BYTES])


def deliver_all(spool: Spool) -> dict[str, bytes]:
    """Claims and reads everything that can be delivered."""
    delivered: dict[str, bytes] = {}
    while items := spool.claim(3).items:
        for item in items:
            try:
                delivered[item.id] = spool.read_jpeg(item.id)
            except SpoolBroken:
                continue
            spool.complete(item.id)
    return delivered


def test_a_changed_picture_is_buried_and_the_others_are_delivered(tmp_path: Path, clock: ManualClock) -> None:
    ids = filled(tmp_path, clock, 3)
    path = tmp_path / "spool.db"
    content = path.read_bytes()
    assert content.count(b"picture 1 picture 1 ") > 0
    path.write_bytes(content.replace(b"picture 1 picture 1 ", b"picture 1 picture 7 ", 1))
    reports = RecordedReports()
    spool = reopened(tmp_path, clock, reports)
    assert sorted(deliver_all(spool)) == sorted([ids[0], ids[2]])
    (buried,) = spool.list_rows(State.BURIED)
    assert (buried.id, buried.why) == (ids[1], "its picture is damaged: it is not what was stored")
    assert reports.names() == ["spool_damaged", "spool_buried"]
    spool.close()


def test_a_changed_prediction_is_buried(tmp_path: Path, clock: ManualClock) -> None:
    filled(tmp_path, clock, 1)
    path = tmp_path / "spool.db"
    path.write_bytes(path.read_bytes().replace(b'"class":"car"', b'"class":"cat"'))
    spool = reopened(tmp_path, clock)
    assert deliver_all(spool) == {}
    assert spool.counts().buried == 1
    spool.close()


def test_a_file_that_is_no_database_is_moved_aside_and_kept(tmp_path: Path, clock: ManualClock) -> None:
    filled(tmp_path, clock, 3)
    path = tmp_path / "spool.db"
    garbage = b"garbage" * 5000
    path.write_bytes(garbage)
    reports = RecordedReports()
    spool = reopened(tmp_path, clock, reports)
    (aside,) = tmp_path.glob("spool.db.corrupt-*")
    assert aside.read_bytes() == garbage
    assert reports.names() == ["spool_moved_aside"]
    assert reports.events[0][1]["path"] == str(aside)
    # The charges are unknown now: strategies with limits have no quota left in the open windows.
    assert isinstance(put(spool, clock, [quota("a", (Window.DAILY, 1000))]), NotAccepted)
    accepted(put(spool, clock))
    clock.advance(12 * 3600)
    accepted(put(spool, clock, [quota("a", (Window.DAILY, 1000))]))
    spool.close()
    # From here on it is an ordinary spool.
    reopened(tmp_path, clock).close()
    assert len(list(tmp_path.glob("spool.db.corrupt-*"))) == 1


def test_an_empty_file_is_a_new_spool(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "spool.db").touch()
    spool = reopened(tmp_path, clock)
    accepted(put(spool, clock))
    spool.close()
    assert not list(tmp_path.glob("*corrupt*"))


def test_a_truncated_file_starts_and_keeps_its_charges(tmp_path: Path, clock: ManualClock) -> None:
    filled(tmp_path, clock)
    path = tmp_path / "spool.db"
    size_bytes = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size_bytes - 4 * PAGE_BYTES)
    spool = reopened(tmp_path, clock)
    delivered = deliver_all(spool)
    assert len(delivered) >= 36
    assert len(delivered) + spool.counts().buried + spool.outcome_counts()[FinalOutcome.BURIED] == 40
    accepted(put(spool, clock))
    spool.close()


@pytest.mark.parametrize(
    "table",
    some_of(
        ["datapoint", "delivery", "picture", "charge", "delivery_to_claim", "delivery_to_evict", "tally"],
        lambda table: table in ("datapoint", "delivery", "picture"),
    ),
)
@pytest.mark.parametrize("what", [b"\xa5", b"\x00"])
def test_with_any_page_damaged_it_starts_and_delivers_the_rest(
    tmp_path: Path, clock: ManualClock, table: str, what: bytes
) -> None:
    ids = filled(tmp_path, clock)
    path = tmp_path / "spool.db"
    pages = pages_of(path, table)
    scribble(path, pages[len(pages) // 2], what)
    spool = reopened(tmp_path, clock)
    delivered: dict[str, bytes] = {}
    for _ in range(10):  # each damage that is found is repaired, by salvage into a new file
        try:
            delivered |= deliver_all(spool)
            break
        except SpoolBroken:
            continue
    assert all(delivered[id] == picture(ids.index(id)) for id in delivered)
    per_page = {"datapoint": 25, "delivery": 60, "picture": 3}.get(table, 0)
    assert len(delivered) >= 40 - per_page
    outcomes = spool.outcome_counts()
    assert outcomes[FinalOutcome.DELIVERED] == len(delivered)
    assert len(delivered) + outcomes[FinalOutcome.BURIED] + spool.counts().buried == 40
    # Never more than the limit, also if charges are lost: forty were charged, the limit is a hundred.
    more = sum(not isinstance(put(spool, clock, [quota("a", (Window.DAILY, 100))]), NotAccepted) for _ in range(70))
    assert more == (0 if table == "charge" else 60)
    assert spool.health.problem is None
    spool.close()


def test_lost_charges_do_not_make_room_in_a_batch_that_the_platform_counts(tmp_path: Path, clock: ManualClock) -> None:
    ids = filled(tmp_path, clock)
    spool = reopened(tmp_path, clock)
    assert sorted(deliver_all(spool)) == sorted(ids)
    spool.record_batch_size(BATCH, 45, spool.batch_left_spool(BATCH))
    spool.close()
    path = tmp_path / "spool.db"
    for page in pages_of(path, "charge"):
        scribble(path, page)
    spool = reopened(tmp_path, clock)
    spool.quota_usage()
    for _ in range(10):  # the damage is found and repaired
        try:
            answers = [put(spool, clock, [quota("other", batch_images=50)]) for _ in range(20)]
            break
        except SpoolBroken:
            continue
    assert sum(not isinstance(answer, NotAccepted) for answer in answers) == 5
    spool.close()


def test_damage_found_while_running_is_repaired_while_running(tmp_path: Path, clock: ManualClock) -> None:
    ids = filled(tmp_path, clock)
    reports = RecordedReports()
    spool = reopened(tmp_path, clock, reports)
    path = tmp_path / "spool.db"
    pages = pages_of(path, "delivery_to_claim")
    for page in pages:
        scribble(path, page)
    # The writer's cached pages are still good; a longer read makes it read the disk.
    for _ in range(10):
        try:
            delivered = deliver_all(spool)
            break
        except SpoolBroken:
            continue
    assert sorted(delivered) == sorted(ids)
    accepted(put(spool, clock))
    assert spool.health.problem is None
    spool.close()


def test_a_killed_salvage_starts_again(tmp_path: Path, clock: ManualClock) -> None:
    filled(tmp_path, clock, 5)
    path = tmp_path / "spool.db"
    scribble(path, 0)
    (tmp_path / "spool.db.salvage").write_bytes(b"half a file")
    (tmp_path / "spool.db.salvage-wal").write_bytes(b"half a log")
    (tmp_path / "spool.db.salvaged").write_bytes(b"worthless while the old one is in place")
    spool = reopened(tmp_path, clock)
    accepted(put(spool, clock))
    spool.close()
    assert not list(tmp_path.glob("*salvage*"))


def test_a_salvage_killed_between_two_renames_is_completed(tmp_path: Path, clock: ManualClock) -> None:
    ids = filled(tmp_path, clock, 3)
    (tmp_path / "spool.db").rename(tmp_path / "spool.db.salvaged")
    spool = reopened(tmp_path, clock)
    assert sorted(deliver_all(spool)) == sorted(ids)
    spool.close()


def test_two_damages_in_the_same_second_keep_both_files(tmp_path: Path, clock: ManualClock) -> None:
    filled(tmp_path, clock, 1)
    for _ in range(2):
        (tmp_path / "spool.db").write_bytes(b"garbage" * 1000)
        reopened(tmp_path, clock).close()
    assert len(list(tmp_path.glob("spool.db.corrupt-*"))) == 2


def test_quarantined_dates_of_the_limits_are_no_damage(tmp_path: Path, clock: ManualClock) -> None:
    reports = RecordedReports()
    for boot in range(10):  # each with a clock that is behind the one before
        spool = reopened(tmp_path, clock, reports)
        accepted(put(spool, clock, [quota(f"strategy {boot}", (Window.DAILY, 1))]))
        spool.close()
        clock.reboot(f"boot {boot}")
        clock.step_wall(-3600.0)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
        latest = connection.execute("SELECT max(at_s) FROM charge").fetchone()[0]
    assert latest > 253_402_214_400  # the end of Python's calendar: these dates are quarantined
    assert reports.events == []
