"""The demo's camera and brush: points in metres become pixels, faces become painted polygons.

The world's axes: x to the right along the street, y away from the camera across it, z up; the camera stands over the
origin. Verticals stay vertical in the picture, as with a shift lens: the horizon is a row, not a pitch angle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]

_FRACTION_BITS = 4
_NEAREST_M = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """A camera over the street: `focal` and `horizon` in pixels, `height_m` over the ground, `yaw` in radians."""

    width: int
    height: int
    focal: float
    horizon: float
    height_m: float
    yaw: float
    right: tuple[float, float] = field(init=False)
    ahead: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "right", (math.cos(self.yaw), -math.sin(self.yaw)))
        object.__setattr__(self, "ahead", (math.sin(self.yaw), math.cos(self.yaw)))

    def pixels(self, points: Points) -> Points:
        """Points of shape (n, 3) in metres as pixels (column, row) of shape (n, 2)."""
        x, y = points[:, 0], points[:, 1]
        per_metre = self.focal / np.maximum(x * self.ahead[0] + y * self.ahead[1], _NEAREST_M)
        out = np.empty((len(points), 2))
        out[:, 0] = self.width / 2 + (x * self.right[0] + y * self.right[1]) * per_metre
        out[:, 1] = self.horizon + (self.height_m - points[:, 2]) * per_metre
        return out

    def pixels_per_metre(self, x: float, y: float) -> float:
        """The scale of things that stand at (x, y)."""
        return self.focal / max(x * self.ahead[0] + y * self.ahead[1], _NEAREST_M)

    def edge(self, y: float, column: float) -> float:
        """The x in metres at which the line across the world at depth `y` meets a column of the picture."""
        return y * math.tan(self.yaw + math.atan((column - self.width / 2) / self.focal))


@dataclass(frozen=True, slots=True)
class Face:
    """A flat, painted outline in the world. `holes` is an outline cut out of it; one that `glows` ignores the light."""

    points: Points
    colour: Colour
    glows: bool = False
    holes: Points | None = None


def shaded(colour: Colour, factor: float) -> Colour:
    """The colour, brighter (over 1) or darker (under 1)."""
    return (min(colour[0] * factor, 255.0), min(colour[1] * factor, 255.0), min(colour[2] * factor, 255.0))


def blended(one: Colour, other: Colour, share: float) -> Colour:
    """The colour that lies `share` of the way from one to the other."""
    return (
        one[0] + (other[0] - one[0]) * share,
        one[1] + (other[1] - one[1]) * share,
        one[2] + (other[2] - one[2]) * share,
    )


def tinted(colour: Colour, light: Colour) -> Colour:
    """The colour under a light whose channels are 1 by day."""
    return (min(colour[0] * light[0], 255.0), min(colour[1] * light[1], 255.0), min(colour[2] * light[2], 255.0))


def outlines(faces: list[Face], view: View) -> list[list[NDArray[np.int32]]]:
    """Each face's contours in the picture, in sixteenths of a pixel (all faces are projected in one go)."""
    parts: list[Points] = []
    for face in faces:
        parts.append(face.points)
        if face.holes is not None:
            parts.append(face.holes)
    fixed = np.rint(view.pixels(np.concatenate(parts)) * (1 << _FRACTION_BITS)).astype(np.int32)
    contours: list[list[NDArray[np.int32]]] = []
    start = 0
    for face in faces:
        end = start + len(face.points)
        contour = [fixed[start:end]]
        if face.holes is not None:
            contour.append(fixed[end : end + len(face.holes)])
            end += len(face.holes)
        contours.append(contour)
        start = end
    return contours


def paint(picture: Picture, faces: list[Face], view: View, light: Colour) -> None:
    """Draws the faces in their order, with smooth edges."""
    if not faces:
        return
    for face, contour in zip(faces, outlines(faces, view), strict=True):
        colour = face.colour if face.glows else tinted(face.colour, light)
        cv2.fillPoly(picture, contour, colour, cv2.LINE_AA, _FRACTION_BITS)


def stamp(mask: NDArray[np.uint8], faces: list[Face], view: View, value: int, shift: tuple[int, int] = (0, 0)) -> None:
    """Writes `value` wherever the faces lie, without smoothing; `shift` in pixels is taken off the positions."""
    offset = (-shift[0], -shift[1])
    for contour in outlines(faces, view):
        moved = [part + np.array(offset, np.int32) * (1 << _FRACTION_BITS) for part in contour]
        cv2.fillPoly(mask, moved, (value,), cv2.LINE_8, _FRACTION_BITS)


def area(faces: list[Face], view: View) -> int:
    """The pixels that the faces cover together, also beyond the picture's edge; at least 1."""
    corners = np.concatenate([contour[0] for contour in outlines(faces, view)]) >> _FRACTION_BITS
    left, top = corners.min(axis=0) - 2
    right, bottom = corners.max(axis=0) + 3
    mask = np.zeros((bottom - top, right - left), np.uint8)
    stamp(mask, faces, view, 1, (int(left), int(top)))
    return max(int(np.count_nonzero(mask)), 1)


def darken(picture: Picture, outline: Points, share: float) -> None:
    """Takes `share` of the light from a convex outline in pixels: a shadow with a soft edge."""
    hull = cv2.convexHull(outline.astype(np.float32)).reshape(-1, 2)
    left, top = np.maximum(np.floor(hull.min(axis=0)).astype(int) - 3, 0)
    right, bottom = np.minimum(np.ceil(hull.max(axis=0)).astype(int) + 4, (picture.shape[1], picture.shape[0]))
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fixed = np.rint((hull - (left, top)) * (1 << _FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], (255,), cv2.LINE_AA, _FRACTION_BITS)
    kept = 1.0 - cv2.blur(mask, (3, 3)).astype(np.float32) * (share / 255.0)
    region = picture[top:bottom, left:right]
    region[:] = region * kept[:, :, None]


def glow(picture: Picture, column: float, row: float, radius: tuple[float, float], colour: Colour) -> None:
    """Adds a soft spot of light of the given radii (pixels) around a point."""
    left, right = max(int(column - radius[0]), 0), min(int(column + radius[0]) + 2, picture.shape[1])
    top, bottom = max(int(row - radius[1]), 0), min(int(row + radius[1]) + 2, picture.shape[0])
    if right <= left or bottom <= top:
        return
    across = (np.arange(left, right) - column) / radius[0]
    down = (np.arange(top, bottom) - row) / radius[1]
    spot = np.clip(1.0 - (across[None, :] ** 2 + down[:, None] ** 2), 0.0, 1.0) ** 2
    region = picture[top:bottom, left:right]
    region[:] = np.minimum(region + spot[:, :, None] * np.array(colour), 255.0)
