"""Damage: no picture is shown that lost packets or a decoder's errors have spoilt, nor what is predicted from it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from framesift.clock.clock import SystemClock
from framesift.frame import SkipReason
from framesift.service.reports import StreamReports
from framesift.settings import LogSettings
from framesift.streams import StreamState
from framesift.streams.engines.damage import DamageWatch
from framesift.streams.withheld_pictures import DAMAGED_AFTER_S
from framesift.telemetry import Telemetry
from rigs.footage import moving_clip, read_number
from rigs.rtp_faults import RtpFaults
from rigs.rtsp import CuttableConnection, RtspCamera
from rigs.stream_reader import RecordedStream, StepClock

RUNNING, UNUSABLE = StreamState.RUNNING, StreamState.UNUSABLE
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    moving_clip(folder / "clip.mp4", 250)
    moving_clip(folder / "long.mp4", 250, gop=250)
    return folder


@pytest.fixture(scope="module")
def clean(folder: Path) -> dict[int, Pixels]:
    with av.open(str(folder / "clip.mp4")) as container:
        return {index: frame.to_ndarray(format="bgr24") for index, frame in enumerate(container.decode(video=0))}


@pytest.fixture(scope="module")
def camera(folder: Path) -> Iterator[RtspCamera]:
    with RtspCamera(folder) as camera:
        yield camera


def is_clean(pixels: Pixels, clean: dict[int, Pixels]) -> bool:
    """Whether this is the picture whose number it bears."""
    return np.array_equal(pixels, clean.get(read_number(pixels), pixels[:1]))


FAULTS: list[tuple[str, Callable[[RtpFaults], None], str]] = [
    ("a packet", lambda faults: faults.lose(1), "missed"),
    ("forty packets", lambda faults: faults.lose(40), "missed"),
    ("a picture that was not sent", lambda faults: faults.leave_out_pictures(1), "gap"),
    ("three pictures that were not sent", lambda faults: faults.leave_out_pictures(3), "gap"),
]


@pytest.mark.parametrize(
    ("damage", "sign"),
    [
        pytest.param(damage, sign, id=name, marks=[] if name.startswith("a ") else pytest.mark.exhaustive)
        for name, damage, sign in FAULTS
    ],
)
def test_no_spoilt_picture_of_a_camera_is_shown_and_the_next_key_frame_ends_it(
    camera: RtspCamera, clean: dict[int, Pixels], damage: Callable[[RtpFaults], None], sign: str
) -> None:
    faults = RtpFaults()
    with CuttableConnection(camera.port, faults=faults) as wire:
        watched = RecordedStream(source=wire.url("clip.mp4"))
        wrong = after = 0
        for shown, frame in enumerate(watched.stream.frames(), 1):
            wrong += not is_clean(frame.pixels, clean)
            if shown % 40 == 0 and not watched.skipped[SkipReason.DAMAGED]:
                damage(faults)  # now that it is known how far apart pictures are; if a key frame follows, once more
            after += watched.skipped[SkipReason.DAMAGED] > 0
            if after == 30 or shown == 400:
                break
    assert wrong == 0
    assert 0 < watched.skipped[SkipReason.DAMAGED] <= 60
    assert sum(count for count, _ in watched.damaged) == watched.skipped[SkipReason.DAMAGED]
    assert any(sign in why for _, why in watched.damaged)
    assert watched.states == [RUNNING]


@pytest.mark.parametrize("picture", [12, 33, 44])
def test_pictures_from_changed_bytes_on_are_hidden_until_the_next_key_frame(
    camera: RtspCamera, clean: dict[int, Pixels], picture: int
) -> None:
    """The same bytes are changed in each run. A key frame is every 25th picture."""
    faults = RtpFaults()
    faults.corrupt_picture(picture)
    key_frame = picture // 25 * 25 + 25
    with CuttableConnection(camera.port, faults=faults) as wire:
        watched = RecordedStream(source=wire.url("clip.mp4"))
        for frame in watched.stream.frames():
            number = read_number(frame.pixels)
            assert number < picture or number >= key_frame
            assert is_clean(frame.pixels, clean)
            if number >= key_frame:
                break
    assert watched.skipped[SkipReason.DAMAGED] == key_frame - picture
    assert all(why.startswith("error while decoding") for _, why in watched.damaged)


def test_damaged_pictures_are_shown_to_who_wants_them(camera: RtspCamera, clean: dict[int, Pixels]) -> None:
    faults = RtpFaults()
    with CuttableConnection(camera.port, faults=faults) as wire:
        watched = RecordedStream(source=wire.url("clip.mp4"), show_damaged=True)
        wrong = 0
        for index, frame in enumerate(watched.stream.frames()):
            if index % 25 == 10:
                faults.corrupt(5)
            wrong += not is_clean(frame.pixels, clean)
            if wrong == 3 or index == 400:
                break
    assert wrong == 3
    assert not watched.skipped[SkipReason.DAMAGED]


def test_a_camera_from_which_only_damaged_pictures_come_says_so_and_is_reconnected(camera: RtspCamera) -> None:
    clock = StepClock()
    faults = RtpFaults()
    with CuttableConnection(camera.port, faults=faults) as wire:
        watched = RecordedStream(source=wire.url("long.mp4"), clock=clock)

        def pass_time() -> None:
            if watched.skipped[SkipReason.DAMAGED]:
                clock.at_s += DAMAGED_AFTER_S

        watched.on_skip = pass_time
        frames = watched.stream.frames()
        next(frames)
        faults.lose(2)
        for _ in frames:
            if UNUSABLE in watched.states and watched.states[-1] is RUNNING:
                break
        assert wire.accepted == 2
    assert watched.states[:2] == [RUNNING, UNUSABLE]
    assert "for 30 s all are damaged: RTP: missed" in watched.events[1].detail


def test_pictures_of_a_file_with_damaged_data_are_counted_and_not_shown(tmp_path: Path, folder: Path) -> None:
    """The data of picture 30 is overwritten; the next key frame is 50."""
    with av.open(str(folder / "clip.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray((folder / "clip.mp4").read_bytes())
    position, size = packets[30].pos, packets[30].size
    assert position is not None
    data[position + size // 2 : position + size] = bytes(size - size // 2)
    (tmp_path / "damaged.mp4").write_bytes(data)
    watched = RecordedStream(source=str(tmp_path / "damaged.mp4"))
    numbers = [read_number(frame.pixels) for frame in watched.stream.frames()]
    assert numbers == [*range(30), *range(50, 250)]
    assert watched.skipped == {SkipReason.DAMAGED: 20}
    assert [count for count, _ in watched.damaged] == [20]
    assert watched.events[-1].detail.endswith("250 pictures, 20 of which were damaged")


@pytest.mark.parametrize("engine", ["auto", "av"])
def test_a_clip_that_begins_between_key_frames_is_shown_from_the_first_key_frame_on(
    tmp_path: Path, folder: Path, engine: str
) -> None:
    with (
        av.open(str(folder / "clip.mp4")) as whole,
        av.open(str(tmp_path / "part.ts"), "w") as part,
    ):
        copied = part.add_stream_from_template(whole.streams.video[0])
        for index, packet in enumerate(whole.demux(video=0)):
            if packet.size and 10 <= index < 100:
                packet.stream = copied
                part.mux(packet)
    watched = RecordedStream(source=str(tmp_path / "part.ts"), engine=engine)
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == list(range(25, 100))


@pytest.mark.parametrize("begin", [1, 10, 31])
def test_a_clip_without_key_frames_is_shown_once_its_refresh_has_gone_over_the_whole_picture(
    tmp_path: Path, begin: int
) -> None:
    """With intra refresh only the first picture is a key frame; a refresh begins at every 30th."""
    moving_clip(tmp_path / "whole.ts", 120, gop=30, intra_refresh=True)
    with (
        av.open(str(tmp_path / "whole.ts")) as whole,
        av.open(str(tmp_path / "part.ts"), "w") as part,
    ):
        copied = part.add_stream_from_template(whole.streams.video[0])
        for index, packet in enumerate(whole.demux(video=0)):
            if packet.size and index >= begin:
                packet.stream = copied
                part.mux(packet)
    with av.open(str(tmp_path / "whole.ts")) as container:
        clean = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    first = 60 if begin <= 30 else 90
    watched = RecordedStream(source=str(tmp_path / "part.ts"), engine="av")
    numbers = []
    for frame in watched.stream.frames():
        numbers.append(read_number(frame.pixels))
        assert np.array_equal(frame.pixels, clean[numbers[-1]])
    assert numbers == list(range(first, 120))
    assert watched.skipped == {SkipReason.DAMAGED: first - begin}


def test_a_sign_of_damage_during_a_refresh_takes_another_whole_one() -> None:
    watching = watch(0.04, 10)
    watching.sign("the decoder reported an error")
    assert watching.judge(11, is_key_frame=False, is_corrupt=False, begins_refresh=True)
    watching.sign("the decoder reported an error", packet=15)
    assert watching.judge(21, is_key_frame=False, is_corrupt=False, begins_refresh=True)
    assert watching.judge(30, is_key_frame=False, is_corrupt=False)
    assert watching.judge(31, is_key_frame=False, is_corrupt=False, begins_refresh=True) == ""


def watch(interval_s: float, count: int) -> DamageWatch:
    watching = DamageWatch()
    for index in range(count):
        watching.next_packet()
        watching.packet_time(index * interval_s)
    watching.judge(count, is_key_frame=True, is_corrupt=False)
    return watching


def test_a_gap_counts_only_where_times_are_regular() -> None:
    regular, irregular = watch(0.04, 60), DamageWatch()
    regular.packet_time(60 * 0.04)
    assert regular.judge(61, is_key_frame=False, is_corrupt=False) == ""
    regular.packet_time(62 * 0.04)
    assert "a gap of 0.08 s" in regular.judge(62, is_key_frame=False, is_corrupt=False)
    time_s = 0.0
    for step in range(200):
        irregular.next_packet()
        time_s += 0.03 if step % 3 else 0.1
        irregular.packet_time(time_s)
    irregular.judge(200, is_key_frame=True, is_corrupt=False)
    irregular.packet_time(time_s + 1.0)
    assert irregular.judge(201, is_key_frame=False, is_corrupt=False) == ""


def test_a_key_frame_from_before_the_damage_does_not_end_it() -> None:
    """With reordering, the key frame's picture comes out after the sign of a later packet."""
    watching = watch(0.04, 10)
    watching.sign("the decoder reported an error")
    assert watching.judge(9, is_key_frame=True, is_corrupt=False)
    assert watching.judge(10, is_key_frame=True, is_corrupt=False)
    watching.next_packet()
    assert watching.judge(11, is_key_frame=True, is_corrupt=False) == ""


