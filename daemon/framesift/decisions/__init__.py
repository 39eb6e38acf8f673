"""The decision record: why frames were accepted, held or refused, kept for a while so that it can be explained.

Measurement, FrameDecision    what a strategy measured, and what was decided on one frame
DecisionRecord                the component that counts, and writes lines: see docs/decisions.md
RecordFiles, read_lines       the files, bounded and compressed
explain                       a decision in words
"""

from __future__ import annotations

from framesift.decisions.decision import DecisionObserver, FrameDecision, Outcome, SimilarFrame, StrategyResult
from framesift.decisions.decision_record import DecisionRecord
from framesift.decisions.last_hour import DownTime, MinuteCounts
from framesift.decisions.measurement import NEARLY, Draw, Measurement
from framesift.decisions.record_files import RecordFiles, forget_lines, read_lines
from framesift.decisions.record_lines import QuotaByStrategy

__all__ = [
    "NEARLY",
    "DecisionObserver",
    "DecisionRecord",
    "DownTime",
    "Draw",
    "FrameDecision",
    "Measurement",
    "MinuteCounts",
    "Outcome",
    "QuotaByStrategy",
    "RecordFiles",
    "SimilarFrame",
    "StrategyResult",
    "forget_lines",
    "read_lines",
]
