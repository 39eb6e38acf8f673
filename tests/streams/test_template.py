"""Readers are forks of one template process: what they share, and what happens to one without the others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from framesift.streams import StreamState
from rigs.footage import numbered_clip
from rigs.raw_http_server import reserve_closed_port
from rigs.stream_reader import RecordedStream, StepClock, has_exited

MIB = 1 << 20
_PTRACE_SEIZE = 0x4206
_WALL = 0x40000000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 50)


def wait_for_states(watched: RecordedStream, *last: StreamState) -> None:
    """Wait until these are the last states of a stream."""
    assert watched.wait_for(lambda: watched.states[-len(last) :] == list(last)), watched.states


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def started(clip: Path, count: int) -> list[RecordedStream]:
    streams = [RecordedStream(source=str(clip), loop=True) for _ in range(count)]
    for watched in streams:
        watched.in_thread()
    for watched in streams:
        wait_for_states(watched, StreamState.RUNNING)
    return streams


@contextlib.contextmanager
def kept_from_ending(pid: int) -> Iterator[None]:
    """A process that is killed, and whose parent does not learn that it has ended: whoever traces it learns it first.

    To the parent it looks like one that is stuck in the kernel, where a signal does not reach it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    assert libc.ptrace(_PTRACE_SEIZE, pid, None, None) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        os.waitpid(pid, _WALL)


def open_memory_files() -> int:
    """How many files in memory this process has open: logs of decoders, and pictures."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("/memfd:")
    return found


def end(streams: list[RecordedStream]) -> None:
    for watched in streams:
        watched.stop.set()
        watched.stream.close()


def test_all_readers_are_forks_of_one_process(clip: Path) -> None:
    streams = started(clip, 3)
    pids = [pid for watched in streams for pid in watched.reader_pids()]
    assert len(set(pids)) == 3
    assert len({parent_of(pid) for pid in pids}) == 1
    end(streams)
    assert all(has_exited(pid) for pid in pids)


def test_a_reader_keeps_little_memory_for_itself(clip: Path) -> None:
    streams = started(clip, 4)
    sizes = []
    for watched in streams:
        (pid,) = watched.reader_pids()
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        sizes.append((kib["Private_Clean"] + kib["Private_Dirty"], kib["Pss"]))
    end(streams)
    # 14 and 20 MiB here with PyAV; one that loads OpenCV and PyAV by itself has 50 MiB in all.
    assert statistics.median(private for private, _ in sizes) < 20 * 1024
    assert statistics.median(pss for _, pss in sizes) < 25 * 1024


def test_a_reader_that_is_killed_leaves_the_others_alone(clip: Path) -> None:
    streams = started(clip, 2)
    (killed,), (other,) = (watched.reader_pids() for watched in streams)
    os.kill(killed, signal.SIGKILL)
    assert streams[0].wait_for(lambda: StreamState.LOST in streams[0].states)
    (lost,) = (event.detail for event in streams[0].events if event.state is StreamState.LOST)
    assert lost.endswith("the reader was killed by SIGKILL")
    assert streams[1].reader_pids() == [other]
    assert streams[1].states == [StreamState.RUNNING]
    end(streams)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["killed", "crashed"])
def test_after_the_end_of_the_template_all_streams_come_back_with_another(clip: Path, number: signal.Signals) -> None:
    streams = started(clip, 2)
    pids = [pid for watched in streams for pid in watched.reader_pids()]
    template = parent_of(pids[0])
    os.kill(template, number)
    assert all(has_exited(pid) for pid in pids), "a reader outlives the template"
    for watched in streams:
        wait_for_states(watched, StreamState.LOST, StreamState.RUNNING)
        (pid,) = watched.reader_pids()
        assert parent_of(pid) != template
    end(streams)


def test_a_template_that_does_nothing_any_more_is_replaced(clip: Path) -> None:
    (watched,) = started(clip, 1)
    (pid,) = watched.reader_pids()
    template = parent_of(pid)
    os.kill(template, signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    watched.stream.close()
    assert has_exited(template)
    assert has_exited(pid)
    assert RecordedStream(source=str(clip)).take(2) == [0, 1]


def test_a_reader_that_is_stuck_in_the_kernel_leaves_the_others_alone(clip: Path) -> None:
    streams = started(clip, 2)
    (stuck,), (other,) = (watched.reader_pids() for watched in streams)
    with kept_from_ending(stuck):
        os.kill(stuck, signal.SIGKILL)
        wait_for_states(streams[0], StreamState.LOST, StreamState.RUNNING)
        (again,) = streams[0].reader_pids()
        assert parent_of(again) == parent_of(other)
    (lost,) = (event.detail for event in streams[0].events if event.state is StreamState.LOST)
    assert "stuck in the kernel" in lost
    assert streams[1].reader_pids() == [other]
    assert streams[1].states == [StreamState.RUNNING]
    end(streams)


@pytest.mark.exhaustive
def test_a_stream_has_at_most_three_readers_that_are_stuck_and_another_when_one_ends(clip: Path) -> None:
    (watched,) = started(clip, 1)
    with contextlib.ExitStack() as traced:
        for count in (1, 2, 3):
            assert watched.wait_for(lambda: len(watched.reader_pids()) == 1)
            (pid,) = watched.reader_pids()
            traced.enter_context(kept_from_ending(pid))
            os.kill(pid, signal.SIGKILL)
            running = [] if count == 3 else [StreamState.RUNNING]
            wait_for_states(watched, *[StreamState.RUNNING, StreamState.LOST] * count, *running)
        assert watched.wait_for(lambda: "3 readers are stuck in the kernel" in watched.stream.detail)
        assert watched.reader_pids() == []
    assert watched.wait_for(lambda: watched.states[-1] is StreamState.RUNNING)
    end([watched])


def test_a_template_that_has_ended_leaves_no_file_open(clip: Path) -> None:
    (watched,) = started(clip, 1)
    files = open_memory_files()
    for count in (1, 2, 3, 4):
        (pid,) = watched.reader_pids()
        os.kill(parent_of(pid), signal.SIGKILL)
        wait_for_states(watched, *[StreamState.LOST, StreamState.RUNNING] * count)
    # A picture's memory may be open for a moment, after it was received and before it is mapped.
    ends_s = time.monotonic() + 10.0
    while open_memory_files() > files + 1 and time.monotonic() < ends_s:
        threading.Event().wait(0.02)
    assert open_memory_files() <= files + 1
    end([watched])


def test_a_dead_camera_starts_no_program_however_often_it_is_tried(clip: Path) -> None:
    (running,) = started(clip, 1)
    template = parent_of(running.reader_pids()[0])
    guard, port = reserve_closed_port()
    with guard:
        watched = RecordedStream(clock=StepClock(), source=f"rtsp://127.0.0.1:{port}/1")
        seen: set[tuple[int, int]] = set()
        frames = watched.in_thread()
        while len(seen) < 5 and frames.is_alive():
            for pid in watched.reader_pids():
                with contextlib.suppress(OSError):  # it has ended already
                    seen.add((pid, parent_of(pid)))
        watched.stop.set()
        frames.join(30.0)
    end([running])
    assert StreamState.LOST in watched.states
    assert {parent for _, parent in seen} == {template}
