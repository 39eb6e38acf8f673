"""`framesift spool recover`: what a file that was set aside still has comes back into the spool, each once."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.limits import Limit, Window
from framesift.spool import FinalOutcome, NotAccepted, Spool, SpoolUnusable, State, taken
from framesift.spool.page_file import PAGE_BYTES
from framesift.spool.recover import Recovery, SpoolPlace, recover
from rigs.daemon import framesift, write_configuration
from rigs.spools import accepted, make_spool, put, quota

DAILY = (Window.DAILY, 12)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def filled(folder: Path, clock: ManualClock, number: int = 10) -> tuple[Spool, list[str]]:
    """An open spool with so many datapoints, and their ids."""
    folder.mkdir(exist_ok=True)
    spool = make_spool(folder, clock)
    spool.open()
    quotas = [quota("a", DAILY)]
    jpegs = [b"picture %d" % n for n in range(number)]
    return spool, [accepted(put(spool, clock, quotas, score=0.5, tags=("x",), jpeg=jpeg)) for jpeg in jpegs]


def set_aside(spool: Spool) -> Path:
    """Closes the spool and sets its file aside, as an older version did that could read nothing of it."""
    spool.close()
    aside = spool.path.with_name("spool.db.corrupt-1")
    spool.path.rename(aside)
    return aside


def place(spool: Spool) -> SpoolPlace:
    return SpoolPlace(spool.path, 2**28, 0)


def reopened(folder: Path, clock: ManualClock) -> Spool:
    spool = make_spool(folder, clock)
    spool.open()
    return spool


def test_a_file_that_was_set_aside_gives_all_its_datapoints_back_while_the_daemon_runs(
    tmp_path: Path, clock: ManualClock
) -> None:
    spool, ids = filled(tmp_path, clock)
    aside = set_aside(spool)
    spool = reopened(tmp_path, clock)
    assert recover(place(spool), aside, clock.now()) == Recovery(taken=10)
    assert sorted(row.id for row in spool.list_rows(State.READY)) == sorted(ids)
    items = spool.claim(20).items
    assert {(item.tags, item.score, item.tried) for item in items} == {(("x",), 0.5, 2)}
    assert all(spool.read_jpeg(item.id) for item in items)
    spool.close()
    reopened(tmp_path, clock).close()
    assert len(list(tmp_path.glob("spool.db.corrupt-*"))) == 1, "the spool is as its checks want it"


def test_a_second_time_nothing_changes_even_when_they_were_delivered_meanwhile(
    tmp_path: Path, clock: ManualClock
) -> None:
    spool, _ = filled(tmp_path, clock)
    aside = set_aside(spool)
    spool = reopened(tmp_path, clock)
    recover(place(spool), aside, clock.now())
    for item in spool.claim(4).items:
        spool.complete(item.id)
    assert recover(place(spool), aside, clock.now()) == Recovery(known=10)
    assert len(spool.list_rows()) == 6
    spool.close()


def test_what_the_salvage_saved_is_not_taken_again_after_its_delivery(tmp_path: Path, clock: ManualClock) -> None:
    spool, _ = filled(tmp_path, clock, 12)
    spool.close()
    with closing(sqlite3.connect(spool.path)) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'delivery_to_claim'").fetchone()
    content = bytearray(spool.path.read_bytes())
    content[(root - 1) * PAGE_BYTES : root * PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    spool.path.write_bytes(content)
    spool = reopened(tmp_path, clock)
    (aside,) = tmp_path.glob("spool.db.corrupt-*")
    for item in spool.claim(20).items:
        spool.complete(item.id)
    assert spool.outcome_counts()[FinalOutcome.DELIVERED] == 12
    assert recover(place(spool), aside, clock.now()) == Recovery(known=12)
    spool.close()


def test_without_a_record_what_was_sent_to_a_sink_with_limits_is_known(tmp_path: Path, clock: ManualClock) -> None:
    spool, _ = filled(tmp_path, clock)
    spool.close()
    aside = tmp_path / "spool.db.corrupt-1"
    shutil.copy(spool.path, aside)
    spool = reopened(tmp_path, clock)
    for item in spool.claim(3, [Limit(Window.DAILY, 100)]).items:  # others recognise it by its id
        spool.complete(item.id)
    assert recover(place(spool), aside, clock.now()) == Recovery(known=10)
    spool.close()


def test_their_charges_come_along_and_create_no_quota(tmp_path: Path, clock: ManualClock) -> None:
    spool, _ = filled(tmp_path, clock, 10)
    aside = set_aside(spool)
    spool = reopened(tmp_path, clock)
    recover(place(spool), aside, clock.now())
    granted = [put(spool, clock, [quota("a", DAILY)]) for _ in range(5)]
    assert sum(not isinstance(answer, NotAccepted) for answer in granted) == 2
    spool.close()


def test_a_wrong_picture_and_changed_facts_are_not_taken(tmp_path: Path, clock: ManualClock) -> None:
    spool, _ = filled(tmp_path, clock, 3)
    aside = set_aside(spool)
    with closing(sqlite3.connect(aside)) as raw:
        raw.execute("UPDATE picture SET bytes = x'00' WHERE number = 1")
        raw.commit()
    aside.write_bytes(aside.read_bytes().replace(b'["x"]', b'["y"]', 1))
    spool = reopened(tmp_path, clock)
    assert recover(place(spool), aside, clock.now()) == Recovery(taken=1, unreadable=2)
    spool.close()


def test_a_full_spool_takes_no_more_and_goes_on_later(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    for _ in range(20):
        accepted(put(spool, clock, jpeg=b"\xff" * 150_000))
    aside = set_aside(spool)
    spool = make_spool(tmp_path, clock, max_bytes=2**21)
    spool.open()
    small = SpoolPlace(spool.path, 2**21, 0)
    first = recover(small, aside, clock.now())
    assert first.taken > 3
    assert first.no_room == 20 - first.taken
    for item in spool.claim(20).items:
        spool.complete(item.id)
    second = recover(small, aside, clock.now())
    assert second.known == first.taken
    assert second.taken > 3
    spool.close()


def test_buried_datapoints_stay_buried_and_waiting_ones_wait_no_longer(tmp_path: Path, clock: ManualClock) -> None:
    spool, _ = filled(tmp_path, clock, 3)
    first, second, third = spool.claim(3).items
    spool.bury(first.id, "refused")
    spool.retry_later(second.id, clock.now().wall_s + 3600, "busy")
    spool.mark_registered(third.id, "image-3")
    aside = set_aside(spool)
    spool = reopened(tmp_path, clock)
    assert recover(place(spool), aside, clock.now()) == Recovery(taken=3)
    states = {row.id: row.state for row in spool.list_rows()}
    assert states == {first.id: State.BURIED, second.id: State.READY, third.id: State.REGISTERED}
    spool.close()


def test_the_spool_itself_and_what_is_no_spool_are_refused(tmp_path: Path, clock: ManualClock) -> None:
    spool, _ = filled(tmp_path, clock, 1)
    with pytest.raises(SpoolUnusable, match="the spool itself"):
        recover(place(spool), spool.path, clock.now())
    (tmp_path / "text").write_text("no spool" * 1000)
    with pytest.raises(SpoolUnusable, match="no datapoints"):
        recover(place(spool), tmp_path / "text", clock.now())
    with pytest.raises(SpoolUnusable, match="no such file"):
        recover(place(spool), tmp_path / "nothing", clock.now())
    with pytest.raises(SpoolUnusable, match="is a folder, not a file"):
        recover(place(spool), tmp_path, clock.now())
    assert not taken.path_beside(tmp_path / "text").exists()
    spool.close()


def test_the_command_prints_what_was_taken_and_ends_with_1_when_there_is_no_room(
    tmp_path: Path, clock: ManualClock
) -> None:
    spool, _ = filled(tmp_path, clock, 3)
    aside = set_aside(spool)
    spool = reopened(tmp_path, clock)
    write_configuration(tmp_path, {})
    words = ("spool", "recover", str(aside), "--config", "framesift.yaml")
    done = framesift(tmp_path, *words)
    assert (done.returncode, done.stdout) == (0, "3 taken back, 0 known already, 0 can't be read\n")
    assert framesift(tmp_path, *words).stdout == "0 taken back, 3 known already, 0 can't be read\n"
    done = framesift(tmp_path, "spool", "recover", "nothing", "--config", "framesift.yaml")
    assert (done.returncode, "no such file" in done.stderr) == (2, True)
    spool.close()
