"""`framesift explain`: after a run, and beside one; whole daemons, with real files."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from clocks import NOON_S, ManualClock
from framesift.decisions import DecisionRecord, FrameDecision, Outcome, RecordFiles, read_lines
from framesift.decisions.lookup import find_quiet_moment
from framesift.frame import RefusalReason
from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.scenes import scene_clip
from sampling_data import objects

WIDE: dict[str, Any] = {"COLUMNS": "400"}
ALIKE = {
    "name": "all",
    "type": "random",
    "traffic_percentage": 1.0,
    "near_duplicate": {"threshold": 0.02},
    "limits": [{"type": "hourly", "value": 50}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After a run over a clip with two scenes, each of several frames."""
    folder = tmp_path_factory.mktemp("explained")
    scene_clip(folder / "clip.mkv", 2)
    settings = {"streams": [{"name": "gate", "source": "clip.mkv"}], "decisions": {"thumbnails": True}}
    write_configuration(folder, settings, {**POLICY, "sampling_strategies": [ALIKE]})
    with Daemon(folder) as daemon:
        assert daemon.wait(60.0) == 0
    return folder


def record(folder: Path, **fields: Any) -> list[dict[str, Any]]:
    """The lines that have these fields, the oldest first."""
    lines = list(read_lines(folder / "spool.db.decisions"))[::-1]
    return [line for line in lines if all(line.get(key) == value for key, value in fields.items())]


def test_an_accepted_frame_is_explained_with_the_place_of_its_picture(folder: Path) -> None:
    entry = collected(folder)[0]
    answer = framesift(folder, "explain", entry["id"], **WIDE)
    assert answer.returncode == 0
    assert "accepted for all" in answer.stdout
    assert "all had used" in answer.stdout
    assert f"{entry['id']}: its picture is {folder / 'collected' / entry['file_name']}" in answer.stdout


def test_a_moment_of_a_stream_is_explained_with_the_picture_in_the_way(folder: Path) -> None:
    (refused, *_) = record(folder, type="decision", reason="near_duplicate")
    at = datetime.fromtimestamp(refused["at"], timezone.utc)
    for text in (f"{at:%Y-%m-%dT%H:%M:%S.%f}", f"{at:%H:%M:%S.%f}", str(refused["at"])):
        answer = framesift(folder, "explain", "gate", text, **WIDE)
        assert answer.returncode == 0, answer.stderr
        assert "it looks like a picture that is there already (near_duplicate)" in answer.stdout
        like = refused["strategies"][0]["similar"]["id"]
        assert f"looks like {like} (distance" in answer.stdout
        assert f"{like}: its picture is" in answer.stdout
        thumbnail = folder / "spool.db.decisions" / "thumbnails" / refused["thumbnail"]
        assert f"its thumbnail is {thumbnail}" in answer.stdout
        assert thumbnail.is_file()


def test_the_lines_themselves_are_printed_as_json(folder: Path) -> None:
    id = collected(folder)[0]["id"]
    answer = framesift(folder, "explain", id, "--json")
    assert [json.loads(line) for line in answer.stdout.splitlines()] == record(folder, id=id)


