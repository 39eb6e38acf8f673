"""The last hour of a stream, over restarts: what is taken over from the record, and what of it is left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.decisions import DecisionRecord, DownTime, FrameDecision, MinuteCounts, Outcome, RecordFiles
from framesift.decisions.last_hour import LastHour
from framesift.frame import RefusalReason
from sampling_data import objects

SIZE = 1 << 20


def run(folder: Path, clock: ManualClock, decide: Callable[[DecisionRecord], None]) -> tuple[MinuteCounts, ...]:
    """One run of a daemon's record, from its start to its end; returns the last hour as it was at the end."""
    record = DecisionRecord(RecordFiles(folder, SIZE), clock, on_problem=pytest.fail)
    record.flush()
    decide(record)
    assert record.stop(5.0)
    return record.last_hour("gate")


def restarted(folder: Path, clock: ManualClock) -> DecisionRecord:
    record = DecisionRecord(RecordFiles(folder, SIZE), clock, on_problem=pytest.fail)
    record.flush()
    return record


def decide_for(clock: ManualClock, minutes: int) -> Callable[[DecisionRecord], None]:
    def decide(record: DecisionRecord) -> None:
        for number in range(minutes):
            record.count_matched("gate", "unsure")
            record.count_refused("gate", RefusalReason.LIMIT)
            record.count_refused("yard", RefusalReason.NO_MATCH)
            record.flush()
            if number % 2:
                record.count_accepted("gate", "unsure")
                record.add(FrameDecision("gate", number, 1, NOON_S, None, objects(), Outcome.ACCEPTED, id=f"a{number}"))
            record.flush()
            clock.advance(60.0)

    return decide


def test_after_a_restart_the_last_hour_is_the_same(tmp_path: Path) -> None:
    clock = ManualClock()
    before = run(tmp_path, clock, decide_for(clock, 50))
    assert sum(counts.accepted["unsure"] for counts in before) == 25
    again = restarted(tmp_path, clock)
    assert again.last_hour("gate") == before
    assert [counts.refused["no_match"] for counts in again.last_hour("yard")] == [1] * 50
    assert again.down() == ()


def test_a_run_goes_on_in_the_minute_of_the_run_before(tmp_path: Path) -> None:
    clock = ManualClock()
    run(tmp_path, clock, lambda record: record.count_refused("gate", RefusalReason.LIMIT))
    clock.advance(5.0)
    record = DecisionRecord(RecordFiles(tmp_path, SIZE), clock, on_problem=pytest.fail)
    record.count_refused("gate", RefusalReason.LIMIT)  # before anything was taken over
    record.flush()
    record.flush()
    assert [counts.refused for counts in record.last_hour("gate")] == [{"limit": 2}]


def test_what_is_older_than_an_hour_is_left_out(tmp_path: Path) -> None:
    clock = ManualClock()
    run(tmp_path, clock, decide_for(clock, 50))
    clock.advance(1800.0)
    assert len(restarted(tmp_path, clock).last_hour("gate")) == 29
    clock.advance(3600.0)
    assert restarted(tmp_path, clock).last_hour("gate") == ()


def test_files_that_end_before_the_last_hour_are_not_read(tmp_path: Path) -> None:
    line = {"type": "counts", "from": NOON_S - 5000.0, "to": NOON_S - 4999.0, "stream": "gate", "refused": {"limit": 1}}
    (tmp_path / "decisions.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "decisions-00000001.jsonl.gz").mkdir()  # reading it would be an error
    hour = LastHour()
    assert hour.restore(tmp_path, NOON_S) == DownTime(NOON_S - 4999.0, NOON_S)
    assert hour.minutes("gate", NOON_S) == ()
    later = LastHour()
    assert later.restore(tmp_path, NOON_S - 4900.0) is None  # it needs the file that can't be read
    assert [counts.refused for counts in later.minutes("gate", NOON_S - 4900.0)] == [{"limit": 1}]


def test_when_no_daemon_ran_is_known_over_further_restarts(tmp_path: Path) -> None:
    clock = ManualClock()
    run(tmp_path, clock, decide_for(clock, 5))  # and at its end nothing was decided for a minute
    stopped_s = clock.now().wall_s
    clock.advance(600.0)
    run(tmp_path, clock, decide_for(clock, 5))
    down = DownTime(stopped_s, stopped_s + 600.0)
    clock.advance(59.0)
    assert restarted(tmp_path, clock).down() == (down,)
    clock.advance(120.0)
    record = restarted(tmp_path, clock)
    assert record.down()[1:] == (down,)
    clock.advance(3600.0)
    assert record.down() == ()


def test_a_first_run_was_never_down(tmp_path: Path) -> None:
    record = restarted(tmp_path / "none", ManualClock())
    assert record.down() == ()
    assert record.last_hour("gate") == ()


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"counts","from":0,"to":AT,"stream":"gate","refu',
        '{"type":"counts","from":0,"to":NaN,"stream":"gate","refused":{"limit":1}}',
        '{"type":"counts","from":0,"to":"AT","stream":"gate","refused":{"limit":1}}',
        '{"type":"counts","from":0,"to":LATER,"stream":"gate","refused":{"limit":1}}',
        '{"type":"counts","from":0,"to":AT,"stream":["gate"],"refused":{"limit":1}}',
        '{"type":"later","from":0,"to":AT,"stream":"gate","refused":{"limit":1}}',
        '{"type":"down","from":"long ago","to":AT}',
        '{"from":0,"to":AT}',
        "\x00" * 50,
    ],
)
def test_a_line_that_says_nothing_sensible_is_left_out(tmp_path: Path, line: str) -> None:
    good = '{"type":"counts","from":0,"to":AT,"stream":"gate","accepted":{"unsure":2}}'
    content = f"{good}\n{line}\n".replace("LATER", str(NOON_S + 9.0)).replace("AT", str(NOON_S - 5.0))
    (tmp_path / "decisions.jsonl").write_text(content)
    record = restarted(tmp_path, ManualClock())
    assert [(counts.accepted, counts.refused) for counts in record.last_hour("gate")] == [({"unsure": 2}, {})]
    assert record.down() == ()


def test_counts_that_are_none_are_left_out(tmp_path: Path) -> None:
    line = {"type": "counts", "from": 0, "to": NOON_S, "stream": "gate", "accepted": [1], "refused": {"limit": "1"}}
    (tmp_path / "decisions.jsonl").write_text(json.dumps(line) + "\n")
    record = restarted(tmp_path, ManualClock())
    assert record.last_hour("gate") == (MinuteCounts(int(NOON_S // 60)),)


def test_after_the_clock_was_set_back_the_minutes_from_before_are_not_kept() -> None:
    hour = LastHour()
    for minute in (1000, 1001, 500, 1002):
        hour.add("gate", minute, matched=Counter(), accepted=Counter(), refused=Counter(limit=1))
    assert [counts.minute for counts in hour.minutes("gate", 1002 * 60.0)] == [1002]
