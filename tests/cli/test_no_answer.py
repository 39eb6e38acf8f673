"""`framesift status` where nobody answers, or somebody else does: who it is, and what to do."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rigs.daemon import Daemon, framesift, write_configuration
from rigs.raw_http_server import Peer, RawServer

ME = f"process {os.getpid()} "
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """This process has the spool open, as a daemon has."""
    with (folder / "spool.db.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def said(folder: Path, port: int) -> str:
    """The one line that `framesift status` prints, of a daemon whose status page should be at that port."""
    write_configuration(folder, {"status": {"bind": f"127.0.0.1:{port}"}})
    ended = framesift(folder, "status")
    assert ended.returncode == 1
    assert ended.stdout == ""
    line = ended.stderr.removeprefix("framesift: ").rstrip("\n")
    assert "\n" not in line
    return line


def test_another_program_at_the_port_is_named_with_the_remedy(tmp_path: Path) -> None:
    def answer(peer: Peer) -> None:
        peer.read()
        peer.send(NOT_FOUND)

    with RawServer(answer) as server:
        line = said(tmp_path, server.port)
    assert line.startswith(f"127.0.0.1:{server.port}: {ME}")
    assert line.endswith("and is no framesift; stop it, or give status.bind another port and restart framesift")


def test_a_daemon_that_does_not_answer_in_time_is_busy_or_hangs(tmp_path: Path) -> None:
    with RawServer(Peer.hold) as server, locked(tmp_path):
        line = said(tmp_path, server.port)
    assert line.startswith(f"no answer from 127.0.0.1:{server.port}; {ME}")
    assert line.endswith("is too busy, or hangs")


def test_a_program_that_does_not_speak_http_is_no_framesift(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            client, _ = listening.accept()
            client.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        line = said(tmp_path, listening.getsockname()[1])
        thread.join(10.0)
    assert ME in line
    assert "is no framesift; stop it, or give status.bind another port" in line


def test_the_daemon_that_runs_without_its_page_is_named_beside_who_has_the_port(tmp_path: Path) -> None:
    with RawServer(Peer.hold) as server:
        write_configuration(tmp_path, {"listeners": [{"listen": "127.0.0.1:0"}], "status": {"bind": None}})
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("ready")
            line = said(tmp_path, server.port)
    assert line.startswith(f"127.0.0.1:{server.port}: {ME}")
    assert f"the daemon of these settings, process {daemon.process.pid} (" in line
