"""What the spool says of itself: it refuses until a datapoint was accepted, or a real write shows that one would be."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.spool import Spool, SpoolFull, WhenFull
from framesift.spool.acceptance import write_probe
from rigs.spools import RecordedReports, accepted, make_spool, put
from spool.test_space import on_a_small_disk, picture

MIB = 2**20


def full_spool(folder: Path, clock: ManualClock, **options: object) -> tuple[Spool, RecordedReports]:
    """A spool that has just refused a picture of 100 kB."""
    reports = RecordedReports()
    spool = make_spool(folder, clock, max_bytes=2 * MIB, report=reports, **options)
    spool.open()
    for number in range(100):
        if spool.health.problem is not None:
            break
        with contextlib.suppress(SpoolFull):
            put(spool, clock, score=0.5, jpeg=picture(100_000, number))
    return spool, reports


def problem(spool: Spool) -> str | None:
    return spool.health.problem


def until(spool: Spool, *, refuses_all: bool) -> bool:
    for _ in range(250):
        if spool.health.refuses_all is refuses_all:
            return True
        threading.Event().wait(0.02)
    return False


def test_a_spool_that_refuses_what_comes_has_failed_until_something_is_accepted(tmp_path: Path) -> None:
    clock = ManualClock()
    spool, reports = full_spool(tmp_path, clock, when_full=WhenFull.REFUSE)
    assert spool.health.refuses_all
    assert "max_bytes = 2097152" in str(spool.health.problem)
    # Claims are committed, and refusals too; neither is a recovery.
    for item in spool.claim(1).items:
        spool.release([item.id])
    with pytest.raises(SpoolFull):
        put(spool, clock, jpeg=picture(100_000))
    assert spool.health.refuses_all
    for item in spool.claim(3).items:
        spool.complete(item.id)
    assert spool.health.refuses_all
    accepted(put(spool, clock, jpeg=picture(100_000)))
    assert spool.health.problem is None
    assert reports.names() == ["spool_full", "spool_has_space"]
    spool.close()


def test_where_nothing_comes_a_probe_finds_that_there_is_room_again(tmp_path: Path) -> None:
    clock = ManualClock()
    spool, reports = full_spool(tmp_path, clock, when_full=WhenFull.REFUSE)
    before = spool.list_rows()
    clock.advance(11.0)
    [item] = spool.claim(1).items  # lets the writer's thread look at the time
    spool.release([item.id])
    assert spool.health.refuses_all, "there is no room yet: the probe says so"
    for item in spool.claim(3).items:
        spool.complete(item.id)
    clock.advance(11.0)
    [item] = spool.claim(1).items
    spool.release([item.id])
    assert until(spool, refuses_all=False)
    assert reports.names() == ["spool_full", "spool_has_space"]
    assert len(spool.list_rows()) == len(before) - 3, "the probe leaves nothing, and takes nothing away"
    assert sorted(path.name for path in tmp_path.iterdir() if "probe" in path.name) == []
    spool.close()


def test_a_spool_that_refuses_only_low_scores_has_not_failed_and_its_probe_evicts_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock, max_bytes=2 * MIB, when_full=WhenFull.EVICT_LOWEST)
    spool.open()
    for number in range(30):
        put(spool, clock, score=0.9, jpeg=picture(100_000, number))
    with pytest.raises(SpoolFull):
        put(spool, clock, score=0.1, jpeg=picture(300_000))
    assert spool.health.problem is not None
    assert not spool.health.refuses_all
    rows = len(spool.list_rows())
    clock.advance(11.0)
    [item] = spool.claim(1).items  # lets the writer's thread look at the time
    spool.release([item.id])
    assert len(spool.list_rows()) == rows
    assert problem(spool) is not None
    accepted(put(spool, clock, score=0.95, jpeg=picture(300_000)))
    assert problem(spool) is None
    spool.close()


def test_one_picture_that_is_too_large_does_not_make_the_spool_failed(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock, max_bytes=MIB)
    spool.open()
    with pytest.raises(SpoolFull, match="don't fit"):
        put(spool, clock, jpeg=picture(2 * MIB))
    assert spool.health.problem is not None
    assert not spool.health.refuses_all
    spool.close()


def test_a_probe_writes_and_leaves_nothing(tmp_path: Path) -> None:
    write_probe(tmp_path / "spool.db", 300_000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        write_probe(tmp_path / "gone" / "spool.db", 1)


PROBES = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from framesift.spool.acceptance import write_probe
disk = Path({disk!r})
before = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
for _ in range(10):
    write_probe(disk / "spool.db", 4 * 2**20)
after = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
assert int(after["wchar"]) - int(before["wchar"]) <= 10 * 4096
(disk / "other").write_bytes(bytes(5 * 2**20))
try:
    write_probe(disk / "spool.db", 4 * 2**20)
except OSError as error:
    assert error.errno == 28, error
else:
    raise AssertionError("there was no room for it")
assert [path.name for path in disk.iterdir()] == ["other"]
print("ok")
"""


