"""Faults of disks and of file descriptors, seeded into a running daemon."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rigs.daemon import Daemon
from rigs.seeded_faults.situation import Situation, situation, with_disk

_SPOOL_ON_DISK = {"path": "disk/spool.db", "max_bytes": "4MiB", "min_free_bytes": "1MiB"}


def _inside(daemon: Daemon, *words: str) -> None:
    """Runs a command with the disks that the daemon sees."""
    subprocess.run(["nsenter", f"--mount=/proc/{daemon.process.pid}/ns/mnt", *words], check=True, capture_output=True)


def _fill(daemon: Daemon) -> None:
    """Another program takes all that is left of the daemon's disk, behind what it has taken before."""
    path = _seen(daemon, daemon_folder(daemon) / "disk" / "fill")
    words = ["dd", "if=/dev/zero", f"of={path}", "bs=64k", "oflag=append", "conv=notrunc"]
    subprocess.run(words, check=False, capture_output=True)


def daemon_folder(daemon: Daemon) -> Path:
    return Path(f"/proc/{daemon.process.pid}/cwd").readlink()


def _seen(daemon: Daemon, path: Path) -> Path:
    """A path of the daemon's, by which others reach the same file."""
    return Path(f"/proc/{daemon.process.pid}/root{path}")


@contextmanager
def spool_disk_full(folder: Path) -> Iterator[Situation]:
    def seed(daemon: Daemon) -> None:
        # What the daemon may have held back for this moment, it gives up first.
        first = ("spool_reserve_released", "spool_failed")

        def is_noticed() -> bool:
            _fill(daemon)  # again: a log that is emptied leaves room for the next one
            return any(event["event"] in first for event in daemon.events)

        assert daemon.until(is_noticed, 30.0)
        _fill(daemon)

    def mend(daemon: Daemon) -> None:
        _seen(daemon, folder / "disk" / "fill").unlink()

    command = with_disk(folder, "16m")
    with situation(folder, seed, mend, command=command, spool=_SPOOL_ON_DISK) as made:
        yield made


@contextmanager
def spool_read_only(folder: Path) -> Iterator[Situation]:
    """As where the kernel makes a disk read-only after an error: no write succeeds, no file opens for writing."""

    def seed(daemon: Daemon) -> None:
        disk = str(folder / "disk")
        _inside(daemon, "mount", "--bind", disk, disk)
        _inside(daemon, "mount", "-o", "remount,bind,ro", disk)
        # The kernel refuses to make a disk read-only under an open file, so the file must be opened anew: one write
        # fails, and the daemon does not use the same descriptor again.
        before = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        daemon.wait_for("spool_failed")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, before)

    def mend(daemon: Daemon) -> None:
        _inside(daemon, "mount", "-o", "remount,bind,rw", str(folder / "disk"))

    command = with_disk(folder, "64m")
    with situation(folder, seed, mend, command=command, spool=_SPOOL_ON_DISK) as made:
        yield made


def no_descriptors(folder: Path) -> AbstractContextManager[Situation]:
    """Something in the process has opened all that it may open."""
    few = ("prlimit", "--nofile=200:200", sys.executable, "-m", "framesift", "run")
    file = folder / "leaks"
    return situation(folder, lambda _: file.touch(), lambda _: file.unlink(), command=few)


@contextmanager
def sink_disk_full(folder: Path) -> Iterator[Situation]:
    def mend(daemon: Daemon) -> None:
        _seen(daemon, folder / "disk" / "fill").unlink()

    command = with_disk(folder, "64m")
    with situation(folder, _fill, mend, command=command, sink={"type": "folder", "path": "disk/collected"}) as made:
        yield made


@contextmanager
def sink_gone(folder: Path) -> Iterator[Situation]:
    """The sink's disk is pulled out, and put in again."""
    disk = str(folder / "disk")

    def seed(daemon: Daemon) -> None:
        _inside(daemon, "umount", "--lazy", disk)

    def mend(daemon: Daemon) -> None:
        _inside(daemon, "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk)

    command = with_disk(folder, "64m")
    with situation(folder, seed, mend, command=command, sink={"type": "folder", "path": "disk/collected"}) as made:
        yield made
