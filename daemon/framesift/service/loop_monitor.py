"""LoopMonitor: finds threads that hang, says what each waits for, and logs the stacks.

    moving ──> slow     idle for longer than the thread's own `max_idle_s`: its health is degraded
    slow   ──> hung     idle for HUNG_AFTER_S: its health is failed, and one line is logged with the stacks of all
                        threads; the main loop no longer feeds the watchdog

It has a thread of its own, so that it can find every other one hanging, the main thread too. A second means works where
no Python thread can run, because C code holds the interpreter lock: `faulthandler`, which doesn't need the interpreter,
writes the stacks to stderr without waiting for its reader. Both act before the watchdog of systemd/framesift.service
ends the process.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Mapping

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.telemetry import Condition, Telemetry
from framesift.telemetry.thread_stacks import stack_lines, waits_for

# A thread that has not used its clock for so long hangs: a delivery's deadline (45 s) is the longest normal idle time.
HUNG_AFTER_S = 50.0
_CHECK_INTERVAL_S = 1.0
# How often the timer of `faulthandler` is restarted. It fires HUNG_AFTER_S later.
_RESTART_TIMER_EVERY_S = 5.0
_STDERR = "/proc/self/fd/2"
# If a check comes so late, the whole process was held up (SIGSTOP, a suspended machine): all seem idle, none hangs.
_LATE_S = 10.0


class LoopMonitor:
    """The component that monitors threads. `add`, `start` and `stop` belong to one thread; `hung` is thread-safe."""

    name = "monitor"
    threads: tuple[MonitoredThread, ...] = ()  # nobody monitors the monitor; the watchdog would notice its end

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Clock,
        *,
        on_failure: Callable[[BaseException], None],
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        """on_failure: called, by the monitor's thread, with the unexpected error that ended it."""
        self._telemetry = telemetry
        self._clock = HeartbeatClock(clock)
        self._on_failure = on_failure
        self._hung_after_s = hung_after_s
        self._monitored: list[MonitoredThread] = []
        self._not_ok: dict[str, Condition] = {}  # by the name in the health
        self._checked_s = clock.monotonic()
        self._stop = threading.Event()
        self._timer_started_s = float("-inf")
        self._stderr = _open_stderr_without_waiting()
        self._thread = threading.Thread(target=self._run, name="loop monitor", daemon=True)

    def add(self, *threads: MonitoredThread) -> None:
        """Monitor these threads too. Before `start`, or from the thread that calls `check_once`."""
        self._monitored += threads

    def start(self) -> None:
        """Start the monitor's thread."""
        self._checked_s = self._clock.monotonic()
        self._restart_timer()
        self._thread.start()

    def stop(self, within_s: float = _CHECK_INTERVAL_S) -> bool:
        """End the monitor's thread; return whether it has ended in time."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(min(within_s, _CHECK_INTERVAL_S))
        else:
            faulthandler.cancel_dump_traceback_later()
        return not self._thread.is_alive()

    def idle_s(self) -> float:
        """Return the seconds since the monitor's last check; 0 while it doesn't run."""
        return self._clock.idle_s() if self._thread.is_alive() else 0.0

    def hung(self) -> Mapping[str, str]:
        """Return the threads that hang at this moment: the name in the health -> why."""
        return {
            _health_name(thread): _describe(thread, idle_s)
            for thread in tuple(self._monitored)
            if (idle_s := thread.idle_s()) >= self._hung_after_s
        }

    def check_once(self) -> None:
        """Check every thread once, and report what has changed."""
        now_s = self._clock.monotonic()
        late = now_s - self._checked_s > _LATE_S
        self._checked_s = now_s
        if late:
            return
        newly_hung = []
        for thread in self._monitored:
            name, idle_s = _health_name(thread), thread.idle_s()
            if idle_s < thread.max_idle_s:
                if self._not_ok.pop(name, None) is not None:
                    self._telemetry.health.set_ok(name)
                continue
            condition = Condition.FAILED if idle_s >= self._hung_after_s else Condition.DEGRADED
            if condition is Condition.FAILED and self._not_ok.get(name) is not condition:
                newly_hung.append(thread)
            self._not_ok[name] = condition
            self._telemetry.health.set(name, condition, _describe(thread, idle_s))
        if newly_hung:
            self._telemetry.error(
                "thread_hung",
                threads=[thread.name for thread in newly_hung],
                why=_describe(newly_hung[0], newly_hung[0].idle_s()),
                stacks=stack_lines(thread.thread for thread in newly_hung),
            )

    def _restart_timer(self) -> None:
        now_s = self._clock.monotonic()
        if self._stderr is not None and now_s - self._timer_started_s >= _RESTART_TIMER_EVERY_S:
            self._timer_started_s = now_s
            faulthandler.dump_traceback_later(self._hung_after_s, file=self._stderr)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._restart_timer()
                self.check_once()
                self._clock.wait(self._stop, _CHECK_INTERVAL_S)
        except BaseException as error:  # noqa: BLE001  # whatever it is: nobody monitors any more, so the process ends
            self._on_failure(error)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _open_stderr_without_waiting() -> int | None:
    """Return a second descriptor of stderr, one whose writes never wait for the reader; None without a stderr.

    The call that restarts the timer holds the interpreter lock until the one before it has written everything.
    """
    try:
        return os.open(_STDERR, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # a socket (systemd's journal), which can't be opened a second time; or nothing at all
        return None if sys.stderr is None else sys.stderr.fileno()


def _health_name(thread: MonitoredThread) -> str:
    return f"loop {thread.name}"  # a name in the status answer, which is stable


def _describe(thread: MonitoredThread, idle_s: float) -> str:
    return f"it has not moved for {idle_s:.0f} s: it waits for {waits_for(thread.thread)}"
