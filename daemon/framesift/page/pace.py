"""SpoolPace: when the spool will be empty, or full, if all goes on as in the last minutes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from framesift.page.words import duration_text
from framesift.telemetry import SpoolNumbers

_OVER_S = 600.0
_LEAST_S = 20.0


@dataclass(frozen=True, slots=True)
class SpoolPace:
    """waiting_per_s, bytes_per_s: by how much the spool grows. waiting, left_bytes: what is in it, what has room."""

    waiting_per_s: float
    bytes_per_s: float
    waiting: int
    left_bytes: int

    def text(self) -> str:
        """In words; "" where there is nothing to say."""
        if self.waiting and self.waiting_per_s < 0:
            return f"empty in {duration_text(self.waiting / -self.waiting_per_s)}"
        if self.waiting_per_s > 0 and self.bytes_per_s > 0:
            return f"full in {duration_text(self.left_bytes / self.bytes_per_s)}"
        return ""


class PaceMeter:
    """Remembers the spool's numbers of the last ten minutes. For one thread at a time."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, at_s: float, queue: SpoolNumbers) -> SpoolPace | None:
        """Add the present numbers, and return the pace; None while too little is known. at_s: Unix time."""
        waiting, size = queue.ready + queue.registered + queue.sending, queue.size_bytes
        samples = self._samples
        while samples and not at_s - _OVER_S <= samples[0][0] <= at_s:
            samples.popleft()
        samples.append((at_s, waiting, size))
        first_s, first_waiting, first_size = samples[0]
        if at_s - first_s < _LEAST_S:
            return None
        over_s = at_s - first_s
        left = max(0, queue.max_bytes - size - queue.log_bytes)
        return SpoolPace((waiting - first_waiting) / over_s, (size - first_size) / over_s, waiting, left)
