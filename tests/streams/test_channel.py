"""The channel: messages arrive, and a faulty or dead reader can't harm the daemon."""

from __future__ import annotations

import array
import fcntl
import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    Channel,
    ChannelClosed,
    FileEnded,
    KeepRequest,
    Message,
    OpenRequest,
    PacketsKept,
    PictureReady,
    PictureRequest,
    ReaderStarted,
    SharedMemory,
    SkipCounts,
    SnapshotReady,
    SnapshotRefused,
    SnapshotRequest,
    SourceFailed,
    SourceOpened,
    SourceQuiet,
    decode,
    encode,
)
from framesift.streams.picture_slots import PictureSlots
from framesift.streams.snapshots.ticket import SnapshotMissReason

ENDS = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[ENDS]:
    ours, theirs = Channel.socket_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "message",
    [
        OpenRequest(
            "rtsp://me:ü@cam/s",
            -1,
            True,
            False,
            2.5,
            7,
            0,
            10.0,
            10.0,
            True,
            "av",
            False,
            1,
            90,
            False,
            "udp",
            "/ca.pem",
            True,
            "*.jpg",
            True,
            "/spool.db.watched-gate",
            True,
            False,
            True,
            False,
        ),
        PictureRequest(3, -1),
        ReaderStarted(),
        SourceOpened("udp"),
        SourceQuiet(),
        SkipCounts(1, 2, 3, 4),
        PictureReady(1, 2, 3, 0.25, -1.0, 1_750_000_000.5, 149_000),
        FileEnded(),
        SourceFailed(AwayReason.SILENT, "no picture for 10 s"),
        KeepRequest(5.0, 1 << 20, 150, 0.5),
        SnapshotRequest(1, 0.25, 1_750_000_000.5, 1.0),
        PacketsKept(25, 100_000),
        SnapshotReady(1, 0.5, -0.04, True, 1_750_000_000.5),
        SnapshotRefused(1, SnapshotMissReason.SKEW, "the nearest picture is +0.60 s away"),
    ],
)
def test_every_message_arrives_as_it_was_sent(ends: ENDS, message: Message) -> None:
    Channel(ends[0]).send(message)
    assert Channel(ends[1]).receive(1.0) == message


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xfe",
        b"{}",
        b"[]",
        b'["Unknown"]',
        b'["Next", 1]',
        b'["Next", 1, 2, 3]',
        b'["Next", "1", 2]',
        b'["Next", true, 2]',
        b'["Picture", 1, 2, 3, NaN, 0.0]',
        b'["SourceFailed", "tired", ""]',
        b'["SnapshotRefused", 1, "tired", ""]',
        b"[" * 60_000,
    ],
)
def test_bytes_that_are_not_a_message_end_the_channel(nonsense: bytes) -> None:
    with pytest.raises(ChannelClosed):
        decode(nonsense)


def test_a_timeout_is_not_an_end(ends: ENDS) -> None:
    assert Channel(ends[0]).receive(0.0) is None


def test_a_closed_other_end_is_an_end_for_both_directions(ends: ENDS) -> None:
    ends[1].close()
    with pytest.raises(ChannelClosed):
        Channel(ends[0]).receive(1.0)
    with pytest.raises(ChannelClosed):
        Channel(ends[0]).send(ReaderStarted())


def test_last_messages_arrive_although_the_other_end_did_not_read_ours(ends: ENDS) -> None:
    near, far = Channel(ends[0]), Channel(ends[1])
    near.send(PictureRequest(0, -1))
    far.send(SourceFailed(AwayReason.SILENT, "no picture for 10 s"))
    far.close()
    assert near.receive(1.0) == SourceFailed(AwayReason.SILENT, "no picture for 10 s")
    with pytest.raises(ChannelClosed):
        near.receive(1.0)


def test_a_full_socket_refuses_what_need_not_be_sent(ends: ENDS) -> None:
    near = Channel(ends[0])
    sent = sum(near.send(SkipCounts(0, 1, 0, 0), wait=False) for _ in range(5000))
    assert 0 < sent < 5000


def test_pixels_are_seen_on_the_other_side_without_being_sent(ends: ENDS) -> None:
    written, fd = PictureSlots.create(5, 7, 2)
    Channel(ends[0]).send(SharedMemory(1, 5, 7, 2, fd))
    os.close(fd)
    memory = Channel(ends[1]).receive(1.0)
    assert isinstance(memory, SharedMemory)
    read = PictureSlots.attach(memory)
    written[0][:] = 11
    written[1][:] = 22
    assert np.array_equal(read[0], np.full((5, 7, 3), 11))
    assert np.array_equal(read[1], np.full((5, 7, 3), 22))


def test_the_daemon_can_not_write_into_a_picture() -> None:
    _, fd = PictureSlots.create(4, 4, 1)
    read = PictureSlots.attach(SharedMemory(1, 4, 4, 1, fd))
    with pytest.raises(ValueError, match="read-only"):
        read[0][0, 0, 0] = 1


def test_memory_is_sealed_so_that_it_can_not_shrink_under_a_reader_of_it() -> None:
    _, fd = PictureSlots.create(4, 4, 1)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def unsealed() -> int:
    fd = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 1_000_000)
    return fd


def too_small() -> int:
    fd = os.memfd_create("small", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 100)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


def a_pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


@pytest.mark.parametrize("make", [unsealed, too_small, a_pipe])
def test_memory_that_is_not_what_it_says_is_refused_and_closed(make: object) -> None:
    assert callable(make)
    fd = make()
    with pytest.raises(ChannelClosed):
        PictureSlots.attach(SharedMemory(1, 100, 100, 3, fd))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize(
    ("height", "width", "slots"), [(1, 100, 1), (100, 0, 1), (20_000, 20_000, 1), (4, 4, 9), (4, 4, 0)]
)
def test_memory_for_pictures_that_no_camera_makes_is_refused(height: int, width: int, slots: int) -> None:
    with pytest.raises(ChannelClosed, match="memory for"):
        PictureSlots.attach(SharedMemory(1, height, width, slots, unsealed()))


def test_file_descriptors_that_nobody_asked_for_are_closed(ends: ENDS) -> None:
    reading, writing = os.pipe()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing]))]
    ends[0].sendmsg([encode(ReaderStarted())], rights)
    os.close(writing)
    with pytest.raises(ChannelClosed, match="file descriptor"):
        Channel(ends[1]).receive(1.0)
    assert os.read(reading, 1) == b""  # the last writer is closed: nobody holds the copy that was passed
    os.close(reading)


def test_memory_without_its_file_descriptor_is_refused(ends: ENDS) -> None:
    ends[0].send(encode(SharedMemory(1, 4, 4, 1, 0)))
    with pytest.raises(ChannelClosed, match="file descriptor"):
        Channel(ends[1]).receive(1.0)
