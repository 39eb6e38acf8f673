"""A lack of file descriptors: it begins and ends at will, by the limit of a real process, and nothing ends with it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from rigs.daemon import Daemon, collected, unhurried, write_configuration

TESTS = Path(__file__).parents[1]
_FRAMES = 120


def run(program: str, **names: object) -> None:
    """In a process of its own: its limits are its own."""
    text = program.format(tests=str(TESTS), **names)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


RAISED = """
import resource
from framesift.telemetry.file_descriptors import raise_limit
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
raise_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, 65536) if hard > 0 else 65536, hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
raise_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, 300)
"""


def test_the_limit_is_raised_as_far_as_nobody_has_to_be_asked() -> None:
    run(RAISED)


NOTICED = """
import resource, socket
from framesift.telemetry.file_descriptors import shortage
from framesift.service.systemd import Notifier
listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listening.bind("\\0framesift-{number}")
notifier = Notifier("@framesift-{number}")
assert shortage() is None
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
assert shortage() == "Too many open files"
assert notifier.watchdog()
assert listening.recv(100) == b"WATCHDOG=1"
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert shortage() is None
"""


def test_the_watchdog_is_fed_while_there_are_none() -> None:
    run(NOTICED, number=os.getpid())


LONG_TRANSACTION = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from rigs.spools import RecordedReports, accepted, make_spool, put
clock, reports = ManualClock(), RecordedReports()
spool = make_spool(Path({folder!r}), clock, max_bytes=4 * 2**20, report=reports)
spool.open()
for number in range(20):  # the later ones take the pages of those that they drive out
    accepted(put(spool, clock, jpeg=bytes([number]) * 600_000))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
for number in range(20):
    accepted(put(spool, clock, jpeg=bytes([number]) * 600_000))
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert set(reports.names()) <= {{"spool_evicted"}}, reports.events
spool.close()
"""


def test_the_spools_writer_opens_nothing_while_it_writes(tmp_path: Path) -> None:
    run(LONG_TRANSACTION, folder=str(tmp_path))


REOPENED = """
import resource, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolBroken
from rigs.spools import RecordedReports, accepted, make_spool, put
clock, reports = ManualClock(), RecordedReports()
spool = make_spool(Path({folder!r}), clock, report=reports)
spool.open()
ids = [accepted(put(spool, clock))]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
# A disk that fails makes the writer open its file again, which it can't.
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
while spool.health.problem is None:
    try:
        put(spool, clock, jpeg=bytes(100_000))
    except SpoolBroken:
        pass
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for _ in range(400):
    clock.advance(60)
    if "descriptor" in (spool.health.problem or ""):
        break
    threading.Event().wait(0.02)
assert spool.health.problem.startswith("no file descriptor is free ([Errno 24] Too many open files"), spool.health
assert not spool.health.fatal
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for _ in range(400):
    clock.advance(60)
    if spool.health.problem is None:
        break
    threading.Event().wait(0.02)
ids.append(accepted(put(spool, clock)))
assert sorted(row.id for row in spool.list_rows()) == sorted(ids)
assert reports.names() == ["spool_failed", "spool_recovered"], reports.events
spool.close()
"""


def test_a_spool_that_can_not_be_opened_again_is_opened_later(tmp_path: Path) -> None:
    run(REOPENED, folder=str(tmp_path))


SALVAGED = """
import os, resource, shutil, sqlite3, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from framesift.spool import SpoolBroken
from rigs.spools import RecordedReports, make_spool
from spool.test_damage import filled, pages_of, scribble
clock, folder = ManualClock(), Path({folder!r})
ids = filled(folder / "damaged", clock)
# An index that is read when the spool is opened; every row is in other trees, too.
scribble(folder / "damaged" / "spool.db", pages_of(folder / "damaged" / "spool.db", "delivery_to_evict")[0])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
begun = 0
for free in range(14):
    shutil.copytree(folder / "damaged", folder / "again", dirs_exist_ok=True)
    reports = RecordedReports()
    spool = make_spool(folder / "again", clock, report=reports)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 + free, hard))
    try:
        spool.open()
        spool.close()
        begun += 1
    except SpoolBroken:
        pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    spool = make_spool(folder / "again", clock, report=reports)
    spool.open()
    assert sorted(row.id for row in spool.list_rows(limit=1000)) == sorted(ids), free
    spool.close()
    moved = reports.names().count("spool_moved_aside")
    assert moved == 1, (free, reports.events)
    shutil.rmtree(folder / "again")
assert begun > 5
"""


def test_a_damaged_spool_is_salvaged_whole_wherever_descriptors_run_out(tmp_path: Path) -> None:
    run(SALVAGED, folder=str(tmp_path))


SALVAGED_ONCE = """
import resource, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from clocks import ManualClock
from rigs.spools import RecordedReports, make_spool
from spool.test_damage import filled, pages_of, scribble
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
class Lacking(RecordedReports):
    def __call__(self, event, fields):
        super().__call__(event, fields)
        if event == "spool_moved_aside":
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
class Clock(ManualClock):
    # Salvaging begins with reading the time.
    def now(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return super().now()
folder, clock, reports = Path({folder!r}), Clock(), Lacking()
ids = filled(folder, clock)
scribble(folder / "spool.db", pages_of(folder / "spool.db", "delivery_to_evict")[0])
spool = make_spool(folder, clock, report=reports)
spool.open()
assert "spool_failed" in reports.names(), reports.events
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for _ in range(400):
    clock.advance(60)
    if spool.health.problem is None:
        break
    threading.Event().wait(0.02)
assert sorted(row.id for row in spool.list_rows(limit=1000)) == sorted(ids)
assert reports.names() == ["spool_moved_aside", "spool_failed", "spool_recovered"], reports.events
spool.close()
"""


