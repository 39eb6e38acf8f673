"""track_end: frames of a video in which an object is missing for the first time, though it can't have left.

An object that was there for a while and then is not, far from the picture's edge, was likely missed by the model. The
first frame without it is wanted: of all that follow, it is most likely still to be seen in that one. (Tracking to find
what a detector misses is from Bengar et al., Temporal Coherence for Active Learning in Videos, 2019, arXiv:1908.11757.
They track through a whole video, forward and backward; here forward only, from frame to frame.)

The score is the number of tracks that end with that frame. A track is an object from frame to frame: by the
tracker_id that the model gives it, or else by its class and its place: two boxes of a class are the same object if
each overlaps the other most, and their IoU is at least match_iou. A track ends when its object was in at least
minimum_length frames, and then in none of `missing` frames in a row; it does not if its last box reaches into the outer
`border` (a share of the picture's sides), where objects leave. That a track has ended is known missing - 1 frames after
the frame that is wanted; the frames between are kept in memory, so `missing` is small. Only objects of at least
minimum_confidence count.

Frames that score alike differ by 0.001 times their uncertainty (strategies/uncertainty.py, with its defaults). After
a new connection, another size of the picture, and more than 1 s between two frames, all tracks begin anew.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framesift.config.schema import Fraction
from framesift.decisions.measurement import ValueGauge
from framesift.frame import Frame
from framesift.prediction.prediction import DETECTION_TASKS, Detections, Prediction, Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.seen_objects import Continuity, SeenObjects, is_near_edge, linked
from framesift.strategies.strategy import CommonStrategyOptions, Match, ModelFacts, Strategy, task_problems
from framesift.strategies.uncertainty import Uncertainty, UncertaintyOptions

_TIE = 0.001


class TrackEndOptions(CommonStrategyOptions):
    """Collects frames of a video in which an object vanishes inside the picture, with a score."""

    type: Literal["track_end"]
    minimum_length: Annotated[int, Field(ge=1, le=1000, description="In how many frames the object was before.")] = 5
    missing: Annotated[
        int, Field(ge=1, le=5, description="In how many frames in a row it is absent; one fewer is kept in memory.")
    ] = 3
    minimum_confidence: Annotated[Fraction, Field(description="Only objects of at least this confidence count.")] = 0.3
    match_iou: Annotated[
        float,
        Field(gt=0, le=1, description="The least overlap (IoU) of an object in two frames, without a tracker_id."),
    ] = 0.3
    border: Annotated[
        float, Field(ge=0, le=0.5, description="The share of the picture's sides within which an object may leave.")
    ] = 0.05

    @property
    def needs_video(self) -> bool:
        """It compares consecutive frames."""
        return True

    def frames_back(self, task: Task) -> int:
        """The first frame without the object is wanted."""
        return self.missing - 1 if task in DETECTION_TASKS else 0

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:
        """Creates the strategy for one stream."""
        uncertainty = Uncertainty(UncertaintyOptions(name=self.name, type="uncertainty"), rng, accepted)
        return TrackEnd(self, uncertainty)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields why the strategy can never match with this model."""
        yield from task_problems(model, DETECTION_TASKS)


class TrackEnd:
    """Matches where tracks end; it never draws."""

    def __init__(self, options: TrackEndOptions, uncertainty: Uncertainty) -> None:
        """uncertainty: tells the uncertainty of a prediction."""
        self._options = options
        self._uncertainty = uncertainty
        self._continuity = Continuity()
        self._predictions: deque[Detections] = deque(maxlen=options.missing)
        self._tracks: SeenObjects | None = None  # each as it was last seen; None before the first frame
        self._lengths: NDArray[np.int64] = np.zeros(0, np.int64)  # of each track: in how many frames it was seen
        self._absent: NDArray[np.int64] = np.zeros(0, np.int64)  # and since how many it was not
        self.gauge = ValueGauge("ended tracks", ">=", 1)

    def evaluate(self, frame: Frame, prediction: Prediction, /) -> Match | None:
        """Matches the first frame without the objects whose tracks end now."""
        self.gauge.value = None
        if not self._continuity.continues(frame, prediction):
            self._tracks = None
        if not isinstance(prediction, Detections) or prediction.task not in DETECTION_TASKS:
            self._tracks = None
            return None
        self._predictions.append(prediction)
        ended = self.gauge.value = self._follow(SeenObjects.of(prediction, self._options.minimum_confidence))
        if not ended:
            return None
        score = ended + _TIE * (self._uncertainty.score(self._predictions[0]) or 0.0)
        return Match(self._options.name, score, self._options.missing - 1)

    def _follow(self, seen: SeenObjects) -> int:
        """Continue all tracks, and return how many have ended."""
        if self._tracks is None:
            self._begin(seen)
            return 0
        from_, to = _same(self._tracks, seen, self._options.match_iou)
        tracks = self._tracks.updated(from_, seen, to)
        self._lengths[from_] += 1
        self._absent += 1
        self._absent[from_] = 0
        is_over = self._absent >= self._options.missing
        ended = is_over & (self._lengths >= self._options.minimum_length)
        ended &= ~is_near_edge(tracks, self._options.border)
        new = seen.select(np.setdiff1d(np.arange(len(seen)), to))
        self._tracks = tracks.select(np.flatnonzero(~is_over)).joined(new)
        self._lengths = np.concatenate((self._lengths[~is_over], np.ones(len(new), np.int64)))
        self._absent = np.concatenate((self._absent[~is_over], np.zeros(len(new), np.int64)))
        return int(ended.sum())

    def _begin(self, seen: SeenObjects) -> None:
        self._tracks = seen
        self._lengths = np.ones(len(seen), np.int64)
        self._absent = np.zeros(len(seen), np.int64)


def _same(tracks: SeenObjects, seen: SeenObjects, least_iou: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which tracks go on in which objects: the indices in each, of the same length."""
    # Of tracks with the same id, which a model should not give, the oldest goes on.
    by_id = {id: index for index, id in reversed(list(enumerate(tracks.trackers))) if id}
    named = [(by_id.pop(id), index) for index, id in enumerate(seen.trackers) if id in by_id]
    before, now = np.flatnonzero(tracks.trackers == ""), np.flatnonzero(seen.trackers == "")
    from_, to = linked(tracks.select(before), seen.select(now), least_iou)
    pairs = np.array(named, np.intp).reshape(-1, 2)
    return np.concatenate((pairs[:, 0], before[from_])), np.concatenate((pairs[:, 1], now[to]))
