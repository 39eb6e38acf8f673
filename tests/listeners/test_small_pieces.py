"""Into how many pieces something is cut is its sender's choice: it changes neither what is understood, nor what is
held, nor how long others wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exhaustive import examples
from framesift.listeners.body_copies import MAX_COPY_BYTES, BodyCopy, MemoryBudget
from framesift.listeners.http1 import (
    BLOCK_BYTES,
    BadHttp,
    BodyPiece,
    Framing,
    FramingKind,
    HttpReader,
    TruncatedMessage,
    read_body,
    read_head,
)
from rigs.listeners import in_base64, picture, prediction_json, raw_exchange, read_all, request_head, running_listener
from rigs.raw_http_server import OK, Peer, RawServer

CHUNKED = Framing(FramingKind.CHUNKED)
END = b"0\r\n\r\n"
MANY = 400_000


def in_chunks(content: bytes, *sizes: int, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """The content in chunks of these sizes, one after the other and again and again."""
    made, at, turn = [], 0, 0
    while at < len(content):
        some = content[at : at + sizes[turn % len(sizes)]]
        made.append(b"%x%s\r\n%s\r\n" % (len(some), extension, some))
        at, turn = at + len(some), turn + 1
    return b"".join(made) + b"0\r\n" + trailers + b"\r\n"


def cut(message: bytes, *sizes: int) -> list[bytes]:
    parts, at, turn = [], 0, 0
    while at < len(message):
        parts.append(message[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    return parts


async def read(parts: list[bytes], framing: Framing) -> tuple[list[BodyPiece], bytes]:
    """What is read of what arrives part by part, and what is left behind it. The end of the connection follows."""
    reader = HttpReader()

    async def arrive() -> None:
        for part in parts:
            reader.feed_data(part)
            await asyncio.sleep(0)
        reader.feed_eof()

    arriving = asyncio.create_task(arrive())
    async with contextlib.aclosing(read_body(reader, framing)) as body:
        found = [piece async for piece in body]
    await arriving
    rest = b""
    while some := await reader.read():
        rest += some
    return found, rest


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@examples(150)
@given(
    content=st.binary(max_size=300),
    chunks=SIZES,
    segments=SIZES,
    extension=st.sampled_from([b"", b";a=b", b' ;why="none"']),
    trailers=st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nZ:\r\n"]),
)
def test_a_body_is_the_same_however_it_is_cut(
    content: bytes, chunks: list[int], segments: list[int], extension: bytes, trailers: bytes
) -> None:
    message = in_chunks(content, *chunks, extension=extension, trailers=trailers)
    found, rest = asyncio.run(read(cut(message + b"GET /next", *segments), CHUNKED))
    assert b"".join(piece.raw for piece in found) == message
    assert b"".join(piece.content for piece in found) == content
    assert rest == b"GET /next"


BAD = {
    "a chunk that is longer than it says": b"1\r\nAA\r\n",
    "a chunk that ends in a line feed alone": b"1\r\nA\n0\r\n\r\n",
    "a length that ends in a line feed alone": b"1\nA\r\n",
    "no length": b"\r\nA\r\n",
    "a length of letters": b"xyz\r\n",
    "a line without an end": b"1;" + b"x" * 2000,
    "spaces without an end": b"1" + b" " * 2000,
    "a trailer that ends in a line feed alone": b"0\r\nX: y\n\r\n",
    "an empty line that is a line feed alone": b"0\r\n\n",
    "a trailer that is a request": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "a trailer with a carriage return alone": b"0\r\nX: y\rZ: a\r\n\r\n",
    "too many trailers": b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n",
}


@pytest.mark.parametrize("size", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize("name", BAD)
def test_ambiguous_chunks_are_refused_however_they_are_cut(name: str, size: int) -> None:
    good = in_chunks(b"some", 1)[: -len(END)]
    with pytest.raises(BadHttp):
        asyncio.run(read(cut(good + BAD[name], size), CHUNKED))


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_chunks_without_their_end_are_cut_off_wherever_that_is(size: int) -> None:
    whole = in_chunks(b"some content", 5, extension=b";a=b", trailers=b"X: y\r\n")
    for count in range(len(whole)):
        with pytest.raises(TruncatedMessage):
            asyncio.run(read(cut(whole[:count], size), CHUNKED))


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
def test_a_head_is_the_same_however_it_is_cut(size: int) -> None:
    async def two_heads() -> list[bytes]:
        reader = HttpReader()
        reader_of = asyncio.create_task(_heads(reader))
        for part in cut(b"\r\n\r\n" + request_head("X: 1") + b"\r\n" + request_head(first="GET / HTTP/1.1"), size):
            reader.feed_data(part)
            await asyncio.sleep(0)
        reader.feed_eof()
        return await reader_of

    assert asyncio.run(two_heads()) == [request_head("X: 1"), request_head(first="GET / HTTP/1.1")]


async def _heads(reader: HttpReader) -> list[bytes]:
    heads = []
    while (head := await read_head(reader)) is not None:
        heads.append(head.raw)
    return heads


# -- what others wait, and what is held


async def _turns(message: bytes, framing: Framing) -> tuple[int, int]:
    """How many bytes of a body that has come whole are handled between two turns of the loop, at most; and pieces."""
    reader = HttpReader()
    reader.feed_data(message)
    handled = longest = count = 0
    over = False

    async def other() -> None:
        nonlocal longest, handled
        while not over:
            longest, handled = max(longest, handled), 0
            await asyncio.sleep(0)

    another = asyncio.create_task(other())
    await asyncio.sleep(0)
    async for piece in read_body(reader, framing):
        handled += len(piece.raw)
        count += 1
    longest, over = max(longest, handled), True
    await another
    return longest, count


@pytest.mark.parametrize(
    ("message", "framing"),
    [
        (b"1\r\nA\r\n" * MANY + END, CHUNKED),
        (in_chunks(bytes(2 << 20), 1 << 20), CHUNKED),
        (in_chunks(bytes(2000), 1, extension=b";" + b"x" * 900), CHUNKED),
        (bytes(4 << 20), Framing(FramingKind.LENGTH, 4 << 20)),
    ],
    ids=["chunks of one byte", "two large chunks", "chunks with long extensions", "one length"],
)
def test_others_have_their_turn_after_every_block_also_where_all_has_come(message: bytes, framing: Framing) -> None:
    longest, count = asyncio.run(_turns(message, framing))
    assert longest <= BLOCK_BYTES + 1024
    assert count <= len(message) / 700  # many chunks at a time are read, and passed on in one piece


def test_a_thousand_chunks_are_a_few_milliseconds_and_no_more_without_a_turn() -> None:
    longest, _ = asyncio.run(_turns(b"1\r\nA\r\n" * 10_000 + END, CHUNKED))
    assert longest <= 1100 * len(b"1\r\nA\r\n")


@pytest.mark.parametrize("size", [1, 7, 3000])
def test_a_copy_holds_little_beside_its_content_however_it_came(size: int) -> None:
    kept = BodyCopy(MemoryBudget())
    parts = cut(b"A" * 200_000, size)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for part in parts:
            assert kept.add(part)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept.content() == b"A" * 200_000
    assert held < 1.25 * 200_000  # a list of parts of one byte would be nine times as much


def test_what_does_not_fit_is_refused_and_what_was_copied_stays_until_it_is_released() -> None:
    budget = MemoryBudget(10)
    one, other = BodyCopy(budget), BodyCopy(budget)
    assert one.add(b"12345678")
    assert not other.add(b"123")
    assert not one.add(b"90-")
    assert (one.content(), one.is_complete) == (b"12345678", False)
    assert not one.add(b"9")  # nor what comes behind a gap
    one.release()
    one.release()
    assert BodyCopy(budget).add(b"1234567890")
    assert not BodyCopy(budget).add(b"1")


def test_of_a_request_that_is_all_extensions_no_more_is_held_than_of_any_other(tmp_path: Path) -> None:
    """Its content is small. What is held back, until it is known which model it asks, is bounded all the same."""
    chunks = b"1;" + b"x" * 900 + b"\r\n{\r\n"
    many = chunks * ((MAX_COPY_BYTES + (4 << 20)) // len(chunks))
    came = bytearray()

    def talk(peer: Peer) -> None:
        peer.read()
        came.extend(peer.some(len(many)))
        peer.send(OK)

    asked = request_head(
        "Transfer-Encoding: chunked", "Connection: close", first="POST /infer/object_detection HTTP/1.1"
    )
    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url) as listener:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as client:
            client.sendall(asked + many)  # and no end of it: who waited for that would wait for ever
            assert read_all(client).startswith(b"HTTP/1.1 200 ")
        assert bytes(came) == many


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(100, id="all is held"),
        pytest.param(MAX_COPY_BYTES // 6 + 100_000, id="more than is held", marks=pytest.mark.exhaustive),
    ],
)
def test_a_request_of_one_byte_chunks_passes_as_it_came(tmp_path: Path, count: int) -> None:
    chunks = b"1\r\n{\r\n" * count + END
    came: list[bytes] = []

    def talk(peer: Peer) -> None:
        peer.read()
        came.append(peer.some(len(chunks)))
        peer.send(OK)

    asked = request_head(
        "Transfer-Encoding: chunked", "Connection: close", first="POST /infer/object_detection HTTP/1.1"
    )
    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url) as listener:
        assert raw_exchange(listener.port, asked, chunks).endswith(OK)
        assert came == [chunks]


def test_a_request_and_its_answer_in_one_byte_chunks_are_sampled(tmp_path: Path) -> None:
    answer = in_chunks(json.dumps(prediction_json()).encode(), 1)

    def talk(peer: Peer) -> None:
        peer.read()
        peer.rest(b"\r\n" + END)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + answer)

    asked = request_head("Transfer-Encoding: chunked", "Connection: close", first="POST /boxes/1 HTTP/1.1")
    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url) as listener:
        assert raw_exchange(listener.port, asked, in_chunks(in_base64(picture()).encode(), 1)).endswith(
            b"\r\n\r\n" + answer
        )
        assert listener.until(lambda: listener.count("offered") == 1)
        (item,) = listener.items()
        assert (item.width, item.height) == (64, 48)


def test_a_picture_for_version_0_in_one_byte_chunks_is_kept(tmp_path: Path) -> None:
    asked = request_head("Transfer-Encoding: chunked", "Connection: close", first="POST /anything/0 HTTP/1.1")
    with running_listener(tmp_path, upstream="http://127.0.0.1:9") as listener:
        got = raw_exchange(listener.port, asked, in_chunks(in_base64(picture()).encode(), 1))
        assert got.startswith(b"HTTP/1.1 200 ")
        assert listener.until(lambda: listener.count("offered") == 1)
        assert len(listener.items()) == 1


def test_a_datapoint_in_one_byte_chunks_is_taken(tmp_path: Path) -> None:
    body = json.dumps({"image": in_base64(picture()), "prediction": prediction_json()}).encode()
    with running_listener(tmp_path) as listener:
        got = raw_exchange(
            listener.port, request_head("Transfer-Encoding: chunked", "Connection: close"), in_chunks(body, 1)
        )
        assert b'"charged": "all"' in got


@pytest.mark.parametrize("name", BAD)
def test_a_client_whose_chunks_are_refused_gets_an_error_from_the_proxy_too(tmp_path: Path, name: str) -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.hold()

    asked = request_head("Transfer-Encoding: chunked", first="POST /x HTTP/1.1")
    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url) as listener:
        got = raw_exchange(listener.port, asked, b"1\r\nA\r\n", BAD[name])
        assert got.startswith(b"HTTP/1.1 400 ")
        assert got.count(b"HTTP/1.1 ") == 1
        assert listener.count("upstream_gone") == 0
