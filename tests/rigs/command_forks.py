"""Commands as forks of a process that has loaded framesift: one costs 0.2 s of a core instead of 1 s.

Each command is a process of its own, with its own folder, environment, output and exit code, and runs what
`python -m framesift` runs. What it doesn't do again is to import the package and its libraries; the command line
itself, whose console is made for an environment, is imported after the fork.

    run(folder, ["status"], environment, timeout_s=60.0)
    process = ForkedCommand(folder, ["run"], environment)          # goes on; it is used like a subprocess.Popen
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_TESTS = str(Path(__file__).parents[1])
_LENGTH_BYTES = 4


class _Server:
    """The process that forks. It ends with the process that started it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        program = f"from rigs.command_forks import serve; serve({theirs.fileno()})"
        program = f"import sys; sys.path.insert(0, {_TESTS!r}); {program}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd="/"
        )
        theirs.close()
        self._socket = ours
        self._lock = threading.Lock()

    def start(self, request: Mapping[str, object], files: Sequence[int]) -> None:
        content = json.dumps(request).encode()
        with self._lock:
            socket.send_fds(self._socket, [len(content).to_bytes(_LENGTH_BYTES, "big")], files)
            self._socket.sendall(content)


@functools.cache
def _server(_pid: int) -> _Server:
    return _Server()


class ForkedCommand:
    """A command that goes on. Its lines, of stdout and stderr together, come out of `stdout`."""

    def __init__(self, folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
        lines, end = os.pipe()
        try:
            self._status = _Status(folder, words, environment, [end, end])
        finally:
            os.close(end)
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = os.fdopen(lines)
        self.pid = self._status.pid(60.0)

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self._status.exit_code(0.0)

    def wait(self, timeout_s: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        code = self._status.exit_code(timeout_s)
        if code is None:
            raise subprocess.TimeoutExpired(["framesift"], timeout_s)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Status:
    """What is said of a command: its number, and later its exit code, as lines out of a pipe. For any thread."""

    def __init__(
        self, folder: Path, words: Sequence[str], environment: Mapping[str, str], outputs: Sequence[int]
    ) -> None:
        """Start the command. outputs: for its stdout and its stderr."""
        self._lock = threading.Lock()
        self._text = ""
        self._pipe, status = os.pipe()
        request = {"folder": str(folder.absolute()), "words": list(words), "environment": dict(environment)}
        _server(os.getpid()).start(request, [*outputs, status])
        os.close(status)

    def pid(self, timeout_s: float) -> int:
        assert self._has_lines(1, timeout_s), "the process that starts commands does not answer"
        return int(self._text.split()[0])

    def exit_code(self, timeout_s: float) -> int | None:
        return int(self._text.split()[1]) if self._has_lines(2, timeout_s) else None

    def _has_lines(self, count: int, timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        with self._lock:
            while self._text.count("\n") < count:
                if not select.select([self._pipe], [], [], max(0.0, until_s - time.monotonic()))[0]:
                    return False
                content = os.read(self._pipe, 100)
                assert content, "the process that starts commands has ended"
                self._text += content.decode()
                if self._text.count("\n") == 2:
                    os.close(self._pipe)
            return True


def run(
    folder: Path, words: Sequence[str], environment: Mapping[str, str], *, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Runs `framesift` with these words to its end. Raises subprocess.TimeoutExpired; then it was killed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = _Status(folder, words, environment, [out.fileno(), err.fileno()])
        code = status.exit_code(timeout_s)
        if code is None:
            os.kill(status.pid(10.0), signal.SIGKILL)
            raise subprocess.TimeoutExpired(["framesift", *words], timeout_s)
        printed = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess(["framesift", *words], code, printed[0], printed[1])


# --- in the process that forks ----------------------------------------------------------------------------------------


def serve(number: int) -> None:
    """Forks for each request that comes from this socket. Returns in the forks; they run one command each."""
    before = dict(os.environ)
    for name in ("framesift.service.service", "framesift.settings", "requests", "rich.markup", "typer"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # no fork looks for garbage in what is loaded, which would copy all of its memory
    set_by_imports = {name: value for name, value in os.environ.items() if before.get(name) != value}

    requests = socket.socket(fileno=number)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for a command
    while True:
        length, files, _, _ = socket.recv_fds(requests, _LENGTH_BYTES, 3)
        if not length:
            return
        request = json.loads(_read(requests, int.from_bytes(length, "big")))
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
    requests.close()
    out, err, status = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if command := os.fork():
        os.write(status, f"{command}\n".encode())
        ended = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        os.write(status, f"{ended}\n".encode())
        os._exit(0)
    os.close(status)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    _become(request, set_by_imports)


def _read(requests: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        content += requests.recv(size - len(content))
    return content


def _become(request: dict[str, Any], set_by_imports: dict[str, str]) -> None:
    """What `python -m framesift` does with these words, in this folder and environment."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(set_by_imports | request["environment"])
    sys.argv = ["framesift", *request["words"]]
    sys.path[:2] = [request["folder"]]
    from framesift.__main__ import main

    main()
