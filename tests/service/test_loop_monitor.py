"""Loops that do not move: which is named, in which condition, with whose stacks, and when."""

from __future__ import annotations

import configparser
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clocks import ManualClock
from framesift.clock.clock import HeartbeatClock, MonitoredThread
from framesift.frame import Frame
from framesift.models.python import PythonModel, PythonSettings
from framesift.service.loop_monitor import HUNG_AFTER_S, LoopMonitor
from framesift.telemetry import Telemetry

ROOT = Path(__file__).parents[2]


class _Style:
    format = "json"
    level = "info"


class MonitorRig:
    """A monitor, what it logs, and threads that hang in a model until they are released."""

    def __init__(self, *, waiters: int = 0) -> None:
        self.clock = ManualClock(waiters=waiters)
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, _Style(), secrets=["geheim"], out=self.out)
        self.failures: list[BaseException] = []
        self.monitor = LoopMonitor(self.telemetry, self.clock, on_failure=self.failures.append)

    def passes(self, seconds: float) -> None:
        """Time passes, and the monitor checks once a second."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.monitor.check_once()

    def health(self) -> dict[str, tuple[str, str]]:
        return {c.name: (c.condition.value, c.why) for c in self.telemetry.health.components()}

    def lines(self, event: str) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in events if line["event"] == event]

    @contextlib.contextmanager
    def hanging(self, name: str, folder: Path, max_idle_s: float = 35.0) -> Iterator[None]:
        """A thread of that name in a model which doesn't answer."""
        (folder / "sleepy.py").write_text(
            "def make():\n    return Sleepy()\nclass Sleepy:\n    def predict(self, pixels):\n"
            "        inside.set()\n        go_on.wait()\n        return {'predictions': []}\n"
        )
        model = PythonModel(PythonSettings(type="python", factory="sleepy:make", path=folder))
        sleepy = sys.modules.pop("sleepy")
        inside, go_on = threading.Event(), threading.Event()
        sleepy.inside, sleepy.go_on = inside, go_on  # type: ignore[attr-defined]
        frame = Frame("gate", 0, np.zeros((4, 4, 3), np.uint8), self.clock.now())
        thread = threading.Thread(target=model.predict, args=(frame,), name=name, daemon=True)
        self.monitor.add(MonitoredThread(name, thread, HeartbeatClock(self.clock), max_idle_s))
        thread.start()
        assert inside.wait(30)
        try:
            yield
        finally:
            go_on.set()
            thread.join(30)


def test_an_idle_thread_is_named_with_what_it_waits_for_before_it_counts_as_hung(tmp_path: Path) -> None:
    rig = MonitorRig()
    with rig.hanging("stream gate", tmp_path):
        rig.passes(34)
        assert rig.health() == {}
        rig.passes(6)
        why = "it has not moved for 40 s: it waits for the model"
        assert rig.health() == {"loop stream gate": ("degraded", why)}
        assert rig.monitor.hung() == {}
        rig.passes(9)
        assert rig.lines("thread_hung") == []
        rig.passes(1)
        why = "it has not moved for 50 s: it waits for the model"
        assert rig.health() == {"loop stream gate": ("failed", why)}
        assert rig.monitor.hung() == {"loop stream gate": why}
    rig.passes(1)
    assert rig.health() == {"loop stream gate": ("ok", "")}
    assert rig.monitor.hung() == {}


def test_the_stacks_of_all_threads_are_one_line_logged_once_and_the_hung_one_comes_first(tmp_path: Path) -> None:
    rig = MonitorRig()
    other = threading.Event()
    bystander = threading.Thread(target=other.wait, name="bystander", daemon=True)
    bystander.start()
    with rig.hanging("stream gate", tmp_path):
        rig.passes(200)
    other.set()
    (line,) = rig.lines("thread_hung")
    assert (line["level"], line["threads"]) == ("error", ["stream gate"])
    assert line["why"] == "it has not moved for 50 s: it waits for the model"
    assert line["stacks"][0].startswith("stream gate: ")
    assert " < sleepy.py:6 predict < models/python.py:" in line["stacks"][0]
    assert any("bystander" in stack for stack in line["stacks"][1:])
    assert any("passes" in stack for stack in line["stacks"][1:])  # this thread


