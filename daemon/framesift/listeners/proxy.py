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

from framesift.clock.clock import Clock, MonitoredThread
from framesift.clock.moment import Moment
from framesift.listeners.allowed_hosts import has_allowed_host, has_foreign_origin
from framesift.listeners.background_sampling import BackgroundSampler, InferenceExchange
from framesift.listeners.body_copies import BodyCopy, MemoryBudget
from framesift.listeners.connection_slots import ClientConnection
from framesift.listeners.forward import (
    ForwardedRequest,
    UpstreamConnection,
    UpstreamUnreachable,
    connect_upstream,
    forward,
)
from framesift.listeners.http1 import (
    BadHttp,
    FramingKind,
    Head,
    TruncatedMessage,
    build_response,
    framing_of_request,
    framing_of_response,
    read_body,
)
from framesift.listeners.inference_requests import InferenceCall, parse_call, parse_stub_call
from framesift.listeners.listener_settings import ListenerSettings
from framesift.listeners.model_registry import (
    MAX_REQUEST_BYTES,
    RegistryCall,
    StubRegistry,
    parse_registry_call,
    parse_stub_id,
)
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.listeners.server import DescriptorsExhausted, ListenerServer
from framesift.listeners.stream_intakes import ModelPolicies, StreamIntakes
from framesift.policy import ProjectPair
from framesift.prediction.prediction import Task
from framesift.sampling.intake import Intake
from framesift.telemetry import Condition, Telemetry

CLIENT_IDLE_S = 300.0  # how long a client may keep a connection without asking
# A thread that samples lets the one that passes have its turn after so long, instead of Python's 5 ms.
SWITCH_INTERVAL_S = 0.0005
# Who calls a version 0 waits so long to be told what the project is for.
_TASK_WITHIN_S = 2.0
_MOST_ASKING = 8
_KEPT_FOR_SAMPLING_S = 1.0  # of the time that stopping may take
_TOKEN = "x-framesift-token"
_TOKEN_LINE = re.compile(rb"^x-framesift-token[ \t]*:[^\r\n]*\r\n", re.IGNORECASE | re.MULTILINE)


