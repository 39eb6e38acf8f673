"""AcceptedFrames: what the streams of this device share of the frames that were accepted."""

from __future__ import annotations

from dataclasses import dataclass, field

from framesift.strategies import AcceptedClasses


@dataclass(frozen=True, slots=True)
class AcceptedFrames:
    """Thread-safe. classes: how often each class was predicted in them."""

    classes: AcceptedClasses = field(default_factory=AcceptedClasses)
