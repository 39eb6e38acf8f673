"""NearDuplicates: which frames of one stream look like frames that were accepted before, or are about to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from framesift.prediction.prediction import Prediction
from framesift.sampling.frame_memories import FrameMemories
from framesift.strategies import NearDuplicateOptions
from framesift.strategies.near_duplicate import NoiseEstimate, RememberedFrame, Signature


class NearDuplicates:
    """What the strategies of one stream compare its frames with. For one thread at a time."""

    def __init__(self, options: Iterable[NearDuplicateOptions | None], of_all_streams: FrameMemories) -> None:
        """options: of the strategies; None for one that takes near duplicates too. of_all_streams: for `scope: all`."""
        self._of_stream = FrameMemories()
        self._of_all = of_all_streams
        self._noise = NoiseEstimate()
        # Kept so that they last.
        self._memories = {one: self._frames_for(one).use(one) for one in options if one is not None}
        self._has_auto_threshold = any(one.threshold == "auto" for one in self._memories)

    @property
    def is_used(self) -> bool:
        """Whether accepted frames of this stream are remembered, by its own strategies or by those of others."""
        return self._of_stream.is_used or self._of_all.is_used

    @property
    def memory(self) -> int:
        """How many frames of this stream are remembered at most; 0 where no strategy compares with those alone."""
        return max((one.memory for one in self._memories if one.scope == "stream"), default=0)

    @property
    def needed_of_all(self) -> int:
        """How many frames of all streams `restore_all` should bring; 0 for none."""
        return self._of_all.needed() if any(one.scope == "all" for one in self._memories) else 0

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

    def find_similar(self, found: Signature, options: NearDuplicateOptions) -> str | None:
        """The id of a frame that was accepted, or waits, and looks like this one; None if there is none."""
        threshold = self._noise.threshold if options.threshold == "auto" else options.threshold
        return self._frames_for(options).find_similar(found, options, threshold)

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

    def restore(self, accepted: Sequence[RememberedFrame], measured_threshold: float | None) -> None:
        """Begins with what earlier processes accepted of this stream, the oldest first.

        measured_threshold: what they measured `auto` to be, None if nothing.
        """
        self._of_stream.restore(accepted)
        if measured_threshold is not None and self._noise.measured is None:
            self._noise.restore(measured_threshold)

    def restore_all(self, accepted: Sequence[RememberedFrame]) -> None:
        """The same for the frames of all streams; only the first stream that asks for them changes anything."""
        self._of_all.restore(accepted)

    def copy_state_from(self, old: NearDuplicates) -> None:
        """Takes over the frames that were accepted or wait, and the noise, under an earlier policy."""
        self._noise = old._noise
        self._of_stream.copy_from(old._of_stream)

    def _frames_for(self, options: NearDuplicateOptions) -> FrameMemories:
        return self._of_all if options.scope == "all" else self._of_stream
