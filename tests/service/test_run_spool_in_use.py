"""A spool that `framesift run` can't have: another process holds it, or its folder can't be written to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rigs.daemon import Daemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip

CLIP = {"name": "gate", "source": "clip.mp4"}
ALONE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


def test_a_second_daemon_names_the_first_and_ends_with_2(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    write_configuration(tmp_path, {"streams": [{**CLIP, "loop": True, "pace": "realtime"}]})
    with Daemon(tmp_path) as first:
        first.wait_for("ready")
        second = framesift(tmp_path, "run")
        assert second.returncode == 2, second.stdout + second.stderr
        (line,) = second.stderr.splitlines()
        assert line.startswith(f"framesift: {tmp_path / 'spool.db'} is in use by process {first.process.pid} (")
        assert "stop that one, or give each daemon a spool.path of its own" in line
        assert first.stop() == 0


# A run whose clock does not wait: fifteen seconds pass in a moment.
HURRIED = """
import sys
from pathlib import Path
from framesift.clock.clock import SystemClock
from framesift.service.service import Service
from framesift.service.systemd import Notifier
from framesift.settings import load
from framesift.telemetry import Telemetry

class Hurried(SystemClock):
    gone_s = 0.0
    def monotonic(self):
        return super().monotonic() + self.gone_s
    def wait(self, event, timeout_s):
        self.gone_s += timeout_s - 0.01 if timeout_s == 0.25 else 0.0  # the wait for the lock
        return super().wait(event, 0.01 if timeout_s == 0.25 else timeout_s)

settings, clock = load(Path("framesift.yaml"), {}), Hurried()
telemetry = Telemetry(clock, settings.log)
sys.exit(Service(settings, clock=clock, telemetry=telemetry, notifier=Notifier(sys.argv[1])).run())
"""


def test_under_a_service_manager_it_goes_on_waiting_says_for_whom_and_starts_in_the_end(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    write_configuration(tmp_path, {"streams": [CLIP]})
    # A Unix socket's path has at most 107 bytes, which pytest's own folders can exceed.
    with tempfile.TemporaryDirectory(prefix="fs") as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{short}/notify")
        manager.settimeout(60.0)
        holder = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import fcntl; f = open('spool.db.lock', 'w'); fcntl.flock(f, 2); print(flush=True); input()",
            ],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            program = [sys.executable, "-c", HURRIED, f"{short}/notify"]
            with subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as daemon:
                waiting = [manager.recv(4096).decode() for _ in range(3)]
                holder.kill()
                while manager.recv(4096) != b"READY=1":
                    pass
                assert daemon.stdout is not None
                output = daemon.stdout.read()
        assert daemon.returncode == 0, output
    for line in waiting:
        assert line.startswith("STATUS=waiting for the spool: ")
        assert f"in use by process {holder.pid} (" in line
    assert '"event": "spool_in_use"' in output
    assert len(collected(tmp_path)) == 5


def run_on_a_read_only_disk(folder: Path, spool: str, before: str = "true") -> subprocess.CompletedProcess[str]:
    """before: a shell command that runs while the disk can be written to."""
    (folder / "disk").mkdir()
    write_configuration(folder, {"streams": [CLIP], "spool": {"path": spool, "min_free_bytes": "1MiB"}})
    steps = f"mount -t tmpfs -o size=16m tmpfs disk && {before} && mount -o remount,ro disk"
    program = f"{steps} && exec {sys.executable} -m framesift run"
    return subprocess.run(
        [*ALONE, "sh", "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("spool", ["disk/spool.db", "disk/of/gate/spool.db", "/proc/framesift/spool.db"])
def test_a_new_spool_in_a_folder_that_cannot_be_written_to_is_a_bad_configuration(tmp_path: Path, spool: str) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    done = run_on_a_read_only_disk(tmp_path, spool)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"framesift: {(tmp_path / spool).parent}: ")
    assert "let spool.path name a file in a folder that this user may write to" in line


def test_a_spool_that_exists_is_no_bad_configuration_where_its_disk_has_become_read_only(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    done = run_on_a_read_only_disk(tmp_path, "disk/spool.db", "touch disk/spool.db")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Read-only file system" in done.stderr
