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
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framesift.config.schema import Corner, Polygon
from framesift.prediction.prediction import DETECTION_TASKS, Detections, ObjectColumns, Prediction

Anchor = Literal["bottom", "centre"]
ZonePolygons = Annotated[tuple[Polygon, ...], Field(min_length=1, max_length=32)]


# How many pairs of a point and an edge are compared at once: what that takes in memory is bounded.
_MAX_PAIRS = 1 << 18


class Zones:
    """Some polygons, and the anchor of what may lie in them. Two of them are equal only if they are the same object."""

    def __init__(self, polygons: Sequence[Sequence[Corner]], anchor: Anchor) -> None:
        """polygons: corners (x, y) as parts of width and height."""
        rings = [np.array(corners, np.float64) for corners in polygons]
        # The edges of all polygons, each of shape (m,); `_firsts` has the number of each polygon's first one.
        self._firsts = np.cumsum([0, *map(len, rings[:-1])])
        begins, ends = np.concatenate(rings), np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        self._x1, self._y1 = begins.T
        self._x2, self._y2 = ends.T
        self._dx, self._dy = (ends - begins).T
        self._direction = np.sign(self._dy)
        self._anchor = anchor

    def contain(self, prediction: Detections) -> NDArray[np.bool_]:
        """Which of the objects lie in a zone: shape (n,). A place that is no number lies in none."""
        columns = prediction.columns
        x, y = np.array(columns.x, np.float64), np.array(columns.y, np.float64)
        if self._anchor == "bottom":
            y += np.array(columns.height, np.float64) / 2
        return self.have(x / prediction.width, y / prediction.height)

    def have(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points lie in a zone: shape (n,). x, y: as parts of width and height, of the same shape."""
        x, y = (np.minimum(np.maximum(part, 0.0), 1.0)[:, np.newaxis] for part in (x, y))
        size = max(1, _MAX_PAIRS // len(self._dx))
        parts = [self._have(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
        return np.concatenate(parts) if parts else np.zeros(0, np.bool_)

    def _have(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The same for some points, of shape (n, 1). Each is compared with each edge."""
        side = self._dx * (y - self._y1) - self._dy * (x - self._x1)  # on which the point lies; 0: on the edge's line
        # The ray from the point to the right meets the edge. (The lower end of an edge is a part of it, the upper not.)
        crosses = ((self._y1 > y) != (self._y2 > y)) & (side * self._direction > 0)
        inside = np.asarray(np.logical_xor.reduceat(crosses, self._firsts, axis=1).any(axis=1))
        on_line = side == 0
        if on_line.any():
            on_line &= (np.minimum(self._x1, self._x2) <= x) & (x <= np.maximum(self._x1, self._x2))
            on_line &= (np.minimum(self._y1, self._y2) <= y) & (y <= np.maximum(self._y1, self._y2))
            inside |= on_line.any(axis=1)
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

    def of(values: Sequence[Any]) -> list[Any]:
        return list(compress(values, kept))

    columns = prediction.columns
    selected = ObjectColumns(
        x=of(columns.x),
        y=of(columns.y),
        width=of(columns.width),
        height=of(columns.height),
        confidence=of(columns.confidence),
        class_name=of(columns.class_name),
        class_id=of(columns.class_id),
        optional={name: of(values) for name, values in columns.optional.items()},
    )
    return Detections.from_columns(
        selected,
        task=prediction.task,
        width=prediction.width,
        height=prediction.height,
        model_id=prediction.model_id,
        inference_id=prediction.inference_id,
        time_s=prediction.time_s,
        dropped=prediction.dropped,
        embedding=prediction.embedding,
    )
