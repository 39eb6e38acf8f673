"""`framesift check` beside a daemon that runs on the same settings: real processes, locks, ports and cameras."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from framesift.cli.running_daemon import DaemonUnreachable, query_daemon
from framesift.clock.clock import SystemClock
from framesift.settings import StatusSettings, load
from framesift.status import DaemonIdentity, StatusServer
from framesift.telemetry import Condition, Telemetry
from rigs.daemon import Daemon, collected, framesift, free_address, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.rtsp import CuttableConnection, RtspCamera

WIDE: dict[str, Any] = {"COLUMNS": "2000"}


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspCamera]:
    folder = tmp_path_factory.mktemp("camera")
    numbered_clip(folder / "clip.mp4", frames=60, fps=30)
    with RtspCamera(folder) as camera:
        yield camera


@pytest.fixture
def wire(camera: RtspCamera) -> Iterator[CuttableConnection]:
    with CuttableConnection(camera.port) as wire:
        yield wire


def configure(folder: Path, **settings: Any) -> None:
    """A clip that begins again and again."""
    folder.mkdir(exist_ok=True)
    if not (folder / "clip.mp4").exists():
        numbered_clip(folder / "clip.mp4", frames=20)
    write_configuration(
        folder,
        {
            "streams": [{"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}],
            "model": unhurried(folder),
            "status": {"bind": free_address()},
            **settings,
        },
    )


@contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    """A daemon that has delivered something, so that it holds all that it will hold."""
    with Daemon(folder) as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: bool(collected(folder)), 30.0)
        yield daemon


@contextmanager
def holding(lock: Path) -> Iterator[int]:
    """A plain process that holds the lock; its number."""
    program = (
        "import fcntl, sys\nf = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def line_of(output: str, subject: str) -> str:
    """The line on one subject, its columns a blank apart."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    (line,) = (line for line in lines if line.partition(" ")[2].startswith(f"{subject} "))
    return line


def test_beside_a_running_daemon_that_is_well_everything_is_ok(tmp_path: Path) -> None:
    configure(tmp_path, listeners=[{"listen": free_address()}])
    with running(tmp_path) as daemon:
        checked = framesift(tmp_path, "check", **WIDE)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert line_of(checked.stdout, "daemon").startswith(f"ok daemon process {daemon.process.pid} runs with these")
        assert "the running daemon writes to it" in line_of(checked.stdout, "sink folder")
        assert daemon.stop() == 0
    assert framesift(tmp_path, "check").returncode == 0


