"""Sampling: the policy's strategies, in order, on the frames of one stream -> a verdict for each.

Every strategy considers every frame, so that its random draws don't depend on what the others said or on what was
accepted. A match that looks like an accepted frame is dropped where the strategy asked for that (near_duplicate). What
remains, in the policy's order, are the candidates; the limits choose among them, elsewhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from framesift.frame import Frame, RefusalReason
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.strategies import AcceptedClasses, Match, NearDuplicateOptions, Strategy
from framesift.strategies.near_duplicate import NoiseEstimate, Signature, SignatureMemory, signature

__all__ = ["AcceptedClasses", "Sampler", "SamplingDecision"]


@dataclass(frozen=True, slots=True, eq=False)
class SamplingDecision:
    """matches: the strategies that want the frame, in the policy's order. refusal: why there are none, or None.
    signature: the frame's, where it was needed.
    """

    matches: tuple[Match, ...]
    refusal: RefusalReason | None = None
    signature: Signature | None = None


class Sampler:
    """Judges the frames of one stream, in order, in one thread."""

    def __init__(self, stream: str, policy: Policy, *, seed: int, accepted_classes: AcceptedClasses) -> None:
        """accepted: shared by all streams. Draws are the same for the same seed, stream and strategy name."""
        self._enabled = policy.enabled
        self._classes = accepted_classes
        self._epoch: int | None = None
        self._noise = NoiseEstimate()
        self._chances: dict[str, random.Random] = {}
        # Strategies with the same options share a memory: every memory of a stream is told the same frames.
        self._memories: dict[NearDuplicateOptions, SignatureMemory] = {}
        self._rules: list[tuple[Strategy, NearDuplicateOptions | None]] = []
        for options in policy.sampling_strategies:
            # A text seeds by its SHA-512: the same in every process and version, which hash() is not.
            chance = random.Random(repr((seed, stream, options.name)))
            self._chances[options.name] = chance
            alike = policy.near_duplicate_of(options)
            if alike is not None and alike not in self._memories:
                self._memories[alike] = SignatureMemory(alike.memory)
            self._rules.append((options.create(chance, accepted_classes), alike))
        self._learns = any(options.threshold == "auto" for options in self._memories)

    def decide(self, frame: Frame, prediction: Prediction) -> SamplingDecision:
        """The pixels are asked for only to compare a frame that is wanted, and to learn the noise. Raises what they
        raise.
        """
        if not self._enabled:
            return SamplingDecision((), RefusalReason.DISABLED)
        if frame.epoch != self._epoch:
            # Another picture size or a new connection: the noise is to be learnt again. What was accepted stays
            # remembered: a camera that reconnects every minute still shows the scene that was collected already, and
            # signatures don't depend on the picture's size.
            self._epoch = frame.epoch
            self._noise.recalibrate()
        seen: Signature | None = None
        if self._learns and self._noise.calibrating:
            seen = signature(frame.pixels)
            self._noise.observe(seen, prediction)
        known: dict[NearDuplicateOptions, bool] = {}
        matches: list[Match] = []
        # All of them first: where the pixels turn out to be broken, each has drawn all the same.
        for match, alike in [(strategy.evaluate(frame, prediction), alike) for strategy, alike in self._rules]:
            if match is None:
                continue
            if alike is not None:
                if alike not in known:
                    seen = signature(frame.pixels) if seen is None else seen
                    threshold = self._noise.threshold if alike.threshold == "auto" else alike.threshold
                    known[alike] = self._memories[alike].contains_similar(seen, threshold)
                if known[alike]:
                    continue
            matches.append(match)
        if matches:
            return SamplingDecision(tuple(matches), None, seen)
        return SamplingDecision((), RefusalReason.NEAR_DUPLICATE if known else RefusalReason.NO_MATCH, seen)

    def record_accepted(self, frame: Frame, prediction: Prediction, decision: SamplingDecision) -> None:
        """The frame was accepted: whichever strategy was charged, no memory of the stream will want its like again.

        `frame` must still be valid: its signature is made here where the verdict did without.
        """
        self._classes.add(prediction)
        if self._memories:
            seen = signature(frame.pixels) if decision.signature is None else decision.signature
            for memory in self._memories.values():
                memory.add(seen)

    def copy_state_from(self, old: Sampler) -> None:
        """Takes over what `old`, the same stream's sampler under an earlier policy, has learnt: the accepted frames,
        the noise, and the state of chance (begun afresh at each reload, the same draws would come again and again).
        """
        self._epoch = old._epoch
        self._noise = old._noise
        for name, chance in self._chances.items():
            if name in old._chances:
                chance.setstate(old._chances[name].getstate())
        largest = max(old._memories.values(), key=len, default=None)
        if largest is not None:
            for memory in self._memories.values():
                memory.copy_from(largest)
