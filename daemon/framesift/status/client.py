"""Client: one connection to the status port, from its first byte to its last.

    WAITING ──> ANSWERING ──> SENDING ──> WAITING     a request that is permitted; the next one may follow
       └────────────────────────> SENDING ──> OVER    a refusal, and whatever else is the last answer

It belongs to the loop's thread. Who is WAITING or OVER is a stranger: it has shown no request that is permitted, and
costs us a socket for nothing; whether it may stay is up to its host.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import h11

from framesift.status.pages import StatusAnswer, StatusPages, path_of, text_answer

REQUEST_WITHIN_S = 10.0  # for a stranger's request, and for taking in an answer
IDLE_S = 5.0  # for the next request on the same connection
_ANSWER_WITHIN_S = 30.0
_LONGEST_HEAD_BYTES = 16 << 10


class ClientOwner(Protocol):
    """Who decides how many clients there are."""

    def set_verified(self, client: StatusClient) -> None:
        """It has shown a request that is permitted, and is answered."""

    def set_unverified(self, client: StatusClient) -> None:
        """It is answered; what comes next, nobody knows."""

    def render(self, client: StatusClient, path: str) -> None:
        """Makes an answer that takes time, and hands it to the client's `send`."""

    def remove(self, client: StatusClient, connection: socket.socket) -> None:
        """It is gone. The connection is still to be closed."""


class StatusClient:
    """since_s: when it came, or its last answer was sent. until_s: when it is to be cut, by the loop's time."""

    def __init__(
        self, connection: socket.socket, host: ClientOwner, pages: StatusPages, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._socket = connection
        self._host = host
        self._pages = pages
        self._loop = loop
        self._http = h11.Connection(h11.SERVER, _LONGEST_HEAD_BYTES)
        self._method = b""
        self._is_guest = False
        self._last = False  # this answer is the last
        self._over = False
        self._out = b""
        self.is_closed = False
        self.since_s = loop.time()
        self.deadline_s = self.since_s + REQUEST_WITHIN_S
        connection.setblocking(False)
        loop.add_reader(connection, self.read)

    def read(self) -> None:
        """Takes what has come, if anything has."""
        try:
            content = self._socket.recv(_LONGEST_HEAD_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not self._over:
            self._http.receive_data(content)
            self._go_on()
        elif not content:
            self.close()

    def send(self, answer: StatusAnswer) -> None:
        """Answers the request; nothing if the client has gone."""
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
        self._out = b"".join(self._http.send(part) or b"" for part in parts)
        self._loop.remove_reader(self._socket)
        self._write()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._host.remove(self, self._socket)

    def _go_on(self) -> None:
        """Answers the next request, if all of it is here."""
        if self.is_closed or self._over:
            return
        try:
            event = self._http.next_event()
            if isinstance(event, h11.Request):  # a body is neither wanted nor read, so nothing can follow it
                self._last = not isinstance(self._http.next_event(), h11.EndOfMessage)
        except h11.RemoteProtocolError:
            self._last = True
            self.send(text_answer("Invalid HTTP request received.", 400))
            return
        if isinstance(event, h11.Request):
            self._method = event.method
            refusal = self._pages.refusal(event.method, event.headers)
            if refusal is None:
                self._answer(path_of(event.target))
            else:
                self._last = True
                self.send(refusal)
        elif event is not h11.NEED_DATA and event is not h11.PAUSED:
            self.close()

    def _answer(self, path: str) -> None:
        self._is_guest = True
        self._host.set_verified(self)
        if self._pages.is_slow(path):
            self.deadline_s = self._loop.time() + _ANSWER_WITHIN_S
            self._loop.remove_reader(self._socket)
            self._host.render(self, path)
        else:
            self.deadline_s = self._loop.time() + REQUEST_WITHIN_S
            self.send(self._pages.answer(path))

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
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._loop.call_soon(self._go_on)  # it may be here already, but others have waited for longer
        else:
            # Closed at once, the connection would be reset by what was not read, and the answer might be lost with it.
            self._over = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        if self._is_guest:
            self._is_guest = False
            self.since_s = self._loop.time()
            self.deadline_s = self.since_s + IDLE_S
            self._host.set_unverified(self)
