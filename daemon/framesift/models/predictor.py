"""Predictor: asks the model for the predictions of one stream, and reports how the model does.

A frame of a live stream gets one try. A frame of a file waits while the model is unavailable: every frame of a file
counts, and no newer one replaces it. But not for ever: the frame itself may be what makes an inference server fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from framesift.clock.clock import Clock
from framesift.frame import Frame, RefusalReason
from framesift.models.health import ModelHealth
from framesift.models.model import Model, ModelFailed, ModelUnavailable
from framesift.prediction.prediction import Prediction
from framesift.telemetry import Telemetry

RETRY_S = 1.0
GIVE_UP_FRAME_AFTER_S = 600.0


class Predictor:
    """Asks the model for the frames of one stream; for that stream's thread."""

    def __init__(
        self,
        model: Model,
        health: ModelHealth,
        *,
        telemetry: Telemetry,
        clock: Clock,
        stop: threading.Event,
        on_prediction: Callable[[Frame, Prediction], None] | None = None,
    ) -> None:
        """health: of the model, shared by all streams. stop: ends waiting.

        on_prediction: called with every prediction, for a recording; with it, the model is asked even while the policy
        is disabled.
        """
        self._model = model
        self._health = health
        self._telemetry = telemetry
        self._clock = clock
        self._stop = stop
        self._on_prediction = on_prediction

    @property
    def is_recording(self) -> bool:
        """Whether somebody wants every prediction, whatever the policy says."""
        return self._on_prediction is not None

    def predict(self, frame: Frame) -> Prediction | None:
        """The model's prediction, None if it failed on this frame, which is counted. Raises ModelBroken."""
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
        if prediction.left_out:
            self._telemetry.warning(
                "prediction_parts_dropped", stream=frame.stream, frame=frame.number, why=_what_is_left_out(prediction)
            )
        took_s = self._clock.monotonic() - started_s
        self._telemetry.record_prediction(frame.stream, took_s, prediction.left_out)
        if frame.media_s is None:
            # Before the model's own time, it may have waited until the model was done with another stream's picture.
            working_s = min(took_s, prediction.time_s or 0.0)
            self._telemetry.record_picture_age(frame.stream, frame.captured.age_s(self._clock.now()) - working_s)
        if self._on_prediction is not None:
            self._on_prediction(frame, prediction)
        return prediction

    def end_stream(self, stream: str) -> None:
        """The stream has ended: its failures no longer count in the model's health."""
        self._health.remove_stream(stream)

    def _ask(self, frame: Frame) -> Prediction:
        """Raises ModelFailed; for a frame of a file, ModelUnavailable only after a long time or when stopping."""
        began_s = self._clock.monotonic()
        while True:
            try:
                with self._health.asking():
                    return self._model.predict(frame)
            except ModelUnavailable as error:
                waited_s = self._clock.monotonic() - began_s
                if frame.media_s is None or self._stop.is_set() or waited_s >= GIVE_UP_FRAME_AFTER_S:
                    raise
                self._health.record_unavailable(str(error))
                wait_s = RETRY_S if error.retry_after_s is None else error.retry_after_s
            self._clock.wait(self._stop, wait_s)


def _what_is_left_out(prediction: Prediction) -> str:
    parts = f"{prediction.dropped} parts of a prediction were malformed or too many, and were left out"
    extras = f"{prediction.dropped_extras} extras of a prediction can't be kept: docs/models.md says which can"
    counts = ((prediction.dropped, parts), (prediction.dropped_extras, extras))
    return "; ".join(text for count, text in counts if count)
