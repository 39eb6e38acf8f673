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

from framesift.listeners.http1 import BadHttp, Head, Reader, farewell, head_ahead, read_head

MOST_CONNECTIONS = 256
HEAD_WITHIN_S = 10.0
# How long whoever is in the middle of something may say nothing, and leave what it is told untaken. A radio link that
# is lost comes back within that, or not at all.
SILENT_S = 60.0
# Whoever is slower is the first to go where there is no room.
LEAST_BYTES_PER_S = 1024
# What those who have only just come have for a start, so that they don't push each other out unheard.
_HEARD_WITHIN_S = 1.0
_LEAST_UNHEARD = MOST_CONNECTIONS // 2


class Places:
    """Each in the order in which they became what they are."""

    def __init__(self) -> None:
        self.unheard: dict[Connection, None] = {}
        self.idle: dict[Connection, None] = {}
        self.busy: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self.unheard) + len(self.idle) + len(self.busy)

    def all(self) -> list[Connection]:
        return [*self.unheard, *self.idle, *self.busy]

    def come(self, one: Connection, now_s: float) -> None:
        one.since_s = now_s
        self.unheard[one] = None

    def move(self, one: Connection, where: dict[Connection, None], now_s: float) -> None:
        if self.leave(one):  # else somebody else has its place already
            one.since_s = now_s
            where[one] = None

    def leave(self, one: Connection) -> bool:
        """Says whether it was there."""
        return any(where.pop(one, self) is None for where in (self.unheard, self.idle, self.busy))

    def dispensable(self, now_s: float) -> Connection | None:
        """Who is to go first; None where all have their places by right."""
        unheard, idle = next(iter(self.unheard), None), next(iter(self.idle), None)
        if unheard is not None and now_s - unheard.since_s > _HEARD_WITHIN_S:
            return unheard
        slow = next((one for one in self.busy if one.is_slow(now_s)), None)
        return slow or (unheard if idle is None or len(self.unheard) > _LEAST_UNHEARD else idle)


@dataclass(eq=False, slots=True)
class Connection:
    """One client. since_s: when it became what it is, in the loop's time. busy: it has asked for something and is not
    answered yet. stopping: this answer is the last."""

    reader: Reader
    writer: asyncio.StreamWriter
    places: Places = field(repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    since_s: float = 0.0
    busy: bool = False
    stopping: bool = False
    _asked: bool = False
    _arrived_before: int = 0

    async def next_head(self, idle_s: float, within_s: float = HEAD_WITHIN_S) -> Head | None:
        """What is asked next; None where nothing is within idle_s, or the client has ended. within_s: from its first
        byte to its last. Raises BadHttp, Cut."""
        reader, loop = self.reader, asyncio.get_running_loop()
        self.busy, reader.owes = False, True
        self._arrived_before = reader.arrived_bytes - len(reader.ahead)
        if self._asked:
            self.places.move(self, self.places.idle, loop.time())
        if reader.ahead:  # it doesn't wait for answers; others have their turn all the same
            await asyncio.sleep(0)
        else:
            try:
                if not await asyncio.wait_for(reader.more(), idle_s):
                    return None
            except asyncio.TimeoutError:
                return None
        try:
            head = head_ahead(reader) or await asyncio.wait_for(read_head(reader), within_s)
        except asyncio.TimeoutError:
            raise BadHttp(408, f"the head did not arrive within {within_s:g} s") from None
        if head is not None:
            self.busy = self._asked = True
            self.places.move(self, self.places.busy, loop.time())
        return head

    async def farewell(self, content: bytes) -> None:
        """Its last answer."""
        self.is_served()
        await farewell(self.reader, self.writer, content)

    def is_served(self) -> None:
        """It has all it can expect."""
        self.places.move(self, self.places.unheard, asyncio.get_running_loop().time())

    def is_slow(self, now_s: float) -> bool:
        """Whether its request comes too slowly."""
        arrived = self.reader.arrived_bytes - self._arrived_before
        return self.silent_s(now_s) is not None and arrived < LEAST_BYTES_PER_S * (now_s - self.since_s)

    def silent_s(self, now_s: float) -> float | None:
        """For how long its request's next byte has been waited for; None where nobody waits, or it need not come."""
        since_s = self.reader.waits_since_s
        return None if since_s is None or not self.reader.owes else now_s - since_s
