"""The first loop of the pipeline, one thread per stream: frame -> prediction -> intake (decision, quota, spool).

Every frame that the stream gives ends in exactly one place: accepted, or counted under one RefusalReason.
"""

from __future__ import annotations

from framesift.frame import RefusalReason
from framesift.models.predictor import Predictor
from framesift.sampling.intake import Intake
from framesift.streams import MediaTimedStream, Stream
from framesift.telemetry import Telemetry


class Collector:
    """Collects the frames of one stream until the stream ends."""

    def __init__(
        self, stream: Stream | MediaTimedStream, intake: Intake, predictor: Predictor, telemetry: Telemetry
    ) -> None:
        self.intake = intake
        self._stream = stream
        self._predictor = predictor
        self._telemetry = telemetry

    def run(self) -> None:
        """Returns when the stream ends. Raises StreamLost if it can't go on, ModelBroken, and bugs."""
        try:
            for frame in self._stream.frames():
                self._telemetry.count_read(frame.stream)
                if frame.sent_s is not None:
                    self._telemetry.set_sender_offset(frame.stream, frame.sent_s - frame.captured.wall_s)
                standing = self.intake.standing_refusal
                if standing is not None and not self._predictor.is_recording:
                    self._telemetry.count_refused(frame.stream, standing)
                    continue
                takes = self.intake.requests.takes
                takes.claim(frame)
                prediction = self._predictor.predict(frame)
                if prediction is None:
                    takes.end(frame, RefusalReason.MODEL_FAILED)
                else:
                    self.intake.offer(frame, prediction)
        finally:
            self._predictor.end_stream(self._stream.name)
            self.intake.end_stream()
