"""FrameDecision: what was decided on one frame, and by which numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol

from framesift.decisions.measurement import Gauge, Measurement
from framesift.frame import RefusalReason
from framesift.prediction.prediction import Prediction


class Outcome(str, Enum):
    """What became of a frame, as far as that is known."""

    ACCEPTED = "accepted"
    HELD = "held"  # until a turn is due
    WAITS = "waits"  # for its snapshot, or for what tells what has to be covered
    REFUSED = "refused"

    def __str__(self) -> str:
        return self.value


class SimilarFrame(NamedTuple):
    """An accepted frame that another one looks like.

    id: of its datapoint, "" for a picture that people had before. distance: of their signatures, at most `threshold`.
    """

    id: str
    distance: float
    threshold: float


class StrategyResult(NamedTuple):
    """What one strategy made of a frame.

    matched: whether it is one of those that may take the frame. score: of its match. excluded: which restriction keeps
    it from that, "" for none. similar: the accepted frame that keeps it from that.
    """

    strategy: str
    matched: bool
    measurement: Measurement | None = None
    score: float | None = None
    excluded: str = ""
    similar: SimilarFrame | None = None


class RefusedThumbnail(Protocol):
    """A thumbnail of a refused frame, made when it is asked for. For one thread at a time."""

    @property
    def is_settled(self) -> bool:
        """Whether its mask waits for nothing any more."""
        ...

    def jpeg(self) -> bytes | None:
        """Return it, masked and encoded; None if that can't be done. It may wait for a detector."""
        ...


class FrameDecision(NamedTuple):
    """What was decided on one frame.

    captured_s: Unix time. id: of the datapoint that it became, or would become; "" for none. strategy: the one that was
    charged, or holds it; "" for none. chosen_id: of a neighbour, the frame beside which it was collected.
    thumbnail: of a refused frame, where thumbnails are kept and it can be shown.
    """

    stream: str
    frame: int
    epoch: int
    captured_s: float
    media_s: float | None
    prediction: Prediction
    outcome: Outcome
    reason: RefusalReason | None = None
    id: str = ""
    strategy: str = ""
    results: tuple[StrategyResult, ...] = ()
    chosen_id: str = ""
    thumbnail: RefusedThumbnail | None = None


class DecisionObserver(Protocol):
    """Learns what is decided. Thread-safe; it never waits and never raises."""

    @property
    def keeps_thumbnails(self) -> bool:
        """Whether decisions on refused frames should have a thumbnail."""
        ...

    def count_matched(self, stream: str, strategy: str) -> None:
        """Count a frame that a strategy matched."""
        ...

    def count_accepted(self, stream: str, strategy: str) -> None:
        """Count a frame that was accepted."""
        ...

    def count_refused(self, stream: str, reason: RefusalReason) -> None:
        """Count a frame that was refused for good."""
        ...

    def observe(self, stream: str, gauges: Mapping[str, Gauge]) -> float:
        """Note what strategies measured of a frame, by name; of each, the nearest of a second is kept.

        Returns the highest nearness of these.
        """
        ...

    def add(self, decision: FrameDecision) -> None:
        """Record a frame that was accepted, or may still be."""
        ...

    def add_refused(
        self, stream: str, reason: RefusalReason, nearness: float, make: Callable[[], FrameDecision]
    ) -> None:
        """Record a frame that was nearly taken, if none of this second and reason was nearer.

        nearness: higher is nearer; compared within one reason. make: returns the decision; called at once, or not, and
        without a lock.
        """
        ...

    def settle(self, stream: str, id: str, outcome: str | RefusalReason) -> None:
        """Record what became of a frame that was held or waited. outcome: the strategy that was charged, or why not."""
        ...
