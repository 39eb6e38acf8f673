"""Components: the order of starting and stopping, one deadline for all, and components that hang or fail."""

from __future__ import annotations

import io
import itertools
import json
import random
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clocks import ManualClock
from framesift.clock.clock import HeartbeatClock, MonitoredThread, SystemClock
from framesift.listeners import ListenerSettings, create_listener
from framesift.periodic import NextRun, PeriodicTask
from framesift.service.components import Component, ComponentList, Resource
from framesift.service.loop_monitor import LoopMonitor
from framesift.service.stream_thread import StreamThreads
from framesift.settings import StatusSettings
from framesift.status import DaemonIdentity, StatusServer
from framesift.telemetry import Telemetry
from framesift.upload.uploader import Uploader
from rigs.spools import make_spool
from rigs.uploads import RecordingSink


class _Style:
    format = "json"
    level = "info"


class Run:
    """A list of components, what they did, and what was logged. Time passes only while nobody but the list waits."""

    def __init__(self) -> None:
        self.clock = ManualClock(waiters=1)
        self.out = io.StringIO()
        self.calls: list[str] = []
        self.wakes: list[None] = []
        self.components = ComponentList(
            self.clock,
            Telemetry(self.clock, _Style(), out=self.out),
            stop_within_s=9.0,
            on_failure=lambda: self.wakes.append(None),
        )

    def add(self, name: str, stop_by_s: float | None = None, **how: Any) -> Resource:
        """A component that notes its start and its stop, with the seconds that it was given."""

        def stop(within_s: float) -> object:
            self.calls.append(f"stop {name} {within_s:g}")
            return how["stop"](within_s) if "stop" in how else None

        def start() -> None:
            self.calls.append(f"start {name}")
            if "start" in how:
                how["start"]()

        resource = Resource(name, start=start, stop=stop, threads=how.get("threads", ()))
        return self.components.start(resource, stop_by_s=stop_by_s)

    def stop(self, let_go: threading.Event) -> None:
        """Stop the components, and then let those go that hang, whose threads another test would count."""
        self.components.stop()
        let_go.set()
        for thread in threading.enumerate():
            if thread.name.startswith("stop "):
                thread.join(60.0)

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


def test_components_start_in_order_and_stop_in_the_reverse_order() -> None:
    run = Run()
    for name in ("spool", "uploader", "streams"):
        run.add(name)
    assert run.components.names == ("spool", "uploader", "streams")
    run.components.stop()
    assert run.calls[:3] == ["start spool", "start uploader", "start streams"]
    assert run.calls[3:] == ["stop streams 9", "stop uploader 9", "stop spool 9"]
    assert run.components.failure is None
    run.components.stop()  # nothing happens the second time
    assert len(run.calls) == 6


def test_deadlines_count_from_the_beginning_of_the_stop() -> None:
    run = Run()
    run.add("spool")
    run.add("uploader", stop=lambda _: run.clock.advance(1.5))
    run.add("streams", stop_by_s=5.0, stop=lambda within_s: run.clock.advance(within_s))
    run.components.stop()
    assert run.calls[3:] == ["stop streams 5", "stop uploader 4", "stop spool 2.5"]


def test_a_component_that_hangs_is_named_and_the_others_are_stopped_in_time() -> None:
    run = Run()
    let_go = threading.Event()
    run.add("spool")
    run.add("model", stop_by_s=5.0, stop=lambda _: let_go.wait(60.0))
    run.add("status", stop=lambda _: True)
    run.stop(let_go)
    assert run.calls[3:] == ["stop status 9", "stop model 5", "stop spool 3.8"]
    (line,) = run.lines("component_not_stopped")
    assert (line["level"], line["component"], line["within_s"]) == ("warning", "model", 5.0)


def test_components_with_the_same_deadline_are_stopped_at_the_same_time() -> None:
    run, clock = Run(), SystemClock()
    telemetry = Telemetry(clock, _Style(), out=run.out)
    run.components = ComponentList(clock, telemetry, stop_within_s=60.0, on_failure=lambda: None)
    both = threading.Barrier(2)
    run.add("spool")
    for name in ("upload", "streams"):
        run.add(name, stop_by_s=50.0, stop=lambda _: both.wait(60.0))
    run.add("monitor")
    run.components.stop()
    assert [call.split()[1] for call in run.calls[4:]] in (
        ["monitor", "streams", "upload", "spool"],
        ["monitor", "upload", "streams", "spool"],
    )
    assert run.lines("component_not_stopped") == []


