"""Sampling: the policy's strategies, in order, on the frames of one stream; a decision for each frame.

Every strategy evaluates every frame, so that its random draws do not depend on what the others decided, on what was
accepted, or on the time. A match that the strategy's restrictions exclude is dropped, and so is one that looks like an
accepted frame where the strategy has `near_duplicate`. The remaining matches, in the policy's order, become the
candidates; the limits choose among them, elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from framesift.decisions.decision import SimilarFrame
from framesift.decisions.measurement import Gauge
from framesift.frame import Frame, RefusalReason
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction, Task
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.likeness import Likeness
from framesift.sampling.near_duplicates import ComparedFrames, NearDuplicates
from framesift.strategies import (
    ClassBalance,
    Match,
    PlacedObjects,
    Restrictions,
    Strategy,
    StrategyFailed,
    restrictions_of,
)
from framesift.strategies.near_duplicate import RememberedFrame, Signature, SignatureKind, signature
from framesift.strategies.strategy import ComparesEmbeddings, Measures


class Exclusion(NamedTuple):
    """A strategy wanted the frame, but its restrictions exclude it. why: in a few words."""

    strategy: str
    why: str


class SamplingDecision(NamedTuple):
    """What the strategies decided for one frame.

    matches: the strategies that want the frame, in the policy's order. refusal: why there are none, or None. signature:
    of its picture, where it was needed. failures: of the strategies that could not evaluate the frame; each counts as
    no match. excluded: what strategies wanted and may not take; it counts as no match, too. earlier: the strategies
    that want an earlier frame of the stream, for `decide_earlier`. lacks_embedding: the policy compares embeddings, and
    the prediction has none. gauges: of strategies, by name, where the sampler is told so; until the next frame of the
    stream they show what was measured of this one. gauges_of_earlier: of the strategies that look back; they show what
    was measured of an earlier frame. similar: what keeps strategies from the frame that they want; by strategy.
    """

    matches: tuple[Match, ...]
    refusal: RefusalReason | None = None
    signature: Signature | None = None
    failures: tuple[StrategyFailed, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    earlier: tuple[Match, ...] = ()
    lacks_embedding: bool = False
    gauges: Mapping[str, Gauge] = MappingProxyType({})
    gauges_of_earlier: Mapping[str, Gauge] = MappingProxyType({})
    similar: Mapping[str, SimilarFrame] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Rule:
    """A strategy at work, with those of its options that hold for every strategy."""

    strategy: Strategy
    near_duplicate: ComparedFrames | None
    restrictions: Restrictions | None
    balance: ClassBalance | None


class Sampler:
    """Decides on the frames of one stream, in order. For one thread at a time."""

    def __init__(
        self,
        stream: str,
        policy: Policy,
        *,
        seed: int,
        accepted: AcceptedFrames,
        is_video: bool = True,
        measures: bool = False,
        signature_of: Callable[[Frame], Signature] = lambda frame: signature(frame.overview()),
    ) -> None:
        """accepted: shared by all streams. The same seed, stream and strategy name give the same draws.

        is_video: each frame follows the one before; strategies that need that evaluate no other stream.
        measures: whether decisions have the gauges of the strategies.
        signature_of: returns the signature of a frame's picture, from its pixels unless it was recorded.
        """
        self._signature_of = signature_of
        self._enabled = policy.enabled
        self._accepted = accepted
        self._epoch: int | None = None
        self._rngs: dict[str, random.Random] = {}
        self._pacing_rngs: dict[str, random.Random] = {}  # others, so that pacing changes no decision of a strategy
        strategies = policy.sampling_strategies
        compared = [*map(policy.near_duplicate_of, strategies), *(options.compared_frames for options in strategies)]
        self._near = NearDuplicates(compared, accepted)
        # By the model's task and the strategy's name: what they show is of the frame that the strategy may want.
        self._gauges: dict[Task, dict[str, Gauge]] = {task: {} for task in Task}
        self._gauges_of_earlier: dict[Task, dict[str, Gauge]] = {task: {} for task in Task}
        self._rules: dict[str, _Rule] = {}  # by the strategy's name
        self._frames_back = dict.fromkeys(Task, 0)
        zone = ZoneInfo(policy.time_zone)
        for options in policy.sampling_strategies:
            # A text as seed goes through SHA-512: the same in every process and version, unlike hash().
            rng = random.Random(repr((seed, stream, options.name)))
            self._rngs[options.name] = rng
            self._pacing_rngs[options.name] = random.Random(repr((seed, stream, options.name, "pacing")))
            if options.needs_video and not is_video:
                continue
            strategy = options.create(rng, accepted.classes)
            if options.compared_frames is not None and isinstance(strategy, ComparesEmbeddings):
                strategy.compare_with(self._near.compared(options.compared_frames).nearest_distance)
            if isinstance(strategy, Measures) and measures:
                for task in Task:
                    gauges = self._gauges_of_earlier if options.frames_back(task) else self._gauges
                    gauges[task][options.name] = strategy.gauge
            near_duplicate = policy.near_duplicate_of(options)
            balance: ClassBalance | None = None
            if options.class_balance and not options.balances_itself:
                key = f"{options.name}\n"  # no strategy is called so
                self._rngs[key] = random.Random(repr((seed, stream, options.name, "class_balance")))
                balance = ClassBalance(options.initial_counts, accepted.classes, self._rngs[key])
            compares = None if near_duplicate is None else self._near.compared(near_duplicate)
            self._rules[options.name] = _Rule(strategy, compares, restrictions_of(options, zone), balance)
            for task, most in self._frames_back.items():
                self._frames_back[task] = max(most, options.frames_back(task))

    def decide(self, frame: Frame, prediction: Prediction) -> SamplingDecision:
        """Which strategies want the frame.

        Reads the pixels only to compare a wanted frame, to measure the noise, and where a strategy needs them. Raises
        what they raise.
        """
        if not self._enabled:
            return SamplingDecision((), RefusalReason.DISABLED)
        if frame.epoch != self._epoch:
            self._epoch = frame.epoch
            self._near.recalibrate()
        found: Signature | None = None
        if self._near.calibrating:
            found = self._signature_of(frame)
        self._near.observe(found, prediction)
        objects = PlacedObjects(prediction)
        # All strategies first: if the signature then fails because the pixels are broken, each has drawn all the same.
        wanted, failures = self._evaluate(frame, prediction, objects)
        now = [match for match in wanted if not match.frames_back]
        earlier = tuple(match for match in wanted if match.frames_back)
        decision = self._choose(frame, objects, now, found, failures, self._gauges[prediction.task])
        of_earlier = self._gauges_of_earlier[prediction.task]
        return decision._replace(earlier=earlier, gauges_of_earlier=of_earlier) if of_earlier or earlier else decision

    def frames_back(self, task: Task) -> int:
        """How far back strategies may want a frame where the model's task is `task`."""
        return self._frames_back[task]

    def decide_earlier(self, frame: Frame, prediction: Prediction, matches: Sequence[Match]) -> SamplingDecision:
        """Which strategies want an earlier frame after all.

        frame: with pixels that are still valid. prediction: its own. matches: those of a later frame's
        `SamplingDecision.earlier` that are for this one; no frame was decided on since.
        """
        known = self._gauges_of_earlier[prediction.task]
        gauges = {match.strategy: known[match.strategy] for match in matches if match.strategy in known}
        return self._choose(frame, PlacedObjects(prediction), matches, None, gauges=gauges)

    def decide_neighbour(self, frame: Frame, prediction: Prediction, match: Match) -> SamplingDecision:
        """Whether a strategy may take a frame because it collected one beside it.

        match: of the one beside it. Its restrictions hold; near_duplicate does not.
        """
        restrictions = self._rules[match.strategy].restrictions
        why = restrictions.exclusion(frame, PlacedObjects(prediction)) if restrictions else None
        if why is not None:
            return SamplingDecision((), RefusalReason.NO_MATCH, excluded=(Exclusion(match.strategy, why),))
        return SamplingDecision((match,))

    def _choose(
        self,
        frame: Frame,
        objects: PlacedObjects,
        wanted: Sequence[Match],
        found: Signature | None,
        failures: tuple[StrategyFailed, ...] = (),
        gauges: Mapping[str, Gauge] = MappingProxyType({}),
    ) -> SamplingDecision:
        """The decision on a frame that strategies want. found: its picture's signature, None if it is not made yet."""
        embedding = objects.prediction.embedding
        similar: dict[ComparedFrames, SimilarFrame | None] = {}
        refused: dict[str, SimilarFrame] = {}
        matches: list[Match] = []
        excluded: list[Exclusion] = []
        for match in wanted:
            rule = self._rules[match.strategy]
            why = rule.restrictions.exclusion(frame, objects) if rule.restrictions else None
            if why is not None:
                excluded.append(Exclusion(match.strategy, why))
                continue
            near_duplicate = rule.near_duplicate
            if near_duplicate is not None:
                if near_duplicate in similar:
                    alike = similar[near_duplicate]
                else:
                    is_of_picture = near_duplicate.memory.kind == "picture"
                    if is_of_picture and found is None:
                        found = self._signature_of(frame)
                    compared = found if is_of_picture else embedding
                    alike = None if compared is None else self._near.find_similar(compared, near_duplicate)
                    similar[near_duplicate] = alike
                if alike is not None:
                    refused[match.strategy] = alike
                    continue
            if rule.balance is not None:
                seen = rule.restrictions.seen(objects) if rule.restrictions else objects.prediction
                match = rule.balance.balance(match, seen)
            matches.append(match)
        refusal = None
        if not matches:
            refusal = RefusalReason.NO_MATCH
            if similar:
                refusal = RefusalReason.NEAR_DUPLICATE
                self._near.count_alike(frame, similar.values())
        lacks_embedding = self._near.needs_embeddings and embedding is None
        return SamplingDecision(
            tuple(matches),
            refusal,
            found,
            failures,
            tuple(excluded),
            lacks_embedding=lacks_embedding,
            gauges=gauges,
            similar=refused,
        )

    def _evaluate(
        self, frame: Frame, prediction: Prediction, objects: PlacedObjects
    ) -> tuple[list[Match], tuple[StrategyFailed, ...]]:
        """The matches of all strategies, and the strategies that failed."""
        wanted: list[Match] = []
        failures: list[StrategyFailed] = []
        for rule in self._rules.values():
            try:
                seen = rule.restrictions.seen(objects) if rule.restrictions else prediction
                match = rule.strategy.evaluate(frame, seen)
            except StrategyFailed as failure:
                failures.append(failure)
                continue
            if match is not None:
                wanted.append(match if rule.balance is None else rule.balance.score(match))
        return wanted, tuple(failures)

    @property
    def needed_of_stream(self) -> int:
        """How many accepted frames of the stream `restore` should bring; 0 for none."""
        return self._near.needed_of_stream

    @property
    def needed_of_all(self) -> int:
        """How many accepted frames of all streams `restore_all` should bring; 0 for none."""
        return self._near.needed_of_all

    @property
    def measured_thresholds(self) -> dict[SignatureKind, float]:
        """What `auto` was measured to be, by the kind of signatures; without those for which it was not."""
        return self._near.measured_thresholds

    def remembered(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, id: str
    ) -> RememberedFrame | None:
        """How a frame is to be remembered if it is accepted; None where none is. id: of the datapoint."""
        if not self._near.is_used:
            return None
        picture = self._signature_of(frame) if decision.signature is None else decision.signature
        return RememberedFrame(id, picture, prediction.embedding if self._near.keeps_embeddings else None)

    def pacing_score(self, match: Match) -> float:
        """By which the frames of a paced strategy are compared: its score, or a random number where it gives none."""
        return self._pacing_rngs[match.strategy].random() if match.score is None else match.score

    def likeness(self, strategy: str, stream: str, frame: RememberedFrame | None) -> Likeness | None:
        """How a frame, as `remembered` gives it, compares with others of a strategy; None without near_duplicate."""
        near_duplicate = self._rules[strategy].near_duplicate
        if near_duplicate is None or frame is None:
            return None
        return self._near.likeness(frame, near_duplicate.options, stream)

    def restore(self, accepted: Sequence[RememberedFrame], measured_thresholds: Mapping[SignatureKind, float]) -> None:
        """Begins with what earlier processes accepted of this stream, the oldest first.

        measured_thresholds: what they measured `auto` to be, by the kind of signatures.
        """
        self._near.restore(accepted, measured_thresholds)

    def restore_all(self, accepted: Sequence[RememberedFrame]) -> None:
        """Begins with what earlier processes accepted of all streams, the oldest first, where strategies need it."""
        self._near.restore_all(accepted)

    def record_accepted(self, frame: Frame, prediction: Prediction, decision: SamplingDecision, id: str = "") -> None:
        """Remembers an accepted frame, so that frames which look like it are near duplicates for every strategy.

        id: of the datapoint. `frame` must still be valid: its signature is made here if the decision did not need it.
        """
        self._accepted.classes.add(prediction)
        found = self.remembered(frame, prediction, decision, id)
        if found is not None:
            self._near.add(found)

    def record_neighbour(self, prediction: Prediction) -> None:
        """Counts an accepted neighbour's objects. No later frame is compared with it."""
        self._accepted.classes.add(prediction)

    def record_waiting(self, found: RememberedFrame | None) -> None:
        """Frames that look like this one are near duplicates until `end_waiting`: it is about to be accepted.

        found: of `remembered`.
        """
        if found is not None:
            self._near.add_waiting(found)

    def end_waiting(self, id: str, prediction: Prediction | None) -> None:
        """A frame no longer waits. prediction: of the frame if it was accepted, so that it is remembered; else None."""
        if prediction is not None:
            self._accepted.classes.add(prediction)
        self._near.end_waiting(id, is_accepted=prediction is not None)

    def record_turn(self, prediction: Prediction, frame: RememberedFrame | None) -> None:
        """Remembers a held frame that was accepted. frame: None where it has no signature."""
        self._accepted.classes.add(prediction)
        if frame is not None:
            self._near.add(frame)

    def copy_state_from(self, old: Sampler) -> None:
        """Takes over the state of `old`, the sampler of the same stream under an earlier policy.

        That is: the frames that were accepted or wait, the noise, and the random generators. If these began again at
        each reload, the same draws would come again and again.
        """
        self._epoch = old._epoch
        for rngs, old_rngs in ((self._rngs, old._rngs), (self._pacing_rngs, old._pacing_rngs)):
            for name in rngs.keys() & old_rngs.keys():
                rngs[name].setstate(old_rngs[name].getstate())
        self._near.copy_state_from(old._near)
