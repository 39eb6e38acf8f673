"""A listener with many untrusted clients: a thousand are silent, five hundred slow, fifty hostile."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from rigs.daemon import NEW_PROCESS, Daemon, write_configuration
from rigs.raw_http_server import OK, Peer, RawServer

LASTS_S = 20.0
CROWD = Path(__file__).parents[1] / "rigs" / "untrusted_clients_child.py"


@pytest.mark.torture
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["proxy", "ingest"])
def test_a_client_is_answered_within_a_second_while_untrusted_clients_crowd_the_listener(
    tmp_path: Path, kind: str
) -> None:
    """Of the daemon's processor time: how much of it others leave to the daemon is not its doing."""

    def talk(peer: Peer) -> None:
        while (asked := peer.read()) is not None:
            if asked.header("Transfer-Encoding"):
                peer.hold()
            peer.send(OK)

    with RawServer(talk) as raw, contextlib.closing(socket.create_server(("127.0.0.1", 0))) as place:
        port = place.getsockname()[1]
        place.close()
        listener = {"listen": f"127.0.0.1:{port}", **({"upstream": raw.url} if kind == "proxy" else {})}
        write_configuration(tmp_path, {"listeners": [listener]})
        took_s: list[float] = []
        with Daemon(tmp_path, command=NEW_PROCESS) as daemon:
            daemon.wait_for("ready")
            ends_s = time.monotonic() + LASTS_S
            with subprocess.Popen([sys.executable, CROWD, str(port)], stdin=subprocess.PIPE) as crowd:
                assert crowd.stdin is not None
                while time.monotonic() < ends_s:
                    before_s = _processor_s(daemon.process.pid)
                    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=60).status_code in (200, 404)
                    took_s.append(_processor_s(daemon.process.pid) - before_s)
                    time.sleep(0.05)
                crowd.stdin.close()
            assert daemon.stop() == 0
        assert max(took_s) < 1.0
        assert not [event for event in daemon.events if event["event"] == "listener_failed"]


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
