"""When a run counts as ready: not before its listeners listen, and no longer when it stops."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import requests

from rigs.daemon import Daemon, write_configuration


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_it_is_ready_only_when_all_listeners_listen(tmp_path: Path) -> None:
    listeners = [free_address() for _ in range(8)]
    status = free_address()
    write_configuration(
        tmp_path, {"listeners": [{"listen": listen} for listen in listeners], "status": {"bind": status}}
    )
    too_early: list[str] = []
    over = threading.Event()

    def watch() -> None:
        """Whoever is told "ready" can connect to every listener."""
        while not over.is_set():
            try:
                if requests.get(f"http://{status}/readyz", timeout=5).status_code == 200:
                    for listen in listeners:
                        host, _, port = listen.partition(":")
                        socket.create_connection((host, int(port)), timeout=5).close()
                    return
            except requests.RequestException:
                over.wait(0.001)
            except OSError as error:
                too_early.append(str(error))
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        watcher.join(30.0)
        over.set()
        assert not watcher.is_alive()
        assert too_early == []
        assert daemon.stop() == 0


def test_whoever_asks_at_the_first_moment_of_readiness_is_told_of_the_spool(tmp_path: Path) -> None:
    status = free_address()
    write_configuration(
        tmp_path, {"listeners": [{"listen": free_address()}], "status": {"bind": status, "token": "t" * 16}}
    )
    with Daemon(tmp_path) as daemon:
        pause = threading.Event()
        while True:
            try:
                if requests.get(f"http://{status}/readyz", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                assert daemon.process.poll() is None
            pause.wait(0.001)
        answer = requests.get(f"http://{status}/status", headers={"Authorization": f"Bearer {'t' * 16}"}, timeout=5)
        assert "spool" in answer.json()["health"]
        assert daemon.stop() == 0
