"""Pauses: which streams take no frames, and when that ends, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clocks import ManualClock
from framesift.sampling.pauses import Pauses


class Rig:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.folder = folder / "pauses"
        self.events: list[tuple[str, Any, Any]] = []
        self.pauses = self.started()

    def started(self) -> Pauses:
        def report(name: str, fields: Mapping[str, object]) -> None:
            self.events.append((name, fields.get("stream"), fields.get("by")))

        pauses = Pauses(self.clock, self.folder, report)
        pauses.restore()
        return pauses

    def paused(self, pauses: Pauses | None = None) -> list[str]:
        return [name for name in ("gate", "yard", "shed") if (pauses or self.pauses).of(name)]


def test_a_pause_with_an_end_ends_by_itself_to_the_second_and_is_reported_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.pauses.pause("gate", 60.0, "alice")
    rig.clock.advance(59.0)
    rig.pauses.end_due()
    assert rig.paused() == ["gate"]
    rig.clock.advance(1.0)
    assert rig.paused() == []  # whether or not anybody has looked
    rig.pauses.end_due()
    rig.pauses.end_due()
    assert rig.events == [("stream_paused", "gate", "alice"), ("stream_resumed", "gate", "time")]


def test_a_pause_without_an_end_lasts(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.pauses.pause("gate", None, "alice")
    rig.clock.advance(400 * 86_400.0)
    rig.pauses.end_due()
    assert rig.paused() == ["gate"]


def test_all_streams_are_paused_but_those_that_are_resumed_and_resumed_with_one_word(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.pauses.pause(None, None, "alice")
    assert rig.pauses.of("a stream that comes later") is not None
    assert rig.pauses.resume("yard", "bob")
    for pauses in (rig.pauses, rig.started()):
        assert rig.paused(pauses) == ["gate", "shed"]
    rig.pauses.pause(None, 60.0, "alice")  # now really all again
    assert rig.paused() == ["gate", "yard", "shed"]
    rig.pauses.pause("shed", None, "alice")
    assert rig.pauses.resume(None, "bob")
    assert rig.paused() == rig.paused(rig.started()) == []
    assert not rig.pauses.resume(None, "bob")


def test_of_two_pauses_the_one_that_ends_later_holds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.pauses.pause(None, 60.0, "alice")
    rig.pauses.pause("gate", 120.0, "bob")
    found = rig.pauses.of("gate")
    assert found is not None
    assert found.by == "bob"
    rig.clock.advance(60.0)
    rig.pauses.end_due()
    assert rig.paused() == ["gate"]
    assert rig.events[-1] == ("stream_resumed", "all", "time")
    rig.pauses.pause("gate", None, "bob")
    rig.pauses.pause(None, 60.0, "alice")
    assert rig.pauses.of("gate") == rig.pauses.pause("gate", None, "bob")


def test_a_pause_goes_on_after_a_restart_and_ends_at_the_time_that_was_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.pauses.pause("gate", 60.0, "alice")
    rig.pauses.pause("yard", 20.0, "alice")
    rig.clock.advance(30.0)
    again = rig.started()
    assert rig.paused(again) == ["gate"]
    assert rig.events[2:] == [("stream_resumed", "yard", "time"), ("stream_paused", "gate", "alice")]
    rig.clock.reboot("boot-2")
    rig.clock.advance(30.0)
    assert rig.paused(rig.started()) == []
