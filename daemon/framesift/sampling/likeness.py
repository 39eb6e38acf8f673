"""Likeness: what a frame looks like, and how near another one must be to be a near duplicate of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        return LikenessIndex(others).alike(self)


class LikenessIndex:
    """The signatures of some frames, so that many others can be compared with them. For one thread at a time."""

    def __init__(self, likenesses: Sequence[Likeness | None]) -> None:
        """likenesses: of the frames; None for one that is like nothing."""
        self._likenesses = likenesses
        # By kind, stream ("" for all) and length of the signatures: their places, and the signatures below each other.
        self._stacked: dict[tuple[SignatureKind, str, int], tuple[list[int], NDArray[np.float32]]] = {}

    def alike(self, likeness: Likeness) -> list[int]:
        """The places of the frames that look like another one."""
        own = likeness.frame.of(likeness.kind)
        if own is None:
            return []
        places, signatures = self._comparable(likeness.kind, likeness.stream, len(own))
        if not places:
            return []
        return [places[near] for near in np.flatnonzero(DISTANCES[likeness.kind](signatures, own) <= likeness.limit)]

    def _comparable(self, kind: SignatureKind, stream: str, length: int) -> tuple[list[int], NDArray[np.float32]]:
        key = kind, stream, length
        if key not in self._stacked:
            places, signatures = [], []
            for place, one in enumerate(self._likenesses):
                found = None if one is None or stream not in ("", one.stream) else one.frame.of(kind)
                if found is not None and len(found) == length:
                    places.append(place)
                    signatures.append(found)
            self._stacked[key] = places, np.stack(signatures) if signatures else np.zeros((0, length), np.float32)
        return self._stacked[key]
