"""Labels that came back: what people said of the baseline's pictures, whatever the format.

A picture is known by the id in its name, since platforms rename what they export (`NAME_jpg.rf.HASH.jpg`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from framesift.estimation.errors import EstimationError
from framesift.estimation.matching import Box, LabelledObject

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Labels:
    """What people said of pictures.

    class_names: that the labels may use, in their order. of_pictures: by the picture's id; empty where there is
    nothing on it. unknown: how many labelled pictures are not among those that were asked for.
    """

    class_names: tuple[str, ...]
    of_pictures: dict[str, tuple[LabelledObject, ...]]
    unknown: int


class LabelCollector:
    """Collects the labels of the pictures that are asked for, each once."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self._places: dict[str, str] = {}
        self._of_pictures: dict[str, tuple[LabelledObject, ...]] = {}
        self._unknown = 0

    def id_in(self, *names: str) -> str | None:
        """The id of a picture that one of these names has; None, and it counts as unknown, if it isn't asked for."""
        found = next((id for name in names for id in _ID.findall(name) if id in self._ids), None)
        self._unknown += found is None
        return found

    def add(self, id: str, place: str, objects: tuple[LabelledObject, ...]) -> None:
        """Adds what is on a picture. place: where that is said. Raises EstimationError at the second time."""
        if id in self._places:
            raise EstimationError(
                f"{place}: the picture {id} has labels in {self._places[id]} too: one for each picture is expected"
                " (export without augmented copies)"
            )
        self._places[id] = place
        self._of_pictures[id] = objects

    def labels(self, class_names: tuple[str, ...]) -> Labels:
        """All that was added."""
        return Labels(class_names, self._of_pictures, self._unknown)


def cut_to_picture(box: Box) -> Box:
    """The part of a box that lies in the picture."""
    x1, y1, x2, y2 = (min(max(side, 0.0), 1.0) for side in box)
    return (x1, y1, x2, y2)
