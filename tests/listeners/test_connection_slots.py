"""Places at a listener are few. Strangers who are silent, slow or rude keep none that somebody else could use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from clocks import ManualClock
from framesift.listeners.connection_slots import MAX_CONNECTIONS, ClientConnection, ConnectionSlots
from framesift.listeners.http1 import BadHttp, HttpReader, build_response, framing_of_request, read_body
from framesift.listeners.server import ListenerServer
from rigs.daemon import Daemon, write_configuration
from rigs.listeners import Handler, RunningListener, read_all, request_head, running_listener
from rigs.raw_http_server import OK, Peer, RawServer

GET = request_head(first="GET / HTTP/1.1")
SILENT = b""
BEGUN = b"GET / HT"
SLOW = request_head("Content-Length: 1000000", first="POST /x HTTP/1.1")
IN_CHUNKS = request_head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + b"5\r\nA"
RUDE = b"GET / HTTP/9.9\r\n\r\n"
# So long a head that its body could not be called slow for twenty seconds.
RUDE_LATER = (
    request_head(f"X: {'x' * 20_000}", "Transfer-Encoding: chunked", first="POST /x HTTP/1.1") + b"nonsense\r\n"
)


def always(peer: Peer) -> None:
    while peer.read() is not None:
        peer.send(OK)


@contextlib.contextmanager
def before(folder: Path, talk: Callable[[Peer], object] = always) -> Iterator[tuple[RawServer, RunningListener]]:
    with RawServer(talk) as raw, running_listener(folder, upstream=raw.url) as listener:
        yield raw, listener


class Crowd:
    """Clients that say something, wait for something, and stay."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def come(self, said: bytes = b"", waits_for: bytes = b"") -> socket.socket:
        connection = self._open.enter_context(socket.create_connection(("127.0.0.1", self._port), timeout=20))
        connection.sendall(said)
        assert read_all(connection, len(waits_for)) == waits_for
        return connection


def is_served(listener: RunningListener) -> bool:
    """Whether one who comes now is answered as the server answers."""
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"{listener.url}/healthz", timeout=20).status_code == 200
    return False


def has_gone(connection: socket.socket) -> bool:
    """Waits for it."""
    return read_all(connection) == b""


@pytest.mark.parametrize("said", [SILENT, BEGUN], ids=["silent", "in the middle of a head"])
def test_a_connection_without_a_request_gives_its_slot_to_a_new_one(tmp_path: Path, said: bytes) -> None:
    with before(tmp_path) as (_, listener), Crowd(listener.port) as crowd:
        first = crowd.come(said)
        for _ in range(3 * MAX_CONNECTIONS):
            crowd.come(said)
        assert is_served(listener)
        assert has_gone(first)


@pytest.mark.parametrize("said", [SLOW, IN_CHUNKS, SLOW + b"A"], ids=["no body", "a chunk", "a byte"])
def test_a_connection_that_sends_too_slowly_gives_its_slot_to_a_new_one(tmp_path: Path, said: bytes) -> None:

    def talk(peer: Peer) -> None:
        if peer.rest(b"\r\n\r\n").startswith(b"GET"):
            peer.send(OK)
        else:
            peer.hold()

    with before(tmp_path, talk) as (_, listener), Crowd(listener.port) as crowd:
        for _ in range(MAX_CONNECTIONS):
            crowd.come(said)
        assert listener.until(lambda: is_served(listener))  # when they have been slow for long enough to be called so


@pytest.mark.parametrize("said", [RUDE, RUDE_LATER], ids=["its head", "its body"])
def test_a_client_that_got_an_error_keeps_no_slot_while_it_reads(tmp_path: Path, said: bytes) -> None:
    with before(tmp_path) as (_, listener), Crowd(listener.port) as crowd:
        for _ in range(MAX_CONNECTIONS):
            crowd.come(said, b"HTTP/1.1 400 ")
        assert is_served(listener)


