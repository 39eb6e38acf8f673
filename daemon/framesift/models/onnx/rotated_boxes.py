"""Rotated boxes: their corners, how much two of them overlap, and suppression.

A rotated box is a box x1, y1, x2, y2, turned around its centre by an angle in radians, clockwise on the screen.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.models.onnx.heads import MAX_CANDIDATES, BoxCandidates

_EPSILON = 1e-7


def corners(boxes: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The four corners of each box, in their order around it: (n, 4), (n,) -> (n, 4, 2)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half_w, half_h = ((boxes[:, 2:] - boxes[:, :2]) / 2).T
    along = np.stack((half_w * np.cos(angles), half_w * np.sin(angles)), axis=1)
    down = np.stack((-half_h * np.sin(angles), half_h * np.cos(angles)), axis=1)
    around = np.stack((along + down, along - down, -along - down, down - along), axis=1)
    placed: NDArray[np.float64] = centres[:, None] + around
    return placed


def inside(outline: NDArray[np.float64], area: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of an outline (four corners, shape (4, 2)) inside an area x1, y1, x2, y2: its corners, shape (k, 2).

    k is 0 where they have no area in common.
    """
    if (outline >= area[:2]).all() and (outline <= area[2:]).all():
        return outline
    x1, y1, x2, y2 = area
    rectangle = np.array(((x1, y1), (x2, y1), (x2, y2), (x1, y2)), np.float32)
    shared, cut = cv2.intersectConvexConvex(outline.astype(np.float32), rectangle)
    if shared <= 0 or cut is None:
        return np.empty((0, 2))
    return np.clip(np.asarray(cut, np.float64).reshape(-1, 2), area[:2], area[2:])


def suppress(candidates: BoxCandidates, angles: NDArray[np.float64], iou: float) -> NDArray[np.int64]:
    """The places of the candidates that stay, the most confident first.

    One goes if a more confident one of its class overlaps it by `iou` or more, also where that one goes itself. This,
    and the overlap, are those of Ultralytics: the boxes as normal distributions, and one less their Hellinger distance
    (Llerena et al., Gaussian bounding boxes and probabilistic intersection-over-union, 2021). Of more than
    MAX_CANDIDATES, the most confident count.
    """
    order = np.argsort(-candidates.confidences, kind="stable")[:MAX_CANDIDATES]
    shapes, class_ids = _distributions(candidates.boxes[order], angles[order]), candidates.class_ids[order]
    goes = np.zeros(len(order), np.bool_)
    for place in range(len(order) - 1):
        rest = slice(place + 1, None)
        overlap = _overlap(shapes[place], shapes[rest])
        goes[rest] |= (overlap >= iou) & (class_ids[rest] == class_ids[place])
    kept: NDArray[np.int64] = order[~goes]
    return kept


def _distributions(boxes: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each box as a normal distribution: x, y, and of its covariance xx, yy, xy; shape (n, 5)."""
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T
    across, down = ((boxes[:, 2:] - boxes[:, :2]) ** 2 / 12).T
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack(
        (x, y, across * cos**2 + down * sin**2, across * sin**2 + down * cos**2, (across - down) * cos * sin), axis=1
    )


def _overlap(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much one distribution, shape (5,), overlaps each of the others, shape (n, 5): 0 to 1, shape (n,)."""
    x, y = others[:, 0] - one[0], others[:, 1] - one[1]
    xx, yy, xy = (others[:, 2:] + one[2:]).T
    determinant = xx * yy - xy**2
    distance = (xx * y**2 + yy * x**2 - 2 * xy * x * y) / (determinant + _EPSILON) / 4
    own = np.maximum(one[2] * one[3] - one[4] ** 2, 0.0)
    theirs = np.maximum(others[:, 2] * others[:, 3] - others[:, 4] ** 2, 0.0)
    shape = np.log(determinant / (4 * np.sqrt(own * theirs) + _EPSILON) + _EPSILON) / 2
    bhattacharyya = np.clip(distance + shape, _EPSILON, 100.0)
    overlaps: NDArray[np.float64] = 1.0 - np.sqrt(1.0 - np.exp(-bhattacharyya) + _EPSILON)
    return overlaps
