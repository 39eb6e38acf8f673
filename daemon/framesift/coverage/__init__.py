"""Coverage: what was collected, beside what the streams showed, so that what is missing can be seen.

Tally, CountedCoverage     numbers: hours, brightness, numbers of objects, classes; of each stream and day
CoverageCounts           counts them; a sample of what is seen, and each frame that is accepted
read_coverage            the file in which they are kept
summaries, find_gaps     what they say, in numbers and in words: see docs/coverage.md
"""

from __future__ import annotations

from framesift.coverage.counts import CoverageCounts
from framesift.coverage.coverage_file import CoverageUnreadable, read_coverage, write_coverage
from framesift.coverage.gaps import Gap, find_gaps
from framesift.coverage.summary import CoverageSummary, share_text, summaries
from framesift.coverage.tally import BRIGHTNESS, OBJECTS, CountedCoverage, CoveredFrame, DayCoverage, Tally

__all__ = [
    "BRIGHTNESS",
    "OBJECTS",
    "CountedCoverage",
    "CoverageCounts",
    "CoverageSummary",
    "CoverageUnreadable",
    "CoveredFrame",
    "DayCoverage",
    "Gap",
    "Tally",
    "find_gaps",
    "read_coverage",
    "share_text",
    "summaries",
    "write_coverage",
]
