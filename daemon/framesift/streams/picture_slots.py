"""PictureSlots: memory that a reader shares with the daemon, in which decoded pictures lie.

A slot may have room for a file beside the pixels. Memory into which nothing was written costs nothing.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os

import numpy as np
from numpy.typing import NDArray

from framesift.frame import Pixels
from framesift.streams.channel import MAX_PICTURE_PIXELS, ChannelClosed, NoDescriptorForMemory, SharedMemory

MAX_FILE_ROOM_BYTES = 16 << 20
_MAX_SLOTS = 8
_SLOT_ALIGNMENT_BYTES = 64  # each slot begins on a cache line


class PictureSlots:
    """Shared memory for `count` pictures of one size; each is a BGR uint8 array of shape (height, width, 3)."""

    def __init__(self, fd: int, height: int, width: int, count: int, *, file_room_bytes: int, writable: bool) -> None:
        stride = _stride_bytes(height, width, file_room_bytes)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(fd, stride * count, access=access)
        flat: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8).reshape(count, stride)
        self._pictures = [flat[slot, : height * width * 3].reshape(height, width, 3) for slot in range(count)]
        self._files = [flat[slot, stride - file_room_bytes :] for slot in range(count)]
        self.shape = (height, width, 3)

    @classmethod
    def create(cls, height: int, width: int, count: int, file_room_bytes: int = 0) -> tuple[PictureSlots, int]:
        """Creates new memory and returns it with its file descriptor, which the caller closes after it has sent it."""
        fd = os.memfd_create("framesift-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, _stride_bytes(height, width, file_room_bytes) * count)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return cls(fd, height, width, count, file_room_bytes=file_room_bytes, writable=True), fd

    @classmethod
    def attach(cls, memory: SharedMemory) -> PictureSlots:
        """Maps the reader's memory read-only and closes its file descriptor.

        Raises ChannelClosed if the memory is not what the message says.
        """
        try:
            height, width, slots, room = memory.height, memory.width, memory.slot_count, memory.file_room_bytes
            if height < 2 or width < 2 or height * width > MAX_PICTURE_PIXELS or not 1 <= slots <= _MAX_SLOTS:
                raise ChannelClosed(f"shared memory for {slots} pictures of {width} x {height} is not allowed")
            if not 0 <= room <= MAX_FILE_ROOM_BYTES:
                raise ChannelClosed(f"shared memory for files of {room} bytes is not allowed")
            sealed = fcntl.fcntl(memory.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
            if not sealed or os.fstat(memory.fd).st_size < _stride_bytes(height, width, room) * slots:
                raise ChannelClosed("shared memory is smaller than announced, or could shrink")
            return cls(memory.fd, height, width, slots, file_room_bytes=room, writable=False)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # mmap duplicates the descriptor
                raise NoDescriptorForMemory from None
            raise ChannelClosed(f"shared memory can't be used: {error}") from None
        finally:
            os.close(memory.fd)

    def __getitem__(self, slot: int) -> NDArray[np.uint8]:
        """The pixels of a slot, a view of shape (height, width, 3)."""
        return self._pictures[slot]

    def file(self, slot: int) -> NDArray[np.uint8]:
        """The room for a file beside the pixels of a slot, a view; empty where there is none."""
        return self._files[slot]

    def __len__(self) -> int:
        """The number of slots."""
        return len(self._pictures)


class SlotPicture:
    """A picture whose pixels and file lie in a slot. Both are valid as long as the slot is not returned."""

    def __init__(self, pixels: Pixels, file: NDArray[np.uint8]) -> None:
        """pixels: as in Frame. file: the bytes of the JPEG of which they were decoded."""
        self.pixels = pixels
        self.height, self.width = int(pixels.shape[0]), int(pixels.shape[1])
        self._file = file

    def overview(self, width: int = 1, height: int = 1) -> Pixels:  # noqa: ARG002  # all pixels are there
        """The pixels."""
        return self.pixels

    @property
    def jpeg(self) -> bytes:
        """A copy of the file."""
        return self._file.tobytes()


def _stride_bytes(height: int, width: int, file_room_bytes: int) -> int:
    """Size of a slot: pixels, then a file, whose room is a multiple of the alignment."""
    return -(-height * width * 3 // _SLOT_ALIGNMENT_BYTES) * _SLOT_ALIGNMENT_BYTES + file_room_bytes
