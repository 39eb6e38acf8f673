"""Cameras: a real RTSP server and a network that stalls and breaks. The newest picture counts, every loss recovers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framesift.clock.clock import SystemClock
from framesift.frame import Frame, SkipReason
from framesift.streams import StreamLost, StreamState
from rigs.footage import numbered_clip, read_number, real_pictures, with_sensor_noise, write_clip
from rigs.rtsp import CuttableConnection, RtspCamera
from rigs.stream_reader import RecordedStream, StepClock

# Between the camera's count and ours: OpenCV hands out a picture of an RTSP stream twice now and then.
MOST_REPEATS = 5
RUNNING, LOST, FROZEN = StreamState.RUNNING, StreamState.LOST, StreamState.FROZEN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    numbered_clip(folder / "clip.mp4", 250)
    numbered_clip(folder / "still.mp4", 100, still_from=0)
    return folder


@pytest.fixture(scope="module")
def camera(folder: Path) -> Iterator[RtspCamera]:
    with RtspCamera(folder) as camera:
        yield camera


@pytest.fixture
def wire(camera: RtspCamera) -> Iterator[CuttableConnection]:
    with CuttableConnection(camera.port) as wire:
        yield wire


def test_a_camera_shows_its_pictures_in_order_with_the_time_of_their_capture(wire: CuttableConnection) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"))
    began = SystemClock().now()
    frames: list[tuple[Frame, int]] = []
    for frame in watched.stream.frames():
        frames.append((frame, read_number(frame.pixels)))
        if len(frames) == 30:
            break
    ended = SystemClock().now()
    assert [drawn for _, drawn in frames] == sorted(drawn for _, drawn in frames)
    assert all(0 <= frame.number - drawn <= MOST_REPEATS for frame, drawn in frames)
    captures = [frame.captured for frame, _ in frames]
    assert [moment.boottime_s for moment in captures] == sorted(moment.boottime_s for moment in captures)
    assert began.boottime_s <= captures[0].boottime_s <= captures[-1].boottime_s <= ended.boottime_s
    assert began.wall_s - 1 <= captures[0].wall_s <= ended.wall_s + 1
    assert {(frame.epoch, frame.media_s) for frame, _ in frames} == {(0, None)}
    assert watched.states == [RUNNING]
    assert wire.url("clip.mp4") in watched.events[0].detail


def test_a_busy_model_gets_the_newest_picture_and_the_others_are_counted(wire: CuttableConnection) -> None:
    busy, meanwhile = RecordedStream(source=wire.url("clip.mp4")), RecordedStream(source=wire.url("clip.mp4"))
    frames = busy.stream.frames()
    first = next(frames)
    drawn = read_number(first.pixels)
    before = busy.skipped[SkipReason.BUSY]
    meanwhile.take(40)  # more than a second of the same camera passes before the model is done
    assert read_number(first.pixels) == drawn  # what it looks at did not change under its eyes
    then = next(frames)
    assert then.number - first.number > 20
    assert 0 <= then.number - read_number(then.pixels) <= MOST_REPEATS
    assert busy.skipped == {SkipReason.BUSY: before + then.number - first.number - 1}
    age_s = SystemClock().now().boottime_s - then.captured.boottime_s
    assert age_s < 1.0
    busy.stream.close()


def test_fps_thins_a_camera_by_the_clock_and_counts_the_rest(wire: CuttableConnection) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"), fps=5.0)
    began_s = time.monotonic()
    numbers = watched.take(8)
    assert time.monotonic() - began_s >= 6 / 5.0
    steps = [later - earlier for earlier, later in pairwise(numbers[2:])]
    assert all(3 <= step <= 7 for step in steps)
    assert sum(watched.skipped.values()) == numbers[-1] - len(numbers) + 1
    assert watched.skipped[SkipReason.RATE] >= numbers[-1] - len(numbers) - 3


def test_a_camera_slower_than_its_time_out_is_not_taken_for_a_stalled_one(wire: CuttableConnection) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"), fps=0.4, read_timeout_s=0.5)
    watched.take(2)  # 2.5 s apart, with a picture every 40 ms in between
    assert watched.states == [RUNNING]


def test_a_camera_that_loses_its_power_is_lost_once_and_found_once(folder: Path) -> None:
    with RtspCamera(folder) as camera:
        watched = RecordedStream(source=camera.url("clip.mp4"))
        back_s = 0.0
        numbers, epochs = [], []

        def restart() -> None:
            nonlocal back_s
            camera.start()
            back_s = time.monotonic()

        restarting = threading.Timer(2.0, restart)
        for frame in watched.stream.frames():
            numbers.append(frame.number)
            epochs.append(frame.epoch)
            if len(numbers) == 5:
                camera.stop()
                restarting.start()
            if frame.epoch == 1:
                break
        assert back_s > 0.0
        assert time.monotonic() - back_s < 10.0
    assert watched.states == [RUNNING, LOST, RUNNING]
    assert numbers == sorted(set(numbers))
    assert epochs == [0] * (len(epochs) - 1) + [1]
    assert watched.events[1].detail.endswith("the connection ended")


def test_a_stalled_camera_is_noticed_and_reconnected(wire: CuttableConnection) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"), read_timeout_s=1.0)
    stalled_s = lost_s = 0.0
    for index, frame in enumerate(watched.stream.frames()):
        if index == 5:
            wire.stall()
            stalled_s = time.monotonic()

            def resume_once_lost() -> None:
                if watched.wait_for(lambda: LOST in watched.states):
                    wire.resume()

            thread = threading.Thread(target=resume_once_lost)
            thread.start()
        if frame.epoch == 1:
            lost_s = time.monotonic()
            break
    thread.join(10)
    assert watched.states == [RUNNING, LOST, RUNNING]
    assert watched.events[1].detail.endswith("no picture for 1 s")
    assert lost_s - stalled_s < 12.0


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_connection_that_breaks_is_made_again(wire: CuttableConnection, reset: bool) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"))
    for index, frame in enumerate(watched.stream.frames()):
        if index == 5:
            wire.cut(reset=reset)
        if frame.epoch == 1:
            break
    assert watched.states == [RUNNING, LOST, RUNNING]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_decoder_that_dies_is_started_again(wire: CuttableConnection, number: signal.Signals) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"))
    for index, frame in enumerate(watched.stream.frames()):
        if index == 5:
            [pid] = watched.reader_pids()
            os.kill(pid, number)
        if frame.epoch == 1:
            break
    assert watched.states == [RUNNING, LOST, RUNNING]
    assert f"killed by {number.name}" in watched.events[1].detail


def test_a_decoder_that_hangs_is_killed(wire: CuttableConnection) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"), read_timeout_s=0.5)
    hung = 0
    for index, frame in enumerate(watched.stream.frames()):
        if index == 5:
            [hung] = watched.reader_pids()
            os.kill(hung, signal.SIGSTOP)
        if frame.epoch == 1:
            break
    assert watched.states == [RUNNING, LOST, RUNNING]
    assert watched.events[1].detail.endswith("no picture for 0.5 s")
    assert hung not in watched.reader_pids()


def test_a_camera_that_accepts_and_never_answers_is_given_up_in_time(wire: CuttableConnection) -> None:
    wire.stall()
    watched = RecordedStream(source=wire.url("clip.mp4"), open_timeout_s=0.5)
    began_s = time.monotonic()
    with pytest.raises(StreamLost, match="did not open"):
        watched.stream.first_frame(20.0)
    assert time.monotonic() - began_s < 10.0


def test_a_decoder_that_hangs_while_it_opens_is_killed(wire: CuttableConnection) -> None:
    wire.stall()
    watched = RecordedStream(source=wire.url("clip.mp4"), open_timeout_s=1.0)

    def hang() -> None:
        if wire.wait_for_connections(1, 10.0):
            for pid in watched.reader_pids():
                os.kill(pid, signal.SIGSTOP)

    hanging = threading.Thread(target=hang)
    hanging.start()
    with pytest.raises(StreamLost, match="did not open within 1 s"):
        watched.stream.first_frame(12.0)
    hanging.join(10)
    assert watched.reader_pids() == []


def test_the_first_frame_of_a_camera_that_sends_nothing_times_out(wire: CuttableConnection) -> None:
    wire.stall()
    watched = RecordedStream(source=wire.url("clip.mp4"), open_timeout_s=60.0)
    with pytest.raises(StreamLost, match="no picture within 1 s"):
        watched.stream.first_frame(1.0)
    assert watched.reader_pids() == []


def test_a_stream_that_waits_for_a_camera_gives_its_heartbeat(wire: CuttableConnection) -> None:
    wire.stall()
    looks = threading.Semaphore(0)

    class Watching(SystemClock):
        def monotonic(self) -> float:
            looks.release()
            return super().monotonic()

    watched = RecordedStream(source=wire.url("clip.mp4"), clock=Watching(), open_timeout_s=60.0)
    thread = watched.in_thread()
    assert wire.wait_for_connections(1, 20.0)
    while looks.acquire(blocking=False):
        pass  # those before the camera was asked
    assert all(looks.acquire(timeout=5.0) for _ in range(3))
    watched.stop.set()
    thread.join(10)
    assert watched.states == []


def test_a_camera_that_was_never_there_is_reported_once_and_tried_again(wire: CuttableConnection) -> None:
    wire.unplug()
    clock = StepClock()
    watched = RecordedStream(source=wire.url("clip.mp4"), clock=clock)
    thread = watched.in_thread()
    assert watched.wait_for(lambda: len(watched.events) == 1)
    wire.plug()
    assert watched.wait_for(lambda: len(watched.events) == 2)
    watched.stop.set()
    thread.join(10)
    assert watched.states == [LOST, RUNNING]
    assert watched.events[0].detail.endswith("connection refused")


def test_the_right_credentials_open_the_stream_in_either_place(camera: RtspCamera) -> None:
    password = "s3cr/et p@ss"
    with CuttableConnection(camera.port, credentials=f"viewer:{password}") as wire:
        apart = RecordedStream(source=wire.url("clip.mp4"), username="viewer", password=password)
        assert apart.take(2)
        inside = wire.url("clip.mp4").replace("//", "//viewer:s3cr%2Fet%20p%40ss@")
        assert RecordedStream(source=inside).take(2)
    assert password not in str(apart.events)


def test_the_reason_of_a_lost_camera_is_the_one_that_lasts(folder: Path) -> None:
    with RtspCamera(folder) as camera:
        watched = RecordedStream(source=camera.url("clip.mp4"))
        thread = watched.in_thread()
        assert watched.wait_for(lambda: watched.states == [RUNNING])
        camera.stop()
        assert watched.wait_for(lambda: any("connection refused" in event.detail for event in watched.reasons))
        assert watched.wait_for(lambda: "connection refused" in watched.stream.detail)
        watched.stop.set()
        thread.join(10)
    assert watched.states == [RUNNING, LOST]
    assert "connection ended" in watched.events[-1].detail
    assert {event.state for event in watched.reasons} == {LOST}


def test_wrong_credentials_are_reported_once_and_never_shown(camera: RtspCamera) -> None:
    with CuttableConnection(camera.port, credentials="viewer:right") as wire:
        watched = RecordedStream(
            source=wire.url("clip.mp4"), username="viewer", password="wr0ng-word", clock=StepClock()
        )
        thread = watched.in_thread()
        assert wire.wait_for_connections(4, 20.0)
        watched.stop.set()
        thread.join(10)
    assert watched.states == [LOST]
    assert "credentials rejected" in watched.events[0].detail
    for secret in ("wr0ng-word", "viewer"):
        assert secret not in str(watched.events)
    assert "credentials rejected" in watched.stream.detail


def test_a_stream_that_the_camera_does_not_have_is_reported_as_such(wire: CuttableConnection) -> None:
    with pytest.raises(StreamLost, match="no such stream"):
        RecordedStream(source=wire.url("other.mp4")).stream.first_frame(10.0)


@pytest.mark.parametrize("source", [63, "/dev/video63", "/dev/v4l/by-id/unplugged-video-index0"])
def test_a_webcam_that_is_not_there_is_an_error_that_names_it(source: str | int) -> None:
    watched = RecordedStream(source=source)
    assert not watched.stream.finite
    device = source if isinstance(source, str) else f"/dev/video{source}"
    with pytest.raises(StreamLost, match=f"{device} does not exist"):
        watched.stream.first_frame(10.0)


def test_the_same_picture_for_a_minute_is_frozen_and_connected_to_once_more(wire: CuttableConnection) -> None:
    clock = StepClock()
    watched = RecordedStream(source=wire.url("still.mp4"), clock=clock)
    shown = []

    def read() -> None:
        for frame in watched.stream.frames():
            shown.append(clock.at_s)
            assert read_number(frame.pixels) == 0
            clock.at_s += 10.0

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert watched.wait_for(lambda: watched.skipped[SkipReason.FROZEN] >= 20)
    watched.stop.set()
    thread.join(10)
    assert watched.states == [RUNNING, FROZEN]
    # The first picture, and 55 s more.
    assert 6 <= len(shown) <= 9
    assert wire.accepted == 2


def night() -> Iterator[NDArray[np.uint8]]:
    """A real street in the dark, where nothing moves, with the noise of a sensor."""
    rng = np.random.default_rng(2)
    dark = real_pictures()[0] * 0.12 + 4.0
    return (with_sensor_noise(dark, 1.2, rng) for _ in range(100))


def hung_with_clock() -> Iterator[NDArray[np.uint8]]:
    """A camera that hangs and still draws its clock."""
    picture = real_pictures()[0]
    for index in range(400):
        shown = picture.copy()
        cv2.putText(shown, f"12:00:{index // 2 % 60:02d}", (8, 20), cv2.FONT_HERSHEY_PLAIN, 1.2, (255, 255, 255))
        yield shown


@pytest.mark.exhaustive
@pytest.mark.parametrize(("pictures", "is_frozen"), [(night, False), (hung_with_clock, True)])
def test_noise_keeps_a_camera_running_and_a_clock_does_not(
    pictures: Callable[[], Iterator[NDArray[np.uint8]]], is_frozen: bool, tmp_path: Path
) -> None:
    write_clip(tmp_path / "clip.mp4", pictures(), fps=25, gop=50, b="400000")
    clock = StepClock()
    with RtspCamera(tmp_path) as camera:
        watched = RecordedStream(source=camera.url("clip.mp4"), clock=clock)
        watched.on_skip = lambda: watched.stop.set() if watched.skipped[SkipReason.FROZEN] else None
        for shown, _ in enumerate(watched.stream.frames()):
            clock.at_s += 0.5
            if shown == 350:
                break
    assert (FROZEN in watched.states) == is_frozen


def test_a_camera_that_was_frozen_is_so_after_a_loss_without_a_frame_in_between(wire: CuttableConnection) -> None:
    clock = StepClock()
    watched = RecordedStream(source=wire.url("still.mp4"), clock=clock)
    shown_frozen = []

    def read() -> None:
        for _ in watched.stream.frames():
            shown_frozen.append(FROZEN in watched.states)
            clock.at_s += 10.0

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert watched.wait_for(lambda: watched.skipped[SkipReason.FROZEN] >= 5)
    wire.cut(reset=True)
    assert watched.wait_for(lambda: watched.states[-1] is LOST)
    skipped = watched.skipped[SkipReason.FROZEN]
    assert watched.wait_for(lambda: watched.skipped[SkipReason.FROZEN] >= skipped + 5)
    watched.stop.set()
    thread.join(10)
    assert watched.states == [RUNNING, FROZEN, LOST, FROZEN]
    assert not any(shown_frozen)


class SlowClock(StepClock):
    """On which ten minutes pass with every wait."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return super().wait(event, max(600.0, timeout_s))


