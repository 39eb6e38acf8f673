"""TimeCounts: how many frames were seen, matched and accepted over the time, in a bounded number of steps."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_STEPS = 4_096


@dataclass
class TimeCounts:
    """step_s: how long a step is; it doubles whenever there would be too many. For one thread.

    counts: by the number of the step since 1970: frames that were seen, that matched, that were accepted.
    """

    step_s: int = 1
    counts: dict[int, list[int]] = field(default_factory=dict)

    def add(self, at_s: float, *, seen: int = 0, matched: int = 0, accepted: int = 0) -> None:
        """Adds frames that were captured at a Unix time."""
        step = int(at_s // self.step_s)
        found = self.counts.get(step)
        if found is None:
            if len(self.counts) >= MOST_STEPS:
                self._coarsen()
                step = int(at_s // self.step_s)
            found = self.counts.setdefault(step, [0, 0, 0])
        found[0] += seen
        found[1] += matched
        found[2] += accepted

    def binned(self, from_s: float, until_s: float, bins: int) -> list[tuple[int, int, int]]:
        """The same in so many equal parts of a span; what lies outside counts in the first or the last one."""
        made = [[0, 0, 0] for _ in range(bins)]
        for step, counts in self.counts.items():
            place = int((step * self.step_s - from_s) / max(1e-9, until_s - from_s) * bins)
            of = made[min(bins - 1, max(0, place))]
            for index, count in enumerate(counts):
                of[index] += count
        return [(seen, matched, accepted) for seen, matched, accepted in made]

    def _coarsen(self) -> None:
        while len(self.counts) >= MOST_STEPS:
            self.step_s *= 2
            before, self.counts = self.counts, {}
            for step, counts in before.items():
                of = self.counts.setdefault(step // 2, [0, 0, 0])
                for index, count in enumerate(counts):
                    of[index] += count
