"""Survey: what footage shows, as far as it matters for a policy: how much, when, and how unsure the model was."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from framesift.limits import Window, window_start
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Stub, Task
from framesift.sampling.dry_run import DryRun
from framesift.simulation.errors import SimulationError
from framesift.simulation.facts import facts_of
from framesift.simulation.footage import DAY_S, SimulatedFrame

NEAR: dict[str, Any] = {"threshold": "auto", "memory": 256}
_LEAST_SCORE = 0.01  # below it the model was sure of all


@dataclass(frozen=True, slots=True)
class Scene:
    """A frame that looks like none before it, and in which the model is unsure. score: its uncertainty."""

    at_s: float
    score: float


@dataclass(frozen=True, slots=True)
class Survey:
    """What footage shows. days: how long it is, in days. active_hours: calendar hours in which something was seen.

    classes: in how many frames each is. scenes: in the order of their times; none where there is no model.
    """

    frames: int
    days: float
    streams: int
    task: Task
    has_model: bool
    with_something: int
    objects: int
    active_hours: int
    classes: Counter[str]
    scenes: tuple[Scene, ...]

    @property
    def active_hours_a_day(self) -> float:
        """In how many hours of a day something is seen, in the mean; of a part of a day, as in the rest of it."""
        return min(24.0, self.active_hours / max(self.days, 1 / 24))

    def threshold_for(self, scenes_a_day: float) -> float:
        """The score that so many scenes a day have, or more; 0 where there are not so many."""
        scores = sorted((scene.score for scene in self.scenes), reverse=True)
        place = round(scenes_a_day * self.days)
        return scores[place - 1] if 0 < place <= len(scores) else 0.0

    def most_in_an_hour(self, threshold: float) -> int:
        """How many scenes of at least this score the fullest hour has."""
        hours = Counter(int(scene.at_s // 3600) for scene in self.scenes if scene.score >= threshold)
        return max(hours.values(), default=0)


def survey(frames: Iterable[SimulatedFrame], *, time_zone: str = "UTC") -> Survey:
    """Looks at all frames once. Raises SimulationError where there is none, ConfigError for a line that is wrong."""
    policy = Policy.model_validate_json(json.dumps(_all_scenes(time_zone)))
    dry_run = DryRun(policy, seed=0, stream=None, started_s=0.0)
    zone = ZoneInfo(time_zone)
    first_s, last_s, gaps_s = math.inf, -math.inf, 0.0
    count = with_something = objects = 0
    has_model = False
    task = Task.OBJECT_DETECTION
    streams: set[str] = set()
    hours: set[int] = set()
    classes: Counter[str] = Counter()
    scenes: list[Scene] = []
    hour = -math.inf
    for frame in frames:
        facts = facts_of(frame)
        prediction = frame.recorded.prediction
        count += 1
        if not has_model and not isinstance(prediction, Stub):
            has_model, task = True, prediction.task
        streams.add(frame.stream)
        first_s = min(first_s, frame.at_s)
        if last_s > -math.inf and frame.at_s - last_s > DAY_S / 2:
            gaps_s += frame.at_s - last_s  # a night without a recording is not a quiet one
        last_s = max(last_s, frame.at_s)
        if facts.shows_something:
            with_something += 1
            objects += facts.objects
            classes.update(facts.classes)
            if not hour <= frame.at_s < hour + 3600:
                hour = window_start(Window.HOURLY, frame.at_s, zone)
                hours.add(int(hour))
        result = dry_run.decide(frame.recorded)
        if result.strategy is not None and result.score is not None:
            scenes.append(Scene(frame.at_s, result.score))
    dry_run.close()
    if not count:
        raise SimulationError("there is no prediction in what was given")
    days = (last_s - first_s - gaps_s) / DAY_S
    found = (count, days, len(streams), task, has_model, with_something, objects, len(hours), classes, tuple(scenes))
    return Survey(*found)


def _all_scenes(time_zone: str) -> dict[str, Any]:
    """A policy that collects each scene in which the model is unsure."""
    unsure = {"name": "scenes", "type": "uncertainty", "minimum_score": _LEAST_SCORE, "near_duplicate": NEAR}
    return {
        "enabled": True,
        "persist_predictions": True,
        "time_zone": time_zone,
        "sampling_strategies": [unsure],
        "batching_strategy": {"batches_name_prefix": "plan", "recreation_interval": "never"},
    }
