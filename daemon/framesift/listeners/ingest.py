"""The door that takes POST /datapoints: pictures with their predictions in, verdicts out.

What is promised:
1. No body is read before it is known who asks (Host, token), and nothing is kept beyond Bounds: so many bytes of a
   body, within so many seconds, of so many clients at a time. Others are told to come back.
2. A datapoint is taken whole, as a frame of its stream would be, or not at all, and its client is told why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from framesift.clock.clock import Clock, MonitoredThread
from framesift.frame import RefusalReason
from framesift.listeners import pictures
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
from framesift.listeners.listener_settings import ListenerSettings
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.listeners.server import ListenerServer
from framesift.listeners.stream_intakes import StreamIntakes, TooManyStreams
from framesift.sampling.intake import Intake, IntakeDecision
from framesift.telemetry import Condition, Telemetry

_WELCOME = (
    "framesift takes datapoints here: POST /datapoints, multipart/form-data or application/json.\n"
    "Each is an image (JPEG or PNG) and, in the wire format of Roboflow's inference server, its prediction.\n"
    "The answer is the verdict: which strategies matched, which was charged, or the reason of the refusal."
)
_COME_BACK_S = {"no_policy_yet": 5, RefusalReason.SPOOL_FULL.value: 60, RefusalReason.SPOOL_BROKEN.value: 10}
_STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class IngestBounds:
    """What is let in. idle_s: for how long nothing may be asked on a connection."""

    max_body_bytes: int = 32 << 20
    body_within_s: float = 30.0
    idle_s: float = 30.0
    head_within_s: float = HEAD_WITHIN_S
    max_concurrent: int = 4


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer. again_s: after how many seconds it may be another one, None where asking again is no use."""

    status: int
    content: dict[str, Any] = field(repr=False)
    again_s: int | None = None


