"""Relay: one request to a server and its answer back, each byte as it came and as soon as it came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from framesift.listeners.body_copies import Kept
from framesift.listeners.http1 import (
    BadHttp,
    Cut,
    Framing,
    Head,
    Kind,
    Piece,
    Reader,
    framing_of_answer,
    pieces,
    read_head,
)
from framesift.listeners.server import LACKS, NoDescriptor

_CONNECT_WITHIN_S = 10.0


@dataclass(eq=False, slots=True)
class Upstream:
    """A connection to the server. served: it has carried an answer already."""

    reader: Reader
    writer: asyncio.StreamWriter
    served: bool = False

    @property
    def usable(self) -> bool:
        return not self.reader.ended.is_set() and not self.writer.is_closing()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.close()


class NotReached(Exception):
    """Nobody took the connection; the text says why."""


async def connect(host: str, port: int) -> Upstream:
    """Raises NotReached, NoDescriptor."""
    loop = asyncio.get_running_loop()
    reader = Reader()
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await asyncio.wait_for(loop.create_connection(lambda: protocol, host, port), _CONNECT_WITHIN_S)
    except (OSError, asyncio.TimeoutError) as error:
        if isinstance(error, OSError) and error.errno in LACKS:
            raise NoDescriptor from None
        raise NotReached(getattr(error, "strerror", None) or "it does not answer") from None
    return Upstream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


@dataclass(eq=False, slots=True)
class Request:
    """A request under way. raw_head: as the server is to get it. rest: of its body, what was not read yet. held: what
    was, as it came; may be the copy itself. following: a piece that was read too, but found no room. copy: None where
    nothing is kept of it. continued: its client was told already to go on with its body. fed: it has been passed,
    or never; is_whole tells which. client_gone: it has ended its side, or broke off: nobody may be waiting any more.
    bad: what is wrong with its body. cleared: it has made the door forget models of its own."""

    head: Head
    raw_head: bytes = field(repr=False)
    framing: Framing
    rest: AsyncGenerator[Piece, None]
    copy: Kept | None
    held: Kept | None = None
    following: Piece | None = None
    continued: bool = False
    fed: asyncio.Event = field(default_factory=asyncio.Event)
    is_whole: bool = False
    client_gone: bool = False
    bad: BadHttp | None = None
    cleared: bool = False

    @property
    def may_come_again(self) -> bool:
        """Whether its body is kept, so far."""
        return self.copy is not None and self.copy.whole and self.framing.kind is not Kind.CHUNKED

    def again(self) -> Request | None:
        """The same from its beginning, where all of it is at hand."""
        if self.framing.kind is Kind.NONE and self.head.first[0] in ("GET", "HEAD"):
            held = None
        elif self.is_whole and self.copy is not None and self.may_come_again:
            held = self.copy
        else:
            return None
        # The copy is there already: what is fed again is not added to it.
        return Request(
            self.head, self.raw_head, self.framing, self.rest, self.copy, held=held, continued=self.continued
        )

    def let_go(self) -> None:
        """Of what is held beside the copy."""
        if self.held is not None and self.held is not self.copy:
            self.held.let_go()


async def relay(
    client: Reader, to_client: asyncio.StreamWriter, upstream: Upstream, request: Request, copy: Kept | None
) -> Head | None:
    """Returns the answer's head when all of the answer has been passed (`copy` then holds its body); None where the
    server ended, or said what is no HTTP, before it answered anything. Raises Cut where it ended in the middle, and
    OSError where the client is gone."""
    served_before = upstream.served
    client.owes = request.continued or "100-continue" not in request.head.words("expect")
    feeding = asyncio.create_task(_feed(client, upstream, request))
    try:
        while True:
            try:
                head = await read_head(upstream.reader, of_answer=True)
                framing = None if head is None else framing_of_answer(head, request.head.first[0])
            except (BadHttp, Cut):
                head = framing = None
            if head is None or framing is None:
                if served_before and request.may_come_again:
                    await request.fed.wait()
                return None
            upstream.served = True
            is_last = head.status >= 200 or head.status == 101
            if head.status != 100 or not request.continued:
                to_client.write(head.raw)
            if is_last or head.status == 100:
                client.owes = True
            if is_last:
                break
            await to_client.drain()
        if head.status == 101 or (request.head.first[0] == "CONNECT" and head.status < 300):
            await _cancelled(feeding)
            await _tunnel(client, to_client, upstream)
            return head
        async with contextlib.aclosing(pieces(upstream.reader, framing)) as body:
            async for piece in body:
                to_client.write(piece.raw)
                if copy is not None and not copy.add(piece.content):
                    copy.let_go()
                await to_client.drain()
        await to_client.drain()
        if framing.kind is not Kind.UNTIL_END and not (head.ends_connection or request.head.ends_connection):
            await request.fed.wait()  # a server may answer before it has read everything, and read on
        return head
    except BadHttp:
        raise Cut from None
    finally:
        await _cancelled(feeding)


async def _feed(client: Reader, upstream: Upstream, request: Request) -> None:
    writer = upstream.writer
    reads = True  # the server does
    try:
        writer.write(request.raw_head)
        reads = await _drained(writer)
        for block in () if request.held is None else request.held.blocks():
            if reads:
                writer.write(block)
                reads = await _drained(writer)
                await asyncio.sleep(0)
        request.let_go()
        if reads and request.following is not None:
            writer.write(request.following.raw)
        async for piece in request.rest:
            if request.copy is not None and not request.copy.add(piece.content):
                request.copy.let_go()
            if reads:
                writer.write(piece.raw)
                reads = await _drained(writer)
            if not reads and not request.may_come_again:
                return  # what the server answers says why
        request.is_whole = True
        request.fed.set()
        await client.ended.wait()
        request.client_gone = True
        # A client that has ended its side has gone, or waits for its answer: the server is told, and decides.
        if client.at_eof() and writer.can_write_eof():
            writer.write_eof()
    except (Cut, BadHttp) as error:
        request.bad = error if isinstance(error, BadHttp) else None
        request.client_gone = True
        writer.transport.abort()
    except OSError:
        pass
    finally:
        request.fed.set()


async def _drained(writer: asyncio.StreamWriter) -> bool:
    try:
        await writer.drain()
    except OSError:
        return False
    return True


async def _tunnel(client: Reader, to_client: asyncio.StreamWriter, upstream: Upstream) -> None:
    """Whatever it is that they speak now, until both have ended."""
    client.owes = False
    with contextlib.suppress(OSError):
        await asyncio.gather(_pump(client, upstream.writer), _pump(upstream.reader, to_client))


async def _pump(reader: Reader, writer: asyncio.StreamWriter) -> None:
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
