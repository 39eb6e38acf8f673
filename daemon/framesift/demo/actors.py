"""The demo's actors: which kinds there are, how each looks, and the faces that the camera sees of them."""

from __future__ import annotations

import numpy as np

from framesift.demo.body import Look, Pose
from framesift.demo.people import rider, walker
from framesift.demo.vehicles import bicycle, car, lorry, van
from framesift.demo.view import Colour, Face, Points, View, shaded

CLASS_NAMES: tuple[str, ...] = ("person", "car", "truck", "bicycle")

_PAINTS: tuple[Colour, ...] = (
    (46, 46, 180),
    (168, 96, 36),
    (206, 208, 208),
    (62, 60, 58),
    (140, 140, 136),
    (60, 120, 40),
    (40, 150, 226),
    (150, 130, 60),
    (110, 52, 70),
    (120, 170, 196),
)
_CLOTHES: tuple[Colour, ...] = (
    (44, 44, 170),
    (170, 104, 40),
    (60, 160, 220),
    (70, 120, 50),
    (130, 60, 120),
    (60, 56, 54),
    (180, 180, 176),
    (90, 70, 190),
    (140, 150, 60),
    (60, 90, 130),
)
_TROUSERS: tuple[Colour, ...] = ((92, 64, 44), (48, 46, 46), (76, 84, 96), (120, 96, 66), (88, 110, 134))
_SKINS: tuple[Colour, ...] = ((166, 190, 228), (130, 160, 206), (96, 126, 178), (62, 84, 128), (48, 62, 92))
_HAIR: tuple[Colour, ...] = ((30, 34, 42), (38, 62, 96), (84, 140, 178), (130, 130, 132), (34, 52, 120))


def dress(class_name: str, rng: np.random.Generator) -> Look:
    """Return a random look for an actor of this class."""

    def pick(colours: tuple[Colour, ...]) -> Colour:
        return shaded(colours[int(rng.integers(len(colours)))], rng.uniform(0.85, 1.15))

    people = class_name in ("person", "bicycle")
    first = pick(_CLOTHES if people else _PAINTS)
    second = pick(_TROUSERS if people else ((206, 210, 214), (150, 120, 90), (90, 130, 190), (110, 150, 120)))
    small = class_name == "person" and rng.uniform() < 0.15
    size = rng.uniform(0.68, 0.76) if small else rng.uniform(0.93, 1.06)
    return Look(class_name, int(rng.integers(6)), (first, second), pick(_SKINS), pick(_HAIR), size)


def faces(look: Look, pose: Pose, view: View) -> list[tuple[str, list[Face]]]:
    """The actor's parts, each with the class it counts as: a bicycle brings its rider along as a person."""
    if look.class_name == "person":
        return [("person", walker(look, pose, view))]
    if look.class_name == "bicycle":
        return [("bicycle", bicycle(look, pose)), ("person", rider(look, pose))]
    if look.class_name == "car":
        return [("car", car(look, pose))]
    return [("truck", van(look, pose) if look.variant % 3 == 2 else lorry(look, pose))]


def footprint(look: Look, pose: Pose, height_m: float, shadow: tuple[float, float]) -> Points:
    """The ground an actor shades, as a cloud of points of shape (n, 3): its foot and its top, cast by the sun."""
    wide = {"person": 0.22, "bicycle": 0.2, "car": 0.85, "truck": 1.1}[look.class_name]
    half = look.length_m / 2 * (0.5 if look.class_name == "person" else 0.96)
    corners = [(pose.x + dx * half, pose.y + dy * wide, 0.0) for dx in (-1, 1) for dy in (-1, 1)]
    reach = (shadow[0] * height_m, shadow[1] * height_m)
    return np.array(corners + [(x + reach[0], y + reach[1], z) for x, y, z in corners])
