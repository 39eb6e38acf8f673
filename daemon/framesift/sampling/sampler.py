"""Sampling: the policy's strategies, in order, on the frames of one stream; a decision for each frame.

Every strategy evaluates every frame, so that its random draws do not depend on what the others decided or on what was
accepted. A match that looks like an accepted frame is dropped where the strategy has `near_duplicate`. The remaining
matches, in the policy's order, become the candidates; the limits choose among them, elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framesift.frame import Frame, RefusalReason
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.strategies import AcceptedClasses, Match, NearDuplicateOptions, Strategy, StrategyFailed
from framesift.strategies.near_duplicate import NoiseEstimate, Signature, SignatureMemory, distance, signature

__all__ = ["AcceptedClasses", "Sampler", "SamplingDecision"]


@dataclass(frozen=True, slots=True, eq=False)
class SamplingDecision:
    """What the strategies decided for one frame.

    matches: the strategies that want the frame, in the policy's order. refusal: why there are none, or None. signature:
    of the frame, where it was needed. failures: of the strategies that could not evaluate the frame; each counts as no
    match.
    """

    matches: tuple[Match, ...]
    refusal: RefusalReason | None = None
    signature: Signature | None = None
    failures: tuple[StrategyFailed, ...] = ()


class Sampler:
    """Decides on the frames of one stream, in order. For one thread at a time."""

    def __init__(
        self,
        stream: str,
        policy: Policy,
        *,
        seed: int,
        accepted_classes: AcceptedClasses,
        signature_of: Callable[[Frame], Signature] = lambda frame: signature(frame.overview()),
    ) -> None:
        """accepted_classes: shared by all streams. The same seed, stream and strategy name give the same draws.

        signature_of: returns the signature of a frame, from its pixels unless it was recorded.
        """
        self._signature_of = signature_of
        self._enabled = policy.enabled
        self._accepted_classes = accepted_classes
        self._epoch: int | None = None
        self._noise = NoiseEstimate()
        self._rngs: dict[str, random.Random] = {}
        # Strategies with the same options share a memory: every memory of a stream holds the same frames.
        self._memories: dict[NearDuplicateOptions, SignatureMemory] = {}
        self._rules: list[tuple[Strategy, NearDuplicateOptions | None]] = []
        for options in policy.sampling_strategies:
            # A text as seed goes through SHA-512: the same in every process and version, unlike hash().
            rng = random.Random(repr((seed, stream, options.name)))
            self._rngs[options.name] = rng
            near_duplicate = policy.near_duplicate_of(options)
            if near_duplicate is not None and near_duplicate not in self._memories:
                self._memories[near_duplicate] = SignatureMemory(near_duplicate.memory)
            self._rules.append((options.create(rng, accepted_classes), near_duplicate))
        self._waiting: dict[str, Signature] = {}  # by the datapoint's id
        self._auto_threshold = any(options.threshold == "auto" for options in self._memories)

    def decide(self, frame: Frame, prediction: Prediction) -> SamplingDecision:
        """Which strategies want the frame.

        Reads the pixels only to compare a wanted frame, to measure the noise, and where a strategy needs them. Raises
        what they raise.
        """
        if not self._enabled:
            return SamplingDecision((), RefusalReason.DISABLED)
        if frame.epoch != self._epoch:
            # Another picture size or a new connection: the noise is measured again. Accepted frames stay in memory: a
            # camera that reconnects every minute still shows the scene that was collected already, and signatures do
            # not depend on the picture's size.
            self._epoch = frame.epoch
            self._noise.recalibrate()
        found: Signature | None = None
        if self._auto_threshold and self._noise.calibrating:
            found = self._signature_of(frame)
            self._noise.observe(found, prediction)
        similar: dict[NearDuplicateOptions, bool] = {}
        matches: list[Match] = []
        # All strategies first: if the signature then fails because the pixels are broken, each has drawn all the same.
        wanted, failures = self._evaluate(frame, prediction)
        for match, near_duplicate in wanted:
            if near_duplicate is not None:
                if near_duplicate not in similar:
                    found = self._signature_of(frame) if found is None else found
                    threshold = near_duplicate.threshold
                    limit = self._noise.threshold if threshold == "auto" else threshold
                    similar[near_duplicate] = self._is_similar(found, near_duplicate, limit)
                if similar[near_duplicate]:
                    continue
            matches.append(match)
        if matches:
            return SamplingDecision(tuple(matches), None, found, failures)
        refusal = RefusalReason.NEAR_DUPLICATE if similar else RefusalReason.NO_MATCH
        return SamplingDecision((), refusal, found, failures)

    def _is_similar(self, found: Signature, near_duplicate: NearDuplicateOptions, limit: float) -> bool:
        if self._memories[near_duplicate].contains_similar(found, limit):
            return True
        return any(distance(found, waiting) <= limit for waiting in self._waiting.values())

    def _evaluate(
        self, frame: Frame, prediction: Prediction
    ) -> tuple[list[tuple[Match, NearDuplicateOptions | None]], tuple[StrategyFailed, ...]]:
        """The matches of all strategies, with their near_duplicate, and the strategies that failed."""
        wanted: list[tuple[Match, NearDuplicateOptions | None]] = []
        failures: list[StrategyFailed] = []
        for strategy, near_duplicate in self._rules:
            try:
                match = strategy.evaluate(frame, prediction)
            except StrategyFailed as failure:
                failures.append(failure)
                continue
            if match is not None:
                wanted.append((match, near_duplicate))
        return wanted, tuple(failures)

    @property
    def memory(self) -> int:
        """How many accepted frames are remembered at most; 0 where no strategy has near_duplicate."""
        return max((options.memory for options in self._memories), default=0)

    @property
    def measured_threshold(self) -> float | None:
        """What `auto` was measured to be, None if it was not."""
        return self._noise.measured if self._auto_threshold else None

    def accepted_signature(self, frame: Frame, decision: SamplingDecision) -> Signature | None:
        """The signature under which an accepted frame is to be remembered; None where none is."""
        if not self._memories:
            return None
        return self._signature_of(frame) if decision.signature is None else decision.signature

    def restore(self, accepted: Sequence[Signature], measured_threshold: float | None) -> None:
        """Begins with what earlier processes accepted of this stream, the oldest first.

        measured_threshold: what they measured `auto` to be, None if nothing.
        """
        for memory in self._memories.values():
            memory.add_all(accepted)
        if measured_threshold is not None and self._noise.measured is None:
            self._noise.restore(measured_threshold)

    def record_accepted(self, frame: Frame, prediction: Prediction, decision: SamplingDecision) -> None:
        """Remembers an accepted frame, so that frames which look like it are near duplicates for every strategy.

        `frame` must still be valid: its signature is made here where the decision did not need it.
        """
        self._remember(prediction, self.accepted_signature(frame, decision))

    def record_waiting(self, id: str, found: Signature | None) -> None:
        """Frames that look like this one are near duplicates until `end_waiting`: it is about to be accepted.

        id: of the datapoint. found: of `accepted_signature`.
        """
        if found is not None:
            self._waiting[id] = found

    def end_waiting(self, id: str, prediction: Prediction | None) -> None:
        """A frame no longer waits. prediction: of the frame if it was accepted, so that it is remembered; else None."""
        found = self._waiting.pop(id, None)
        if prediction is not None:
            self._remember(prediction, found)

    def _remember(self, prediction: Prediction, found: Signature | None) -> None:
        self._accepted_classes.add(prediction)
        if found is not None:
            for memory in self._memories.values():
                memory.add(found)

    def copy_state_from(self, old: Sampler) -> None:
        """Takes over the state of `old`, the sampler of the same stream under an earlier policy.

        That is: the frames that were accepted or wait, the noise, and the random generators. If these began again at
        each reload, the same draws would come again and again.
        """
        self._epoch = old._epoch
        self._noise = old._noise
        self._waiting = old._waiting
        for name, rng in self._rngs.items():
            if name in old._rngs:
                rng.setstate(old._rngs[name].getstate())
        largest = max(old._memories.values(), key=len, default=None)
        if largest is not None:
            for memory in self._memories.values():
                memory.add_all(largest.oldest_first())
