"""DryRun: a policy applied to recorded predictions: which strategies match each one, which is charged, or why none is.

Sampling and limits are those of a run, with a temporary database. The time is that of the predictions: each is charged
to the windows of its `captured_at`. They have no pictures, so strategies that need pixels are not judged. What
`run --record` wrote has the signatures of the pictures, its streams and its seed: such a recording gives what the run
gave. In other predictions near_duplicate is not applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np

from framesift.clock.moment import Moment
from framesift.config.types import ConfigError
from framesift.frame import AbsentPicture, Frame, RefusalReason
from framesift.known.known_pictures import KnownPictures
from framesift.limits import Quota
from framesift.policy.baseline import NAME as BASELINE
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Detections, Prediction
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.candidates import CollectionOrigin, candidates_for
from framesift.sampling.dry_run_limits import BOOT_ID, DryRunLimits, HeldPrediction, TurnResult
from framesift.sampling.dry_run_policy import compares_pictures, without_near_duplicate
from framesift.sampling.dry_run_result import DryRunResult
from framesift.sampling.earlier_frames import EarlierFrames
from framesift.sampling.likeness import Likeness
from framesift.sampling.neighbours import KeptFrame, Neighbours, SequencePlace
from framesift.sampling.pacing import WITHOUT_QUOTA
from framesift.sampling.pacing_rules import PacingRule, rules_of, without_pacing
from framesift.sampling.recorded_frame import RecordedFrame, parse_recorded
from framesift.sampling.recorded_lines import NO_SIZE
from framesift.sampling.recorder import SIGNATURE_LENGTH
from framesift.sampling.sampler import Sampler, SamplingDecision
from framesift.strategies import Match
from framesift.strategies.near_duplicate import Signature

DEFAULT_STREAM = "try"

_NO_SIGNATURE = np.zeros(SIGNATURE_LENGTH, np.float32)  # where nothing compares pictures
_NO_PIXELS = "a strategy reads frame.pixels, but does not say needs_pixels = True"


class _Picture(AbsentPicture):
    """The picture of a prediction. number: of the prediction. signature: as it was recorded, None if it was not."""

    def __init__(self, width: int, height: int, number: int, signature: Signature | None) -> None:
        super().__init__(width, height, _NO_PIXELS)
        self.number = number
        self.signature = signature


class _Stream:
    """A stream of the predictions; a NeighbourStore. policy: without near_duplicate where it has no signatures."""

    def __init__(
        self, run: DryRun, policy: Policy, sampler: Sampler, has_signatures: bool, rules: Mapping[str, PacingRule]
    ) -> None:
        self.policy = policy
        self.sampler = sampler
        self.has_signatures = has_signatures
        self.rules = rules
        options = ((strategy.name, strategy.neighbours) for strategy in policy.sampling_strategies)
        self.neighbours = Neighbours(self, options)
        self.earlier = EarlierFrames(
            lambda dropped, refusal: self.neighbours.offer(dropped.frame, dropped.prediction, refusal)
        )
        self._run = run

    def keep(self, frame: Frame, prediction: Prediction, refusal: RefusalReason) -> KeptFrame:
        """Nothing needs to be copied."""
        return KeptFrame(frame, prediction, None, refusal)

    def store(
        self, frame: Frame, prediction: Prediction, place: SequencePlace, _kept: KeptFrame | None
    ) -> RefusalReason | None:
        """A neighbour is charged."""
        return self._run._take(self, frame, prediction, place)

    def refuse(self, frame: Frame, _refusal: RefusalReason) -> None:
        """Its result is final."""
        del self._run._changeable[_picture_of(frame).number]


class DryRun:
    """Evaluates predictions in order, in one thread. Limits and batches hold over all of them.

    policy: the part of the policy that is judged. not_judged: the names of the strategies that need pixels.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        seed: int | None,
        stream: str | None,
        started_s: float,
        known: KnownPictures | None = None,
    ) -> None:
        """seed, stream: for the random draws; None: those of the recording, or 0 and "try" where it has none.

        started_s: Unix time of the first prediction, unless it has its own. known: the pictures that the policy names
        as known, read already; None for none. Raises ConfigError where every strategy needs pixels.
        """
        strategies = policy.sampling_strategies
        self.not_judged = tuple(strategy.name for strategy in strategies if strategy.needs_pixels)
        if strategies and len(self.not_judged) == len(strategies):
            raise ConfigError("every strategy of this policy needs pictures, and recorded predictions have none")
        judged = tuple(strategy for strategy in strategies if not strategy.needs_pixels)
        self.policy = policy.model_copy(update={"sampling_strategies": judged})
        self._has_near_duplicate = any(compares_pictures(policy, strategy) for strategy in judged)
        self._ignores_near_duplicate = self._lacks_embeddings = False
        self._has_zones = any(
            strategy.zones or any(condition.zones for condition in strategy.inhibit or ()) for strategy in judged
        )
        self._ignores_zones = False
        self._seed = seed
        self._stream = stream
        self._streams: dict[str, _Stream] = {}
        self._accepted_frames = AcceptedFrames(known=known or KnownPictures())
        self._changeable: dict[int, DryRunResult] = {}  # those that a later prediction may change, by number
        self._drawn: dict[int, DryRunResult] = {}  # those that the baseline holds, by number
        self._replaced: dict[int, DryRunResult] = {}  # those that the newest prediction has changed
        self._origin = CollectionOrigin(device="", tags=(), stream_tags=(), seed=seed or 0)
        self._number = 0
        self._at_s = started_s
        self._limits = DryRunLimits(ZoneInfo(policy.time_zone), seed=seed or 0)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each part of the policy that is not applied to what was evaluated until now."""
        notes = [
            f"strategy {name!r} needs pictures, and predictions have none: it is not judged here"
            for name in self.not_judged
        ]
        if self._ignores_near_duplicate:
            notes.append("near_duplicate needs pictures, and predictions have none: it is not applied here")
        if self._lacks_embeddings:
            notes.append("the policy compares embeddings: predictions without one are not compared with others")
        if self._ignores_zones:
            notes.append("zones need the size of the picture: predictions without `image` have their objects in none")
        return tuple(notes)

    def evaluate(self, payload: object) -> DryRunResult:
        """Decides on the next prediction.

        payload: parsed JSON: a prediction in the wire format, optionally with `task` and `captured_at` (Unix seconds,
        or ISO 8601 with a zone); or an object that has such a prediction as `prediction`; or a line of a recording.
        Without `captured_at`, the time is that of the prediction before. Raises ValueError that says what is wrong and
        what is allowed.
        """
        return self.decide(parse_recorded(payload))

    def decide(self, recorded: RecordedFrame) -> DryRunResult:
        """Decides on the next prediction, which other dry runs may be given too. Raises ValueError."""
        prediction = recorded.prediction
        at_s = self._at_s = self._at_s if recorded.captured_at_s is None else recorded.captured_at_s
        captured = Moment(at_s, at_s, BOOT_ID)
        stream = self._stream or recorded.stream or DEFAULT_STREAM
        number = self._number
        frame = Frame(
            stream,
            recorded.number if recorded.is_recorded else number,
            _Picture(prediction.width, prediction.height, number, recorded.signature),
            captured,
            recorded.epoch,
            recorded.media_s,
        )
        self._number += 1
        of = self._sampling_of(stream, recorded)
        self._settle(self._limits.advance(at_s))
        frames_back = of.sampler.frames_back(prediction.task)
        of.earlier.add(frame, prediction)
        decision = of.sampler.decide(frame, prediction)
        self._lacks_embeddings |= decision.lacks_embedding
        result = self._decided(of, frame, prediction, decision, number)
        self._draw_for_baseline(of, frame, prediction, decision, result)
        if result.held is not None:
            self._changeable[number] = result
        elif result.refusal is not None:
            of.earlier.refuse(result.refusal)
            self._changeable[number] = result
        if decision.earlier:
            self._decide_earlier(of, decision)
        of.earlier.release(frames_back)
        of.neighbours.advance()
        result = self._replaced.pop(number, result)
        return result._replace(replaced=self._take_replaced()) if self._replaced else result

    def _settle(self, turns: Iterable[TurnResult]) -> None:
        """Predictions that were held have new results."""
        for turn in turns:
            if turn.is_drawn:
                self._end_draw(turn)
                continue
            before = self._changeable.pop(turn.number)
            score = before.score if turn.strategy is not None else None
            self._replace(before._replace(held=None, strategy=turn.strategy, refusal=turn.refusal, score=score))

    def _replace(self, result: DryRunResult) -> None:
        """An earlier prediction has a new result."""
        self._replaced[result.number] = result
        if result.number in self._drawn:
            self._drawn[result.number] = result

    def _draw_for_baseline(
        self, of: _Stream, frame: Frame, prediction: Prediction, decision: SamplingDecision, result: DryRunResult
    ) -> None:
        rule = of.rules.get(BASELINE)
        if rule is not None and rule.is_baseline and self._limits.draw(rule, frame.captured.wall_s):
            now = Moment(self._at_s, self._at_s, frame.captured.boot_id)
            match = (Match(BASELINE),)
            _, (quota,) = candidates_for(of.policy, match, prediction, self._origin, frame.captured, now, of.rules)
            found = of.sampler.remembered(frame, prediction, decision, str(result.number))
            held = HeldPrediction(result.number, quota, of.sampler, prediction, found, is_drawn=True)
            self._drawn[result.number] = result
            self._settle(self._limits.hold(rule, 0.0, None, frame.captured, held)[1])

    def _end_draw(self, turn: TurnResult) -> None:
        """What the baseline has drawn is charged, with its weight, or another one was drawn instead."""
        result = self._drawn.pop(turn.number)
        if turn.weight is not None:
            self._replaced[turn.number] = result = result._replace(weight=turn.weight)
            if turn.number in self._changeable:
                self._changeable[turn.number] = result

    def end(self) -> tuple[DryRunResult, ...]:
        """No prediction will follow. Returns the new results of earlier ones that are wanted after all."""
        for of in self._streams.values():
            of.earlier.release()
            of.neighbours.end()
        self._settle(self._limits.end())
        return self._take_replaced()

    def _take_replaced(self) -> tuple[DryRunResult, ...]:
        replaced = tuple(self._replaced.values())
        self._replaced.clear()
        return replaced

    def _decide_earlier(self, of: _Stream, decision: SamplingDecision) -> None:
        """What becomes of the earlier predictions that strategies want, as in Intake."""
        for frames_back in sorted({match.frames_back for match in decision.earlier}, reverse=True):
            earlier = of.earlier.find(frames_back)
            if earlier is not None:
                wanted = [match for match in decision.earlier if match.frames_back == frames_back]
                again = of.sampler.decide_earlier(earlier.frame, earlier.prediction, wanted)
                number = _picture_of(earlier.frame).number
                result = self._decided(of, earlier.frame, earlier.prediction, again, number)
                earlier.refusal = result.refusal
                self._change(result)

    @property
    def first_changeable(self) -> int:
        """The number of the first prediction whose result may still change; all results before it are final."""
        return min((*self._changeable, *self._drawn), default=self._number)

    def may_change(self, number: int) -> bool:
        """Whether the result of a prediction may still change: it is held, or may be wanted by a later one."""
        return number in self._changeable or number in self._drawn

    def _decided(
        self, of: _Stream, frame: Frame, prediction: Prediction, decision: SamplingDecision, number: int
    ) -> DryRunResult:
        captured = frame.captured
        matched = tuple(match.strategy for match in decision.matches)
        failures = tuple(map(str, decision.failures))
        excluded = {one.strategy: one.why for one in decision.excluded}
        if isinstance(prediction, Detections) and (prediction.width, prediction.height) == NO_SIZE:
            self._ignores_zones |= self._has_zones
        result = DryRunResult(
            matched, None, decision.refusal, captured.wall_s, prediction.left_out, failures, None, excluded, number
        )
        if decision.refusal is not None:
            return result
        now = Moment(self._at_s, self._at_s, captured.boot_id)
        limits, rules = self._limits, of.rules
        selected = limits.pacing.select(decision.matches, rules, of.sampler.pacing_score, captured.wall_s)
        answer: str | RefusalReason = selected.refusal or RefusalReason.OUTSCORED

        def quotas_of(matches: Sequence[Match]) -> tuple[Quota, ...]:
            return candidates_for(of.policy, matches, prediction, self._origin, captured, now, rules)[1]

        if selected.now:
            of_each = [rules[match.strategy] for match in selected.now]
            answer = limits.charge(str(number), quotas_of(selected.now), of_each, captured, now)
        found = of.sampler.remembered(frame, prediction, decision, str(number))
        if selected.held is not None and (not selected.now or answer in WITHOUT_QUOTA):
            match, pacing_score = selected.held
            (quota,) = quotas_of((match,))
            held = HeldPrediction(number, quota, of.sampler, prediction, found)
            likeness = of.sampler.likeness(match.strategy, frame.stream, found)
            refusal, turns = limits.hold(rules[match.strategy], pacing_score, likeness, captured, held)
            self._settle(turns)
            if refusal is not None:
                return result._replace(refusal=refusal)
            return result._replace(held=match.strategy, score=match.score)
        if isinstance(answer, RefusalReason):
            return result._replace(refusal=answer)
        of.sampler.record_accepted(frame, prediction, decision, str(number))
        match = next(match for match in decision.matches if match.strategy == answer)
        if found is not None:
            self._settle(limits.drop_alike(Likeness(found, "picture", 0.0, frame.stream)))
        of.neighbours.choose(frame, str(number), [match])
        of.neighbours.settle(str(number), answer)
        return result._replace(strategy=answer, score=match.score)

    def _take(self, of: _Stream, frame: Frame, prediction: Prediction, place: SequencePlace) -> RefusalReason | None:
        """What becomes of a neighbour of a chosen frame; return why it is not charged."""
        decision = of.sampler.decide_neighbour(frame, prediction, place.match)
        number = _picture_of(frame).number
        result = self._changeable[number]._replace(excluded={one.strategy: one.why for one in decision.excluded})
        answer: str | RefusalReason | None = decision.refusal
        if answer is None:
            captured, now = frame.captured, Moment(self._at_s, self._at_s, frame.captured.boot_id)
            rules = {place.match.strategy: without_pacing(of.rules[place.match.strategy])}
            _, quotas = candidates_for(of.policy, decision.matches, prediction, self._origin, captured, now, rules)
            answer = self._limits.charge(str(number), quotas, list(rules.values()), captured, now)
        if isinstance(answer, RefusalReason):
            self._change(result._replace(refusal=answer))
            return answer
        of.sampler.record_neighbour(prediction)
        score, offset_s = place.match.score, place.offset_s
        result = result._replace(matched=(answer,), refusal=None, strategy=answer, score=score)
        self._change(result._replace(sequence_offset_s=offset_s))
        return None

    def _change(self, result: DryRunResult) -> None:
        """An earlier prediction has another result."""
        before = self._changeable.pop(result.number)
        matched = (*before.matched, *(name for name in result.matched if name not in before.matched))
        excluded = {**before.excluded, **result.excluded}
        result = result._replace(matched=matched, failures=before.failures, excluded=excluded)
        self._replace(result)
        if result.refusal is not None or result.held is not None:
            self._changeable[result.number] = result

    def _sampling_of(self, stream: str, recorded: RecordedFrame) -> _Stream:
        """The sampler of a stream. Raises ValueError for a prediction that does not continue the ones before it."""
        has_signatures = recorded.is_recorded
        found = self._streams.get(stream)
        if found is None:
            policy = self.policy if has_signatures else without_near_duplicate(self.policy)
            self._ignores_near_duplicate |= self._has_near_duplicate and not has_signatures
            seed = recorded.seed if self._seed is None else self._seed
            sampler = Sampler(
                stream,
                policy,
                seed=seed,
                accepted=self._accepted_frames,
                signature_of=_recorded_signature,
            )
            rules = rules_of(policy, self._origin.scope, stream)
            found = self._streams[stream] = _Stream(self, policy, sampler, has_signatures, rules)
        if found.has_signatures != has_signatures:
            raise ValueError("signature: some predictions of this stream have one, and some have none; try them apart")
        return found

    def close(self) -> None:
        """Closes the temporary database."""
        self._limits.close()


def _picture_of(frame: Frame) -> _Picture:
    assert isinstance(frame.picture, _Picture)  # a dry run makes no other frames
    return frame.picture


def _recorded_signature(frame: Frame) -> Signature:
    found = _picture_of(frame).signature
    return _NO_SIGNATURE if found is None else found
