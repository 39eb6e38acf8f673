"""NearDuplicates: which frames of one stream look like frames that were accepted before, or are about to be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from framesift.decisions.decision import SimilarFrame
from framesift.frame import Frame
from framesift.prediction.embedding import Embedding
from framesift.prediction.prediction import Prediction
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.frame_memories import FrameMemories
from framesift.sampling.likeness import Likeness
from framesift.strategies import NearDuplicateOptions
from framesift.strategies.near_duplicate import (
    DISTANCES,
    NoiseEstimate,
    RememberedFrame,
    Signature,
    SignatureKind,
    SignatureMemory,
)

KNOWN_PICTURE = ""  # no datapoint has this id
_COUNTED = 16  # as many frames back as any strategy looks, and more


@dataclass(frozen=True, slots=True, eq=False)
class ComparedFrames:
    """The frames that strategies with equal options compare with: for them, it is the same object."""

    options: NearDuplicateOptions
    frames: FrameMemories
    memory: SignatureMemory

    def nearest_distance(self, found: Signature | Embedding) -> float:
        """The distance from the nearest frame that was accepted, or waits; infinite where there is none."""
        return self.frames.nearest_distance(found, self.memory)


class NearDuplicates:
    """What the strategies of one stream compare its frames with. For one thread at a time."""

    def __init__(self, options: Iterable[NearDuplicateOptions | None], accepted: AcceptedFrames) -> None:
        """options: of the strategies, None for nothing; also of those that compare without refusing.

        accepted: shared by all streams.
        """
        self._of_stream = FrameMemories()
        self._of_all = accepted.memories
        self._known = accepted.known
        self._alike = accepted.alike
        self._counted: deque[tuple[int, int]] = deque(maxlen=_COUNTED)
        self._noise: dict[SignatureKind, NoiseEstimate] = {kind: NoiseEstimate(kind) for kind in DISTANCES}
        self._compared: dict[NearDuplicateOptions, ComparedFrames] = {}
        for one in options:
            if one is not None:
                frames = self._of_all if one.scope == "all" else self._of_stream
                self._compared[one] = ComparedFrames(one, frames, frames.use(one))
        # The kinds of signatures whose noise is measured.
        self._measured = frozenset(one.signature for one in self._compared if one.threshold == "auto")
        self.needs_embeddings = any(one.signature == "embedding" for one in self._compared)

    def compared(self, options: NearDuplicateOptions) -> ComparedFrames:
        """What strategies with these options compare with. options: among those of this object."""
        return self._compared[options]

    @property
    def is_used(self) -> bool:
        """Whether accepted frames of this stream are remembered, by its own strategies or by those of others."""
        return self._of_stream.is_used or self._of_all.is_used

    @property
    def keeps_embeddings(self) -> bool:
        """Whether accepted frames are remembered with their embeddings."""
        return self.needs_embeddings or self._of_all.needs_embeddings()

    @property
    def needed_of_stream(self) -> int:
        """How many frames of this stream `restore` should bring; 0 for none."""
        return self._of_stream.needed()

    @property
    def needed_of_all(self) -> int:
        """How many frames of all streams `restore_all` should bring; 0 for none."""
        return self._of_all.needed() if any(one.scope == "all" for one in self._compared) else 0

    @property
    def measured_thresholds(self) -> dict[SignatureKind, float]:
        """What `auto` was measured to be, by the kind of signatures; without those for which it was not."""
        return {kind: found for kind in self._measured if (found := self._noise[kind].measured) is not None}

    @property
    def calibrating(self) -> bool:
        """Whether `observe` needs the signature of the next frame's picture."""
        return "picture" in self._measured and self._noise["picture"].calibrating

    def observe(self, found: Signature | None, prediction: Prediction) -> None:
        """Measures the noise with the next frame of the stream; to be called for every frame.

        found: the signature of its picture, None where `calibrating` is not.
        """
        if found is not None:
            self._noise["picture"].observe(found, prediction)
        embedding, noise = prediction.embedding, self._noise["embedding"]
        if "embedding" in self._measured and embedding is not None and noise.calibrating:
            noise.observe(embedding, prediction)

    def recalibrate(self) -> None:
        """Begins to measure the noise again, after a new connection or with another size of the picture.

        Accepted frames stay in memory: a camera that reconnects every minute still shows the scene that was collected
        already, and signatures do not depend on the picture's size.
        """
        for noise in self._noise.values():
            noise.recalibrate()

    def find_similar(self, found: Signature | Embedding, compared: ComparedFrames) -> SimilarFrame | None:
        """A frame that was accepted, or waits, and looks like this one; None if there is none.

        Its id is KNOWN_PICTURE where only a picture that people had before looks like it. found: a signature of the
        kind in the options.
        """
        threshold, known = self._threshold(compared.options), compared.options.known
        similar = compared.frames.find_similar(found, compared.memory, threshold)
        if similar is None and known:
            distance = self._known.similar_distance(known, found, threshold)
            return None if distance is None else SimilarFrame(KNOWN_PICTURE, distance, threshold)
        return similar

    def likeness(self, frame: RememberedFrame, options: NearDuplicateOptions, stream: str) -> Likeness:
        """How a frame compares with others. stream: of the frame."""
        of = stream if options.scope == "stream" else ""
        return Likeness(frame, options.signature, self._threshold(options), of)

    def count_alike(self, frame: Frame, similar: Iterable[SimilarFrame | None]) -> None:
        """Counts a frame that was refused since it looks like one of `similar`, once: for the first of them."""
        which = (frame.epoch, frame.number)
        id = next((one.id for one in similar if one is not None and one.id), None)  # not for a known picture
        if id is not None and which not in self._counted:
            self._counted.append(which)
            self._alike.add(id)

    def add(self, accepted: RememberedFrame) -> None:
        """Remembers an accepted frame."""
        for frames in (self._of_stream, self._of_all):
            frames.add(accepted)

    def add_waiting(self, frame: RememberedFrame) -> None:
        """Remembers a frame until `end_waiting`, since it is about to be accepted."""
        for frames in (self._of_stream, self._of_all):
            frames.add_waiting(frame)

    def end_waiting(self, id: str, *, is_accepted: bool) -> None:
        """A frame no longer waits."""
        for frames in (self._of_stream, self._of_all):
            frames.end_waiting(id, is_accepted=is_accepted)

    def restore(self, accepted: Sequence[RememberedFrame], measured_thresholds: Mapping[SignatureKind, float]) -> None:
        """Begins with what earlier processes accepted of this stream, the oldest first.

        measured_thresholds: what they measured `auto` to be, by the kind of signatures.
        """
        self._of_stream.restore(accepted)
        for kind, measured in measured_thresholds.items():
            if self._noise[kind].measured is None:
                self._noise[kind].restore(measured)

    def restore_all(self, accepted: Sequence[RememberedFrame]) -> None:
        """The same for the frames of all streams; only the first stream that asks for them changes anything."""
        self._of_all.restore(accepted)

    def copy_state_from(self, old: NearDuplicates) -> None:
        """Takes over the frames that were accepted or wait, and the noise, under an earlier policy."""
        self._noise = old._noise
        self._of_stream.copy_from(old._of_stream)

    def _threshold(self, options: NearDuplicateOptions) -> float:
        return self._noise[options.signature].threshold if options.threshold == "auto" else options.threshold
