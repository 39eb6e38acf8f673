"""PeriodicTask: when it runs, by a clock that moves on as soon as the task waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clocks import ManualClock
from framesift.periodic import BackgroundWriter, NextRun, PeriodicTask


class TaskRig:
    """A task whose runs return what they are given; it ends after the last one. ran_s: when it ran, since the start."""

    def __init__(self, *next_runs: NextRun, during: Callable[[int], None] = lambda _: None) -> None:
        clock = ManualClock(waiters=1)
        begun_s = clock.monotonic()
        self.ran_s: list[float] = []
        self.bugs: list[BaseException] = []
        self._over = threading.Event()

        def run_once() -> NextRun:
            self.ran_s.append(clock.monotonic() - begun_s)
            number = len(self.ran_s)
            during(number)
            if number <= len(next_runs):
                return next_runs[number - 1]
            self._over.set()
            return NextRun(1e9)

        def failed(error: BaseException) -> None:
            self.bugs.append(error)
            self._over.set()

        self.task = PeriodicTask("rig", run_once, clock, on_failure=failed)

    def run(self) -> list[float]:
        self.task.start()
        assert self._over.wait(30.0)
        assert self.task.wait_for_first_run(0.0) or self.bugs
        assert self.task.stop(30.0)
        return self.ran_s


def test_it_runs_at_once_and_again_when_each_run_is_due() -> None:
    rig = TaskRig(NextRun(15.0), NextRun(0.0), NextRun(3000.0))
    assert not rig.task.wait_for_first_run(0.0)
    assert rig.run() == [0.0, 15.0, 15.0, 3015.0]
    assert rig.bugs == []


def test_woken_it_runs_at_once_and_then_as_before() -> None:
    rig = TaskRig(NextRun(15.0), NextRun(15.0), during=lambda run_once: rig.task.wake() if run_once == 1 else None)
    assert rig.run() == [0.0, 0.0, 15.0]


def test_woken_it_runs_after_the_minimum_pause_and_unwoken_when_it_is_due() -> None:
    rest = NextRun(50.0, min_s=30.0)
    rig = TaskRig(rest, rest, during=lambda run_once: rig.task.wake() if run_once == 1 else None)
    assert rig.run() == [0.0, 30.0, 80.0]


def test_it_can_be_stopped_before_it_started_and_during_a_run() -> None:
    rig = TaskRig(during=lambda _: rig.task.wake())
    assert rig.task.idle_s() == 0.0
    assert rig.task.stop(0.0)
    assert rig.task.is_stopping
    running, going_on = threading.Event(), threading.Event()

    def slow() -> NextRun:
        running.set()
        assert going_on.wait(30.0)
        return NextRun(1e9, min_s=1e9)

    task = PeriodicTask("slow", slow, ManualClock(), on_failure=rig.bugs.append)
    task.start()
    assert running.wait(30.0)
    assert not task.stop(0.0)
    going_on.set()
    assert task.stop(30.0)
    assert rig.bugs == []


def test_an_unexpected_error_ends_it_and_is_reported() -> None:
    rig = TaskRig(NextRun(1.0), during=lambda run_once: [][run_once] if run_once > 1 else None)
    assert rig.run() == [0.0, 1.0]
    assert [type(bug) for bug in rig.bugs] == [IndexError]
    assert rig.task.idle_s() == 0.0


class NoteWriter(BackgroundWriter):
    """Writes notes at each run. blocked: how a run ends, or hangs."""

    def __init__(self, blocked: Callable[[], object] = lambda: None) -> None:
        super().__init__("notes", self._write, ManualClock(), on_failure=lambda _: None)
        self.notes: list[str] = []
        self.written: list[str] = []
        self.is_at_work = threading.Event()
        self._blocked = blocked

    def write_rest(self) -> None:
        self.written += self.notes
        self.notes = []

    def _write(self) -> NextRun:
        self.is_at_work.set()
        self._blocked()
        self.write_rest()
        return NextRun(1e9)


def test_a_background_writer_writes_what_came_last_after_its_thread_has_ended() -> None:
    writer = NoteWriter()
    writer.notes.append("first")
    writer.start()
    assert writer.wait_for_first_run(30.0)
    writer.notes.append("last")
    assert writer.stop(30.0)
    assert writer.written == ["first", "last"]
    assert writer.threads == ()


def test_one_whose_run_hangs_is_left_alone_and_writes_nothing_beside_it() -> None:
    free = threading.Event()
    writer = NoteWriter(lambda: free.wait(30.0))
    writer.notes.append("note")
    writer.start()
    assert writer.is_at_work.wait(30.0)
    assert not writer.stop(0.0)
    assert writer.written == []
    free.set()
    assert writer.stop(30.0)
    assert writer.written == ["note"]
