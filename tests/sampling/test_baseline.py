"""The baseline: in each interval one frame of all is drawn evenly, and its weight says how many it stands for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framesift.policy.policy import Policy
from framesift.spool import FinalOutcome
from rigs.paced_device import ALL, PacedDevice, policy, unsure
from rigs.spools import put

# Of a day's 48 images 24 are the baseline's: one each hour. Noon is the beginning of an hour.
SELDOM = {**ALL, "traffic_percentage": 0, "limits": [{"type": "daily", "value": 48}]}


def hourly(*strategies: dict[str, Any], **fields: Any) -> Policy:
    return policy(*(strategies or (SELDOM,)), baseline={"share": 0.5, "tags": ["by-chance"]}, **fields)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[PacedDevice]:
    rig = PacedDevice(tmp_path, hourly())
    yield rig
    rig.close()


def see(rig: PacedDevice, frames: int, every_s: float, stream: str = "gate") -> None:
    for _ in range(frames):
        rig.offer(unsure(0.5), stream=stream)
        rig.clock.advance(every_s)


def weights(rig: PacedDevice) -> list[tuple[int, int]]:
    """The number and the weight of each frame that the baseline has collected."""
    return [(item.frame, json.loads(item.extra)["weight"]) for item in rig.delivered() if item.strategy == "baseline"]


def test_when_an_interval_is_over_one_of_its_frames_is_accepted_with_the_number_of_all(rig: PacedDevice) -> None:
    see(rig, 60, 59)
    rig.holds.advance()
    assert rig.delivered() == []
    rig.clock.advance(3600 - 60 * 59 + 0.1)
    rig.holds.advance()
    ((number, weight),) = weights(rig)
    assert (number < 60, weight) == (True, 60)
    assert rig.counts == ({"baseline": 1}, {"no_match": 60})


def test_an_interval_without_frames_gives_nothing_and_the_next_no_more_than_one(rig: PacedDevice) -> None:
    rig.clock.advance(2 * 3600)
    see(rig, 10, 60)
    rig.clock.advance(3600)
    rig.holds.advance()
    assert [weight for _, weight in weights(rig)] == [10]


@pytest.mark.exhaustive
def test_each_frame_of_an_interval_is_drawn_as_often_as_every_other(tmp_path: Path) -> None:
    rig = PacedDevice(
        tmp_path, policy({**SELDOM, "limits": [{"type": "daily", "value": 5760}]}, baseline={"share": 0.5})
    )
    places: Counter[int] = Counter()
    for _ in range(600):  # intervals of 30 s
        see(rig, 6, 5)
        rig.holds.advance()
    rig.clock.advance(1)
    rig.holds.advance()
    taken = weights(rig)
    assert {weight for _, weight in taken} == {6}
    places.update(number % 6 for number, _ in taken)
    assert len(taken) == 600
    assert sum((count - 100) ** 2 / 100 for count in places.values()) < 20.5  # chi-squared, 5 degrees, 0.1 %
    rig.close()


def test_frames_of_all_streams_are_drawn_together(rig: PacedDevice) -> None:
    for _ in range(30):
        see(rig, 1, 30, "gate")
        see(rig, 1, 30, "yard")
    rig.clock.advance(3600)
    rig.holds.advance()
    assert [weight for _, weight in weights(rig)] == [60]


def test_what_looks_like_an_accepted_frame_is_drawn_all_the_same(
    tmp_path: Path,
) -> None:
    alike = {**SELDOM, "traffic_percentage": 1, "near_duplicate": {"threshold": 0.5}}
    rig = PacedDevice(tmp_path, hourly(alike))
    see(rig, 30, 100)
    rig.clock.advance(3600)
    rig.holds.advance()
    assert rig.counts[0] == {"all": 1, "baseline": 1}
    assert [weight for _, weight in weights(rig)] == [30]
    rig.close()


def test_strategies_get_only_the_rest_of_their_limits(tmp_path: Path) -> None:
    rig = PacedDevice(tmp_path, hourly({**SELDOM, "traffic_percentage": 1}))
    see(rig, 40, 10)
    assert rig.counts[0] == {"all": 24}
    rig.clock.advance(3600)
    rig.holds.advance()
    assert rig.counts[0] == {"all": 24, "baseline": 1}
    rig.close()


def test_a_frame_is_counted_as_the_strategies_decide_whether_or_not_the_baseline_draws_it(rig: PacedDevice) -> None:
    see(rig, 20, 10)
    accepted, refused = rig.counts
    assert accepted == {}
    assert refused == {"no_match": 20}
    rig.intake().set_policy(policy(SELDOM))
    rig.holds.advance()
    assert rig.counts == ({}, {"no_match": 20})


def test_after_a_restart_the_interval_goes_on(tmp_path: Path, rig: PacedDevice) -> None:
    see(rig, 20, 60)
    rig.holds.advance()
    rig.holds.stop(1.0)
    rig.close()
    again = PacedDevice(tmp_path, hourly(), rig.clock)
    see(again, 20, 60)
    again.clock.advance(3600)
    again.holds.advance()
    ((_, weight),) = weights(again)
    assert weight == 40
    again.close()


def test_its_tags_and_its_rank_are_its_own(tmp_path: Path) -> None:
    rig = PacedDevice(tmp_path, hourly({**SELDOM, "traffic_percentage": 1, "tags": ["mine"]}), max_bytes=2**20)
    see(rig, 1, 3601)
    rig.holds.advance()
    baseline, *_ = sorted(rig.spool.list_rows(), key=lambda row: row.strategy != "baseline")
    assert (baseline.strategy, baseline.score, baseline.tags) == ("baseline", None, ("north", "by-chance", "gate-7"))
    for _ in range(40):
        put(rig.spool, rig.clock, jpeg=bytes(100_000), score=1e9)
    left = [row.strategy for row in rig.spool.list_rows()]
    assert rig.spool.outcome_counts()[FinalOutcome.EVICTED] > 20
    assert "baseline" in left
    rig.close()
