"""What an intake tells the decision record: whole devices on a test's clock, with a real spool and real files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clocks import NOON_S
from framesift.decisions import DecisionRecord, RecordFiles
from rigs.paced_device import ALL, UNSURE, PacedDevice, PacedDevices, policy, unsure
from sampling_data import objects

CLOSE = {"name": "close", "type": "uncertainty", "aggregation": "max", "minimum_score": 0.5}


class Rig(PacedDevices):
    """A device with a record."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.record = DecisionRecord(RecordFiles(folder / "record", 1 << 20), self.clock, on_problem=pytest.fail)

    def device(self, *strategies: dict[str, Any], **fields: Any) -> PacedDevice:
        return self.add(policy(*strategies, **fields), decisions=self.record)

    def lines(self, kind: str = "decision") -> list[dict[str, Any]]:
        self.record.flush()
        return [line for line in self.record.lines() if line["type"] == kind][::-1]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path)) as rig:
        yield rig


def test_an_accepted_frame_is_recorded_with_what_each_strategy_measured(rig: Rig) -> None:
    device = rig.device({**CLOSE, "minimum_score": 0.9}, {**ALL, "limits": [{"type": "hourly", "value": 6}]})
    accepted = device.offer(unsure(0.6)).accepted
    assert accepted is not None
    (line,) = rig.lines()
    assert (line["outcome"], line["id"], line["strategy"]) == ("accepted", accepted.id, "all")
    assert line["at"] == NOON_S
    by_name = {one["name"]: one for one in line["strategies"]}
    assert by_name["close"] == {
        "name": "close",
        "matched": False,
        "what": "uncertainty",
        "value": 0.6,
        "relation": ">=",
        "bound": 0.9,
    }
    assert by_name["all"]["matched"]
    assert by_name["all"]["bound"] == 1


@pytest.mark.parametrize(("score", "is_recorded"), [(0.46, True), (0.451, True), (0.449, False)])
def test_a_frame_within_a_tenth_of_a_bound_is_recorded_and_others_are_counted(
    rig: Rig, score: float, is_recorded: bool
) -> None:
    device = rig.device(CLOSE)
    device.offer(unsure(score))
    assert [line["reason"] for line in rig.lines()] == ["no_match"] * is_recorded
    (counts,) = rig.lines("counts")
    assert counts["refused"] == {"no_match": 1}
    assert counts["best"]["close"]["value"] == score


def test_a_near_duplicate_names_the_picture_in_the_way(rig: Rig) -> None:
    device = rig.device({**CLOSE, "near_duplicate": {"threshold": 0.02}})
    accepted = device.offer(unsure(0.9), shade=10).accepted
    assert accepted is not None
    device.offer(unsure(0.8), shade=12)
    first, second = rig.lines()
    assert first["id"] == accepted.id
    (close,) = second["strategies"]
    assert second["reason"] == "near_duplicate"
    assert close["similar"]["id"] == accepted.id
    assert 0 < close["similar"]["distance"] <= close["similar"]["threshold"] == 0.02
    assert not close["matched"]


def test_a_matched_frame_without_quota_is_recorded_with_its_score(rig: Rig) -> None:
    device = rig.device({**CLOSE, "limits": [{"type": "hourly", "value": 1}]})
    for score in (0.9, 0.7, 0.8, 0.6):
        device.offer(unsure(score))
    _, refused = rig.lines()
    assert refused["reason"] == "limit"
    assert [(one["name"], one["matched"], one["score"]) for one in refused["strategies"]] == [("close", True, 0.8)]


def test_a_restriction_that_excludes_a_frame_is_named(rig: Rig) -> None:
    device = rig.device({**CLOSE, "hours": ["00:00-01:00"]})
    device.offer(unsure(0.9))
    (line,) = rig.lines()
    (close,) = line["strategies"]
    assert line["reason"] == "no_match"
    assert "hours" in close["excluded"]


def test_a_held_frame_is_recorded_when_it_is_held_and_when_its_turn_comes_or_not(rig: Rig) -> None:
    device = rig.device(UNSURE)
    device.offer(unsure(0.5))
    device.offer(unsure(0.9))
    held = rig.lines()
    assert {line["outcome"] for line in held} == {"held"}
    rig.clock.advance(601.0)
    device.holds.advance()
    (delivered,) = device.delivered()
    outcomes = {line["id"]: line for line in rig.lines("outcome")}
    assert outcomes[delivered.id]["outcome"] == "accepted"
    assert outcomes[delivered.id]["strategy"] == "unsure"
    assert outcomes[delivered.id]["at"] == pytest.approx(NOON_S + 601.0)
    rig.clock.advance(7200.0)
    device.holds.advance()
    outcomes = {line["id"]: line for line in rig.lines("outcome")}
    assert {line["id"] for line in held} <= outcomes.keys()


