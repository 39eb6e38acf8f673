"""DecoderLog: what a decoder writes to stderr, in memory that both the daemon and the reader can read.

The log does more than explain failures. When FFmpeg can't convert a picture (interlaced, larger than the first), OpenCV
ignores the error, reports success, and copies whatever its own buffer held: nothing, the previous picture, or other old
data. Such a picture can't be recognised by its pixels, but FFmpeg's converter writes an error line at that moment, in
the same thread. (When a picture is smaller than the first, OpenCV below 4.13 converts a broken part of it, and nothing
is logged.)

It is a file in memory, not a pipe: the decoder never has to wait for somebody to read it, and what the decoder wrote
before a crash is still there.
"""

from __future__ import annotations

import fcntl
import os
import re

_MAX_BYTES = 65_536  # only the latest is kept of a decoder that never stops writing
_MAX_ERROR_CHARACTERS = 300
# Errors only: OpenCV shows nothing else unless environment variables ask for it, and a reader does not inherit these.
_CONVERTER = re.compile(rb"\[sws\w* @ [^]\n]*\] *([^\n]*)", re.IGNORECASE)


class DecoderLog:
    """The log behind a file descriptor (default: this process's stderr). For one thread."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._marked_at = 0

    @classmethod
    def create(cls) -> DecoderLog:
        """Creates a new memory file, to be used as the stderr of another process."""
        fd = os.memfd_create("framesift-decoder-log", os.MFD_CLOEXEC)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)  # so that it can be truncated while another process writes
        return cls(fd)

    def fileno(self) -> int:
        """The file descriptor."""
        return self._fd

    def last_lines(self, count: int) -> list[bytes]:
        """The last `count` lines that are not empty."""
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, _MAX_BYTES, max(0, size - _MAX_BYTES))
        return [line for line in tail.split(b"\n") if line.strip()][-count:]

    def mark(self) -> None:
        """Marks the end of the log: `new_lines` and `conversion_error` look only at what comes later.

        Call it before each step of the decoder.
        """
        self._marked_at = os.fstat(self._fd).st_size
        if self._marked_at > _MAX_BYTES:
            os.ftruncate(self._fd, 0)
            self._marked_at = 0

    def new_lines(self) -> bytes:
        """What was written since `mark`."""
        new_bytes = os.fstat(self._fd).st_size - self._marked_at
        return os.pread(self._fd, new_bytes, self._marked_at) if new_bytes > 0 else b""

    def take_new_lines(self) -> bytes:
        """What was written since `mark` or since the last call."""
        lines = self.new_lines()
        self._marked_at += len(lines)
        if self._marked_at > _MAX_BYTES:
            self.mark()
        return lines

    def conversion_error(self) -> str:
        """The first error of FFmpeg's converter since `mark`; "" if there is none."""
        found = _CONVERTER.search(self.new_lines())
        return found.group(1)[:_MAX_ERROR_CHARACTERS].decode(errors="replace") if found else ""

    def close(self) -> None:
        """Closes the file descriptor."""
        os.close(self._fd)
