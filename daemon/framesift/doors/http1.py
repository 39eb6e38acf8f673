"""HTTP/1.1 (RFC 9112) as two asyncio streams speak it: heads and bodies, with the very bytes in which they came.

A head is bounded, and a body whose length is ambiguous is refused: two readers that disagree about where a message ends
would let one client speak in another's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any

MOST_HEAD_BYTES = 64 << 10
# How much is read ahead of whoever takes it. Also the longest that a head may be for the reader itself.
READ_AHEAD_BYTES = 256 << 10
_LONGEST_CHUNK_LINE = 1024
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,10})[ \t]*(?:;[^\r\n]*)?\r\n")
_LINGER_S = 5.0


class BadHttp(Exception):
    """What came is no message that can be answered. status: of the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Cut(Exception):
    """The connection ended inside a message."""


class Reader(asyncio.StreamReader):
    """A stream whose end can be waited for. What had arrived before the connection broke can still be read.
    arrived_bytes: since the connection began."""

    def __init__(self) -> None:
        super().__init__(limit=READ_AHEAD_BYTES, loop=asyncio.get_running_loop())
        self.ended = asyncio.Event()
        self.arrived_bytes = 0

    def feed_data(self, data: Any) -> None:
        self.arrived_bytes += len(data)
        super().feed_data(data)

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: BaseException) -> None:  # noqa: ARG002  # the library's own signature
        self.feed_eof()


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a message. raw: as it came, with the empty line. first: the three words of its first line. fields:
    names in lower case, in their order."""

    raw: bytes = field(repr=False)
    first: tuple[str, str, str] = field(repr=False)
    fields: tuple[tuple[str, str], ...] = field(repr=False)

    def every(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str:
        """The first of that name, "" where there is none."""
        return next((value for key, value in self.fields if key == name), "")

    def words(self, name: str) -> list[str]:
        """The elements of a list, in lower case."""
        return [word.strip().lower() for value in self.every(name) for word in value.split(",") if word.strip()]

    @property
    def ends_connection(self) -> bool:
        version = self.first[2] if self.first[2].startswith("HTTP/") else self.first[0]
        said = self.words("connection")
        return "close" in said or (version != "HTTP/1.1" and "keep-alive" not in said)

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first[1])


async def read_head(reader: Reader, *, of_answer: bool = False) -> Head | None:
    """The next head; None where the other side has ended. Raises BadHttp, Cut."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
        while raw == b"\r\n\r\n":  # empty lines before a request are skipped (RFC 9112, 2.2)
            raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise Cut from None
        return None
    except asyncio.LimitOverrunError:
        raise BadHttp(431, f"the head has more than {MOST_HEAD_BYTES} bytes") from None
    if len(raw) > MOST_HEAD_BYTES:
        raise BadHttp(431, f"the head has more than {MOST_HEAD_BYTES} bytes")
    first, *lines = raw.decode("latin-1").lstrip("\r\n").rstrip("\r\n").split("\r\n")
    words = first.split(" ", 2)
    if of_answer:
        good = len(words) >= 2 and words[0].startswith("HTTP/1.") and words[1].isdecimal() and len(words[1]) == 3
        words = [*words, ""][:3]
    else:
        good = len(words) == 3 and words[2] in ("HTTP/1.1", "HTTP/1.0") and all(words)
    if not good:
        raise BadHttp(400, "the first line is not HTTP/1.1")
    split = [line.partition(":") for line in lines]
    if not of_answer:
        # Others read "Content-Length : 5", a folded line or a line feed alone as they like, and would see another body.
        if any(_CONTROL.search(line) for line in (first, *lines)):
            raise BadHttp(400, "the head has a control character")
        if not all(colon and _NAME.fullmatch(name) for name, colon, _ in split):
            raise BadHttp(400, "a line of the head is not a name, a colon and a value")
    fields = tuple((name.lower(), value.strip(" \t")) for name, _, value in split)
    return Head(raw, (words[0], words[1], words[2]), fields)


class Kind(Enum):
    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_END = "until the connection ends"


@dataclass(frozen=True, slots=True)
class Framing:
    """How a body is delimited. size_bytes: where that is known."""

    kind: Kind
    size_bytes: int = 0


