"""Which process holds a lock, or listens at a port: for messages about what is in use already. The id of a file.

The kernel's lists in /proc are the source. Linux has them, not every container, and a user sees the open files of its
own processes only. So an answer may be missing; it is never a guess, and never a process that has ended.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"
UNKNOWN_PROCESS = "another process"


def lock_holder(path: Path) -> str | None:
    """The holder of a lock file, as "process 4711 (framesift)"; None where nobody holds it, or this user may not read.

    "another process" where it is held and nothing more is known.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder_of_locked(descriptor)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return None


def holder_of_locked(descriptor: int) -> str:
    """The holder of the lock on an open file that somebody else has locked, as in `lock_holder`."""
    file = os.fstat(descriptor)
    pids = _locking_pids(file)
    if not pids:  # the one that took the lock has ended, and a child of it holds the file open
        pids = [pid for pid in _pids() if pid != os.getpid() and _has_open(pid, file)]
    return describe(pids[0]) if len(pids) == 1 else UNKNOWN_PROCESS


def port_holder(host: str, port: int) -> str | None:
    """The process that listens at a port, as in `lock_holder`; None where it is not known. host: without brackets."""
    sockets = {inode for address, inode in _listening_sockets(port) if _overlap(address, host)}
    if not sockets:
        return None
    links = {f"socket:[{inode}]" for inode in sockets}
    for pid in _pids():
        if any(link in links for link in _open_links(pid)):
            return describe(pid)
    return UNKNOWN_PROCESS


def listen_problem(error: OSError, host: str, port: int) -> tuple[str, str | None]:
    """Why nobody can listen at an address, and the process that does so already, if it is known.

    error: of `bind`. The text is such as "can't listen on 127.0.0.1:80: Address already in use by process 7 (nginx)".
    """
    holder = port_holder(host, port) if error.errno == errno.EADDRINUSE else None
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # Python's own text would name the address once more.
    reason = str(error) if error.errno is None else os.strerror(error.errno)
    return f"can't listen on {address}: {reason}" + (f" by {holder}" if holder else ""), holder


def file_id(path: Path) -> str | None:
    """What tells a file from all others of this machine, by whatever path; None where it is not there, or not seen."""
    try:
        file = path.stat()
    except OSError:
        return None
    return f"{file.st_dev}:{file.st_ino}"


def describe(pid: int) -> str:
    """A process for a message: its number, and the name of its program where that can be read."""
    try:
        name = (_PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = ""
    name = "".join(character for character in name if character.isprintable())
    return f"process {pid} ({name})" if name else f"process {pid}"


def _locking_pids(file: os.stat_result) -> list[int]:
    """The living processes that locked a file, from the kernel's list.

    Lines of the list: `1: FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF`. On some file systems (btrfs) the device is
    another one than `stat` says; then the file's number decides, if only one lock has it. A pid of another namespace is
    0 or less.
    """
    try:
        lines = (_PROC / "locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    exact: set[int] = set()
    by_number: dict[str, set[int]] = {}
    for words in map(str.split, lines):
        if words[1:2] != ["FLOCK"] or len(words) < 6 or not words[4].isdecimal():
            continue
        pid, place = int(words[4]), words[5]
        if pid <= 0 or not (_PROC / str(pid)).exists():
            continue
        if place == f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}":
            exact.add(pid)
        elif place.rpartition(":")[2] == str(file.st_ino):
            by_number.setdefault(place, set()).add(pid)
    if not exact and len(by_number) == 1:
        exact = next(iter(by_number.values()))
    return sorted(exact)


def _has_open(pid: int, file: os.stat_result) -> bool:
    for descriptor in _descriptors(pid):
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), file):
                return True
    return False


def _open_links(pid: int) -> Iterator[str]:
    for descriptor in _descriptors(pid):
        with contextlib.suppress(OSError):
            yield str(descriptor.readlink())


def _descriptors(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "fd").iterdir())
    except OSError:  # it has ended, or belongs to another user
        return []


def _pids() -> list[int]:
    try:
        return sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
    except OSError:
        return []


def _listening_sockets(port: int) -> Iterator[tuple[bytes, str]]:
    """The address and the inode of each socket that listens at a port.

    Lines of the list: `0: 0100007F:24F8 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 4242 ...`. An
    address is in words of four bytes, in the order of this machine.
    """
    for name in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / name).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for words in map(str.split, lines[1:]):
            address, _, number = words[1].partition(":")
            if words[3] == _LISTENING and int(number, 16) == port:
                quads = (int(address[at : at + 8], 16) for at in range(0, len(address), 8))
                yield b"".join(struct.pack("=I", quad) for quad in quads), words[9]


def _overlap(address: bytes, host: str) -> bool:
    """Whether two sockets at the same port, one at `address` and one at `host`, are in each other's way."""
    wanted = list(_packed(host))
    return not any(address) or any(not any(one) or one == address for one in wanted)


def _packed(host: str) -> Iterable[bytes]:
    """The addresses of a host, with those of IPv4 also as IPv6 writes them."""
    if host == "localhost":
        host = "127.0.0.1"
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            packed = socket.inet_pton(family, host)
            yield packed
            if family == socket.AF_INET:
                yield b"\0" * 10 + b"\xff\xff" + packed
