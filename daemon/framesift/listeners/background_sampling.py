"""Afterwards: sampling of what has passed, in a thread of its own, when its client has its answer already.

Nobody waits for it, and nothing that goes wrong in it is noticed outside but in numbers and in the health. When too
much waits, what is newest is left out. A picture is decoded only when its pixels are needed, since traffic has to do
with the same processors: what no strategy wants, or no credit could carry, is known by its header and its answer alone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from traceback import extract_tb
from typing import Any

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.clock.moment import Moment
from framesift.listeners import pictures
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
from framesift.policy import MAX_PROJECT_PAIRS, NoPolicyReason, ProjectPair
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Classification, MultiLabel, Prediction, Stub, Task
from framesift.telemetry import Condition, Telemetry

MAX_WAITING = 32
_LOOK_S = 1.0
_LOOK_AGAIN_S = 0.02  # whether a policy has come, for which something waits
_NICE = 10
_OUTCOMES = {
    NoPolicyReason.REQUESTED: RequestOutcome.NO_POLICY_YET,
    NoPolicyReason.UNAVAILABLE: RequestOutcome.NO_POLICY_YET,
    NoPolicyReason.NONE: RequestOutcome.NO_POLICY,
    NoPolicyReason.TOO_MANY: RequestOutcome.TOO_MANY_MODELS,
}


@dataclass(frozen=True, slots=True)
class InferenceExchange:
    """A request and its answer. answer_head: None for the stub's, which is ours. captured: when the request came."""

    call: InferenceCall
    request_head: Head = field(repr=False)
    request_body: BodyCopy = field(repr=False)
    response_head: Head | None = field(repr=False)
    response_body: BodyCopy = field(repr=False)
    captured: Moment

    def release(self) -> None:
        self.request_body.release()
        self.response_body.release()


@dataclass(frozen=True, slots=True)
class _Parked:
    """An exchange that waits for a policy, and what it asks."""

    exchange: InferenceExchange
    wanted: InferenceInput


