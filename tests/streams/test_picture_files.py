"""The JPEG of which a picture was decoded comes beside its pixels, where it can be kept as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from framesift.frame import Frame
from framesift.pictures.outgoing import NO_MASK, encode_outgoing
from framesift.streams.channel import (
    Channel,
    ChannelClosed,
    PictureReady,
    PictureRequest,
    SharedMemory,
)
from framesift.streams.engines.capture import CapturedPicture
from framesift.streams.open_request import create_open_request
from framesift.streams.picture_buffer import PictureBuffer
from framesift.streams.picture_slots import MAX_FILE_ROOM_BYTES, PictureSlots
from framesift.streams.reader_session import ReaderSession
from framesift.streams.stream_settings import StreamSettings
from rigs.hostile_pictures import turned
from rigs.jpegs import APP1, exif, jpeg_of, pixels_of, scene, with_segment
from rigs.stream_reader import RecordedStream, close

PLAIN = jpeg_of(scene())
ENDS = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[ENDS]:
    ours, theirs = (Channel(end) for end in Channel.socket_pair())
    yield ours, theirs
    ours.close()
    theirs.close()


def outgoing(frame: Frame) -> bytes:
    return encode_outgoing(frame.picture, mask=NO_MASK).content


def test_a_jpeg_in_a_folder_goes_out_byte_for_byte_even_if_the_file_is_gone(tmp_path: Path) -> None:
    others = jpeg_of(scene(317, 239)), with_segment(PLAIN, APP1, exif(1) + b"my place"), jpeg_of(scene()[:, :, :1])
    for number, content in enumerate((PLAIN, *others)):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    found = []
    for frame in RecordedStream(source=str(tmp_path)).stream.frames():
        (tmp_path / f"{frame.number}.jpg").unlink()
        assert np.array_equal(frame.overview(), pixels_of(outgoing(frame)))
        assert (frame.height, frame.width, 3) == frame.pixels.shape
        found.append(outgoing(frame))
    assert found == [PLAIN, others[0], PLAIN, others[2]]


def test_a_watched_folder_gives_them_too(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(PLAIN)
    frames = RecordedStream(source=str(tmp_path), watch=True).stream.frames()
    assert outgoing(next(frames)) == PLAIN
    close(frames)


def test_what_is_turned_or_is_no_jpeg_has_pixels_only(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(turned(PLAIN))
    (tmp_path / "2.png").write_bytes(jpeg_of(scene()))  # the content counts, not the name
    (tmp_path / "3.bmp").write_bytes(cv2.imencode(".bmp", scene())[1].tobytes())
    kept = [frame.jpeg is not None for frame in RecordedStream(source=str(tmp_path)).stream.frames()]
    assert kept == [False, True, False]
    assert [frame.jpeg for frame in RecordedStream(source=str(tmp_path), rotate=90).stream.frames()] == [None] * 3


def test_the_first_frame_has_pixels_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(PLAIN)
    frame = RecordedStream(source=str(tmp_path)).stream.first_frame(10.0)
    assert np.array_equal(frame.pixels, pixels_of(PLAIN))
    assert frame.jpeg is None


def test_a_file_for_which_there_is_no_room_is_left_out(ends: ENDS) -> None:
    buffer = PictureBuffer(ends[0], live=False, file_room_bytes=64)
    pixels = scene(16, 8)
    buffer.put(pixels, None, 0, CapturedPicture(0.0, 0.0), b"x" * 64)
    memory, ready = ends[1].receive(1.0), ends[1].receive(1.0)
    assert isinstance(memory, SharedMemory)
    assert isinstance(ready, PictureReady)
    slots = PictureSlots.attach(memory)
    assert (ready.file_bytes, slots.file(ready.slot).tobytes()) == (64, b"x" * 64)
    assert np.array_equal(slots[ready.slot], pixels)
    buffer.request_next(PictureRequest(ready.memory_id, ready.slot))
    buffer.put(pixels, buffer.take_free_slot(), 1, CapturedPicture(0.0, 1.0), b"x" * 65)
    second = ends[1].receive(1.0)
    assert isinstance(second, PictureReady)
    assert second.file_bytes == 0


@pytest.mark.parametrize("file_bytes", [-1, 65, 1 << 40])
def test_a_file_that_lies_elsewhere_ends_the_channel(ends: ENDS, file_bytes: int) -> None:
    settings = StreamSettings(name="gate", source="pictures/")
    request = create_open_request(settings, number=0, resume_at=0, transport="", full_probe=True, taken_file=None)
    session = ReaderSession(ends[0], request)
    _, fd = PictureSlots.create(8, 16, 1, 64)
    ends[1].send(SharedMemory(1, 8, 16, 1, fd, 64))
    os.close(fd)
    session.next_message()
    assert isinstance(session.picture(PictureReady(1, 0, 0, 0.0, 0.0)), np.ndarray)
    with pytest.raises(ChannelClosed, match="not announced"):
        session.picture(PictureReady(1, 0, 0, 0.0, 0.0, 0.0, file_bytes))


@pytest.mark.parametrize("room_bytes", [-1, MAX_FILE_ROOM_BYTES + 1])
def test_memory_for_files_that_are_too_large_is_refused(room_bytes: int) -> None:
    _, fd = PictureSlots.create(4, 4, 1)
    with pytest.raises(ChannelClosed, match="memory for files"):
        PictureSlots.attach(SharedMemory(1, 4, 4, 1, fd, room_bytes))


def test_memory_without_the_room_that_it_announces_is_refused() -> None:
    _, fd = PictureSlots.create(4, 4, 1, 64)
    with pytest.raises(ChannelClosed, match="smaller than announced"):
        PictureSlots.attach(SharedMemory(1, 4, 4, 1, fd, 128))
