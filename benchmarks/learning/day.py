"""A camera's day: which scene it shows when, in which light, and for how long.

The camera sends a clip of a few frames every few minutes. A scene stays for some clips: for few by day, for long at
night, and once or twice a day something is parked before the camera for an hour or two. Scenes with a rare class come
in bursts, a few after each other, and not on every day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLIP_FRAMES = 3
FRAME_S = 0.1
LIGHTS = ("day", "dusk", "night")
_MEAN_CLIPS = {"day": 1.5, "dusk": 2.0, "night": 6.0}


@dataclass(frozen=True, slots=True)
class Scene:
    """What the camera shows for a while.

    first_clip: of the day. clips: how many. light: one of LIGHTS. is_rare: whether it holds a rare class.
    """

    first_clip: int
    clips: int
    light: str
    is_rare: bool


def light_at(hour: float) -> str:
    """The light at an hour of the day, 0 to 24."""
    if 8 <= hour < 18:
        return "day"
    return "dusk" if 6 <= hour < 20 else "night"


def scenes_of(rng: np.random.Generator, clips: int) -> list[Scene]:
    """One day, in order. clips: how many a day has."""
    hour = clips / 24
    parked = {int(24 * hour * rng.random()): max(int(rng.uniform(1, 2) * hour), 1) for _ in range(rng.integers(1, 3))}
    bursts = [24 * hour * rng.random() for _ in range(rng.binomial(2, 0.7))]
    found: list[Scene] = []
    at = 0
    while at < clips:
        light = light_at(at / hour)
        long = int(rng.geometric(1 / _MEAN_CLIPS[light]))
        due = [start for start in parked if start <= at]
        if due:
            long = parked.pop(due[0])
        is_rare = any(start <= at < start + hour / 2 for start in bursts)
        long = min(long, clips - at)
        found.append(Scene(at, long, light, is_rare))
        at += long
    return found