@pytest.mark.parametrize(
    ("line", "is_sign"),
    [
        (b"[rtsp @ 0x55] RTP: missed 3 packets\n", True),
        (b"[h264 @ 0x55] error while decoding MB 13 9, bytestream -5\n", True),
        (b"[h264 @ 0x55] concealing 120 DC, 120 AC, 120 MV errors in P frame\n", True),
        (b"[hevc @ 0x55] Could not find ref with POC 12\n", True),
        (b"[rtsp @ 0x55] max delay reached. need to consume packet\n", False),
        (b"[swscaler @ 0x55] deprecated pixel format used, make sure you did set range correctly\n", False),
    ],
)
def test_lines_of_the_decoder_are_signs_or_not(line: bytes, is_sign: bool) -> None:
    watching = watch(0.04, 3)
    watching.read_lines(b"[h264 @ 0x1] of no interest\n" + line)
    why = watching.judge(3, is_key_frame=False, is_corrupt=False)
    assert (why == line.strip().decode()) is is_sign


def test_a_run_of_damaged_pictures_is_one_line_of_the_log() -> None:
    out = io.StringIO()
    StreamReports(Telemetry(SystemClock(), LogSettings(), out=out), "gate").on_damaged(12, "RTP: missed 1 packets")
    [line] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {key: line[key] for key in ("level", "event", "stream", "count", "why")} == {
        "level": "warning",
        "event": "pictures_damaged",
        "stream": "gate",
        "count": 12,
        "why": "RTP: missed 1 packets",
    }