def test_however_many_components_hang_the_stop_takes_hardly_longer_than_allowed() -> None:
    run = Run()
    let_go = threading.Event()
    for number in range(6):
        run.add(f"file {number}", stop=lambda _: let_go.wait(60.0))
    for number in range(6):
        run.add(f"stream {number}", stop_by_s=3.0, stop=lambda _: let_go.wait(60.0))
    began_s = run.clock.monotonic()
    run.stop(let_go)
    took_s = run.clock.monotonic() - began_s
    assert len(run.lines("component_not_stopped")) == 12
    assert run.components.has_left_behind
    assert 9.0 <= took_s < 9.0 + 6 * 0.5


def test_a_component_whose_deadline_is_over_before_its_turn_still_gets_a_moment() -> None:
    run = Run()
    run.add("sink")
    run.add("spool", stop=lambda _: run.clock.advance(20.0))
    run.components.stop()
    assert run.calls[2:] == ["stop spool 9", "stop sink 0.2"]
    assert not run.components.has_left_behind


def test_a_component_that_needs_longer_is_named() -> None:
    run = Run()
    run.add("streams", stop=lambda _: False)
    run.components.stop()
    assert [line["component"] for line in run.lines("component_not_stopped")] == ["streams"]


def test_a_component_that_fails_at_its_start_is_stopped_before_the_others_and_not_listed() -> None:
    run = Run()
    thread = threading.Thread()
    run.add("model")
    with pytest.raises(OSError, match="no such disk"):
        run.add(
            "spool",
            stop_by_s=5.0,
            start=lambda: (_ for _ in ()).throw(OSError("no such disk")),
            threads=[MonitoredThread("writer", thread, HeartbeatClock(run.clock))],
        )
    assert run.components.names == ("model",)
    assert run.components.threads == ()
    assert run.components.idle_s() == {"model": 0.0}
    run.components.stop()
    assert run.calls == ["start model", "start spool", "stop spool 5", "stop model 9"]
    assert run.components.failure is None  # the caller got it


class _Stream:
    """A stream thread without a camera, which runs until it is closed."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.ended.wait, args=(60.0,), daemon=True)

    def start(self) -> None:
        self.thread.start()

    def is_alive(self) -> bool:
        return self.thread.is_alive()

    def close(self) -> None:
        self.calls.append("close stream")
        self.ended.set()

    def join(self, within_s: float) -> None:
        if self.thread.ident is not None:
            self.thread.join(within_s)


_SMALLEST_STACK = 1 << 30
_STACKS = itertools.count()


def _large_mappings() -> int:
    """How many parts of this process' memory are as large as the stack of a thread in `threads_left`."""
    spans = (line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines())
    return sum(int(end, 16) - int(begin, 16) >= _SMALLEST_STACK for begin, end in spans)


