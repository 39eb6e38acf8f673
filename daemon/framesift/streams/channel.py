"""The channel between a stream and its reader process: small messages over a socket, pixels in shared memory.

The socket is a SOCK_SEQPACKET pair, one JSON array a message. Pixels lie in a memfd of a few slots, made by the reader
for one size of picture, sealed against shrinking (so that no reader can make the daemon fault), and passed along with
the message that announces it. A slot belongs to whoever last received its number.

Both ends are used by one receiving thread each; sending is safe from several.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import mmap
import os
import select
import socket
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

MAX_PICTURE_PIXELS = 100_000_000
_LARGEST_MESSAGE_BYTES = 65_536
_MOST_SLOTS = 8
_ROW_OF_BYTES = 64  # slots begin at cache lines


class ChannelClosed(Exception):
    """The other end is gone, or speaks nonsense. Nothing more will come."""


class NoDescriptorForMemory(ChannelClosed):
    """The other end's memory can't be had, since no file descriptor is free."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """To the reader, once: what it opens. first_number: the number of the first picture that it reads.

    webcam: -1 where the address counts. resume_at: pictures of a file to leave out because they were seen already.
    fps: 0 hands on every picture.
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


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """To the reader: the slot of that memory is yours again (-1: none), and I want the next picture."""

    memory_id: int
    slot: int


@dataclass(frozen=True, slots=True)
class ReaderStarted:
    """From the reader: everything is loaded, I begin to open the source."""


@dataclass(frozen=True, slots=True)
class SourceOpened:
    """From the reader: the source is open; no picture has been seen yet."""


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """From the reader: pictures of this size lie in the memory with this number, in so many slots."""

    memory_id: int
    height: int
    width: int
    slot_count: int
    fd: int  # valid on the side that holds the message; it travels beside the text


@dataclass(frozen=True, slots=True)
class SkipCounts:
    """From the reader: the source moves. number: the next picture's; the others count since the last tally.

    A tally goes out before every picture that follows skipped ones, and about once a second in between. why: the latest
    unusable one is so, in the decoder's words, not yet fit to be shown.
    """

    next_number: int
    rate: int
    busy: int
    unusable: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class PictureReady:
    """From the reader: this slot is yours. age_s: since the picture left the source. media_s: -1 for live sources."""

    memory_id: int
    slot: int
    number: int
    age_s: float
    media_s: float


@dataclass(frozen=True, slots=True)
class FileEnded:
    """From the reader: the file has no more pictures."""


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """From the reader: the source gives no more pictures, and why."""

    reason: str


Message = (
    OpenRequest
    | PictureRequest
    | ReaderStarted
    | SourceOpened
    | SharedMemory
    | SkipCounts
    | PictureReady
    | FileEnded
    | SourceFailed
)
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        OpenRequest,
        PictureRequest,
        ReaderStarted,
        SourceOpened,
        SharedMemory,
        SkipCounts,
        PictureReady,
        FileEnded,
        SourceFailed,
    )
}
_TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str, "bool": bool}


def encode(message: Message) -> bytes:
    fields = [getattr(message, name) for name in message.__dataclass_fields__]
    return json.dumps([type(message).__name__, *fields]).encode()


def decode(data: bytes) -> Message:
    """Raises ChannelClosed for anything that `encode` did not make."""
    try:
        name, *fields = json.loads(data, parse_constant=_refuse_constant)
        kind = _KINDS[name]
        expected = [str(field.type) for field in kind.__dataclass_fields__.values()]
        if len(fields) != len(expected):
            raise ValueError(f"{name} has {len(expected)} fields")
        for value, type_name in zip(fields, expected, strict=True):
            if not isinstance(value, _TYPES[type_name]) or (type_name != "bool" and isinstance(value, bool)):
                raise ValueError(f"{name} has a field that is no {type_name}")
        return kind(*fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChannelClosed(f"not a message: {error}") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


class Channel:
    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(True)
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    @staticmethod
    def socket_pair() -> tuple[socket.socket, socket.socket]:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def send(self, message: Message, *, wait: bool = True) -> bool:
        """Tells whether it was sent: without `wait` a full socket refuses. Raises ChannelClosed."""
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
        """The next message; None when none came in time. Raises ChannelClosed."""
        if not self._poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000):
            return None
        try:
            data, fds, flags = self._receive()
        except ConnectionResetError:
            # The other end died with words of ours unread. Its own last words may still wait behind the error.
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
            if flags & socket.MSG_CTRUNC:  # the kernel says no more than that it did not get all of them in
                raise (
                    NoDescriptorForMemory
                    if isinstance(message, SharedMemory) and not fds
                    else ChannelClosed("too many descriptors")
                )
            if isinstance(message, SharedMemory) != (len(fds) == 1):
                raise ChannelClosed("memory comes with exactly one file descriptor, and nothing else with any")
            return replace(message, fd=fds.pop()) if isinstance(message, SharedMemory) else message
        finally:
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> tuple[bytes, list[int], int]:
        data, fds, flags, _ = socket.recv_fds(
            self._socket, _LARGEST_MESSAGE_BYTES, _MOST_SLOTS, socket.MSG_CMSG_CLOEXEC
        )
        return data, list(fds), flags


class PictureSlots:
    """Room for `count` pictures of one size in one piece of shared memory: BGR, uint8, (height, width, 3) each."""

    def __init__(self, fd: int, height: int, width: int, count: int, *, writable: bool) -> None:
        stride = _stride_bytes(height, width)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(fd, stride * count, access=access)
        flat: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8).reshape(count, stride)
        self._pictures = [flat[slot, : height * width * 3].reshape(height, width, 3) for slot in range(count)]
        self.shape = (height, width, 3)

    @classmethod
    def create(cls, height: int, width: int, count: int) -> tuple[PictureSlots, int]:
        """New memory and its file descriptor, which the caller closes once it has been passed on."""
        fd = os.memfd_create("framesift-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, _stride_bytes(height, width) * count)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return cls(fd, height, width, count, writable=True), fd

    @classmethod
    def attach(cls, memory: SharedMemory) -> PictureSlots:
        """The reader's memory, read-only; closes the file descriptor. Raises ChannelClosed if it isn't what it says."""
        try:
            height, width, slots = memory.height, memory.width, memory.slot_count
            if height < 2 or width < 2 or height * width > MAX_PICTURE_PIXELS or not 1 <= slots <= _MOST_SLOTS:
                raise ChannelClosed(f"memory for {slots} pictures of {width} x {height}")
            sealed = fcntl.fcntl(memory.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
            if not sealed or os.fstat(memory.fd).st_size < _stride_bytes(height, width) * slots:
                raise ChannelClosed("memory that is smaller than it says, or could become so")
            return cls(memory.fd, height, width, slots, writable=False)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # a map keeps a descriptor of its own
                raise NoDescriptorForMemory from None
            raise ChannelClosed(f"memory that can't be used: {error}") from None
        finally:
            os.close(memory.fd)

    def __getitem__(self, slot: int) -> NDArray[np.uint8]:
        return self._pictures[slot]

    def __len__(self) -> int:
        return len(self._pictures)


def _stride_bytes(height: int, width: int) -> int:
    return -(-height * width * 3 // _ROW_OF_BYTES) * _ROW_OF_BYTES
