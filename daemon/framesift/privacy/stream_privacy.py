"""StreamPrivacy: the mask of each frame of one stream that is to be kept.

A model misses an object now and then, in one frame between two. So what is covered in a frame of a video is what was
found in it, in the frame before and in the frame after, and where an object of those two may have been in between:

    privacy.observe(frame, prediction)            each frame, in the stream's thread
    pending = privacy.begin(frame, prediction)    a frame that had quota, in the stream's thread
    pending.wait(0.5)                             any thread: until the frame after it was observed
    mask = pending.mask()                         any thread

Whatever goes wrong raises Unmasked: a picture whose objects can't be vouched for isn't kept.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from itertools import chain, product
from typing import Protocol

from framesift.frame import Frame
from framesift.pictures.outgoing import PictureMask, Unmasked
from framesift.prediction.prediction import Prediction
from framesift.privacy.covered_regions import CoveredRegions
from framesift.privacy.found_boxes import FoundBoxes, boxes_between
from framesift.privacy.observed_frame import Detect, ObservedFrame
from framesift.privacy.privacy_settings import PrivacySettings

# How many frames are remembered on each side of one, for a picture that was taken at another time.
MAX_REMEMBERED = 300


class MaskObserver(Protocol):
    """Is told what becomes of the frames of one stream that are to be kept. Called by any thread."""

    def masked(self) -> None:
        """A frame got its mask."""

    def unmasked(self, why: str) -> None:
        """A frame got none, and isn't kept."""

    def stream_ended(self) -> None:
        """No frame will begin any more."""


class StreamPrivacy:
    """One for each stream. `observe`, `begin` and `end_stream` are for the stream's thread."""

    def __init__(
        self,
        settings: PrivacySettings,
        *,
        detect: Detect | None = None,
        is_video: bool = False,
        observer: MaskObserver | None = None,
    ) -> None:
        """detect: asks the dedicated detector and may raise anything; None where the stream's model must do.

        is_video: the frames follow each other, so that one tells of the next; those of a folder or a client don't.
        observer: is told of each frame for which `begin` was called.
        """
        self._settings = settings
        self.over_time_s = settings.over_time_s  # how long the frame after one is waited for, at most
        self._detect = detect if settings.classes else None
        self._remembers = is_video and bool(settings.classes) and settings.over_time_s > 0
        self._observer = observer
        self._changed = threading.Condition()  # of everything below, and of the pending masks
        # With a detector the pixels are copied, so that there are no more than this frame and the one before.
        self._history: deque[ObservedFrame] = deque(maxlen=MAX_REMEMBERED if self._detect is None else 2)
        self._pending: weakref.WeakSet[PendingMask] = weakref.WeakSet()

    def observe(self, frame: Frame, prediction: Prediction, *, frames_back: int = 0) -> None:
        """Take note of a frame of the stream. To be called for each, in order; then `begin` for those to be kept.

        frames_back: `begin` may also be called for one of so many frames before it.
        """
        if not self._remembers:
            return
        observed = ObservedFrame(frame, prediction, self._settings.classes, self._detect, keeps=True)
        with self._changed:
            most = MAX_REMEMBERED if self._detect is None else 2 + frames_back
            if most != self._history.maxlen:
                self._history = deque(self._history, most)
            oldest = [*self._history, observed][-1 - frames_back :][0]  # of those that may be kept
            while self._history and abs(oldest.time_s - self._history[0].time_s) > self.over_time_s:
                self._history.popleft()
            self._history.append(observed)
            for pending in self._pending:
                pending._add(observed)
            self._changed.notify_all()

    def begin(self, frame: Frame, prediction: Prediction) -> PendingMask:
        """Begin the mask of a frame that is to be kept; asks the detector. Raises Unmasked, and what its pixels raise.

        The frame's pixels are no longer needed when it returns.
        """
        try:
            return self._begin(frame, prediction)
        except Unmasked as error:
            if self._observer is not None:
                self._observer.unmasked(str(error))
            raise

    def prepare(self, frame: Frame, prediction: Prediction) -> PendingMask:
        """Return the mask of a frame that may be kept later; nothing is asked or told before its `mask`.

        It was observed, as for `begin`, and its pixels must stay valid. Raises Unmasked where there can be no mask.
        """
        return self._begin(frame, prediction, is_kept=False)

    def prepare_thumbnail(self, frame: Frame, prediction: Prediction) -> PendingMask:
        """Return the mask of a thumbnail of a frame that is not kept; nothing is asked before its `mask`.

        It was observed, as for `begin`; its pixels need not stay valid. The observer is told nothing. Raises Unmasked
        where there can be no mask, and with a detector what its pixels raise.
        """
        return self._begin(frame, prediction, is_kept=False, is_thumbnail=True)

    def _begin(
        self, frame: Frame, prediction: Prediction, *, is_kept: bool = True, is_thumbnail: bool = False
    ) -> PendingMask:
        if self._settings.require == "detector" and self._detect is None:
            raise Unmasked("the settings require a detector, and there is none")
        if self._detect is not None and is_kept:
            frame.overview()  # a picture that can't be decoded is not the detector's failure
        with self._changed:
            history = tuple(self._history)
        index = next((at for at in reversed(range(len(history))) if history[at].is_of(frame)), len(history))
        earlier, later = history[:index], history[index + 1 :]
        own = (
            history[index]
            if index < len(history)
            else ObservedFrame(frame, prediction, self._settings.classes, self._detect, keeps=is_thumbnail)
        )
        within_s = self._settings.over_time_s
        before = [one for one in earlier if one.is_comparable(own, within_s)]
        if self._settings.classes and is_kept:
            for one in (*before[-1:], own):
                one.boxes()  # now, in this thread
        pending = PendingMask(
            own,
            before,
            self._settings,
            self._changed,
            observer=None if is_thumbnail else self._observer,
            most_later=MAX_REMEMBERED if self._detect is None else 2,
        )
        with self._changed:
            for one in later:
                pending._add(one)
            if self._remembers:
                self._pending.add(pending)
            else:
                pending._end()
        return pending

    def end_stream(self) -> None:
        """The stream has ended: no frame will follow those that wait for one."""
        with self._changed:
            self._history.clear()
            for pending in self._pending:
                pending._end()
            self._changed.notify_all()
        if self._observer is not None:
            self._observer.stream_ended()