def test_a_camera_is_not_frozen_for_the_time_in_which_it_was_lost(wire: CuttableConnection) -> None:
    watched = RecordedStream(source=wire.url("still.mp4"), clock=SlowClock())
    for index, frame in enumerate(watched.stream.frames()):
        if index == 3:
            os.kill(watched.reader_pids()[0], signal.SIGKILL)  # unlike a cut, it leaves no picture torn in two
        if frame.epoch == 1:
            break
    assert watched.states == [RUNNING, LOST, RUNNING]
    assert not watched.skipped[SkipReason.FROZEN]


def test_a_frozen_camera_that_moves_again_runs_again(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", 100, still_from=0)
    moving_clip = write_clip(tmp_path / "moving.mp4", real_pictures(), fps=25, gop=25)
    with RtspCamera(tmp_path) as camera:
        clock = StepClock()
        watched = RecordedStream(source=camera.url("clip.mp4"), clock=clock)
        moving = threading.Event()

        def repair() -> None:
            clock.at_s += 0.5
            if watched.skipped[SkipReason.FROZEN] >= 5 and not moving.is_set():
                moving.set()
                moving_clip.replace(tmp_path / "clip.mp4")
                camera.stop()
                camera.start()

        watched.on_skip = repair
        seen = []
        for frame in watched.stream.frames():
            if moving.is_set():
                seen.append(frame.number)
            clock.at_s += 0.1 if moving.is_set() else 10.0
            if len(seen) == 5:
                break
    assert watched.states == [RUNNING, FROZEN, LOST, RUNNING]


def test_another_size_after_a_reconnection_is_a_new_epoch(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", 100, size=(320, 192))
    other = numbered_clip(tmp_path / "other.mp4", 100, size=(480, 272))
    with RtspCamera(tmp_path) as camera:
        watched = RecordedStream(source=camera.url("clip.mp4"))
        seen = set()
        for index, frame in enumerate(watched.stream.frames()):
            seen.add((frame.pixels.shape, frame.epoch))
            if index == 3:
                camera.stop()
                other.rename(tmp_path / "clip.mp4")
                camera.start()
            if frame.epoch == 1:
                break
    assert seen == {((192, 320, 3), 0), ((272, 480, 3), 1)}


@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_stop_is_noticed_while_a_camera_sends_nothing(wire: CuttableConnection, how: str) -> None:
    watched = RecordedStream(source=wire.url("clip.mp4"), read_timeout_s=60.0)
    thread = watched.in_thread()
    assert watched.wait_for(lambda: watched.states == [RUNNING])
    wire.stall()
    [pid] = watched.reader_pids()
    began_s = time.monotonic()
    if how == "stop":
        watched.stop.set()
    else:
        watched.stream.close()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - began_s < 3.0
    assert not Path(f"/proc/{pid}").exists()
    assert watched.states == [RUNNING]


def test_a_close_while_the_camera_is_asked_is_no_loss_of_it(wire: CuttableConnection) -> None:
    wire.stall()
    watched = RecordedStream(source=wire.url("clip.mp4"))
    thread = watched.in_thread()
    assert wire.wait_for_connections(1, 20.0)
    watched.stream.close()
    thread.join(10)
    assert not thread.is_alive()
    assert watched.events == []


def test_a_stop_is_seen_while_waiting_for_a_camera_to_come_back(wire: CuttableConnection) -> None:
    wire.unplug()
    watched = RecordedStream(source=wire.url("clip.mp4"))
    thread = watched.in_thread()
    assert watched.wait_for(lambda: watched.states == [LOST])
    watched.stop.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.torture
def test_a_camera_that_was_gone_for_half_a_minute_is_seen_within_ten_seconds(folder: Path) -> None:
    with RtspCamera(folder) as camera:
        watched = RecordedStream(source=camera.url("clip.mp4"))
        back_s: list[float] = []

        def restart() -> None:
            camera.start()
            back_s.append(time.monotonic())

        for index, frame in enumerate(watched.stream.frames()):
            if index == 5:
                camera.stop()
                threading.Timer(30.0, restart).start()
            if frame.epoch == 1:
                break
        assert time.monotonic() - back_s[0] < 10.0
    assert watched.states == [RUNNING, LOST, RUNNING]
