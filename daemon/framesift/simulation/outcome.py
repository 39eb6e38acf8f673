"""PolicyOutcome: what a policy makes of footage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from framesift.limits import Window
from framesift.policy.policy import Policy
from framesift.simulation.time_counts import TimeCounts


@dataclass(frozen=True, slots=True)
class ChosenFrame:
    """A frame that would be collected.

    source, line: see SimulatedFrame. number: the frame's, as its source counts. score: None where its strategy gives
    none.
    """

    at_s: float
    stream: str
    source: int
    line: int
    number: int
    strategy: str
    score: float | None


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """How often one limit was full.

    windows: in which frames wanted quota of it or got it. full: how many were full. full_at_s: when each of the first
    of these was, in Unix time of the frame that filled it.
    """

    strategy: str
    window: Window
    value: int
    windows: int
    full: int
    full_at_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Alikeness:
    """How alike the chosen frames look, by the distances of each from the one that is nearest to it.

    of: how many were compared. near_share: how many of them, from 0 to 1, look like another one.
    """

    of: int
    near_share: float
    mean_distance: float
    lowest_distance: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was seen, and what of it was collected. seen: the frames with it. collected: the images."""

    seen: Mapping[str, int]
    collected: Mapping[str, int]

    @property
    def missing(self) -> tuple[str, ...]:
        """What was seen and not collected."""
        return tuple(name for name in self.seen if name not in self.collected)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyOutcome:
    """What one policy would do.

    matched, accepted: by strategy, the baseline among them. refused: by reason. held: still held at the end. limits:
    of the strategies. images: how many are collected. days: how long the footage is, one at least. boxes: to be
    labelled. classes, hours, streams: see Coverage; hours by "2026-11-28 14:00" in the policy's time zone, seen where
    the model found something. chosen: those that would be collected, of more than MOST_CHOSEN an even sample.
    notes: what is not applied.
    """

    name: str
    policy: Policy
    frames: int
    first_s: float
    last_s: float
    matched: Mapping[str, int]
    accepted: Mapping[str, int]
    refused: Mapping[str, int]
    held: int
    limits: Sequence[LimitOutcome]
    boxes: int
    alikeness: Alikeness | None
    classes: Coverage
    hours: Coverage
    streams: Coverage
    chosen: Sequence[ChosenFrame]
    over_time: TimeCounts = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many images are collected in all."""
        return sum(self.accepted.values())

    @property
    def days(self) -> float:
        """How many days the footage fills; one at least, since limits are those of a day."""
        return max(1.0, (self.last_s - self.first_s) / 86_400.0)

    @property
    def images_a_day(self) -> float:
        """Images a day, in the mean."""
        return self.images / self.days
