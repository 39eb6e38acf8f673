"""inhibit: what keeps a strategy from taking a frame, such as a person in the cell or a forklift before the camera."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from framesift.config.schema import Fraction, StrictModel, Text
from framesift.prediction.prediction import Classification, Detections, MultiLabel
from framesift.strategies.zones import Anchor, PlacedObjects, ZonePolygons, zones_of


class InhibitCondition(StrictModel):
    """Holds while an object, or a label, is predicted that has all that is said here; `{}`: while anything is."""

    classes: Annotated[
        tuple[Text, ...] | None,
        Field(min_length=1, max_length=100, description="Of one of these classes; null: of any."),
    ] = None
    minimum_confidence: Annotated[Fraction, Field(description="Of at least this confidence.")] = 0.0
    zones: Annotated[ZonePolygons | None, Field(description="In one of these areas; null: anywhere.")] = None

    def holds(self, objects: PlacedObjects, anchor: Anchor) -> bool:
        """Whether it holds for a prediction. With zones, only boxes count; a stub has nothing."""
        prediction = objects.prediction if self.zones is None else objects.within(zones_of(self.zones, anchor))
        if isinstance(prediction, Detections):
            found = prediction.columns.confidences_of(None if self.classes is None else frozenset(self.classes))
            return bool((np.array(found.values, np.float64) >= self.minimum_confidence).any())
        if isinstance(prediction, Classification):
            labels = [(prediction.top, prediction.confidence)] if prediction.top else []
        elif isinstance(prediction, MultiLabel):
            predicted = frozenset(prediction.predicted)
            labels = [(s.class_name, s.confidence) for s in prediction.scores if s.class_name in predicted]
        else:
            return False
        return any(
            (self.classes is None or name in self.classes) and confidence >= self.minimum_confidence
            for name, confidence in labels
        )