class ProxyListener:
    """models: who knows of the policies of clients' models; None: all is the stream's. most_waiting: exchanges that may
    wait to be sampled.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        intake_of: Callable[[str], Intake],
        clock: Clock,
        telemetry: Telemetry,
        on_failure: Callable[[BaseException], None],
        model_policies: ModelPolicies | None = None,
        max_waiting: int = 32,
    ) -> None:
        self._options = settings
        self._models = model_policies
        self._registry = StubRegistry(settings)
        self._asking = 0  # threads that ask what a project is for
        self._clock = clock
        self._telemetry = telemetry
        self._name = f"door {settings.listen}"
        self._token = None if settings.token is None else settings.token.get_secret_value()
        self._budget = MemoryBudget()
        self._afterwards = BackgroundSampler(
            settings.stream,
            f"{self._name} sampling",
            StreamIntakes(self._intake_of(intake_of), clock, telemetry),
            model_policies,
            clock=clock,
            telemetry=telemetry,
            on_failure=on_failure,
            max_waiting=max_waiting,
        )
        self._listening = ListenerServer(
            settings.host, settings.port, self._serve, clock=clock, puzzled=self._puzzled, broke=on_failure
        )

    @property
    def port(self) -> int:
        return self._listening.port

    def start(self) -> None:
        """Shortens the turns of all threads of the process."""
        sys.setswitchinterval(min(SWITCH_INTERVAL_S, sys.getswitchinterval()))
        self._listening.start()
        self._afterwards.start()

    def stop(self, within_s: float) -> None:
        kept_s = min(_KEPT_FOR_SAMPLING_S, within_s / 2)
        self._listening.stop(within_s - kept_s)
        self._afterwards.stop(kept_s)

    @property
    def loops(self) -> tuple[MonitoredThread, ...]:
        return (self._listening.loop(), self._afterwards.loop)

    def _intake_of(self, of_stream: Callable[[str], Intake]) -> Callable[[str, ProjectPair | None], Intake]:
        def intake_of(stream: str, pairing: ProjectPair | None) -> Intake:
            if pairing is None or self._models is None:
                return of_stream(stream)
            return self._models.create(stream, self._options.tags, self._clock, pairing)

        return intake_of

    def _puzzled(self, error: BaseException) -> None:
        # Without the error's own words: they may repeat a part of a request, and with it somebody's key.
        kind = type(error).__name__
        self._count(RequestOutcome.FAILED)
        self._telemetry.health.set(self._name, Condition.DEGRADED, f"a connection failed: {kind}")
        self._telemetry.error("door_failed", door=self._options.listen, kind=kind)

    def _count(self, outcome: RequestOutcome) -> None:
        self._telemetry.count_request(self._options.stream, outcome)

    # -- one client

    async def _serve(self, connection: ClientConnection) -> None:
        client = _Client(connection)
        try:
            while not connection.stopping:
                head = await connection.next_head(CLIENT_IDLE_S)
                if head is None or not await self._pass(client, head):
                    return
        except BadHttp as error:
            await connection.send_last_response(build_response(error.status, {"message": str(error)}, close=True))
        except TruncatedMessage:
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
        call, about = parse_call(head), parse_registry_call(head)
        if (call is not None or about is not None) and self._is_foreign(head):
            # It passes, as it would without a door. But what web pages send is not to be anybody's training data.
            if call is not None:
                self._count(RequestOutcome.FOREIGN_HOST)
            call = about = None
        raw_head = head.raw if self._token is None else _TOKEN_LINE.sub(b"", head.raw)
        body = read_body(client.connection.reader, framing)
        request = ForwardedRequest(head, raw_head, framing, body, self._copy_of_request(call, about))
        copy = None if call is None else BodyCopy(self._budget)
        handed_over = False
        try:
            own: Mapping[str, Any] | list[Any] | None = None
            if call is not None and (call.model_id is None or call.is_stub):
                stub = parse_stub_call(call, await self._body(client, request, all_of_it=call.is_stub))
                if stub is not None:
                    call = replace(call, task=await self._task(stub.project, call.task))
                    own = stub.response_content(call.task or Task.OBJECT_DETECTION)
            elif about is not None:
                own = await self._about(client, about, request)
            if own is not None:
                if about is RegistryCall.LIST and framing.kind is not FramingKind.NONE:
                    # Nobody has read its body, which is not to be taken for the next request.
                    await client.connection.send_last_response(build_response(200, own, close=True))
                    return False
                client.connection.writer.write(build_response(200, own, close=head.closes_connection))
                await client.connection.writer.drain()
                handed_over = self._sample(call, request, None, copy, captured)
                return not head.closes_connection
            answered = await self._answered(client, request, copy, about)
            if answered is None:
                return False
            handed_over = self._sample(call, request, answered, copy, captured)
            ends = head.closes_connection or answered.closes_connection
            if not request.is_complete:  # its answer came before its end, and the server reads no more of it
                await client.connection.send_last_response(b"")
                return False
            return not ends and framing_of_response(answered, head.start_line[0]).kind is not FramingKind.UNTIL_CLOSE
        finally:
            await body.aclose()
            request.release()
            if not handed_over:
                for kept in (request.copy, copy):
                    if kept is not None:
                        kept.release()

    def _is_foreign(self, head: Head) -> bool:
        here = self._options.host
        return self._token is None and (not has_allowed_host(head, here) or has_foreign_origin(head, here))

    def _copy_of_request(self, call: InferenceCall | None, about: RegistryCall | None) -> BodyCopy | None:
        if call is not None:
            return BodyCopy(self._budget)
        return BodyCopy(self._budget, MAX_REQUEST_BYTES) if about in (RegistryCall.ADD, RegistryCall.REMOVE) else None

    async def _body(self, client: _Client, request: ForwardedRequest, *, all_of_it: bool = False) -> bytes:
        """The request's body, empty where it is too large to be kept: only it says which model is meant. What was read
        of it is held for the server, unless it is none of its business (all_of_it).
        """
        assert request.copy is not None
        if "100-continue" in request.head.list_values("expect"):
            client.connection.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.continue_sent = True
        if all_of_it:
            async for piece in request.remaining_body:
                request.copy.add(piece.content)
            return request.copy.content() if request.copy.is_complete else b""
        held = request.read_ahead = (
            BodyCopy(self._budget) if request.framing.kind is FramingKind.CHUNKED else request.copy
        )
        async for piece in request.remaining_body:
            if held is not request.copy:
                request.copy.add(piece.content)
            if not held.add(piece.raw):
                request.pending_piece = piece
            if not (held.is_complete and request.copy.is_complete):
                return b""
        return request.copy.content()

    async def _task(self, project: str, otherwise: Task | None) -> Task:
        """What the project is for; where the platform doesn't say so in time, what the route is for."""
        found = None
        if self._models is not None and self._asking < _MOST_ASKING:
            with contextlib.suppress(asyncio.TimeoutError):
                found = await asyncio.wait_for(self._asked_for(self._models, project), _TASK_WITHIN_S)
        return found or otherwise or Task.OBJECT_DETECTION

    def _asked_for(self, models: ModelPolicies, project: str) -> asyncio.Future[Task | None]:
        """What the project is for, asked by a thread that the end of the process doesn't wait for: looking up a host's
        name has no deadline.
        """
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

    async def _about(self, client: _Client, about: RegistryCall, request: ForwardedRequest) -> dict[str, Any] | None:
        """What is to be said of the models that there are; None where the server says so."""
        registry = self._registry
        if about is RegistryCall.CLEAR:
            request.cleared_stubs = registry.clear()
        elif about is RegistryCall.LIST and not registry.is_empty:
            return await registry.all_models(request.head)
        elif request.copy is not None:
            stub = parse_stub_id(await self._body(client, request))
            if stub is not None:
                if about is RegistryCall.ADD:
                    registry.add(stub, await self._task(stub.partition("/")[0], None))
                else:
                    registry.remove(stub)
                return await registry.all_models(request.head)
        return None

    async def _answered(
        self, client: _Client, request: ForwardedRequest, copy: BodyCopy | None, about: RegistryCall | None
    ) -> Head | None:
        """The head of the answer that has passed; None where there was none, of which the client has been told."""
        reader, writer = client.connection.reader, client.connection.writer
        why = "ended without an answer"
        try:
            reused = await client.reach(self._options)
            answered = await forward(reader, writer, client.upstream, request, copy)
            again = request.repeated() if answered is None and reused and not request.client_gone else None
            if again is not None:  # the server closed the connection while it was idle, as servers do
                client.leave()
                await client.reach(self._options)
                answered = await forward(reader, writer, client.upstream, again, copy)
                request.is_complete = again.is_complete
        except UpstreamUnreachable as error:
            why, answered = f"can't be reached: {error}", None
        except DescriptorsExhausted:  # which says nothing of the server, and passes
            self._count(RequestOutcome.BUSY)
            why = "framesift has as many files open as it may"
            self._telemetry.health.set(self._name, Condition.DEGRADED, why)
            said = build_response(503, {"message": why}, extra_headers={"Retry-After": "1"}, close=True)
            await client.connection.send_last_response(said)
            return None
        if answered is not None:
            self._telemetry.health.set_ok(self._name)
            return answered
        client.leave()
        if request.body_error is not None:
            raise request.body_error
        if not request.client_gone:
            self._count(RequestOutcome.UPSTREAM_GONE)
            self._telemetry.health.set(self._name, Condition.DEGRADED, f"the inference server {why}")
            text = f"framesift passes requests on to the inference server, which {why}"
            said = build_response(502, {"message": text}, close=True)
            if about is RegistryCall.LIST or request.cleared_stubs:  # a version 0 needs no server
                said = build_response(200, self._registry.own_models(), close=True)
            await client.connection.send_last_response(said)
        return None

    def _sample(
        self,
        call: InferenceCall | None,
        request: ForwardedRequest,
        answered: Head | None,
        copy: BodyCopy | None,
        captured: Moment,
    ) -> bool:
        """Hands the exchange over, where it is one to sample. Says whether its copies are another's now."""
        if call is None or request.copy is None or copy is None or (answered is not None and answered.status != 200):
            self._count(RequestOutcome.PASSED)
            return False
        if not request.copy.is_complete or not copy.is_complete:
            self._count(RequestOutcome.TOO_LARGE)
            return False
        self._afterwards.enqueue(InferenceExchange(call, request.head, request.copy, answered, copy, captured))
        return True


class _Client:
    """A connection, and the one to the server that goes with it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._upstream: UpstreamConnection | None = None

    @property
    def upstream(self) -> UpstreamConnection:
        assert self._upstream is not None
        return self._upstream

    async def reach(self, options: ListenerSettings) -> bool:
        """Says whether the connection has served already. Raises UpstreamUnreachable."""
        if self._upstream is not None and self._upstream.is_usable:
            return self._upstream.has_responded
        self.leave()
        self._upstream = await connect_upstream(options.upstream_host, options.upstream_port)
        return False

    def leave(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
