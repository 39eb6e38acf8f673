"""Each picture of a kept group is decoded alone, whatever the codec and the order of its pictures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from framesift.streams.engines.av_packets import PacketFacts
from framesift.streams.engines.av_pixels import AvPixels
from framesift.streams.snapshots.group_decoder import GroupDecoder, SnapshotUndecodable
from framesift.streams.snapshots.packet_groups import NearestPacket, PacketGroups, WantedTime
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason
from rigs.footage import moving_clip, numbered_clip, read_number
from rigs.videos import Video, joined_in_one_stream, shows_the_colours

COUNT = 18
MAY_COME = 6  # of the last pictures it isn't known that none comes that is nearer
LINE = b"[h264 @ 0x55] error while decoding MB 3 2\n"
ANYTIME = time.monotonic() + 3600


class Clip:
    """A clip's packets, all of which are kept; their sender's clock is the clip's own time."""

    def __init__(self, path: Path) -> None:
        self.groups = PacketGroups(keep_s=1e9, max_bytes=1 << 30, max_decode_frames=1000, max_skew_s=0.01)
        self._container = av.open(str(path))
        stream = self._container.streams.video[0]
        self.written: list[bytes] = []  # by the decoder, until each look at its log
        self.decoder = GroupDecoder(stream.codec_context, threads=4, take_lines=self._take_lines)
        self.times: list[float] = []
        for number, packet in enumerate(self._container.demux(stream)):
            if packet.pts is not None and packet.time_base is not None:
                sent_s = float(packet.pts * packet.time_base)
                self.times.append(sent_s)
                self.groups.add(packet, PacketFacts(number, sent_s, sent_s, packet.is_keyframe), "")
        self.times.sort()

    def _take_lines(self) -> bytes:
        return self.written.pop(0) if self.written else b""

    def nearest(self, number: int) -> NearestPacket:
        found = self.groups.nearest(WantedTime(self.times[number], self.times[number]), time.monotonic())
        assert isinstance(found, NearestPacket), found
        return found

    def pixels(self, number: int, *, rotate: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        frame = self.decoder.decode(self.nearest(number), ANYTIME)
        return AvPixels(rotate=rotate, threads=1).convert(frame, None)


@pytest.mark.parametrize(
    "video",
    [
        Video("H.264", options={"tune": "zerolatency"}),
        Video("H.264 with B-frames"),
        Video("H.264 with open groups", options={"x264-params": "open-gop=1:bframes=2:b-adapt=0"}),
        Video("H.264 without its own extradata", suffix="ts"),
        Video("H.265", codec="libx265", options={"x265-params": "log-level=none"}),
        Video(
            "H.265 with open groups", codec="libx265", options={"x265-params": "log-level=none:open-gop=1:bframes=3"}
        ),
        Video("MPEG-4", codec="mpeg4"),
        Video("MPEG-2 with B-frames", codec="mpeg2video", suffix="ts", options={"bf": "2"}),
        Video("MJPEG", codec="mjpeg", suffix="avi", pixel_format="yuvj420p"),
        Video("interlaced H.264 with B-frames", interlaced=True),
    ],
    ids=lambda video: video.name.replace(" ", "-"),
)
def test_every_picture_of_every_group(tmp_path: Path, video: Video) -> None:
    clip = Clip(video.write(tmp_path, COUNT))
    assert len(clip.times) == COUNT
    for number in range(COUNT - MAY_COME):
        pixels = clip.pixels(number)
        assert read_number(pixels) == number
        assert shows_the_colours(pixels, tolerance=16)


def test_a_picture_of_another_size_in_mid_stream(tmp_path: Path) -> None:
    small, large = Video("small"), Video("large", size=(640, 384))
    clip = Clip(joined_in_one_stream(tmp_path / "joined.ts", [small, large, small], 6))
    for number, shape in ((4, (192, 320, 3)), (8, (384, 640, 3)), (14, (192, 320, 3))):
        pixels = clip.pixels(number)
        assert (read_number(pixels), pixels.shape) == (number, shape)


def test_a_camera_without_key_frames_that_renews_its_picture_piece_by_piece(tmp_path: Path) -> None:
    clip = Clip(moving_clip(tmp_path / "clip.mp4", 80, gop=20, intra_refresh=True))
    for number in (5, 39, 45, 70):
        assert read_number(clip.pixels(number)) == number


def test_interlaced_pictures_are_made_whole(tmp_path: Path) -> None:
    clip = Clip(numbered_clip(tmp_path / "clip.mp4", 10, interlaced=True))
    for number in (0, 5):
        frame = clip.decoder.decode(clip.nearest(number), ANYTIME)
        assert not frame.interlaced_frame
        assert read_number(frame.to_ndarray(format="bgr24")) == number


def test_it_is_turned(tmp_path: Path) -> None:
    clip = Clip(numbered_clip(tmp_path / "clip.mp4", 3))
    assert read_number(np.rot90(clip.pixels(1, rotate=90))) == 1


def test_a_line_of_the_decoder_about_damage_refuses_the_picture(tmp_path: Path) -> None:
    clip = Clip(numbered_clip(tmp_path / "clip.mp4", 3))
    clip.written = [LINE]  # about another picture
    assert read_number(clip.pixels(1)) == 1
    clip.written = [b"", LINE]
    with pytest.raises(SnapshotUndecodable) as refused:
        clip.pixels(1)
    assert refused.value.miss == SnapshotMissed(SnapshotMissReason.DAMAGED, LINE.decode().strip())


def test_packets_that_are_no_video_are_an_error_of_the_decoder(tmp_path: Path) -> None:
    clip = Clip(numbered_clip(tmp_path / "clip.mp4", 3))
    nonsense = av.Packet(b"\x00" * 50)
    nonsense.pts, nonsense.time_base = 0, clip.nearest(0).chain[0].time_base
    with pytest.raises(SnapshotUndecodable) as refused:
        clip.decoder.decode(replace(clip.nearest(0), chain=(nonsense,)), ANYTIME)
    assert refused.value.miss.reason is SnapshotMissReason.DECODER


def test_decoding_ends_at_the_deadline(tmp_path: Path) -> None:
    clip = Clip(numbered_clip(tmp_path / "clip.mp4", 3))
    with pytest.raises(SnapshotUndecodable) as refused:
        clip.decoder.decode(clip.nearest(1), time.monotonic())
    assert refused.value.miss.reason is SnapshotMissReason.NO_PICTURE
