"""Words: what a decoder writes to stderr, kept in a piece of memory that the daemon and the reader look into.

They are more than an explanation. Where FFmpeg can't convert a picture (interlaced, larger than the first), OpenCV
drops that answer, says that all is well, and copies out whatever its own buffer held: nothing, the picture of before,
or what lay in that memory. Every byte of the array is written, so no pattern left in it could tell such a picture from
a good one; the line that FFmpeg's converter writes at that moment, in the thread that asked, does. (Of a picture that
is smaller than the first, OpenCV below 4.13 converts a garbled part, and nobody says a word.)

A file in memory and not a pipe: nobody has to read it for the decoder to go on, and what a decoder wrote before it
crashed is still there.
"""

from __future__ import annotations

import fcntl
import os
import re

_MOST_BYTES = 65_536  # of a decoder that complains for ever, the latest is kept
_LONGEST = 300
# Errors only: OpenCV shows no others, unless it is told to by variables that a reader does not inherit.
_CONVERTER = re.compile(rb"\[sws\w* @ [^]\n]*\] *([^\n]*)", re.IGNORECASE)


class DecoderLog:
    """Of the file behind the descriptor; for one thread."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._begin = 0

    @classmethod
    def create(cls) -> DecoderLog:
        """New memory, to be another process's stderr."""
        fd = os.memfd_create("framesift-words", os.MFD_CLOEXEC)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)  # so that it can be emptied while somebody writes
        return cls(fd)

    def fileno(self) -> int:
        return self._fd

    def last_lines(self, count: int) -> list[bytes]:
        """The last lines that are not empty."""
        size = os.fstat(self._fd).st_size
        said = os.pread(self._fd, _MOST_BYTES, max(0, size - _MOST_BYTES))
        return [line for line in said.split(b"\n") if line.strip()][-count:]

    def mark(self) -> None:
        """Whatever comes next is new: before each step of the decoder's, also where no picture is wanted of it."""
        self._begin = os.fstat(self._fd).st_size
        if self._begin > _MOST_BYTES:
            os.ftruncate(self._fd, 0)
            self._begin = 0

    def conversion_error(self) -> str:
        """What the converter has said since `listen`; empty where it did its work."""
        new_bytes = os.fstat(self._fd).st_size - self._begin
        found = _CONVERTER.search(os.pread(self._fd, new_bytes, self._begin)) if new_bytes > 0 else None
        return found.group(1)[:_LONGEST].decode(errors="replace") if found else ""

    def close(self) -> None:
        os.close(self._fd)
