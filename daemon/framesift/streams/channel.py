"""The channel between a stream and its reader process: small messages over a socket, pixels in shared memory.

The socket is a SOCK_SEQPACKET pair; each message is one JSON array. Pixels lie in a memfd with a few slots. The reader
creates it for one picture size, seals it against shrinking (so that a reader can't make the daemon crash), and sends it
with the message that announces it. A slot belongs to the side that received its number last.

Each end is used by one receiving thread. Sending is safe from several threads.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, get_args

from framesift.streams.away_reasons import AwayReason
from framesift.streams.snapshots.ticket import SnapshotMissReason

MAX_PICTURE_PIXELS = 100_000_000
MAX_DETAIL_CHARACTERS = 2000
_MAX_MESSAGE_BYTES = 65_536
_MAX_DESCRIPTORS = 8


class ChannelClosed(Exception):
    """The other end is closed, or sent something that is not a message. Nothing more will come."""


class NoDescriptorForMemory(ChannelClosed):
    """The shared memory of the other end can't be used because no file descriptor is free."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """To the reader, once: the source that it opens and how.

    webcam_index: -1 means that `address` is used. live: a camera, not a file. fps: at most so many pictures a second
    are sent; 0 means all. first_number: the number of the first picture that is read. resume_at: so many pictures at
    the beginning of a file are skipped, because an earlier reader has read them. short_probe: the source is examined
    for 0.2 s only before its first picture. engine: a stream_settings.ChosenEngine. keyframes_only: nothing else is
    decoded. threads: of the decoder; 0 means the engine's own choice. rotate: degrees, clockwise. show_damaged:
    pictures that are known to be damaged are sent too. transport: "tcp" or "udp", of RTSP; "" means TCP, then UDP.
    ca_file: certificates to trust; "" means that none is verified. pictures: `address` is a folder of pictures.
    pattern: for their names, "" for all. watch: those that arrive later are read too. taken_file: remembers which of
    them were read, "" for none. local: `address` is a path on this machine. realtime: its pictures come at their own
    times, as a camera's. fifo: `address` is a FIFO. follow: it is a file that is still being written.
    """

    address: str
    webcam_index: int
    live: bool
    loop: bool
    fps: float
    first_number: int
    resume_at: int
    open_timeout_s: float
    read_timeout_s: float
    short_probe: bool
    engine: str
    keyframes_only: bool
    threads: int
    rotate: int
    show_damaged: bool
    transport: str
    ca_file: str
    pictures: bool
    pattern: str
    watch: bool
    taken_file: str
    local: bool
    realtime: bool
    fifo: bool
    follow: bool


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """To the reader: this slot of this memory is free again (-1: none), and the next picture is wanted."""

    memory_id: int
    slot: int


@dataclass(frozen=True, slots=True)
class ReaderStarted:
    """From the reader: everything is loaded; it starts to open the source."""


@dataclass(frozen=True, slots=True)
class SourceOpened:
    """From the reader: the source is open; no picture has been read yet.

    transport: that of the request, or "udp" where it was left open and the camera does not offer TCP.
    """

    transport: str


@dataclass(frozen=True, slots=True)
class SourceQuiet:
    """From the reader: a file that is followed has not grown for `read_timeout_s`. The reader goes on waiting."""


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """From the reader: pictures of this size lie in the memory with this number, which has `slot_count` slots.

    file_room_bytes: so much room each slot has beside the pixels, for the file of which they were decoded.
    """

    memory_id: int
    height: int
    width: int
    slot_count: int
    fd: int  # valid in the process that holds the message; it is sent beside the JSON text
    file_room_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SkipCounts:
    """From the reader: progress, and how many pictures were skipped since the last such message.

    next_number: the number of the next picture. rate, busy, unusable, damaged: skipped pictures, see
    `frame.SkipReason`. why, damage: the reason of the latest unusable or damaged picture in the decoder's own text, not
    yet redacted.

    The reader sends it before every picture that follows skipped ones, and about once a second in between.
    """

    next_number: int
    rate: int
    busy: int
    unusable: int
    why: str = ""
    damaged: int = 0
    damage: str = ""


@dataclass(frozen=True, slots=True)
class PictureReady:
    """From the reader: a picture lies in this slot, which now belongs to the daemon.

    age_s: seconds since the picture left the source. media_s: its position in the file in seconds, -1 for live sources.
    sent_s: Unix time by the sender's clock, 0 where it tells none. file_bytes: size of the JPEG that lies beside the
    pixels, 0 where there is none.
    """

    memory_id: int
    slot: int
    number: int
    age_s: float
    media_s: float
    sent_s: float = 0.0
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FileEnded:
    """From the reader: the file has no more pictures."""


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """From the reader: the source gives no more pictures. detail: see engines.capture.SourceError."""

    reason: AwayReason
    detail: str


@dataclass(frozen=True, slots=True)
class KeepRequest:
    """To the reader, before the open request: keep the packets of the source, and decode what a request asks for.

    keep_s: how long packets are kept. max_bytes: of them, at most. max_decode_frames: the most that are decoded for
    one picture. max_skew_s: how far in time a picture may be from what is asked for.
    """

    keep_s: float
    max_bytes: int
    max_decode_frames: int
    max_skew_s: float


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """To the reader: the picture of this time is wanted. number: of the request, which its answer has too.

    age_s: how long ago the frame arrived. sent_s: its Unix time by the sender's clock, 0 where it tells none. within_s:
    how long the answer may take.
    """

    number: int
    age_s: float
    sent_s: float
    within_s: float


@dataclass(frozen=True, slots=True)
class PacketsKept:
    """From the reader: progress, about once a second while packets come, and at once with the first key frame."""

    packets: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotReady:
    """From the reader: the picture lies in the memory whose id is the request's number, announced just before.

    age_s: how long ago its packet arrived. skew_s: how much later than the frame it was taken. by_sender: measured by
    the senders' clocks, not by arrival. sent_s: Unix time by the sender's clock, 0 where it tells none.
    """

    number: int
    age_s: float
    skew_s: float
    by_sender: bool
    sent_s: float


@dataclass(frozen=True, slots=True)
class SnapshotRefused:
    """From the reader: there is no such picture. detail: not redacted."""

    number: int
    reason: SnapshotMissReason
    detail: str


Message = (
    OpenRequest
    | PictureRequest
    | ReaderStarted
    | SourceOpened
    | SourceQuiet
    | SharedMemory
    | SkipCounts
    | PictureReady
    | FileEnded
    | SourceFailed
    | KeepRequest
    | SnapshotRequest
    | PacketsKept
    | SnapshotReady
    | SnapshotRefused
)
_MESSAGE_TYPES: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}
_ENUMS: dict[str, type[Enum]] = {kind.__name__: kind for kind in (AwayReason, SnapshotMissReason)}
_FIELD_TYPES: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    **dict.fromkeys(_ENUMS, str),
}


def encode(message: Message) -> bytes:
    """Converts a message to bytes."""
    fields = [getattr(message, name) for name in message.__dataclass_fields__]
    return json.dumps([type(message).__name__, *fields]).encode()


def decode(data: bytes) -> Message:
    """Converts bytes to a message. Raises ChannelClosed for anything that `encode` did not make."""
    try:
        name, *fields = json.loads(data, parse_constant=_refuse_constant)
        kind = _MESSAGE_TYPES[name]
        expected = [str(field.type) for field in kind.__dataclass_fields__.values()]
        if len(fields) != len(expected):
            raise ValueError(f"{name} has {len(expected)} fields, not {len(fields)}")
        for value, type_name in zip(fields, expected, strict=True):
            if not isinstance(value, _FIELD_TYPES[type_name]) or (type_name != "bool" and isinstance(value, bool)):
                raise ValueError(f"{name} has a field that is not of type {type_name}")
        values: list[Any] = [_ENUMS[of](v) if of in _ENUMS else v for v, of in zip(fields, expected, strict=True)]
        return kind(*values)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChannelClosed(f"not a message: {error}") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


class Channel:
    """One end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(True)
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    @staticmethod
    def socket_pair() -> tuple[socket.socket, socket.socket]:
        """Creates the two connected sockets of a channel."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def send(self, message: Message, *, wait: bool = True) -> bool:
        """Sends a message. Returns False if the socket is full and `wait` is False. Raises ChannelClosed."""
        fds = [message.fd] if isinstance(message, SharedMemory) else []
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        flags = socket.MSG_NOSIGNAL | (0 if wait else socket.MSG_DONTWAIT)
        try:
            self._socket.sendmsg([encode(message)], ancillary, flags)
        except BlockingIOError:
            return False
        except OSError as error:
            raise ChannelClosed(str(error)) from None
        return True

    def receive(self, timeout_s: float | None) -> Message | None:
        """Returns the next message, or None if none came in time (timeout_s: None waits for ever).

        Raises ChannelClosed, or NoDescriptorForMemory, which is one too.
        """
        if timeout_s is not None and not self._poll.poll(max(0.0, timeout_s) * 1000):
            return None
        try:
            data, fds, flags = self._receive()
        except ConnectionResetError:
            # The other end died before it read all of our messages. Its own last messages may still be waiting.
            try:
                data, fds, flags = self._receive()
            except OSError as error:
                raise ChannelClosed(str(error)) from None
        except OSError as error:
            raise ChannelClosed(str(error)) from None
        try:
            if not data:
                raise ChannelClosed("the other end is closed")
            if flags & socket.MSG_TRUNC:
                raise ChannelClosed("a message is too long")
            message = decode(data)
            if flags & socket.MSG_CTRUNC:  # the kernel only says that not all descriptors fitted
                raise (
                    NoDescriptorForMemory
                    if isinstance(message, SharedMemory) and not fds
                    else ChannelClosed("too many descriptors")
                )
            if isinstance(message, SharedMemory) != (len(fds) == 1):
                raise ChannelClosed("only shared memory comes with a file descriptor, exactly one")
            return replace(message, fd=fds.pop()) if isinstance(message, SharedMemory) else message
        finally:
            for fd in fds:
                os.close(fd)

    def shut_down(self) -> None:
        """Ends the channel for both ends, at once; a thread that waits here gets ChannelClosed. From any thread."""
        with contextlib.suppress(OSError):  # it is closed
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()

    def _receive(self) -> tuple[bytes, list[int], int]:
        data, fds, flags, _ = socket.recv_fds(
            self._socket, _MAX_MESSAGE_BYTES, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        return data, list(fds), flags
