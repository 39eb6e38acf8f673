"""NearDuplicates: which frames of one stream look like frames that were accepted before, or are about to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from framesift.prediction.prediction import Prediction
from framesift.strategies import NearDuplicateOptions
from framesift.strategies.near_duplicate import NoiseEstimate, Signature, SignatureMemory, distance


class NearDuplicates:
    """What one stream remembers of its accepted frames, for all of its strategies. For one thread at a time."""

    def __init__(self, options: Iterable[NearDuplicateOptions | None]) -> None:
        """options: of the strategies; None for one that takes near duplicates too."""
        # Strategies with the same options share a memory: every memory of a stream holds the same frames.
        self._memories = {one: SignatureMemory(one.memory) for one in options if one is not None}
        self._noise = NoiseEstimate()
        self._waiting: dict[str, Signature] = {}  # by the datapoint's id
        self._has_auto_threshold = any(one.threshold == "auto" for one in self._memories)

    @property
    def is_used(self) -> bool:
        """Whether accepted frames are remembered at all."""
        return bool(self._memories)

    @property
    def memory(self) -> int:
        """How many accepted frames are remembered at most; 0 where no strategy has near_duplicate."""
        return max((options.memory for options in self._memories), default=0)

    @property
    def measured_threshold(self) -> float | None:
        """What `auto` was measured to be, None if it was not."""
        return self._noise.measured if self._has_auto_threshold else None

    @property
    def calibrating(self) -> bool:
        """Whether `observe` needs the stream's next frame."""
        return self._has_auto_threshold and self._noise.calibrating

    def observe(self, found: Signature, prediction: Prediction) -> None:
        """Measures the noise with the next frame of the stream; to be called for every frame while calibrating."""
        self._noise.observe(found, prediction)

    def recalibrate(self) -> None:
        """Begins to measure the noise again, after a new connection or with another size of the picture.

        Accepted frames stay in memory: a camera that reconnects every minute still shows the scene that was collected
        already, and signatures do not depend on the picture's size.
        """
        self._noise.recalibrate()

    def contains_similar(self, found: Signature, options: NearDuplicateOptions) -> bool:
        """Whether a frame of this signature looks like one that was accepted, or waits."""
        limit = self._noise.threshold if options.threshold == "auto" else options.threshold
        if self._memories[options].contains_similar(found, limit):
            return True
        return any(distance(found, waiting) <= limit for waiting in self._waiting.values())

    def add(self, accepted: Signature) -> None:
        """Remembers an accepted frame."""
        for memory in self._memories.values():
            memory.add(accepted)

    def add_waiting(self, id: str, found: Signature) -> None:
        """Remembers a frame until `end_waiting`, since it is about to be accepted. id: of the datapoint."""
        self._waiting[id] = found

    def end_waiting(self, id: str, *, is_accepted: bool) -> None:
        """A frame no longer waits."""
        found = self._waiting.pop(id, None)
        if is_accepted and found is not None:
            self.add(found)

    def restore(self, accepted: Sequence[Signature], measured_threshold: float | None) -> None:
        """Begins with what earlier processes accepted of this stream, the oldest first.

        measured_threshold: what they measured `auto` to be, None if nothing.
        """
        for memory in self._memories.values():
            memory.add_all(accepted)
        if measured_threshold is not None and self._noise.measured is None:
            self._noise.restore(measured_threshold)

    def copy_state_from(self, old: NearDuplicates) -> None:
        """Takes over the frames that were accepted or wait, and the noise, under an earlier policy."""
        self._noise = old._noise
        self._waiting = old._waiting
        largest = max(old._memories.values(), key=len, default=None)
        if largest is not None:
            for memory in self._memories.values():
                memory.add_all(largest.oldest_first())
