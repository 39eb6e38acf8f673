"""AcceptedFrames: what the streams of this device share of the frames that were accepted."""

from __future__ import annotations

from dataclasses import dataclass, field

from framesift.sampling.frame_memories import FrameMemories
from framesift.strategies import AcceptedClasses


@dataclass(frozen=True, slots=True)
class AcceptedFrames:
    """Thread-safe. classes: how often each class was predicted in them. memories: for near_duplicate's `scope: all`."""

    classes: AcceptedClasses = field(default_factory=AcceptedClasses)
    memories: FrameMemories = field(default_factory=FrameMemories)
