"""Neighbours: the frames shortly before and after a chosen one, which become datapoints of its sequence too.

    choose    a frame has quota: its sequence begins, with the neighbours before it that are kept
    settle    it is accepted, or it is not after all; by any thread
    offer     each frame that was refused for good, in order: a sequence takes it, it is kept, or it is counted
    advance   one kept neighbour is stored

Frames are kept with copies of their pixels, one each `every_s`, so that those before a chosen one are there; the
nearest is between half and one and a half `every_s` before it. Each neighbour needs quota of the strategy that chose;
where there is none left, the sequence ends. No frame becomes two datapoints: one that is accepted by itself, or for
another sequence, stands in its place. Each frame that is offered is taken or refused once, and refused when no sequence
can want it any more.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from framesift.frame import Frame, RefusalReason
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask
from framesift.strategies import Match, NeighbourOptions
from framesift.strategies.neighbour_options import MOST_BEFORE

_ROUNDING_S = 1e-3
# So many pictures of a stream are kept at most, those before a chosen frame among them.
MOST_KEPT = 2 * MOST_BEFORE
# More accepted frames in a row than that leave no undecided one between them (see Match.frames_back).
_MOST_SEQUENCES = 8
_NO_QUOTA = (RefusalReason.LIMIT, RefusalReason.BATCH_FULL)


@dataclass(frozen=True, slots=True)
class SequencePlace:
    """Where a neighbour belongs.

    chosen_id: of the chosen frame's datapoint; it names the sequence. match: of the strategy that was charged for it.
    offset_s: how much later than the chosen frame it was captured, in seconds.
    """

    chosen_id: str
    match: Match
    offset_s: float


@dataclass(eq=False, slots=True)
class KeptFrame:
    """A frame that a sequence may still want. frame: with pixels that stay valid. mask: None: nothing is covered.

    refusal: what it is counted under if no sequence takes it. holders: how many may still want it.
    """

    frame: Frame
    prediction: Prediction
    mask: PendingMask | None
    refusal: RefusalReason
    holders: int = 0
    is_taken: bool = False


class NeighbourStore(Protocol):
    """What becomes of the frames of one stream. Called in the stream's thread."""

    def keep(self, frame: Frame, prediction: Prediction, refusal: RefusalReason) -> KeptFrame | None:
        """Copy a frame; None where its picture can never be kept."""

    def store(
        self, frame: Frame, prediction: Prediction, place: SequencePlace, kept: KeptFrame | None, /
    ) -> RefusalReason | None:
        """Make a datapoint of a neighbour; return why there is none. kept: what was kept of it, None if it is new."""

    def refuse(self, frame: Frame, refusal: RefusalReason, /) -> None:
        """No sequence wants the frame, which was refused for this reason."""


class _Sequence:
    """A chosen frame, and which frames are its neighbours. kept: those that are not stored yet."""

    def __init__(self, id: str, frame: Frame, match: Match, options: NeighbourOptions) -> None:
        self.id = id
        self.match = match
        self.kept: deque[KeptFrame] = deque()
        self.is_accepted = False
        self.chosen_s = frame.time_s
        self.until_s = frame.time_s + options.after_s + _ROUNDING_S
        self._before_s = options.before_s
        self._every_s = options.every_s - _ROUNDING_S
        self._newest_s = -math.inf  # of its neighbours

    def wants(self, time_s: float) -> bool:
        """Whether a frame of this time is a neighbour."""
        return self._has_place(time_s, self._every_s)

    def note(self, time_s: float) -> None:
        """A frame of this time is a neighbour, or is collected anyway and stands in the place of one."""
        if self._has_place(time_s, self._every_s / 2):
            self._newest_s = time_s

    def _has_place(self, time_s: float, apart_s: float) -> bool:
        """apart_s: from the chosen frame (of those after it) and from the neighbours, at least."""
        if time_s > self.until_s or time_s - self._newest_s < apart_s:
            return False
        earlier_s = self.chosen_s - time_s
        if earlier_s > 0.0:
            return self._every_s / 2 <= earlier_s < self._before_s + self._every_s / 2
        return -earlier_s >= apart_s

    def place(self, frame: Frame) -> SequencePlace:
        """Where a frame belongs."""
        return SequencePlace(self.id, self.match, round(frame.time_s - self.chosen_s, 3))


