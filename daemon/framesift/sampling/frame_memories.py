"""FrameMemories: the accepted frames of one stream, or of all streams of this device, as near_duplicate compares them.

Every memory holds the same frames, as many as its options say. Strategies with the same options share one; it lasts as
long as a sampler uses it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from weakref import WeakValueDictionary

from framesift.decisions.decision import SimilarFrame
from framesift.prediction.embedding import Embedding
from framesift.strategies import NearDuplicateOptions
from framesift.strategies.near_duplicate import (
    DISTANCES,
    RememberedFrame,
    Signature,
    SignatureKind,
    SignatureMemory,
    distance,
)


class FrameMemories:
    """Thread-safe. Two frames that two threads decide on at the same time don't know of each other yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memories: WeakValueDictionary[NearDuplicateOptions, SignatureMemory] = WeakValueDictionary()
        self._waiting: dict[str, RememberedFrame] = {}  # by the datapoint's id

    @property
    def is_used(self) -> bool:
        """Whether any sampler uses a memory."""
        return bool(self._memories)

    def use(self, options: NearDuplicateOptions) -> SignatureMemory:
        """The memory with these options, which lasts until whoever called this forgets it.

        It is only to be kept, and given to the methods here.
        """
        with self._lock:
            found = self._memories.get(options)
            if found is None:
                found = self._memories[options] = SignatureMemory(options.memory, options.signature)
            return found

    def needs_embeddings(self) -> bool:
        """Whether any memory compares embeddings."""
        with self._lock:
            return any(options.signature == "embedding" for options in self._memories)

    def find_similar(
        self, found: Signature | Embedding, memory: SignatureMemory, threshold: float
    ) -> SimilarFrame | None:
        """A frame that was accepted, or waits, and lies within `threshold`; None if there is none.

        found: a signature of the memory's kind. memory: one in use.
        """
        with self._lock:
            similar = memory.find_similar(found, threshold)
            if similar is not None or not self._waiting:
                return similar
            waiting = self._distances_from_waiting(found, memory.kind)
            return next((SimilarFrame(id, far, threshold) for id, far in waiting if far <= threshold), None)

    def nearest_distance(self, found: Signature | Embedding, memory: SignatureMemory) -> float:
        """The distance from the nearest frame that was accepted, or waits; infinite where there is none."""
        with self._lock:
            nearest = memory.nearest_distance(found)
            return min([nearest, *(far for _, far in self._distances_from_waiting(found, memory.kind))])

    def _distances_from_waiting(self, found: Signature | Embedding, kind: SignatureKind) -> Iterator[tuple[str, float]]:
        """The id and the distance of each frame that waits."""
        for frame in self._waiting.values():
            other = frame.of(kind)
            if other is not None:
                yield frame.id, distance(found, other, kind)

    def add(self, accepted: RememberedFrame) -> None:
        """Remembers an accepted frame."""
        with self._lock:
            for memory in self._memories.values():
                memory.add(accepted)

    def add_waiting(self, frame: RememberedFrame) -> None:
        """Remembers a frame until `end_waiting`, since it is about to be accepted."""
        with self._lock:
            self._waiting[frame.id] = frame

    def end_waiting(self, id: str, *, is_accepted: bool) -> None:
        """A frame no longer waits."""
        with self._lock:
            frame = self._waiting.pop(id, None)
        if is_accepted and frame is not None:
            self.add(frame)

    def needed(self) -> int:
        """How many frames of earlier processes `restore` should bring; 0 if every memory has them already."""
        with self._lock:
            return max((memory.size for memory in self._memories.values() if not memory.is_restored), default=0)

    def restore(self, accepted: Sequence[RememberedFrame]) -> None:
        """Adds what earlier processes accepted, the oldest first, to each memory that does not have it yet."""
        with self._lock:
            for memory in self._memories.values():
                if not memory.is_restored:
                    memory.add_all(accepted)
                    memory.is_restored = True

    def copy_from(self, old: FrameMemories) -> None:
        """Takes over the frames that were accepted, or wait, under an earlier policy."""
        with old._lock, self._lock:
            self._waiting = old._waiting
            for kind in DISTANCES:
                of_kind = [memory for options, memory in old._memories.items() if options.signature == kind]
                largest = max(of_kind, key=len, default=None)
                accepted = [] if largest is None else largest.oldest_first()
                for memory in self._memories.values():
                    memory.add_all(accepted)
