"""StatusClient: one connection to the status port, from its first byte to its last.

    WAITING ──> ANSWERING ──> SENDING ──> WAITING     a permitted request; the next one may follow
       └────────────────────────> SENDING ──> OVER    a refusal, and every other last answer

The body of a POST is read while WAITING, and only if its head is permitted.

It belongs to the event loop's thread. While WAITING or OVER a client is unverified: it has no permitted request, and
uses a socket for nothing. Whether it may stay is decided by its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import h11

from framesift.status.actions import MAX_BODY_BYTES
from framesift.status.answers import StatusAnswer, text_answer
from framesift.status.pages import StatusPages, StatusRequest, body_too_large, path_of

REQUEST_WITHIN_S = 10.0  # for the first request, and for reading an answer
IDLE_S = 5.0  # for the next request on the same connection
_ANSWER_WITHIN_S = 30.0
_MAX_HEAD_BYTES = 16 << 10


class ClientOwner(Protocol):
    """Limits the number of clients."""

    def set_verified(self, client: StatusClient) -> None:
        """The client has sent a permitted request, which is being answered."""

    def set_unverified(self, client: StatusClient) -> None:
        """The client's answer is sent; nobody knows whether another request follows."""

    def render(self, client: StatusClient, request: StatusRequest) -> None:
        """Create an answer that takes time, and give it to the client's `send`."""

    def follow(self, client: StatusClient) -> None:
        """Send the client what changes, for as long as it listens."""

    def act(self, client: StatusClient, path: str, body: bytes, address: str) -> None:
        """Do what a permitted POST asks for, and give its answer to the client's `send`. address: the client's."""

    def remove(self, client: StatusClient, connection: socket.socket) -> None:
        """The client is gone. Its connection is still open, for the owner to close."""


class StatusClient:
    """One connection. Its methods are called by the event loop's thread only.

    unverified_since_s: when it connected, or when its last answer was sent. deadline_s: when it is to be closed. Both
    by the loop's clock.
    """

    def __init__(
        self, connection: socket.socket, owner: ClientOwner, pages: StatusPages, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._socket = connection
        self._owner = owner
        self._pages = pages
        self._loop = loop
        self._http = h11.Connection(h11.SERVER, _MAX_HEAD_BYTES)
        self._method, self._path = b"", ""
        self._is_live = False
        self._body: bytearray | None = None  # of a permitted POST, while it arrives
        self._is_verified = False
        self._last = False  # whether this answer is the last
        self._over = False
        self._out = b""
        self.is_closed = False
        self.unverified_since_s = loop.time()
        self.deadline_s = self.unverified_since_s + REQUEST_WITHIN_S
        connection.setblocking(False)
        loop.add_reader(connection, self.read)

    def read(self) -> None:
        """Read what has arrived, if anything has."""
        try:
            content = self._socket.recv(_MAX_HEAD_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not self._over:
            self._http.receive_data(content)
            self._continue()
        elif not content:
            self.close()

    def start_live(self) -> None:
        """Answer with a head, behind which events follow; does nothing if the client is gone."""
        if not self.is_closed:
            self._is_live = self._over = True
            fields = [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("connection", "close")]
            self._send_parts(h11.Response(status_code=200, headers=fields, reason=b"OK"))

    def send_event(self, event: bytes) -> None:
        """Send an event to a client that listens; leaves it out where the client has not read the last one."""
        if not self.is_closed and not self._out:
            self.deadline_s = self._loop.time() + _ANSWER_WITHIN_S
            self._send_parts(h11.Data(data=event))

    def send(self, answer: StatusAnswer) -> None:
        """Answer the request; does nothing if the client is gone."""
        if self.is_closed:
            return
        fields = [*answer.fields, ("content-length", str(len(answer.body))), ("date", formatdate(usegmt=True))]
        if self._last:
            fields.append(("connection", "close"))
        body = b"" if self._method == b"HEAD" else answer.body
        parts = (
            h11.Response(status_code=answer.status, headers=fields, reason=HTTPStatus(answer.status).phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        self._send_parts(*parts)

    def _send_parts(self, *parts: h11.Event) -> None:
        self._out = b"".join(self._http.send(part) or b"" for part in parts)
        self._loop.remove_reader(self._socket)
        self._write()

    def close(self) -> None:
        """Close the connection. Harmless the second time."""
        if not self.is_closed:
            self.is_closed = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._owner.remove(self, self._socket)

    def _continue(self) -> None:
        """Answer the next request, if all of it has arrived."""
        if self.is_closed or self._over:
            return
        try:
            if self._body is None:
                self._read_head()
            else:
                self._read_body(self._body)
        except h11.RemoteProtocolError:
            self._last = True
            self.send(text_answer("Invalid HTTP request received.", 400))

    def _read_head(self) -> None:
        event = self._http.next_event()
        if isinstance(event, h11.Request):
            self._method, self._path = event.method, path_of(event.target)
            refusal = self._pages.refusal(self._method, event.target, event.headers)
            if refusal is None and self._method == b"POST":
                if self._http.they_are_waiting_for_100_continue:
                    with contextlib.suppress(OSError):  # then nobody sends the body, and nobody is answered
                        go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                        self._socket.send(self._http.send(go_on) or b"")
                self._body = bytearray()
                self._read_body(self._body)
                return
            # Any other body is not read, so no request can follow it.
            self._last = not isinstance(self._http.next_event(), h11.EndOfMessage)
            if refusal is None:
                self._answer(self._pages.request(event.target, event.headers))
            else:
                self._last = True
                self.send(refusal)
        elif event is not h11.NEED_DATA and event is not h11.PAUSED:
            self.close()

    def _read_body(self, body: bytearray) -> None:
        while isinstance(event := self._http.next_event(), h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                self._body, self._last = None, True
                self.send(body_too_large())
                return
        if isinstance(event, h11.EndOfMessage):
            self._body = None
            self._set_answering()
            self._owner.act(self, self._path, bytes(body), self._address())

    def _address(self) -> str:
        try:
            return str(self._socket.getpeername()[0])
        except OSError:  # it is gone
            return ""

    def _set_answering(self) -> None:
        """The request is permitted, and its answer may take time."""
        self._is_verified = True
        self._owner.set_verified(self)
        self.deadline_s = self._loop.time() + _ANSWER_WITHIN_S
        self._loop.remove_reader(self._socket)

    def _answer(self, request: StatusRequest) -> None:
        if self._pages.is_live(request.path):
            self._set_answering()
            self._owner.follow(self)
        elif self._pages.is_slow(request.path):
            self._set_answering()
            self._owner.render(self, request)
        else:
            self._is_verified = True
            self._owner.set_verified(self)
            self.deadline_s = self._loop.time() + REQUEST_WITHIN_S
            self.send(self._pages.answer(request))

    def _write(self) -> None:
        try:
            self._out = self._out[self._socket.send(self._out) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        if self._out:
            self._loop.add_writer(self._socket, self._write)
            return
        self._loop.remove_writer(self._socket)
        self._loop.add_reader(self._socket, self.read)
        if self._is_live:
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._loop.call_soon(
                self._continue
            )  # it may have arrived already, but other clients have waited for longer
        else:
            # If it were closed at once, unread bytes would reset the connection, and the answer might be lost.
            self._over = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        if self._is_verified:
            self._is_verified = False
            self.unverified_since_s = self._loop.time()
            self.deadline_s = self.unverified_since_s + IDLE_S
            self._owner.set_unverified(self)
