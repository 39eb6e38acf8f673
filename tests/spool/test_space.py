"""Room in the spool: it stays within its size and leaves the disk alone, and the right ones give way."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.limits import Window
from framesift.spool import FinalOutcome, Spool, SpoolFull, State, WhenFull
from rigs.spools import RecordedReports, accepted, make_spool, put, quota

MIB = 2**20
# With less, two pictures of 100 kB have to go for one, since what a row costs is estimated from above.
ROOM = MIB + 2**15
TESTS = Path(__file__).parents[1]


def opened(folder: Path, clock: ManualClock, **options: object) -> Spool:
    spool = make_spool(folder, clock, **options)
    spool.open()
    return spool


def picture(size_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def in_use_bytes(spool: Spool) -> int:
    counts = spool.counts()
    return counts.live_bytes + counts.wal_bytes


# In the smallest spool the log of one large picture takes a good part of it.
@pytest.mark.parametrize(("max_bytes", "used"), [(MIB, 0.25), (3 * MIB, 0.5), (10 * MIB, 0.7)])
def test_live_pages_and_log_stay_under_max_bytes_whatever_the_sizes(
    tmp_path: Path, max_bytes: int, used: float
) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=max_bytes)
    chance = random.Random(1)
    for number in range(150):
        size_bytes = chance.choice([100, 5_000, 60_000, 250_000])
        accepted(put(spool, clock, jpeg=picture(size_bytes, number)))
        assert in_use_bytes(spool) <= max_bytes
    assert (tmp_path / "spool.db").stat().st_size <= max_bytes
    # It is used, too, while datapoints are thrown away.
    assert spool.counts().live_bytes > max_bytes * used
    assert spool.outcome_counts()[FinalOutcome.EVICTED] + spool.counts().ready == 150
    spool.close()


def test_the_lowest_score_gives_way_and_of_equals_the_oldest(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=ROOM, when_full=WhenFull.EVICT_LOWEST)
    scores: list[tuple[str, float | None]] = [("none", None), ("half", 0.5), ("half too", 0.5), ("minus", -1.0)]
    for id, score in scores:
        put(spool, clock, id=id, score=score, jpeg=picture(100_000))
    gone: list[str] = []
    for number in range(20):
        put(spool, clock, id=f"good {number}", score=0.9, jpeg=picture(100_000))
        left = {row.id for row in spool.list_rows()}
        gone += [id for id, _ in scores if id not in left and id not in gone]
    assert gone == ["minus", "none", "half", "half too"]
    spool.close()


def test_the_oldest_gives_way_whatever_its_score(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=MIB, when_full=WhenFull.EVICT_OLDEST)
    for number in range(20):
        put(spool, clock, id=str(number), score=-float(number), jpeg=picture(100_000))
    left = [int(row.id) for row in spool.list_rows()]
    assert left == list(range(20 - len(left), 20))
    spool.close()


def test_the_new_one_is_refused_where_nobody_is_to_give_way(tmp_path: Path) -> None:
    clock, told = ManualClock(), RecordedReports()
    spool = opened(tmp_path, clock, max_bytes=MIB, when_full=WhenFull.REFUSE, report=told)
    quotas = [quota("a", (Window.DAILY, 100))]
    for _ in range(3):
        put(spool, clock, quotas, jpeg=picture(100_000))
    with pytest.raises(SpoolFull, match=f"max_bytes = {MIB}"):
        put(spool, clock, quotas, jpeg=picture(300_000))
    problem = spool.health.problem
    assert problem is not None
    assert told.names().count("spool_full") == 1
    # The refused one took no credit.
    assert {u.count for u in spool.quota_usage()} == {spool.counts().ready}
    # It recovers by itself once something has left.
    for item in spool.claim(2).items:
        spool.complete(item.id)
    accepted(put(spool, clock, quotas, jpeg=picture(300_000)))
    assert spool.health.problem is None
    assert told.names().count("spool_has_space") == 1
    spool.close()


def test_nobody_better_gives_way_for_something_worse(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=ROOM)
    while not spool.outcome_counts()[FinalOutcome.EVICTED]:
        put(spool, clock, score=0.5, jpeg=picture(100_000))
    before = spool.list_rows()
    with pytest.raises(SpoolFull):
        put(spool, clock, score=0.4, jpeg=picture(100_000))
    assert spool.list_rows() == before
    assert spool.outcome_counts()[FinalOutcome.EVICTED] == 1
    spool.close()


def test_what_is_being_sent_never_gives_way(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=ROOM)
    while not spool.outcome_counts()[FinalOutcome.EVICTED]:
        put(spool, clock, score=0.1, jpeg=picture(100_000))
    sent = {item.id for item in spool.claim(99).items}
    with pytest.raises(SpoolFull):
        put(spool, clock, score=0.9, jpeg=picture(100_000))
    assert {row.id for row in spool.list_rows(State.SENDING)} == sent
    spool.close()


def test_the_buried_give_way_first_and_the_half_delivered_last(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=ROOM)
    put(spool, clock, id="half delivered", score=-1.0, jpeg=picture(100_000))
    spool.claim(1)
    spool.mark_registered("half delivered", "image-1")
    put(spool, clock, id="waits", score=0.0, jpeg=picture(100_000))
    put(spool, clock, id="buried", score=99.0, jpeg=picture(100_000))
    spool.claim(2)
    spool.bury("buried", "why")
    spool.release(["half delivered"])
    gone: list[str] = []
    for number in range(25):
        put(spool, clock, id=str(number), score=1.0, jpeg=picture(100_000))
        left = {row.id for row in spool.list_rows()}
        gone += [id for id in ("half delivered", "waits", "buried") if id not in left and id not in gone]
    assert gone == ["buried", "waits"]
    spool.close()


def test_a_picture_that_could_never_fit_evicts_nobody(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=MIB)
    put(spool, clock, jpeg=picture(100_000))
    with pytest.raises(SpoolFull, match="don't fit"):
        put(spool, clock, jpeg=picture(2 * MIB))
    assert spool.counts().ready == 1
    spool.close()


def test_a_disk_that_others_have_filled_refuses_and_evicts_nobody(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock)
    put(spool, clock)
    spool.close()
    spool = opened(tmp_path, clock, min_free_bytes=2**60)  # no disk has so much
    with pytest.raises(SpoolFull, match="free on the disk"):
        put(spool, clock, score=1.0, jpeg=picture(9 * MIB))
    assert spool.health.problem is not None
    assert spool.counts().ready == 1
    assert len(spool.claim(1).items) == 1  # what is there still gets delivered
    spool.complete(spool.list_rows(State.SENDING)[0].id)
    spool.close()


def test_a_smaller_size_than_before_is_reached_by_evicting(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=8 * MIB)
    for number in range(30):
        put(spool, clock, jpeg=picture(100_000), score=number / 100)
    spool.close()
    spool = opened(tmp_path, clock, max_bytes=2 * MIB)
    accepted(put(spool, clock, id="new", jpeg=picture(100_000), score=0.5))
    assert in_use_bytes(spool) <= 2 * MIB
    assert {"new", spool.claim(1).items[0].id} <= {row.id for row in spool.list_rows()}
    spool.close()


def test_the_reserve_is_made_while_there_is_room(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock)
    put(spool, clock)
    spool.close()
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.glob("*.reserve*")) >= 8 * MIB


def test_no_reserve_is_made_of_space_that_must_stay_free(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, min_free_bytes=2**60)
    spool.claim(1)
    spool.close()
    assert not (tmp_path / "spool.db.reserve").exists()


# A small disk of its own, which only a mount can give. It is made in a namespace, so that nobody else sees it.
ON_A_SMALL_DISK = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import FinalOutcome, SpoolFull
from rigs.spools import RecordedReports, accepted, make_spool, put
disk, clock, told = Path({disk!r}), ManualClock(), RecordedReports()
spool = make_spool(disk, clock, report=told)
spool.open()
ids = [accepted(put(spool, clock, jpeg=bytes(100_000))) for _ in range(20)]
assert (disk / "spool.db.reserve").exists()

# Somebody else fills the disk to the last byte.
with (disk / "other").open("wb", buffering=0) as other:
    for size in (65536, 4096, 1):
        try:
            while True:
                other.write(bytes(size))
        except OSError:
            pass
for _ in range(3):
    try:
        ids.append(accepted(put(spool, clock, jpeg=bytes(6_000_000))))
    except SpoolFull:
        pass
assert spool.health.problem, "health says that it is full"

# What is there is still delivered: the reserve makes room for it.
for item in spool.claim(5).items:
    spool.read_jpeg(item.id)
    spool.complete(item.id)
    ids.remove(item.id)
spool.close()

# A start works, too.
spool = make_spool(disk, clock, report=told)
spool.open()
assert sorted(row.id for row in spool.list_rows()) == sorted(ids), "nothing lost, nothing more"
for item in spool.claim(5).items:
    spool.complete(item.id)
    ids.remove(item.id)

# And it recovers by itself.
(disk / "other").unlink()
clock.advance(40)
ids.append(accepted(put(spool, clock, jpeg=bytes(100_000))))
assert spool.health.problem is None, spool.health
clock.advance(40)
put(spool, clock)
spool.close()
assert (disk / "spool.db.reserve").exists(), "the reserve is made again"
print("well", told.names())
"""


