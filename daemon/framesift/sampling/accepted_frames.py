"""AcceptedFrames: what the streams of this device share of accepted frames, and of pictures that people had before."""

from __future__ import annotations

from dataclasses import dataclass, field

from framesift.known.known_pictures import KnownPictures
from framesift.sampling.alike_counts import AlikeCounts
from framesift.sampling.frame_memories import FrameMemories
from framesift.strategies import AcceptedClasses


@dataclass(frozen=True, slots=True)
class AcceptedFrames:
    """Thread-safe.

    classes: how often each class was predicted in accepted frames. memories: for near_duplicate's `scope: all`. known:
    for its `known`. alike: for how many refused frames each accepted one stands.
    """

    classes: AcceptedClasses = field(default_factory=AcceptedClasses)
    memories: FrameMemories = field(default_factory=FrameMemories)
    known: KnownPictures = field(default_factory=KnownPictures)
    alike: AlikeCounts = field(default_factory=AlikeCounts)
