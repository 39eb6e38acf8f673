"""Limits the number of connections to a listener, and decides which one is closed to make room for a new one.

    add -> without_request -> busy <-> idle
                  ^            |
                  +------------+ after its last response

Slots are few, and anybody may connect. A connection that has sent no request for a while, or has got its last response,
is closed first; then one whose request arrives too slowly; then one that has sent no request at all if there are many
of them, else the one that has been idle for longest. A client that waits for its response keeps its slot.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from framesift.listeners.http1 import BadHttp, Head, HttpReader, parse_buffered_head, read_head, send_last_response

MAX_CONNECTIONS = 256
HEAD_WITHIN_S = 10.0
# How long a client in the middle of a request or response may make no progress. A lost radio link comes back within
# that time, or not at all.
IDLE_TIMEOUT_S = 60.0
# A slower client is closed if there is no room.
MIN_BYTES_PER_S = 1024
# A new connection is safe for so long, so that it can send its request before others push it out.
_NEW_FOR_S = 1.0
_MIN_WITHOUT_REQUEST = MAX_CONNECTIONS // 2


class ConnectionSlots:
    """The connections of a listener by state, each state in the order in which they got there. For one event loop."""

    def __init__(self) -> None:
        self.without_request: dict[ClientConnection, None] = {}
        self.idle: dict[ClientConnection, None] = {}
        self.busy: dict[ClientConnection, None] = {}

    def __len__(self) -> int:
        return len(self.without_request) + len(self.idle) + len(self.busy)

    def all(self) -> list[ClientConnection]:
        """Return all connections."""
        return [*self.without_request, *self.idle, *self.busy]

    def add(self, one: ClientConnection, now_s: float) -> None:
        """Take in a new connection. now_s: time of the event loop."""
        one.since_s = now_s
        self.without_request[one] = None

    def move(self, one: ClientConnection, state: dict[ClientConnection, None], now_s: float) -> None:
        """Put a connection into another state; a connection that lost its slot is ignored."""
        if self.remove(one):
            one.since_s = now_s
            state[one] = None

    def remove(self, one: ClientConnection) -> bool:
        """Free the slot of a connection. Return whether it had one."""
        return any(state.pop(one, self) is None for state in (self.without_request, self.idle, self.busy))

    def next_to_close(self, now_s: float) -> ClientConnection | None:
        """Return the connection to close for a new one, None if all of them have a right to stay."""
        without_request, idle = next(iter(self.without_request), None), next(iter(self.idle), None)
        if without_request is not None and now_s - without_request.since_s > _NEW_FOR_S:
            return without_request
        slow = next((one for one in self.busy if one.is_slow(now_s)), None)
        has_many_new = idle is None or len(self.without_request) > _MIN_WITHOUT_REQUEST
        return slow or (without_request if has_many_new else idle)


@dataclass(eq=False, slots=True)
class ClientConnection:
    """The connection of one client.

    since_s: when it got into its state, in the event loop's time. busy: a request was read and is not answered yet.
    stopping: the listener stops, so this response is the last.
    """

    reader: HttpReader
    writer: asyncio.StreamWriter
    slots: ConnectionSlots = field(repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    since_s: float = 0.0
    busy: bool = False
    stopping: bool = False
    _has_sent_request: bool = False
    _bytes_before_request: int = 0

    async def next_head(self, idle_s: float, within_s: float = HEAD_WITHIN_S) -> Head | None:
        """Return the head of the next request, None if none begins within idle_s or the client has ended.

        within_s: the time from the head's first byte to its last. Raises BadHttp, TruncatedMessage.
        """
        reader, loop = self.reader, asyncio.get_running_loop()
        self.busy, reader.data_expected = False, True
        self._bytes_before_request = reader.received_bytes - len(reader.buffered)
        if self._has_sent_request:
            self.slots.move(self, self.slots.idle, loop.time())
        if (
            reader.buffered
        ):  # the client sends requests without waiting for responses; others get their turn all the same
            await asyncio.sleep(0)
        else:
            try:
                if not await asyncio.wait_for(reader.fill(), idle_s):
                    return None
            except asyncio.TimeoutError:
                return None
        try:
            head = parse_buffered_head(reader) or await asyncio.wait_for(read_head(reader), within_s)
        except asyncio.TimeoutError:
            raise BadHttp(408, f"the head did not arrive within {within_s:g} s") from None
        if head is not None:
            self.busy = self._has_sent_request = True
            self.slots.move(self, self.slots.busy, loop.time())
        return head

    async def send_last_response(self, content: bytes) -> None:
        """Send a response after which the connection is closed."""
        self.mark_served()
        await send_last_response(self.reader, self.writer, content)

    def mark_served(self) -> None:
        """Note that the client has got its last response, so that the connection is among the first to be closed."""
        self.slots.move(self, self.slots.without_request, asyncio.get_running_loop().time())

    def is_slow(self, now_s: float) -> bool:
        """Return whether the request arrives with less than MIN_BYTES_PER_S."""
        received = self.reader.received_bytes - self._bytes_before_request
        return self.idle_s(now_s) is not None and received < MIN_BYTES_PER_S * (now_s - self.since_s)

    def idle_s(self, now_s: float) -> float | None:
        """Return for how long the next byte of the request is overdue; None if no byte is being waited for."""
        since_s = self.reader.waiting_since_s
        return None if since_s is None or not self.reader.data_expected else now_s - since_s
