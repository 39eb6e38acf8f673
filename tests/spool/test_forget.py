"""Forgetting rows, and overwriting what they leave: no byte of a picture that is gone is in any file of the spool."""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import ManualClock
from exhaustive import some_of
from framesift.clock.clock import SystemClock
from framesift.datapoint import Selection
from framesift.spool import FinalOutcome, Spool, State, WhenFull, database
from framesift.spool.forget import ForgottenRows, find_rows, forget_rows, scrub_spool
from rigs.spools import make_spool, prediction, put

MARK = re.compile(rb"<([0-9a-f]{6})>")


def picture(number: int, size_bytes: int) -> bytes:
    """Bytes of which any sixteen say whose they are."""
    return b"<%06x>" % number * (size_bytes // 8)


def found_in_files(folder: Path) -> set[int]:
    """The numbers of all pictures of which any bytes are in the files of a spool."""
    return {int(mark, 16) for path in folder.glob("spool.db*") for mark in MARK.findall(path.read_bytes())}


def whole(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = make_spool(tmp_path, clock)
    spool.open()
    yield spool
    spool.close()


def churn(spool: Spool, clock: ManualClock, seed: int) -> dict[str, int]:
    """Puts, delivers, evicts and drops many rows of very different sizes. Returns the number of each that is left."""
    chance = random.Random(seed)
    numbers: dict[str, int] = {}
    for number in range(1, 250):
        size = chance.choice([400, 3000, 4060, 9000, 60_000, 150_000])
        id = f"{number:032x}"
        numbers[id] = number
        what = prediction(*["car"] * chance.choice([0, 3, 60]))
        put(spool, clock, id=id, jpeg=picture(number, size), what=what, score=chance.random())
        if chance.random() < 0.5:
            for item in spool.claim(1).items:
                spool.complete(item.id)
    left = {row.id for row in spool.list_rows(limit=1000)}
    return {id: number for id, number in numbers.items() if id in left}


@pytest.mark.parametrize("seed", some_of(range(4), lambda seed: seed == 0))
def test_only_bytes_of_rows_that_are_left_are_in_the_files(tmp_path: Path, clock: ManualClock, seed: int) -> None:
    spool = make_spool(tmp_path, clock, max_bytes=6 * 2**20, when_full=WhenFull.EVICT_OLDEST)
    spool.open()
    left = churn(spool, clock, seed)
    spool.close()
    gone = set(range(1, 250)) - set(left.values())
    forgotten = {id for id in left if random.Random(id).random() < 0.5}
    assert len(found_in_files(tmp_path) & gone) > 10, "without this, nothing is shown"

    done = forget_rows(spool.path, Selection(ids=frozenset(forgotten)), daemon_runs=False)
    scrubbed = scrub_spool(spool.path, SystemClock())

    assert set(done.ids) == forgotten
    assert scrubbed.bytes > 0
    assert scrubbed.unread_pages == 0
    kept = {number for id, number in left.items() if id not in forgotten}
    assert found_in_files(tmp_path) == kept
    assert whole(spool.path)
    assert scrub_spool(spool.path, SystemClock()).bytes == 0, "a second time changes nothing"
    spool.open()
    assert spool.outcome_counts()[FinalOutcome.DROPPED] == len(forgotten)
    while items := spool.claim(10).items:
        for item in items:
            number = left[item.id]
            assert spool.read_jpeg(item.id) == picture(number, item.size_bytes)
            spool.complete(item.id)
    assert spool.counts().ready == 0
    spool.close()


def test_a_step_at_a_time_does_the_same(tmp_path: Path, clock: ManualClock) -> None:
    """A clock by which each look is a second later: every step ends after one page."""

    class Hurried(ManualClock):
        def monotonic(self) -> float:
            self.advance(0.3)
            return super().monotonic()

    spool = make_spool(tmp_path, clock, max_bytes=2**21, when_full=WhenFull.EVICT_OLDEST)
    spool.open()
    left = churn(spool, clock, 9)
    spool.close()
    scrub_spool(spool.path, Hurried())
    assert found_in_files(tmp_path) == set(left.values())
    assert whole(spool.path)


def test_a_daemon_does_not_write_back_pages_that_it_remembers(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    for number in range(1, 60):
        put(spool, clock, id=f"{number}", jpeg=picture(number, 160))
    spool.close()
    with contextlib.closing(database.connect(spool.path, 2**24)) as other:
        forget_rows(spool.path, Selection(ids=frozenset(map(str, range(1, 60, 2)))), daemon_runs=True)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("SELECT sum(length(bytes)) FROM picture").fetchall()  # now it has all pages in memory
        assert found_in_files(tmp_path) & set(range(1, 60, 2))
        scrub_spool(spool.path, SystemClock())
        other.execute("UPDATE picture SET hash = randomblob(16)")
        assert found_in_files(tmp_path) == set(range(2, 60, 2))


def test_a_stream_is_forgotten_between_two_times_and_no_other_stream(spool: Spool, clock: ManualClock) -> None:
    start_s = clock.now().wall_s
    for number in range(5):
        put(spool, clock, id=f"{number}")
        clock.advance(10.0)
    selection = Selection(stream="gate", since_s=start_s + 10.0, until_s=start_s + 30.0)
    assert find_rows(spool.path, selection, daemon_runs=True).ids == ("1", "2")
    assert spool.counts().ready == 5
    assert find_rows(spool.path, Selection(stream="yard"), daemon_runs=True).ids == ()
    assert forget_rows(spool.path, selection, daemon_runs=True).ids == ("1", "2")
    assert forget_rows(spool.path, selection, daemon_runs=True).ids == ()
    assert [row.id for row in spool.list_rows()] == ["0", "3", "4"]
    assert spool.outcome_counts()[FinalOutcome.DROPPED] == 2


def test_buried_and_registered_rows_go_and_the_sinks_own_ids_are_told(spool: Spool, clock: ManualClock) -> None:
    for id in ("buried", "registered"):
        put(spool, clock, id=id)
        spool.claim(1)
        if id == "buried":
            spool.bury(id, "no use")
        else:
            spool.mark_registered(id, "image-7")
    done = forget_rows(spool.path, Selection(stream="gate"), daemon_runs=True)
    assert sorted(done.ids) == ["buried", "registered"]
    assert done.image_ids == {"registered": "image-7"}
    assert spool.list_rows() == []


def test_what_is_being_sent_stays_while_a_daemon_sends_it(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="a")
    spool.claim(1)
    done = forget_rows(spool.path, Selection(stream="gate"), daemon_runs=True)
    assert (done.ids, done.sending) == ((), ("a",))
    assert [row.id for row in spool.list_rows(State.SENDING)] == ["a"]
    spool.complete("a")
    assert spool.outcome_counts()[FinalOutcome.DELIVERED] == 1


def test_passes_over_what_was_still_being_sent_add_up() -> None:
    first = ForgottenRows(("a",), ("b", "c"), {"b": "7"}, 3, 1)
    later = first.with_later(ForgottenRows(("b",), ("c",), {"c": "8"}, 2, 0))
    assert later == ForgottenRows(("a", "b"), ("c",), {"b": "7", "c": "8"}, 5, 1)


def test_what_a_crash_left_as_being_sent_goes(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock, id="a")
    spool.claim(1)
    spool.close()
    assert forget_rows(spool.path, Selection(stream="gate"), daemon_runs=False).ids == ("a",)


def test_signatures_and_waiting_frames_go_as_well(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    spool.close()
    with contextlib.closing(sqlite3.connect(spool.path)) as connection:
        for number, stream in enumerate(("gate", "yard"), 1):
            connection.execute(
                "INSERT INTO signature (stream, options, number, id, captured_at_s, bytes, checksum)"
                " VALUES (?, '', ?, ?, 5.0, x'00', x'00')",
                (stream, number, stream),
            )
            connection.execute(
                "INSERT INTO held (id, stream, strategy, score, wall_s, boottime_s, boot_id, facts, prediction, bytes,"
                " hash, checksum) VALUES (?, ?, 's', 0.0, 5.0, 0.0, 'b', '{}', '{}', x'00', x'00', x'00')",
                (stream, stream),
            )
        connection.commit()
    done = forget_rows(spool.path, Selection(stream="gate", until_s=6.0), daemon_runs=False)
    assert (done.signatures, done.held) == (1, 1)
    with contextlib.closing(sqlite3.connect(spool.path)) as connection:
        for table in ("signature", "held"):
            assert connection.execute(f"SELECT stream FROM {table}").fetchall() == [("yard",)]


BUSY = """
import random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from framesift.clock.clock import SystemClock
from rigs.spools import make_spool, prediction, put
def picture(number, size):
    return b"<%06x>" % number * (size // 8)
clock, chance = SystemClock(), random.Random(1)
spool = make_spool(Path(sys.argv[1]), clock, max_bytes=2**25)
spool.open()
for number in range(1, 100):
    put(spool, clock, id=f"{number}", jpeg=picture(number, chance.choice([400, 4060, 60_000])), score=0.0)
    if number % 3 == 0:
        for item in spool.claim(1).items:
            spool.complete(item.id)
print("ready", flush=True)
number = 1000
while not sys.stdin.closed and not Path(sys.argv[1], "stop").exists():
    number += 1
    jpeg = picture(number, chance.choice([400, 4060, 60_000]))
    put(spool, clock, id=f"{number}", jpeg=jpeg, score=1.0, what=prediction(*["car"] * chance.choice([0, 60])))
    if chance.random() < 0.8:
        for item in spool.claim(1).items:
            if int(item.id) >= 1000:
                assert spool.read_jpeg(item.id) == picture(int(item.id), item.size_bytes)
            spool.complete(item.id)
left = {row.id: row for row in spool.list_rows(limit=10_000)}
assert not [id for id in left if int(id) < 1000], "they were forgotten"
for item in spool.claim(10_000).items:
    assert spool.read_jpeg(item.id) == picture(int(item.id), item.size_bytes)
spool.close()
print(number - 1000, spool.health.problem, flush=True)
"""


def test_a_spool_that_is_in_use_is_scrubbed_beside_its_daemon(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(tmp_path), str(tests)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert found_in_files(tmp_path) & set(range(1, 100))
        for _ in range(8):
            path = tmp_path / "spool.db"
            forget_rows(path, Selection(ids=frozenset(map(str, range(1, 100)))), daemon_runs=True)
            assert scrub_spool(path, SystemClock()).unread_pages == 0
            assert not found_in_files(tmp_path) & set(range(1, 100))
        (tmp_path / "stop").touch()
        said, problems = child.communicate(timeout=60)
        assert child.returncode == 0, problems
        done, problem = said.split(maxsplit=1)
        assert int(done) > 30, "it went on meanwhile"
        assert problem == "None\n"
    finally:
        child.kill()
        child.communicate()
    assert whole(tmp_path / "spool.db")
