"""Loop one, a thread per stream: frame -> prediction -> intake (verdict, credit, spool).

Every frame that the stream hands over ends in exactly one place: accepted, or counted under one Refusal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from framesift.clock.clock import Clock
from framesift.frame import Frame, RefusalReason
from framesift.models import Model, ModelFailed, ModelUnavailable
from framesift.models.health import ModelHealth
from framesift.prediction.prediction import Prediction
from framesift.sampling.intake import Intake
from framesift.streams import Stream
from framesift.telemetry import Telemetry

# A file waits for a model that is away: every frame counts, and there is no newer one to look at. But not for ever: it
# may be the frame that a server falls over.
RETRY_S = 1.0
GIVE_UP_FRAME_AFTER_S = 600.0


class Collector:
    """Runs one stream to its end. health: of the model, shared by all that ask it. record: told of every prediction;
    with it, the model is asked even while the policy collects nothing.
    """

    def __init__(
        self,
        stream: Stream,
        intake: Intake,
        *,
        model: Model,
        health: ModelHealth,
        telemetry: Telemetry,
        clock: Clock,
        stop: threading.Event,
        on_prediction: Callable[[Frame, Prediction], None] | None = None,
    ) -> None:
        self.intake = intake
        self._stream = stream
        self._model = model
        self._health = health
        self._telemetry = telemetry
        self._clock = clock
        self._stop = stop
        self._record = on_prediction

    def run(self) -> None:
        """Until the stream ends. Raises StreamLost where it can't go on, ModelBroken, and bugs."""
        try:
            for frame in self._stream.frames():
                self._telemetry.count_read(frame.stream)
                if self._record is None and not self.intake.policy.enabled:
                    self._telemetry.count_refused(frame.stream, RefusalReason.DISABLED)
                    continue
                prediction = self._predict(frame)
                if prediction is not None:
                    self.intake.offer(frame, prediction)
        finally:
            self._health.remove_stream(self._stream.name)

    def _predict(self, frame: Frame) -> Prediction | None:
        """None where the model failed, which is counted. Raises ModelBroken."""
        started_s = self._clock.monotonic()
        try:
            prediction = self._ask(frame)
        except ModelFailed as error:
            self._telemetry.count_refused(frame.stream, RefusalReason.MODEL_FAILED)
            if isinstance(error, ModelUnavailable):
                self._health.record_unavailable(str(error))
            else:
                self._telemetry.warning("model_failed", stream=frame.stream, frame=frame.number, why=str(error))
                self._health.record_failure(frame.stream, str(error))
            return None
        self._health.record_success(frame.stream)
        if prediction.dropped_count:
            why = f"{prediction.dropped_count} parts of a prediction are malformed or too many, and were left out"
            self._telemetry.warning("prediction_parts_dropped", stream=frame.stream, frame=frame.number, why=why)
        self._telemetry.record_prediction(frame.stream, self._clock.monotonic() - started_s, prediction.dropped_count)
        if self._record is not None:
            self._record(frame, prediction)
        return prediction

    def _ask(self, frame: Frame) -> Prediction:
        """Raises ModelFailed; for a frame of a file, ModelUnavailable only after a long time or when stopping."""
        began_s = self._clock.monotonic()
        while True:
            try:
                return self._model.predict(frame)
            except ModelUnavailable as error:
                waited_s = self._clock.monotonic() - began_s
                if frame.media_s is None or self._stop.is_set() or waited_s >= GIVE_UP_FRAME_AFTER_S:
                    raise
                self._health.record_unavailable(str(error))
                wait_s = RETRY_S if error.retry_after_s is None else error.retry_after_s
            self._clock.wait(self._stop, wait_s)
