"""Writes that fail for a while: new datapoints are refused at once, changes of state wait, then all works again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

# A limit on the size of files makes larger writes fail for real, in this process only.
PROGRAM = """
import resource, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.limits import QuotaGranted
from framesift.spool import FinalOutcome, SpoolBroken
from rigs.spools import RecordedReports, accepted, make_spool, put, quota
clock, reports = ManualClock(), RecordedReports()
spool = make_spool(Path({folder!r}), clock, report=reports)
spool.open()
first = accepted(put(spool, clock))
assert [item.id for item in spool.claim(1).items] == [first]

resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        put(spool, clock, jpeg=bytes(100_000))
        raise AssertionError("accepted without a disk")
    except SpoolBroken as error:
        assert "I/O error" in str(error), error
assert "I/O error" in str(spool.health.problem) and not spool.health.fatal
try:
    spool.claim(1)
    raise AssertionError("claimed without a disk")
except SpoolBroken:
    pass
assert spool.check_quota([quota("any")], clock.now()) == QuotaGranted("any")

# Recording a delivery waits for the disk.
recording = threading.Thread(target=spool.complete, args=(first,))
recording.start()
recording.join(0.3)
assert recording.is_alive()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
clock.advance(60)
second = None
for _ in range(100):
    try:
        second = accepted(put(spool, clock))
        break
    except SpoolBroken:
        clock.advance(60)
        recording.join(0.05)
recording.join(10)
assert not recording.is_alive()
assert spool.outcome_counts()[FinalOutcome.DELIVERED] == 1
assert [row.id for row in spool.list_rows()] == [second]
assert spool.health.problem is None
assert reports.names() == ["spool_failed", "spool_recovered"], reports.events

# A disk that never works again is fatal: the service manager must act.
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
for _ in range(400):
    try:
        put(spool, clock, jpeg=bytes(100_000))
    except SpoolBroken:
        clock.advance(60)
    if spool.health.fatal:
        break
    recording.join(0.0)
    threading.Event().wait(0.02)
assert spool.health.fatal
spool.close()
print("ok")
"""


def test_a_disk_that_fails_for_a_while_and_then_permanently(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(tests=str(TESTS), folder=str(tmp_path / "spool")))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ok"


WITHOUT_DESCRIPTORS = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolUnavailable
from rigs.spools import make_spool, put
clock = ManualClock()
spool = make_spool(Path({folder!r}), clock)
spool.open()
put(spool, clock)
[item] = spool.claim(1).items
before = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
try:
    spool.read_jpeg(item.id)
    raise AssertionError("read without a connection")
except SpoolUnavailable as error:
    assert "unable to open" in str(error), error
spool.release([item.id])
resource.setrlimit(resource.RLIMIT_NOFILE, before)
[again] = spool.claim(1).items
assert (again.id, again.attempts) == (item.id, 1)
assert spool.read_jpeg(again.id)
spool.close()
"""


def test_a_picture_that_is_unreadable_for_a_moment_costs_no_attempt(tmp_path: Path) -> None:
    program = WITHOUT_DESCRIPTORS.format(tests=str(TESTS), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
