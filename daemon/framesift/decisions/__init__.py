"""The decision record: why frames were accepted, held or refused, kept for a while so that it can be explained.

Measurement, FrameDecision    what a strategy measured, and what was decided on one frame
DecisionRecord                the component that counts, and writes lines: see docs/decisions.md
RecordFiles, read_lines       the files, bounded and compressed
ThumbnailedLines              the thumbnails of refused frames beside them, where they are asked for
explain                       a decision in words
"""

from __future__ import annotations

from framesift.decisions.decision import (
    DecisionObserver,
    FrameDecision,
    Outcome,
    RefusedThumbnail,
    SimilarFrame,
    StrategyResult,
)
from framesift.decisions.decision_record import DecisionRecord
from framesift.decisions.last_hour import DownTime, MinuteCounts
from framesift.decisions.measurement import NEARLY, Measurement
from framesift.decisions.record_files import ForgottenLines, RecordFiles, forget_lines, read_lines
from framesift.decisions.record_lines import QuotaByStrategy
from framesift.decisions.refused_thumbnails import (
    ThumbnailedLines,
    ThumbnailFiles,
    delete_thumbnails,
    read_thumbnail,
    thumbnail_file,
)

__all__ = [
    "NEARLY",
    "DecisionObserver",
    "DecisionRecord",
    "DownTime",
    "ForgottenLines",
    "FrameDecision",
    "Measurement",
    "MinuteCounts",
    "Outcome",
    "QuotaByStrategy",
    "RecordFiles",
    "RefusedThumbnail",
    "SimilarFrame",
    "StrategyResult",
    "ThumbnailFiles",
    "ThumbnailedLines",
    "delete_thumbnails",
    "forget_lines",
    "read_lines",
    "read_thumbnail",
    "thumbnail_file",
]
