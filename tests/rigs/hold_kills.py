"""Kills a process that holds frames, again and again, and checks after each kill what it had promised."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from clocks import NOON_S, ManualClock
from rigs.paced_device import EVERY_S, UNSURE, PacedDevice, policy, unsure

CHILD = Path(__file__).parent / "paced_child.py"
TURNS = 6  # of each hour
REBOOT_S = 1100.0  # a test's clock begins when its machine has run for 1000 s


def killed_after(folder: Path, start_s: float, lines: int, seed: int) -> list[tuple[str, str]]:
    """Runs the child until it has said so many lines, kills it, and returns everything that it said."""
    command = [sys.executable, str(CHILD), str(folder), str(start_s), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    return [(line[0], line[2:].strip()) for line in said if line.endswith("\n")]


def charged(folder: Path) -> dict[str, float]:
    """When what was accepted was captured, by its id."""
    with closing(sqlite3.connect(folder / "spool.db")) as connection:
        return dict(connection.execute("SELECT id, at_s FROM charge").fetchall())


def kill_and_check(folder: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    held: set[str] = set()
    accepted: dict[str, float] = {}  # old charges are pruned
    now_s = NOON_S
    for number in range(kills):
        said = killed_after(folder, now_s, rng.randrange(40, 400), seed + number)
        now_s = max(float(what) for sign, what in said if sign == "@") + REBOOT_S
        held |= {id for sign, id in said if sign == "H"}
        held -= {id for sign, id in said if sign == "D"}
        device = PacedDevice(folder, policy(UNSURE), ManualClock(now_s, boot_id=f"check-{number}"))
        rows = {row.id for row in device.spool.held.rows()}
        accepted |= charged(folder)
        assert held - rows <= accepted.keys(), "nothing that was held is lost"
        held &= rows
        assert all(device.spool.held.content(id) is not None for id in rows)
        device.spool.close()
    device = PacedDevice(folder, policy(UNSURE), ManualClock(now_s, boot_id="last"))
    whole_hours = range(int(NOON_S // 3600), int(now_s // 3600) + 1)
    while device.clock.now().wall_s // 3600 in whole_hours:
        device.offer(unsure(rng.random()))
        device.holds.advance()
        device.clock.advance(EVERY_S)
    device.clock.advance(1.0)
    device.holds.advance()
    device.close()
    accepted |= charged(folder)
    per_hour = Counter(int(at_s // 3600) for at_s in accepted.values())
    assert [per_hour[hour] for hour in whole_hours] == [TURNS] * len(whole_hours)