@contextmanager
def threads_left(count: int) -> Iterator[None]:
    """The system grants so many threads more, and refuses the next one: its stack has no address space."""
    # Larger every time: the system keeps the stack of a thread that has just ended, for the next one that it suits.
    stack = _SMALLEST_STACK + next(_STACKS) * resource.getpagesize()
    # It gives a kept stack back when another thread ends: that must not be in the middle of the test.
    late_s = time.monotonic() + 10.0
    while _large_mappings() and time.monotonic() < late_s:
        passing = threading.Thread(target=lambda: None)
        passing.start()
        passing.join()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    usual = threading.stack_size(stack)
    resource.setrlimit(resource.RLIMIT_AS, (used + count * stack + stack // 2, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        threading.stack_size(usual)


def test_streams_of_which_one_can_t_start_have_all_ended_before_the_spool_closes() -> None:
    run, clock = Run(), SystemClock()
    run.components = ComponentList(clock, Telemetry(clock, _Style()), stop_within_s=9.0, on_failure=lambda: None)
    streams = [_Stream(run.calls) for _ in range(3)]
    threads = StreamThreads(streams, clock)  # type: ignore[arg-type]
    run.components.start(
        Resource("spool", stop=lambda _: run.calls.append(f"spool closed while streams run: {threads.any_alive()}"))
    )
    with threads_left(1), pytest.raises(RuntimeError, match="can't start new thread"):
        run.components.start(threads)
    assert threads.any_alive()
    run.components.stop()
    assert run.calls == [*["close stream"] * 3, "spool closed while streams run: False"]
    assert run.components.failure is None


class Made:
    """Components of which one has threads; those that it needs are before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.telemetry = Telemetry(self.clock, _Style(), out=io.StringIO())
        self.failures: list[BaseException] = []

    def spool(self) -> list[Component]:
        spool = make_spool(self.folder, self.clock)
        return [Resource("spool", start=spool.open, stop=spool.close)]

    def uploader(self) -> list[Component]:
        spool = make_spool(self.folder, self.clock)
        uploader = Uploader(
            spool,
            RecordingSink(self.clock),
            workers=3,
            sink_limits=(),
            clock=self.clock,
            rng=random.Random(1),
            on_failure=self.failures.append,
        )
        return [Resource("spool", start=spool.open, stop=spool.close), uploader]

    def status_page(self) -> list[Component]:
        endpoint = StatusSettings.model_validate_json('{"bind": "127.0.0.1:0"}')
        return [
            StatusServer(
                endpoint, self.telemetry, hung=dict, identity=DaemonIdentity("test", None, self.folder / "spool.db")
            )
        ]

    def listener(self, **settings: str) -> list[Component]:
        listener = create_listener(
            ListenerSettings.model_validate({"listen": "127.0.0.1:0", **settings}),
            intake_of=lambda stream: pytest.fail(stream),
            clock=self.clock,
            telemetry=self.telemetry,
            on_failure=self.failures.append,
        )
        return [listener]

    def proxy(self) -> list[Component]:
        return self.listener(type="proxy", upstream="http://127.0.0.1:9")

    def periodic_task(self) -> list[Component]:
        return [PeriodicTask("task", lambda: NextRun(60.0), self.clock, on_failure=self.failures.append)]

    def monitor(self) -> list[Component]:
        return [LoopMonitor(self.telemetry, self.clock, on_failure=self.failures.append)]


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize(
    ("create", "number"),
    [
        (Made.spool, 1),
        (Made.uploader, 1),
        (Made.uploader, 3),
        (Made.status_page, 1),
        (Made.listener, 1),
        (Made.proxy, 1),
        (Made.proxy, 2),
        (Made.periodic_task, 1),
        (Made.monitor, 2),  # the first one writes the stacks, in C
    ],
)
def test_a_component_without_all_its_threads_leaves_no_thread_and_no_file_open(
    tmp_path: Path, create: Callable[[Made], list[Component]], number: int
) -> None:
    made = Made(tmp_path)
    *needed, component = create(made)
    components = ComponentList(made.clock, made.telemetry, stop_within_s=9.0, on_failure=lambda: None)
    threads, files = set(threading.enumerate()), open_files()
    for started in needed:
        components.start(started)
    with threads_left(number - 1), pytest.raises(RuntimeError, match="can't start new thread"):
        components.start(component)
    components.stop()
    assert (components.failure, made.failures) == (None, [])
    assert set(threading.enumerate()) - threads == set()
    assert open_files() - files == set()


def test_a_monitor_without_its_thread_leaves_no_timer_that_writes_stacks(tmp_path: Path) -> None:
    def system_threads() -> set[str]:
        return {path.name for path in Path("/proc/self/task").iterdir()}

    before = system_threads()
    (monitor,) = Made(tmp_path).monitor()
    with threads_left(1), pytest.raises(RuntimeError, match="can't start new thread"):
        monitor.start()
    (timer,) = system_threads() - before  # it is a thread of its own, in C
    assert monitor.stop(1.0)
    # The call that cancels it waits for its work, and not until the system has removed it.
    ends_s = time.monotonic() + 10.0
    while timer in system_threads() and time.monotonic() < ends_s:
        threading.Event().wait(0.01)
    assert timer not in system_threads()


def test_a_failure_while_running_wakes_the_service_and_the_first_one_is_kept() -> None:
    run = Run()
    run.add("uploader")
    first, second = ValueError("first"), ValueError("second")
    run.components.fail(first)
    run.components.fail(second)
    assert run.components.failure is first
    assert len(run.wakes) == 2
    run.components.stop()
    assert run.calls[-1] == "stop uploader 9"


def test_an_error_while_stopping_is_a_failure_and_the_others_are_stopped() -> None:
    run = Run()
    run.add("spool")
    run.add("sink", stop=lambda _: 1 / 0)
    run.components.stop()
    assert run.calls[-1] == "stop spool 9"
    assert isinstance(run.components.failure, ZeroDivisionError)
    assert run.lines("component_not_stopped") == []


def test_how_long_a_component_has_not_moved_is_that_of_its_slowest_thread() -> None:
    run = Run()
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, args=(60.0,), daemon=True) for _ in range(2)]
    heartbeats = [HeartbeatClock(run.clock), HeartbeatClock(run.clock)]
    monitored = [MonitoredThread(t.name, t, h) for t, h in zip(threads, heartbeats, strict=True)]
    run.add("uploader", threads=monitored)
    run.add("sink")
    for thread in threads:
        thread.start()
    run.clock.advance(40.0)
    heartbeats[0].monotonic()
    assert run.components.idle_s() == {"uploader": 40.0, "sink": 0.0}
    assert run.components.threads == tuple(monitored)
    end.set()
    for thread in threads:
        thread.join(30.0)
    assert run.components.idle_s()["uploader"] == 0.0
