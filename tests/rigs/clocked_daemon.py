"""The service in a process of its own, with a clock that a test moves by lines on its standard input.

    advance 60       a minute passes at once: for the wall clock, the time since boot, and every interval
    wall -1000000    somebody sets the wall clock; no time passes

Everything else is `framesift run` as it is: settings, signals, threads, readers, disk and network. `Daemon` starts it:

    with Daemon(folder, command=CLOCKED) as daemon:
        advance(daemon, 60)
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from framesift.clock.clock import MAX_WAIT_S, SystemClock
from framesift.clock.moment import Moment

if TYPE_CHECKING:
    from rigs.daemon import Daemon

_TESTS = str(Path(__file__).parents[1])
CLOCKED = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {_TESTS!r}); from rigs.clocked_daemon import main; sys.exit(main())",
)
_LOOK_S = 0.02
# Time passes in steps shorter than what the loop monitor takes for a process that was held up.
_STEP_S = 5.0
_STEP_TAKES_S = 0.05  # in which its threads work: moved time passes a hundred times as fast as theirs, and no faster


class MovedClock(SystemClock):
    """The machine's clock, and what was added to it. Waits end when its own time has come."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed_s = 0.0
        self.wall_s = 0.0

    def now(self) -> Moment:
        now = super().now()
        return Moment(now.wall_s + self.wall_s + self.elapsed_s, now.boottime_s + self.elapsed_s, now.boot_id)

    def monotonic(self) -> float:
        return super().monotonic() + self.elapsed_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        until_s = self.monotonic() + min(max(timeout_s, 0.0), MAX_WAIT_S)
        while (left_s := until_s - self.monotonic()) > 0.0:
            if event.wait(min(left_s, _LOOK_S)):
                return True
        return event.is_set()


def advance(daemon: Daemon, seconds: float) -> None:
    """Let time pass for a daemon that was started with CLOCKED; returns when it has passed."""
    steps = math.ceil(seconds / _STEP_S)
    for _ in range(steps):
        _send(daemon, f"advance {seconds / steps}")
        time.sleep(_STEP_TAKES_S)


def set_wall(daemon: Daemon, seconds: float) -> None:
    """Set the wall clock of a daemon that was started with CLOCKED, by so many seconds."""
    _send(daemon, f"wall {seconds}")


def _send(daemon: Daemon, line: str) -> None:
    assert daemon.process.stdin is not None
    daemon.process.stdin.write(f"{line}\n")
    daemon.process.stdin.flush()


def _obey(lines: IO[str], clock: MovedClock) -> None:
    for line in lines:
        word, _, value = line.partition(" ")
        if word == "advance":
            clock.elapsed_s += float(value)
        else:
            clock.wall_s += float(value)


def main() -> int:
    from framesift.service.service import Service
    from framesift.service.systemd import Notifier
    from framesift.settings import load, secrets
    from framesift.telemetry import LineQueue, Telemetry

    settings, clock = load(Path("framesift.yaml"), os.environ), MovedClock()
    lines = LineQueue(sys.stdout)
    telemetry = Telemetry(clock, settings.log, secrets=secrets(settings), out=lines)
    threading.Thread(target=_obey, args=(sys.stdin, clock), daemon=True).start()
    code = Service(settings, clock=clock, telemetry=telemetry, notifier=Notifier(None)).run()
    lines.drain(1.0)
    return code
