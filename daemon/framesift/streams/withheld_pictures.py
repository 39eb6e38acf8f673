"""WithheldPictures: counts pictures that are unusable or damaged, and measures for how long only such pictures come.

Some of them between good ones are a log line. Where nothing else comes, the stream reports that as its state.
"""

from __future__ import annotations

from framesift.streams.channel import SkipCounts

UNUSABLE_AFTER_S = 2.0
DAMAGED_AFTER_S = 30.0  # with cameras that send a key frame every ten seconds, the next ones may be damaged too


class WithheldRun:
    """Pictures of one kind that are not used, in runs: a good picture ends a run. For one thread.

    total: all so far. in_a_row: in the present run. why: the reason of the latest.
    """

    def __init__(self, limit_s: float) -> None:
        """limit_s: see `add`."""
        self.total = 0
        self.in_a_row = 0
        self.why = ""
        self._limit_s = limit_s
        self._since_s = 0.0

    def add(self, count: int, why: str, now_s: float) -> bool:
        """Count pictures. Return whether there has been nothing else for `limit_s` seconds."""
        if not self.in_a_row:
            self._since_s = now_s
        self.total += count
        self.in_a_row += count
        self.why = why
        return now_s - self._since_s >= self._limit_s

    def end_run(self) -> int:
        """End a run, because a good picture came or the source ended. Return how many pictures were in it."""
        ended, self.in_a_row = self.in_a_row, 0
        return ended


class WithheldPictures:
    """The unusable and the damaged pictures of a stream. For one thread."""

    def __init__(self) -> None:
        self.unusable = WithheldRun(UNUSABLE_AFTER_S)
        self.damaged = WithheldRun(DAMAGED_AFTER_S)

    def add(self, counts: SkipCounts, now_s: float) -> str:
        """Count what a reader has withheld. Return what is wrong if there has been nothing else for too long, or "".

        counts: with reasons that may be shown.
        """
        problem = ""
        if counts.damaged > 0 and self.damaged.add(counts.damaged, counts.damage, now_s):
            problem = f"pictures come, but for {DAMAGED_AFTER_S:g} s all are damaged: {counts.damage}"
        if counts.unusable > 0 and self.unusable.add(counts.unusable, counts.why, now_s):
            problem = f"pictures come, but none can be used: {counts.why}"
        return problem

    def reason(self) -> str:
        """Return the reason of the latest, "" if there were none."""
        return self.unusable.why or self.damaged.why

    def summary(self) -> str:
        """Return what was withheld so far, for the line about a file's end; "" if nothing was."""
        unusable = f", {self.unusable.total} of which could not be used" if self.unusable.total else ""
        return unusable + (f", {self.damaged.total} of which were damaged" if self.damaged.total else "")