def test_a_hundred_threads_are_a_line_that_a_log_can_take() -> None:
    rig = MonitorRig()
    go_on = threading.Event()

    def deep(left: int) -> None:
        deep(left - 1) if left else go_on.wait()

    threads = [threading.Thread(target=deep, args=(n % 90,), name=f"geheim-{n}" * 9, daemon=True) for n in range(300)]
    for thread in threads:
        thread.start()
    rig.monitor.add(*(MonitoredThread(thread.name, thread, HeartbeatClock(rig.clock)) for thread in threads[:1]))
    rig.passes(60)
    go_on.set()
    (line,) = rig.lines("thread_hung")
    assert len(json.dumps(line)) < 150_000
    assert "geheim" not in rig.out.getvalue()


def test_a_thread_may_be_idle_for_longer_than_the_others(tmp_path: Path) -> None:
    rig = MonitorRig()
    with rig.hanging("upload-1", tmp_path, max_idle_s=46.0):
        rig.passes(45)
        assert rig.health() == {}
        rig.passes(1)
        assert rig.health()["loop upload-1"][0] == "degraded"


def test_a_thread_that_moves_has_not_started_or_has_ended_does_not_hang() -> None:
    rig = MonitorRig()
    mover = HeartbeatClock(rig.clock)
    rig.monitor.add(MonitoredThread("main", threading.current_thread(), mover))
    rig.monitor.add(MonitoredThread("later", threading.Thread(target=print), HeartbeatClock(rig.clock)))
    over = threading.Thread(target=lambda: None)
    over.start()
    over.join()
    rig.monitor.add(MonitoredThread("over", over, HeartbeatClock(rig.clock)))
    for _ in range(10):
        rig.passes(20)
        mover.monotonic()
    assert rig.health() == {}
    assert rig.monitor.hung() == {}


def test_after_a_standstill_of_the_whole_process_no_thread_hangs() -> None:
    rig = MonitorRig()
    pulse = HeartbeatClock(rig.clock)
    rig.monitor.add(MonitoredThread("main", threading.current_thread(), pulse))
    rig.clock.advance(3600.0)  # SIGSTOP, SIGCONT
    rig.monitor.check_once()
    pulse.monotonic()
    rig.passes(1)
    assert rig.health() == {}


def test_its_own_thread_finds_the_main_thread_hanging() -> None:
    rig = MonitorRig(waiters=1)
    began_s = rig.clock.monotonic()
    rig.monitor.add(MonitoredThread("main", threading.current_thread(), HeartbeatClock(rig.clock)))
    rig.monitor.start()
    try:
        while rig.clock.monotonic() < began_s + 2 * HUNG_AFTER_S:
            threading.Event().wait(0.01)
    finally:
        rig.monitor.stop()
    assert rig.health()["loop main"][0] == "failed"
    assert len(rig.lines("thread_hung")) == 1
    assert rig.failures == []


IN_C = """
import ctypes, io, threading
from framesift.clock.clock import SystemClock
from framesift.service.loop_monitor import LoopMonitor
from framesift.telemetry import Telemetry

class Style:
    format, level = "json", "info"

clock = SystemClock()
monitor = LoopMonitor(Telemetry(clock, Style(), out=io.StringIO()), clock, on_failure=print, hung_after_s=1.0)
monitor.start()
def predict_that_keeps_the_interpreter():
    ctypes.PyDLL(None).sleep(3)  # called without giving the interpreter back
predict_that_keeps_the_interpreter()
monitor.stop()
print("over")
"""


def test_code_in_c_that_holds_the_interpreter_lock_is_found() -> None:
    done = subprocess.run([sys.executable, "-c", IN_C], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "over\n", done.stderr
    assert "in predict_that_keeps_the_interpreter" in done.stderr


def test_a_stderr_that_nobody_reads_makes_no_thread_wait() -> None:
    """The pipe is full when the net would write into it, and when the next one is laid."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b"." * 4096):
            pass
    os.set_blocking(writing, True)
    with subprocess.Popen([sys.executable, "-c", IN_C], stdout=subprocess.PIPE, stderr=writing, text=True) as child:
        os.close(writing)
        try:
            assert child.communicate(timeout=60)[0] == "over\n"
        finally:
            child.kill()
            os.close(reading)


def test_hung_threads_are_found_before_the_service_managers_watchdog_ends_the_process() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "systemd" / "framesift.service")
    # The main loop, and what keeps the interpreter, stop feeding it at once; stacks come a check or two later.
    assert float(unit["Service"]["WatchdogSec"]) >= HUNG_AFTER_S + 5.0
