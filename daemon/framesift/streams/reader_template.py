"""The template: a process that has loaded everything a reader needs, and forks itself for each one.

    python -m framesift.streams.reader_template SOCKET PADDING

Loading Python, numpy and OpenCV takes a third of a second of a processor and 18 MB. Forks share both: a reader starts
in milliseconds, and what it does not change is in memory once. The template has one thread, so that it may fork, and
never opens a source: what comes from the network is decoded in forks only. It has an environment without secrets, see
reader_forks.py, which is its other side.

The messages are JSON arrays on a SOCK_SEQPACKET socket, with numbers that the daemon chooses:

    ["start", number, name]              with two descriptors: the reader's end of its channel, and its stderr
    ["kill", number]
    ["started", number, pid]             to the daemon
    ["killed", number, null]             to the daemon: the signal was sent, or there is no such fork any more
    ["ended", number, status]            to the daemon; the status as of `subprocess`, or why there is no fork

It ends when the socket is closed, and the kernel kills each fork when the template ends, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from framesift.streams import reader

NAME_BYTES = 128  # of PADDING, which a fork replaces by its stream's name
_MAX_MESSAGE_BYTES = 65_536
_PR_SET_PDEATHSIG = 1
_ARG_END = 46  # field 49 of proc_pid_stat(5), counted from the one after the name in brackets


class Template:
    """The forks, and the socket on which they are ordered."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._forks: dict[int, int] = {}  # pid -> number
        self._child_ended, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakes = wakes
        signal.signal(
            signal.SIGCHLD, lambda *_: None
        )  # a handler of Python's, so that the number is written to the pipe
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve the daemon until the socket is closed."""
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        waiting.register(self._child_ended, select.POLLIN)
        while True:
            ready = [fd for fd, _ in waiting.poll()]
            if self._child_ended in ready:
                self._collect()
            if self._control.fileno() in ready and not self._serve_one():
                return

    def _collect(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._child_ended, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._send("ended", self._forks.pop(ended[0]), os.waitstatus_to_exitcode(ended[1]))

    def _serve_one(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _MAX_MESSAGE_BYTES, 2, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        if not data:
            return False
        kind, number, *rest = json.loads(data)
        if kind == "kill":
            for pid, forked in self._forks.items():
                if forked == number:
                    os.kill(pid, signal.SIGKILL)  # it has not been collected: the pid is still its own
            self._send("killed", number, None)
            return True
        try:
            pid = os.fork()
        except OSError as error:
            self._send("ended", number, str(error.strerror))
        else:
            if not pid:
                self._become_reader(fds[0], fds[1], *rest)
            self._forks[pid] = number
            self._send("started", number, pid)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # the daemon has ended: the next message says so
            self._control.send(json.dumps(message).encode())

    def _become_reader(self, channel_fd: int, stderr_fd: int, name: str) -> NoReturn:
        status = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            self._control.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(stderr_fd, 2)
            _show_name(name)
            reader.run(socket.socket(fileno=channel_fd))
            status = 0
        except BaseException:  # noqa: BLE001  # whatever it is: a fork must never return into the template
            traceback.print_exc()
        finally:
            os._exit(status)


def _show_name(name: str) -> None:
    """Let `ps` show the stream's name, in the place of the padding."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        end = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_ARG_END])
        if end:
            ctypes.memmove(end - 1 - NAME_BYTES, name.encode()[:NAME_BYTES].ljust(NAME_BYTES, b"\0"), NAME_BYTES)


def main(arguments: list[str]) -> None:
    """Run the template. arguments: as in sys.argv; the first is the number of the socket's file descriptor."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would carry the credentials to the disk
    import cv2

    with contextlib.suppress(ImportError):  # it is optional
        import av  # noqa: F401

        from framesift.streams.engines import pyav  # noqa: F401
        from framesift.streams.snapshots import keeper  # noqa: F401

    cv2.videoio_registry.getStreamBackends()  # the first call of every reader
    template = Template(socket.socket(fileno=int(arguments[1])))
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, what it shares
    template.run()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
