"""The demo's vehicles: a side view in metres, extruded over the width, with wheels, windows and lights on it."""

from __future__ import annotations

import numpy as np

from framesift.demo.body import GLASS, RUBBER, Body, Look, Pose, capsule
from framesift.demo.view import Colour, Face, blended, shaded

_HEADLIGHT: Colour = (214, 246, 255)
_TAILLIGHT: Colour = (40, 40, 236)
_FRAMES: tuple[Colour, ...] = ((44, 44, 160), (150, 90, 30), (60, 58, 56), (70, 130, 60), (60, 150, 210))

# Side views: (along, z) round the outline from the rear foot over the roof to the front foot.
_HATCHBACK = (
    (-1.95, 0.3),
    (-2.02, 0.8),
    (-1.92, 0.98),
    (-1.6, 1.44),
    (0.3, 1.48),
    (1.1, 0.98),
    (1.85, 0.84),
    (2.02, 0.6),
    (2.0, 0.3),
)
_SALOON = (
    (-2.2, 0.3),
    (-2.26, 0.82),
    (-2.1, 0.98),
    (-1.6, 1.0),
    (-0.98, 1.41),
    (0.3, 1.44),
    (1.1, 0.97),
    (2.05, 0.84),
    (2.28, 0.6),
    (2.25, 0.3),
)
_ESTATE = (
    (-2.25, 0.36),
    (-2.3, 0.9),
    (-2.2, 1.1),
    (-1.95, 1.68),
    (0.35, 1.72),
    (1.15, 1.14),
    (2.1, 1.0),
    (2.28, 0.74),
    (2.25, 0.36),
)
_CARS = ((_HATCHBACK, 0.98), (_SALOON, 0.98), (_ESTATE, 1.12))
_CAB = ((1.7, 0.5), (1.7, 2.3), (1.95, 2.55), (2.9, 2.5), (3.4, 1.55), (3.55, 1.35), (3.55, 0.5))
_PANEL_VAN = (
    (-2.8, 0.4),
    (-2.85, 2.25),
    (-2.7, 2.5),
    (1.15, 2.5),
    (1.45, 2.35),
    (2.15, 1.4),
    (2.75, 1.15),
    (2.85, 0.9),
    (2.8, 0.4),
)


def _wheels(body: Body, half: float, places: tuple[float, ...], radius: float, paint: Colour) -> None:
    for along in places:
        body.disc((along, radius + 0.03), radius * 1.2, -half - 0.005, shaded(paint, 0.55))
        body.disc((along, radius), radius, -half - 0.02, RUBBER)
        body.disc((along, radius), radius * 0.58, -half - 0.03, (176, 176, 174))
        body.disc((along, radius), radius * 0.2, -half - 0.03, (90, 90, 90))


def _lamps(body: Body, rear: float, front: float, z: float, half: float) -> None:
    """Head and tail lights on the end that the camera sees, and on the near side's corners."""
    lit = body.pose.lights
    towards = body.pose.x * body.pose.heading
    for along, colour, seen in ((front, _HEADLIGHT, towards < 0), (rear, _TAILLIGHT, towards > 0)):
        dull = colour if lit else blended(colour, (150, 150, 150), 0.35)
        inwards = -0.16 if along > 0 else 0.16
        body.flat(
            [(along, z - 0.09), (along, z + 0.09), (along + inwards * 1.4, z + 0.08), (along + inwards, z - 0.09)],
            -half - 0.01,
            dull,
            lit,
        )
        if seen:
            for side in (-half + 0.05, half - 0.4):
                body.end(along, (side, side + 0.35), (z - 0.09, z + 0.09), dull, lit)


def car(look: Look, pose: Pose) -> list[Face]:
    """A car: hatchback, saloon or estate."""
    body = Body(look, pose)
    profile, belt = _CARS[look.variant % 3]
    paint, half = look.colours[0], 0.88
    rear, front, foot = profile[0][0], profile[-1][0], profile[0][1]
    body.flat(
        [(rear + 0.2, 0.16), (front - 0.2, 0.16), (front - 0.05, foot + 0.1), (rear + 0.05, foot + 0.1)],
        -half * 0.9,
        (30, 30, 30),
    )
    body.extrude(profile, half, belt, paint)
    cabin = [p for p in profile if p[1] >= belt - 0.02 and p[0] > -2.2]
    roof_z = max(z for _, z in cabin)
    top = [along for along, z in cabin if z > roof_z - 0.1]
    floor = [along for along, z in cabin if z <= belt + 0.15]
    back, nose = min(floor) + (0.55 if look.variant % 3 == 1 else 0.0), max(floor)
    lean = -half * 0.87
    low, high = belt + 0.04, roof_z - 0.09
    post = 0.5 * (min(top) + max(top)) + 0.15
    body.flat([(back + 0.2, low), (min(top) + 0.1, high), (post - 0.06, high), (post - 0.06, low)], lean, GLASS)
    body.flat(
        [(post + 0.06, low), (post + 0.06, high), (max(top) - 0.02, high), (nose - 0.22, low)],
        lean,
        shaded(GLASS, 1.15),
    )
    body.rect((rear + 0.1, front - 0.1), (foot, foot + 0.14), -half - 0.002, shaded(paint, 0.62))
    body.rect((post - 0.02, post + 0.02), (foot + 0.14, low), -half - 0.003, shaded(paint, 0.7))
    _wheels(body, half, (rear * 0.64, front * 0.66), 0.33, paint)
    _lamps(body, rear, front, foot + 0.38, half)
    return body.faces


