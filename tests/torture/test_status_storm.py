"""The status port in a storm: a thousand silent, five hundred slow and fifty hostile connections, for a minute."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from framesift.status.clients import MAX_UNVERIFIED
from rigs.daemon import NEW_PROCESS, Daemon, unhurried, write_configuration
from telemetry.test_descriptors import clip

pytestmark = pytest.mark.torture
SECONDS = 60.0
WITHIN_S = 1.0


def asked(port: int) -> tuple[int, float]:
    """The status of /healthz, and after how many seconds it came."""
    began_s = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status, time.monotonic() - began_s
    finally:
        connection.close()


def test_the_health_check_is_answered_within_a_second_all_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip(tmp_path / "clip.avi", 50)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    write_configuration(
        tmp_path,
        {
            "streams": [{"name": "gate", "source": "clip.avi", "loop": True, "fps": 2}],
            "model": unhurried(tmp_path),
            "status": {"bind": f"127.0.0.1:{port}"},
        },
    )
    command = [sys.executable, "-m", "rigs.connection_storm", *map(str, (port, 1000, 500, 50))]
    with Daemon(tmp_path, command=NEW_PROCESS) as daemon:
        daemon.wait_for("stream", state="running")
        before = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
        storm = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
        )
        try:
            assert storm.stdout is not None
            storm.stdout.readline()
            took_s, most = [], 0
            until_s = time.monotonic() + SECONDS
            while time.monotonic() < until_s:
                status, after_s = asked(port)
                assert status == 200
                took_s.append(after_s)
                most = max(most, len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())))
                threading.Event().wait(0.2)
        finally:
            storm.kill()
            storm.wait()
            if storm.stdout is not None:
                storm.stdout.close()
        took_s.sort()
        middle_ms, last_ms = took_s[len(took_s) // 2] * 1e3, took_s[-1] * 1e3
        with capsys.disabled():
            sys.stdout.write(f"\n{len(took_s)} answers, {middle_ms:.0f} ms at the median, {last_ms:.0f} at most; ")
            sys.stdout.write(f"{most - before} sockets at most\n")
        assert took_s[-1] < WITHIN_S
        assert most - before < MAX_UNVERIFIED + 100
        assert daemon.stray == []
        assert daemon.stop() == 0
