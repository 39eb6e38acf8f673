"""DecisionNotes: hands what was decided on the frames of one stream to the decision record, and to coverage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from framesift.clock.clock import Clock
from framesift.coverage import CoverageCounts, CoveredFrame
from framesift.decisions import NEARLY, FrameDecision, Outcome, StrategyResult
from framesift.frame import Frame, RefusalReason
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.intake_decision import PendingFrame
from framesift.sampling.sampler import SamplingDecision
from framesift.sampling.shrunken_frame import ShrunkenFrame
from framesift.spool import Accepted
from framesift.strategies.near_duplicate import HEIGHT, WIDTH, brightness
from framesift.telemetry import Telemetry


class DecisionNotes:
    """For the threads of one stream. Costs a few microseconds for a frame that is far from being taken."""

    def __init__(self, stream: str, telemetry: Telemetry, clock: Clock, privacy: StreamPrivacy | None = None) -> None:
        """telemetry: whose `decisions` and `coverage` of this moment are told; each is None if there is none.

        privacy: what must be covered on thumbnails, None for nothing.
        """
        self._stream = stream
        self._telemetry = telemetry
        self._observer = telemetry.decisions
        self._coverage = telemetry.coverage
        self._clock = clock
        self._privacy = privacy

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded."""
        return self._observer is not None

    def note(
        self,
        frame: Frame,
        prediction: Prediction,
        decision: SamplingDecision,
        answer: Accepted | RefusalReason | PendingFrame,
        *,
        chosen_id: str = "",
    ) -> None:
        """Notes what became of a frame. chosen_id: of a neighbour, the frame beside which it is collected."""
        if self._coverage is not None:
            self._cover(self._coverage, frame, prediction, answer)
        observer = self._observer
        if observer is None:
            return
        nearest = observer.observe(self._stream, decision.gauges) if decision.gauges else -math.inf
        if decision.gauges_of_earlier:  # among the best of the second, but this frame is no nearer for it
            observer.observe(self._stream, decision.gauges_of_earlier)
        if not isinstance(answer, RefusalReason):
            observer.add(self._decision(frame, prediction, decision, answer, chosen_id))
            return
        nearness = _nearness(decision, answer, nearest)
        if nearness is not None:
            made = partial(self._decision, frame, prediction, decision, answer, chosen_id)
            observer.add_refused(self._stream, answer, nearness, made)

    def settle(self, id: str, outcome: str | RefusalReason) -> None:
        """Notes what became of a frame that was held or waited. outcome: the strategy that was charged, or why not."""
        self._telemetry.settle_decision(self._stream, id, outcome)

    def _cover(
        self,
        coverage: CoverageCounts,
        frame: Frame,
        prediction: Prediction,
        answer: Accepted | RefusalReason | PendingFrame,
    ) -> None:
        is_sample = coverage.is_due(self._stream, frame.time_s)
        if isinstance(answer, RefusalReason) and not is_sample:
            return
        try:
            shown = brightness(frame.overview(WIDTH, HEIGHT))
        except ValueError:  # a picture of a client that can't be decoded: nobody has seen it
            return
        captured_s = frame.captured.wall_s_as_of(self._clock.now())
        facts = CoveredFrame.of(self._stream, captured_s, prediction, shown)
        if is_sample:
            coverage.see(facts, frame.time_s)
        if isinstance(answer, Accepted):
            coverage.collect(facts)
        elif isinstance(answer, PendingFrame):
            coverage.remember(answer.id, facts)

    def _decision(
        self,
        frame: Frame,
        prediction: Prediction,
        decision: SamplingDecision,
        answer: Accepted | RefusalReason | PendingFrame,
        chosen_id: str,
    ) -> FrameDecision:
        outcome, reason, id, strategy = Outcome.REFUSED, None, "", ""
        thumbnail: ShrunkenFrame | None = None
        if isinstance(answer, RefusalReason):
            reason = answer
            if reason is not RefusalReason.UNMASKED and self._observer is not None and self._observer.keeps_thumbnails:
                thumbnail = ShrunkenFrame.of(frame, prediction, self._privacy, self._clock)
        elif isinstance(answer, Accepted):
            outcome, id, strategy = Outcome.ACCEPTED, answer.id, answer.strategy
        else:
            outcome, id, strategy = Outcome.HELD if answer.is_held else Outcome.WAITS, answer.id, answer.strategy
        return FrameDecision(
            self._stream,
            frame.number,
            frame.epoch,
            frame.captured.wall_s_as_of(self._clock.now()),
            frame.media_s,
            prediction,
            outcome,
            reason,
            id,
            strategy,
            tuple(_results(decision)),
            chosen_id,
            thumbnail,
        )


def _results(decision: SamplingDecision) -> Iterator[StrategyResult]:
    """What each strategy made of the frame, those that may take it first, in the policy's order."""
    measured = {name: found for name, gauge in decision.gauges.items() if (found := gauge.measurement()) is not None}
    for match in decision.matches:
        yield StrategyResult(match.strategy, True, measured.pop(match.strategy, None), match.score)
    for one in decision.excluded:
        yield StrategyResult(one.strategy, False, measured.pop(one.strategy, None), excluded=one.why)
    for strategy, similar in decision.similar.items():
        yield StrategyResult(strategy, False, measured.pop(strategy, None), similar=similar)
    for strategy, measurement in measured.items():
        yield StrategyResult(strategy, False, measurement)


def _nearness(decision: SamplingDecision, reason: RefusalReason, measured: float) -> float | None:
    """How near a refused frame was to being taken, to compare those of one reason; None if it was not near.

    measured: the highest nearness of the measurements.
    """
    if decision.similar and reason is RefusalReason.NEAR_DUPLICATE:
        return max(one.distance / (one.threshold or 1.0) for one in decision.similar.values())
    if decision.matches:
        return max(match.score or 0.0 for match in decision.matches)
    if decision.excluded:
        return 0.0
    return measured if measured >= -NEARLY else None