def lorry(look: Look, pose: Pose) -> list[Face]:
    """A lorry with a crate behind its cab."""
    body = Body(look, pose)
    paint, cargo = look.colours
    half = 1.15
    body.rect((-3.5, 3.4), (0.45, 0.95), -half * 0.8, (46, 46, 48))
    crate = ((-3.55, 0.9), (-3.55, 3.2), (1.55, 3.2), (1.55, 0.9))

    def load() -> None:
        body.extrude(crate, half, 9.0, cargo)
        body.rect((-3.3, 1.3), (1.75, 2.25), -half - 0.01, paint)
        for along in np.linspace(-3.3, 1.3, 6) if look.variant % 3 else (-1.0,):
            body.rect((along, along + 0.06), (0.95, 3.15), -half - 0.01, shaded(cargo, 0.86))

    if pose.x * pose.heading < 0:  # it comes towards the camera: the cab hides the crate
        load()
    body.extrude(_CAB, half * 0.95, 1.5, paint)
    body.flat([(2.0, 1.6), (2.0, 2.3), (2.75, 2.25), (3.1, 1.6)], -half * 0.9, GLASS)
    body.rect((1.75, 3.5), (0.5, 0.75), -half * 0.96, shaded(paint, 0.6))
    _lamps(body, -3.55, 3.55, 0.9, half * 0.95)
    if pose.x * pose.heading >= 0:
        load()
    _wheels(body, half * 0.95, (-2.3, 2.6), 0.48, (70, 70, 70))
    return body.faces


def van(look: Look, pose: Pose) -> list[Face]:
    """A panel van, which counts as a truck."""
    body = Body(look, pose)
    paint, half = blended(look.colours[1], look.colours[0], 0.5 if look.variant < 3 else 0.0), 1.0
    body.flat([(-2.7, 0.2), (2.7, 0.2), (2.8, 0.5), (-2.8, 0.5)], -half * 0.9, (30, 30, 30))
    body.extrude(_PANEL_VAN, half, 1.38, paint)
    body.flat([(0.75, 1.45), (0.75, 2.15), (1.3, 2.15), (1.85, 1.45)], -half * 0.87, GLASS)
    body.rect((-2.8, 2.75), (0.4, 0.62), -half - 0.002, shaded(paint, 0.6))
    body.rect((-2.5, 0.4), (1.1, 1.45), -half - 0.003, look.colours[0])
    for along in (0.55, -0.9):
        body.rect((along, along + 0.04), (0.62, 2.3), -half - 0.003, shaded(paint, 0.75))
    _wheels(body, half, (-1.75, 1.75), 0.36, paint)
    _lamps(body, -2.83, 2.83, 0.85, half)
    return body.faces


def bicycle(look: Look, pose: Pose) -> list[Face]:
    """A bicycle without its rider."""
    body = Body(look, pose)
    frame = _FRAMES[look.variant % len(_FRAMES)]
    for along in (-0.53, 0.53):
        body.disc((along, 0.35), 0.35, 0.0, RUBBER, hole=0.28)
        body.disc((along, 0.35), 0.06, 0.0, (150, 150, 150))
    joints = {
        "rear": (-0.53, 0.35),
        "crank": (-0.03, 0.32),
        "seat": (-0.22, 0.86),
        "head": (0.36, 0.84),
        "front": (0.53, 0.35),
    }
    for one, two in (
        ("rear", "crank"),
        ("rear", "seat"),
        ("crank", "seat"),
        ("crank", "head"),
        ("seat", "head"),
        ("head", "front"),
    ):
        body.flat(capsule(joints[one], joints[two], (0.035, 0.035)), 0.0, frame)
    body.flat(capsule((0.36, 0.84), (0.34, 1.06), (0.03, 0.03)), 0.0, frame)
    body.flat(capsule((0.28, 1.06), (0.44, 1.04), (0.035, 0.03)), 0.0, RUBBER)
    body.flat(capsule((-0.34, 0.92), (-0.1, 0.92), (0.05, 0.03)), 0.0, RUBBER)
    if pose.lights:
        body.rect((0.5, 0.6), (0.86, 0.96), 0.0, _HEADLIGHT, True)
        body.rect((-0.62, -0.54), (0.7, 0.78), 0.0, _TAILLIGHT, True)
    return body.faces
