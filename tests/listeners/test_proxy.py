"""The proxy: what clients and the inference server say to each other arrives as it was said, whatever it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from clocks import ManualClock
from framesift.listeners.connection_slots import ClientConnection
from framesift.listeners.forward import connect_upstream
from framesift.listeners.proxy import SWITCH_INTERVAL_S
from framesift.listeners.server import ListenerServer
from framesift.telemetry import ComponentHealth, Condition
from rigs.inference import KEY, InferenceServer
from rigs.listeners import (
    Handler,
    RunningListener,
    in_base64,
    picture,
    prediction_json,
    raw_exchange,
    read_all,
    request_head,
    running_listener,
)
from rigs.raw_http_server import OK, Peer, RawServer, reserve_closed_port

TOKEN = "a-token-of-this-listener"
BODY = in_base64(picture()).encode()
ANSWER = json.dumps(prediction_json()).encode()
IS_JSON = "Content-Type: application/json"
INFERENCE = "POST /boxes/1?confidence=40&overlap=30 HTTP/1.1"
CLOSES = "Connection: close"


def with_length(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", "")).encode() + body


def inference(*lines: str, first: str = INFERENCE, body: bytes = BODY) -> bytes:
    return request_head(*lines, f"Content-Length: {len(body)}", first=first) + body


@contextlib.contextmanager
def before(folder: Path, talk: Callable[[Peer], object], **options: Any) -> Iterator[tuple[RawServer, RunningListener]]:
    """A proxy before a server that speaks in bytes."""
    with RawServer(talk) as raw, running_listener(folder, upstream=raw.url, **options) as listener:
        yield raw, listener


def once(*answers: bytes) -> Callable[[Peer], None]:
    """Reads a request and answers it, so often, and hangs up."""

    def talk(peer: Peer) -> None:
        for answer in answers:
            if peer.read() is None:
                return
            peer.send(answer)

    return talk


def always(peer: Peer) -> None:
    while peer.read() is not None:
        peer.send(with_length(ANSWER, IS_JSON))


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-ENCODING: chunked\r\nTrailer: X-Sum\r\nContent-Type: application/json\r\n\r\n"
ANSWERS = {
    "a prediction": with_length(ANSWER, IS_JSON, "date: Thu", "X-Odd:   spaces  ", "X-odd: two"),
    "an error in JSON": with_length(b'{"message": "no such model"}', IS_JSON, status="404 Not"),
    "an error of validation": with_length(b'{"detail": []}', status="422 Unprocessable Entity"),
    "busy": with_length(b"", "Retry-After: 7", status="503 Service Unavailable"),
    "a failure": with_length(b"Internal error.", "Content-Type: text/plain", status="500 Internal Server Error"),
    "a page": with_length(b"<html>Accept</html>", "Content-Type: text/html", "Set-Cookie: a", "Set-Cookie: b"),
    "a status without a word": with_length(ANSWER, status="200 "),
    "a redirect": with_length(b"", "Location: http://elsewhere.example/", status="302 Found"),
    "a drawing": with_length(picture(), "Content-Type: image/jpeg"),
    "no content": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "not modified": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 70\r\n\r\n',
    "in chunks": CHUNKED + b"4;why=none\r\n" + ANSWER[:4] + b"\r\n" + f"{len(ANSWER) - 4:X}\r\n".encode() + ANSWER[4:]
    + b"\r\n000\r\nX-Sum: 7\r\n\r\n",
    "to the end of the connection": b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + ANSWER,
    "after a hint": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + with_length(ANSWER),
    "of bytes that are no text": with_length(bytes(range(256)) * 999, "X-Name: \xe9t\xe9"),
    "with a body that says that it is packed": with_length(b"\x1f\x8b rubbish", "Content-Encoding: gzip"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_passes_byte_for_byte_and_so_does_its_request(tmp_path: Path, name: str) -> None:
    asked = inference(CLOSES, "X-Odd:  spaces ", "x-odd: two", "Accept:")
    with before(tmp_path, once(ANSWERS[name])) as (raw, listener):
        assert raw_exchange(raw.port, asked) == ANSWERS[name]
        assert raw_exchange(listener.port, asked) == ANSWERS[name]
        directly, through = raw.asked
        assert through == directly
        assert listener.until(lambda: sum(listener.telemetry.report().listeners.values()) == 1)
        assert listener.count("failed") == listener.count("upstream_gone") == 0


REQUESTS = {
    "GET": request_head(CLOSES, first="GET /info HTTP/1.1"),
    "GET of HTTP/1.0": request_head(first="GET /healthz HTTP/1.0"),
    "POST of something else": request_head(CLOSES, "Content-Length: 4", first="POST /model/add HTTP/1.1") + b"{} \n",
    "a path that is nothing": request_head(CLOSES, first="DELETE /%00/../a?b=c&&d HTTP/1.1"),
    "OPTIONS of everything": request_head(CLOSES, first="OPTIONS * HTTP/1.1"),
    "a foreign Host": request_head(CLOSES, first="GET / HTTP/1.1", host="hOsT:  server.example:9001"),
    "no Host": request_head(first="GET / HTTP/1.0", host="X: y"),
    "an inference that is none": inference(CLOSES, body=b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_of_whatever_kind_passes(tmp_path: Path, name: str) -> None:
    answer = with_length(b"as it is")
    with before(tmp_path, once(answer)) as (raw, listener):
        assert raw_exchange(raw.port, REQUESTS[name]) == answer
        assert raw_exchange(listener.port, REQUESTS[name]) == answer
        assert raw.asked[1] == raw.asked[0]


def test_the_answer_to_a_head_has_a_length_and_no_body(tmp_path: Path) -> None:
    head = with_length(ANSWER)[: -len(ANSWER)]
    with before(tmp_path, once(head, OK)) as (_, listener):
        asked = request_head(first="HEAD / HTTP/1.1") + request_head(CLOSES, first="GET / HTTP/1.1")
        assert raw_exchange(listener.port, asked) == head + OK


def test_a_body_in_chunks_passes_with_its_chunks(tmp_path: Path) -> None:
    chunks = b"3;x=y\r\n" + BODY[:3] + b"\r\n" + f"{len(BODY) - 3:X}\r\n".encode() + BODY[3:] + b"\r\n0\r\nT: x\r\n\r\n"
    came: list[bytes] = []

    def talk(peer: Peer) -> None:
        peer.read()
        came.append(peer.rest(b"T: x\r\n\r\n"))
        peer.send(with_length(ANSWER, IS_JSON))

    with before(tmp_path, talk) as (_, listener):
        asked = request_head("Transfer-Encoding: chunked", CLOSES, first=INFERENCE)
        assert raw_exchange(listener.port, asked, chunks[:50], chunks[50:]).endswith(ANSWER)
        assert came == [chunks]
        assert listener.until(lambda: listener.count("offered") == 1)


def test_an_answer_passes_as_it_comes_and_not_when_all_of_it_has_come(tmp_path: Path) -> None:
    seen = threading.Event()

    def talk(peer: Peer) -> None:
        peer.read()
        whole = with_length(b"first" + b"second")
        peer.send(whole[:-6])
        assert seen.wait(20)
        peer.send(b"second")

    with (
        before(tmp_path, talk) as (_, listener),
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client,
    ):
        client.sendall(inference(CLOSES))
        got = b""
        while not got.endswith(b"first"):
            got += client.recv(1000)
        seen.set()
        assert read_all(client) == b"second"


def test_a_client_that_asks_before_it_sends_is_answered_by_the_server(tmp_path: Path) -> None:
    goes_on = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"
    refused = with_length(b"", status="417 Expectation Failed")

    def talk(peer: Peer) -> None:
        body = b"4\r\n{  }\r\n0\r\n\r\n"
        if peer.read() is not None:
            peer.send(goes_on)
            assert peer.rest(b"0\r\n\r\n") == body
            peer.send(with_length(b"{}"))
        if peer.read() is not None:
            peer.send(refused)

    with (
        before(tmp_path, talk) as (_, listener),
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client,
    ):
        client.sendall(request_head("Transfer-Encoding: chunked", "Expect: 100-continue", first="POST /x HTTP/1.1"))
        assert read_all(client, len(goes_on)) == goes_on
        client.sendall(b"4\r\n{  }\r\n0\r\n\r\n")
        answer = with_length(b"{}")
        assert read_all(client, len(answer)) == answer
        client.sendall(request_head(CLOSES, "Content-Length: 0", "Expect: 100-continue", first="POST /x HTTP/1.1"))
        assert read_all(client) == refused


def test_an_answer_that_comes_before_the_end_of_its_request_passes(tmp_path: Path) -> None:
    answer = with_length(b"too large", "Connection: close", status="413 Content Too Large")

    def talk(peer: Peer) -> None:
        peer.rest(b"\r\n\r\n")
        peer.send(answer)
        peer.rest(b"never")

    with (
        before(tmp_path, talk) as (_, listener),
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client,
    ):
        client.sendall(request_head("Content-Length: 100000000", first="POST /x HTTP/1.1") + bytes(1 << 20))
        assert read_all(client, len(answer)) == answer


def test_a_protocol_that_begins_with_http_passes_both_ways(tmp_path: Path) -> None:
    switches = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"

    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(switches)
        while some := peer.rest(b"!"):
            peer.send(some)

    with (
        before(tmp_path, talk) as (_, listener),
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client,
    ):
        client.sendall(request_head("Upgrade: echo", "Connection: Upgrade", first="GET /ws HTTP/1.1"))
        assert read_all(client, len(switches)) == switches
        for word in (b"hello!", b"\x00\xff!"):
            client.sendall(word)
            assert read_all(client, len(word)) == word
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def test_requests_that_are_sent_without_waiting_are_answered_in_their_order(tmp_path: Path) -> None:
    answers = [with_length(str(number).encode()) for number in range(3)]
    with before(tmp_path, once(*answers)) as (raw, listener):
        asked = b"".join(inference(first=f"POST /m/{number} HTTP/1.1") for number in (1, 2))
        assert raw_exchange(listener.port, asked + inference(CLOSES)) == b"".join(answers)
        assert raw.connections == 1


def test_a_client_that_ends_its_side_still_gets_its_answer(tmp_path: Path) -> None:
    with (
        before(tmp_path, always) as (_, listener),
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client,
    ):
        client.sendall(inference())
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).endswith(ANSWER)


# -- the server's connections


def test_a_connection_of_a_client_is_one_to_the_server_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    with before(tmp_path, always) as (raw, listener):
        with requests.Session() as session:
            for _ in range(5):
                assert session.post(f"{listener.url}/boxes/1", data=BODY, timeout=20).content == ANSWER
        assert raw.connections == 1
        assert requests.post(f"{listener.url}/boxes/1", data=BODY, timeout=20).content == ANSWER
        assert raw.connections == 2


@pytest.mark.parametrize("body", [None, BODY, BODY * 1000], ids=["none", "small", "large"])
def test_a_server_that_hangs_up_after_each_answer_costs_no_client_one(tmp_path: Path, body: bytes | None) -> None:
    with before(tmp_path, once(with_length(ANSWER))) as (raw, listener), requests.Session() as session:
        for _ in range(30):
            answer = session.request("POST" if body else "GET", f"{listener.url}/boxes/1", data=body, timeout=20)
            assert (answer.status_code, answer.content) == (200, ANSWER)
        assert raw.connections == 30
        assert listener.count("upstream_gone") == 0


def test_a_server_that_hangs_up_while_a_picture_is_on_its_way_is_asked_again_with_all_of_it(tmp_path: Path) -> None:
    hung_up = threading.Event()

    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(with_length(ANSWER))
        if raw.connections == 1:
            peer.rest(b"\r\n\r\n")  # the head of the next one
            peer.reset()
            hung_up.set()

    with (
        before(tmp_path, talk) as (raw, listener),
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client,
    ):
        client.sendall(inference())
        assert read_all(client, len(with_length(ANSWER))) == with_length(ANSWER)
        second = inference(CLOSES, body=BODY * 100)
        client.sendall(second[:5000])
        assert hung_up.wait(20)
        client.sendall(second[5000:])
        assert read_all(client) == with_length(ANSWER)
        assert raw.asked[-1].body == BODY * 100
        assert listener.count("upstream_gone") == 0


def health_of(listener: RunningListener) -> ComponentHealth:
    (health,) = [one for one in listener.telemetry.report().health if "sampling" not in one.name]
    return health


def test_a_server_that_is_gone_is_a_502_and_its_return_is_seen_at_once(tmp_path: Path) -> None:
    with (
        InferenceServer() as server,
        running_listener(tmp_path, upstream=server.url) as listener,
        requests.Session() as session,
    ):
        url = f"{listener.url}/boxes/1"
        session.headers.update({"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-www-form-urlencoded"})
        assert session.post(url, data=BODY, timeout=20).status_code == 200
        server.go_away()
        for _ in range(2):
            answer = session.post(url, data=BODY, timeout=20)
            assert answer.status_code == 502
            assert "inference server" in answer.json()["message"]
        health = health_of(listener)
        assert (health.condition, "can't be reached" in health.why) == (Condition.DEGRADED, True)
        server.come_back()
        assert session.post(url, data=BODY, timeout=20).status_code == 200
        # Its client may have the answer before the listener has noted that there was one.
        assert listener.until(lambda: health_of(listener).condition is Condition.OK), health_of(listener)
        assert listener.count("upstream_gone") == 2


def test_a_server_that_was_never_there_is_a_502(tmp_path: Path) -> None:
    place, port = reserve_closed_port()
    with place, running_listener(tmp_path, upstream=f"http://127.0.0.1:{port}") as listener:
        answer = requests.post(f"{listener.url}/boxes/1", data=BODY, timeout=20)
        assert (answer.status_code, list(answer.json())) == (502, ["message"])


NOTHING = {
    "nothing": b"",
    "a part of a line": b"HTTP/1.1 200",
    "another protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\nX: y\r\n",
}


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_a_server_that_ends_before_it_has_answered_is_a_502(tmp_path: Path, nothing: bytes) -> None:
    with before(tmp_path, once(nothing)) as (_, listener):
        got = raw_exchange(listener.port, inference())
        assert got.startswith(b"HTTP/1.1 502 ")
        assert got.count(b"HTTP/1.1 ") == 1
        assert listener.count("upstream_gone") == 1


def test_a_server_that_ends_its_lines_in_line_feeds_is_a_502(tmp_path: Path) -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}")
        peer.hold()

    with before(tmp_path, talk) as (_, listener):
        assert raw_exchange(listener.port, inference()).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("name", ["a prediction", "in chunks"])
def test_an_answer_that_was_cut_off_is_cut_off_for_its_client_too(tmp_path: Path, name: str) -> None:
    part = ANSWERS[name][:-20]
    with before(tmp_path, once(part)) as (_, listener):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            requests.post(f"{listener.url}/boxes/1", data=BODY, timeout=20)
        assert listener.items() == ()


def test_a_client_that_gives_up_is_given_up_by_the_listener(tmp_path: Path) -> None:
    left = threading.Event()

    def talk(peer: Peer) -> None:
        peer.read()
        peer.hold()
        left.set()

    with before(tmp_path, talk) as (_, listener):
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{listener.url}/boxes/1", data=BODY, timeout=0.2)
        assert left.wait(20)  # the server heard of it, and can stop working
        assert listener.items() == ()
        assert listener.count("upstream_gone") == 0


# -- the token


def test_with_a_token_clients_show_it_and_the_server_never_sees_it(tmp_path: Path) -> None:
    with before(tmp_path, always, token=TOKEN) as (raw, listener):
        for lines in ((), ("X-Framesift-Token: wrong-token-of-this-listener",), (f"Authorization: Bearer {TOKEN}",)):
            answer = raw_exchange(listener.port, inference(*lines))
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b'"message"' in answer
        assert raw.asked == []
        own = ("Authorization: Bearer theirs", f"x-Framesift-TOKEN:  {TOKEN} ", "X: y", CLOSES)
        assert raw_exchange(listener.port, inference(*own, first="POST /boxes/1 HTTP/1.1")).endswith(ANSWER)
        (asked,) = raw.asked
        assert asked.head.split("\r\n")[1:6] == [
            "Host: localhost",
            IS_JSON,
            "Authorization: Bearer theirs",
            "X: y",
            CLOSES,
        ]
        assert TOKEN not in listener.out.getvalue()


# -- time


def test_neither_side_waits_for_acknowledgements() -> None:
    """Else the body of an answer leaves 40 ms after its head. How many milliseconds are added, benchmarks tell."""
    heard_at: queue.Queue[int] = queue.Queue()

    def option(writer: asyncio.StreamWriter) -> int:
        return int(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def serve(connection: ClientConnection) -> None:
        heard_at.put(option(connection.writer))

    async def asked_at(port: int) -> int:
        upstream = await connect_upstream("127.0.0.1", port)
        try:
            return option(upstream.writer)
        finally:
            upstream.close()

    broken: list[BaseException] = []
    listening = ListenerServer("127.0.0.1", 0, Handler(serve, broken), clock=ManualClock())
    listening.start()
    try:
        assert asyncio.run(asked_at(listening.port)) == 1
        assert heard_at.get(timeout=20) == 1
    finally:
        listening.stop(5.0)
    assert broken == []


def test_forwarding_does_not_wait_long_for_its_turn(tmp_path: Path) -> None:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        with running_listener(tmp_path, upstream="http://127.0.0.1:9"):
            assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        sys.setswitchinterval(before_s)


def test_an_answer_that_is_under_way_when_the_service_stops_arrives(tmp_path: Path) -> None:
    asked, closing = threading.Event(), threading.Event()

    def talk(peer: Peer) -> None:
        peer.read()
        asked.set()
        assert closing.wait(20)
        peer.send(with_length(ANSWER))

    with (
        before(tmp_path, talk) as (_, listener),
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client,
    ):
        client.sendall(inference())
        assert asked.wait(20)
        ending = threading.Thread(target=listener.listener.stop, args=(10.0,))
        ending.start()
        closing.set()
        assert read_all(client).endswith(ANSWER)
        ending.join(10)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", listener.port), timeout=5).close()
