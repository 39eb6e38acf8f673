"""StatusClients: everyone who is connected to the status port, and how many may be.

An unverified client uses a socket, for 10 s at most. There is a maximum: one more replaces the oldest, so a client that
sends its request when it connects is served, whatever others do. A client that has sent a permitted request is
verified, and takes no place of the unverified ones. A slow page is rendered once for all who wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading

from framesift.status.answers import StatusAnswer, text_answer
from framesift.status.client import StatusClient
from framesift.status.pages import StatusPages, StatusRequest

MAX_UNVERIFIED = 256
# No client is closed before: it needs a moment between its connection and its request.
MIN_STAY_S = 0.05
_ACCEPTED_AT_ONCE = 128
_PAUSE_S = 0.1  # where no descriptor is free
_SWEEP_S = 0.5
_MAX_VERIFIED = 64  # one more replaces the oldest, which does not read its answer
# Rendering needs CPU time, which the streams need too: a flood of requests causes no more renderings than these.
_RENDERED_AT_ONCE = 8.0
_RENDERED_PER_SECOND = 4.0
# Many addresses, which may all wait for one disk. Who has the key may ask for more: pictures are many requests.
_FOR_BROWSERS_AT_ONCE = 4
_ACTING_AT_ONCE = 8
_MAX_LISTENING = 8  # one more replaces the oldest
_LIVE_EVERY_S = 2.0
_FINISH_WITHIN_S = 1.0


class StatusClients:
    """A `ClientOwner`. Used by the event loop's thread only."""

    def __init__(self, listening: socket.socket, pages: StatusPages, loop: asyncio.AbstractEventLoop) -> None:
        """listening: the bound socket."""
        self._listening = listening
        self._pages = pages
        self._loop = loop
        self._unverified: dict[StatusClient, None] = {}  # the oldest first
        self._verified: dict[StatusClient, None] = {}
        self._waiting: dict[StatusRequest, list[StatusClient]] = {}
        self._rendering: set[StatusRequest] = set()
        self._listening_clients: list[StatusClient] = []  # to what changes
        self._live_timer: asyncio.TimerHandle | None = None
        self._acting = 0  # how many actions are under way
        self._tokens = _RENDERED_AT_ONCE  # how many pages may be rendered now
        self._tokens_at_s = loop.time()
        self._render_timer: asyncio.TimerHandle | None = None
        # A descriptor for when there are no others, so that the container's health check still gets its answer.
        self._spare: int | None = None
        listening.setblocking(False)

    async def serve(self, end: asyncio.Event) -> None:
        """Serve until `end` is set; clients that still read an answer a second later are cut off."""
        self._loop.add_reader(self._listening, self._accept)
        while not end.is_set():
            self._sweep()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(end.wait(), _SWEEP_S)
        self._loop.remove_reader(self._listening)
        self._listening.close()
        until_s = self._loop.time() + _FINISH_WITHIN_S
        while self._verified and self._loop.time() < until_s:
            await asyncio.sleep(0.05)
        for client in [*self._unverified, *self._verified]:
            client.close()
        if self._spare is not None:
            os.close(self._spare)

    # -- called by clients

    def set_verified(self, client: StatusClient) -> None:
        """See ClientOwner."""
        self._unverified.pop(client, None)
        if len(self._verified) >= _MAX_VERIFIED:
            next(iter(self._verified)).close()
        self._verified[client] = None

    def set_unverified(self, client: StatusClient) -> None:
        """See ClientOwner."""
        self._verified.pop(client, None)
        self._unverified[client] = None

    def render(self, client: StatusClient, request: StatusRequest) -> None:
        """See ClientOwner."""
        waiting = [other for other in self._waiting.get(request, ()) if not other.is_closed]
        self._waiting[request] = [*waiting, client]
        self._render_next()

    def follow(self, client: StatusClient) -> None:
        """See ClientOwner."""
        self._listening_clients = [other for other in self._listening_clients if not other.is_closed]
        if len(self._listening_clients) >= _MAX_LISTENING:
            self._listening_clients.pop(0).close()
        self._listening_clients.append(client)
        client.start_live()
        if self._live_timer is None:
            self._send_live_next()

    def act(self, client: StatusClient, path: str, body: bytes, address: str) -> None:
        """See ClientOwner."""
        answer = text_answer("too much is asked for at once: try again in some seconds", 503, ("retry-after", "5"))
        if self._acting >= _ACTING_AT_ONCE:
            client.send(answer)
            return
        arguments = (client, path, body, address)
        thread = threading.Thread(target=self._run_action, args=arguments, name="status action", daemon=True)
        self._acting += 1
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            self._send_acted(client, answer)

    def remove(self, client: StatusClient, connection: socket.socket) -> None:
        """See ClientOwner."""
        self._unverified.pop(client, None)
        self._verified.pop(client, None)
        if self._spare is None and self._listening.fileno() >= 0:
            # The same descriptor number, before anything else can get it.
            descriptor = connection.detach()
            try:
                self._spare = os.dup2(self._listening.fileno(), descriptor, inheritable=False)
            except OSError:
                os.close(descriptor)
        else:
            connection.close()

    # -- accepting and closing

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._unverified) >= MAX_UNVERIFIED:
                too_young_s = self._close_oldest()
                if too_young_s > 0:
                    self._pause_accepting(too_young_s)
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
                elif not self._unverified or self._close_oldest() > 0:
                    self._pause_accepting(_PAUSE_S)
                    return
                continue
            client = StatusClient(connection, self, self._pages, self._loop)
            self._unverified[client] = None
            client.read()

    def _close_oldest(self) -> float:
        """Close the oldest unverified client; if it has just connected, return in how many seconds it may be closed."""
        oldest = next(iter(self._unverified))
        oldest.read()  # its request may have arrived just now: then it is not the oldest any more
        if oldest is not next(iter(self._unverified), None):
            return 0.0
        too_young_s = oldest.unverified_since_s + MIN_STAY_S - self._loop.time()
        if too_young_s <= 0:
            oldest.close()
        return max(0.0, too_young_s)

    def _pause_accepting(self, for_s: float) -> None:
        """New connections wait in the kernel for so long."""
        self._loop.remove_reader(self._listening)
        self._loop.call_later(for_s, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _sweep(self) -> None:
        now_s = self._loop.time()
        for client in [*self._unverified, *self._verified]:
            if client.deadline_s <= now_s:
                client.close()
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = os.dup(self._listening.fileno())

    # -- slow pages and actions

    def _render_next(self) -> None:
        """Start rendering every page that a client waits for and that is not being rendered."""
        for request in [request for request in self._waiting if request not in self._rendering]:
            if request.for_browser and sum(one.for_browser for one in self._rendering) >= _FOR_BROWSERS_AT_ONCE:
                continue
            now_s = self._loop.time()
            self._tokens = min(_RENDERED_AT_ONCE, self._tokens + (now_s - self._tokens_at_s) * _RENDERED_PER_SECOND)
            self._tokens_at_s = now_s
            if self._tokens < 1.0 and not request.has_key:
                if self._render_timer is None:
                    self._render_timer = self._loop.call_later(
                        (1.0 - self._tokens) / _RENDERED_PER_SECOND, self._render_later
                    )
                return
            self._tokens -= not request.has_key
            clients = self._waiting.pop(request)
            # Not from a pool: the interpreter waits for a pool's threads when it ends, even if a disk never answers.
            thread = threading.Thread(
                target=self._render_page, args=(request, clients), name="status page", daemon=True
            )
            self._rendering.add(request)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                self._send_rendered(request, clients, text_answer("Service Unavailable", 503))

    def _render_later(self) -> None:
        self._render_timer = None
        self._render_next()

    def _render_page(self, request: StatusRequest, clients: list[StatusClient]) -> None:
        answer = self._pages.answer(request)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._send_rendered, request, clients, answer)

    # -- those who listen to what changes

    def _send_live_next(self) -> None:
        """Render for all who listen, once; nothing is rendered where nobody does."""
        self._live_timer = None
        self._listening_clients = [client for client in self._listening_clients if not client.is_closed]
        if self._listening_clients:
            self._live_timer = self._loop.call_later(_LIVE_EVERY_S, self._send_live_next)
            thread = threading.Thread(target=self._render_live, name="status page", daemon=True)
            with contextlib.suppress(RuntimeError):  # the system has no more threads: at the next time, then
                thread.start()

    def _render_live(self) -> None:
        event = self._pages.live()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._send_live, event)

    def _send_live(self, event: bytes) -> None:
        for client in self._listening_clients:
            client.send_event(event)

    def _run_action(self, client: StatusClient, path: str, body: bytes, address: str) -> None:
        answer = self._pages.act(path, body, address)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._send_acted, client, answer)

    def _send_acted(self, client: StatusClient, answer: StatusAnswer) -> None:
        self._acting -= 1
        client.send(answer)

    def _send_rendered(self, request: StatusRequest, clients: list[StatusClient], answer: StatusAnswer) -> None:
        self._rendering.discard(request)
        for client in clients:
            client.send(answer)
        self._render_next()
