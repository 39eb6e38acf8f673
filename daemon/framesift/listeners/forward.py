"""Forwards one request to a server and its response back, each byte unchanged and as soon as it arrives."""

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
    """A connection to the server. has_responded: whether it has carried a response already."""

    reader: HttpReader
    writer: asyncio.StreamWriter
    has_responded: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether another request can be sent on it."""
        return not self.reader.ended.is_set() and not self.writer.is_closing()

    def close(self) -> None:
        """Close the connection without waiting."""
        with contextlib.suppress(OSError):
            self.writer.close()


class UpstreamUnreachable(Exception):
    """The server did not accept the connection; the text says why."""


async def connect_upstream(host: str, port: int) -> UpstreamConnection:
    """Connect to the server within 10 s. Raises UpstreamUnreachable, DescriptorsExhausted."""
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
    """A request that is being forwarded.

    raw_head: the exact bytes for the server. remaining_body: the pieces of the body that were not read yet. copy: the
    body for sampling, None if it is not copied. read_ahead: the exact bytes of the body that were read before
    forwarding began; may be the copy itself. pending_piece: a piece that was read too, but did not fit. continue_sent:
    the client has got "100 Continue". body_done: set when the body has been forwarded, or never will be; is_complete
    tells which. client_gone: the client has ended its side, so perhaps nobody waits. body_error: what is wrong with the
    body. cleared_stubs: the request has made the proxy forget its own models.
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
        """Whether all bytes of the body that were read so far are in the copy."""
        return self.copy is not None and self.copy.is_complete and self.framing.kind is not FramingKind.CHUNKED

    def repeated(self) -> ForwardedRequest | None:
        """Return the same request to be sent again from its beginning, None if its body is not available any more."""
        if self.framing.kind is FramingKind.NONE and self.head.start_line[0] in ("GET", "HEAD"):
            read_ahead = None
        elif self.is_complete and self.copy is not None and self.can_repeat:
            read_ahead = self.copy
        else:
            return None
        # The copy is complete already: what is sent again is not added to it.
        return ForwardedRequest(
            self.head,
            self.raw_head,
            self.framing,
            self.remaining_body,
            self.copy,
            read_ahead=read_ahead,
            continue_sent=self.continue_sent,
        )

    def release(self) -> None:
        """Free the memory of what was read ahead, if it is not the copy."""
        if self.read_ahead is not None and self.read_ahead is not self.copy:
            self.read_ahead.release()


async def forward(
    client: HttpReader,
    to_client: asyncio.StreamWriter,
    upstream: UpstreamConnection,
    request: ForwardedRequest,
    copy: BodyCopy | None,
) -> Head | None:
    """Forward a request and its response.

    Returns the response's head when all of the response has been forwarded; `copy` then holds its body. Returns None if
    the server ended, or sent something that is no HTTP, before any response. Raises TruncatedMessage if the server
    ended in the middle of the response, and OSError if the client is gone.
    """
    had_responded = upstream.has_responded
    client.data_expected = request.continue_sent or "100-continue" not in request.head.list_values("expect")
    sending = asyncio.create_task(_send(client, upstream, request))
    try:
        while True:
            try:
                head = await read_head(upstream.reader, is_response=True)
                framing = None if head is None else framing_of_response(head, request.head.start_line[0])
            except (BadHttp, TruncatedMessage):
                head = framing = None
            if head is None or framing is None:
                if had_responded and request.can_repeat:
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
            await _cancel(sending)
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
            await request.body_done.wait()  # a server may respond before it has read everything, and read on
        return head
    except BadHttp:
        raise TruncatedMessage from None
    finally:
        await _cancel(sending)


async def _send(client: HttpReader, upstream: UpstreamConnection, request: ForwardedRequest) -> None:
    writer = upstream.writer
    server_reads = True
    try:
        writer.write(request.raw_head)
        server_reads = await _drained(writer)
        for block in () if request.read_ahead is None else request.read_ahead.blocks():
            if server_reads:
                writer.write(block)
                server_reads = await _drained(writer)
                await asyncio.sleep(0)
        request.release()
        if server_reads and request.pending_piece is not None:
            writer.write(request.pending_piece.raw)
        async for piece in request.remaining_body:
            if request.copy is not None and not request.copy.add(piece.content):
                request.copy.release()
            if server_reads:
                writer.write(piece.raw)
                server_reads = await _drained(writer)
            if not server_reads and not request.can_repeat:
                return  # the server's response says why
        request.is_complete = True
        request.body_done.set()
        await client.ended.wait()
        request.client_gone = True
        # A client that has ended its side has gone, or still waits for its response: the server decides which.
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
    """Forward bytes of any protocol in both directions until both sides have ended."""
    client.data_expected = False
    with contextlib.suppress(OSError):
        await asyncio.gather(_pump(client, upstream.writer), _pump(upstream.reader, to_client))


async def _pump(reader: HttpReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read():
        writer.write(content)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    try:
        await asyncio.wait([task])
    finally:  # even if this task is cancelled meanwhile: the other one reads from the same client
        if not task.done():
            await asyncio.wait([task])
