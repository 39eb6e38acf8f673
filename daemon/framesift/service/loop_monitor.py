"""LoopMonitor: which loop of the daemon does not move, what it waits for, and who is told.

    moves ──> slow       for longer than the loop's own `patience_s`: its component is degraded
    slow ──> silent      for SILENT_AFTER_S: failed, and one line with the stacks of all threads; the main loop no
                         longer feeds the watchdog

It has a thread of its own, so that it sees every loop stand still, the main loop too. Below it is a net for what no
thread of Python's can see, code in C that keeps the interpreter to itself: `faulthandler`, which needs no interpreter,
writes the stacks to stderr without waiting for whoever reads it. All of it comes before the watchdog of
systemd/framesift.service ends the process.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Mapping

from framesift.clock.clock import Clock, MonitoredThread
from framesift.telemetry import Condition, Telemetry
from framesift.telemetry.thread_stacks import stack_lines, waits_for

# A loop that has not looked at its clock for so long hangs: a delivery's deadline (45 s) is the longest honest silence.
HUNG_AFTER_S = 50.0
_LOOK_EVERY_S = 1.0
# How often the net is laid anew. It closes SILENT_AFTER_S later.
_NET_EVERY_S = 5.0
_STDERR = "/proc/self/fd/2"
# Who looks so late was held up himself (SIGSTOP, a machine that stood still): everybody is silent, and nobody hangs.
_LATE_S = 10.0


class LoopMonitor:
    """failed: told of a bug that ended its thread. `add`, `start` and `stop` belong to one thread; `silent` may be
    called from any.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Clock,
        *,
        failed: Callable[[BaseException], None],
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._failed = failed
        self._silent_after_s = hung_after_s
        self._loops: list[MonitoredThread] = []
        self._unwell: dict[str, Condition] = {}  # by component
        self._looked_s = clock.monotonic()
        self._stop = threading.Event()
        self._net_s = float("-inf")
        self._net = _unwaiting_stderr()
        self._thread = threading.Thread(target=self._run, name="loop monitor", daemon=True)

    def add(self, *loops: MonitoredThread) -> None:
        self._loops += loops

    def start(self) -> None:
        self._looked_s = self._clock.monotonic()
        self._lay_net()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_LOOK_EVERY_S)

    def hung_loops(self) -> Mapping[str, str]:
        """The loops that hang at this moment: component -> why."""
        return {
            _component(loop): _why(loop, silence_s)
            for loop in tuple(self._loops)
            if (silence_s := loop.idle_s()) >= self._silent_after_s
        }

    def check_once(self) -> None:
        """Looks at every loop once, and tells what has changed."""
        now_s = self._clock.monotonic()
        late = now_s - self._looked_s > _LATE_S
        self._looked_s = now_s
        if late:
            return
        hung = []
        for loop in self._loops:
            name, silence_s = _component(loop), loop.idle_s()
            if silence_s < loop.max_idle_s:
                if self._unwell.pop(name, None) is not None:
                    self._telemetry.health.set_ok(name)
                continue
            condition = Condition.FAILED if silence_s >= self._silent_after_s else Condition.DEGRADED
            if condition is Condition.FAILED and self._unwell.get(name) is not condition:
                hung.append(loop)
            self._unwell[name] = condition
            self._telemetry.health.set(name, condition, _why(loop, silence_s))
        if hung:
            self._telemetry.error(
                "loop_silent",
                loops=[loop.name for loop in hung],
                why=_why(hung[0], hung[0].idle_s()),
                stacks=stack_lines(loop.thread for loop in hung),
            )

    def _lay_net(self) -> None:
        now_s = self._clock.monotonic()
        if self._net is not None and now_s - self._net_s >= _NET_EVERY_S:
            self._net_s = now_s
            faulthandler.dump_traceback_later(self._silent_after_s, file=self._net)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._lay_net()
                self.check_once()
                self._clock.wait(self._stop, _LOOK_EVERY_S)
        except BaseException as error:  # noqa: BLE001  # whatever it is: nobody watches any more, so the process ends
            self._failed(error)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _unwaiting_stderr() -> int | None:
    """The standard error once more, in such a way that writing never waits for its reader: the net is laid by a call
    that keeps the interpreter until the one before it has written all. None where nothing is open there.
    """
    try:
        return os.open(_STDERR, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # a socket (systemd's journal), which can't be opened once more; or nothing at all
        return None if sys.stderr is None else sys.stderr.fileno()


def _component(loop: MonitoredThread) -> str:
    return f"loop {loop.name}"


def _why(loop: MonitoredThread, silence_s: float) -> str:
    return f"it has not moved for {silence_s:.0f} s: it waits for {waits_for(loop.thread)}"
