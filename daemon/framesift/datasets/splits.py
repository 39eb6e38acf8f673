"""Which part of a dataset a picture belongs to: by a hash, so that it stays there when more pictures come."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import Enum

from framesift.sinks.collected_folder import CollectedPicture

_EXPECTED = "shares in percent that add up to 100 are expected: 80/10/10 (train/val/test) or 80/20 (train/val)"

_ROUNDING = 0.1001  # three thirds are written as 33.3/33.3/33.3


class Split(str, Enum):
    """A part of a dataset."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class SplitShares:
    """How large each part is, in percent; together 100."""

    train: float
    val: float
    test: float

    @classmethod
    def parse(cls, text: str) -> SplitShares:
        """The shares of a text such as "80/10/10". Raises ValueError with a text that says what is expected."""
        try:
            shares = [float(share) for share in text.split("/")]
        except ValueError:
            raise ValueError(f"{text}: {_EXPECTED}") from None
        if not 2 <= len(shares) <= 3 or not all(0.0 <= share <= 100.0 for share in shares):
            raise ValueError(f"{text}: {_EXPECTED}")
        if abs(sum(shares) - 100.0) > _ROUNDING:
            raise ValueError(f"{text}: adds up to {sum(shares):g}; {_EXPECTED}")
        return cls(*shares, *([0.0] * (3 - len(shares))))

    def of(self, split: Split) -> float:
        """The share of one part."""
        return {Split.TRAIN: self.train, Split.VAL: self.val, Split.TEST: self.test}[split]

    def split_of(self, group: str) -> Split:
        """The part of all pictures of a group. It depends on nothing but the group and the shares."""
        number = int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "big")
        place = number / 2**64 * 100.0
        if place < self.train:
            return Split.TRAIN
        return Split.VAL if self.test == 0.0 or place < self.train + self.val else Split.TEST


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which pictures stay together: the neighbours of a sequence always.

    by_stream: all of a stream. together_s: those of a stream that were captured within the same so many seconds; 0: no
    others.
    """

    by_stream: bool = False
    together_s: float = 0.0

    def group_of(self, one: CollectedPicture) -> str:
        """The group of a picture."""
        stream = f"{one.device}\n{one.stream}"
        if self.by_stream:
            return stream
        if self.together_s:
            # A neighbour counts at the time of the picture beside which it was taken.
            captured_at_s = round(one.captured_at_s - one.sequence_offset_s, 3)
            return f"{stream}\n{math.floor(captured_at_s / self.together_s)}"
        return one.sequence or one.id