class _Ring:
    """The last frames before the newest one, every_s apart."""

    def __init__(self, options: NeighbourOptions) -> None:
        self.frames: deque[KeptFrame] = deque()  # the oldest first
        self._before_s = options.before_s + options.every_s / 2
        self._every_s = options.every_s - _ROUNDING_S

    def wants(self, time_s: float) -> bool:
        """Whether the next frame is to be kept."""
        return not self.frames or time_s - self.frames[-1].frame.time_s >= self._every_s

    def too_old(self, now_s: float) -> list[KeptFrame]:
        """Those that no frame after this time can have as neighbours; they leave the ring."""
        found: list[KeptFrame] = []
        while self.frames and self.frames[0].frame.time_s < now_s - self._before_s:
            found.append(self.frames.popleft())
        return found


class Neighbours:
    """The sequences of one stream. For one thread at a time, but for `settle`."""

    def __init__(self, store: NeighbourStore, options: Iterable[tuple[str, NeighbourOptions | None]] = ()) -> None:
        """options: of each strategy, by its name; None where it has none."""
        self._store = store
        self._options = {name: found for name, found in options if found is not None}
        kept = {(one.before_s, one.every_s): one for one in self._options.values() if one.before_s}
        self._rings = [_Ring(one) for one in kept.values()]
        self._sequences: list[_Sequence] = []
        self._settled: deque[tuple[str, str | None]] = deque()  # filled by other threads
        self._kept_count = 0
        self._epoch = -1
        self._offered_s = -math.inf

    @property
    def are_wanted(self) -> bool:
        """Whether any strategy has neighbours."""
        return bool(self._options)

    def choose(self, frame: Frame, id: str, matches: Sequence[Match]) -> None:
        """A frame has quota of one of these strategies. id: of the datapoint. `settle` must follow."""
        if not self._options or not self._follows(frame):
            return
        for sequence in self._sequences:
            sequence.note(frame.time_s)
        for match in matches:
            options = self._options.get(match.strategy)
            if options is not None:
                sequence = _Sequence(id, frame, match, options)
                self._sequences.append(sequence)
                self._take_kept(sequence)

    def _take_kept(self, sequence: _Sequence) -> None:
        """Give a sequence the kept frames before its chosen one; the nearest is stored first."""
        earlier = {kept.frame.time_s: kept for ring in self._rings for kept in ring.frames if not kept.is_taken}
        for time_s in sorted(earlier):
            if sequence.wants(time_s):
                sequence.note(time_s)
                sequence.kept.appendleft(earlier[time_s])
                earlier[time_s].holders += 1

    def settle(self, id: str, strategy: str | None) -> None:
        """What became of a chosen frame. strategy: which was charged; None: it is no datapoint. From any thread."""
        if self._options:
            self._settled.append((id, strategy))

    def offer(self, frame: Frame, prediction: Prediction, refusal: RefusalReason) -> None:
        """A frame is refused for good, unless a sequence takes it. In the order of the frames.

        `frame` must still be valid. Raises what its pixels raise; then it is counted nowhere.
        """
        if not self._options or not self._follows(frame):
            self._store.refuse(frame, refusal)
            return
        self._settle_all()
        time_s = self._offered_s = frame.time_s
        wanting = [sequence for sequence in self._sequences if sequence.wants(time_s)]
        for sequence in wanting:
            if sequence.is_accepted:
                answer = self._store.store(frame, prediction, sequence.place(frame), None)
                if answer is None:
                    for other in self._sequences:
                        other.note(time_s)
                    self._drop_old(time_s)
                    return
                refusal = answer
                if answer in _NO_QUOTA:
                    self._end(sequence)
        rings = [ring for ring in self._rings if ring.wants(time_s)]
        waiting = [one for one in wanting if not one.is_accepted] if self._kept_count < MOST_KEPT else []
        kept = self._store.keep(frame, prediction, refusal) if rings or waiting else None
        if kept is None:
            self._store.refuse(frame, refusal)
        else:
            kept.holders = len(rings) + len(waiting)
            self._kept_count += 1
            for ring in rings:
                ring.frames.append(kept)
            for sequence in waiting:
                sequence.note(time_s)
                sequence.kept.append(kept)
        self._drop_old(time_s)

    def advance(self) -> bool:
        """Store one kept neighbour of a chosen frame that is accepted; return whether there was one."""
        self._settle_all()
        for sequence in self._sequences:
            while sequence.is_accepted and sequence.kept:
                kept = sequence.kept.popleft()
                if kept.is_taken:
                    self._let_go(kept)
                    continue
                answer = self._store.store(kept.frame, kept.prediction, sequence.place(kept.frame), kept)
                kept.is_taken = answer is None
                if answer is not None:
                    kept.refusal = answer
                self._let_go(kept)
                if answer in _NO_QUOTA:
                    self._end(sequence)
                return True
        return False

    def end(self) -> None:
        """The stream has ended: the kept neighbours of chosen frames are stored, and all others released."""
        while self.advance():
            pass
        self.release()

    def release(self) -> None:
        """No frame is wanted any more: those that are kept were refused for good, and all sequences end."""
        for sequence in list(self._sequences):
            self._end(sequence)
        for ring in self._rings:
            for kept in ring.too_old(math.inf):
                self._let_go(kept)
        self._settled.clear()

    def _follows(self, frame: Frame) -> bool:
        """Whether a frame is of the newest epoch; what was before a new one, or before a file began again, is over."""
        if frame.epoch > self._epoch or (frame.epoch == self._epoch and frame.time_s < self._offered_s):
            self.release()
            self._epoch, self._offered_s = frame.epoch, -math.inf
        return frame.epoch == self._epoch

    def _settle_all(self) -> None:
        """Apply what became of the chosen frames since the last call."""
        while self._settled:
            id, strategy = self._settled.popleft()
            for sequence in [one for one in self._sequences if one.id == id]:
                if sequence.match.strategy == strategy:
                    self._accept(sequence)
                else:
                    self._end(sequence)

    def _accept(self, newer: _Sequence) -> None:
        """From a chosen frame on, neighbours belong to its sequence, and to no earlier one of its strategy."""
        newer.is_accepted = True
        older = [one for one in self._sequences if one.is_accepted and one.match.strategy == newer.match.strategy]
        for sequence in older:
            if sequence.chosen_s < newer.chosen_s:
                sequence.until_s = min(sequence.until_s, newer.chosen_s)
        if len(older) > _MOST_SEQUENCES:
            self._end(older[0])

    def _drop_old(self, time_s: float) -> None:
        """What can't be wanted after a frame of this time is decided for good."""
        for ring in self._rings:
            for kept in ring.too_old(time_s):
                self._let_go(kept)
        for sequence in list(self._sequences):
            if sequence.is_accepted and not sequence.kept and sequence.until_s <= time_s:
                self._end(sequence)

    def _end(self, sequence: _Sequence) -> None:
        self._sequences.remove(sequence)
        while sequence.kept:
            self._let_go(sequence.kept.popleft())

    def _let_go(self, kept: KeptFrame) -> None:
        kept.holders -= 1
        if kept.holders:
            return
        self._kept_count -= 1
        if not kept.is_taken:
            self._store.refuse(kept.frame, kept.refusal)