class IngestListener:
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
        self._options = settings
        self._bounds = bounds or IngestBounds()
        self._clock = clock
        self._telemetry = telemetry
        self._name = f"door {settings.listen}"
        self._token = None if settings.token is None else settings.token.get_secret_value()
        self._seats = StreamIntakes(lambda stream, _: intake_of(stream), clock, telemetry)
        self._at_work = 0
        self._workers = ThreadPoolExecutor(self._bounds.max_concurrent, thread_name_prefix="door")
        self._listening = ListenerServer(
            settings.host, settings.port, self._serve, clock=clock, puzzled=self._puzzled, broke=on_failure
        )

    @property
    def port(self) -> int:
        return self._listening.port

    def start(self) -> None:
        self._listening.start()

    def stop(self, within_s: float) -> None:
        self._listening.stop(min(within_s, _STOP_S))
        self._workers.shutdown(wait=False, cancel_futures=True)

    @property
    def loops(self) -> tuple[MonitoredThread, ...]:
        return (self._listening.loop(),)

    def _puzzled(self, error: BaseException) -> None:
        self._telemetry.count_request(self._options.stream, RequestOutcome.FAILED)
        self._telemetry.health.set(self._name, Condition.DEGRADED, f"a request failed: {type(error).__name__}")
        self._telemetry.error("door_failed", door=self._options.listen, cause=error)

    # -- one client

    async def _serve(self, client: ClientConnection) -> None:
        while not client.stopping:
            try:
                head = await client.next_head(self._bounds.idle_s, self._bounds.head_within_s)
                if head is None:
                    return
                framing = framing_of_request(head)
            except BadHttp as error:
                await self._refuse(client, _Told(error.status, {"error": str(error), "where": "head"}))
                return
            except TruncatedMessage:
                return
            refusal = self._refusal(head, framing)
            if refusal is None and self._at_work >= self._bounds.max_concurrent:
                self._telemetry.count_request(self._options.stream, RequestOutcome.BUSY)
                refusal = _Told(503, {"error": "too many datapoints at once", "reason": RequestOutcome.BUSY.value}, 1)
            if refusal is not None:
                if framing.kind is not FramingKind.NONE:
                    await self._refuse(client, refusal, head)
                    return
                told = refusal
            else:
                told, is_whole = await self._judged(client, head, framing)
                if not is_whole:
                    await self._refuse(client, told)
                    return
            ends = head.closes_connection or client.stopping
            client.writer.write(self._answer(told, head, ends=ends))
            await client.writer.drain()
            if ends:
                return

    async def _judged(self, client: ClientConnection, head: Head, framing: Framing) -> tuple[_Told, bool]:
        """The answer, and whether all of the request was read, so that another may follow it."""
        self._at_work += 1
        try:
            body = await asyncio.wait_for(self._body(client, head, framing), self._bounds.body_within_s)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._workers, self._judge, head.get("content-type"), body), True
        except asyncio.TimeoutError:
            late = f"the body did not arrive within {self._bounds.body_within_s:g} s"
            return _Told(408, {"error": late, "where": "body"}), False
        except BadHttp as error:
            return _Told(error.status, {"error": str(error), "where": "body"}), False
        except TruncatedMessage:
            return _Told(400, {"error": "the body ends too early", "where": "body"}), False
        finally:
            self._at_work -= 1

    async def _body(self, client: ClientConnection, head: Head, framing: Framing) -> bytearray:
        if "100-continue" in head.list_values("expect"):
            client.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        kept = bytearray()
        async with contextlib.aclosing(read_body(client.reader, framing)) as body:
            async for piece in body:
                kept += piece.content
                if len(kept) > self._bounds.max_body_bytes:
                    raise BadHttp(413, self._too_large())
        return kept  # and no copy of it: it may be large

    def _too_large(self) -> str:
        return f"the body has more than {self._bounds.max_body_bytes:,} bytes, the most that are allowed"

    def _refusal(self, head: Head, framing: Framing) -> _Told | None:
        """What can be said before the body has come."""
        method, target, _ = head.start_line
        if self._token is not None:
            if not compare_digest(head.get("authorization").encode(), f"Bearer {self._token}".encode()):
                return _Told(401, {"error": "the token is missing or wrong", "where": "Authorization"})
        elif not has_allowed_host(head, self._options.host):
            return _Told(421, {"error": "this server is not called so; by its address it is", "where": "Host"})
        elif has_foreign_origin(head, self._options.host):
            return _Told(403, {"error": "pages of other machines hand nothing in here", "where": "Origin"})
        path = target.partition("?")[0]
        if path == "/" and method in ("GET", "HEAD"):
            return _Told(200, {})
        if path != "/datapoints":
            return _Told(404, {"error": f"{path[:80]!r} is nothing here: POST /datapoints is", "where": "path"})
        if method != "POST":
            return _Told(405, {"error": f"{method[:20]!r} is not allowed: POST is", "where": "method"})
        if framing.kind is FramingKind.NONE:
            return _Told(411, {"error": "a body with its Content-Length, or in chunks, is missing", "where": "body"})
        if framing.size_bytes > self._bounds.max_body_bytes:
            return _Told(413, {"error": self._too_large(), "where": "Content-Length"})
        return None

    def _answer(self, told: _Told, head: Head | None = None, *, ends: bool) -> bytes:
        more = {} if told.again_s is None else {"Retry-After": str(told.again_s)}
        if told.status == 401:
            more["WWW-Authenticate"] = "Bearer"
        elif told.status == 405:
            more["Allow"] = "POST"
        bodiless = head is not None and head.start_line[0] == "HEAD"
        return build_response(
            told.status, told.content or _WELCOME, extra_headers=more, close=ends, without_body=bodiless
        )

    async def _refuse(self, client: ClientConnection, told: _Told, head: Head | None = None) -> None:
        if told.status != 503:
            self._telemetry.count_request(self._options.stream, RequestOutcome.REFUSED)
        await client.send_last_response(self._answer(told, head, ends=True))

    # -- in a worker's thread

    def _judge(self, content_type: str, body: bytearray) -> _Told:
        try:
            submission = parse_submission(content_type, body)
            body.clear()  # what was read is a copy, and pictures are still to be decoded
        except InvalidRequest as fault:
            self._telemetry.count_request(self._options.stream, RequestOutcome.REFUSED)
            return _told_of(fault)
        each = [self._judge_one(item) for item in submission.items]
        if not submission.is_batch:
            return each[0]
        late = [told.again_s for told in each if told.again_s is not None]
        content = {"datapoints": [told.content for told in each]}
        if late and not any(told.content.get("id") for told in each):
            return _Told(503, content, max(late))
        return _Told(200, content)

    def _judge_one(self, item: SubmittedItem) -> _Told:
        try:
            stream = stream_of(item, self._options.stream)
            if not self._seats.has_policy(stream):
                reason = "no_policy_yet"
                return _Told(503, {**_verdict(None), "reason": reason}, _COME_BACK_S[reason])
            picture = _look(item)
            captured = captured_of(item, self._clock.now())
            with pictures.large_picture_lock(picture):
                pixels = _decoded(item, picture)
                prediction = prediction_of(item, int(pixels.shape[1]), int(pixels.shape[0]))
                decision = self._seats.offer(stream, pixels, prediction, captured)
        except TooManyStreams as error:
            self._telemetry.count_request(self._options.stream, RequestOutcome.REFUSED)
            return _told_of(InvalidRequest(400, str(error), item.path_of("stream")))
        except InvalidRequest as fault:
            self._telemetry.count_request(self._options.stream, RequestOutcome.REFUSED)
            return _told_of(fault)
        except Exception as error:  # noqa: BLE001  # a bug in sampling: told, counted, and the next one is tried
            self._puzzled(error)
            return _Told(500, {"error": "framesift failed on this one; its log says why", "where": item.where})
        self._telemetry.count_request(self._options.stream, RequestOutcome.OFFERED)
        self._telemetry.health.set_ok(self._name)
        verdict = _verdict(decision)
        again_s = _COME_BACK_S.get(str(verdict["reason"]))
        return _Told(200 if again_s is None else 503, verdict, again_s)


def _look(item: SubmittedItem) -> pictures.EncodedPicture:
    content = image_of(item)
    try:
        return pictures.parse_picture(content)
    except pictures.BadPicture as error:
        raise InvalidRequest(
            413 if len(content) > pictures.MAX_BYTES else 422, str(error), item.path_of("image")
        ) from None


def _decoded(item: SubmittedItem, picture: pictures.EncodedPicture) -> Any:
    try:
        return pictures.decode(picture)
    except pictures.BadPicture as error:
        raise InvalidRequest(422, str(error), item.path_of("image")) from None


def _verdict(decision: IntakeDecision | None) -> dict[str, Any]:
    accepted = None if decision is None else decision.accepted
    return {
        "matched": [] if decision is None else list(decision.matched),
        "charged": None if accepted is None else accepted.strategy,
        "reason": None if decision is None or decision.refusal is None else decision.refusal.value,
        "id": None if accepted is None else accepted.id,
    }


def _told_of(fault: InvalidRequest) -> _Told:
    return _Told(fault.status, {"error": fault.message, "where": fault.where})
