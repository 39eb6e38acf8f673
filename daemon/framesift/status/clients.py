"""Hall: everyone who is connected to the status port, and how many of them there may be.

A stranger costs a socket, for 10 s at most. There are so many at once and no more: one more takes the place of the
oldest, so whoever sends his request when he connects is served, whatever others do. Those who have shown a request that
is permitted are guests, and take no stranger's place. A page that takes time is made once for all who wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading

from framesift.status.client import StatusClient
from framesift.status.pages import StatusAnswer, StatusPages, text_answer

MAX_UNVERIFIED = 256
# Nobody is sent away before: a client needs a moment between its connection and its request.
MIN_STAY_S = 0.05
_ACCEPTED_AT_ONCE = 128
_REST_S = 0.1  # where no descriptor is free
_SWEEP_S = 0.5
_MOST_GUESTS = 64  # one more takes the place of the oldest, who doesn't take in what he asked for
# Pages cost the interpreter's time, which cameras need: a flood of questions is answered as often as a few would be.
_MADE_AT_ONCE = 8.0
_MADE_IN_A_SECOND = 4.0
_DISMISS_WITHIN_S = 1.0


class StatusClients:
    """For the loop's thread."""

    def __init__(self, listening: socket.socket, pages: StatusPages, loop: asyncio.AbstractEventLoop) -> None:
        self._listening = listening
        self._pages = pages
        self._loop = loop
        self._strangers: dict[StatusClient, None] = {}  # the oldest first
        self._guests: dict[StatusClient, None] = {}
        self._waiting: dict[str, list[StatusClient]] = {}
        self._making: set[str] = set()
        self._paced = _MADE_AT_ONCE  # how many pages may be made now
        self._paced_s = loop.time()
        self._later: asyncio.TimerHandle | None = None
        # A descriptor for when there are no others: the container's health check should hear that we live.
        self._spare: int | None = None
        listening.setblocking(False)

    async def serve(self, end: asyncio.Event) -> None:
        """Until the end; who still reads his answer a second after it is cut off."""
        self._loop.add_reader(self._listening, self._accept)
        while not end.is_set():
            self._sweep()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(end.wait(), _SWEEP_S)
        self._loop.remove_reader(self._listening)
        self._listening.close()
        until_s = self._loop.time() + _DISMISS_WITHIN_S
        while self._guests and self._loop.time() < until_s:
            await asyncio.sleep(0.05)
        for client in [*self._strangers, *self._guests]:
            client.close()
        if self._spare is not None:
            os.close(self._spare)

    # --- what clients tell ----------------------------------------------------------------------------------------

    def set_verified(self, client: StatusClient) -> None:
        self._strangers.pop(client, None)
        if len(self._guests) >= _MOST_GUESTS:
            next(iter(self._guests)).close()
        self._guests[client] = None

    def set_unverified(self, client: StatusClient) -> None:
        self._guests.pop(client, None)
        self._strangers[client] = None

    def render(self, client: StatusClient, path: str) -> None:
        waiting = [other for other in self._waiting.get(path, ()) if not other.is_closed]
        self._waiting[path] = [*waiting, client]
        self._make_next()

    def remove(self, client: StatusClient, connection: socket.socket) -> None:
        self._strangers.pop(client, None)
        self._guests.pop(client, None)
        if self._spare is None and self._listening.fileno() >= 0:
            # The descriptor itself, before anybody else can have it.
            descriptor = connection.detach()
            try:
                self._spare = os.dup2(self._listening.fileno(), descriptor, inheritable=False)
            except OSError:
                os.close(descriptor)
        else:
            connection.close()

    # --- coming and going -----------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._strangers) >= MAX_UNVERIFIED:
                young_s = self._send_away_oldest()
                if young_s > 0:
                    self._rest(young_s)
                    return
                continue
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is free, in this process or on the machine
                if self._spare is not None:
                    os.close(self._spare)
                    self._spare = None
                elif not self._strangers or self._send_away_oldest() > 0:
                    self._rest(_REST_S)
                    return
                continue
            client = StatusClient(connection, self, self._pages, self._loop)
            self._strangers[client] = None
            client.read()

    def _send_away_oldest(self) -> float:
        """In how many seconds it may be sent away, where it has only just come; else 0, and it is gone."""
        oldest = next(iter(self._strangers))
        oldest.read()  # its request may have come this instant: then it is the oldest no more
        if oldest is not next(iter(self._strangers), None):
            return 0.0
        young_s = oldest.since_s + MIN_STAY_S - self._loop.time()
        if young_s <= 0:
            oldest.close()
        return max(0.0, young_s)

    def _rest(self, for_s: float) -> None:
        """Who wants to come in waits with the kernel."""
        self._loop.remove_reader(self._listening)
        self._loop.call_later(for_s, self._listen_again)

    def _listen_again(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _sweep(self) -> None:
        now_s = self._loop.time()
        for client in [*self._strangers, *self._guests]:
            if client.deadline_s <= now_s:
                client.close()
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = os.dup(self._listening.fileno())

    # --- pages that take time -------------------------------------------------------------------------------------

    def _make_next(self) -> None:
        """Begins with every page that somebody waits for and nobody makes."""
        for path in [path for path in self._waiting if path not in self._making]:
            now_s = self._loop.time()
            self._paced = min(_MADE_AT_ONCE, self._paced + (now_s - self._paced_s) * _MADE_IN_A_SECOND)
            self._paced_s = now_s
            if self._paced < 1.0:
                if self._later is None:
                    self._later = self._loop.call_later((1.0 - self._paced) / _MADE_IN_A_SECOND, self._make_later)
                return
            self._paced -= 1.0
            clients = self._waiting.pop(path)
            # Not of a pool: threads of those are waited for at the process's end, even if a disk never answers.
            thread = threading.Thread(target=self._make, args=(path, clients), name="status page", daemon=True)
            self._making.add(path)
            try:
                thread.start()
            except RuntimeError:  # the system gives us no more of them
                self._made(path, clients, text_answer("Service Unavailable", 503))

    def _make_later(self) -> None:
        self._later = None
        self._make_next()

    def _make(self, path: str, clients: list[StatusClient]) -> None:
        answer = self._pages.answer(path)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._made, path, clients, answer)

    def _made(self, path: str, clients: list[StatusClient], answer: StatusAnswer) -> None:
        self._making.discard(path)
        for client in clients:
            client.send(answer)
        self._make_next()
