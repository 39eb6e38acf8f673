"""Death at each system call of one datapoint's life: from the request that brings it to its annotation at the platform.

The calls of each thread are counted by strace in a life that nothing disturbs. Then a daemon is started for each of
them, which strace kills when that thread enters the call: the answer says what was promised, the books what is so.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigs.daemon import Daemon
from rigs.deaths.place import DeathPlace

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed)")
_LIFE_S = 30.0  # at most
# Calls that change nothing outside the process; how many there are differs from life to life.
INNER = frozenset(
    {"brk", "futex", "getpid", "gettid", "madvise", "mmap", "mprotect", "munmap", "restart_syscall", "sched_yield"}
)


@dataclass(frozen=True, order=True)
class Point:
    """thread: its place among the daemon's threads, in the order in which they were started. number: of that call, in
    that thread, from 1."""

    thread: int
    call: str
    number: int


class Tracer:
    """strace, attached to threads that run."""

    def __init__(self, tids: Sequence[int], *words: str) -> None:
        of_tids = [word for tid in tids for word in ("-p", str(tid))]
        self._process = subprocess.Popen(["strace", *words, *of_tids], stderr=subprocess.PIPE, text=True)
        stderr = self._process.stderr
        assert stderr is not None
        for _ in tids:
            line = stderr.readline()
            assert "attached" in line, line

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate(timeout=20)


def threads_of(pid: int) -> list[int]:
    """The ids of its threads, the oldest first, once those have ended that only start something."""
    before: list[int] = []
    for _ in range(100):
        tids = sorted(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())
        if tids == before:
            return tids
        before = tids
        threading.Event().wait(0.3)
    raise AssertionError("its threads come and go")


def live(place: DeathPlace, daemon: Daemon) -> tuple[str | None, bool]:
    """One datapoint's life: the id that was promised, and whether the daemon outlived it."""
    promised = place.post()
    for _ in range(int(_LIFE_S / 0.02)):
        if daemon.process.poll() is not None:
            return promised, False
        if promised is not None and place.is_settled():
            return promised, True
        threading.Event().wait(0.02)
    return promised, True


def points_of_a_life(place: DeathPlace) -> list[Point]:
    """Every call of every thread in a life that nothing disturbs, once."""
    trace = place.folder / "trace"
    with place.start() as daemon:
        tids = threads_of(daemon.process.pid)
        tracer = Tracer(tids, "-o", str(trace))
        promised, outlived = live(place, daemon)
        assert promised is not None
        assert outlived
        tracer.end()
        daemon.kill()
    counted: Counter[tuple[int, str]] = Counter()
    for line in trace.read_text().splitlines():
        found = _LINE.match(line)
        if found is not None and "resumed" not in line[: found.end()]:
            counted[tids.index(int(found[1])), found[2]] += 1
    return sorted(Point(*of, number) for of, count in counted.items() for number in range(1, count + 1))


def die_at(place: DeathPlace, point: Point) -> dict[str, Any]:
    """What came of a death at this call. reached: whether the daemon died there; no life is quite like another."""
    with place.start() as daemon:
        # Of the life before, what was accepted is delivered by this daemon; its own life begins with an empty spool.
        for _ in range(int(_LIFE_S / 0.05)):
            if place.is_settled():
                break
            threading.Event().wait(0.05)
        before, _, found = place.compare()
        tids = threads_of(daemon.process.pid)
        if point.thread >= len(tids):
            daemon.kill()
            return {"reached": False, "found": found}
        inject = f"--inject={point.call}:signal=SIGKILL:when={point.number}"
        tracer = Tracer([tids[point.thread]], "-o", "/dev/null", f"--trace={point.call}", inject)
        promised, outlived = live(place, daemon)
        if outlived:
            daemon.kill()
        tracer.end()
    given, new, more = place.compare()
    return {
        "reached": not outlived,
        "promised": promised is not None,
        "accepted": given - before,
        "new": new,
        "found": [*found, *more],
    }
