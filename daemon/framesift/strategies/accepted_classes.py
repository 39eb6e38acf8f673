"""AcceptedClasses: how often each class was predicted in the accepted frames, over all streams."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from framesift.prediction.prediction import Prediction, count_classes


class AcceptedClasses:
    """Counts of predicted objects (or labels) per class. Thread-safe."""

    def __init__(self, initial: Mapping[str, int] | None = None) -> None:
        """initial: the counts to begin with."""
        self._lock = threading.Lock()
        self._counts: Mapping[str, int] = MappingProxyType(Counter(initial or {}))

    def add(self, prediction: Prediction) -> None:
        """Counts the classes of a prediction whose frame was accepted."""
        with self._lock:
            counts = Counter(self._counts)
            counts.update(count_classes(prediction))
            self._counts = MappingProxyType(counts)

    def count(self, class_name: str) -> int:
        """The count of one class, 0 if it was never predicted."""
        return self._counts[class_name]

    def counts(self) -> Mapping[str, int]:
        """All counts, as they are now. They never change: once there are others, it returns another object."""
        return self._counts
