"""Relay: one request to a server and its answer back, each byte as it came and as soon as it came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from framesift.listeners.body_copies import BodyCopy
from framesift.listeners.http1 import (
    BadHttp,
    BodyPiece,
    Framing,
    FramingKind,
    Head,
    HttpReader,
    TruncatedMessage,
    framing_of_response,
    read_body,
    read_head,
)
from framesift.listeners.server import OUT_OF_RESOURCES, DescriptorsExhausted

_CONNECT_WITHIN_S = 10.0


@dataclass(eq=False, slots=True)
class UpstreamConnection:
    """A connection to the server. served: it has carried an answer already."""

    reader: HttpReader
    writer: asyncio.StreamWriter
    has_responded: bool = False

    @property
    def is_usable(self) -> bool:
        return not self.reader.ended.is_set() and not self.writer.is_closing()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.close()


class UpstreamUnreachable(Exception):
    """Nobody took the connection; the text says why."""


async def connect_upstream(host: str, port: int) -> UpstreamConnection:
    """Raises UpstreamUnreachable, NoDescriptor."""
    loop = asyncio.get_running_loop()
    reader = HttpReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await asyncio.wait_for(loop.create_connection(lambda: protocol, host, port), _CONNECT_WITHIN_S)
    except (OSError, asyncio.TimeoutError) as error:
        if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
            raise DescriptorsExhausted from None
        raise UpstreamUnreachable(getattr(error, "strerror", None) or "it does not answer") from None
    return UpstreamConnection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


@dataclass(eq=False, slots=True)
class ForwardedRequest:
    """A request under way. raw_head: as the server is to get it. rest: of its body, what was not read yet. held: what
    was, as it came; may be the copy itself. following: a piece that was read too, but found no room. copy: None where
    nothing is kept of it. continued: its client was told already to go on with its body. fed: it has been passed,
    or never; is_whole tells which. client_gone: it has ended its side, or broke off: nobody may be waiting any more.
    bad: what is wrong with its body. cleared: it has made the door forget models of its own.
    """

    head: Head
    raw_head: bytes = field(repr=False)
    framing: Framing
    remaining_body: AsyncGenerator[BodyPiece, None]
    copy: BodyCopy | None
    read_ahead: BodyCopy | None = None
    pending_piece: BodyPiece | None = None
    continue_sent: bool = False
    body_done: asyncio.Event = field(default_factory=asyncio.Event)
    is_complete: bool = False
    client_gone: bool = False
    body_error: BadHttp | None = None
    cleared_stubs: bool = False

    @property
    def can_repeat(self) -> bool:
        """Whether its body is kept, so far."""
        return self.copy is not None and self.copy.is_complete and self.framing.kind is not FramingKind.CHUNKED

    def repeated(self) -> ForwardedRequest | None:
        """The same from its beginning, where all of it is at hand."""
        if self.framing.kind is FramingKind.NONE and self.head.start_line[0] in ("GET", "HEAD"):
            held = None
        elif self.is_complete and self.copy is not None and self.can_repeat:
            held = self.copy
        else:
            return None
        # The copy is there already: what is fed again is not added to it.
        return ForwardedRequest(
            self.head,
            self.raw_head,
            self.framing,
            self.remaining_body,
            self.copy,
            read_ahead=held,
            continue_sent=self.continue_sent,
        )

    def release(self) -> None:
        """Of what is held beside the copy."""
        if self.read_ahead is not None and self.read_ahead is not self.copy:
            self.read_ahead.release()


async def forward(
    client: HttpReader,
    to_client: asyncio.StreamWriter,
    upstream: UpstreamConnection,
    request: ForwardedRequest,
    copy: BodyCopy | None,
) -> Head | None:
    """Returns the answer's head when all of the answer has been passed (`copy` then holds its body); None where the
    server ended, or said what is no HTTP, before it answered anything. Raises Cut where it ended in the middle, and
    OSError where the client is gone.
    """
    served_before = upstream.has_responded
    client.data_expected = request.continue_sent or "100-continue" not in request.head.list_values("expect")
    feeding = asyncio.create_task(_feed(client, upstream, request))
    try:
        while True:
            try:
                head = await read_head(upstream.reader, is_response=True)
                framing = None if head is None else framing_of_response(head, request.head.start_line[0])
            except (BadHttp, TruncatedMessage):
                head = framing = None
            if head is None or framing is None:
                if served_before and request.can_repeat:
                    await request.body_done.wait()
                return None
            upstream.has_responded = True
            is_last = head.status >= 200 or head.status == 101
            if head.status != 100 or not request.continue_sent:
                to_client.write(head.raw)
            if is_last or head.status == 100:
                client.data_expected = True
            if is_last:
                break
            await to_client.drain()
        if head.status == 101 or (request.head.start_line[0] == "CONNECT" and head.status < 300):
            await _cancelled(feeding)
            await _tunnel(client, to_client, upstream)
            return head
        async with contextlib.aclosing(read_body(upstream.reader, framing)) as body:
            async for piece in body:
                to_client.write(piece.raw)
                if copy is not None and not copy.add(piece.content):
                    copy.release()
                await to_client.drain()
        await to_client.drain()
        if framing.kind is not FramingKind.UNTIL_CLOSE and not (
            head.closes_connection or request.head.closes_connection
        ):
            await request.body_done.wait()  # a server may answer before it has read everything, and read on
        return head
    except BadHttp:
        raise TruncatedMessage from None
    finally:
        await _cancelled(feeding)


async def _feed(client: HttpReader, upstream: UpstreamConnection, request: ForwardedRequest) -> None:
    writer = upstream.writer
    reads = True  # the server does
    try:
        writer.write(request.raw_head)
        reads = await _drained(writer)
        for block in () if request.read_ahead is None else request.read_ahead.blocks():
            if reads:
                writer.write(block)
                reads = await _drained(writer)
                await asyncio.sleep(0)
        request.release()
        if reads and request.pending_piece is not None:
            writer.write(request.pending_piece.raw)
        async for piece in request.remaining_body:
            if request.copy is not None and not request.copy.add(piece.content):
                request.copy.release()
            if reads:
                writer.write(piece.raw)
                reads = await _drained(writer)
            if not reads and not request.can_repeat:
                return  # what the server answers says why
        request.is_complete = True
        request.body_done.set()
        await client.ended.wait()
        request.client_gone = True
        # A client that has ended its side has gone, or waits for its answer: the server is told, and decides.
        if client.at_eof() and writer.can_write_eof():
            writer.write_eof()
    except (TruncatedMessage, BadHttp) as error:
        request.body_error = error if isinstance(error, BadHttp) else None
        request.client_gone = True
        writer.transport.abort()
    except OSError:
        pass
    finally:
        request.body_done.set()


async def _drained(writer: asyncio.StreamWriter) -> bool:
    try:
        await writer.drain()
    except OSError:
        return False
    return True


async def _tunnel(client: HttpReader, to_client: asyncio.StreamWriter, upstream: UpstreamConnection) -> None:
    """Whatever it is that they speak now, until both have ended."""
    client.data_expected = False
    with contextlib.suppress(OSError):
        await asyncio.gather(_pump(client, upstream.writer), _pump(upstream.reader, to_client))


async def _pump(reader: HttpReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read():
        writer.write(content)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    try:
        await asyncio.wait([task])
    finally:  # whoever is cancelled meanwhile must not leave it behind either: it reads from the same client
        if not task.done():
            await asyncio.wait([task])
