"""The decision record: what it counts, which frames have a line of their own, and what it does without a disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from clocks import NOON_S, ManualClock
from framesift.decisions import (
    DecisionRecord,
    FrameDecision,
    Measurement,
    Outcome,
    RecordFiles,
    StrategyResult,
    read_lines,
)
from framesift.decisions.decision_record import MAX_ENDED, MAX_PENDING, SECOND_S, WRITE_EVERY
from framesift.decisions.measurement import ValueGauge
from framesift.frame import RefusalReason
from sampling_data import objects

CAR = objects(("car", 0.4), ("car", 0.9))


class Rig:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.problems: list[str] = []
        self.quota_reads = 0
        self.folder = folder / "record"
        self.record = DecisionRecord(
            RecordFiles(self.folder, 1 << 20), self.clock, quota=self._quota, on_problem=self.problems.append
        )

    def _quota(self) -> dict[str, dict[str, tuple[int, int]]]:
        self.quota_reads += 1
        return {"unsure": {"hourly": (3, 20)}, "other": {"daily": (1, 2)}}

    def lines(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Writes, and returns the lines of a type, the oldest first."""
        self.record.flush()
        return [one for one in self.record.lines() if kind in (None, one["type"])][::-1]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def decision(outcome: Outcome = Outcome.ACCEPTED, **fields: Any) -> FrameDecision:
    given = {"stream": "gate", "frame": 7, "epoch": 1, "captured_s": NOON_S, "media_s": None, "prediction": CAR}
    return FrameDecision(**{**given, "outcome": outcome, **fields})


def test_counts_of_a_second_are_one_line_for_each_stream(rig: Rig) -> None:
    for _ in range(3):
        rig.record.count_refused("gate", RefusalReason.NO_MATCH)
    rig.record.count_refused("gate", RefusalReason.LIMIT)
    rig.record.count_matched("gate", "unsure")
    rig.record.count_accepted("yard", "unsure")
    rig.clock.advance(1.0)
    span = {"type": "counts", "from": NOON_S, "to": NOON_S + 1}
    assert rig.lines() == [
        {**span, "stream": "gate", "matched": {"unsure": 1}, "refused": {"no_match": 3, "limit": 1}},
        {**span, "stream": "yard", "accepted": {"unsure": 1}},
    ]
    rig.clock.advance(1.0)
    assert len(rig.lines()) == 2  # a second in which nothing was decided has no line


def test_the_best_measurement_of_a_second_is_kept(rig: Rig) -> None:
    unsure, near = ValueGauge("uncertainty", ">=", 0.5), ValueGauge("x", "<", 0.05)
    gauges = {"unsure": unsure, "near": near, "idle": ValueGauge("y", "<", 0.5)}
    for unsure.value in (0.3, 0.45, 0.1):
        near.value = unsure.value
        assert rig.record.observe("gate", gauges) == max(unsure.nearness(), near.nearness())
    assert rig.record.observe("gate", {}) == -math.inf
    (line,) = rig.lines()
    assert line["best"] == {
        "unsure": {"what": "uncertainty", "value": 0.45, "relation": ">=", "bound": 0.5},
        "near": {"what": "x", "value": 0.1, "relation": "<", "bound": 0.05},
    }


def test_an_accepted_frame_has_a_line_with_all_numbers(rig: Rig) -> None:
    results = (
        StrategyResult("unsure", True, Measurement("uncertainty", 0.8, ">=", 0.5, 0.25, 1.0), 0.8),
        StrategyResult("night", False, excluded="hours: not now"),
    )
    rig.record.add(decision(id="a1", strategy="unsure", results=results, media_s=2.5))
    (line,) = rig.lines()
    assert line == {
        "type": "decision",
        "at": NOON_S,
        "stream": "gate",
        "frame": 7,
        "epoch": 1,
        "outcome": "accepted",
        "media_s": 2.5,
        "id": "a1",
        "strategy": "unsure",
        "classes": {"car": 2},
        "confidence": [0.4, 0.9],
        "strategies": [
            {
                "name": "unsure",
                "matched": True,
                "score": 0.8,
                "what": "uncertainty",
                "value": 0.8,
                "relation": ">=",
                "bound": 0.5,
                "draw": 0.25,
                "probability": 1.0,
            },
            {"name": "night", "matched": False, "excluded": "hours: not now"},
        ],
        "quota": {"unsure": {"hourly": [3, 20]}},
    }


def test_of_nearly_taken_frames_the_nearest_of_each_second_stream_and_reason_has_a_line(rig: Rig) -> None:
    made: list[int] = []

    def refuse(frame: int, nearness: float, reason: RefusalReason = RefusalReason.LIMIT) -> None:
        def make() -> FrameDecision:
            made.append(frame)
            return decision(Outcome.REFUSED, frame=frame, reason=reason)

        rig.record.add_refused("gate", reason, nearness, make)

    refuse(1, 0.5)
    refuse(2, 0.7)
    refuse(3, 0.6)
    refuse(4, -0.05, RefusalReason.NO_MATCH)
    assert [(line["frame"], line["reason"]) for line in rig.lines("decision")] == [(2, "limit"), (4, "no_match")]
    assert made == [1, 2, 4]
    refuse(5, 0.1)
    assert [line["frame"] for line in rig.lines("decision")] == [2, 4, 5]


