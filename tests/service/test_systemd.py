"""Notices to the service manager, on real Unix sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framesift.service.systemd import Notifier


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(5.0)
        yield listening


@pytest.fixture
def folder() -> Iterator[Path]:
    # A Unix socket's path has at most 107 bytes, which pytest's own folders can exceed.
    with tempfile.TemporaryDirectory(prefix="fs") as made:
        yield Path(made)


def test_each_notification_is_one_datagram(folder: Path) -> None:
    address = str(folder / "notify")
    with manager(address) as listening:
        notifier = Notifier(address)
        assert notifier.ready()
        assert notifier.status("3 streams, 12 waiting")
        assert notifier.watchdog()
        assert notifier.reloading(1234.5)
        assert notifier.stopping()
        assert [listening.recv(4096) for _ in range(5)] == [
            b"READY=1",
            b"STATUS=3 streams, 12 waiting",
            b"WATCHDOG=1",
            b"RELOADING=1\nMONOTONIC_USEC=1234500000",
            b"STOPPING=1",
        ]


def test_a_process_without_a_free_descriptor_goes_on_without_notifying() -> None:
    program = (
        "import resource\nfrom framesift.service.systemd import Notifier\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\nassert not Notifier('@nobody').watchdog()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_an_abstract_socket_is_reached(folder: Path) -> None:
    name = f"framesift-test-{folder.name}"
    with manager("\0" + name) as listening:
        assert Notifier("@" + name).ready()
        assert listening.recv(4096) == b"READY=1"


def test_a_status_can_not_contain_another_notification(folder: Path) -> None:
    address = str(folder / "notify")
    with manager(address) as listening:
        assert Notifier(address).status("camera lost:\nREADY=1\r\n  gone")
        assert listening.recv(4096) == b"STATUS=camera lost: READY=1 gone"


def test_a_status_of_any_length_is_cut_to_a_line(folder: Path) -> None:
    address = str(folder / "notify")
    with manager(address) as listening:
        assert Notifier(address).status("é" * 100_000)
        assert listening.recv(1 << 20) == b"STATUS=" + "é".encode() * 512


def test_a_manager_that_does_not_read_makes_no_thread_wait(folder: Path) -> None:
    address = str(folder / "notify")
    with manager(address):
        notifier = Notifier(address)
        answers = [notifier.status("x" * 500) for _ in range(2000)]
        assert answers[0] is True
        assert answers[-1] is False  # its queue is full: the notice is lost, the sender goes on


@pytest.mark.parametrize("address", [None, "", "/", "@", "vsock:2:1234", "relative/path", "/nowhere/at/all"])
def test_without_a_manager_nothing_is_sent_and_nothing_fails(address: str | None) -> None:
    assert Notifier(address).ready() is False


def test_a_manager_that_comes_back_on_the_same_address_is_found_again(folder: Path) -> None:
    address = str(folder / "notify")
    notifier = Notifier(address)
    with manager(address):
        assert notifier.ready()
    assert notifier.ready() is False
    Path(address).unlink()
    with manager(address) as listening:
        assert notifier.watchdog()
        assert listening.recv(4096) == b"WATCHDOG=1"
