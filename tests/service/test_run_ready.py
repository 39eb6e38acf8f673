"""When a run counts as ready: not before its listeners listen, and no longer when it stops."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import requests

from rigs.daemon import Daemon, write_configuration


def free_addresses(count: int) -> list[str]:
    """Different ones, since all are bound at a time."""
    with contextlib.ExitStack() as bound:
        servers = [bound.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def test_it_is_ready_only_when_all_listeners_listen(tmp_path: Path) -> None:
    status, *listeners = free_addresses(9)
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
    status, listen = free_addresses(2)
    write_configuration(tmp_path, {"listeners": [{"listen": listen}], "status": {"bind": status}})
    told: list[str] = []
    pause = threading.Event()

    def watch() -> None:
        while not told and not pause.wait(0.001):
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://{status}/readyz", timeout=5).status_code == 200:
                    answer = requests.get(f"http://{status}/status", timeout=5).json()
                    told.extend(component["name"] for component in answer["health"])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        watcher.join(30.0)
        pause.set()
        assert "spool" in told
        assert daemon.stop() == 0