class PendingMask:
    """The mask of a frame, which may still wait for the frame after it. Thread-safe. `StreamPrivacy.begin` makes it."""

    def __init__(
        self,
        own: ObservedFrame,
        before: Sequence[ObservedFrame],
        settings: PrivacySettings,
        changed: threading.Condition,
        *,
        observer: MaskObserver | None,
        most_later: int,
    ) -> None:
        """own: the frame. before: comparable ones before it. changed: its lock guards all that is changed here.

        most_later: how many of the frames that follow are remembered.
        """
        self._own = own
        self._frames = [*before, own]
        self._own_index = len(before)
        self._settings = settings
        self._changed = changed
        self._observer = observer
        self._most_later = most_later
        self._is_settled = False
        self._is_complete = False  # no later frame will be added

    @property
    def is_settled(self) -> bool:
        """Whether the next frame was observed, or none can follow."""
        with self._changed:
            return self._is_settled

    def wait(self, within_s: float, *, shown_until_s: float | None = None) -> bool:
        """Wait until it is settled, at most so long. Return whether it is.

        shown_until_s: and until a frame at or after this time was observed, and the one after that, in which an object
        is found again that was missed in the first; or until none can be; see `mask`.
        """

        def is_known() -> bool:
            later = 2 if shown_until_s is None else sum(one.time_s >= shown_until_s for one in self._frames)
            return self._is_settled and (later >= 2 or self._is_complete)

        with self._changed:
            return self._changed.wait_for(is_known, within_s)

    def mask(self, shown_at_s: float | None = None, *, uncertain_s: float = 0.0) -> PictureMask:
        """Return the mask, by what is known now; asks the detector about the frame after. Raises Unmasked.

        shown_at_s: when the picture that is kept was taken: seconds in the file (Frame.media_s), or since boot
        (Frame.captured) for a live stream; None for the frame's own picture. At any other time, frames are needed
        before and after it, and the observer isn't told if there are none: the frame's own may still be kept.
        uncertain_s: it may have been taken so much earlier or later.
        """
        try:
            mask = self._regions(shown_at_s, uncertain_s)
        except Unmasked as error:
            if self._observer is not None and shown_at_s is None:
                self._observer.unmasked(str(error))
            raise
        if self._observer is not None:
            self._observer.masked()
        return mask

    def _regions(self, shown_at_s: float | None, uncertain_s: float) -> CoveredRegions:
        with self._changed:
            frames, own = tuple(self._frames), self._own_index
        boxes: list[FoundBoxes] = []
        places = []
        if self._settings.classes:
            first, last = (own, own)
            if shown_at_s is not None:
                first, last = self._around(shown_at_s - uncertain_s, shown_at_s + uncertain_s, frames)
            left, right = range(max(0, first - 1), first + 1), range(last, min(len(frames), last + 2))
            near = {index: frames[index].boxes() for index in range(left.start, right.stop)}
            boxes = list(near.values())
            pairs = {pair for pair in product(left, right) if first != last or first not in pair}
            pairs |= {(one, one + apart) for one in range(first, last) for apart in (1, 2) if one + apart <= last}
            places = [place for one, other in pairs for place in boxes_between(near[one], near[other])]
        size = (self._own.width, self._own.height)
        found = chain(places, chain.from_iterable(one.values() for one in boxes))
        rectangles = chain.from_iterable((place / (size * 2)).tolist() for place in found)
        return CoveredRegions(
            tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in rectangles),
            self._settings.polygons,
            self._settings.style,
            self._settings.margin,
            size,
        )

    def _around(self, from_s: float, until_s: float, frames: Sequence[ObservedFrame]) -> tuple[int, int]:
        """The last frame that is not after a span of time, and the first that is not before it.

        Raises Unmasked, also where the frame after these is not known: one of them may have missed an object.
        """
        within_s = self._settings.over_time_s
        before = [index for index, one in enumerate(frames) if from_s - within_s <= one.time_s <= from_s]
        after = [index for index, one in enumerate(frames) if until_s <= one.time_s <= until_s + within_s]
        if not before or not after or after[0] + 1 == len(frames):
            raise Unmasked(f"no frames on both sides of the picture were looked at, within {within_s:g} s of it")
        return before[-1], after[0]

    # -- for StreamPrivacy, which holds the lock

    def _add(self, observed: ObservedFrame) -> None:
        if observed is self._own or observed in self._frames:
            return
        later = len(self._frames) - 1 - self._own_index
        if later < self._most_later and observed.is_comparable(self._own, self._settings.over_time_s):
            self._frames.append(observed)
        else:
            self._is_complete = True
        self._is_settled = True

    def _end(self) -> None:
        self._is_settled = self._is_complete = True
