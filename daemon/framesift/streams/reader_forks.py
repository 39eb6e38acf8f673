"""The daemon's side of the template process, of which every reader is a fork (see reader_template.py).

One template serves all streams of a process. It starts with the first reader, and again when it has died; then its
readers have died too, and their streams start new ones. It is started with an environment that holds only what a
decoder needs: forks read data from the network, so no secret of the daemon may be within their reach.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from framesift.streams.channel import MAX_PICTURE_PIXELS, Channel
from framesift.streams.decoder_log import DecoderLog

# Of PADDING, see reader_template.py (which must not be imported here: it loads what the daemon loads only when needed).
_NAME_BYTES = 128
_MAX_MESSAGE_BYTES = 65_536
_MAX_LINES = 8  # that are kept of what a template has written
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG", "TZ", "TMPDIR", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_INHERITED_PREFIXES = ("LC_", "GST_", "OPENCV_", "LIBVA_", "NVIDIA_")
# They send FFmpeg's log to stdout, or suppress it.
_NOT_INHERITED = ("OPENCV_FFMPEG_DEBUG", "OPENCV_FFMPEG_LOGLEVEL")


class ReaderFork:
    """One reader process. Thread-safe."""

    def __init__(self, template: _RunningTemplate, number: int) -> None:
        self._template = template
        self._number = number

    def kill(self) -> None:
        """Kill the process. Never waits."""
        self._template.kill_fork(self._number)

    def kill_hung_template(self) -> None:
        """Kill the template, and with it all its forks, if it has not done what `kill` told it.

        If it has, only this fork is left: it is stuck in the kernel, where nothing ends it, and harms no other.
        """
        self._template.kill_if_deaf(self._number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process; return whether it has ended."""
        return self._template.wait_for_end(self._number, timeout_s)

    def pid(self) -> int | None:
        """Return the process id, None if the fork has failed or its template has died. Waits until it is known."""
        return self._template.pid_of(self._number)

    @property
    def status(self) -> int | str | None:
        """How it ended, as of `subprocess`; a text if it never began; None if it has not ended, or nobody knows how."""
        return self._template.status_of(self._number)

    def template_lines(self, count: int) -> list[bytes]:
        """The last lines that the template itself has written."""
        return self._template.last_lines(count)

    def forget(self) -> None:
        """Forget how it ended. Nothing else may be asked for later."""
        self._template.forget(self._number)


class ReaderTemplate:
    """Starts readers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _RunningTemplate | None = None
        self._number = 0

    def start_reader(self, end: socket.socket, log: DecoderLog, *, name: str) -> ReaderFork:
        """Order a reader, and return at once: it begins as soon as the template has loaded what it needs.

        end: the reader's end of its channel. log: its stderr. The caller closes its own copies of both.
        Raises OSError if no process can be started.
        """
        with self._lock:
            if self._running is None or self._running.has_ended:
                self._running = _RunningTemplate()
            self._number += 1
            self._running.order(self._number, (end.fileno(), log.fileno()), name)
            return ReaderFork(self._running, self._number)


class _RunningTemplate:
    """One template process, from its start to its end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pids: dict[int, int] = {}
        self._ended: dict[int, int | str] = {}
        self._killed: set[int] = set()  # of those that were not forgotten, so is each of these three
        self._numbers: set[int] = set()
        self.has_ended = False
        self._last_lines: list[bytes] = []
        self._log = DecoderLog.create()
        self._control, template_end = Channel.socket_pair()
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "framesift.streams.reader_template",
                    str(template_end.fileno()),
                    "-" * _NAME_BYTES,
                ],
                env=_environment(),
                cwd="/",  # -m imports from the working directory first, where other people's files may lie
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log.fileno(),
                pass_fds=[template_end.fileno()],
                start_new_session=True,  # Ctrl-C at the terminal goes to the daemon only
            )
            try:
                threading.Thread(target=self._receive, name="reader template", daemon=True).start()
            except RuntimeError as error:  # the system has no more threads
                self._process.kill()
                self._process.wait()
                raise OSError(str(error)) from None
        except BaseException:
            self._control.close()
            self._log.close()
            raise
        finally:
            template_end.close()

    def order(self, number: int, fds: tuple[int, int], name: str) -> None:
        """Order a fork. Raises OSError."""
        with self._changed:
            self._numbers.add(number)
        message = json.dumps(["start", number, name]).encode()
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        self._control.sendmsg([message], ancillary, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def kill_fork(self, number: int) -> None:
        """Let the template kill a fork. Never waits, and never raises."""
        with contextlib.suppress(OSError):  # it has ended; or it doesn't read, and is killed itself in the end
            message = json.dumps(["kill", number]).encode()
            self._control.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def kill_if_deaf(self, number: int) -> None:
        """See ReaderFork.kill_hung_template."""
        with self._changed:
            is_deaf = number not in self._killed
        if is_deaf:
            self._process.kill()

    def wait_for_end(self, number: int, timeout_s: float) -> bool:
        """See ReaderFork."""
        with self._changed:
            return self._changed.wait_for(lambda: number in self._ended or self.has_ended, timeout_s)

    def pid_of(self, number: int) -> int | None:
        """See ReaderFork."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._pids or number in self._ended or self.has_ended)
            return self._pids.get(number)

    def status_of(self, number: int) -> int | str | None:
        """See ReaderFork."""
        with self._changed:
            return self._ended.get(number)

    def forget(self, number: int) -> None:
        """See ReaderFork."""
        with self._changed:
            self._numbers.discard(number)
            self._killed.discard(number)
            self._ended.pop(number, None)
            self._pids.pop(number, None)

    def last_lines(self, count: int) -> list[bytes]:
        """See ReaderFork."""
        with self._changed:
            return (self._last_lines if self.has_ended else self._log.last_lines(_MAX_LINES))[-count:]

    def _receive(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            while data := self._control.recv(_MAX_MESSAGE_BYTES):
                kind, number, value = json.loads(data)
                with self._changed:
                    self._record(kind, number, value)
                    self._changed.notify_all()
        self._process.kill()  # it has ended, or says what is no message
        self._process.wait()
        with self._changed:
            self._last_lines = self._log.last_lines(_MAX_LINES)
            self._log.close()
            self.has_ended = True
            self._changed.notify_all()
        self._control.close()

    def _record(self, kind: str, number: int, value: Any) -> None:
        if number not in self._numbers:  # it was forgotten before it ended
            return
        if kind == "killed":
            self._killed.add(number)
        else:
            (self._pids if kind == "started" else self._ended)[number] = value


def _environment() -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or (name.startswith(_INHERITED_PREFIXES) and name not in _NOT_INHERITED)
    }
    package_home = str(Path(__file__).resolve().parents[2])
    import_paths = [str(Path(entry).resolve()) for entry in sys.path if entry]
    return {
        **inherited,
        # The reader imports the same packages as the daemon, wherever the daemon found them.
        "PYTHONPATH": os.pathsep.join([package_home, *import_paths]),
        "OPENBLAS_NUM_THREADS": "1",  # no linear algebra here, and its threads cost start-up time and memory
        "OPENCV_LOG_LEVEL": "SILENT",
        "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PICTURE_PIXELS),  # it decodes no larger file
    }
