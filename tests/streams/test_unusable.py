"""Pictures that the decoder did not convert, or that can't be used: counted with the reason, never used."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from exhaustive import some_of
from framesift.clock.clock import SystemClock
from framesift.frame import SkipReason
from framesift.service.reports import StreamReports
from framesift.settings import LogSettings
from framesift.streams import StreamEvent, StreamLost, StreamState
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.opencv_faults import known_fault
from framesift.streams.withheld_pictures import UNUSABLE_AFTER_S, WithheldRun
from framesift.telemetry import Condition, Telemetry
from rigs.daemon import collected, framesift, write_configuration
from rigs.footage import growing_clip, numbered_clip, read_number
from rigs.rtsp import CuttableConnection, RtspCamera
from rigs.stream_reader import RecordedStream, StepClock

RUNNING, UNUSABLE, ENDED = StreamState.RUNNING, StreamState.UNUSABLE, StreamState.ENDED
REFUSED = "the decoder did not convert it: Slice parameters 0, 384 are invalid"


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip whose later pictures OpenCV reports as decoded but does not convert."""
    return growing_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 25, 100)


@pytest.mark.parametrize("variable", ["", "OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_DEBUG"])
def test_a_picture_that_the_decoder_did_not_convert_is_counted_and_not_used(
    growing: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, "-8")  # then OpenCV hides FFmpeg's log
    watched = RecordedStream(source=str(growing), engine="opencv")
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == list(range(25))
    assert watched.skipped == {SkipReason.UNUSABLE: 100}
    assert watched.unusable == [(100, REFUSED)]
    assert watched.states == [RUNNING, ENDED]
    assert watched.events[-1].detail.endswith("ended after 125 pictures, 100 of which could not be used")


def test_a_looped_file_that_becomes_usable_again_goes_on(growing: Path) -> None:
    watched = RecordedStream(source=str(growing), loop=True, engine="opencv")
    seen = []
    for frame in watched.stream.frames():
        seen.append((frame.number, read_number(frame.pixels)))
        if len(seen) == 75:
            break
    assert seen == [(turn * 125 + index, index) for turn in range(3) for index in range(25)]
    assert watched.skipped == {SkipReason.UNUSABLE: 200}
    assert watched.unusable == [(100, REFUSED)] * 2


