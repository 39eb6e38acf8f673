"""A frame of the sub stream gets the picture of the main stream that was taken at the same time, and hears how near."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from framesift.streams import StreamState
from framesift.streams.snapshots.ticket import SkewMeasure, SnapshotMissReason
from rigs.two_streams import MAIN_SIZE, Snapshots, TwoStreams, numbers_apart


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene")


@pytest.mark.parametrize(("late_s", "ahead_s"), [(0.4, 3600.0), (-0.4, 0.0)])
def test_by_the_clock_of_the_camera_the_picture_is_the_same_whichever_stream_comes_later(
    folder: Path, late_s: float, ahead_s: float
) -> None:
    camera = TwoStreams(folder, late_s=late_s, clock_ahead_s=ahead_s)
    with camera, Snapshots(camera.sub.url, camera.main.url) as reading:
        reading.until(StreamState.RUNNING)
        for _ in range(6):
            reading.frame()
            frame = reading.frame()
            snapshot = reading.snapshot(frame)
            assert abs(numbers_apart(snapshot, frame)) <= 1
            assert (snapshot.width, snapshot.height) == MAIN_SIZE
            assert snapshot.measured_by is SkewMeasure.SENDER
            assert abs(snapshot.skew_s) <= 0.021
            assert frame.sent_s is not None
            assert snapshot.sent_s == pytest.approx(frame.sent_s + snapshot.skew_s)
            later_s = snapshot.taken_at.boottime_s - frame.captured.boottime_s
            assert later_s == pytest.approx(late_s, abs=0.3)
            assert not snapshot.pixels.flags.writeable
            snapshot.release()


def test_without_it_the_picture_is_the_one_that_arrived_with_the_frame(folder: Path) -> None:
    camera = TwoStreams(folder, late_s=0.4, clock_ahead_s=None)
    with camera, Snapshots(camera.sub.url, camera.main.url) as reading:
        reading.until(StreamState.RUNNING)
        for _ in range(25):  # the first ones have waited until their source was open
            frame = reading.frame()
        snapshot = reading.snapshot(frame)
        assert snapshot.measured_by is SkewMeasure.ARRIVAL
        assert snapshot.sent_s is None
        later_s = snapshot.taken_at.boottime_s - frame.captured.boottime_s
        assert snapshot.skew_s == pytest.approx(later_s, abs=0.05)
        assert abs(snapshot.skew_s) < 0.3
        assert numbers_apart(snapshot, frame) == pytest.approx(-10, abs=5)  # which is 0.4 s, and nobody can know it


def test_a_picture_that_is_too_far_away_is_none(folder: Path) -> None:
    camera = TwoStreams(folder)
    with camera, Snapshots(camera.sub.url, camera.main.url) as reading:
        reading.until(StreamState.RUNNING)
        frame = reading.frame()
        assert frame.sent_s is not None
        taken = replace(frame.captured, boottime_s=frame.captured.boottime_s - 60)
        missed = reading.missed(replace(frame, captured=taken, sent_s=frame.sent_s - 60))
        assert missed.reason is SnapshotMissReason.SKEW
        assert re.fullmatch(r"the nearest picture is \+[56]\d\.\d\d s away", missed.detail)


def test_the_process_keeps_nothing_of_the_pictures_that_it_has_sent(folder: Path) -> None:
    camera = TwoStreams(folder)
    with camera, Snapshots(camera.sub.url, camera.main.url) as reading:
        reading.until(StreamState.RUNNING)
        held = []
        for number in range(60):
            reading.snapshot(reading.frame()).release()
            if number in (9, 59):
                held.append((_descriptors(reading.keeper_pid()), _resident_kb(reading.keeper_pid())))
        assert held[1][0] == held[0][0]
        assert held[1][1] - held[0][1] < 15_000  # 50 pictures are 36,000, and packets still come in


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))
