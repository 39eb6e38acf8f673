"""Which process holds a lock or a port: real processes, real locks and sockets."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framesift.processes import describe, holder_of_locked, lock_holder, port_holder

LOCKS = "import fcntl, sys\nf = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
SAYS_SO = "print(1, flush=True); input()"
# The process that took the lock has ended; a child that inherited the file still holds it.
LEAVES_IT_TO_A_CHILD = f"""{LOCKS}
import os
if os.fork():
    os._exit(0)
os.setpgid(0, 0); print(os.getpid(), flush=True); input()
"""
LISTENS = (
    "import socket, sys\ns = socket.create_server((sys.argv[1], 0)); print(s.getsockname()[1], flush=True); input()"
)


@contextmanager
def running(program: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and the first line that it prints."""
    command = [sys.executable, "-c", program, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_the_holder_of_a_lock_is_named_with_its_program(tmp_path: Path) -> None:
    with running(LOCKS + SAYS_SO, str(tmp_path / "lock")) as (process, _):
        found = lock_holder(tmp_path / "lock")
    assert found is not None
    assert found.startswith(f"process {process.pid} (python")


def test_a_lock_that_nobody_holds_has_no_holder(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    assert lock_holder(tmp_path / "lock") is None
    assert lock_holder(tmp_path / "nothing") is None


def test_a_process_that_has_ended_is_not_named_though_the_kernel_lists_it(tmp_path: Path) -> None:
    with running(LEAVES_IT_TO_A_CHILD, str(tmp_path / "lock")) as (parent, child):
        parent.wait(10)
        listed = Path("/proc/locks").read_text()
        found = lock_holder(tmp_path / "lock")
        assert parent.stdin is not None
        parent.stdin.close()  # which ends the child
    assert f" {parent.pid} " in listed
    assert found is not None
    assert found.startswith(f"process {child} (")


def test_a_lock_of_this_process_is_found_too(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as mine, (tmp_path / "lock").open() as other:
        fcntl.flock(mine, fcntl.LOCK_EX)
        assert holder_of_locked(other.fileno()) == describe(os.getpid())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_the_holder_of_a_port_is_named_with_its_program(host: str) -> None:
    program = LISTENS.replace("0))", "0), family=socket.AF_INET6)") if ":" in host else LISTENS
    with running(program, host) as (process, port):
        found = port_holder(host, int(port))
        assert found is not None
        assert found.startswith(f"process {process.pid} (python")
        if host == "0.0.0.0":
            assert port_holder("127.0.0.1", int(port)) == port_holder("localhost", int(port)) == found


def test_who_listens_at_another_address_is_not_in_the_way() -> None:
    with running(LISTENS, "127.0.0.2") as (_, port):
        assert port_holder("127.0.0.1", int(port)) is None
        assert port_holder("0.0.0.0", int(port)) is not None


def test_a_free_port_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert port_holder("127.0.0.1", port) is None


def test_a_socket_whose_owner_may_not_be_seen_is_another_process() -> None:
    # In a namespace of its own a process sees the machine's sockets, and nobody's files but its own.
    program = (
        "import sys\nfrom framesift.processes import port_holder\nprint(port_holder('127.0.0.1', int(sys.argv[1])))"
    )
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        alone = ["unshare", "--pid", "--fork", "--mount-proc"]
        if os.geteuid() != 0:
            alone[1:1] = ["--user", "--map-root-user"]
        command = [*alone, sys.executable, "-c", program, str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "another process", done.stderr