def test_what_becomes_of_a_held_frame_is_told_later(rig: Rig) -> None:
    rig.record.add(decision(Outcome.HELD, id="a1", strategy="unsure"))
    rig.record.add(decision(Outcome.HELD, id="a2", strategy="unsure"))
    rig.lines()
    rig.clock.advance(60.0)
    rig.record.settle("gate", "a1", "unsure")
    rig.record.settle("gate", "a2", RefusalReason.OUTSCORED)
    at = {"type": "outcome", "at": NOON_S + 60, "stream": "gate"}
    assert rig.lines("outcome") == [
        {**at, "id": "a1", "outcome": "accepted", "strategy": "unsure"},
        {**at, "id": "a2", "outcome": "refused", "reason": "outscored"},
    ]


def test_quota_is_read_only_when_a_frame_has_a_line(rig: Rig) -> None:
    rig.record.count_refused("gate", RefusalReason.NO_MATCH)
    rig.lines()
    assert rig.quota_reads == 0
    for _ in range(3):
        rig.record.add(decision(id="a"))
    rig.lines()
    assert rig.quota_reads == 1


def test_a_flood_is_bounded_and_counted(rig: Rig) -> None:
    for number in range(MAX_PENDING + 5):
        rig.record.add(decision(id=f"a{number}"))
    assert len(rig.lines("decision")) == MAX_PENDING
    assert [line["decisions"] for line in rig.lines("unrecorded")] == [5]


def test_a_disk_that_fails_is_reported_and_counting_goes_on(rig: Rig) -> None:
    rig.folder.write_text("in the way")
    rig.record.count_refused("gate", RefusalReason.LIMIT)
    rig.record.flush()
    assert len(rig.problems) == 1
    assert str(rig.folder) in rig.problems[0]
    assert [counts.refused for counts in rig.record.last_hour("gate")] == [{"limit": 1}]
    rig.folder.unlink()
    rig.record.count_refused("gate", RefusalReason.LIMIT)
    assert len(rig.lines("counts")) == 1
    assert rig.problems[1:] == [""]


def test_the_speed_is_of_the_frames_that_the_model_saw(rig: Rig) -> None:
    for reason, number in ((RefusalReason.PAUSED, 300), (RefusalReason.DISABLED, 200), (RefusalReason.NO_MATCH, 6)):
        for _ in range(number):
            rig.record.count_refused("gate", reason)
    rig.record.count_accepted("gate", "unsure")
    rig.clock.advance(1.0)
    rig.record.flush()
    assert rig.record.speeds() == {"gate": 7.0}


def test_the_last_hour_is_counted_by_minute(rig: Rig) -> None:
    for minute in range(70):
        rig.record.count_refused("gate", RefusalReason.NO_MATCH)
        if minute % 2:
            rig.record.count_accepted("gate", "unsure")
        rig.record.flush()
        rig.record.count_matched("gate", "unsure")
        rig.record.flush()
        rig.clock.advance(60.0)
    hour = rig.record.last_hour("gate")
    newest = int(NOON_S // 60) + 69
    assert [counts.minute for counts in hour] == list(range(newest - 58, newest + 1))
    assert sum(counts.refused["no_match"] for counts in hour) == 59
    assert sum(counts.accepted["unsure"] for counts in hour) == 30
    assert sum(counts.matched["unsure"] for counts in hour) == 59
    assert rig.record.last_hour("yard") == ()


def test_without_files_only_the_last_hour_is_counted(tmp_path: Path) -> None:
    record = DecisionRecord(None, ManualClock(), on_problem=lambda _: pytest.fail("there is no disk"))
    record.count_accepted("gate", "unsure")
    record.add(decision(id="a"))
    record.flush()
    assert list(record.lines()) == []
    assert [counts.accepted for counts in record.last_hour("gate")] == [{"unsure": 1}]
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_a_run_writes_what_was_decided_last(rig: Rig) -> None:
    rig.record.start()
    rig.record.add(decision(id="last"))
    assert rig.record.stop(5.0)
    assert [line["id"] for line in rig.lines("decision")] == ["last"]


def test_seconds_are_written_some_at_a_time_each_with_its_own_counts(rig: Rig) -> None:
    rig.record.start()
    for _ in range(WRITE_EVERY):
        assert rig.clock.until_waiting(1)
        assert list(read_lines(rig.folder)) == []
        rig.record.count_refused("gate", RefusalReason.NO_MATCH)
        rig.clock.advance(SECOND_S)
    assert rig.clock.until_waiting(1)
    lines = [(line["from"], line["refused"]) for line in read_lines(rig.folder)][::-1]
    assert lines == [(NOON_S + second, {"no_match": 1}) for second in range(WRITE_EVERY)]
    rig.record.count_refused("gate", RefusalReason.LIMIT)
    assert rig.record.stop(5.0)
    assert len(list(read_lines(rig.folder))) == WRITE_EVERY + 2  # and the end of the run


def test_quota_is_that_of_the_second_of_the_decision(rig: Rig) -> None:
    for frame in (1, 2):
        results = (StrategyResult("unsure", True),)
        rig.record.add(decision(frame=frame, results=results))
        rig.record.end_second()
        rig.record.end_second()  # nothing was decided: nothing is read
    assert rig.quota_reads == 2
    assert [line["quota"] for line in rig.lines("decision")] == [{"unsure": {"hourly": [3, 20]}}] * 2


def test_while_a_disk_hangs_seconds_become_one(rig: Rig) -> None:
    for _ in range(MAX_ENDED + 3):
        rig.record.count_refused("gate", RefusalReason.NO_MATCH)
        rig.record.end_second()
    counted = [line["refused"]["no_match"] for line in rig.lines("counts")]
    assert counted == [*[1] * MAX_ENDED, 3]