def on_a_small_disk(tmp_path: Path, program: str, options: str) -> str:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "program.py"
    script.write_text(program.format(tests=str(TESTS), disk=str(disk)))
    mount = f"mount -t tmpfs -o {options} tmpfs {disk}"
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "sh", "-c", mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine doesn't let a test mount a small disk of its own")
    done = subprocess.run(
        [*alone, "sh", "-c", f"{mount} && exec {sys.executable} {script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_disk_filled_by_somebody_else_loses_nothing_and_recovers(tmp_path: Path) -> None:
    assert "well" in on_a_small_disk(tmp_path, ON_A_SMALL_DISK, "size=16m")


WORKERS_ON_A_FULL_DISK = """
import random, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from framesift.clock.clock import SystemClock
from framesift.sinks import Delivered
from framesift.upload.uploader import Uploader
from rigs.spools import accepted, make_spool, put
disk, clock = Path({disk!r}), SystemClock()
spool = make_spool(disk, clock)
spool.open()
ids = [accepted(put(spool, clock, jpeg=bytes(100_000))) for _ in range(5)]
with (disk / "other").open("wb", buffering=0) as other:
    for size in (65536, 4096, 1):
        try:
            while True:
                other.write(bytes(size))
        except OSError:
            pass

class Taking:
    def deliver(self, delivery, *, now_s, within_s):
        return Delivered()

ended = []
uploader = Uploader(
    spool, Taking(), workers=2, sink_limits=(), clock=clock, rng=random.Random(1), on_failure=ended.append
)
uploader.start()
for _ in range(200):
    if uploader.is_drained() or ended:
        break
    threading.Event().wait(0.05)
    uploader.wake()
assert not ended, ended
assert uploader.is_drained()
assert uploader.stop(5)
spool.close()
print("well")
"""


def test_a_disk_filled_by_somebody_else_ends_no_worker(tmp_path: Path) -> None:
    assert "well" in on_a_small_disk(tmp_path, WORKERS_ON_A_FULL_DISK, "size=16m")


WITHOUT_INODES = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from rigs.spools import accepted, make_spool, put
disk, clock = Path({disk!r}), ManualClock()
spool = make_spool(disk, clock)
spool.open()
id = accepted(put(spool, clock))
spool.close()
number = 0
try:
    while True:
        (disk / str(number)).touch()
        number += 1
except OSError:
    pass
spool = make_spool(disk, clock)
spool.open()
assert [item.id for item in spool.claim(1).items] == [id]
spool.complete(id)
accepted(put(spool, clock))
spool.close()
print("well")
"""


def test_a_disk_without_inodes_lets_it_start(tmp_path: Path) -> None:
    assert "well" in on_a_small_disk(tmp_path, WITHOUT_INODES, "size=32m,nr_inodes=12")


ON_A_READ_ONLY_DISK = """
import subprocess, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolBroken
from rigs.spools import RecordedReports, accepted, make_spool, put
disk, clock, told = Path({disk!r}), ManualClock(), RecordedReports()
spool = make_spool(disk, clock)
spool.open()
first = accepted(put(spool, clock))
spool.close()
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
spool = make_spool(disk, clock, report=told)
spool.open()
for _ in range(3):
    try:
        put(spool, clock)
        raise AssertionError("accepted on a disk that can't be written to")
    except SpoolBroken:
        pass
assert spool.health.problem and not spool.health.fatal
subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
second = None
for _ in range(100):
    clock.advance(60)
    try:
        second = accepted(put(spool, clock))
        break
    except SpoolBroken:
        pass
assert [row.id for row in spool.list_rows()] == [first, second]
assert spool.health.problem is None
assert told.names() == ["spool_failed", "spool_recovered"], told.events
spool.close()
print("well")
"""


def test_a_disk_that_was_remounted_read_only_lets_it_start_and_recover(tmp_path: Path) -> None:
    assert "well" in on_a_small_disk(tmp_path, ON_A_READ_ONLY_DISK, "size=32m")