def test_what_was_salvaged_is_not_moved_aside_because_it_can_not_be_opened_at_once(tmp_path: Path) -> None:
    run(SALVAGED_ONCE, folder=str(tmp_path))


DELIVERED = """
import random, resource, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from framesift.clock.clock import SystemClock
from framesift.sinks import Delivered
from framesift.upload.uploader import Uploader
from rigs.spools import accepted, make_spool, put
rests = threading.Semaphore(0)
class Clock(SystemClock):
    def wait(self, event, timeout_s):
        if threading.current_thread().name.startswith("upload"):
            rests.release()
        return super().wait(event, timeout_s)
class Sink:
    def deliver(self, delivery, *, now_s, within_s):
        return Delivered()
clock = Clock()
spool = make_spool(Path({folder!r}), clock)
spool.open()
ids = [accepted(put(spool, clock)) for _ in range(3)]
uploader = Uploader(spool, Sink(), workers=1, sink_limits=(), clock=clock, rng=random.Random(1), on_failure=print)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
uploader.start()
for _ in range(10):  # more often than a datapoint may be tried
    assert rests.acquire(timeout=30.0), "it tries again and again, without a pause"
    uploader.wake()
assert rests.acquire(timeout=30.0)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert [(row.state.value, row.attempts, row.next_at) for row in spool.list_rows()] == [("ready", 0, None)] * 3
uploader.wake()
assert rests.acquire(timeout=30.0)
assert uploader.is_drained()
assert uploader.stop(10.0)
spool.close()
"""


def test_pictures_that_can_not_be_opened_wait_and_are_delivered(tmp_path: Path) -> None:
    run(DELIVERED, folder=str(tmp_path))


RECEIVED = """
import resource
from framesift.streams.channel import Channel, NoDescriptorForMemory, ReaderStarted, SharedMemory
from framesift.streams.picture_slots import PictureSlots
slots, fd = PictureSlots.create(48, 64, 3)
ours, theirs = map(Channel, Channel.socket_pair())
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
theirs.send(SharedMemory(1, 48, 64, 3, fd))
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
try:
    ours.receive(1.0)
    raise AssertionError("memory out of nothing")
except NoDescriptorForMemory:
    pass
theirs.send(ReaderStarted())
assert ours.receive(1.0) == ReaderStarted()
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
theirs.send(SharedMemory(1, 48, 64, 3, fd))
memory = ours.receive(1.0)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
try:
    PictureSlots.attach(memory)
    raise AssertionError("mapped without a descriptor")
except NoDescriptorForMemory:
    pass
"""


def test_pictures_for_which_no_descriptor_is_free_raise_an_error_of_their_own() -> None:
    run(RECEIVED)


@contextmanager
def manager() -> Iterator[tuple[str, list[bytes]]]:
    """A service manager: its address, and the notices that it has got so far."""
    notices: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="fs") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"{folder}/notify")
        over = threading.Event()

        def listen() -> None:
            while (notice := end.recv(4096)) != b"over":
                notices.append(notice)
            over.set()

        threading.Thread(target=listen, daemon=True).start()
        yield f"{folder}/notify", notices
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"over", f"{folder}/notify")
        over.wait(10.0)


def clip(path: Path, frames: int) -> None:
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (96, 64))
    for number in range(frames):
        film.write(np.full((64, 96, 3), number % 250, np.uint8))
    film.release()


@pytest.mark.exhaustive
@pytest.mark.timeout(240)
def test_a_daemon_waits_it_out_loses_nothing_and_logs_it_once(tmp_path: Path) -> None:
    clip(tmp_path / "clip.avi", _FRAMES)
    write_configuration(
        tmp_path,
        {
            "streams": [{"name": "gate", "source": "clip.avi"}],
            "model": unhurried(tmp_path),
            "status": {"bind": "127.0.0.1:0"},
        },
    )
    with manager() as (address, notices), Daemon(tmp_path, NOTIFY_SOCKET=address) as daemon:
        daemon.wait_for("stream", state="running")
        pid = daemon.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65536) or hard == resource.RLIM_INFINITY
        children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
        assert len(children) == 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
        daemon.wait_for("health", component="descriptors", state="degraded")
        os.kill(int(children[0]), signal.SIGKILL)
        daemon.wait_for("stream", state="lost")
        # As many as would have been enough to give the file up.
        fed = notices.count(b"WATCHDOG=1")
        assert daemon.until(lambda: notices.count(b"WATCHDOG=1") >= fed + 12, 120.0), "the watchdog starves"
        assert daemon.process.poll() is None
        delivered = len(collected(tmp_path))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        daemon.wait_for("health", component="descriptors", state="ok")
        assert daemon.wait(120.0) == 0
        reports = daemon.events[-1]
        assert (reports["event"], reports["frames"], reports["accepted"], reports["waiting"]) == (
            "stopped",
            _FRAMES,
            _FRAMES,
            0,
        )
        assert delivered < len(collected(tmp_path)) == _FRAMES
        told_of = [e["state"] for e in daemon.events if e["event"] == "health" and e["component"] == "descriptors"]
        assert told_of == ["degraded", "ok"]
        assert daemon.stray == []
