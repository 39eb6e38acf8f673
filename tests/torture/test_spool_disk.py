"""A disk that fails at any write: the kernel's answers are replaced by strace, call by call, in a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clocks import ManualClock
from rigs.spools import make_spool

TESTS = Path(__file__).parents[1]

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolBroken, SpoolFull
from rigs.spools import accepted, make_spool, put
clock = ManualClock()
spool = make_spool(Path({folder!r}), clock)
spool.open()
ids, refused = [], 0
for number in range(30):
    try:
        ids.append(accepted(put(spool, clock, jpeg=bytes(30_000))))
    except (SpoolBroken, SpoolFull):
        refused += 1
        clock.advance(60)
spool.close()
print(*ids)
print(len(ids), refused)
"""


@pytest.mark.torture
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
@pytest.mark.parametrize("when", ["15", "20..22", "15+4"])
def test_what_was_acknowledged_survives_a_failing_disk(tmp_path: Path, error: str, call: str, when: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(tests=str(TESTS), folder=str(tmp_path / "spool")))
    inject = ["-e", f"inject={call}:error={error}:when={when}"]
    done = subprocess.run(
        ["strace", "-f", "-o", str(tmp_path / "trace"), "-e", f"trace={call}", *inject, sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids, numbers = done.stdout.splitlines()
    assert sum(int(number) for number in numbers.split()) == 30
    assert numbers.split()[1] != "0"
    assert f"{error} (" in (tmp_path / "trace").read_text()
    # Another process, on a disk that is well again.
    spool = make_spool(tmp_path / "spool", ManualClock())
    spool.open()
    there = {row.id for row in spool.list_rows()}
    assert set(ids.split()) <= there
    assert all(len(spool.read_jpeg(id)) == 30_000 for id in there)
    assert spool.health.problem is None
    spool.close()
