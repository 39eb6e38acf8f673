"""Space: the spool stays within its size, leaves free space on the disk, and evicts the right rows."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.limits import Window
from framesift.spool import FinalOutcome, Spool, SpoolFull, State, WhenFull
from rigs.spools import RecordedReports, accepted, make_spool, put, quota

MIB = 2**20
# With less, two pictures of 100 kB are evicted for one, because the space of a row is estimated from above.
ROOM = MIB + 2**16 + 2**14
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


# In the smallest spool the log of one large picture needs much of the space.
@pytest.mark.parametrize(("max_bytes", "used"), [(MIB, 0.25), (3 * MIB, 0.5), (10 * MIB, 0.7)])
def test_live_pages_and_log_stay_under_max_bytes_for_all_sizes(tmp_path: Path, max_bytes: int, used: float) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=max_bytes)
    chance = random.Random(1)
    for number in range(150):
        size_bytes = chance.choice([100, 5_000, 60_000, 250_000])
        accepted(put(spool, clock, jpeg=picture(size_bytes, number)))
        assert in_use_bytes(spool) <= max_bytes
    assert (tmp_path / "spool.db").stat().st_size <= max_bytes
    # The space is used while datapoints are evicted.
    assert spool.counts().live_bytes > max_bytes * used
    assert spool.outcome_counts()[FinalOutcome.EVICTED] + spool.counts().ready == 150
    spool.close()


@pytest.mark.exhaustive
def test_what_the_limits_count_is_named_where_it_fills_the_spool(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=MIB)
    quotas = [quota("a long name" * 10, (Window.DAILY, 4000))]

    def fill() -> None:
        for _ in range(4000):
            accepted(put(spool, clock, quotas, jpeg=picture(100)))

    with pytest.raises(SpoolFull) as full:
        fill()
    whole = re.match(
        r"(\d+) bytes are in use \((\d+) to count what was collected in the last three days\), ", str(full.value)
    )
    assert whole is not None, full.value
    live_bytes, counting_bytes = map(int, whole.groups())
    assert MIB / 4 < counting_bytes <= live_bytes < MIB
    spool.close()


def test_the_lowest_score_is_evicted_and_of_equal_scores_the_oldest(tmp_path: Path) -> None:
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


def test_the_oldest_is_evicted_whatever_its_score(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=MIB, when_full=WhenFull.EVICT_OLDEST)
    for number in range(20):
        put(spool, clock, id=str(number), score=-float(number), jpeg=picture(100_000))
    left = [int(row.id) for row in spool.list_rows()]
    assert left == list(range(20 - len(left), 20))
    spool.close()


def test_with_refuse_the_new_datapoint_is_refused(tmp_path: Path) -> None:
    clock, reports = ManualClock(), RecordedReports()
    spool = opened(tmp_path, clock, max_bytes=MIB, when_full=WhenFull.REFUSE, report=reports)
    quotas = [quota("a", (Window.DAILY, 100))]
    for _ in range(4):
        put(spool, clock, quotas, jpeg=picture(100_000))
    with pytest.raises(SpoolFull, match=f"max_bytes = {MIB}"):
        put(spool, clock, quotas, jpeg=picture(300_000))
    problem = spool.health.problem
    assert problem is not None
    assert reports.names().count("spool_full") == 1
    # The refused datapoint used no quota.
    assert {u.count for u in spool.quota_usage()} == {spool.counts().ready}
    # It recovers by itself after a datapoint has left.
    for item in spool.claim(2).items:
        spool.complete(item.id)
    accepted(put(spool, clock, quotas, jpeg=picture(300_000)))
    assert spool.health.problem is None
    assert reports.names().count("spool_has_space") == 1
    spool.close()


def test_no_higher_score_is_evicted_for_a_lower_one(tmp_path: Path) -> None:
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


def test_a_row_that_is_being_sent_is_never_evicted(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=ROOM)
    while not spool.outcome_counts()[FinalOutcome.EVICTED]:
        put(spool, clock, score=0.1, jpeg=picture(100_000))
    sent = {item.id for item in spool.claim(99).items}
    with pytest.raises(SpoolFull):
        put(spool, clock, score=0.9, jpeg=picture(100_000))
    assert {row.id for row in spool.list_rows(State.SENDING)} == sent
    spool.close()


def test_buried_rows_are_evicted_first_and_registered_ones_last(tmp_path: Path) -> None:
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


def test_a_picture_that_can_never_fit_evicts_no_row(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, max_bytes=MIB)
    put(spool, clock, jpeg=picture(100_000))
    with pytest.raises(SpoolFull, match="don't fit"):
        put(spool, clock, jpeg=picture(2 * MIB))
    assert spool.counts().ready == 1
    spool.close()


def test_on_a_disk_filled_by_others_it_refuses_and_evicts_no_row(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock)
    put(spool, clock)
    spool.close()
    spool = opened(tmp_path, clock, min_free_bytes=2**60)  # no disk has so much
    with pytest.raises(SpoolFull, match="free on the disk"):
        put(spool, clock, score=1.0, jpeg=picture(9 * MIB))
    assert spool.health.problem is not None
    assert spool.counts().ready == 1
    assert len(spool.claim(1).items) == 1  # existing datapoints are still delivered
    spool.complete(spool.list_rows(State.SENDING)[0].id)
    spool.close()


def test_a_reduced_max_bytes_is_reached_by_evicting(tmp_path: Path) -> None:
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


def test_the_reserve_is_allocated_while_there_is_space(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock)
    put(spool, clock)
    spool.close()
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.glob("*.reserve*")) >= 8 * MIB


def test_no_reserve_is_allocated_in_min_free_bytes(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = opened(tmp_path, clock, min_free_bytes=2**60)
    spool.claim(1)
    spool.close()
    assert not (tmp_path / "spool.db.reserve").exists()


# A small disk, which needs a mount. The mount is in a namespace of its own, so that no other process sees it.
ON_A_SMALL_DISK = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import FinalOutcome, SpoolFull
from rigs.spools import RecordedReports, accepted, make_spool, put
disk, clock, reports = Path({disk!r}), ManualClock(), RecordedReports()
spool = make_spool(disk, clock, report=reports)
spool.open()
ids = [accepted(put(spool, clock, jpeg=bytes(100_000))) for _ in range(20)]
assert (disk / "spool.db.reserve").exists()

# Another program fills the disk to the last byte.
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

# Existing datapoints are still delivered: the reserve makes space for it.
for item in spool.claim(5).items:
    spool.read_jpeg(item.id)
    spool.complete(item.id)
    ids.remove(item.id)
spool.close()

# A start works as well.
spool = make_spool(disk, clock, report=reports)
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
print("ok", reports.names())
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


def test_a_disk_filled_by_others_loses_nothing_and_recovers(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, ON_A_SMALL_DISK, "size=16m")


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
print("ok")
"""


def test_a_disk_filled_by_others_ends_no_worker(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, WORKERS_ON_A_FULL_DISK, "size=16m")


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
print("ok")
"""


def test_it_starts_on_a_disk_without_free_inodes(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, WITHOUT_INODES, "size=32m,nr_inodes=12")


ON_A_READ_ONLY_DISK = """
import subprocess, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolBroken
from rigs.spools import RecordedReports, accepted, make_spool, put
disk, clock, reports = Path({disk!r}), ManualClock(), RecordedReports()
spool = make_spool(disk, clock)
spool.open()
first = accepted(put(spool, clock))
spool.close()
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
spool = make_spool(disk, clock, report=reports)
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
assert reports.names() == ["spool_failed", "spool_recovered"], reports.events
spool.close()
print("ok")
"""


def test_it_starts_on_a_read_only_disk_and_recovers(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, ON_A_READ_ONLY_DISK, "size=32m")