def test_a_probe_needs_as_much_room_as_a_picture_but_writes_a_block(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, PROBES, "size=8m")


def test_a_probe_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("keep")
    (tmp_path / "spool.db.probe").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="symbolic links"):
        write_probe(tmp_path / "spool.db", 1)
    assert (tmp_path / "theirs").read_text() == "keep"


READ_ONLY_AND_IDLE = """
import subprocess, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolBroken
from rigs.spools import RecordedReports, accepted, make_spool, put
disk, clock, reports = Path({disk!r}), ManualClock(), RecordedReports()
spool = make_spool(disk, clock)
spool.open()
accepted(put(spool, clock))
spool.close()
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
spool = make_spool(disk, clock, report=reports)
spool.open()
assert spool.health.refuses_all, "before anything came"
for _ in range(20):
    clock.advance(60)
    threading.Event().wait(0.02)
assert spool.health.refuses_all and not spool.health.fatal
assert "mounted read-only" in spool.health.problem, spool.health
subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
for _ in range(300):
    clock.advance(60)
    if spool.health.problem is None:
        break
    threading.Event().wait(0.02)
assert spool.health.problem is None, spool.health
assert reports.names() == ["spool_failed", "spool_recovered"], reports.events
accepted(put(spool, clock))
spool.close()
print("ok")
"""


def test_a_read_only_disk_is_named_and_its_end_is_seen_although_nothing_comes(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, READ_ONLY_AND_IDLE, "size=32m")


KNOWN_BEFORE_ANYTHING_COMES = """
import os, subprocess, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from rigs.spools import RecordedReports, accepted, make_spool, put
disk, clock, reports = Path({disk!r}), ManualClock(), RecordedReports()

def until(spool, holds):
    for _ in range(300):
        if holds(spool.health):
            return
        clock.advance(21)
        spool.release([item.id for item in spool.claim(1).items])  # lets the writer's thread look at the time
        threading.Event().wait(0.02)
    raise AssertionError(spool.health)

other = disk / "other"
other.write_bytes(bytes(28 * 2**20))
spool = make_spool(disk, clock, report=reports, min_free_bytes=8 * 2**20)
spool.open()
for _ in range(300):  # the clock stands still
    if spool.health.refuses_all:
        break
    threading.Event().wait(0.02)
assert spool.health.refuses_all, "at the start"
assert "min_free_bytes" in spool.health.problem, spool.health
other.unlink()
until(spool, lambda health: health.problem is None)
accepted(put(spool, clock))
for _ in range(20):
    clock.advance(21)
    assert spool.health.problem is None
other.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 4 * 2**20))
until(spool, lambda health: health.refuses_all)
other.unlink()
until(spool, lambda health: health.problem is None)
assert reports.names() == ["spool_full", "spool_has_space"] * 2, reports.events
spool.close()
print("ok")
"""


def test_that_nothing_can_be_accepted_is_known_before_anything_comes(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, KNOWN_BEFORE_ANYTHING_COMES, "size=32m")


FULL_BY_OTHERS = """
import os, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolFull
from rigs.spools import RecordedReports, accepted, make_spool, put
disk, clock, reports = Path({disk!r}), ManualClock(), RecordedReports()
# Small changes always fit, a picture never does.
spool = make_spool(disk, clock, report=reports, min_free_bytes=4 * 2**20)
spool.open()
for number in range(20):
    accepted(put(spool, clock, jpeg=os.urandom(20_000)))
free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
(disk / "other").write_bytes(os.urandom(free - 3 * 2**20))
for _ in range(5):
    try:
        put(spool, clock, jpeg=os.urandom(3_000_000))
        raise AssertionError("accepted below min_free_bytes")
    except SpoolFull:
        pass
    [item] = spool.claim(1).items
    spool.complete(item.id)
    assert spool.health.refuses_all, "a delivery is no recovery"
    clock.advance(11)
    [item] = spool.claim(1).items
    spool.release([item.id])
    assert spool.health.refuses_all, "neither is a probe that finds no room"
(disk / "other").unlink()
clock.advance(11)
[item] = spool.claim(1).items
spool.release([item.id])
for _ in range(250):
    if spool.health.problem is None:
        break
    threading.Event().wait(0.02)
assert spool.health.problem is None, spool.health
assert reports.names() == ["spool_full", "spool_has_space"], reports.events
spool.close()
print("ok")
"""


def test_a_disk_that_others_fill_is_a_failure_until_they_leave(tmp_path: Path) -> None:
    assert "ok" in on_a_small_disk(tmp_path, FULL_BY_OTHERS, "size=64m")
