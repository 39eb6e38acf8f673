"""The demo's people: flat figures whose legs walk, or pedal, as far as they travel."""

from __future__ import annotations

import math

from framesift.demo.body import RUBBER, Body, Corner, Look, Pose, capsule
from framesift.demo.view import Colour, Face, View, shaded


def walker(look: Look, pose: Pose, view: View) -> list[Face]:
    """A person on foot, who walks along the picture or across it, or stands."""
    body = Body(look, pose)

    def limb(start: Corner, end: Corner, thick: Corner, colour: Colour) -> None:
        body.board(view, capsule(start, end, thick), colour)

    coat, trousers = look.colours
    swing = math.sin(pose.travelled_m / look.size * 4.2) if pose.moving else 0.12
    reach = 0.42 if pose.heading else 0.16
    hip_z = 0.9 - 0.03 * abs(swing)
    if look.variant == 1:  # a bag on the far shoulder
        limb((-0.22, 0.98), (-0.2, 1.3), (0.11, 0.1), shaded(trousers, 0.8))
    for side, tone in ((-1, 0.78), (1, 1.0)):
        step = side * swing * reach
        foot = (step, 0.05 + max(side * math.cos(pose.travelled_m / look.size * 4.2), 0) * 0.1 * pose.moving)
        knee = (step * 0.5 + 0.05, 0.48)
        spread = 0.0 if pose.heading else 0.09 * side
        for start, end, thick in (
            ((spread, hip_z), (knee[0] + spread, knee[1]), (0.115, 0.085)),
            ((knee[0] + spread, knee[1]), (foot[0] + spread, foot[1] + 0.04), (0.085, 0.06)),
        ):
            limb(start, end, thick, shaded(trousers, tone))
        limb((foot[0] + spread - 0.03, foot[1]), (foot[0] + spread + 0.12, foot[1]), (0.055, 0.045), RUBBER)
        if side < 0:
            arm = -step * 0.8 + (0.0 if pose.heading else -0.26)
            limb((0.0, 1.38), (arm, 0.92), (0.075, 0.055), shaded(coat, 0.76))
    if look.variant in (2, 5):
        body.board(view, [(-0.13, 1.05), (0.13, 1.05), (0.24, 0.55), (-0.24, 0.55)], shaded(coat, 0.92))
    limb((0.0, hip_z + 0.06), (0.01, 1.36), (0.15, 0.17), coat)
    arm = swing * reach * -0.8 + (0.0 if pose.heading else 0.26)
    limb((0.0, 1.4), (arm, 0.92), (0.075, 0.055), shaded(coat, 0.84))
    limb((arm, 0.88), (arm, 0.86), (0.05, 0.05), look.skin)
    limb((0.02, 1.61), (0.02, 1.67), (0.115, 0.115), look.skin)
    back = -0.03 if pose.heading else 0.0
    limb((back - 0.02, 1.7), (back + 0.05, 1.73), (0.105, 0.09), look.hair)
    if look.variant == 5:
        limb((back - 0.07, 1.66), (back - 0.09, 1.45), (0.06, 0.05), look.hair)
    if look.variant == 4:
        body.board(view, [(arm - 0.1, 0.88), (arm + 0.1, 0.88), (arm + 0.08, 0.6), (arm - 0.12, 0.6)], (60, 110, 150))
    return body.faces


def rider(look: Look, pose: Pose) -> list[Face]:
    """A person on a bicycle, who leans on its handlebar."""
    body = Body(look, pose)

    def limb(start: Corner, end: Corner, thick: Corner, colour: Colour) -> None:
        body.flat(capsule(start, end, thick), 0.0, colour)

    coat, trousers = look.colours
    turn = pose.travelled_m * 2.2
    hip, shoulder, hand = (-0.2, 1.0), (0.1, 1.5), (0.34, 1.1)
    for phase, tone in ((math.pi, 0.75), (0.0, 1.0)):
        foot = (-0.03 + 0.17 * math.cos(turn + phase), 0.32 - 0.17 * math.sin(turn + phase))
        knee = ((hip[0] + foot[0]) / 2 + 0.2, (hip[1] + foot[1]) / 2 + 0.06)
        limb(hip, knee, (0.1, 0.08), shaded(trousers, tone))
        limb(knee, foot, (0.08, 0.055), shaded(trousers, tone))
        limb((foot[0] - 0.04, foot[1] - 0.03), (foot[0] + 0.1, foot[1] - 0.03), (0.045, 0.035), RUBBER)
    limb(hip, shoulder, (0.15, 0.17), coat)
    limb((shoulder[0] + 0.02, shoulder[1] - 0.04), hand, (0.07, 0.05), shaded(coat, 0.84))
    head = (0.2, 1.76)
    limb((head[0], head[1] - 0.03), (head[0], head[1] + 0.03), (0.115, 0.115), look.skin)
    helmet = look.hair if look.variant % 2 else (60, 60, 200)
    limb((head[0] - 0.1, head[1] + 0.07), (head[0] + 0.06, head[1] + 0.1), (0.08, 0.08), helmet)
    return body.faces
