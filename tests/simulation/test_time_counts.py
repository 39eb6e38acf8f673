"""Counts over the time stay bounded, and lose nothing."""

from __future__ import annotations

from framesift.simulation.time_counts import MOST_STEPS, TimeCounts


def test_a_short_span_has_steps_of_a_second() -> None:
    counts = TimeCounts()
    for second in range(10):
        counts.add(1000.0 + second, seen=2, accepted=second % 2)
    assert counts.step_s == 1
    assert counts.binned(1000.0, 1010.0, 5) == [(4, 0, 1)] * 5


def test_steps_grow_with_the_span_and_nothing_is_lost() -> None:
    counts = TimeCounts()
    for second in range(0, 3 * MOST_STEPS, 2):
        counts.add(float(second), seen=1, matched=1)
    assert len(counts.counts) <= MOST_STEPS
    assert counts.step_s > 1
    bins = counts.binned(0.0, 3.0 * MOST_STEPS, 10)
    assert sum(seen for seen, _, _ in bins) == sum(matched for _, matched, _ in bins) == 3 * MOST_STEPS // 2
    assert max(bins)[0] < 1.2 * min(bins)[0]
