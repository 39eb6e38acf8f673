"""A decision record with thumbnails of refused frames, whose frames, masks and JPEGs a test makes up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clocks import NOON_S, ManualClock
from framesift.decisions import (
    DecisionRecord,
    FrameDecision,
    Outcome,
    RecordFiles,
    ThumbnailedLines,
    ThumbnailFiles,
)
from framesift.frame import RefusalReason
from sampling_data import stub


@dataclass
class Thumbnail:
    """One of a frame whose mask waits until a test settles it. content: None if it can't be masked."""

    content: bytes | None = b"what an encoder made"
    is_settled: bool = True
    made: int = 0

    def jpeg(self) -> bytes | None:
        self.made += 1
        return self.content


class ThumbnailRecord:
    """folder: where the record is. problems: what it said of its disk."""

    def __init__(self, folder: Path, max_bytes: int = 1 << 20) -> None:
        """max_bytes: of its lines, and of its thumbnails."""
        self.folder = folder
        self.clock = ManualClock()
        self.problems: list[str] = []
        self.record = DecisionRecord(
            RecordFiles(folder, max_bytes),
            self.clock,
            ThumbnailedLines(ThumbnailFiles(folder, max_bytes)),
            on_problem=self.problems.append,
        )

    def refuse(self, thumbnail: Thumbnail | None, nearness: float = 0.5, stream: str = "gate", frame: int = 7) -> None:
        """One frame that was matched, but refused for a limit."""
        made = FrameDecision(
            *(stream, frame, 0, NOON_S, None, stub(), Outcome.REFUSED, RefusalReason.LIMIT), thumbnail=thumbnail
        )
        self.record.add_refused(stream, RefusalReason.LIMIT, nearness, lambda: made)
