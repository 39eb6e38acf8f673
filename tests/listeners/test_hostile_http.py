"""HTTP that is meant to harm, at both listeners: heads and bodies that two readers would read in two ways, bodies of a
hundred megabytes, and clients that take their time."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from framesift.listeners.http1 import MAX_FIELDS, MAX_HEAD_BYTES
from framesift.listeners.ingest import IngestBounds
from rigs.listeners import (
    RunningListener,
    in_base64,
    picture,
    prediction_json,
    raw_exchange,
    read_all,
    request_head,
    running_listener,
)
from rigs.raw_http_server import OK, Peer, RawServer

GOOD: dict[str, Any] = {"image": in_base64(picture()), "prediction": prediction_json()}
LATE = IngestBounds(body_within_s=0.2, idle_s=0.2, head_within_s=0.2)
# What would be smuggled in: a request behind the one that is looked at.
SECOND = request_head("Content-Length: 0", first="POST /second HTTP/1.1")


@contextlib.contextmanager
def passing(folder: Path) -> Iterator[tuple[RunningListener, RawServer]]:
    """A proxy before a server that answers all alike, and remembers what it was asked."""

    def talk(peer: Peer) -> None:
        while peer.read() is not None:
            peer.send(OK)

    with RawServer(talk) as raw, running_listener(folder, upstream=raw.url) as listener:
        yield listener, raw


AMBIGUOUS = {
    "two lengths": request_head("Content-Length: 0", f"Content-Length: {len(SECOND)}") + SECOND,
    "two lengths in one": request_head(f"Content-Length: 0, {len(SECOND)}") + SECOND,
    "a length and chunks": request_head(f"Content-Length: {5 + len(SECOND)}", "Transfer-Encoding: chunked")
    + b"0\r\n\r\n"
    + SECOND,
    "chunks and another coding": request_head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + SECOND,
    "a coding that is none": request_head("Transfer-Encoding: xchunked") + b"0\r\n\r\n" + SECOND,
    "chunks twice": request_head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SECOND,
    "chunks in HTTP/1.0": request_head("Transfer-Encoding: chunked", first="POST /datapoints HTTP/1.0")
    + b"0\r\n\r\n"
    + SECOND,
    "a length with a sign": request_head("Content-Length: +0") + SECOND,
    "a length below nothing": request_head("Content-Length: -1") + SECOND,
    "a length in hexadecimal": request_head("Content-Length: 0x0") + SECOND,
    "a length with a space in it": request_head("Content-Length: 0 0") + SECOND,
    "a length in other digits": request_head("Content-Length: \xb2") + SECOND,
    "a length that no machine holds": request_head(f"Content-Length: {10**20}") + SECOND,
    "a space before the colon": request_head("Content-Length : 5") + SECOND,
    "chunks with a space before the colon": request_head("Transfer-Encoding : chunked") + b"0\r\n\r\n" + SECOND,
    "a folded line": request_head("X: 1", " Content-Length: 5") + SECOND,
    "a line feed alone": request_head("X: 1\nContent-Length: 5") + SECOND,
    "a carriage return alone": request_head("X: 1\rContent-Length: 5") + SECOND,
    "a zero byte": request_head("X: 1\x00") + SECOND,
    "a line without a colon": request_head("Content-Length 5") + SECOND,
    "a name that is none": request_head("Content(Length): 5") + SECOND,
    "a line feed in the address": request_head(first="POST /data\npoints HTTP/1.1") + SECOND,
    "no version": request_head(first="POST /datapoints") + SECOND,
    "another version": request_head(first="POST /datapoints HTTP/2.0") + SECOND,
    "too many words": request_head(first="POST /datapoints  HTTP/1.1") + SECOND,
    "a head of line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "a head of line feeds that has no end": b"GET / HTTP/1.1\nHost: x\n",
    "a head that ends in line feeds": request_head()[:-4] + b"\n\n" + SECOND,
    "a line feed before the empty line": request_head()[:-4] + b"\n\r\n" + SECOND,
    "an empty line that is a line feed": request_head()[:-2] + b"\n" + SECOND,
    "a line feed after the first line": request_head().replace(b"\r\n", b"\n", 1) + SECOND,
    "a line feed before the request": b"\n" + request_head("Content-Length: 0") + SECOND,
    "a carriage return before the request": b"\r" + request_head("Content-Length: 0") + SECOND,
    "no Host": request_head("Content-Length: 0", host="X: y") + SECOND,
    "two Hosts": request_head("Content-Length: 0", "Host: localhost") + SECOND,
    "two Hosts in one": request_head("Content-Length: 0", host="Host: localhost, other.example") + SECOND,
    "two Hosts of which one is empty": request_head("Content-Length: 0", "host:") + SECOND,
    "two Hosts in HTTP/1.0": request_head("Host: localhost", first="GET / HTTP/1.0") + SECOND,
    "a Host with a user": request_head("Content-Length: 0", host="Host: other.example@localhost") + SECOND,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECOND,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_heads_and_bodies_are_refused_by_both_kinds_of_listeners(tmp_path: Path, name: str) -> None:
    with running_listener(tmp_path) as listener:
        answer = raw_exchange(listener.port, AMBIGUOUS[name])
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert answer.count(b"HTTP/1.1") - answer.count(b"not HTTP/1.1") == 1
        assert b'"where": "head"' in answer
        assert b"Connection: close" in answer
    (tmp_path / "passing").mkdir()
    with passing(tmp_path / "passing") as (through, raw):
        answer = raw_exchange(through.port, AMBIGUOUS[name])
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert answer.count(b"HTTP/1.1") - answer.count(b"not HTTP/1.1") == 1
        assert raw.asked == []


CHUNKS = {
    "a length with a prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a length with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "a length with an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "a length with a space before it": b" 2\r\n{}\r\n0\r\n\r\n",
    "no length": b"\r\n{}\r\n0\r\n\r\n",
    "a length that no machine holds": b"ffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a line feed alone": b"2;x\n\r\n{}\r\n0\r\n\r\n",
    "a chunk that is longer than it says": b"2\r\n{}}\r\n0\r\n\r\n",
    "a line without an end": b"2;" + b"x" * 5000 + b"\r\n{}\r\n0\r\n\r\n",
    "trailers without an end": b"2\r\n{}\r\n0\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_ambiguous_chunks_are_refused(tmp_path: Path, name: str) -> None:
    with running_listener(tmp_path) as listener:
        answer = raw_exchange(listener.port, request_head("Transfer-Encoding: chunked"), CHUNKS[name] + SECOND)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert b'"where": "body"' in answer


def test_chunks_with_extensions_and_trailers_are_as_good_as_others(tmp_path: Path) -> None:
    chunks = b'2;why="none" \r\n{}\r\n0\r\nX: 1\r\n\r\n'
    with running_listener(tmp_path) as listener:
        answer = raw_exchange(listener.port, request_head("Transfer-Encoding: chunked", "Connection: close"), chunks)
        assert b'"where": "image"' in answer  # it was read: an object without a picture


def test_a_head_has_a_largest_size(tmp_path: Path) -> None:
    with running_listener(tmp_path) as listener:
        for size in (MAX_HEAD_BYTES, 5 << 20):
            assert raw_exchange(listener.port, request_head(f"X: {'x' * size}")).startswith(b"HTTP/1.1 431 ")
        assert raw_exchange(listener.port, request_head(f"X: {'x' * 60_000}", "Connection: close")).startswith(
            b"HTTP/1.1 411 "
        )


def test_a_head_has_so_many_fields_and_no_more(tmp_path: Path) -> None:
    fields = ["X: y"] * (MAX_FIELDS - 2)
    with running_listener(tmp_path) as listener:
        assert raw_exchange(listener.port, request_head(*fields, "Connection: close")).startswith(b"HTTP/1.1 431 ")
        assert raw_exchange(listener.port, request_head(*fields[1:], "Connection: close")).startswith(b"HTTP/1.1 411 ")


def test_a_request_without_a_host_is_not_trusted(tmp_path: Path) -> None:
    """HTTP/1.0 may: web pages that have their own name resolve to this machine gain nothing by it."""
    asked = request_head("Content-Length: 2", first="POST /datapoints HTTP/1.0", host="X: y") + b"{}"
    with running_listener(tmp_path) as listener:
        assert raw_exchange(listener.port, asked).startswith(b"HTTP/1.1 421 ")
    (tmp_path / "passing").mkdir()
    with passing(tmp_path / "passing") as (through, raw):
        assert raw_exchange(through.port, asked.replace(b"/datapoints", b"/boxes/1")).endswith(OK)
        assert len(raw.asked) == 1
        assert through.count("foreign_host") == 1


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"hello\r\n\r\n"])
def test_what_is_not_http_gets_an_error(tmp_path: Path, rubbish: bytes) -> None:
    with running_listener(tmp_path) as listener:
        assert raw_exchange(listener.port, rubbish).startswith(b"HTTP/1.1 400 ")


# -- large


def test_a_body_of_a_hundred_megabytes_is_refused_and_its_sender_sees_why(tmp_path: Path) -> None:
    with running_listener(tmp_path) as listener:
        for body in (bytes(100 << 20), iter([bytes(1 << 20)] * 100)):  # with its length, and in chunks
            answer = listener.post(data=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413
            assert "33,554,432" in answer.json()["error"]
        assert listener.items() == ()
        assert listener.count("refused") == 2


def test_a_client_that_asks_before_sending_it_needs_not_even_send_it(tmp_path: Path) -> None:
    with running_listener(tmp_path, token="a-token-of-this-listener") as listener:
        right = "Authorization: Bearer a-token-of-this-listener"
        expects = "Expect: 100-continue"
        for lines, status in (
            ((right, f"Content-Length: {100 << 20}"), b"413"),
            (("Content-Length: 1000",), b"401"),
        ):
            with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as connection:
                connection.sendall(request_head(expects, *lines))
                assert connection.recv(1000).startswith(b"HTTP/1.1 " + status)


# -- slow


def _drip(port: int, head: bytes) -> bytes:
    """Sends the head, and then a byte again and again until there is an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head)
        for _ in range(1000):
            if select.select([connection], [], [], 0.01)[0]:
                break
            connection.sendall(b" ")
        else:
            pytest.fail("nobody loses patience")
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