def test_interlaced_video_is_decoded_correctly(tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", 20, interlaced=True)
    with av.open(str(clip)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    watched = RecordedStream(source=str(clip))
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == list(range(20))
    assert not watched.skipped


def test_a_camera_whose_pictures_are_no_longer_converted_reports_it_and_is_reconnected(
    growing: Path, tmp_path: Path
) -> None:
    (tmp_path / "clip.mp4").write_bytes(growing.read_bytes())
    numbered_clip(tmp_path / "grown.mp4", 50, size=(640, 384))
    clock = StepClock()
    with RtspCamera(tmp_path) as camera:
        watched = RecordedStream(source=camera.url("clip.mp4"), clock=clock, engine="opencv")

        def pass_time() -> None:
            if watched.skipped[SkipReason.UNUSABLE]:
                clock.at_s += UNUSABLE_AFTER_S
                if (tmp_path / "grown.mp4").exists():  # from now on it serves the new size alone
                    (tmp_path / "grown.mp4").rename(tmp_path / "clip.mp4")

        watched.on_skip = pass_time
        shapes = []
        for frame in watched.stream.frames():
            shapes.append((frame.pixels.shape, frame.epoch))
            if frame.pixels.shape[0] == 384:
                break
    assert set(shapes[:-1]) == {((192, 320, 3), 0)}
    assert shapes[-1] == ((384, 640, 3), 1)
    assert watched.states == [RUNNING, UNUSABLE, RUNNING]
    assert watched.events[1].detail.endswith(f"pictures come, but none can be used: {REFUSED}")
    assert watched.unusable == []  # the change of state reports them


def test_a_camera_without_a_usable_picture_reports_it(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "flat.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 1, "yuv444p"
        stream.options = {"bf": "0", "preset": "ultrafast", "tune": "zerolatency"}
        for index in range(100):
            flat = av.VideoFrame.from_ndarray(np.full((1, 64, 3), index, np.uint8), format="bgr24")
            container.mux(stream.encode(flat.reformat(format="yuv444p")))
        container.mux(stream.encode(None))
    clock = StepClock()
    with RtspCamera(tmp_path) as camera, CuttableConnection(camera.port) as wire:

        def pass_time() -> None:
            clock.at_s += UNUSABLE_AFTER_S

        watched = RecordedStream(source=wire.url("flat.mp4"), clock=clock, on_skip=pass_time)
        thread = watched.in_thread()
        assert watched.wait_for(lambda: UNUSABLE in watched.states)
        counted = watched.skipped[SkipReason.UNUSABLE]
        assert watched.wait_for(lambda: watched.skipped[SkipReason.UNUSABLE] > counted)
        watched.stop.set()
        thread.join(10)
        assert (watched.states, wire.accepted) == ([UNUSABLE], 1)  # a new connection would show the same
        assert watched.events[0].detail.endswith("none can be used: its size is not a camera's")
        probe = RecordedStream(source=camera.url("flat.mp4"), clock=clock, on_skip=pass_time)
        with pytest.raises(StreamLost, match="none can be used: its size is not a camera's"):
            probe.stream.first_frame(60.0)


def test_a_run_reports_unconverted_pictures_in_one_line(growing: Path, tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": str(growing), "engine": "opencv"}]})
    done = framesift(tmp_path, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(line["frame"] for line in collected(tmp_path)) == list(range(25))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    [warning] = [line for line in lines if "did not convert" in str(line)]
    assert {key: warning[key] for key in warning if key != "time"} == {
        "level": "warning",
        "event": "pictures_unusable",
        "stream": "gate",
        "count": 100,
        "why": REFUSED,
    }


def test_the_health_of_a_stream_without_usable_pictures_is_degraded_until_there_is_one() -> None:
    out = io.StringIO()
    telemetry = Telemetry(SystemClock(), LogSettings(), out=out)
    conditions, ups = [], []
    for state in (RUNNING, UNUSABLE, RUNNING):
        StreamReports(telemetry, "gate").on_event(StreamEvent("gate", state, "none can be used"))
        [gate] = telemetry.health.components()
        conditions.append((gate.condition, gate.why))
        ups.append(telemetry.report().streams[0].up)
    assert conditions == [(Condition.OK, ""), (Condition.DEGRADED, "none can be used"), (Condition.OK, "")]
    assert ups == [True, False, True]
    assert [json.loads(line)["state"] for line in out.getvalue().splitlines()] == ["running", "unusable", "running"]


def test_pictures_are_unusable_for_long_only_if_there_is_nothing_else() -> None:
    unusable = WithheldRun(UNUSABLE_AFTER_S)
    assert not any(unusable.add(3, "damaged", now_s) for now_s in (0.0, 1.0, 1.9))
    assert unusable.end_run() == 9
    assert not unusable.add(1, "too large", 2.5)  # the good one between them counts
    assert unusable.add(1, "too large", 2.5 + UNUSABLE_AFTER_S)
    assert (unusable.total, unusable.end_run(), unusable.end_run(), unusable.why) == (11, 2, 0, "too large")


@pytest.fixture
def log() -> DecoderLog:
    return DecoderLog.create()


def write_lines(log: DecoderLog, *lines: bytes) -> None:
    os.write(log.fileno(), b"".join(line + b"\n" for line in lines))


INTERLACED = b"[swscaler @ 0x5581] Cannot convert interlaced to progressive frames or vice versa."
DAMAGED = b"[h264 @ 0x5582] error while decoding MB 13 9, bytestream -5"


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ([], ""),
        ([DAMAGED], ""),  # of another picture, decoded ahead
        ([b"[rtsp @ 0x1] CSeq 5 expected, 0 received.", b"Corrupt JPEG data: 5 extraneous bytes"], ""),
        ([INTERLACED, b" (Invalid argument): fmt:yuv420p csp:unknown"], INTERLACED[20:].decode()),
        ([DAMAGED, INTERLACED, DAMAGED], INTERLACED[20:].decode()),
        ([b"[SWScaler @ 0x1] bad src image pointers"], "bad src image pointers"),
        ([b"[swscaler @ 0x1] " + b"\xff" * 10_000], "\ufffd" * 300),
    ],
)
def test_only_the_converters_own_log_lines_mean_that_a_picture_was_not_converted(
    log: DecoderLog, lines: list[bytes], refusal: str
) -> None:
    log.mark()
    write_lines(log, *lines)
    assert log.conversion_error() == refusal


def test_an_error_of_an_earlier_picture_does_not_count_for_the_next(log: DecoderLog) -> None:
    write_lines(log, INTERLACED)
    log.mark()
    assert log.conversion_error() == ""
    write_lines(log, INTERLACED)
    assert log.conversion_error()
    log.mark()
    assert log.conversion_error() == ""


def test_an_endless_decoder_log_takes_bounded_memory_and_keeps_the_latest(log: DecoderLog) -> None:
    for number in range(5000):
        log.mark()
        write_lines(log, DAMAGED, INTERLACED, b"%d" % number)
        assert log.conversion_error()
    assert os.fstat(log.fileno()).st_size < 100_000
    assert log.last_lines(2) == [INTERLACED, b"4999"]


WHEEL_4_12 = "  Video I/O:\n    FFMPEG:                      YES\n      swscale:                   YES (6.7.100)\n"
WHEEL_5 = WHEEL_4_12.replace("6.7.100", "9.5.101")


@pytest.mark.parametrize(
    ("version", "build", "faulty"),
    [
        ("4.10.0", WHEEL_4_12, False),
        ("4.11.0", WHEEL_4_12, True),  # it ignores the options for FFmpeg
        ("4.12.0", WHEEL_5, False),
        ("4.13.0", WHEEL_5, True),
        ("4.13.0-dev", WHEEL_5, True),
        ("4.14.0", WHEEL_5, True),
        ("5.0.0", WHEEL_5, True),
        ("4.13.0", WHEEL_4_12, False),  # a system's own, on an older FFmpeg
        ("4.13.0", WHEEL_5.replace("9.5.101", "8.12.100"), True),
        ("4.13.0", "    FFMPEG:                      YES\n", True),
        ("4.11.0", "    FFMPEG:                      NO\n    GStreamer:                   YES (1.22)\n", False),
        ("4.13.0", "    FFMPEG:                      NO\n    GStreamer:                   YES (1.22)\n", False),
        ("of my own", WHEEL_5, True),
    ],
)
def test_an_opencv_is_known_to_be_faulty_by_its_version_and_its_ffmpeg(version: str, build: str, faulty: bool) -> None:
    assert (known_fault(version, build) is not None) is faulty


SYSTEMS_OWN = """
import sys
sys.path = [entry for entry in sys.path if not entry.endswith("system")]
del sys.modules["cv2"]
import cv2
cv2.__version__ = "4.13.0"
built = cv2.getBuildInformation()
cv2.getBuildInformation = lambda: built.replace("swscale:                   YES (6.7.", "swscale: YES (9.5.")
"""


@pytest.mark.parametrize("faulty", some_of([True, False], lambda faulty: faulty))
def test_check_and_the_start_of_a_run_name_an_opencv_that_is_faulty(tmp_path: Path, faulty: bool) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "cv2.py").write_text(SYSTEMS_OWN if faulty else "")
    clip = numbered_clip(tmp_path / "clip.mp4", 5)
    write_configuration(
        tmp_path, {"streams": [{"name": "gate", "source": str(clip), "engine": "opencv" if faulty else "av"}]}
    )
    path: dict[str, Any] = {"PYTHONPATH": str(tmp_path / "system")} if faulty else {}
    checked, ran = framesift(tmp_path, "check", **path, COLUMNS="300"), framesift(tmp_path, "run", **path)
    assert (checked.returncode, ran.returncode) == (0, 0), checked.stdout + ran.stdout  # it reads what isn't interlaced
    named = [line for line in ran.stdout.splitlines() if "opencv_faulty" in line]
    assert len(named) == (1 if faulty else 0)
    assert ("note" in checked.stdout and "use OpenCV 4.10 or 4.12" in checked.stdout) is faulty
    assert all("can't convert interlaced video" in lines for lines in (*named, checked.stdout) if faulty)


def test_the_health_of_a_stream_has_the_latest_reason_and_the_log_has_each() -> None:
    out = io.StringIO()
    telemetry = Telemetry(SystemClock(), LogSettings(), out=out)
    reports = StreamReports(telemetry, "gate")
    reports.on_event(StreamEvent("gate", RUNNING, "pictures of 320 x 192"))
    reports.on_event(StreamEvent("gate", StreamState.LOST, "the connection ended"))
    for why in ("Connection refused", "Connection refused"):
        reports.on_reason(StreamEvent("gate", StreamState.LOST, why))
    [gate] = telemetry.health.components()
    assert (gate.condition, gate.why) == (Condition.DEGRADED, "Connection refused")
    reports.on_event(StreamEvent("gate", RUNNING, "pictures of 320 x 192"))
    reports.on_reason(StreamEvent("gate", RUNNING, "pictures of 640 x 384"))
    [gate] = telemetry.health.components()
    assert gate.condition is Condition.OK
    [counts] = telemetry.report().streams
    assert counts.losses == 1
    assert counts.last_loss is not None
    assert counts.last_loss.why == "the connection ended"
    assert b'framesift_stream_losses_total{stream="gate"} 1.0' in telemetry.metrics_text()
    assert [json.loads(line)["why"] for line in out.getvalue().splitlines()] == [
        "pictures of 320 x 192",
        "the connection ended",
        "Connection refused",
        "pictures of 320 x 192",
    ]
