"""The listener of kind `ingest`: takes POST /datapoints and answers with the sampling decision.

Guarantees:
1. The sender is checked (Host, token) before any body is read, and no client gets more than IngestBounds: bytes of a
   body, seconds to send it, requests at the same time. A client beyond that is told when to try again.
2. A datapoint is taken whole, like a frame of its stream, or not at all; then the client is told why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from framesift.clock.clock import Clock
from framesift.frame import RefusalReason
from framesift.listeners.allowed_hosts import has_allowed_host, has_foreign_origin
from framesift.listeners.connection_slots import HEAD_WITHIN_S, ClientConnection
from framesift.listeners.datapoint_requests import (
    InvalidRequest,
    SubmittedItem,
    captured_of,
    image_of,
    parse_submission,
    prediction_of,
    stream_of,
)
from framesift.listeners.http1 import (
    BadHttp,
    Framing,
    FramingKind,
    Head,
    TruncatedMessage,
    build_response,
    framing_of_request,
    read_body,
)
from framesift.listeners.listener import HttpListener
from framesift.listeners.listener_settings import ListenerSettings
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.listeners.stream_intakes import StreamIntakes, TooManyStreams
from framesift.pictures import encoded_picture as pictures
from framesift.sampling.intake import Intake
from framesift.sampling.intake_decision import IntakeDecision
from framesift.telemetry import Telemetry

_GREETING = (
    "framesift takes datapoints here: POST /datapoints, multipart/form-data or application/json.\n"
    "Each is an image (JPEG or PNG) and, in the wire format of Roboflow's inference server, its prediction.\n"
    "The answer is the decision: which strategies matched, which one took it, or the reason of the refusal."
)
_RETRY_AFTER_S = {"no_policy_yet": 5, RefusalReason.SPOOL_FULL.value: 60, RefusalReason.SPOOL_BROKEN.value: 10}
_STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class IngestBounds:
    """What one client may use.

    max_body_bytes: size of a request's body. body_within_s, head_within_s: time in which they must arrive. idle_s: how
    long a connection may stay open without a request. max_concurrent: requests with a body at the same time.
    """

    max_body_bytes: int = 32 << 20
    body_within_s: float = 30.0
    idle_s: float = 30.0
    head_within_s: float = HEAD_WITHIN_S
    max_concurrent: int = 4


@dataclass(frozen=True, slots=True)
class _Response:
    """A response to be sent. retry_after_s: when to try again, None if trying again can't help."""

    status: int
    content: dict[str, Any] = field(repr=False)
    retry_after_s: int | None = None


