"""zones: the areas of the picture in which objects count for a strategy.

An object stands where the anchor of its box is: the middle of the lower edge, or the centre. It is one point, since a
box that only touches a zone says little: in a slanting view, the head of somebody before a zone is seen in it. A zone
has the points that the even-odd rule calls inside, and its edges. An anchor beyond the picture's edge counts as on it.
Only boxes have a place: labels, stubs and semantic segmentations have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framesift.config.schema import Corner, Polygon
from framesift.prediction.prediction import DETECTION_TASKS, Detections, ObjectColumns, Prediction, with_columns

Anchor = Literal["bottom", "centre"]
ZonePolygons = Annotated[tuple[Polygon, ...], Field(min_length=1, max_length=32)]


# How many pairs of a point and an edge are compared at once: what that takes in memory is bounded.
_MAX_PAIRS = 1 << 18


class Zones:
    """Some polygons, and the anchor of what may lie in them. Two of them are equal only if they are the same object."""

    def __init__(self, polygons: Sequence[Sequence[Corner]], anchor: Anchor) -> None:
        """polygons: corners (x, y) as parts of width and height."""
        rings = [np.array(corners, np.float64) for corners in polygons]
        # The edges of all polygons, one a row: shape (m, 1). `_firsts` has the number of each polygon's first one.
        self._firsts = np.cumsum([0, *map(len, rings[:-1])])
        begins, ends = np.concatenate(rings), np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        falls = begins[:, 1] > ends[:, 1]
        begins[falls], ends[falls] = ends[falls], begins[falls]  # each edge goes from its lower y to its higher one
        self._x1, self._y1 = begins.T[:, :, np.newaxis]
        self._x2, self._y2 = ends.T[:, :, np.newaxis]
        self._dx, self._dy = (ends - begins).T[:, :, np.newaxis]
        self._anchor = anchor

    def contain(self, prediction: Detections) -> NDArray[np.bool_]:
        """Which of the objects lie in a zone: shape (n,). A place that is no number lies in none."""
        x, y, _, height, _ = prediction.columns.rows
        if self._anchor == "bottom":
            y = y + height / 2
        return self.have(x / prediction.width, y / prediction.height)

    def have(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points lie in a zone: shape (n,). x, y: as parts of width and height, of the same shape."""
        x, y = np.minimum(np.maximum(x, 0.0), 1.0), np.minimum(np.maximum(y, 0.0), 1.0)
        size = max(1, _MAX_PAIRS // len(self._dx))
        if len(x) <= size:
            return self._have(x, y)
        return np.concatenate([self._have(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)])

    def _have(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The same for some points, of shape (n,). Each edge, one a row, is compared with each of them."""
        side = self._dx * (y - self._y1) - self._dy * (x - self._x1)  # on which the point lies; 0: on the edge's line
        # The ray from the point to the right meets the edge. (The lower end of an edge is a part of it, the upper not.)
        crosses = (self._y1 <= y) & (y < self._y2) & (side > 0)
        inside = np.asarray(np.logical_xor.reduceat(crosses, self._firsts, axis=0).any(axis=0))
        on_line = side == 0
        if on_line.any():
            on_line &= (np.minimum(self._x1, self._x2) <= x) & (x <= np.maximum(self._x1, self._x2))
            on_line &= (self._y1 <= y) & (y <= self._y2)
            inside |= on_line.any(axis=0)
        return inside


@lru_cache(maxsize=256)
def zones_of(polygons: tuple[tuple[Corner, ...], ...], anchor: Anchor) -> Zones:
    """The same Zones for the same polygons, so that strategies which share them share what is worked out."""
    return Zones(polygons, anchor)


class PlacedObjects:
    """The prediction of one frame, and which of its objects lie in zones: worked out once for each Zones."""

    __slots__ = ("_by_zones", "prediction")

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction
        self._by_zones: dict[Zones, Detections] = {}

    def within(self, zones: Zones) -> Detections | None:
        """The prediction with the objects in these zones alone; None where it has no boxes."""
        prediction = self.prediction
        if not isinstance(prediction, Detections) or prediction.task not in DETECTION_TASKS:
            return None
        found = self._by_zones.get(zones)
        if found is None:
            found = self._by_zones[zones] = _only(prediction, zones.contain(prediction).tolist())
        return found


def _only(prediction: Detections, kept: list[bool]) -> Detections:
    """The same prediction with those objects alone that are kept."""
    columns = prediction.columns
    selected = ObjectColumns(
        list(compress(columns.x, kept)),
        list(compress(columns.y, kept)),
        list(compress(columns.width, kept)),
        list(compress(columns.height, kept)),
        list(compress(columns.confidence, kept)),
        list(compress(columns.class_name, kept)),
        list(compress(columns.class_id, kept)),
        {name: list(compress(values, kept)) for name, values in columns.optional.items()},
    )
    return with_columns(prediction, selected)
