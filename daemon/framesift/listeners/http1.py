"""HTTP/1.1 (RFC 9112) over asyncio streams: heads and bodies, together with the exact bytes in which they arrived.

The size of a head is limited, and a body whose length is ambiguous is refused: if two servers disagree about where a
message ends, one client can send requests in another's name (request smuggling).

A sender can cut its data into very small pieces. So what has arrived is read as a block, many chunks at a time, and
after each block other connections get their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any

from framesift.listeners.chunked_body import BadChunkedBody, ChunkedDecoder

MAX_HEAD_BYTES = 64 << 10
MAX_FIELDS = 256
# How much is handled before other connections get their turn, and how much is read in advance.
BLOCK_BYTES = 64 << 10
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_LINE_FEED_ALONE = re.compile(rb"(?<!\r)\n")
# What a Host field may contain (RFC 3986, 3.2.2 and 3.2.3). A comma is missing on purpose: a list is two hosts.
_HOST = re.compile(r"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*")
_LINGER_S = 5.0


class BadHttp(Exception):
    """The message is not valid HTTP, or not allowed. status: for the response."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class TruncatedMessage(Exception):
    """The connection ended inside a message."""


class HttpReader(asyncio.StreamReader):
    """A stream whose end can be awaited. What arrived before the connection broke can still be read.

    Only one task may read at a time. ended: set when the other side has ended. buffered: bytes that were received and
    not consumed yet. received_bytes: since the connection began. data_expected: whether the other side is in the middle
    of a message; if not, it may be idle for any time. waiting_since_s: since when a task has been waiting for data, in
    the event loop's time; None while none waits.
    """

    def __init__(self) -> None:
        super().__init__(limit=BLOCK_BYTES, loop=asyncio.get_running_loop())
        self.ended = asyncio.Event()
        self.buffered = bytearray()
        self.received_bytes = 0
        self.data_expected = True
        self.waiting_since_s: float | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._fetched_bytes = 0
        self._yield_at_bytes = BLOCK_BYTES

    def feed_data(self, data: Any) -> None:
        """Take data from the transport; called by asyncio."""
        self.received_bytes += len(data)
        super().feed_data(data)
        self._wake()

    def feed_eof(self) -> None:
        """Take note that the other side has ended; called by asyncio."""
        super().feed_eof()
        self.ended.set()
        self._wake()

    def set_exception(self, exc: BaseException) -> None:  # noqa: ARG002  # asyncio's signature
        """Treat a broken connection like one that has ended; called by asyncio."""
        self.feed_eof()

    def at_eof(self) -> bool:
        """Return whether the other side has ended and everything has been read."""
        return not self.buffered and super().at_eof()

    def abort_wait(self, why: Exception) -> None:
        """Raise this exception in the task that waits for data."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(why)

    async def fill(self) -> bool:
        """Wait until more bytes are buffered. Return False if the other side has ended."""
        content = await self._fetch(BLOCK_BYTES)
        self.buffered += content
        return bool(content)

    def consume(self, count: int) -> bytes:
        """Remove so many bytes from the buffer and return them."""
        content = bytes(self.buffered[:count])
        del self.buffered[:count]
        return content

    async def read(self, n: int = BLOCK_BYTES) -> bytes:
        """Return at least one byte and at most `n`, or one block; b"" if the other side has ended."""
        return self.consume(n) if self.buffered else await self._fetch(n)

    async def _fetch(self, most_bytes: int) -> bytes:
        if self._fetched_bytes >= self._yield_at_bytes:
            self._yield_at_bytes = self._fetched_bytes + BLOCK_BYTES
            await asyncio.sleep(0)
        if self.received_bytes == self._fetched_bytes and not self.ended.is_set():
            assert self._waiting is None
            loop = asyncio.get_running_loop()
            self._waiting, self.waiting_since_s = loop.create_future(), loop.time()
            try:
                await self._waiting
            finally:
                self._waiting = self.waiting_since_s = None
        content = await super().read(min(most_bytes, BLOCK_BYTES))
        self._fetched_bytes += len(content)
        return content

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request or a response.

    raw: the exact bytes, with the empty line. start_line: the three words of the first line. fields: names in lower
    case and values, in their order.
    """

    raw: bytes = field(repr=False)
    start_line: tuple[str, str, str] = field(repr=False)
    fields: tuple[tuple[str, str], ...] = field(repr=False)

    def get_all(self, name: str) -> list[str]:
        """Return the values of all fields of that name. name: in lower case."""
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str:
        """Return the value of the first field of that name, "" without one. name: in lower case."""
        return next((value for key, value in self.fields if key == name), "")

    def list_values(self, name: str) -> list[str]:
        """Return the elements of a field that is a comma-separated list, in lower case."""
        return [word.strip().lower() for value in self.get_all(name) for word in value.split(",") if word.strip()]

    @property
    def closes_connection(self) -> bool:
        """Whether the connection ends after this message."""
        version = self.start_line[2] if self.start_line[2].startswith("HTTP/") else self.start_line[0]
        options = self.list_values("connection")
        return "close" in options or (version != "HTTP/1.1" and "keep-alive" not in options)

    @property
    def status(self) -> int:
        """The status of a response. Not for requests."""
        return int(self.start_line[1])