class IngestListener(HttpListener):
    """Takes datapoints over HTTP. Connections are served in one event loop, pictures decoded in worker threads.

    intake_of: makes the intake of a stream by its name, called once per stream. on_failure: gets the exception that
    ended the event loop.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        intake_of: Callable[[str], Intake],
        clock: Clock,
        telemetry: Telemetry,
        on_failure: Callable[[BaseException], None],
        bounds: IngestBounds | None = None,
    ) -> None:
        super().__init__(settings, clock=clock, telemetry=telemetry, on_failure=on_failure)
        self._bounds = bounds or IngestBounds()
        self._intakes = StreamIntakes(lambda stream, _: intake_of(stream), clock, telemetry)
        self._requests_at_work = 0
        self._workers = ThreadPoolExecutor(self._bounds.max_concurrent, thread_name_prefix="listener")

    def start(self) -> None:
        """Bind the address and start the event loop. Raises ListenerUnavailable."""
        self._server.start()

    def stop(self, within_s: float) -> bool:
        """Refuse new requests and finish those under way, in at most 2 s. Return whether everything ended in time."""
        has_ended = self._server.stop(min(within_s, _STOP_S))
        self._workers.shutdown(wait=False, cancel_futures=True)
        return has_ended

    # -- one client, in the event loop

    async def serve(self, connection: ClientConnection) -> None:
        """Answer the requests of one client until the connection ends."""
        while not connection.stopping:
            try:
                head = await connection.next_head(self._bounds.idle_s, self._bounds.head_within_s)
                if head is None:
                    return
                framing = framing_of_request(head)
            except BadHttp as error:
                await self._refuse(connection, _Response(error.status, {"error": str(error), "where": "head"}))
                return
            except TruncatedMessage:
                return
            early = self._respond_to_head(head, framing)
            if early is None and self._requests_at_work >= self._bounds.max_concurrent:
                self._count(RequestOutcome.BUSY)
                early = _Response(503, {"error": "too many datapoints at once", "reason": RequestOutcome.BUSY.value}, 1)
            if early is not None:
                if framing.kind is not FramingKind.NONE:
                    await self._refuse(connection, early, head)
                    return
                response = early
            else:
                response, was_read = await self._handle(connection, head, framing)
                if not was_read:
                    await self._refuse(connection, response)
                    return
            close = head.closes_connection or connection.stopping
            connection.writer.write(self._encode(response, head, close=close))
            await connection.writer.drain()
            if close:
                return

    async def _handle(self, connection: ClientConnection, head: Head, framing: Framing) -> tuple[_Response, bool]:
        """Return the response, and whether the whole request was read, so that another one may follow it."""
        self._requests_at_work += 1
        try:
            body = await asyncio.wait_for(self._read_body(connection, head, framing), self._bounds.body_within_s)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._workers, self._process, head.get("content-type"), body), True
        except asyncio.TimeoutError:
            late = f"the body did not arrive within {self._bounds.body_within_s:g} s"
            return _Response(408, {"error": late, "where": "body"}), False
        except BadHttp as error:
            return _Response(error.status, {"error": str(error), "where": "body"}), False
        except TruncatedMessage:
            return _Response(400, {"error": "the body ends too early", "where": "body"}), False
        finally:
            self._requests_at_work -= 1

    async def _read_body(self, connection: ClientConnection, head: Head, framing: Framing) -> bytearray:
        if "100-continue" in head.list_values("expect"):
            connection.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        async with contextlib.aclosing(read_body(connection.reader, framing)) as pieces:
            async for piece in pieces:
                body += piece.content
                if len(body) > self._bounds.max_body_bytes:
                    raise BadHttp(413, self._too_large())
        return body  # not copied into bytes: it may be large

    def _too_large(self) -> str:
        return f"the body has more than {self._bounds.max_body_bytes:,} bytes, the most that are allowed"

    def _respond_to_head(self, head: Head, framing: Framing) -> _Response | None:
        """Return the response if the head alone decides it, None if the body has to be read."""
        method, target, _ = head.start_line
        if self._token is not None:
            if not compare_digest(head.get("authorization").encode(), f"Bearer {self._token}".encode()):
                return _Response(401, {"error": "the token is missing or wrong", "where": "Authorization"})
        elif not has_allowed_host(head, self._settings.host):
            return _Response(421, {"error": "this server has another name; call it by its address", "where": "Host"})
        elif has_foreign_origin(head, self._settings.host):
            return _Response(403, {"error": "web pages of other machines can't send datapoints", "where": "Origin"})
        path = target.partition("?")[0]
        if path == "/" and method in ("GET", "HEAD"):
            return _Response(200, {})
        if path != "/datapoints":
            return _Response(404, {"error": f"there is no {path[:80]!r} here: use POST /datapoints", "where": "path"})
        if method != "POST":
            return _Response(405, {"error": f"{method[:20]!r} is not allowed: use POST", "where": "method"})
        if framing.kind is FramingKind.NONE:
            return _Response(411, {"error": "a body with Content-Length, or in chunks, is missing", "where": "body"})
        if framing.size_bytes > self._bounds.max_body_bytes:
            return _Response(413, {"error": self._too_large(), "where": "Content-Length"})
        return None

    def _encode(self, response: _Response, head: Head | None = None, *, close: bool) -> bytes:
        headers = {} if response.retry_after_s is None else {"Retry-After": str(response.retry_after_s)}
        if response.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        elif response.status == 405:
            headers["Allow"] = "POST"
        is_head = head is not None and head.start_line[0] == "HEAD"
        content = response.content or _GREETING
        return build_response(response.status, content, extra_headers=headers, close=close, without_body=is_head)

    async def _refuse(self, connection: ClientConnection, response: _Response, head: Head | None = None) -> None:
        if response.status != 503:
            self._count(RequestOutcome.REFUSED)
        await connection.send_last_response(self._encode(response, head, close=True))

    # -- in a worker thread

    def _process(self, content_type: str, body: bytearray) -> _Response:
        try:
            submission = parse_submission(content_type, body)
            body.clear()  # the items are copies of it, and pictures are still to be decoded
        except InvalidRequest as error:
            self._count(RequestOutcome.REFUSED)
            return _error_response(error)
        responses = [self._process_item(item) for item in submission.items]
        if not submission.is_batch:
            return responses[0]
        waits_s = [response.retry_after_s for response in responses if response.retry_after_s is not None]
        content = {"datapoints": [response.content for response in responses]}
        if waits_s and not any(response.content.get("id") for response in responses):
            return _Response(503, content, max(waits_s))
        return _Response(200, content)

    def _process_item(self, item: SubmittedItem) -> _Response:
        try:
            stream = stream_of(item, self._settings.stream)
            if not self._intakes.has_policy(stream):
                reason = "no_policy_yet"
                return _Response(503, {**_decision_fields(None), "reason": reason}, _RETRY_AFTER_S[reason])
            picture = _parse_picture(item)
            captured = captured_of(item, self._clock.now())
            with pictures.large_picture_lock(picture):
                decoded = _decode(item, picture)
                prediction = prediction_of(item, decoded.width, decoded.height)
                decision = self._intakes.offer(stream, decoded, prediction, captured)
        except TooManyStreams as error:
            self._count(RequestOutcome.REFUSED)
            return _error_response(InvalidRequest(400, str(error), item.path_of("stream")))
        except InvalidRequest as error:
            self._count(RequestOutcome.REFUSED)
            return _error_response(error)
        except Exception as error:  # noqa: BLE001  # a bug in sampling is reported, and the next item is tried
            self.report_error(error)
            return _Response(500, {"error": "framesift failed on this one; its log says why", "where": item.where})
        self._count(RequestOutcome.OFFERED)
        self._telemetry.health.set_ok(self.name)
        fields = _decision_fields(decision)
        retry_after_s = _RETRY_AFTER_S.get(str(fields["reason"]))
        return _Response(200 if retry_after_s is None else 503, fields, retry_after_s)


def _parse_picture(item: SubmittedItem) -> pictures.EncodedPicture:
    content = image_of(item)
    try:
        return pictures.parse_picture(content)
    except pictures.BadPicture as error:
        status = 413 if len(content) > pictures.MAX_BYTES else 422
        raise InvalidRequest(status, str(error), item.path_of("image")) from None


def _decode(item: SubmittedItem, picture: pictures.EncodedPicture) -> pictures.LazyEncodedPicture:
    """Return the picture, all of whose content has been read: whoever sends a damaged one must be told."""
    try:
        decoded = pictures.LazyEncodedPicture(picture)
        decoded.overview()
    except pictures.BadPicture as error:
        raise InvalidRequest(422, str(error), item.path_of("image")) from None
    return decoded


def _decision_fields(decision: IntakeDecision | None) -> dict[str, Any]:
    accepted = None if decision is None else decision.accepted
    strategy = None if accepted is None else accepted.strategy
    return {
        "matched": [] if decision is None else list(decision.matched),
        "strategy": strategy,
        "charged": strategy,  # the old name of `strategy`, to be removed in version 0.4
        "reason": None if decision is None or decision.refusal is None else decision.refusal.value,
        "id": None if accepted is None else accepted.id,
        **({"held": True} if decision is not None and decision.is_held else {}),
    }


def _error_response(error: InvalidRequest) -> _Response:
    return _Response(error.status, {"error": error.message, "where": error.where})
