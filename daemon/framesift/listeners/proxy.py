"""The listener of kind `proxy`: stands in front of an inference server and forwards everything unchanged.

Guarantees:
1. The server gets what clients send byte for byte, and clients get its responses the same way, as they arrive: heads
   with the order and spelling of their fields (Host too), bodies with their chunks. Only the proxy's own token is
   removed.
2. One connection of a client uses at most one connection to the server, and its requests are forwarded one after the
   other. The proxy has no deadline for a response: clients and the server have theirs.
3. Copies of inferences and their responses are sampled afterwards. Whatever happens there, traffic is forwarded.
4. The proxy answers by itself only: calls of version 0 of a project, which is no model, and what clients ask of the
   model registry for its sake; 502 if the server can't be reached, or ends without a response; 400 and 431 to what is
   no HTTP; 401 if the token is wrong; 408 to a client that stops in the middle; 503 if too many connections are busy,
   or no file can be opened.
"""

from __future__ import annotations

import re
import sys
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
from framesift.listeners.listener import HttpListener
from framesift.listeners.listener_settings import ListenerSettings
from framesift.listeners.model_registry import (
    MAX_REQUEST_BYTES,
    RegistryCall,
    StubRegistry,
    parse_registry_call,
    parse_stub_id,
)
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.listeners.server import DescriptorsExhausted
from framesift.listeners.stream_intakes import ModelPolicies, StreamIntakes
from framesift.listeners.task_lookup import TaskLookup
from framesift.policy import ProjectPair
from framesift.prediction import Task
from framesift.sampling.intake import Intake
from framesift.telemetry import Condition, Telemetry

CLIENT_IDLE_S = 300.0  # how long a client may keep a connection open without a request
# After so long a sampling thread lets the forwarding thread run, instead of Python's 5 ms.
SWITCH_INTERVAL_S = 0.0005
_SAMPLING_STOP_S = 1.0  # part of the time for stopping that sampling gets
_TOKEN_FIELD = "x-framesift-token"
_TOKEN_LINE = re.compile(rb"^x-framesift-token[ \t]*:[^\r\n]*\r\n", re.IGNORECASE | re.MULTILINE)


