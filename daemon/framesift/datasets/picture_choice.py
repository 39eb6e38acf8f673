"""Which pictures of a collected folder or a spool are wanted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from framesift.datasets.errors import DatasetError


@dataclass(frozen=True, slots=True)
class PictureChoice:
    """Which pictures are wanted. stream, strategy: None for all of them."""

    stream: str | None = None
    strategy: str | None = None

    def includes(self, stream: str, strategy: str) -> bool:
        """Whether a picture of this stream and strategy is wanted."""
        return self.stream in (None, stream) and self.strategy in (None, strategy)

    def refuse_none(self, path: Path, counts: Counter[tuple[str, str]]) -> int:
        """How many pictures are wanted, by how many there are of each stream and strategy.

        Raises DatasetError if there is none.
        """
        wanted = sum(number for of, number in counts.items() if self.includes(*of))
        if wanted:
            return wanted
        if not counts:
            raise DatasetError(f"{path}: there is no picture in it yet")
        for option, value, place in (("--stream", self.stream, 0), ("--strategy", self.strategy, 1)):
            names = sorted({of[place] for of in counts})
            if value is not None and value not in names:
                raise DatasetError(f"{option} {value}: {path} has no picture of it, but of {', '.join(names)}")
        raise DatasetError(f"{path} has no picture of stream {self.stream} by strategy {self.strategy}")
