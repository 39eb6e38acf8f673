"""Pacing between the sampler and the spool: frames are held, accepted at their turns, and counted exactly once."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import NOON_S
from framesift.frame import RefusalReason
from framesift.sampling.pacing import Pacing
from framesift.sampling.pacing_rules import rules_of
from framesift.spool import HeldContent, HeldFrames, SpoolBroken
from framesift.strategies import Match
from rigs.paced_device import ALL, HELD, SIX, UNSURE, PacedDevice, policy, unsure


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def rig(folder: Path) -> Iterator[PacedDevice]:
    rig = PacedDevice(folder, policy(UNSURE))
    yield rig
    rig.close()


def test_at_each_turn_the_best_frame_that_was_held_is_accepted(rig: PacedDevice) -> None:
    rng = random.Random(3)
    scores = [rng.uniform(0.1, 0.9) for _ in range(120)]
    rig.clock.advance(0.5)
    for number, score in enumerate(scores):
        rig.clock.advance(30)
        decision = rig.offer(unsure(score))
        assert decision.accepted is None
        assert decision.is_held is (decision.refusal is None)
        rig.holds.advance()
        assert sum(rig.counts[0].values()) == (number + 1) // 20
    rig.clock.advance(1)
    rig.holds.advance()
    taken = [item.frame for item in rig.delivered()]
    assert len(taken) == 6
    # The best frame of all, and none that is not among the best fifth.
    best = sorted(range(120), key=lambda number: -scores[number])
    assert best[0] in taken
    assert set(taken) <= set(best[:24])


def test_each_frame_is_counted_once_as_accepted_or_refused_when_its_hold_is_over(rig: PacedDevice) -> None:
    for number in range(200):
        rig.clock.advance(20)
        rig.offer(unsure(random.Random(number).random()))
        rig.holds.advance()
    held = rig.holds.counts()["unsure"]
    accepted, refused = rig.counts
    assert held > 0
    assert sum(accepted.values()) + sum(refused.values()) + held == 200
    rig.clock.advance(3600)
    rig.holds.advance()
    accepted, refused = rig.counts
    assert sum(accepted.values()) + sum(refused.values()) == 200
    assert rig.spool.held.rows() == []


def test_what_is_accepted_at_a_turn_is_what_was_seen(rig: PacedDevice) -> None:
    rig.offer(unsure(0.5))
    rig.holds.advance()
    assert len(rig.spool.held.rows()) == 1
    rig.clock.advance(601)
    rig.holds.advance()
    (item,) = rig.delivered()
    assert (item.strategy, item.score, item.tags, item.batch) == ("unsure", 0.5, ("north", "gate-7"), "al")
    assert (item.device, item.stream, item.frame, item.captured_at_s) == ("gate-7", "gate", 0, NOON_S)
    (found,) = json.loads(item.prediction)["predictions"]
    assert (found["class"], found["confidence"]) == ("car", 0.25)
    assert rig.spool.read_jpeg(item.id).startswith(b"\xff\xd8")


def test_held_frames_get_their_turns_after_a_restart(rig: PacedDevice, folder: Path) -> None:
    rig.offer(unsure(0.9))
    rig.holds.advance()
    rig.close()
    again = PacedDevice(folder, policy(UNSURE), rig.clock)
    rig.clock.advance(601)
    again.holds.advance()
    (item,) = again.delivered()
    assert (item.frame, item.score) == (0, 0.9)
    assert again.counts[0] == {"unsure": 1}
    again.close()


def test_a_frame_that_was_accepted_at_a_turn_makes_those_like_it_near_duplicates(folder: Path) -> None:
    rig = PacedDevice(folder, policy({**UNSURE, "near_duplicate": {"threshold": 0.01}}))
    rig.offer(unsure(0.5), shade=10)
    rig.holds.advance()
    assert rig.offer(unsure(0.5), shade=10).refusal is RefusalReason.NEAR_DUPLICATE
    assert rig.offer(unsure(0.6), shade=10).is_held  # better, and takes its place
    rig.clock.advance(601)
    rig.holds.advance()
    assert rig.counts[0] == {"unsure": 1}
    assert rig.offer(unsure(0.9), shade=10).refusal is RefusalReason.NEAR_DUPLICATE
    assert rig.holds.counts() == {"unsure": 0}
    rig.close()
    again = PacedDevice(folder, policy({**UNSURE, "near_duplicate": {"threshold": 0.01}}), rig.clock)
    assert again.offer(unsure(0.9), shade=10).refusal is RefusalReason.NEAR_DUPLICATE
    again.close()


def test_a_frame_of_another_strategy_that_looks_like_a_held_one_ends_its_hold(folder: Path) -> None:
    close = {"threshold": 0.01}
    others = {**ALL, "limits": [{"type": "hourly", "value": 1}], "near_duplicate": close}
    rig = PacedDevice(folder, policy({**UNSURE, "near_duplicate": close}, others))
    rig.offer(unsure(0.5), shade=200)  # charged to `all`, which has quota
    rig.offer(unsure(0.5), shade=10)
    assert rig.holds.counts() == {"unsure": 1}
    rig.clock.advance(3600)
    rig.offer(unsure(0.2), shade=10, stream="gate")
    assert rig.counts == ({"all": 2}, {"near_duplicate": 1})
    rig.close()


def test_a_strategy_with_quota_is_charged_before_another_holds_the_frame(folder: Path) -> None:
    rig = PacedDevice(folder, policy(UNSURE, {**ALL, "limits": [{"type": "hourly", "value": 2}]}))
    decisions = [rig.offer(unsure(0.5)) for _ in range(3)]
    assert [decision.matched for decision in decisions] == [("unsure", "all")] * 3
    assert [decision.accepted and decision.accepted.strategy for decision in decisions] == ["all", "all", None]
    assert decisions[2].is_held
    rig.close()


def test_a_strategy_that_only_matches_holds_frames_by_chance(folder: Path) -> None:
    rig = PacedDevice(folder, policy({**ALL, "limits": SIX, "pacing": HELD}))
    for _ in range(120):
        rig.clock.advance(30)
        rig.offer(unsure(0.5))
        rig.holds.advance()
    rig.clock.advance(1)
    rig.holds.advance()
    taken = rig.delivered()
    assert len(taken) == 6
    assert {item.score for item in taken} == {None}
    assert len({item.frame % 20 for item in taken}) > 2
    rig.close()


def test_a_strategy_that_holds_no_more_drops_what_it_held(rig: PacedDevice) -> None:
    rig.offer(unsure(0.5))
    rig.holds.advance()
    rig.intake().set_policy(policy({**UNSURE, "pacing": None}))
    rig.holds.advance()
    assert rig.counts == ({}, {"outscored": 1})
    assert rig.spool.held.rows() == []
    assert rig.offer(unsure(0.5)).accepted is not None


def test_a_lower_limit_holds_for_what_was_held_before(rig: PacedDevice) -> None:
    for score in (0.5, 0.6, 0.7):
        rig.clock.advance(80)
        rig.offer(unsure(score))
        rig.holds.advance()
    rig.intake().set_policy(policy({**UNSURE, "limits": [{"type": "hourly", "value": 1}]}))
    rig.clock.advance(3600)
    rig.holds.advance()
    assert rig.counts == ({"unsure": 1}, {"outscored": 2})


def test_a_name_that_ends_as_the_baselines_does_holds_as_every_other(folder: Path) -> None:
    rig = PacedDevice(folder, policy({**UNSURE, "name": "my/baseline"}))
    assert rig.offer(unsure(0.9)).is_held
    assert rig.offer(unsure(0.1)).refusal is RefusalReason.OUTSCORED
    rig.close()


def test_frames_of_all_streams_compete_for_the_turns_of_a_strategy(rig: PacedDevice) -> None:
    rig.offer(unsure(0.3), stream="gate")
    rig.offer(unsure(0.8), stream="yard")
    rig.clock.advance(601)
    rig.holds.advance()
    (item,) = rig.delivered()
    assert item.stream == "yard"


def test_a_spool_without_room_for_a_held_frame_keeps_it_in_memory(folder: Path) -> None:
    rig = PacedDevice(folder, policy(UNSURE), min_free_bytes=2**60)
    assert rig.offer(unsure(0.5)).is_held
    rig.holds.advance()
    assert rig.holds.counts() == {"unsure": 1}
    assert rig.spool.held.rows() == []
    rig.close()


def test_a_held_frame_that_made_room_for_a_datapoint_is_counted_and_the_next_gets_its_turn(rig: PacedDevice) -> None:
    for score in (0.9, 0.5):
        rig.offer(unsure(score))
        rig.clock.advance(80)
        rig.holds.advance()
    best = max(rig.spool.held.rows(), key=lambda row: row.score)
    rig.spool.held.drop([best.id])
    rig.clock.advance(600)
    rig.holds.advance()
    assert rig.counts == ({"unsure": 1}, {"outscored": 1})
    assert [item.score for item in rig.delivered()] == [0.5]


# --- intervals and thresholds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "accepted"), [("stream", 4), ("all", 2)])
def test_between_two_frames_of_a_strategy_lies_its_interval(folder: Path, scope: str, accepted: int) -> None:
    rig = PacedDevice(folder, policy({**ALL, "min_interval_s": 30, "min_interval_scope": scope}))
    refused: Counter[RefusalReason | None] = Counter()
    for _ in range(4):
        for stream in ("gate", "yard"):
            refused[rig.offer(unsure(0.5), stream=stream).refusal] += 1
        rig.clock.advance(15)
    assert refused == {None: accepted, RefusalReason.MIN_INTERVAL: 8 - accepted}
    rig.close()


def test_a_strategy_that_has_to_wait_leaves_the_frame_to_the_next(folder: Path) -> None:
    rig = PacedDevice(folder, policy({**ALL, "name": "seldom", "min_interval_s": 30}, ALL))
    strategies = [rig.offer(unsure(0.5)).accepted for _ in range(2)]
    assert [accepted and accepted.strategy for accepted in strategies] == ["seldom", "all"]
    rig.close()


def test_of_held_frames_only_those_get_turns_that_lie_far_enough_apart(folder: Path) -> None:
    rig = PacedDevice(folder, policy({**UNSURE, "min_interval_s": 300}))
    for score in (0.9, 0.8, 0.7):
        rig.offer(unsure(score))
        rig.holds.advance()
        rig.clock.advance(160)
    rig.clock.advance(2900)
    rig.holds.advance()
    rig.clock.advance(100)
    rig.holds.advance()
    assert [item.score for item in rig.delivered()] == [0.9, 0.7]
    assert rig.counts[1] == {"min_interval": 1}
    rig.close()


def test_with_an_adaptive_threshold_the_best_frames_are_accepted_at_once(folder: Path) -> None:
    rule = {**UNSURE, "limits": [{"type": "hourly", "value": 20}], "pacing": {"mode": "adaptive_threshold"}}
    rig = PacedDevice(folder, policy(rule))
    rng = random.Random(3)
    scores = [rng.random() for _ in range(600)]
    taken: list[float] = []
    for score in scores:
        decision = rig.offer(unsure(score))
        if decision.accepted is not None:
            taken.append(score)
        else:
            assert decision.refusal is RefusalReason.OUTSCORED
        rig.clock.advance(6)
    assert 12 <= len(taken) <= 20
    assert sum(score > sorted(scores)[-90] for score in taken) >= 0.8 * len(taken)  # at the end it takes what is left
    rig.close()


def test_what_is_used_is_counted_once_a_minute_and_not_for_each_frame() -> None:
    asked: list[str] = []

    def count(account: str) -> dict[str, int]:
        asked.append(account)
        return {}  # nothing is charged yet

    rules = rules_of(policy({**UNSURE, "pacing": {"mode": "adaptive_threshold"}}), "", "gate")
    pacing = Pacing(count)
    for second in range(121):
        pacing.select((Match("unsure", 0.5),), rules, lambda match: match.score or 0.0, NOON_S + second)
    assert asked == ["unsure"] * 3


def test_a_frame_whose_strategy_stops_holding_while_it_is_at_its_turn_is_counted_and_deleted(folder: Path) -> None:
    class ReplacedMeanwhile(HeldFrames):
        def content(self, _: str) -> HeldContent | None:
            device.intake().set_policy(policy(ALL))
            raise SpoolBroken("the disk fails at this moment")

    device = PacedDevice(folder, policy(UNSURE), held=ReplacedMeanwhile)
    device.offer(unsure(0.5))
    device.holds.advance()
    device.clock.advance(601)
    device.holds.advance()
    assert device.counts == ({}, {"outscored": 1})
    assert device.spool.held.rows() == []
    device.close()
