"""Sampling of forwarded inferences, in a thread of its own, after the client has got its response.

No client waits for it, and its errors show only in the counters, the log and the health report. If too many exchanges
wait, the newest are left out. A picture is decoded only if its pixels are needed, because forwarding uses the same
processors: whether a strategy matches and quota is left is known from the picture's header and the prediction.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import Any

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.clock.moment import Moment
from framesift.listeners.body_copies import BodyCopy
from framesift.listeners.http1 import Head
from framesift.listeners.inference_requests import (
    InferenceCall,
    InferenceInput,
    NothingToSample,
    parse_input,
    raw_predictions,
)
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.listeners.stream_intakes import ModelPolicies, StreamIntakes
from framesift.pictures import encoded_picture as pictures
from framesift.policy import MAX_PROJECT_PAIRS, NoPolicyReason, ProjectPair
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Classification, MultiLabel, Prediction, Stub, Task, with_origin
from framesift.telemetry import Condition, Telemetry

MAX_WAITING = 32
_POLL_S = 1.0
_PARKED_POLL_S = 0.02  # how often exchanges that wait for a policy are tried again
_NICENESS = 10
_OUTCOMES = {
    NoPolicyReason.REQUESTED: RequestOutcome.NO_POLICY_YET,
    NoPolicyReason.UNAVAILABLE: RequestOutcome.NO_POLICY_YET,
    NoPolicyReason.NONE: RequestOutcome.NO_POLICY,
    NoPolicyReason.TOO_MANY: RequestOutcome.TOO_MANY_MODELS,
}


@dataclass(frozen=True, slots=True)
class InferenceExchange:
    """A request to the inference server and its response, with copies of both bodies.

    response_head: None if the proxy answered by itself (version 0). captured: when the request's head was read.
    """

    call: InferenceCall
    request_head: Head = field(repr=False)
    request_body: BodyCopy = field(repr=False)
    response_head: Head | None = field(repr=False)
    response_body: BodyCopy = field(repr=False)
    captured: Moment

    def release(self) -> None:
        """Free the memory of both copies."""
        self.request_body.release()
        self.response_body.release()


@dataclass(frozen=True, slots=True)
class _Parked:
    """An exchange that waits until its policy has been fetched, with its parsed request."""

    exchange: InferenceExchange
    request: InferenceInput


class BackgroundSampler:
    """Samples exchanges one after the other. `enqueue` may be called from any thread.

    stream: the stream of everything that is forwarded. health_name: its name in the health report. model_policies:
    knows the policies of the models that clients call; None: every model follows the stream's policy. on_failure: gets
    the exception that ended the thread.
    """

    def __init__(
        self,
        stream: str,
        health_name: str,
        intakes: StreamIntakes,
        model_policies: ModelPolicies | None = None,
        *,
        clock: Clock,
        telemetry: Telemetry,
        on_failure: Callable[[BaseException], None],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._stream = stream
        self._health_name = health_name
        self._intakes = intakes
        self._model_policies = model_policies
        self._telemetry = telemetry
        self._on_failure = on_failure
        self._heartbeat = HeartbeatClock(clock)
        # None only wakes the thread, so that it checks whether it is to stop.
        self._waiting: queue.Queue[InferenceExchange | None] = queue.Queue(max_waiting)
        self._parked: list[_Parked] = []
        self._max_parked = max(1, max_waiting // 2)
        self._reported_too_many = False
        self._stop = threading.Event()
        self._skip_rest = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener sampling", daemon=True)
        self.monitored = MonitoredThread(health_name, self._thread, self._heartbeat)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """Sample what waits as far as the time allows; the rest is counted as left out. Return whether it has ended."""
        self._stop.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join(within_s)
            self._skip_rest.set()
        return not self._thread.is_alive()

    def enqueue(self, exchange: InferenceExchange) -> None:
        """Take over an exchange. Never blocks: if too many wait, the exchange is released and counted as left out."""
        try:
            if self._stop.is_set():
                raise queue.Full
            self._waiting.put_nowait(exchange)
        except queue.Full:
            exchange.release()
            self._telemetry.count_request(self._stream, RequestOutcome.BUSY)

    def _run(self) -> None:
        try:
            _lower_priority()
            while not (self._stop.is_set() and self._waiting.empty()):
                self._heartbeat.monotonic()
                self._retry_parked()
                try:
                    exchange = self._waiting.get(timeout=_PARKED_POLL_S if self._parked else _POLL_S)
                except queue.Empty:
                    continue
                if exchange is None:
                    continue
                if self._skip_rest.is_set():
                    self._finish(exchange, RequestOutcome.BUSY)
                else:
                    self._process(exchange)
            for parked in self._parked:
                self._finish(parked.exchange, RequestOutcome.NO_POLICY_YET)
        except BaseException as error:  # noqa: BLE001  # whatever it is: a loop that should not end has ended
            self._on_failure(error)

    def _finish(self, exchange: InferenceExchange, outcome: RequestOutcome) -> None:
        exchange.release()
        self._telemetry.count_request(self._stream, outcome)

    def _retry_parked(self) -> None:
        parked, self._parked = self._parked, []
        for one in parked:
            self._process(one.exchange, one.request)

    def _process(self, exchange: InferenceExchange, request: InferenceInput | None = None) -> None:
        """Sample an exchange, or park it while its policy is being fetched. request: if it was parsed before."""
        try:
            if request is None and self._takes_nothing():
                outcome = RequestOutcome.OFFERED
            else:
                request = request or parse_input(exchange.call, exchange.request_head, exchange.request_body.content())
                pair = self._pair_of(request)
                if pair is NoPolicyReason.REQUESTED and len(self._parked) < self._max_parked:
                    self._parked.append(_Parked(exchange, request))
                    return
                outcome = self._sample(exchange, request, pair)
            self._telemetry.health.set_ok(self._health_name)
        except NothingToSample as nothing:
            outcome = nothing.outcome
        except Exception as error:  # noqa: BLE001  # a bug in sampling must not stop the traffic
            outcome = RequestOutcome.FAILED
            self._report_error(error)
        self._finish(exchange, outcome)

    def _takes_nothing(self) -> bool:
        """Whether the request need not be parsed: one policy holds for every model, and nothing is taken under it."""
        by_model = self._model_policies is not None and self._model_policies.has_project_policies
        return not by_model and self._intakes.standing_refusal(self._stream) is not None

    def _pair_of(self, request: InferenceInput) -> ProjectPair | NoPolicyReason | None:
        if self._model_policies is None:
            return None
        return self._model_policies.project_pair_of(self._stream, request.model_id, request.dataset)

    def _report_error(self, error: Exception) -> None:
        # Without the exception's text: it may repeat a part of a request, and with it a client's key.
        kind = type(error).__name__
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
        self._telemetry.health.set(self._health_name, Condition.DEGRADED, f"sampling of inferences fails: {kind}")
        self._telemetry.error(
            "listener_sampling_failed", stream=self._stream, kind=kind, at=" < ".join(reversed(places))
        )

    def _sample(
        self, exchange: InferenceExchange, request: InferenceInput, pair: ProjectPair | NoPolicyReason | None
    ) -> RequestOutcome:
        """Offer the pictures of an exchange to the intake. Raises NothingToSample, and any exception of a bug."""
        if isinstance(pair, NoPolicyReason):
            if pair is NoPolicyReason.TOO_MANY and not self._reported_too_many:
                self._reported_too_many = True
                why = f"there are policies for {MAX_PROJECT_PAIRS} models and projects already, and that is the maximum"
                self._telemetry.warning("model_not_collected", stream=self._stream, model_id=request.model_id, why=why)
            return _OUTCOMES[pair]
        if pair is not None and self._intakes.standing_refusal(self._stream, pair) is not None:
            return RequestOutcome.OFFERED
        answers: list[Any] = [None] * request.image_count
        if exchange.response_head is not None:
            answers = raw_predictions(exchange.response_head, exchange.response_body.content(), request)
        for image, answer in zip(request.images(), answers, strict=True):
            try:
                encoded = pictures.parse_picture(image)
                with pictures.large_picture_lock(encoded):
                    picture = pictures.LazyEncodedPicture(encoded)
                    prediction = _prediction(answer, picture.width, picture.height, exchange.call.task, request)
                    if pair is None and not self._suits_project(prediction):
                        raise NothingToSample(RequestOutcome.NO_POLICY)
                    self._intakes.offer(self._stream, picture, prediction, exchange.captured, pair)
                self._telemetry.record_prediction(self._stream, prediction.time_s or 0.0, prediction.left_out)
            except (pictures.BadPicture, _NoMatchingPrediction):
                raise NothingToSample(RequestOutcome.UNREADABLE) from None
        return RequestOutcome.OFFERED

    def _suits_project(self, prediction: Prediction) -> bool:
        """Whether the prediction suits the project of the stream's pictures. Classes don't suit a project for boxes."""
        is_label = isinstance(prediction, Classification | MultiLabel)
        return not is_label or self._model_policies is None or self._model_policies.accepts_labels(self._stream)


def _lower_priority() -> None:
    """Let forwarding go first when processors are short: Linux can lower the priority of the calling thread alone."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class _NoMatchingPrediction(Exception):
    """The answer is no prediction, or is one for a picture of another size."""


def _prediction(answer: object, width: int, height: int, task: Task | None, request: InferenceInput) -> Prediction:
    """Parse the server's answer for one picture of that size, in pixels. Raises _NoMatchingPrediction."""
    if answer is None:
        return Stub(task=task or Task.OBJECT_DETECTION, width=width, height=height, model_id=request.model_id)
    try:
        is_stub = isinstance(answer, dict) and bool(answer.get("is_stub"))
        prediction = wire.parse_prediction_of(answer, width, height, None if is_stub else task)
    except ValueError:
        raise _NoMatchingPrediction from None
    return with_origin(prediction, model_id=request.model_id)
