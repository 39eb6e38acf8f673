"""What was answered is on the disk, and an attempt that a stop cut short is not counted against its datapoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from clocks import ManualClock
from rigs.spools import accepted, make_spool, put

TESTS = Path(__file__).parents[1]

PROGRAM = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from rigs.spools import accepted, make_spool, put
clock = ManualClock()
spool = make_spool(Path({folder!r}), clock)
spool.open()
for number in range(3):
    os.write(1, b"begin\\n")
    accepted(put(spool, clock))
    os.write(1, b"answered\\n")
spool.close()
"""


def test_each_acceptance_is_synced_before_it_is_answered(tmp_path: Path) -> None:
    program = PROGRAM.format(tests=str(TESTS), folder=str(tmp_path))
    trace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,write", "-o", str(tmp_path / "trace")]
    subprocess.run([*trace, sys.executable, "-c", program], check=True, timeout=60, stdout=subprocess.DEVNULL)
    parts = (tmp_path / "trace").read_text().split('"begin\\n"')[1:]
    assert len(parts) == 3
    for part in parts:
        before, answered, _ = part.partition('"answered\\n"')
        assert answered
        synced = [line for line in before.splitlines() if "sync(" in line and "spool.db-wal>" in line]
        assert synced, before


def test_an_attempt_that_a_stop_cut_short_is_given_back(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    id = accepted(put(spool, clock))
    assert [item.attempts for item in spool.claim(1).items] == [1]
    spool.refund_attempts([id])
    spool.close()
    spool = make_spool(tmp_path, clock)
    spool.open()
    assert [(item.id, item.attempts) for item in spool.claim(1).items] == [(id, 1)]
    spool.close()
