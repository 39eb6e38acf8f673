"""EarlierFrames: the last frames of a stream, with copies of their pixels, while a strategy may still want them.

Some strategies know that a frame is worth a label only when they have seen the frames after it. So a frame that was
refused when it came may be accepted a few frames later. It is counted once: as accepted, or, when no strategy can want
it any more, under the reason of the last refusal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from framesift.frame import Frame, RefusalReason
from framesift.prediction.prediction import Prediction


@dataclass(eq=False, slots=True)
class EarlierFrame:
    """A frame that a strategy may still want. frame: with pixels (if it has any) that stay valid.

    refusal: why it is not accepted; None while that is not decided, and for ever once it is a datapoint, or waits for
    what its picture needs: then no strategy gets it again.
    """

    frame: Frame
    prediction: Prediction
    refusal: RefusalReason | None = None


class EarlierFrames:
    """The newest frames of a stream, the one that is decided on among them. For one thread at a time."""

    def __init__(self, on_refused: Callable[[EarlierFrame, RefusalReason], None]) -> None:
        """on_refused: called once for each frame that was refused for good."""
        self._on_refused = on_refused
        self._frames: deque[EarlierFrame] = deque()  # the oldest first

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Keep a frame, the newest one, which is decided on next."""
        self._frames.append(EarlierFrame(frame, prediction))

    def refuse(self, refusal: RefusalReason) -> None:
        """The newest frame is refused, unless a strategy wants it later."""
        self._frames[-1].refusal = refusal

    def find(self, frames_back: int) -> EarlierFrame | None:
        """The frame so many before the newest one, if it is there and no datapoint."""
        if frames_back >= len(self._frames):
            return None
        found = self._frames[-1 - frames_back]
        return None if found.refusal is None else found

    def release(self, most: int = 0) -> None:
        """With the next frame, strategies may want so many of the newest ones; those before are decided for good."""
        while len(self._frames) > most:
            dropped = self._frames.popleft()
            if dropped.refusal is not None:
                self._on_refused(dropped, dropped.refusal)

    def __len__(self) -> int:
        """How many frames are kept."""
        return len(self._frames)