@pytest.mark.parametrize("length", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_that_trickles_has_only_so_much_time(tmp_path: Path, length: str) -> None:
    with running_listener(tmp_path, bounds=LATE) as listener:
        head = request_head(length) + (b"fffff\r\n" if "chunked" in length else b"")
        answer = _drip(listener.port, head)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"where": "body"' in answer
        assert listener.post(GOOD).json()["strategy"] == "all"
        assert listener.count("refused") == 1


def test_a_head_that_trickles_has_only_so_much_time(tmp_path: Path) -> None:
    with running_listener(tmp_path, bounds=LATE) as listener:
        answer = _drip(listener.port, b"POST /datapoints HTTP/1.1\r\nX: ")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"where": "head"' in answer


def test_a_connection_without_a_request_is_closed_without_a_response(tmp_path: Path) -> None:
    with running_listener(tmp_path, bounds=LATE) as listener:
        assert raw_exchange(listener.port) == b""
        with requests.Session() as session:  # also between two requests
            assert session.get(listener.url, timeout=20).status_code == 200
        assert listener.count("refused") == 0


def test_slow_clients_keep_others_waiting_no_longer_than_their_own_time(tmp_path: Path) -> None:
    with (
        running_listener(tmp_path, bounds=IngestBounds(body_within_s=0.2, max_concurrent=1)) as listener,
        contextlib.ExitStack() as open_ones,
    ):
        slow = open_ones.enter_context(socket.create_connection(("127.0.0.1", listener.port), timeout=20))
        slow.sendall(request_head("Content-Length: 9"))
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
        # It goes on sending, and is heard to its end; its seat is free all the same.
        slow.sendall(b"123456789")
        assert listener.post(GOOD).json()["strategy"] == "all"


def test_a_client_that_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with running_listener(tmp_path) as listener:
        for sent in (
            request_head("Content-Length: 100") + b"{",
            request_head("Transfer-Encoding: chunked") + b"5\r\n{",
        ):
            with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                answer = read_all(connection)
                assert answer.startswith(b"HTTP/1.1 400 ")
                assert b"ends too early" in answer
        with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as connection:
            connection.sendall(b"POST /datapoi")
        assert listener.items() == ()
        assert listener.post(GOOD).status_code == 200