async def read_head(reader: HttpReader, *, is_response: bool = False) -> Head | None:
    """Return the next head, None if the other side has ended. Raises BadHttp, TruncatedMessage."""
    seen = 0
    while (head := parse_buffered_head(reader, seen, is_response=is_response)) is None:
        seen = len(reader.buffered)
        if not await reader.fill():
            if reader.buffered:
                raise TruncatedMessage
            return None
    return head


def parse_buffered_head(reader: HttpReader, searched_bytes: int = 0, *, is_response: bool = False) -> Head | None:
    """Consume the head that is buffered, and return it; None if its end has not arrived yet. Raises BadHttp.

    searched_bytes: how much of the buffer was searched for the end before.
    """
    empty = _EMPTY_LINES.match(reader.buffered)
    if empty and empty.end():  # empty lines before a request are skipped (RFC 9112, 2.2)
        reader.consume(empty.end())
        searched_bytes = 0
    end = reader.buffered.find(b"\r\n\r\n", max(0, searched_bytes - 3))
    so_far = end if end >= 0 else len(reader.buffered)
    # Some servers take it for the end of a line, and two of them for the end of the head.
    if _LINE_FEED_ALONE.search(reader.buffered, searched_bytes, so_far):
        raise BadHttp(400, "a line of the head ends in a line feed alone")
    if so_far > MAX_HEAD_BYTES - len(b"\r\n\r\n"):
        raise BadHttp(431, f"the head has more than {MAX_HEAD_BYTES} bytes")
    if end < 0:
        return None
    raw = reader.consume(end + len(b"\r\n\r\n"))
    if not is_response and raw.count(b"\r\n") > MAX_FIELDS + 2:
        raise BadHttp(431, f"the head has more than {MAX_FIELDS} fields")
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ", 2)
    if is_response:
        good = len(words) >= 2 and words[0].startswith("HTTP/1.") and words[1].isdecimal() and len(words[1]) == 3
        words = [*words, ""][:3]
    else:
        good = len(words) == 3 and words[2] in ("HTTP/1.1", "HTTP/1.0") and all(words)
    if not good:
        raise BadHttp(400, "the first line is not HTTP/1.1")
    split = [line.partition(":") for line in lines]
    if not is_response:
        # Servers differ in how they read "Content-Length : 5", a folded line or a line feed alone.
        if any(_CONTROL.search(line) for line in (first, *lines)):
            raise BadHttp(400, "the head has a control character")
        if not all(colon and _NAME.fullmatch(name) for name, colon, _ in split):
            raise BadHttp(400, "a line of the head is not a name, a colon and a value")
    head = Head(
        raw,
        (words[0], words[1], words[2]),
        tuple((name.lower(), value.strip(" \t")) for name, _, value in split),
    )
    if not is_response:
        hosts = head.get_all("host")
        if len(hosts) != 1 and (hosts or words[2] == "HTTP/1.1"):  # RFC 9112, 3.2; HTTP/1.0 has no Host
            raise BadHttp(400, f"the head has {len(hosts)} Hosts instead of one")
        if not all(map(_HOST.fullmatch, hosts)):
            raise BadHttp(400, "the Host is not a name or an address")
    return head