NO_BODY = Framing(Kind.NONE)


def framing_of_request(head: Head) -> Framing:
    """Raises BadHttp."""
    said = _framing(head)
    return NO_BODY if said.kind is Kind.UNTIL_END else said


def framing_of_answer(head: Head, method: str) -> Framing:
    """method: of the request. Raises BadHttp."""
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return NO_BODY
    return _framing(head)


def _framing(head: Head) -> Framing:
    codings, lengths = head.words("transfer-encoding"), set(head.every("content-length"))
    if codings:
        if codings != ["chunked"] or lengths or "HTTP/1.0" in head.first:
            raise BadHttp(400, "Transfer-Encoding is chunked and nothing else, and without a Content-Length")
        return Framing(Kind.CHUNKED)
    if not lengths:
        return Framing(Kind.UNTIL_END)
    (length, *others) = lengths
    if others or not (length.isascii() and length.isdecimal()) or len(length) > 15:
        raise BadHttp(400, "Content-Length is one whole number")
    return Framing(Kind.LENGTH, int(length)) if int(length) else NO_BODY


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a body. raw: as they came, with the chunks' own lines. content: without."""

    raw: bytes = field(repr=False)
    content: bytes = field(repr=False)


async def pieces(reader: Reader, framing: Framing) -> AsyncGenerator[Piece, None]:
    """The body as it arrives. Raises Cut, BadHttp."""
    if framing.kind is Kind.LENGTH:
        async for content in _exactly(reader, framing.size_bytes):
            yield Piece(content, content)
    elif framing.kind is Kind.UNTIL_END:
        while content := await reader.read(READ_AHEAD_BYTES):
            yield Piece(content, content)
    elif framing.kind is Kind.CHUNKED:
        while True:
            line = await _line(reader)
            yield Piece(line, b"")
            found = _CHUNK_LINE.fullmatch(line)
            if found is None:
                raise BadHttp(400, "a chunk's length is a hexadecimal number")
            size_bytes = int(found[1], 16)
            if size_bytes == 0:
                break
            async for content in _exactly(reader, size_bytes):
                yield Piece(content, content)
            line = await _line(reader)
            if line != b"\r\n":
                raise BadHttp(400, "a chunk is longer than it says")
            yield Piece(line, b"")
        for _ in range(100):
            line = await _line(reader)
            yield Piece(line, b"")
            if line == b"\r\n":
                return
        raise BadHttp(400, "there are too many trailers")


async def _exactly(reader: Reader, size_bytes: int) -> AsyncIterator[bytes]:
    left = size_bytes
    while left:
        content = await reader.read(min(left, READ_AHEAD_BYTES))
        if not content:
            raise Cut
        left -= len(content)
        yield content


async def _line(reader: Reader) -> bytes:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError:
        raise Cut from None
    except asyncio.LimitOverrunError:
        raise BadHttp(400, "a chunk's line is too long") from None
    if len(line) > _LONGEST_CHUNK_LINE:
        raise BadHttp(400, "a chunk's line is too long")
    return line


def answer(
    status: int,
    content: Mapping[str, Any] | list[Any] | str,
    *,
    more: Mapping[str, str] | None = None,
    ends: bool = False,
    bodiless: bool = False,
) -> bytes:
    """A whole answer of ours: an object or a list as JSON, or a text. bodiless: to a HEAD."""
    text = content if isinstance(content, str) else json.dumps(content)
    body = f"{text}\n".encode("utf-8", "replace")
    kind = "text/plain; charset=utf-8" if isinstance(content, str) else "application/json"
    fields = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store", **(more or {})}
    if ends:
        fields["Connection"] = "close"
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if bodiless else body)


async def farewell(reader: Reader, writer: asyncio.StreamWriter, content: bytes, linger_s: float = _LINGER_S) -> None:
    """Sends a last answer to somebody who may still be sending, and reads on for a while: closing at once would reset
    the connection, and the answer with it."""
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        writer.write(content)
        if writer.can_write_eof():
            writer.write_eof()
        await asyncio.wait_for(_swallow(reader), linger_s)


async def _swallow(reader: Reader) -> None:
    while await reader.read(READ_AHEAD_BYTES):
        pass
