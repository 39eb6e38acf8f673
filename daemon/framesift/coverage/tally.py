"""Tally: how many frames there were, by hour, brightness, number of objects and class; of all streams, by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from framesift.prediction.prediction import Detections, Prediction, count_classes

DAY_HOURS = 24
HOUR_S, DAY_S = 3600.0, 86_400.0
# The mean of the grey picture, from 0 (black) to 1 (white), is below the bound.
_BRIGHTNESS_BELOW = (0.15, 0.35)
BRIGHTNESS = ("dark", "dim", "bright")
_OBJECTS_UP_TO = (0, 2, 5)
OBJECTS = ("0", "1-2", "3-5", "6+")

_MAX_DAY = 700_000  # about as many as a date can have before 1970
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class CoveredFrame:
    """What is counted of one frame.

    captured_s: Unix time. brightness: the place in BRIGHTNESS. objects: the place in OBJECTS; None where the model
    doesn't detect any. classes: those that it shows, each once.
    """

    stream: str
    captured_s: Annotated[float, Field(ge=-_MAX_DAY * DAY_S, le=_MAX_DAY * DAY_S)]
    brightness: Annotated[int, Field(ge=0, lt=len(BRIGHTNESS))]
    objects: Annotated[int, Field(ge=0, lt=len(OBJECTS))] | None
    classes: tuple[str, ...]

    @classmethod
    def of(cls, stream: str, captured_s: float, prediction: Prediction, brightness: float) -> CoveredFrame:
        """The facts of a frame. brightness: the mean of the grey picture, from 0 to 1."""
        objects = None
        if isinstance(prediction, Detections):
            objects = sum(len(prediction.columns) > most for most in _OBJECTS_UP_TO)
        band = sum(brightness >= below for below in _BRIGHTNESS_BELOW)
        classes = {_encodable(name) for name in count_classes(prediction)}
        return cls(_encodable(stream), captured_s, band, objects, tuple(sorted(classes)))


def _encodable(name: str) -> str:
    """A name that a file can have: a model of one's own may give half of a character."""
    return name.encode(errors="replace").decode()


def _checked(classes: Counter[str]) -> Counter[str]:
    if any(number < 0 for number in classes.values()):
        raise ValueError("no class is in less than no frame")
    return classes


def _zeros(number: int) -> list[int]:
    return [0] * number


@dataclass(slots=True)
class Tally:
    """Numbers of frames. hours: by the hour of the day, from 0. brightness, objects: by the places in their lists.

    classes: how many frames show each. Frames of models that detect no objects are not in `objects`.
    """

    hours: Annotated[list[Count], Field(min_length=DAY_HOURS, max_length=DAY_HOURS)] = field(
        default_factory=lambda: _zeros(DAY_HOURS)
    )
    brightness: Annotated[list[Count], Field(min_length=len(BRIGHTNESS), max_length=len(BRIGHTNESS))] = field(
        default_factory=lambda: _zeros(len(BRIGHTNESS))
    )
    objects: Annotated[list[Count], Field(min_length=len(OBJECTS), max_length=len(OBJECTS))] = field(
        default_factory=lambda: _zeros(len(OBJECTS))
    )
    classes: Annotated[Counter[str], AfterValidator(_checked)] = field(default_factory=Counter)

    @property
    def frames(self) -> int:
        """How many there were."""
        return sum(self.hours)

    def add(self, hour: int, facts: CoveredFrame, classes: tuple[str, ...]) -> None:
        """One more frame. classes: under which names its classes are counted."""
        self.hours[hour] += 1
        self.brightness[facts.brightness] += 1
        if facts.objects is not None:
            self.objects[facts.objects] += 1
        self.classes.update(classes)

    def add_all(self, other: Tally, hours: list[int] | None = None) -> None:
        """All frames of another tally. hours: what becomes of each of its hours of the day; None: they stay."""
        for hour, number in enumerate(other.hours):
            self.hours[hour if hours is None else hours[hour]] += number
        for mine, others in ((self.brightness, other.brightness), (self.objects, other.objects)):
            for place, number in enumerate(others):
                mine[place] += number
        self.classes.update(other.classes)

    def copy(self) -> Tally:
        """The same numbers, which don't change any more."""
        return Tally(self.hours[:], self.brightness[:], self.objects[:], self.classes.copy())

    def subjects(self) -> Iterator[tuple[str, str]]:
        """Yields (kind, name): each brightness and number of objects, and the classes, the most frequent first."""
        yield from (("brightness", name) for name in BRIGHTNESS)
        yield from (("objects", name) for name in OBJECTS)
        yield from (("class", name) for name in sorted(self.classes, key=lambda name: (-self.classes[name], name)))

    def share(self, kind: str, name: str) -> tuple[int, int]:
        """How many frames, of how many, are of one of `subjects`."""
        if kind == "class":
            return self.classes[name], self.frames
        names, numbers = (BRIGHTNESS, self.brightness) if kind == "brightness" else (OBJECTS, self.objects)
        return numbers[names.index(name)], sum(numbers)


@dataclass(slots=True)
class DayCoverage:
    """Of one stream and one day of UTC (its number since 1970); hours are those of UTC.

    seen: of a sample, about one frame a second. collected: of each frame that was accepted.
    """

    day: Annotated[int, Field(ge=-_MAX_DAY, le=_MAX_DAY)]
    stream: str
    seen: Tally = field(default_factory=Tally)
    collected: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class CountedCoverage:
    """All that was counted. since_s, until_s: Unix times. time_zone: the name of the one in which limits are counted.

    days: in no order. pending: by the id of the datapoint that they may become, frames that are held or wait.
    """

    since_s: float
    until_s: float
    time_zone: str = "UTC"
    days: tuple[DayCoverage, ...] = ()
    pending: dict[str, CoveredFrame] = field(default_factory=dict)
    version: Literal[1] = 1
