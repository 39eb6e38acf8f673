"""What FFmpeg reads of a file that another program is still writing: a FIFO, or a file that grows.

FFmpeg would wait in the kernel for a FIFO's writer, where nothing ends it, and take the present end of a file for its
end. So it gets these objects instead of a path; it reads from front to back.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import Protocol

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import OpenRequest
from framesift.streams.engines.capture import ReaderHooks, SourceError

_POLL_S = 0.1


class ByteStream(Protocol):
    """A file as PyAV reads it. failure: what `read` raised, as not every format hands on that reading failed."""

    failure: SourceError | None

    def read(self, size: int) -> bytes:
        """Wait for the next bytes, at most `size`; none at the end. Raises SourceError."""

    def close(self) -> None:
        """Close the file."""


class FifoStream:
    """A FIFO. It ends when no program has it open for writing any more."""

    def __init__(self, request: OpenRequest) -> None:
        """Raises OSError."""
        self.failure: SourceError | None = None
        self._fd = os.open(request.address, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._silent = SourceError(AwayReason.SILENT, f"nothing was written into it for {request.open_timeout_s:g} s")
        self._wait_s = request.open_timeout_s
        self._read_timeout_s = request.read_timeout_s

    def read(self, size: int) -> bytes:
        """See ByteStream. Before the first writer has come, and while none writes, it waits for the time-out."""
        if not self._poll.poll(self._wait_s * 1000):
            self.failure = self._silent
            raise self._silent
        self._wait_s = self._read_timeout_s
        self._silent = SourceError(AwayReason.SILENT, f"nothing was written into it for {self._wait_s:g} s")
        return os.read(self._fd, size)

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._fd)


class GrowingFile:
    """A file that is being written. It ends when another file has its name, or when it has become shorter."""

    def __init__(self, request: OpenRequest, hooks: ReaderHooks) -> None:
        """Raises OSError."""
        self.failure: SourceError | None = None
        self._path = request.address
        self._hooks = hooks
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._position = 0
        self._grew_s = time.monotonic()

    def read(self, size: int) -> bytes:
        """See ByteStream. At the present end it waits, however long."""
        was_replaced = False
        while True:
            content = os.read(self._fd, size)
            if content:
                self._position += len(content)
                self._grew_s = time.monotonic()
                return content
            if was_replaced:  # and what was written until then has been read
                return b""
            was_replaced = self._is_replaced()
            time.sleep(_POLL_S)
            self._hooks.on_idle(time.monotonic() - self._grew_s)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _is_replaced(self) -> bool:
        try:
            named = Path(self._path).stat()
        except OSError:  # its name is gone, and no other file has it yet
            return False
        own = os.fstat(self._fd)
        return (named.st_dev, named.st_ino) != (own.st_dev, own.st_ino) or own.st_size < self._position


def open_byte_stream(request: OpenRequest, hooks: ReaderHooks) -> ByteStream | None:
    """Open a FIFO or a growing file; None for what FFmpeg opens itself. Raises OSError."""
    if request.fifo:
        return FifoStream(request)
    return GrowingFile(request, hooks) if request.follow else None
