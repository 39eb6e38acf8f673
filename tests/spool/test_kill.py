"""A real process is killed with SIGKILL during its work; the next process finds everything that was acknowledged."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from framesift.clock.clock import SystemClock
from framesift.limits import Window
from framesift.spool import FinalOutcome, NotAccepted, SpoolBroken
from rigs.spools import make_spool, put, quota

CHILD = Path(__file__).parents[1] / "rigs" / "spool_child.py"


def killed_after(
    folder: Path, lines: int, limit: int, sink_limit: int, *, promised: bool = False, set_s: float = 0.0
) -> list[tuple[str, str]]:
    """Runs the child until it has said so many lines, kills it, and returns everything that it said.

    promised: and until it has acknowledged something. (A worker may claim a row, and say so, before its `put` can.)
    set_s: how far the wall clock is set forward.
    """
    command = [sys.executable, str(CHILD), str(folder), str(limit), str(sink_limit), str(set_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        while promised and not any(line.startswith("+") for line in said):
            said.append(child.stdout.readline())
        child.kill()
        said += child.stdout.readlines()
    return [(line[0], line[2:].strip()) for line in said if line.endswith("\n")]


def check_promises(folder: Path, said: list[tuple[str, str]], limit: int, sink_limit: int) -> None:
    clock = SystemClock()
    spool = make_spool(folder, clock)
    spool.open()
    promised = {id for sign, id in said if sign == "+"}
    left = {id for sign, id in said if sign == "-"}
    there = {row.id for row in spool.list_rows(limit=10**6)}
    assert promised - left <= there, "nothing that was acknowledged is missing"
    outcomes, counts = spool.outcome_counts(), spool.counts()
    assert counts.sending == 0
    # Each accepted datapoint is in exactly one place. (Of one the process was killed before it could say so.)
    assert len(there & left) + outcomes[FinalOutcome.DELIVERED] <= len(left) + 1
    accepted = outcomes[FinalOutcome.DELIVERED] + counts.ready
    assert len(promised) <= accepted <= limit
    assert {u.count for u in spool.quota_usage() if u.window is Window.DAILY} == {accepted}
    # The sink's limit counts every claim, over all processes.
    assert len([id for sign, id in said if sign == ">"]) <= sink_limit
    for row in spool.list_rows(limit=10**6):
        try:
            assert len(spool.read_jpeg(row.id)) == 20_000
        except SpoolBroken as error:
            raise AssertionError(f"{row.id} lost its picture") from error
    while not isinstance(put(spool, clock, [quota("a", (Window.DAILY, limit))]), NotAccepted):
        accepted += 1
    assert accepted == limit
    spool.close()


@pytest.mark.parametrize("lines", [1, 60])
def test_accepted_datapoints_survive_sigkill(tmp_path: Path, lines: int) -> None:
    said = killed_after(tmp_path, lines, limit=100_000, sink_limit=100_000, promised=True)
    assert Counter(sign for sign, _ in said)["+"] >= 1
    check_promises(tmp_path, said, limit=Counter(sign for sign, _ in said)["+"] + 5, sink_limit=100_000)


def test_limits_hold_over_kills_and_restarts(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    for _ in range(3):
        said += killed_after(tmp_path, 25, limit=60, sink_limit=50)
    check_promises(tmp_path, said, limit=60, sink_limit=50)


def test_limits_hold_when_the_clock_is_set_between_a_kill_and_the_restart(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    for set_s in (0.0, -3600.0, -2 * 86400.0, 400 * 86400.0, -20 * 365 * 86400.0):
        said += killed_after(tmp_path, 15, limit=400, sink_limit=100_000, set_s=set_s)
    check_promises(tmp_path, said, limit=400, sink_limit=100_000)