class ProxyListener(HttpListener):
    """Forwards HTTP between clients and an inference server, and samples the inferences.

    intake_of: makes the intake of a stream by its name, called once per stream. on_failure: gets the exception that
    ended one of the threads. model_policies: knows the policies of the models that clients call; None: every model
    follows the policy of the listener's stream. max_waiting: number of exchanges that may wait to be sampled.
    """

    # An exception's text may repeat a part of a request, and with it a client's key.
    logs_error_texts = False

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
        super().__init__(settings, clock=clock, telemetry=telemetry, on_failure=on_failure)
        self._model_policies = model_policies
        self._registry = StubRegistry(settings)
        self._tasks = TaskLookup(model_policies)
        self._budget = MemoryBudget()
        self._sampler = BackgroundSampler(
            settings.stream,
            f"{self.name} sampling",
            StreamIntakes(self._intake_factory(intake_of), clock, telemetry),
            model_policies,
            clock=clock,
            telemetry=telemetry,
            on_failure=on_failure,
            max_waiting=max_waiting,
        )

    def start(self) -> None:
        """Bind the address and start the threads. Raises ListenerUnavailable.

        Sets the switch interval of all threads of the process to SWITCH_INTERVAL_S.
        """
        sys.setswitchinterval(min(SWITCH_INTERVAL_S, sys.getswitchinterval()))
        self._server.start()
        self._sampler.start()

    def stop(self, within_s: float) -> bool:
        """Refuse new requests, finish those under way, then sample what waits. Return whether all ended in time."""
        sampling_s = min(_SAMPLING_STOP_S, within_s / 2)
        has_server_ended = self._server.stop(within_s - sampling_s)
        return self._sampler.stop(sampling_s) and has_server_ended

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """Return the threads that the watchdog monitors: the server's and the sampler's. Only after `start`."""
        return (*super().threads, self._sampler.monitored)

    def _intake_factory(self, of_stream: Callable[[str], Intake]) -> Callable[[str, ProjectPair | None], Intake]:
        def create_intake(stream: str, pair: ProjectPair | None) -> Intake:
            if pair is None or self._model_policies is None:
                return of_stream(stream)
            return self._model_policies.create(stream, self._settings, self._clock, pair)

        return create_intake

    # -- one client, in the event loop

    async def serve(self, connection: ClientConnection) -> None:
        """Forward the requests of one client until the connection ends."""
        client = _Client(connection)
        try:
            while not connection.stopping:
                head = await connection.next_head(CLIENT_IDLE_S)
                if head is None or not await self._handle(client, head):
                    return
        except BadHttp as error:
            await connection.send_last_response(build_response(error.status, {"message": str(error)}, close=True))
        except TruncatedMessage:
            # The connection is reset, so that the client does not take the beginning of a response for all of it.
            connection.writer.transport.abort()
        finally:
            client.close_upstream()

    async def _handle(self, client: _Client, head: Head) -> bool:
        """Handle one request. Return whether another one may follow on the connection.

        Raises BadHttp, TruncatedMessage, OSError.
        """
        if self._token is not None and not compare_digest(head.get(_TOKEN_FIELD).encode(), self._token.encode()):
            raise BadHttp(401, "X-Framesift-Token is missing or wrong")
        framing = framing_of_request(head)
        captured = self._clock.now()
        call, registry_call = parse_call(head), parse_registry_call(head)
        if (call is not None or registry_call is not None) and self._is_foreign(head):
            # It is forwarded, as it would be without a proxy. But what web pages send must not become training data.
            if call is not None:
                self._count(RequestOutcome.FOREIGN_HOST)
            call = registry_call = None
        raw_head = head.raw if self._token is None else _TOKEN_LINE.sub(b"", head.raw)
        body = read_body(client.connection.reader, framing)
        request = ForwardedRequest(head, raw_head, framing, body, self._request_copy(call, registry_call))
        response_copy = None if call is None else BodyCopy(self._budget)
        is_handed_over = False
        try:
            own_content: Mapping[str, Any] | list[Any] | None = None
            if call is not None and (call.model_id is None or call.is_stub):
                stub = parse_stub_call(call, await self._read_body(client, request, is_own=call.is_stub))
                if stub is not None:
                    call = replace(call, task=await self._tasks.task_of(stub.project, call.task))
                    own_content = stub.response_content(call.task or Task.OBJECT_DETECTION)
            elif registry_call is not None:
                own_content = await self._registry_content(client, registry_call, request)
            if own_content is not None:
                if registry_call is RegistryCall.LIST and framing.kind is not FramingKind.NONE:
                    # Its body was not read, and must not be taken for the next request.
                    await client.connection.send_last_response(build_response(200, own_content, close=True))
                    return False
                client.connection.writer.write(build_response(200, own_content, close=head.closes_connection))
                await client.connection.writer.drain()
                is_handed_over = self._sample(call, request, None, response_copy, captured)
                return not head.closes_connection
            response_head = await self._forward(client, request, response_copy, registry_call)
            if response_head is None:
                return False
            is_handed_over = self._sample(call, request, response_head, response_copy, captured)
            close = head.closes_connection or response_head.closes_connection
            if not request.is_complete:  # the response came before the request's end, and the server reads no more
                await client.connection.send_last_response(b"")
                return False
            response_framing = framing_of_response(response_head, head.start_line[0])
            return not close and response_framing.kind is not FramingKind.UNTIL_CLOSE
        finally:
            await body.aclose()
            request.release()
            if not is_handed_over:
                for copy in (request.copy, response_copy):
                    if copy is not None:
                        copy.release()

    def _is_foreign(self, head: Head) -> bool:
        host = self._settings.host
        return self._token is None and (not has_allowed_host(head, host) or has_foreign_origin(head, host))

    def _request_copy(self, call: InferenceCall | None, registry_call: RegistryCall | None) -> BodyCopy | None:
        if call is not None:
            return BodyCopy(self._budget)
        if registry_call in (RegistryCall.ADD, RegistryCall.REMOVE):
            return BodyCopy(self._budget, MAX_REQUEST_BYTES)
        return None

    async def _read_body(self, client: _Client, request: ForwardedRequest, *, is_own: bool = False) -> bytes:
        """Read the request's body, which alone says which model is meant; b"" if it is too large to be copied.

        What was read is kept for the server, except if the proxy answers in any case (is_own).
        """
        assert request.copy is not None
        if "100-continue" in request.head.list_values("expect"):
            client.connection.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.continue_sent = True
        if is_own:
            async for piece in request.remaining_body:
                request.copy.add(piece.content)
            return request.copy.content() if request.copy.is_complete else b""
        is_chunked = request.framing.kind is FramingKind.CHUNKED
        read_ahead = request.read_ahead = BodyCopy(self._budget) if is_chunked else request.copy
        async for piece in request.remaining_body:
            if read_ahead is not request.copy:
                request.copy.add(piece.content)
            if not read_ahead.add(piece.raw):
                request.pending_piece = piece
            if not (read_ahead.is_complete and request.copy.is_complete):
                return b""
        return request.copy.content()

    async def _registry_content(
        self, client: _Client, registry_call: RegistryCall, request: ForwardedRequest
    ) -> dict[str, Any] | None:
        """Return the content of the proxy's own response to a registry call, None if the server is to answer."""
        if registry_call is RegistryCall.CLEAR:
            request.cleared_stubs = self._registry.clear()
        elif registry_call is RegistryCall.LIST and not self._registry.is_empty:
            return await self._registry.all_models(request.head)
        elif request.copy is not None:
            stub_id = parse_stub_id(await self._read_body(client, request))
            if stub_id is not None:
                if registry_call is RegistryCall.ADD:
                    self._registry.add(stub_id, await self._tasks.task_of(stub_id.partition("/")[0], None))
                else:
                    self._registry.remove(stub_id)
                return await self._registry.all_models(request.head)
        return None

    async def _forward(
        self,
        client: _Client,
        request: ForwardedRequest,
        response_copy: BodyCopy | None,
        registry_call: RegistryCall | None,
    ) -> Head | None:
        """Forward the request and the response, and return the response's head.

        Returns None if there was no response; then the client has got one of the proxy itself.
        """
        reader, writer = client.connection.reader, client.connection.writer
        why = "ended without an answer"
        try:
            is_reused = await client.connect_upstream(self._settings)
            head = await forward(reader, writer, client.upstream, request, response_copy)
            retry = request.repeated() if head is None and is_reused and not request.client_gone else None
            if retry is not None:  # the server closed the connection while it was idle, as servers do
                client.close_upstream()
                await client.connect_upstream(self._settings)
                head = await forward(reader, writer, client.upstream, retry, response_copy)
                request.is_complete = retry.is_complete
        except UpstreamUnreachable as error:
            why, head = f"can't be reached: {error}", None
        except DescriptorsExhausted:  # temporary, and not the server's fault
            self._count(RequestOutcome.BUSY)
            why = "framesift can open no more files or connections"
            self._telemetry.health.set(self.name, Condition.DEGRADED, why)
            response = build_response(503, {"message": why}, extra_headers={"Retry-After": "1"}, close=True)
            await client.connection.send_last_response(response)
            return None
        if head is not None:
            self._telemetry.health.set_ok(self.name)
            return head
        client.close_upstream()
        if request.body_error is not None:
            raise request.body_error
        if not request.client_gone:
            self._count(RequestOutcome.UPSTREAM_GONE)
            self._telemetry.health.set(self.name, Condition.DEGRADED, f"the inference server {why}")
            response = build_response(
                502, {"message": f"framesift forwards requests to the inference server, which {why}"}, close=True
            )
            if registry_call is RegistryCall.LIST or request.cleared_stubs:  # version 0 needs no server
                response = build_response(200, self._registry.own_models(), close=True)
            await client.connection.send_last_response(response)
        return None

    def _sample(
        self,
        call: InferenceCall | None,
        request: ForwardedRequest,
        response_head: Head | None,
        response_copy: BodyCopy | None,
        captured: Moment,
    ) -> bool:
        """Hand the exchange to the sampler if there is something to sample. Return whether it owns the copies now."""
        has_failed = response_head is not None and response_head.status != 200
        if call is None or request.copy is None or response_copy is None or has_failed:
            self._count(RequestOutcome.PASSED)
            return False
        if not request.copy.is_complete or not response_copy.is_complete:
            self._count(RequestOutcome.TOO_LARGE)
            return False
        self._sampler.enqueue(
            InferenceExchange(call, request.head, request.copy, response_head, response_copy, captured)
        )
        return True


class _Client:
    """A client's connection, and the connection to the server that belongs to it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._upstream: UpstreamConnection | None = None

    @property
    def upstream(self) -> UpstreamConnection:
        assert self._upstream is not None
        return self._upstream

    async def connect_upstream(self, settings: ListenerSettings) -> bool:
        """Connect to the server if necessary. Return whether the connection has carried a response before.

        Raises UpstreamUnreachable, DescriptorsExhausted.
        """
        if self._upstream is not None and self._upstream.is_usable:
            return self._upstream.has_responded
        self.close_upstream()
        self._upstream = await connect_upstream(settings.upstream_host, settings.upstream_port)
        return False

    def close_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