def test_what_the_baseline_draws_is_recorded(rig: Rig) -> None:
    device = rig.device({**CLOSE, "limits": [{"type": "daily", "value": 10}]}, baseline={"share": 0.1})
    device.offer(objects())
    (line,) = rig.lines()
    assert (line["outcome"], line["strategy"]) == ("held", "baseline")


def test_a_neighbour_names_the_frame_beside_it(rig: Rig) -> None:
    device = rig.device({**CLOSE, "before_s": 5.0, "neighbours_every_s": 1.0})
    device.offer(unsure(0.1))
    rig.clock.advance(1.0)
    chosen = device.offer(unsure(0.9)).accepted
    assert chosen is not None
    rig.clock.advance(10.0)
    device.offer(unsure(0.1))
    beside = [line for line in rig.lines() if line.get("chosen_id")]
    assert [(line["outcome"], line["chosen_id"]) for line in beside] == [("accepted", chosen.id)]


def test_the_counts_of_the_record_are_those_of_the_metrics(rig: Rig) -> None:
    device = rig.device(
        {**UNSURE, "near_duplicate": {"threshold": 0.05}},
        {**ALL, "traffic_percentage": 0.3, "limits": [{"type": "hourly", "value": 5}]},
        baseline={"share": 0.2},
    )
    for number in range(300):
        device.offer(unsure((number * 37 % 100) / 100), shade=number * 5 % 250)
        rig.clock.advance(13.0)
        if number % 10 == 0:
            device.holds.advance()
            rig.record.flush()
    report = device.telemetry.report()
    counted: dict[str, Counter[str]] = {key: Counter() for key in ("matched", "accepted", "refused")}
    for line in rig.lines("counts"):
        for key, total in counted.items():
            total.update(line.get(key, {}))
    assert counted["accepted"] == dict(report.accepted)
    assert counted["refused"] == dict(report.refused)
    assert counted["matched"] == dict(report.matched)
    assert len(report.accepted) == 3
    hour = rig.record.last_hour("gate")
    assert 0 < sum(sum(minute.refused.values()) for minute in hour) <= sum(report.refused.values())


ENDED = {"name": "ended", "type": "track_end", "minimum_length": 2, "missing": 2, "border": 0}
BLINKS = {"name": "blinks", "type": "temporal_inconsistency", "border": 0}


def test_what_was_measured_of_an_earlier_frame_stands_in_the_line_of_that_frame_alone(rig: Rig) -> None:
    every = {**ALL, "limits": [{"type": "daily", "value": 0}]}
    car, nothing = objects(("car", 0.9)), objects()
    device = rig.device(every, ENDED, BLINKS)
    for found in (car, car, nothing, nothing, nothing, car, nothing, nothing):
        device.offer(found)
        rig.clock.advance(0.04)
    said = {
        line["frame"]: {one["name"]: (one["matched"], one["value"]) for one in line["strategies"]}
        for line in rig.lines()
        if line["outcome"] == "accepted"
    }
    assert said == {2: {"ended": (True, 1)}, 5: {"blinks": (True, 1)}}
    (refused,) = [line for line in rig.lines() if line["outcome"] == "refused"]
    assert [one["name"] for one in refused["strategies"]] == ["all"]
    (counts,) = rig.lines("counts")
    assert {name: best["value"] for name, best in counts["best"].items() if name != "all"} == {"ended": 1, "blinks": 1}


def test_a_frame_is_not_nearly_taken_because_an_earlier_one_was(rig: Rig) -> None:
    device = rig.device(ENDED)
    for found in (*[objects(("car", 0.9))] * 2, *[objects()] * 3):
        device.offer(found)
        rig.clock.advance(0.04)
    assert [(line["frame"], line["outcome"]) for line in rig.lines()] == [(2, "accepted")]


def test_what_was_measured_of_the_frame_itself_stands_in_its_line(rig: Rig) -> None:
    device = rig.device({**ENDED, "missing": 1}, {**ALL, "limits": [{"type": "daily", "value": 100}]})
    for found in (*[objects(("car", 0.9))] * 2, objects()):
        device.offer(found)
        rig.clock.advance(0.04)
    values = [one["value"] for line in rig.lines() for one in line["strategies"] if one["name"] == "ended"]
    assert values == [0, 0, 1]
