"""Frames of files with their media time as the time of capture, in the order of that time."""

from __future__ import annotations

import math
import threading
from pathlib import Path

from framesift.clock.media_clock import MediaClock
from framesift.streams import MediaTimedStream
from rigs.footage import sparse_clip
from rigs.stream_reader import RecordedStream, StepClock, close

START_S = 1_789_041_600.0


def test_a_file_that_begins_again_goes_on_in_time(tmp_path: Path) -> None:
    clip = sparse_clip(tmp_path / "clip.mp4", [0.0, 600.0, 1200.0])
    watched = RecordedStream(source=str(clip), loop=True)
    media_clock = MediaClock(StepClock(), START_S, [watched.stream.name])
    frames = MediaTimedStream(watched.stream, media_clock, clock=StepClock(), stop=watched.stop).frames()
    captured = [next(frames).captured for _ in range(7)]
    close(frames)
    assert [moment.wall_s - START_S for moment in captured] == [600.0 * index for index in range(7)]
    assert len({(moment.wall_s - moment.boottime_s, moment.boot_id) for moment in captured}) == 1


def test_pictures_of_several_streams_are_shown_one_at_a_time_in_order() -> None:
    clock = MediaClock(StepClock(), START_S, ["north", "south"])
    assert clock.reach("south", 5.0, 0.0) is None  # north may bring an earlier one
    assert clock.reach("north", 4.0, 0.0) is not None
    assert clock.reach("south", 5.0, 0.0) is None  # north is at work, and may bring another one before
    assert clock.reach("north", 5.0, 0.0) is not None  # at the same time the names decide
    assert clock.reach("north", 6.0, 0.0) is None
    moment = clock.reach("south", 5.0, 0.0)
    assert moment is not None
    assert moment.wall_s == START_S + 5.0
    assert clock.reach("north", 6.0, 0.0) is None
    clock.leave("south")
    assert clock.reach("north", 6.0, 0.0) is not None


def test_time_goes_on_as_the_machines_does_and_is_never_before_the_latest_picture() -> None:
    machine = StepClock()
    clock = MediaClock(machine, START_S, ["gate"])
    clock.reach("gate", 100.0, 0.0)
    machine.at_s += 7.0
    assert clock.now().wall_s == START_S + 107.0
    late = clock.reach("gate", 103.0, 0.0)
    assert late is not None
    assert late.wall_s_as_of(clock.now()) == START_S + 103.0
    assert clock.now().wall_s == START_S + 107.0
    clock.reach("gate", 4000.0, 0.0)
    assert clock.now().wall_s == START_S + 4000.0


def test_a_stop_ends_the_wait_for_another_stream(tmp_path: Path) -> None:
    clip = sparse_clip(tmp_path / "clip.mp4", [0.0, 1.0])
    watched = RecordedStream(source=str(clip))
    media_clock = MediaClock(StepClock(), START_S, [watched.stream.name, "another"])
    timed = MediaTimedStream(watched.stream, media_clock, clock=StepClock(), stop=watched.stop)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(frame.number for frame in timed.frames()), daemon=True)
    thread.start()
    assert watched.wait_for(lambda: bool(watched.events))
    watched.stop.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert seen == []


class Alarms:
    """An Agenda of things that are due at certain times; each may name another one when it is done."""

    def __init__(self, clock: MediaClock, *due_s: float) -> None:
        self._clock = clock
        self.due_s = [START_S + at_s for at_s in due_s]
        self.done_s: list[float] = []

    def due_in_s(self) -> float:
        return max(0.0, min(self.due_s, default=math.inf) - self._clock.pictures.now().wall_s)

    def advance(self) -> None:
        self.done_s.append(round(self._clock.pictures.now().wall_s - START_S, 2))
        self.due_s.remove(min(self.due_s))


def test_what_is_due_between_two_pictures_is_done_at_its_time_before_the_later_one_is_shown() -> None:
    machine = StepClock()
    clock = MediaClock(machine, START_S, ["gate"])
    alarms = Alarms(clock, 600.0, 30.0, 10.0)
    clock.follow(alarms)
    clock.reach("gate", 0.0, 0.0)
    machine.at_s += 100.0  # the model is slow
    assert clock.pictures.now().wall_s == START_S
    clock.reach("gate", 40.0, 0.0)
    assert alarms.done_s == [10.0, 30.0]
    assert clock.pictures.now().wall_s == START_S + 40.0
    clock.reach("gate", 700.0, 0.0)
    assert alarms.done_s == [10.0, 30.0, 600.0]
