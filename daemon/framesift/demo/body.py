"""The parts of the demo's actors: a look, a pose, and faces in the actor's own coordinates.

Local axes in metres: `along` points forward, `side` away from the camera, z up.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from framesift.demo.view import Colour, Face, Points, View, shaded

GLASS: Colour = (112, 92, 74)
RUBBER: Colour = (38, 36, 36)

Corner = tuple[float, float]

# The camera's height for deciding which faces look away from it: what it sees differs little over its whole range.
_EYE_M = 6.0
_RING = np.linspace(0, 2 * math.pi, 16, endpoint=False)
_CIRCLE = np.column_stack((np.cos(_RING), np.sin(_RING)))
_HALF = np.linspace(-math.pi / 2, math.pi / 2, 6)
_CAP = np.column_stack((np.cos(_HALF), np.sin(_HALF)))


@dataclass(frozen=True, slots=True)
class Look:
    """How one actor looks: its class, its variant and colours, its size as a factor of the usual size."""

    class_name: str
    variant: int
    colours: tuple[Colour, Colour]
    skin: Colour
    hair: Colour
    size: float

    @property
    def length_m(self) -> float:
        """From end to end along its way, in metres."""
        usual = {"person": 0.5, "car": 4.4, "truck": (7.2, 7.2, 5.7)[self.variant % 3], "bicycle": 1.75}
        return usual[self.class_name] * self.size


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an actor is: (x, y) in metres, `heading` +1 or -1 along x, `travelled_m` on its way so far."""

    x: float
    y: float
    heading: int
    travelled_m: float
    moving: bool
    lights: bool


class Body:
    """Collects the faces of one actor, in the order of painting."""

    def __init__(self, look: Look, pose: Pose) -> None:
        self.pose = pose
        self.size = look.size
        self.faces: list[Face] = []

    def placed(self, along: Points, side: Points | float, z: Points) -> Points:
        """Local coordinates (each of shape (n,)) in the world, of shape (n, 3)."""
        points = np.empty((len(along), 3))
        points[:, 0] = self.pose.x + along * (self.pose.heading * self.size)
        points[:, 1] = self.pose.y + side * self.size
        points[:, 2] = z * self.size
        return points

    def flat(self, outline: list[Corner] | Points, side: float, colour: Colour, glows: bool = False) -> None:
        """A face in the plane at `side`, from (along, z) corners."""
        corners = np.asarray(outline, float)
        self.faces.append(Face(self.placed(corners[:, 0], side, corners[:, 1]), colour, glows))

    def rect(self, span: Corner, rise: Corner, side: float, colour: Colour, glows: bool = False) -> None:
        """An upright rectangle in the plane at `side`, over a span of `along` and of z."""
        (back, fore), (low, high) = span, rise
        self.flat([(back, low), (fore, low), (fore, high), (back, high)], side, colour, glows)

    def end(self, along: float, sides: Corner, rise: Corner, colour: Colour, glows: bool) -> None:
        """An upright rectangle across the way, over a span of `side` and of z."""
        side = np.array([sides[0], sides[1], sides[1], sides[0]])
        z = np.array([rise[0], rise[0], rise[1], rise[1]])
        self.faces.append(Face(self.placed(np.full(4, along), side, z), colour, glows))

    def disc(self, centre: Corner, radius: float, side: float, colour: Colour, hole: float = 0.0) -> None:
        """A round face at (along, z), or a ring around a hole of the given radius."""
        ring = np.asarray(centre) + _CIRCLE * radius
        inner = np.asarray(centre) + _CIRCLE * hole
        cut = self.placed(inner[:, 0], side, inner[:, 1]) if hole else None
        self.faces.append(Face(self.placed(ring[:, 0], side, ring[:, 1]), colour, False, cut))

    def extrude(self, profile: tuple[Corner, ...], half: float, belt: float, colour: Colour) -> None:
        """A profile drawn out over its width; above `belt` the sides lean inwards and sloping faces are glass."""
        roof = max(z for _, z in profile)

        def inset(z: float) -> float:
            return half * (1 - 0.2 * max(z - belt, 0) / (roof - belt)) if roof > belt else half

        for (a1, z1), (a2, z2) in itertools.pairwise(profile):
            across = np.array([-inset(z1), -inset(z2), inset(z2), inset(z1)])
            points = self.placed(np.array([a1, a2, a2, a1]), across, np.array([z1, z2, z2, z1]))
            middle = points.mean(axis=0)
            normal = (self.pose.heading * (z1 - z2), a2 - a1)
            if normal[1] * (_EYE_M - middle[2]) - normal[0] * middle[0] <= 0:
                continue
            up = max(normal[1] / math.hypot(*normal), 0.0)
            glass = up < 0.93 and max(z1, z2) > belt + 0.3 and min(z1, z2) >= belt - 0.13
            tone = shaded(GLASS, 0.9 + 0.5 * up) if glass else shaded(colour, 0.84 + 0.32 * up)
            self.faces.append(Face(points, tone))
        along, z = np.array(profile).T
        self.faces.append(Face(self.placed(along, np.array([-inset(high) for high in z]), z), colour))

    def board(self, view: View, outline: Points | list[Corner], colour: Colour) -> None:
        """A face in the plane that faces the camera, from (across, z) corners."""
        corners = np.asarray(outline, float)
        across = corners[:, 0] * (self.size * (self.pose.heading or 1))
        points = np.empty((len(corners), 3))
        points[:, 0] = self.pose.x + across * view.right[0]
        points[:, 1] = self.pose.y + across * view.right[1]
        points[:, 2] = corners[:, 1] * self.size
        self.faces.append(Face(points, colour))


def capsule(start: Corner, end: Corner, thick: Corner) -> Points:
    """A rounded, tapering limb from one point to another, with a radius at each: an outline of shape (12, 2)."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    turn = np.array([[dx, dy], [-dy, dx]]) / length if dx or dy else np.eye(2)
    cap = _CAP @ turn
    outline = np.empty((12, 2))
    outline[:6] = np.asarray(end) + cap * thick[1]
    outline[6:] = np.asarray(start) - cap * thick[0]
    return outline
