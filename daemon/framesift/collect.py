"""Loop one, a thread per stream: frame -> prediction -> verdict -> credit -> spool.

Every frame that the stream hands over ends in exactly one place: accepted, or counted under one Refusal. Frames are
refused before they are encoded: no JPEG is made for a frame that no credit could carry.
"""

from __future__ import annotations

from collections.abc import Callable

from framesift.claims import Origin, claims
from framesift.clock import Clock
from framesift.datapoint import Unencodable, encode
from framesift.frame import Frame, Refusal
from framesift.limits import Refused
from framesift.models import Model, ModelFailed
from framesift.policy import Policy
from framesift.prediction import Prediction
from framesift.sampling import AcceptedClasses, Sampler, Verdict
from framesift.spool import Accepted, Spool, SpoolBroken, SpoolFull
from framesift.streams import Stream
from framesift.telemetry import Telemetry

# A model that fails on so many frames in a row will not recover by being asked again: the process ends, and the
# service manager starts it afresh.
MOST_FAILURES_IN_A_ROW = 100


class ModelBroken(Exception):
    """The model failed on too many frames in a row."""


class Collector:
    """Runs one stream to its end. `policy` may be replaced at any time: it holds from the next frame on."""

    def __init__(
        self,
        stream: Stream,
        origin: Origin,
        *,
        model: Model,
        policy: Policy,
        classes: AcceptedClasses,
        spool: Spool,
        telemetry: Telemetry,
        clock: Clock,
        accepted: Callable[[], None],
        record: Callable[[Frame, Prediction], None] | None = None,
    ) -> None:
        self.policy = policy
        self._stream = stream
        self._origin = origin
        self._model = model
        self._classes = classes
        self._spool = spool
        self._telemetry = telemetry
        self._clock = clock
        self._accepted = accepted
        self._record = record
        self._sampler: Sampler | None = None
        self._sampled_by: Policy | None = None
        self._failures = 0

    def take(self, policy: Policy) -> None:
        self.policy = policy

    def run(self) -> None:
        """Until the stream ends. Raises StreamLost where it can't go on, ModelBroken, and bugs."""
        for frame in self._stream.frames():
            self._telemetry.read(frame.stream)
            refusal = self._consider(frame)
            if refusal is not None:
                self._telemetry.refused(frame.stream, refusal)

    def _consider(self, frame: Frame) -> Refusal | None:
        policy = self.policy
        if not policy.enabled and self._record is None:
            return Refusal.DISABLED
        prediction = self._predict(frame)
        if prediction is None:
            return Refusal.MODEL_FAILED
        if not policy.enabled:
            return Refusal.DISABLED
        sampler = self._sampler_for(policy)
        verdict = sampler.judge(frame, prediction)
        for match in verdict.matches:
            self._telemetry.matched(frame.stream, match.strategy)
        if verdict.refusal is not None:
            return verdict.refusal
        return self._accept(frame, prediction, verdict, sampler, policy)

    def _accept(
        self, frame: Frame, prediction: Prediction, verdict: Verdict, sampler: Sampler, policy: Policy
    ) -> Refusal | None:
        candidates, quotas = claims(policy, verdict, prediction, self._origin, frame.captured, self._clock.now())
        try:
            grant = self._spool.ask(quotas, frame.captured)
            if isinstance(grant, Refused):
                return Refusal.BATCH_FULL if grant.batch_full else Refusal.LIMIT
            datapoint = encode(
                frame,
                prediction,
                device=self._origin.device,
                max_size=policy.max_image_size,
                jpeg_quality=policy.jpeg_compression_level,
            )
            answer = self._spool.put(datapoint, candidates, quotas)
        except SpoolFull:
            return Refusal.SPOOL_FULL
        except SpoolBroken:
            return Refusal.SPOOL_BROKEN
        except Unencodable:
            return Refusal.UNENCODABLE
        if not isinstance(answer, Accepted):
            return answer.refusal
        sampler.accepted(frame, prediction, verdict)
        self._telemetry.accepted(frame.stream, answer.strategy)
        self._accepted()
        return None

    def _predict(self, frame: Frame) -> Prediction | None:
        started_s = self._clock.monotonic()
        try:
            prediction = self._model.predict(frame)
        except ModelFailed as error:
            self._failures += 1
            self._telemetry.warning("model_failed", stream=frame.stream, frame=frame.number, why=str(error))
            if self._failures >= MOST_FAILURES_IN_A_ROW:
                self._telemetry.refused(frame.stream, Refusal.MODEL_FAILED)
                raise ModelBroken(f"the model failed on {self._failures} frames in a row, at last: {error}") from error
            return None
        self._failures = 0
        if prediction.dropped:
            why = f"{prediction.dropped} parts of a prediction are malformed or too many, and were left out"
            self._telemetry.warning("prediction_parts_dropped", stream=frame.stream, frame=frame.number, why=why)
        self._telemetry.predicted(frame.stream, self._clock.monotonic() - started_s, prediction.dropped)
        if self._record is not None:
            self._record(frame, prediction)
        return prediction

    def _sampler_for(self, policy: Policy) -> Sampler:
        if self._sampler is None or self._sampled_by is not policy:
            fresh = Sampler(self._stream.name, policy, seed=self._origin.seed, accepted=self._classes)
            if self._sampler is not None:
                fresh.adopt(self._sampler)
            self._sampler, self._sampled_by = fresh, policy
        return self._sampler
