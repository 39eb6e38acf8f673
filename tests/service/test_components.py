"""Components: the order of starting and stopping, one deadline for all, and components that hang or fail."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest

from clocks import ManualClock
from framesift.clock.clock import HeartbeatClock, MonitoredThread
from framesift.service.components import ComponentList, Resource
from framesift.telemetry import Telemetry


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

    def add(self, name: str, reserve_s: float = 0.0, **how: Any) -> Resource:
        """A component that notes its start and its stop, with the seconds that it was given."""

        def stop(within_s: float) -> object:
            self.calls.append(f"stop {name} {within_s:g}")
            return how["stop"](within_s) if "stop" in how else None

        def start() -> None:
            self.calls.append(f"start {name}")
            if "start" in how:
                how["start"]()

        resource = Resource(name, start=start, stop=stop, threads=how.get("threads", ()))
        return self.components.start(resource, reserve_s=reserve_s)

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


def test_one_deadline_is_shared_and_a_component_leaves_what_it_must_to_those_after_it() -> None:
    run = Run()
    run.add("spool")
    run.add("uploader", stop=lambda _: run.clock.advance(1.5))
    run.add("streams", reserve_s=4.0, stop=lambda within_s: run.clock.advance(within_s))
    run.components.stop()
    assert run.calls[3:] == ["stop streams 5", "stop uploader 4", "stop spool 2.5"]


def test_a_component_that_hangs_is_named_and_the_others_are_stopped_in_time() -> None:
    run = Run()
    let_go = threading.Event()
    run.add("spool")
    run.add("model", reserve_s=4.0, stop=lambda _: let_go.wait(60.0))
    run.add("status", stop=lambda _: True)
    run.components.stop()
    let_go.set()
    assert run.calls[3:] == ["stop status 9", "stop model 5", "stop spool 3.5"]
    (line,) = run.lines("component_not_stopped")
    assert (line["level"], line["component"], line["within_s"]) == ("warning", "model", 5.0)


def test_a_component_that_needs_longer_is_named() -> None:
    run = Run()
    run.add("streams", stop=lambda _: False)
    run.components.stop()
    assert [line["component"] for line in run.lines("component_not_stopped")] == ["streams"]


def test_a_component_that_fails_at_its_start_stops_those_before_it_only() -> None:
    run = Run()
    run.add("model")
    with pytest.raises(OSError, match="no such disk"):
        run.add("spool", start=lambda: (_ for _ in ()).throw(OSError("no such disk")))
    assert run.components.names == ("model",)
    run.components.stop()
    assert run.calls == ["start model", "start spool", "stop model 9"]
    assert run.components.failure is None  # the caller got it


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
