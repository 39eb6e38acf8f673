"""Commands as forks of a process that has loaded framesift: a start costs 0.1 s of a core instead of 1 s.

Each command is a process of its own, with its own folder, environment, output and exit code, and runs what
`python -m framesift` runs. What it doesn't do again is to import the package; the command line itself, whose console
is made for an environment, is imported after the fork.

    run(folder, ["status"], environment, timeout_s=60.0)
"""

from __future__ import annotations

import functools
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
from typing import Any

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


def run(
    folder: Path, words: Sequence[str], environment: Mapping[str, str], *, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Runs `framesift` with these words to its end. Raises subprocess.TimeoutExpired; then it was killed."""
    told, status = os.pipe()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        request = {"folder": str(folder.absolute()), "words": list(words), "environment": dict(environment)}
        _server(os.getpid()).start(request, [out.fileno(), err.fileno(), status])
        os.close(status)
        try:
            code = _exit_code(told, [*words], timeout_s)
        finally:
            os.close(told)
        printed = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess(["framesift", *words], code, printed[0], printed[1])


def _exit_code(told: int, words: list[str], timeout_s: float) -> int:
    """Of the command whose number, and later exit code, come out of this pipe as lines."""
    until_s, text = time.monotonic() + timeout_s, ""
    while text.count("\n") < 2:
        ready, _, _ = select.select([told], [], [], max(0.0, until_s - time.monotonic()))
        if not ready:
            if "\n" in text:
                os.kill(int(text.split()[0]), signal.SIGKILL)
            raise subprocess.TimeoutExpired(["framesift", *words], timeout_s)
        content = os.read(told, 100)
        assert content, "the process that starts commands has ended"
        text += content.decode()
    return int(text.split()[1])


# --- in the process that forks ----------------------------------------------------------------------------------------


def serve(number: int) -> None:
    """Forks for each request that comes from this socket. Returns in the forks; they run one command each."""
    before = dict(os.environ)
    import framesift.service.service
    import framesift.settings  # noqa: F401

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
