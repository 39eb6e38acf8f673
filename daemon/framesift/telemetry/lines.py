"""Where log lines go: straight into a file, or through a bounded queue that a thread of its own empties.

Whoever reads a pipe may stall (a pager, a log collector that hangs, a terminal after Ctrl-S), and then a write into it
never returns. With the queue only its own thread waits there. When it is full, lines are dropped: the oldest of the
lowest level there is, so that warnings and errors go last. What was dropped is counted; what the file itself refuses
(a closed pipe, a full disk) is lost.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Mapping
from typing import Protocol, TextIO

LEVELS = ("debug", "info", "warning", "error")
MAX_LINES = 1000
MAX_BYTES = 4 << 20
_LOOK_S = 1.0


class LogOutput(Protocol):
    """Takes rendered lines, from any thread. Never raises."""

    @property
    def is_terminal(self) -> bool: ...

    def put(self, level: str, line: str) -> None:
        """level: one of LEVELS. line: without its line feed."""

    def dropped(self) -> Mapping[str, int]:
        """How many lines were dropped so far, by level."""

    def is_stalled(self) -> bool:
        """Whether so many lines wait that nobody can be reading them."""


class LineFile:
    """Lines straight into a file. Those that can't be written (a full disk, a closed file) are lost.

    For files whose writes don't wait for anybody; a write into a pipe does.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.is_terminal = out.isatty()

    def put(self, level: str, line: str) -> None:  # noqa: ARG002  # a file takes all levels alike
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        try:
            self._out.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._out.flush()
        except (OSError, ValueError):  # ValueError: the file is closed
            pass

    def dropped(self) -> Mapping[str, int]:
        return {}

    def is_stalled(self) -> bool:
        return False


class LineQueue:
    """Lines through a bounded queue into a file descriptor, which a thread of its own writes to.

    `put` returns at once whatever the reader does. The descriptor is written to past the buffers of `out`: a buffer
    that holds what nobody reads would keep the interpreter from ending.
    """

    def __init__(self, out: TextIO, *, most_lines: int = MAX_LINES, most_bytes: int = MAX_BYTES) -> None:
        """out: open on a descriptor (not a StringIO), nothing unwritten in it."""
        self._fd = out.fileno()
        self._encoding = out.encoding or "utf-8"
        self.is_terminal = out.isatty()
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._changed = threading.Condition()
        # level -> (place among all, line). The lowest place of all is the next to be written.
        self._waiting: dict[str, deque[tuple[int, bytes]]] = {level: deque() for level in LEVELS}
        self._next = 0
        self._lines = self._bytes = 0
        self._dropped: dict[str, int] = {}
        self._writing = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, level: str, line: str) -> None:
        data = (line + "\n").encode(self._encoding, "backslashreplace")
        with self._changed:
            self._waiting[level].append((self._next, data))
            self._next += 1
            self._lines += 1
            self._bytes += len(data)
            while self._lines > self._most_lines or self._bytes > self._most_bytes:
                lowest = next(filter(self._waiting.get, LEVELS))
                self._take(lowest)
                self._dropped[lowest] = self._dropped.get(lowest, 0) + 1
            self._changed.notify_all()

    def dropped(self) -> Mapping[str, int]:
        with self._changed:
            return dict(self._dropped)

    def is_stalled(self) -> bool:
        with self._changed:
            return self._lines > self._most_lines // 2 or self._bytes > self._most_bytes // 2

    def drain(self, within_s: float) -> bool:
        """Waits until all that is queued is written; tells whether it was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writing, within_s)

    def _take(self, level: str) -> bytes:
        _place, data = self._waiting[level].popleft()
        self._lines -= 1
        self._bytes -= len(data)
        return data

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines > 0)
                data = self._take(min(filter(self._waiting.get, LEVELS), key=lambda level: self._waiting[level][0][0]))
                self._writing = True
            self._write(data)

    def _write(self, data: bytes) -> None:
        """Writes the whole line, however long its reader takes. Lost where nobody ever will read it."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # a process that shares the descriptor has switched waiting off
                ready = select.poll()
                ready.register(self._fd, select.POLLOUT)
                ready.poll(_LOOK_S * 1000)
            except OSError:  # the pipe's other end is closed, the disk is full
                return