def test_beside_a_daemon_that_accepts_a_disk_that_is_full_for_these_settings_is_a_note(tmp_path: Path) -> None:
    configure(tmp_path)
    with running(tmp_path):
        # For the daemon nothing changes; for the check there is less room on the same disk than has to stay free.
        kept = shutil.disk_usage(tmp_path).free + (64 << 30)
        checked = framesift(tmp_path, "check", FRAMESIFT_SPOOL__MIN_FREE_BYTES=str(kept), **WIDE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    line = line_of(checked.stdout, "spool")
    assert line.startswith("note")
    assert f"free at {tmp_path}" in line
    assert "the running daemon still accepts; after its next start it would not: free some disk space" in line


class _Style:
    format = "json"
    level = "info"


FULL_DISK = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import cli.test_check_beside_daemon as test
folder = Path("disk")
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", "disk"], check=True)
test.configure(folder)
with test.running(folder) as daemon:
    well = test.framesift(folder, "check")
    for fill, event in (("fill-1", "spool_reserve_released"), ("fill-2", "spool_failed")):
        subprocess.run(["dd", "if=/dev/zero", f"of=disk/{fill}", "bs=64k"], check=False, capture_output=True)
        daemon.wait_for(event)
    full = test.framesift(folder, "check", **test.WIDE)
print(well.returncode, full.returncode)
print(full.stdout)
"""


@pytest.mark.torture
def test_a_disk_that_is_full_to_the_last_byte_is_seen_beside_a_running_daemon(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    program = [*alone, sys.executable, "-c", FULL_DISK, str(Path(__file__).parents[1])]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    codes, _, output = done.stdout.partition("\n")
    assert codes == "0 1", done.stdout
    line = line_of(output, "spool")
    assert line.startswith("FAILED")
    assert str(tmp_path / "disk") in line


def test_what_has_failed_in_the_daemon_fails_the_check_in_its_own_words(tmp_path: Path) -> None:
    configure(tmp_path, status={"bind": "127.0.0.1:0"})
    telemetry = Telemetry(SystemClock(), _Style(), out=io.StringIO())
    hung: dict[str, str] = {}
    window = StatusSettings.model_validate_json('{"bind": "127.0.0.1:0"}')
    server = StatusServer(
        window, telemetry, hung=lambda: hung, identity=DaemonIdentity("test", None, tmp_path / "spool.db")
    )
    server.start()
    try:
        bind = {"FRAMESIFT_STATUS__BIND": f"127.0.0.1:{server.port}", **WIDE}
        telemetry.health.set("sink", Condition.DEGRADED, "no answer")
        telemetry.health.set_ok("spool")
        degraded = framesift(tmp_path, "check", **bind)
        assert degraded.returncode == 0, degraded.stdout
        assert line_of(degraded.stdout, "daemon: sink") == "note daemon: sink degraded: no answer"
        assert "daemon: spool" not in degraded.stdout
        telemetry.health.set("model", Condition.FAILED, "CUDA error 700")
        failed = framesift(tmp_path, "check", **bind)
        assert failed.returncode == 1, failed.stdout
        assert line_of(failed.stdout, "daemon: model") == "FAILED daemon: model failed: CUDA error 700"
        telemetry.health.set_ok("model")
        hung["loop main"] = "it has not moved for 51 s"
        hangs = framesift(tmp_path, "check", **bind)
        assert hangs.returncode == 1, hangs.stdout
        assert line_of(hangs.stdout, "daemon").startswith("FAILED daemon process ")
    finally:
        server.stop()


def test_a_daemon_without_a_status_page_is_named_and_hinders_nothing(tmp_path: Path) -> None:
    configure(tmp_path, status={"bind": None})
    with running(tmp_path) as daemon:
        checked = framesift(tmp_path, "check", **WIDE)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        line = line_of(checked.stdout, "daemon")
        assert line.startswith(f"note daemon process {daemon.process.pid} (")
        assert f" holds {tmp_path / 'spool.db'}" in line
        assert "status.bind is null" in line
        assert line_of(checked.stdout, "sink folder").startswith(f"note sink folder process {daemon.process.pid} (")


def test_a_daemon_with_another_token_is_named_with_the_reason(tmp_path: Path) -> None:
    bind = free_address()
    configure(tmp_path, status={"bind": bind, "token": "0123456789abcdef"})
    with running(tmp_path):
        checked = framesift(tmp_path, "check", FRAMESIFT_STATUS__TOKEN="fedcba9876543210", **WIDE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{bind} answers with 401" in line_of(checked.stdout, "daemon")


def test_another_daemon_at_the_same_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    bind = free_address()
    configure(tmp_path / "theirs", status={"bind": bind})
    configure(tmp_path / "ours", status={"bind": bind})
    with running(tmp_path / "theirs"):
        checked = framesift(tmp_path / "ours", "check", **WIDE)
        assert checked.returncode == 1, checked.stdout + checked.stderr
        line = line_of(checked.stdout, "daemon")
        assert line.startswith("FAILED daemon")
        for folder in ("theirs", "ours"):
            place = tmp_path / folder
            assert f"device test, settings {place / 'framesift.yaml'}, spool {place / 'spool.db'}" in line
        assert "give one of the two another status.bind" in line


def test_a_folder_that_somebody_else_holds_fails_the_check_with_and_without_a_daemon(tmp_path: Path) -> None:
    configure(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with holding(other / ".lock"):
        alone = framesift(tmp_path, "check", FRAMESIFT_SINK__PATH=str(other), **WIDE)
        with running(tmp_path):
            beside = framesift(tmp_path, "check", FRAMESIFT_SINK__PATH=str(other), **WIDE)
    for checked in (alone, beside):
        assert checked.returncode == 1, checked.stdout + checked.stderr
        assert "another framesift writes to this folder" in line_of(checked.stdout, "sink folder")


@pytest.mark.exhaustive
def test_a_status_page_that_says_nothing_while_the_spool_is_held_is_a_failure(tmp_path: Path) -> None:
    bind = free_address()
    configure(tmp_path, status={"bind": bind})
    host, _, port = bind.rpartition(":")
    with socket.create_server((host, int(port))), holding(tmp_path / "spool.db.lock"):
        checked = framesift(tmp_path, "check", **WIDE)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    line = line_of(checked.stdout, "daemon")
    assert line.startswith("FAILED")
    assert f"{bind} does not answer" in line


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"spool": 7}', b'{"pid": 1, "spool": "spool.db"}'])
def test_what_answers_at_the_port_may_be_anything(tmp_path: Path, body: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        bind = f"127.0.0.1:{listening.getsockname()[1]}"
        configure(tmp_path, status={"bind": bind})

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with pytest.raises(DaemonUnreachable, match=f"what answers at {bind} is no framesift"):
            query_daemon(load(tmp_path / "framesift.yaml", {}))
        server.join(30)


def test_a_camera_that_the_daemon_reads_is_not_opened_a_second_time(tmp_path: Path, wire: CuttableConnection) -> None:
    configure(tmp_path, streams=[{"name": "gate", "source": wire.url("clip.mp4")}], model={"type": "stub"})
    with running(tmp_path) as daemon:
        before = wire.accepted
        checked = framesift(tmp_path, "check", **WIDE)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert line_of(checked.stdout, "stream gate") == "ok stream gate the running daemon reads it"
        assert wire.accepted == before
        wire.unplug()
        daemon.wait_for("stream", state="lost")
        lost = framesift(tmp_path, "check", **WIDE)
        assert lost.returncode == 1, lost.stdout + lost.stderr
        assert line_of(lost.stdout, "stream gate").startswith(
            "FAILED stream gate the running daemon gets no picture: rtsp"
        )


def test_a_listener_whose_port_is_taken_fails_the_check_where_no_daemon_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        configure(tmp_path, listeners=[{"listen": listen}])
        checked = framesift(tmp_path, "check", **WIDE)
    assert checked.returncode == 1
    assert line_of(checked.stdout, "listener").startswith(f"FAILED listener can't listen on {listen}")