class BackgroundSampler:
    """stream: of everything that passes. models: who knows of the policies of clients' models, None: all is the
    stream's.
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
        self._seats = intakes
        self._models = model_policies
        self._telemetry = telemetry
        self._failed = on_failure
        self._pulse = HeartbeatClock(clock)
        self._waiting: queue.Queue[InferenceExchange | None] = queue.Queue(
            max_waiting
        )  # None: look whether it is to stop
        self._parked: list[_Parked] = []
        self._most_parked = max(1, max_waiting // 2)
        self._told_too_many = False
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="door sampling", daemon=True)
        self.loop = MonitoredThread(health_name, self._thread, self._pulse)

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """What waits is sampled if it can be within the time, and counted as left out otherwise."""
        self._stop.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join(within_s)
            self._hurry.set()

    def enqueue(self, exchange: InferenceExchange) -> None:
        """Never waits."""
        try:
            if self._stop.is_set():
                raise queue.Full
            self._waiting.put_nowait(exchange)
        except queue.Full:
            exchange.release()
            self._telemetry.count_request(self._stream, RequestOutcome.BUSY)

    def _run(self) -> None:
        try:
            _give_way()
            while not (self._stop.is_set() and self._waiting.empty()):
                self._pulse.monotonic()
                self._look_at_parked()
                try:
                    exchange = self._waiting.get(timeout=_LOOK_AGAIN_S if self._parked else _LOOK_S)
                except queue.Empty:
                    continue
                if exchange is None:
                    continue
                if self._hurry.is_set():
                    self._end(exchange, RequestOutcome.BUSY)
                else:
                    self._try(exchange)
            for parked in self._parked:
                self._end(parked.exchange, RequestOutcome.NO_POLICY_YET)
        except BaseException as error:  # noqa: BLE001  # whatever it is: a loop that should not end has ended
            self._failed(error)

    def _end(self, exchange: InferenceExchange, outcome: RequestOutcome) -> None:
        exchange.release()
        self._telemetry.count_request(self._stream, outcome)

    def _look_at_parked(self) -> None:
        parked, self._parked = self._parked, []
        for one in parked:
            self._try(one.exchange, one.wanted)

    def _try(self, exchange: InferenceExchange, wanted: InferenceInput | None = None) -> None:
        """wanted: what it asks, where that was read before. Where the policy is being asked for, it waits for that."""
        try:
            if wanted is None and self._is_off():
                outcome = RequestOutcome.OFFERED
            else:
                wanted = wanted or parse_input(exchange.call, exchange.request_head, exchange.request_body.content())
                pairing = self._pairing_of(wanted)
                if pairing is NoPolicyReason.REQUESTED and len(self._parked) < self._most_parked:
                    self._parked.append(_Parked(exchange, wanted))
                    return
                outcome = self._sample(exchange, wanted, pairing)
            self._telemetry.health.set_ok(self._health_name)
        except NothingToSample as skipped:
            outcome = skipped.outcome
        except Exception as error:  # noqa: BLE001  # a bug in sampling is no reason that traffic stops
            outcome = RequestOutcome.FAILED
            self._puzzled(error)
        self._end(exchange, outcome)

    def _is_off(self) -> bool:
        """Whether what was asked need not be read: one policy holds for all, and collects nothing."""
        by_model = self._models is not None and self._models.by_model
        return not by_model and self._seats.refusal_if_disabled(self._stream) is not None

    def _pairing_of(self, wanted: InferenceInput) -> ProjectPair | NoPolicyReason | None:
        if self._models is None:
            return None
        return self._models.pairing_of(self._stream, wanted.model_id, wanted.dataset)

    def _puzzled(self, error: Exception) -> None:
        # Without the error's own words: they may repeat a part of a request, and with it somebody's key.
        kind = type(error).__name__
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
        self._telemetry.health.set(self._health_name, Condition.DEGRADED, f"sampling what passes fails: {kind}")
        self._telemetry.error("door_sampling_failed", stream=self._stream, kind=kind, at=" < ".join(reversed(places)))

    def _sample(
        self, exchange: InferenceExchange, wanted: InferenceInput, pairing: ProjectPair | NoPolicyReason | None
    ) -> RequestOutcome:
        """Raises Skipped, and bugs."""
        if isinstance(pairing, NoPolicyReason):
            if pairing is NoPolicyReason.TOO_MANY and not self._told_too_many:
                self._told_too_many = True
                why = f"there are policies for {MAX_PROJECT_PAIRS} models and projects already, and that is the maximum"
                self._telemetry.warning("model_not_collected", stream=self._stream, model_id=wanted.model_id, why=why)
            return _OUTCOMES[pairing]
        if pairing is not None and self._seats.refusal_if_disabled(self._stream, pairing) is not None:
            return RequestOutcome.OFFERED
        said: list[Any] = [None] * wanted.image_count
        if exchange.response_head is not None:
            said = raw_predictions(exchange.response_head, exchange.response_body.content(), wanted)
        for image, one in zip(wanted.images(), said, strict=True):
            try:
                sized = pictures.parse_picture(image)
                with pictures.large_picture_lock(sized):
                    picture = pictures.LazyEncodedPicture(sized)
                    prediction = _prediction(one, picture.width, picture.height, exchange.call.task, wanted)
                    if pairing is None and not self._suits(prediction):
                        raise NothingToSample(RequestOutcome.NO_POLICY)
                    self._seats.offer(self._stream, picture, prediction, exchange.captured, pairing)
                self._telemetry.record_prediction(self._stream, prediction.time_s or 0.0, prediction.dropped_count)
            except (pictures.BadPicture, _Unlike):
                raise NothingToSample(RequestOutcome.UNREADABLE) from None
        return RequestOutcome.OFFERED

    def _suits(self, prediction: Prediction) -> bool:
        """Whether it may go where the stream's pictures go: where boxes are drawn, a classifier's may not."""
        is_label = isinstance(prediction, Classification | MultiLabel)
        return not is_label or self._models is None or self._models.accepts_labels(self._stream)


def _give_way() -> None:
    """Where processors are short, what passes goes first: this thread is nicer than the others, as Linux allows."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class _Unlike(Exception):
    """The answer is no prediction, or none of this picture."""


def _prediction(said: object, width: int, height: int, task: Task | None, wanted: InferenceInput) -> Prediction:
    """Raises _Unlike."""
    if said is None:
        return Stub(task=task or Task.OBJECT_DETECTION, width=width, height=height, model_id=wanted.model_id)
    try:
        stub = isinstance(said, dict) and bool(said.get("is_stub"))
        prediction = wire.parse_prediction(said, width=width, height=height, task=None if stub else task)
    except ValueError:
        raise _Unlike from None
    if (prediction.width, prediction.height) != (width, height):
        raise _Unlike
    return replace(prediction, model_id=wanted.model_id)
