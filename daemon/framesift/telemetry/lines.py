"""Where log lines go: straight into a file, or through a bounded queue that a thread of its own writes out.

The reader of a pipe may stall (a pager, a log collector that hangs, a terminal after Ctrl-S), and then a write into it
never returns. With the queue only its own thread waits. When the queue is full, lines are dropped: the oldest of the
lowest level in it, so that warnings and errors are dropped last. Dropped lines are counted; lines that the file itself
refuses (a closed pipe, a full disk) are lost.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Mapping
from typing import Protocol, TextIO

LEVELS = ("debug", "info", "warning", "error")
# What systemd's journal takes for the priority of a line that begins with it, see sd-daemon(3).
_PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>"}
MAX_LINES = 1000
MAX_BYTES = 4 << 20
_POLL_S = 1.0


def is_journal(fd: int, journal_stream: str | None) -> bool:
    """Return whether a file descriptor leads to systemd's journal.

    journal_stream: the value of JOURNAL_STREAM, device and inode of the journal's socket; see systemd.exec(5). A
    process inherits the variable also where its output goes elsewhere, so both are compared.
    """
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


def with_priority(level: str, line: str) -> str:
    """Return the line as the journal expects it: its priority first, also after each line feed in it."""
    priority = _PRIORITIES[level]
    return priority + line.replace("\n", f"\n{priority}")


class LogOutput(Protocol):
    """Writes rendered lines. Thread-safe; never raises."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads the lines in a terminal."""

    def put(self, level: str, line: str) -> None:
        """Write a line, or queue it. level: one of LEVELS. line: without its line feed."""

    def dropped(self) -> Mapping[str, int]:
        """Return how many lines were dropped so far, by level."""

    def is_stalled(self) -> bool:
        """Return whether so many lines wait that nobody can be reading them."""


class LineFile:
    """A `LogOutput` into a file. Lines that can't be written (a full disk, a closed file) are lost."""

    def __init__(self, out: TextIO) -> None:
        """out: a file whose writes don't wait for a reader; a write into a pipe does."""
        self._out = out
        self.is_terminal = out.isatty()

    def put(self, level: str, line: str) -> None:  # noqa: ARG002  # a file treats all levels alike
        """See LogOutput."""
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        try:
            self._out.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._out.flush()
        except (OSError, ValueError):  # ValueError: the file is closed
            pass

    def dropped(self) -> Mapping[str, int]:
        """Return nothing: no line is ever queued."""
        return {}

    def is_stalled(self) -> bool:
        """Return False: no line ever waits."""
        return False


class LineQueue:
    """A `LogOutput` through a bounded queue into a file descriptor, written by a thread of its own.

    `put` returns at once, whatever the reader does. The buffers of `out` are not used: one that nobody reads would keep
    the interpreter from ending.
    """

    def __init__(
        self,
        out: TextIO,
        *,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
        journal_stream: str | None = None,
    ) -> None:
        """out: a file with a descriptor (not a StringIO), and nothing unwritten in its buffer.

        journal_stream: the value of JOURNAL_STREAM: lines begin with their priority if `out` is the journal.
        """
        self._fd = out.fileno()
        self._encoding = out.encoding or "utf-8"
        self.is_terminal = out.isatty()
        self._is_journal = is_journal(self._fd, journal_stream)
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        # level -> (number, line). The line with the lowest number is written next.
        self._waiting: dict[str, deque[tuple[int, bytes]]] = {level: deque() for level in LEVELS}
        self._next = 0
        self._lines = self._bytes = 0
        self._dropped: dict[str, int] = {}
        self._writing = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, level: str, line: str) -> None:
        """See LogOutput."""
        if self._is_journal:
            line = with_priority(level, line)
        data = (line + "\n").encode(self._encoding, "backslashreplace")
        with self._changed:
            self._waiting[level].append((self._next, data))
            self._next += 1
            self._lines += 1
            self._bytes += len(data)
            while self._lines > self._max_lines or self._bytes > self._max_bytes:
                lowest = next(filter(self._waiting.get, LEVELS))
                self._pop(lowest)
                self._dropped[lowest] = self._dropped.get(lowest, 0) + 1
            self._changed.notify_all()

    def dropped(self) -> Mapping[str, int]:
        """See LogOutput."""
        with self._changed:
            return dict(self._dropped)

    def is_stalled(self) -> bool:
        """Return whether more than half of the queue is in use."""
        with self._changed:
            return self._lines > self._max_lines // 2 or self._bytes > self._max_bytes // 2

    def drain(self, within_s: float) -> bool:
        """Wait until the queue is empty, at most so long; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writing, within_s)

    def _pop(self, level: str) -> bytes:
        _number, data = self._waiting[level].popleft()
        self._lines -= 1
        self._bytes -= len(data)
        return data

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines > 0)
                data = self._pop(min(filter(self._waiting.get, LEVELS), key=lambda level: self._waiting[level][0][0]))
                self._writing = True
            self._write(data)

    def _write(self, data: bytes) -> None:
        """Write the whole line, however long its reader takes. It is lost if nobody can read it any more."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # another process that shares the descriptor made it non-blocking
                ready = select.poll()
                ready.register(self._fd, select.POLLOUT)
                ready.poll(_POLL_S * 1000)
            except OSError:  # the pipe's reader is gone, or the disk is full
                return