def test_counts_of_the_record_are_what_the_run_says_at_its_end(folder: Path) -> None:
    refused = sum(sum(line.get("refused", {}).values()) for line in record(folder, type="counts"))
    accepted = sum(sum(line.get("accepted", {}).values()) for line in record(folder, type="counts"))
    assert accepted == len(collected(folder)) > 0
    assert accepted + refused == 12


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("abc",), 1, "abc: the record has no such datapoint; it goes back to 2"),
        (("gate",), 2, "gate is a stream, which needs a TIME: framesift explain gate 14:03"),
        (("yard", "14:03"), 1, "yard: the record has no such stream; it has gate"),
        (("gate", "2001-01-01"), 1, "gate: nothing was decided at 2001-01-01 00:00:00.000 UTC; the record goes back"),
        (("gate", "later"), 2, "TIME later: a time such as 14:03"),
    ],
)
def test_what_the_record_does_not_have_is_said(folder: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    answer = framesift(folder, "explain", *arguments, **WIDE)
    assert answer.returncode == code
    assert said in answer.stderr


def test_a_moment_without_a_frame_is_told_by_what_is_around_it(tmp_path: Path) -> None:
    """Two runs, a minute apart; in each the camera shows one frame a minute."""
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
    clock, folder = ManualClock(), tmp_path / "spool.db.decisions"
    for _ in range(2):
        record = DecisionRecord(RecordFiles(folder, 1 << 20), clock, on_problem=pytest.fail)
        record.flush()
        for _ in range(2):
            record.count_refused("gate", RefusalReason.NO_MATCH)
            for wait_s in (1.0, 59.0):
                clock.advance(wait_s)
                record.flush()
        assert record.stop(5.0)
        clock.advance(60.0)
    down, away, late, since = (str(NOON_S + seconds) for seconds in (150.0, 30.0, 299.0, 7000.0))
    answer = framesift(tmp_path, "explain", "gate", down, **WIDE)
    assert (answer.returncode, answer.stdout) == (
        0,
        "framesift did not run from 2026-09-10 12:02:00.000 UTC to 2026-09-10 12:03:00.000 UTC: no frame was read\n",
    )
    answer = framesift(tmp_path, "explain", "gate", down, "--json")
    assert json.loads(answer.stdout) == {"type": "down", "from": NOON_S + 120.0, "to": NOON_S + 180.0}
    answer = framesift(tmp_path, "explain", "gate", away, **WIDE)
    assert answer.returncode == 1
    assert "nothing was decided at 2026-09-10 12:00:30.000 UTC; frames of it were counted until about" in answer.stderr
    assert "and again from about 2026-09-10 12:01:00" in answer.stderr
    answer = framesift(tmp_path, "explain", "gate", late, **WIDE)  # the second run goes on for a second
    assert "until about 2026-09-10 12:04:01.000 UTC, and none since; `stream` in the log says" in answer.stderr
    answer = framesift(tmp_path, "explain", "gate", since, **WIDE)
    assert (answer.returncode, answer.stdout) == (
        0,
        "framesift was stopped at 2026-09-10 12:05:00.000 UTC: no frame was read until it was started again\n",
    )


def test_a_stop_explains_a_moment_up_to_the_next_start_and_not_after_it(tmp_path: Path) -> None:
    clock = ManualClock()
    for begins_after_s in (0.0, 20.0, 500.0):
        record = DecisionRecord(RecordFiles(tmp_path, 1 << 20), clock, on_problem=pytest.fail)
        clock.advance(begins_after_s)
        record.flush()  # the first one; each second ends by itself
        record.count_refused("gate", RefusalReason.NO_MATCH)
        clock.advance(1.0)
        record.flush()
        assert record.stop(5.0)
        clock.advance(20.0)

    def off(seconds: float) -> Any:
        return find_quiet_moment(tmp_path, "gate", NOON_S + seconds).off

    assert off(10.0) == {"type": "stop", "at": NOON_S + 1.0}
    assert off(590.0) == {"type": "stop", "at": NOON_S + 563.0}
    assert off(41.5) is None  # the second run counts
    assert off(300.0) is None  # the third run began within a minute, and the stream was away


def test_a_held_frame_that_was_refused_has_no_picture_that_has_left(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
    clock = ManualClock()
    record = DecisionRecord(RecordFiles(tmp_path / "spool.db.decisions", 1 << 20), clock, on_problem=pytest.fail)
    made = FrameDecision("gate", 1, 0, NOON_S, None, objects(), Outcome.HELD, None, "a1", "unsure")
    record.add(made)
    record.settle("gate", "a1", RefusalReason.OUTSCORED)
    assert record.stop(5.0)
    answer = framesift(tmp_path, "explain", "a1", **WIDE)
    assert "  a1: it was refused, and so its picture was thrown away\n" in answer.stdout


def test_a_record_that_is_turned_off_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    streams = [{"name": "gate", "source": "clip.mp4"}]
    write_configuration(tmp_path, {"streams": streams, "decisions": {"max_bytes": None}})
    with Daemon(tmp_path) as daemon:
        assert daemon.wait(60.0) == 0
    assert not (tmp_path / "spool.db.decisions").exists()
    answer = framesift(tmp_path, "explain", "abc", **WIDE)
    assert (answer.returncode, "decisions.max_bytes is null: nothing is recorded" in answer.stderr) == (1, True)


def test_what_is_forgotten_leaves_the_record(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 2)
    settings = {"streams": [{"name": "gate", "source": "clip.mkv"}], "decisions": {"thumbnails": True}}
    write_configuration(tmp_path, settings, {**POLICY, "sampling_strategies": [ALIKE]})
    with Daemon(tmp_path) as daemon:
        assert daemon.wait(60.0) == 0
    first, second = (entry["id"] for entry in collected(tmp_path)[:2])
    answer = framesift(tmp_path, "forget", "--id", first, **WIDE)
    assert answer.returncode == 0, answer.stderr
    assert "1 line removed" in answer.stdout
    assert framesift(tmp_path, "explain", first).returncode == 1
    assert framesift(tmp_path, "explain", second).returncode == 0
    thumbnails = tmp_path / "spool.db.decisions" / "thumbnails"
    kept = len(list(thumbnails.iterdir()))
    assert kept > 0
    answer = framesift(tmp_path, "forget", "--stream", "gate", **WIDE)
    assert f"lines removed, {kept} thumbnail" in answer.stdout
    assert list(thumbnails.iterdir()) == []