class FramingKind(Enum):
    """How the end of a body is found."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until the connection ends"


@dataclass(frozen=True, slots=True)
class Framing:
    """How the end of a body is found. size_bytes: for LENGTH, else 0."""

    kind: FramingKind
    size_bytes: int = 0


NO_BODY = Framing(FramingKind.NONE)


def framing_of_request(head: Head) -> Framing:
    """Return how the end of a request's body is found. Raises BadHttp."""
    framing = _framing(head)
    return NO_BODY if framing.kind is FramingKind.UNTIL_CLOSE else framing


def framing_of_response(head: Head, method: str) -> Framing:
    """Return how the end of a response's body is found. method: of the request. Raises BadHttp."""
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return NO_BODY
    return _framing(head)


def _framing(head: Head) -> Framing:
    codings, lengths = head.list_values("transfer-encoding"), set(head.get_all("content-length"))
    if codings:
        if codings != ["chunked"] or lengths or "HTTP/1.0" in head.start_line:
            raise BadHttp(400, "Transfer-Encoding is chunked and nothing else, and without a Content-Length")
        return Framing(FramingKind.CHUNKED)
    if not lengths:
        return Framing(FramingKind.UNTIL_CLOSE)
    (length, *others) = lengths
    if others or not (length.isascii() and length.isdecimal()) or len(length) > 15:
        raise BadHttp(400, "Content-Length is one whole number")
    return Framing(FramingKind.LENGTH, int(length)) if int(length) else NO_BODY


@dataclass(frozen=True, slots=True)
class BodyPiece:
    """Some bytes of a body. raw: the exact bytes, with the lines of chunks. content: without those lines."""

    raw: bytes = field(repr=False)
    content: bytes = field(repr=False)


async def read_body(reader: HttpReader, framing: Framing) -> AsyncGenerator[BodyPiece, None]:
    """Yield the body as it arrives. Raises TruncatedMessage, BadHttp."""
    if framing.kind is FramingKind.LENGTH:
        left = framing.size_bytes
        while left:
            content = await reader.read(left)
            if not content:
                raise TruncatedMessage
            left -= len(content)
            yield BodyPiece(content, content)
    elif framing.kind is FramingKind.UNTIL_CLOSE:
        while content := await reader.read():
            yield BodyPiece(content, content)
    elif framing.kind is FramingKind.CHUNKED:
        chunks = ChunkedDecoder()
        while not chunks.ended:
            try:
                count, content = chunks.decode(bytes(reader.buffered))
            except BadChunkedBody as error:
                raise BadHttp(400, str(error)) from None
            if count:
                yield BodyPiece(reader.consume(count), content)
                if reader.buffered:  # else the next piece is awaited anyway
                    await asyncio.sleep(0)
            elif not await reader.fill():
                raise TruncatedMessage


def build_response(
    status: int,
    content: Mapping[str, Any] | list[Any] | str,
    *,
    extra_headers: Mapping[str, str] | None = None,
    close: bool = False,
    without_body: bool = False,
) -> bytes:
    """Return the bytes of a complete response: an object or a list as JSON, or a plain text.

    close: the connection ends after it. without_body: for the response to a HEAD request.
    """
    text = content if isinstance(content, str) else json.dumps(content)
    body = f"{text}\n".encode("utf-8", "replace")
    kind = "text/plain; charset=utf-8" if isinstance(content, str) else "application/json"
    fields = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        **(extra_headers or {}),
    }
    if close:
        fields["Connection"] = "close"
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if without_body else body)


async def send_last_response(
    reader: HttpReader, writer: asyncio.StreamWriter, content: bytes, linger_s: float = _LINGER_S
) -> None:
    """Send a last response to a client that may still be sending, and read on for a while.

    Closing at once would reset the connection, and the client would lose the response. linger_s: how long to read on.
    """
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        writer.write(content)
        if writer.can_write_eof():
            writer.write_eof()
        await asyncio.wait_for(_discard_input(reader), linger_s)


async def _discard_input(reader: HttpReader) -> None:
    while await reader.read():
        pass
