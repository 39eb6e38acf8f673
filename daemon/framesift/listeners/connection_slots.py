"""Places: who is connected to a door, and who goes when somebody comes for whom there is no room.

    come -> unheard -> busy <-> idle
               ^        |
               +--------+ after its last answer

Places are few, and strangers are many. Whoever has asked nothing for a while, or has had its last answer, goes first;
then who sends its request too slowly; then whoever has asked nothing at all, where they are many, and else who has been
idle for longest. Whoever waits for an answer stays.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from framesift.listeners.http1 import BadHttp, Head, HttpReader, parse_buffered_head, read_head, send_last_response

MAX_CONNECTIONS = 256
HEAD_WITHIN_S = 10.0
# How long whoever is in the middle of something may say nothing, and leave what it is told untaken. A radio link that
# is lost comes back within that, or not at all.
IDLE_TIMEOUT_S = 60.0
# Whoever is slower is the first to go where there is no room.
MIN_BYTES_PER_S = 1024
# What those who have only just come have for a start, so that they don't push each other out unheard.
_HEARD_WITHIN_S = 1.0
_LEAST_UNHEARD = MAX_CONNECTIONS // 2


class ConnectionSlots:
    """Each in the order in which they became what they are."""

    def __init__(self) -> None:
        self.without_request: dict[ClientConnection, None] = {}
        self.idle: dict[ClientConnection, None] = {}
        self.busy: dict[ClientConnection, None] = {}

    def __len__(self) -> int:
        return len(self.without_request) + len(self.idle) + len(self.busy)

    def all(self) -> list[ClientConnection]:
        return [*self.without_request, *self.idle, *self.busy]

    def add(self, one: ClientConnection, now_s: float) -> None:
        one.since_s = now_s
        self.without_request[one] = None

    def move(self, one: ClientConnection, where: dict[ClientConnection, None], now_s: float) -> None:
        if self.remove(one):  # else somebody else has its place already
            one.since_s = now_s
            where[one] = None

    def remove(self, one: ClientConnection) -> bool:
        """Says whether it was there."""
        return any(where.pop(one, self) is None for where in (self.without_request, self.idle, self.busy))

    def next_to_close(self, now_s: float) -> ClientConnection | None:
        """Who is to go first; None where all have their places by right."""
        unheard, idle = next(iter(self.without_request), None), next(iter(self.idle), None)
        if unheard is not None and now_s - unheard.since_s > _HEARD_WITHIN_S:
            return unheard
        slow = next((one for one in self.busy if one.is_slow(now_s)), None)
        return slow or (unheard if idle is None or len(self.without_request) > _LEAST_UNHEARD else idle)


@dataclass(eq=False, slots=True)
class ClientConnection:
    """One client. since_s: when it became what it is, in the loop's time. busy: it has asked for something and is not
    answered yet. stopping: this answer is the last.
    """

    reader: HttpReader
    writer: asyncio.StreamWriter
    slots: ConnectionSlots = field(repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    since_s: float = 0.0
    busy: bool = False
    stopping: bool = False
    _asked: bool = False
    _arrived_before: int = 0

    async def next_head(self, idle_s: float, within_s: float = HEAD_WITHIN_S) -> Head | None:
        """What is asked next; None where nothing is within idle_s, or the client has ended. within_s: from its first
        byte to its last. Raises BadHttp, Cut.
        """
        reader, loop = self.reader, asyncio.get_running_loop()
        self.busy, reader.data_expected = False, True
        self._arrived_before = reader.received_bytes - len(reader.buffered)
        if self._asked:
            self.slots.move(self, self.slots.idle, loop.time())
        if reader.buffered:  # it doesn't wait for answers; others have their turn all the same
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
            self.busy = self._asked = True
            self.slots.move(self, self.slots.busy, loop.time())
        return head

    async def send_last_response(self, content: bytes) -> None:
        """Its last answer."""
        self.mark_served()
        await send_last_response(self.reader, self.writer, content)

    def mark_served(self) -> None:
        """It has all it can expect."""
        self.slots.move(self, self.slots.without_request, asyncio.get_running_loop().time())

    def is_slow(self, now_s: float) -> bool:
        """Whether its request comes too slowly."""
        arrived = self.reader.received_bytes - self._arrived_before
        return self.idle_s(now_s) is not None and arrived < MIN_BYTES_PER_S * (now_s - self.since_s)

    def idle_s(self, now_s: float) -> float | None:
        """For how long its request's next byte has been waited for; None where nobody waits, or it need not come."""
        since_s = self.reader.waiting_since_s
        return None if since_s is None or not self.reader.data_expected else now_s - since_s
