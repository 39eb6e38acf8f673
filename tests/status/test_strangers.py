"""Unverified clients at the status port, over real sockets: idle, slow and hostile. None of them keeps others out."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.status.clients import MAX_UNVERIFIED, StatusClients
from framesift.status.identity import DaemonIdentity
from framesift.status.pages import StatusPages
from framesift.telemetry import SpoolNumbers, Telemetry
from status.test_status import TOKEN, Page, Style, page

RIGHT = f"Bearer {TOKEN}"
ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
ENDING = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30.0)


@contextlib.contextmanager
def crowd(port: int, count: int, say: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many open connections, each of which has sent that much."""
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(count):
            held.append(stack.enter_context(connected(port)))
            with contextlib.suppress(OSError):  # it has had to go already
                held[-1].sendall(say)
        yield held


def rest(connection: socket.socket) -> bytes:
    """What still comes, until the server closes."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            got += part
    return got


def is_held(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


SAID = {
    "nothing": b"",
    "half a request": ASK[:-3],
    "a letter": b"G",
    "blank lines": b"\r\n\r\n",
    "TLS": b"\x16\x03\x01",
}


@pytest.mark.parametrize("say", SAID.values(), ids=SAID)
def test_many_clients_that_ask_nothing_keep_no_other_out(say: bytes) -> None:
    with page() as shown, crowd(shown.server.port, MAX_UNVERIFIED + 60, say) as held:
        for path in ("/healthz", "/readyz", "/status"):
            assert shown.ask(path).code == 200
        assert sum(map(is_held, held)) <= MAX_UNVERIFIED


def test_the_newest_unverified_clients_stay_and_the_oldest_are_closed() -> None:
    with page() as shown, crowd(shown.server.port, MAX_UNVERIFIED) as held:
        assert shown.ask("/healthz").code == 200
        assert rest(held[0]) == b""
        held[-1].sendall(ENDING)
        assert rest(held[-1]).startswith(b"HTTP/1.1 200 ")


def test_the_right_token_is_answered_whatever_those_without_it_do() -> None:
    with page(token=TOKEN) as shown:
        reads = []
        shown.telemetry.set_spool_source(lambda: reads.append(1) or SpoolNumbers(0, 0, 0, 0, 0, {}))  # type: ignore[func-returns-value]
        wrong = b"GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\r\n"
        with crowd(shown.server.port, MAX_UNVERIFIED + 20, wrong), crowd(shown.server.port, MAX_UNVERIFIED):
            assert reads == []  # no work was done for them
            for _ in range(3):
                assert shown.ask("/status", Authorization=RIGHT).code == 200
                assert shown.ask("/healthz", Authorization=RIGHT).code == 200
        assert reads


def test_a_client_that_has_sent_the_token_is_verified() -> None:
    asked, release = threading.Event(), threading.Event()

    def slow() -> SpoolNumbers:
        asked.set()
        release.wait(60.0)
        return SpoolNumbers(0, 0, 0, 0, 0, {})

    with page(token=TOKEN) as shown:
        shown.telemetry.set_spool_source(slow)
        try:
            with connected(shown.server.port) as reader:
                asks = f"GET /status HTTP/1.1\r\nConnection: close\r\nHost: x\r\nAuthorization: {RIGHT}\r\n\r\n"
                reader.sendall(asks.encode())
                assert asked.wait(30.0)
                with crowd(shown.server.port, 2 * MAX_UNVERIFIED):
                    assert shown.ask("/healthz", Authorization=RIGHT).code == 200
                    release.set()
                    assert rest(reader).startswith(b"HTTP/1.1 200 ")
        finally:
            release.set()


HOSTILE = {
    "zeros": bytes(100_000),
    "a head without end": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
    "a target without end": b"GET /" + b"x" * 200_000,
    "one line": b"GET /status\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "two lengths": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a body that is not wanted": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
    + bytes(50_000),
    "refused and asked again": ASK.replace(b"localhost", b"evil.example") * 500,
    "bare line feeds": b"\n\n\n\nGET /healthz HTTP/1.1\nHost: evil.example\n\n",
    "not ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("say", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_harms_nobody_and_ends(say: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with page() as shown:
        for number in range(30):
            with connected(shown.server.port) as wire:
                with contextlib.suppress(OSError):
                    wire.sendall(say)
                if number % 2:  # the others are gone without a word
                    with contextlib.suppress(OSError):
                        wire.shutdown(socket.SHUT_WR)
                    assert b" 200 " not in rest(wire)
            assert shown.ask("/healthz").code == 200
    assert (capfd.readouterr().err, shown.out.getvalue()) == ("", "")


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    with page() as shown, connected(shown.server.port) as wire:
        wire.sendall(ASK + ASK.replace(b"healthz", b"readyz") + ASK.replace(b"healthz", b"none") + ENDING)
        assert re.findall(rb"HTTP/1\.1 (\d+)", rest(wire)) == [b"200", b"200", b"404", b"200"]


def test_a_request_with_a_body_is_answered_and_nothing_follows_it() -> None:
    with page() as shown, connected(shown.server.port) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc" + ASK)
        wire.shutdown(socket.SHUT_WR)
        answer = rest(wire)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in answer


def test_one_connection_may_ask_again_and_again() -> None:
    with page() as shown, connected(shown.server.port) as wire:
        for _ in range(5):
            wire.sendall(ASK)
            assert wire.recv(65536).endswith(b"alive\n")


def test_a_page_is_rendered_once_for_all_who_wait_for_it() -> None:
    asked, release, reads = threading.Event(), threading.Event(), []

    def slow() -> SpoolNumbers:
        reads.append(threading.current_thread())
        asked.set()
        release.wait(60.0)
        return SpoolNumbers(0, 0, 0, 0, 0, {})

    with page() as shown:
        shown.telemetry.set_spool_source(slow)
        try:
            request = ENDING.replace(b"/healthz", b"/status")
            with crowd(shown.server.port, 1, request) as first:
                assert asked.wait(30.0)
                # Asked differently, it is the same page: nobody can make more threads of it than one.
                with crowd(shown.server.port, 40, request.replace(b"/status", b"/status?x=%d" % 7)) as others:
                    assert shown.ask("/healthz").code == 200
                    assert reads == reads[:1]
                    release.set()
                    assert all(rest(one).startswith(b"HTTP/1.1 200 ") for one in (*first, *others))
        finally:
            release.set()
    # Clients that came after the first rendering began get a later one; some may have come later still.
    assert len(reads) < 10


class _Hurried(asyncio.SelectorEventLoop):
    """A minute of its time is a second."""

    def time(self) -> float:
        return 60.0 * super().time()


@contextlib.contextmanager
def hurried() -> Iterator[tuple[int, Telemetry]]:
    """The port of a server whose deadlines pass quickly."""
    loop, end = _Hurried(), asyncio.Event()
    telemetry = Telemetry(ManualClock(), Style(), out=io.StringIO())
    listening = socket.create_server(("127.0.0.1", 0))
    clients = StatusClients(
        listening, StatusPages(telemetry, dict, None, "127.0.0.1", DaemonIdentity("test", None, Path("spool.db"))), loop
    )
    thread = threading.Thread(target=lambda: loop.run_until_complete(clients.serve(end)))
    thread.start()
    try:
        yield listening.getsockname()[1], telemetry
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(30.0)
        loop.close()


def test_an_unverified_client_has_ten_seconds_in_all_however_much_it_sends() -> None:
    with hurried() as (port, _), connected(port) as idle, connected(port) as slow:
        with contextlib.suppress(OSError):
            slow.sendall(b"GET /healthz HTTP/1.1\r\n")
            for number in range(100_000):
                slow.sendall(b"X: %d\r\n" % (number % 10))
                slow.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    assert slow.recv(1) == b""
                    break
        assert rest(idle) == b""


def test_a_client_that_does_not_read_its_answers_is_cut() -> None:
    with hurried() as (port, telemetry), connected(port) as wire:
        for number in range(64):
            telemetry.count_accepted(f"stream-{number}", "a strategy with a long name" * 4)
        asks = ASK.replace(b"/healthz", b"/metrics")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OSError):  # noqa: PT012  # it may come late, when both sides' buffers are full
            while True:
                wire.sendall(asks)


WITHOUT_DESCRIPTORS = """
import io, os, resource, sys
sys.path.insert(0, {tests!r})
from status.test_status import page
import http.client
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
with page() as shown:
    assert shown.ask("/healthz").code == 200
    # The asking is another process's: ours has none left.
    ours, theirs = os.pipe(), os.pipe()
    if os.fork() == 0:
        for step in range(2):
            os.read(ours[0], 1)
            codes = [shown.ask("/healthz").code for _ in range(5)]
            os.write(theirs[1], b"y" if codes == [200] * 5 else b"n")
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        pass
    os.write(ours[1], b"x")
    assert os.read(theirs[0], 1) == b"y"
    for one in taken:
        os.close(one)
    os.write(ours[1], b"x")
    assert os.read(theirs[0], 1) == b"y"
    assert shown.out.getvalue() == ""
"""


def test_a_process_without_a_free_descriptor_still_says_that_it_is_alive() -> None:
    program = WITHOUT_DESCRIPTORS.format(tests=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_unverified_clients_that_come_and_go_leave_nothing_behind() -> None:
    with page() as shown:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3 * MAX_UNVERIFIED):
            connected(shown.server.port).close()
        status = json.loads(_settled(shown))
        assert status["alive"]
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 5


def _settled(shown: Page) -> str:
    """After everything that came before was served."""
    return shown.ask("/status").body
