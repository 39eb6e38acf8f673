"""The pass-through: stands before an inference server, and lets everything pass as it came.

What is promised:
1. What clients send reaches the server byte for byte, and its answers reach them so, as they arrive: heads with the
   order and spelling of their fields (Host too), bodies with their chunks. Taken out is the door's own token.
2. One connection of a client is at most one connection to the server; requests on it pass one after the other. There is
   no deadline for an answer here: clients and the server have theirs.
3. Copies of inferences and their answers are sampled afterwards. Whatever happens there, traffic passes.
4. Of its own the door answers: the version 0 of any project, which is no model, and what clients ask of the server's
   models for its sake; 502 where the server can't be reached, or ends without an answer; 400 and 431 to what is no
   HTTP; 401 where the token is wrong; 408 to whoever stops in the middle; 503 where too many are at work, or no file
   can be opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from hmac import compare_digest
from typing import Any

from framesift.clock.clock import Clock, Loop
from framesift.clock.moment import Moment
from framesift.listeners.allowed_hosts import is_local, is_of_foreign_page
from framesift.listeners.background_sampling import Afterwards, Exchange
from framesift.listeners.body_copies import Budget, Kept
from framesift.listeners.connection_slots import Connection
from framesift.listeners.forward import NotReached, Request, Upstream, connect, relay
from framesift.listeners.http1 import (
    BadHttp,
    Cut,
    Head,
    Kind,
    answer,
    framing_of_answer,
    framing_of_request,
    pieces,
)
from framesift.listeners.inference_requests import Call, call_of, stub_of
from framesift.listeners.listener_settings import DoorOptions
from framesift.listeners.model_registry import MOST_ASKED_BYTES, About, Registry, about_of, stub_named
from framesift.listeners.request_outcomes import Outcome
from framesift.listeners.server import Listening, NoDescriptor
from framesift.listeners.stream_intakes import Models, Seats
from framesift.policy import Pairing
from framesift.prediction.prediction import Task
from framesift.sampling.intake import Intake
from framesift.telemetry import Condition, Telemetry

IDLE_S = 300.0  # how long a client may keep a connection without asking
# A thread that samples lets the one that passes have its turn after so long, instead of Python's 5 ms.
TURN_S = 0.0005
# Who calls a version 0 waits so long to be told what the project is for.
_TASK_WITHIN_S = 2.0
_MOST_ASKING = 8
_KEPT_FOR_SAMPLING_S = 1.0  # of the time that stopping may take
_TOKEN = "x-framesift-token"
_TOKEN_LINE = re.compile(rb"^x-framesift-token[ \t]*:[^\r\n]*\r\n", re.IGNORECASE | re.MULTILINE)


class PassThrough:
    """models: who knows of the policies of clients' models; None: all is the stream's. most_waiting: exchanges that may
    wait to be sampled."""

    def __init__(
        self,
        options: DoorOptions,
        *,
        intake_of: Callable[[str], Intake],
        clock: Clock,
        telemetry: Telemetry,
        failed: Callable[[BaseException], None],
        models: Models | None = None,
        most_waiting: int = 32,
    ) -> None:
        self._options = options
        self._models = models
        self._registry = Registry(options)
        self._asking = 0  # threads that ask what a project is for
        self._clock = clock
        self._telemetry = telemetry
        self._name = f"door {options.listen}"
        self._token = None if options.token is None else options.token.get_secret_value()
        self._budget = Budget()
        self._afterwards = Afterwards(
            options.stream,
            f"{self._name} sampling",
            Seats(self._intake_of(intake_of), clock, telemetry),
            models,
            clock=clock,
            telemetry=telemetry,
            failed=failed,
            most_waiting=most_waiting,
        )
        self._listening = Listening(
            options.host, options.port, self._serve, clock=clock, puzzled=self._puzzled, broke=failed
        )

    @property
    def port(self) -> int:
        return self._listening.port

    def start(self) -> None:
        """Shortens the turns of all threads of the process."""
        sys.setswitchinterval(min(TURN_S, sys.getswitchinterval()))
        self._listening.start()
        self._afterwards.start()

    def stop(self, within_s: float) -> None:
        kept_s = min(_KEPT_FOR_SAMPLING_S, within_s / 2)
        self._listening.stop(within_s - kept_s)
        self._afterwards.stop(kept_s)

    @property
    def loops(self) -> tuple[Loop, ...]:
        return (self._listening.loop(), self._afterwards.loop)

    def _intake_of(self, of_stream: Callable[[str], Intake]) -> Callable[[str, Pairing | None], Intake]:
        def intake_of(stream: str, pairing: Pairing | None) -> Intake:
            if pairing is None or self._models is None:
                return of_stream(stream)
            return self._models.begin(stream, self._options.tags, self._clock, pairing)

        return intake_of

    def _puzzled(self, error: BaseException) -> None:
        # Without the error's own words: they may repeat a part of a request, and with it somebody's key.
        kind = type(error).__name__
        self._count(Outcome.FAILED)
        self._telemetry.health.set(self._name, Condition.DEGRADED, f"a connection failed: {kind}")
        self._telemetry.error("door_failed", door=self._options.listen, kind=kind)

    def _count(self, outcome: Outcome) -> None:
        self._telemetry.at_door(self._options.stream, outcome)

    # -- one client

    async def _serve(self, connection: Connection) -> None:
        client = _Client(connection)
        try:
            while not connection.stopping:
                head = await connection.next_head(IDLE_S)
                if head is None or not await self._pass(client, head):
                    return
        except BadHttp as error:
            await connection.farewell(answer(error.status, {"message": str(error)}, ends=True))
        except Cut:
            # Of an answer that was cut off, its client must not take what it has for all of it.
            connection.writer.transport.abort()
        finally:
            client.leave()

    async def _pass(self, client: _Client, head: Head) -> bool:
        """One request. Says whether another may follow on this connection. Raises BadHttp, Cut, OSError."""
        if self._token is not None and not compare_digest(head.get(_TOKEN).encode(), self._token.encode()):
            raise BadHttp(401, "X-Framesift-Token is missing or wrong")
        framing = framing_of_request(head)
        captured = self._clock.now()
        call, about = call_of(head), about_of(head)
        if (call is not None or about is not None) and self._is_foreign(head):
            # It passes, as it would without a door. But what web pages send is not to be anybody's training data.
            if call is not None:
                self._count(Outcome.FOREIGN)
            call = about = None
        raw_head = head.raw if self._token is None else _TOKEN_LINE.sub(b"", head.raw)
        body = pieces(client.connection.reader, framing)
        request = Request(head, raw_head, framing, body, self._copy_of_request(call, about))
        copy = None if call is None else Kept(self._budget)
        handed_over = False
        try:
            own: Mapping[str, Any] | list[Any] | None = None
            if call is not None and (call.model_id is None or call.is_stub):
                stub = stub_of(call, await self._body(client, request, all_of_it=call.is_stub))
                if stub is not None:
                    call = replace(call, task=await self._task(stub.project, call.task))
                    own = stub.answer(call.task or Task.OBJECT_DETECTION)
            elif about is not None:
                own = await self._about(client, about, request)
            if own is not None:
                if about is About.LIST and framing.kind is not Kind.NONE:
                    # Nobody has read its body, which is not to be taken for the next request.
                    await client.connection.farewell(answer(200, own, ends=True))
                    return False
                client.connection.writer.write(answer(200, own, ends=head.ends_connection))
                await client.connection.writer.drain()
                handed_over = self._sample(call, request, None, copy, captured)
                return not head.ends_connection
            answered = await self._answered(client, request, copy, about)
            if answered is None:
                return False
            handed_over = self._sample(call, request, answered, copy, captured)
            ends = head.ends_connection or answered.ends_connection
            if not request.is_whole:  # its answer came before its end, and the server reads no more of it
                await client.connection.farewell(b"")
                return False
            return not ends and framing_of_answer(answered, head.first[0]).kind is not Kind.UNTIL_END
        finally:
            await body.aclose()
            request.let_go()
            if not handed_over:
                for kept in (request.copy, copy):
                    if kept is not None:
                        kept.let_go()

    def _is_foreign(self, head: Head) -> bool:
        here = self._options.host
        return self._token is None and (not is_local(head, here) or is_of_foreign_page(head, here))

    def _copy_of_request(self, call: Call | None, about: About | None) -> Kept | None:
        if call is not None:
            return Kept(self._budget)
        return Kept(self._budget, MOST_ASKED_BYTES) if about in (About.ADD, About.REMOVE) else None

    async def _body(self, client: _Client, request: Request, *, all_of_it: bool = False) -> bytes:
        """The request's body, empty where it is too large to be kept: only it says which model is meant. What was read
        of it is held for the server, unless it is none of its business (all_of_it)."""
        assert request.copy is not None
        if "100-continue" in request.head.words("expect"):
            client.connection.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.continued = True
        if all_of_it:
            async for piece in request.rest:
                request.copy.add(piece.content)
            return request.copy.content() if request.copy.whole else b""
        held = request.held = Kept(self._budget) if request.framing.kind is Kind.CHUNKED else request.copy
        async for piece in request.rest:
            if held is not request.copy:
                request.copy.add(piece.content)
            if not held.add(piece.raw):
                request.following = piece
            if not (held.whole and request.copy.whole):
                return b""
        return request.copy.content()

    async def _task(self, project: str, otherwise: Task | None) -> Task:
        """What the project is for; where the platform doesn't say so in time, what the route is for."""
        found = None
        if self._models is not None and self._asking < _MOST_ASKING:
            with contextlib.suppress(asyncio.TimeoutError):
                found = await asyncio.wait_for(self._asked_for(self._models, project), _TASK_WITHIN_S)
        return found or otherwise or Task.OBJECT_DETECTION

    def _asked_for(self, models: Models, project: str) -> asyncio.Future[Task | None]:
        """What the project is for, asked by a thread that the end of the process doesn't wait for: looking up a host's
        name has no deadline."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Task | None] = loop.create_future()

        def hear(found: Task | None) -> None:
            self._asking -= 1
            if not answered.done():
                answered.set_result(found)

        def ask() -> None:
            found = None
            try:
                found = models.task_of(project, _TASK_WITHIN_S)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(hear, found)

        self._asking += 1
        threading.Thread(target=ask, name="door asking", daemon=True).start()
        return answered

    async def _about(self, client: _Client, about: About, request: Request) -> dict[str, Any] | None:
        """What is to be said of the models that there are; None where the server says so."""
        registry = self._registry
        if about is About.CLEAR:
            request.cleared = registry.clear()
        elif about is About.LIST and not registry.is_empty:
            return await registry.listed(request.head)
        elif request.copy is not None:
            stub = stub_named(await self._body(client, request))
            if stub is not None:
                if about is About.ADD:
                    registry.add(stub, await self._task(stub.partition("/")[0], None))
                else:
                    registry.remove(stub)
                return await registry.listed(request.head)
        return None

    async def _answered(self, client: _Client, request: Request, copy: Kept | None, about: About | None) -> Head | None:
        """The head of the answer that has passed; None where there was none, of which the client has been told."""
        reader, writer = client.connection.reader, client.connection.writer
        why = "ended without an answer"
        try:
            reused = await client.reach(self._options)
            answered = await relay(reader, writer, client.upstream, request, copy)
            again = request.again() if answered is None and reused and not request.client_gone else None
            if again is not None:  # the server closed the connection while it was idle, as servers do
                client.leave()
                await client.reach(self._options)
                answered = await relay(reader, writer, client.upstream, again, copy)
                request.is_whole = again.is_whole
        except NotReached as error:
            why, answered = f"can't be reached: {error}", None
        except NoDescriptor:  # which says nothing of the server, and passes
            self._count(Outcome.BUSY)
            why = "framesift has as many files open as it may"
            self._telemetry.health.set(self._name, Condition.DEGRADED, why)
            said = answer(503, {"message": why}, more={"Retry-After": "1"}, ends=True)
            await client.connection.farewell(said)
            return None
        if answered is not None:
            self._telemetry.health.ok(self._name)
            return answered
        client.leave()
        if request.bad is not None:
            raise request.bad
        if not request.client_gone:
            self._count(Outcome.UPSTREAM_GONE)
            self._telemetry.health.set(self._name, Condition.DEGRADED, f"the inference server {why}")
            text = f"framesift passes requests on to the inference server, which {why}"
            said = answer(502, {"message": text}, ends=True)
            if about is About.LIST or request.cleared:  # a version 0 needs no server
                said = answer(200, self._registry.alone(), ends=True)
            await client.connection.farewell(said)
        return None

    def _sample(
        self, call: Call | None, request: Request, answered: Head | None, copy: Kept | None, captured: Moment
    ) -> bool:
        """Hands the exchange over, where it is one to sample. Says whether its copies are another's now."""
        if call is None or request.copy is None or copy is None or (answered is not None and answered.status != 200):
            self._count(Outcome.PASSED)
            return False
        if not request.copy.whole or not copy.whole:
            self._count(Outcome.TOO_LARGE)
            return False
        self._afterwards.take(Exchange(call, request.head, request.copy, answered, copy, captured))
        return True


class _Client:
    """A connection, and the one to the server that goes with it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._upstream: Upstream | None = None

    @property
    def upstream(self) -> Upstream:
        assert self._upstream is not None
        return self._upstream

    async def reach(self, options: DoorOptions) -> bool:
        """Says whether the connection has served already. Raises NotReached."""
        if self._upstream is not None and self._upstream.usable:
            return self._upstream.served
        self.leave()
        self._upstream = await connect(options.upstream_host, options.upstream_port)
        return False

    def leave(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
