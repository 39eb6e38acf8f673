"""What an intake tells coverage: whole devices on a test's clock, with a real spool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clocks import NOON_S
from framesift.coverage import CountedCoverage, CoverageCounts, Tally
from framesift.frame import AbsentPicture, Frame
from rigs.paced_device import ALL, UNSURE, PacedDevice, PacedDevices, policy, unsure
from sampling_data import objects

FEW = {**ALL, "limits": [{"type": "hourly", "value": 2}]}


class Rig(PacedDevices):
    """Devices, one after the other, whose frames are counted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.counts = CoverageCounts(NOON_S)

    def device(self, *strategies: dict[str, Any], **fields: Any) -> PacedDevice:
        return self.add(policy(*strategies, **fields), coverage=self.counts)

    def counted(self) -> CountedCoverage:
        return self.counts.snapshot(NOON_S, "UTC")

    def tallies(self) -> tuple[Tally, Tally]:
        """Seen and collected of the only stream and day."""
        (one,) = self.counted().days
        assert (one.stream, one.day) == ("gate", int(NOON_S // 86_400))
        return one.seen, one.collected


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path)) as rig:
        yield rig


def test_one_frame_a_second_is_seen_and_each_accepted_one_is_collected(rig: Rig) -> None:
    device = rig.device(FEW)
    for classes in (("car",), ("bus",), ("car",), ("car", "truck")):
        device.offer(objects(*((name, 0.5) for name in classes)))
        rig.clock.advance(0.5)
    seen, collected = rig.tallies()
    assert (seen.frames, seen.classes) == (2, {"car": 2})
    assert (collected.frames, collected.classes) == (2, {"car": 1, "bus": 1})
    assert (seen.hours[12], collected.hours[12]) == (2, 2)
    assert seen.objects == [0, 2, 0, 0]


def test_a_frame_counts_in_the_hour_in_which_it_was_captured(rig: Rig) -> None:
    rig.device(ALL).offer(objects(("car", 0.5)), age_s=1.0)
    seen, collected = rig.tallies()
    assert (seen.hours[11], collected.hours[11]) == (1, 1)


@pytest.mark.parametrize(("shade", "brightness"), [(0, [1, 0, 0]), (60, [0, 1, 0]), (255, [0, 0, 1])])
def test_the_brightness_is_that_of_the_picture(rig: Rig, shade: int, brightness: list[int]) -> None:
    frame = Frame("gate", 0, np.full((96, 128, 3), shade, np.uint8), rig.clock.now())
    rig.device(ALL).intake().offer(frame, objects(("car", 0.5)))
    seen, collected = rig.tallies()
    assert seen.brightness == collected.brightness == brightness


def test_a_held_frame_is_collected_when_its_turn_comes_and_the_others_are_not(rig: Rig) -> None:
    device = rig.device(UNSURE)
    for score in (0.5, 0.9, 0.7):
        device.offer(unsure(score))
    assert rig.tallies()[1].frames == 0
    assert len(rig.counted().pending) == 1  # the best; the others were dropped for it
    rig.clock.advance(601.0)
    device.holds.advance()
    assert len(device.delivered()) == 1
    seen, collected = rig.tallies()
    assert (seen.frames, collected.frames, collected.classes) == (1, 1, {"car": 1})
    assert rig.counted().pending == {}


def test_what_was_held_before_a_restart_is_collected_after_it(rig: Rig) -> None:
    device = rig.device(UNSURE)
    device.offer(unsure(0.9))
    device.holds.stop(5.0)
    device.close()
    rig.devices.clear()
    kept = rig.counted()
    rig.counts = CoverageCounts(NOON_S)
    rig.counts.restore(kept)
    device = rig.device(UNSURE)
    rig.clock.advance(601.0)
    device.holds.advance()
    assert len(device.delivered()) == 1
    assert rig.tallies()[1].frames == 1
    assert rig.counted().pending == {}


def test_a_picture_that_cannot_be_read_is_not_seen_and_its_frame_is_decided_on(rig: Rig) -> None:
    device = rig.device({**ALL, "traffic_percentage": 0})
    frame = Frame("gate", 0, AbsentPicture(128, 96, "no picture"), rig.clock.now())
    decision = device.intake().offer(frame, objects(("car", 0.5)))
    assert decision.refusal == "no_match"
    assert rig.counted().days == ()


def test_what_a_policy_that_is_off_does_not_decide_on_is_not_seen(rig: Rig) -> None:
    device = rig.device(ALL, enabled=False)
    device.offer(objects(("car", 0.5)))
    assert rig.counted().days == ()