def test_which_connection_is_closed_first() -> None:
    async def scene() -> None:
        places = ConnectionSlots()

        def comes(now_s: float) -> ClientConnection:
            one = ClientConnection(HttpReader(), None, places)  # type: ignore[arg-type]  # nobody writes here
            places.add(one, now_s)
            return one

        waits, slow, idle, later = (comes(0.0) for _ in range(4))
        for one in (waits, slow):
            places.move(one, places.busy, 0.0)
        for one in (idle, later):
            places.move(one, places.idle, 0.0)
        sending = asyncio.create_task(slow.reader.fill())
        await asyncio.sleep(0)
        silent = comes(10.0)
        new = [comes(11.5) for _ in range(MAX_CONNECTIONS)]
        expected = [silent, slow, *new[: MAX_CONNECTIONS // 2], idle, later, *new[MAX_CONNECTIONS // 2 :], None]
        for goes in expected:
            assert places.next_to_close(12.0) is goes
            if goes is not None:
                places.remove(goes)
        sending.cancel()

    asyncio.run(scene())


def test_a_client_that_has_sent_requests_stays_while_others_have_sent_none(tmp_path: Path) -> None:
    with before(tmp_path) as (_, listener), Crowd(listener.port) as crowd:
        kept = crowd.come(GET, OK)
        for _ in range(2 * MAX_CONNECTIONS):
            crowd.come()
        kept.sendall(GET)
        assert read_all(kept, len(OK)) == OK


def test_of_the_idle_clients_the_one_that_was_idle_for_longest_is_closed(tmp_path: Path) -> None:
    with before(tmp_path) as (_, listener), Crowd(listener.port) as crowd:
        first, second, *_ = [crowd.come(GET, OK) for _ in range(MAX_CONNECTIONS)]
        first.sendall(GET)  # so that the second is the longest idle
        assert read_all(first, len(OK)) == OK
        crowd.come(GET, OK)
        assert has_gone(second)
        first.sendall(GET)
        assert read_all(first, len(OK)) == OK


def test_clients_that_wait_for_an_answer_keep_their_slots_and_one_more_is_told_when_to_try_again(
    tmp_path: Path,
) -> None:
    answers = threading.Event()
    asked = threading.Semaphore(0)

    def talk(peer: Peer) -> None:
        peer.read()
        asked.release()
        assert answers.wait(60)
        peer.send(OK)

    with before(tmp_path, talk) as (_, listener), Crowd(listener.port) as crowd:
        waiting = [crowd.come(GET) for _ in range(MAX_CONNECTIONS)]
        for _ in waiting:
            assert asked.acquire(timeout=20)
        told = requests.get(listener.url, timeout=20)
        assert (told.status_code, told.headers["Retry-After"]) == (503, "1")
        for _ in range(100):  # few of them are told so at a time; the others hold nothing
            crowd.come()
        answers.set()
        for connection in waiting:
            assert read_all(connection, len(OK)) == OK


# -- time


@contextlib.contextmanager
def listening(serve: Callable[[ClientConnection], object], silent_s: float = 20.0) -> Iterator[ListenerServer]:
    async def served(connection: ClientConnection) -> None:
        await serve(connection)  # type: ignore[misc]

    broken: list[BaseException] = []
    made = ListenerServer("127.0.0.1", 0, Handler(served, broken), clock=ManualClock(), idle_timeout_s=silent_s)
    made.start()
    try:
        yield made
    finally:
        made.stop(5.0)
    assert broken == []


async def whole_requests(connection: ClientConnection) -> None:
    """Reads a request, and answers with how it went."""
    try:
        head = await connection.next_head(20.0, 0.2)
        if head is not None:
            async for _ in read_body(connection.reader, framing_of_request(head)):
                pass
            await connection.send_last_response(build_response(200, "whole"))
    except BadHttp as error:
        await connection.send_last_response(build_response(error.status, str(error)))


def test_a_head_that_has_begun_has_so_much_time_for_its_end() -> None:
    with listening(whole_requests) as at, Crowd(at.port) as crowd:
        late = crowd.come(BEGUN)
        assert read_all(late).startswith(b"HTTP/1.1 408 ")
        assert read_all(crowd.come(GET)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("said", [SLOW + b"A", IN_CHUNKS], ids=["with its length", "in chunks"])
def test_a_body_in_which_nothing_comes_any_more_has_so_much_time_for_its_next_byte(said: bytes) -> None:
    with listening(whole_requests, silent_s=0.2) as at, Crowd(at.port) as crowd:
        assert read_all(crowd.come(said)).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_owes_nothing_may_be_idle_for_longer_than_others() -> None:
    """Who waits for an answer, or to be told to go on, or speaks another protocol."""

    async def serve(connection: ClientConnection) -> None:
        head = await connection.next_head(20.0)
        if head is not None and head.start_line[0] == "GET":
            connection.reader.data_expected = False
            connection.writer.write(await connection.reader.read())
        elif head is not None:
            with pytest.raises(BadHttp):
                await connection.reader.read()

    with listening(serve, silent_s=0.1) as at, Crowd(at.port) as crowd:
        client = crowd.come(GET)
        assert has_gone(crowd.come(SLOW))  # which came later, and for which that was too long
        client.sendall(b"after all")
        assert read_all(client) == b"after all"


def test_a_client_that_does_not_read_its_answer_is_disconnected_by_the_system() -> None:
    options: list[int] = []

    async def serve(connection: ClientConnection) -> None:
        plug = connection.writer.get_extra_info("socket")
        options.append(plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    with listening(serve, silent_s=7.0) as at, Crowd(at.port) as crowd:
        assert has_gone(crowd.come())
    assert options == [7000]


# -- descriptors


def test_a_lack_of_descriptors_is_waited_out_and_reported_once(tmp_path: Path) -> None:
    with RawServer(always) as raw, contextlib.closing(socket.create_server(("127.0.0.1", 0))) as place:
        port = place.getsockname()[1]
        place.close()
        write_configuration(tmp_path, {"listeners": [{"listen": f"127.0.0.1:{port}", "upstream": raw.url}]})
        with Daemon(tmp_path) as daemon, Crowd(port) as crowd:
            daemon.wait_for("ready")
            kept = crowd.come(GET, OK)
            pid = daemon.process.pid
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            open_ones = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()) + 1
            soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_ones, hard))
            waiting = [crowd.come(GET) for _ in range(20)]
            daemon.wait_for("listener_failed", kind="DescriptorsExhausted")
            kept.sendall(GET)  # whoever has a connection is served as before
            assert read_all(kept, len(OK)) == OK
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            for connection in waiting:
                assert read_all(connection, len(OK)) == OK
            assert daemon.stop() == 0
        assert len([one for one in daemon.events if one["event"] == "listener_failed"]) == 1


def test_a_client_for_which_no_connection_to_the_server_can_be_made_is_told_when_to_try_again(tmp_path: Path) -> None:
    """And nothing is said of the server, which is there."""

    def once(peer: Peer) -> None:
        peer.read()
        peer.send(OK)

    with RawServer(once) as raw, contextlib.closing(socket.create_server(("127.0.0.1", 0))) as place:
        port = place.getsockname()[1]
        place.close()
        write_configuration(tmp_path, {"listeners": [{"listen": f"127.0.0.1:{port}", "upstream": raw.url}]})
        with Daemon(tmp_path) as daemon, Crowd(port) as crowd:
            daemon.wait_for("ready")
            kept = crowd.come(GET, OK)
            pid = daemon.process.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
            kept.sendall(GET)
            got = read_all(kept)
            assert got.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1" in got
            assert "can open no more files" in json.loads(got.partition(b"\r\n\r\n")[2])["message"]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            crowd.come(GET, OK)
            assert daemon.stop() == 0
        assert "upstream_gone" not in json.dumps(daemon.events)
