"""Faults that show only beside another process: a second daemon, and a status port that somebody else has."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rigs.daemon import Daemon, framesift
from rigs.operator_view import OperatorView
from rigs.seeded_faults.fault import SeededFault, Times
from rigs.seeded_faults.situation import configure

_LISTENER = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
print("listens", flush=True)
server.serve_forever()
"""


def second_daemon(fault: SeededFault, folder: Path) -> Times:
    """A daemon of other settings is started with the status port of one that runs. Then the first one is stopped."""
    first, second = folder / "first", folder / "second"
    for one in (first, second):
        one.mkdir()
    port = configure(first, device="first")
    configure(second, device="second", status={"bind": f"127.0.0.1:{port}"})
    with Daemon(first) as running:
        running.wait_for("ready")
        with Daemon(second) as started:
            started.wait_for("ready")
            return _refused_until(fault, second, port, started, running.stop)


def port_taken(fault: SeededFault, folder: Path) -> Times:
    """Another program listens at the status port when the daemon starts, and ends later."""
    port = configure(folder)
    with _listening(port) as other, Daemon(folder) as started:
        started.wait_for("ready")
        return _refused_until(fault, folder, port, started, other.kill)


def _refused_until(fault: SeededFault, folder: Path, port: int, started: Daemon, mend: object) -> Times:
    """The status of a daemon whose page can't be had says why, until it is mended."""
    assert callable(mend)
    began_s = time.monotonic()
    asked = framesift(folder, "status")
    said_s = time.monotonic() - began_s
    assert asked.returncode == 1
    assert fault.is_in(asked.stderr), asked.stderr
    assert said_s <= fault.say_s
    failed = started.wait_for("health", component="status page", state=fault.condition)
    assert f"127.0.0.1:{port}" in failed["why"]
    before = len(started.events)
    mend()
    view = OperatorView(folder, port, started)
    well_s = view.until(lambda: view.fields().get("device") is not None and view.problems() == [], fault.well_s)
    assert framesift(folder, "status").returncode == 0
    started.wait_for("health", after=before, component="status page", state="ok")
    return Times(said_s, well_s)


@contextmanager
def _listening(port: int) -> Iterator[subprocess.Popen[str]]:
    """Another program that answers HTTP at the port."""
    command = [sys.executable, "-c", _LISTENER, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "listens\n"
        try:
            yield other
        finally:
            other.kill()
