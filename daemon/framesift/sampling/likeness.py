"""Likeness: what a frame looks like, and how near another one must be to be a near duplicate of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from framesift.strategies.near_duplicate import DISTANCES, RememberedFrame, SignatureKind


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """How a strategy compares a frame with others.

    frame: its signatures. kind: of the signatures that are compared. limit: the distance up to which another frame is
    alike. stream: whose frames are compared; "" for those of all streams.
    """

    frame: RememberedFrame
    kind: SignatureKind
    limit: float
    stream: str

    def alike(self, others: Sequence[Likeness | None]) -> list[int]:
        """The places of those that are alike. None is like nothing, and so is a frame without such a signature."""
        own = self.frame.of(self.kind)
        if own is None:
            return []
        places, signatures = [], []
        for place, other in enumerate(others):
            found = None if other is None or self.stream not in ("", other.stream) else other.frame.of(self.kind)
            if found is not None and len(found) == len(own):
                places.append(place)
                signatures.append(found)
        if not places:
            return []
        return [places[near] for near in np.flatnonzero(DISTANCES[self.kind](np.stack(signatures), own) <= self.limit)]
