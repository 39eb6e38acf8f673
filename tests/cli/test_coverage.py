"""`framesift coverage`: after a run, and of counts that are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framesift.coverage import Tally, write_coverage
from rigs.coverage_days import coverage, day, tally
from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.scenes import scene_clip

SCENES = 4
ALIKE = {"name": "all", "type": "random", "traffic_percentage": 1.0, "near_duplicate": {"threshold": 0.02}}


def configured(folder: Path) -> Path:
    """Settings, and where the counts are kept."""
    write_configuration(folder, {"streams": [{"name": "gate", "source": "clip.mkv"}]})
    return folder / "spool.db.coverage" / "counts.json"


def asked(folder: Path, *words: str) -> str:
    answer = framesift(folder, "coverage", *words, COLUMNS="60")
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_a_run_counts_what_it_sees_and_collects(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    settings = {"streams": [{"name": "gate", "source": "clip.mkv"}]}
    write_configuration(tmp_path, settings, {**POLICY, "time_zone": "Asia/Tokyo", "sampling_strategies": [ALIKE]})
    with Daemon(tmp_path) as daemon:
        assert daemon.wait(60.0) == 0
    found = json.loads(asked(tmp_path, "--json"))
    (gate,) = found["streams"]
    assert gate["stream"] == "gate"
    assert gate["collected"]["frames"] == len(collected(tmp_path)) == SCENES
    assert gate["seen"]["frames"] == 3  # at 0, 1 and 2 s of its 2.4 s
    assert sum(gate["collected"]["brightness"].values()) == SCENES
    assert found["time_zone"] == "Asia/Tokyo"
    assert found["gaps"] == []
    assert "gate: 4 collected, 3 seen" in asked(tmp_path)


def test_the_table_has_shares_and_then_what_is_missing(tmp_path: Path) -> None:
    path = configured(tmp_path)
    seen = tally(hours={0: 250, 12: 750}, brightness=(250, 0, 750), objects=(400, 600, 0, 0), car=600, bus=100)
    kept = tally(hours={12: 100}, brightness=(0, 0, 100), objects=(40, 60, 0, 0), car=60, bus=3)
    silent = day(tally(5000), Tally(), stream="yard [north]")
    write_coverage(path, coverage(day(seen, kept), silent))
    lines = asked(tmp_path).splitlines()
    assert lines[0].startswith("from 2026-09-04 00:00 to 2026-09-05 00:00 (UTC); seen: about one frame a second")
    place = lines.index("gate: 100 collected, 1,000 seen")
    hours, of_seen, of_collected = (line[14:] for line in lines[place + 1 : place + 4])
    assert hours.split() == [f"{hour:02}" for hour in range(24)]
    assert of_seen.split() == ["25", *["."] * 11, "75", *["."] * 11]
    assert of_collected.split() == [*["."] * 12, "100", *["."] * 11]
    assert "dark 0 of 100 (seen: 25 %)" in lines[place + 4]
    assert lines[place + 6].split(maxsplit=1)[1] == "car 60 of 100 (seen: 60 %), bus 3 of 100 (seen: 10 %)"
    assert "all streams: 100 collected, 6,000 seen" in lines
    last = lines[-4:]
    assert "yard [north]: nothing was collected yet, of 5,000 frames seen" in lines
    assert "gate: bus 3 of 100, though in 10 % of what was seen" in last
    assert "gate: nothing was collected in the hours 00 (UTC), though 25 % of what was seen" in last


def test_json_has_the_numbers_and_the_gaps(tmp_path: Path) -> None:
    path = configured(tmp_path)
    write_coverage(path, coverage(day(tally(1000, objects=(0, 1000, 0, 0), bus=100), tally(100, bus=3))))
    found: dict[str, Any] = json.loads(asked(tmp_path, "--json"))
    (gate,) = found["streams"]
    assert gate["seen"] == {
        "frames": 1000,
        "hours": [0] * 12 + [1000] + [0] * 11,
        "brightness": {"dark": 0, "dim": 0, "bright": 1000},
        "objects": {"0": 0, "1-2": 1000, "3-5": 0, "6+": 0},
        "classes": {"bus": 100},
    }
    assert found["gaps"] == [
        {
            "stream": "gate",
            "kind": "class",
            "subject": "bus",
            "days": None,
            "collected": 3,
            "collected_of": 100,
            "seen": 100,
            "seen_of": 1000,
            "text": "gate: bus 3 of 100, though in 10 % of what was seen",
        }
    ]


@pytest.mark.parametrize(
    ("zone", "shown"), [("Asia/Tokyo", "Asia/Tokyo"), ("Mars/Olympus", "UTC"), ("/etc/passwd", "UTC")]
)
def test_a_time_zone_that_this_machine_does_not_have_is_utc(tmp_path: Path, zone: str, shown: str) -> None:
    write_coverage(configured(tmp_path), coverage(day(tally(1), tally(1)), time_zone=zone))
    assert json.loads(asked(tmp_path, "--json"))["time_zone"] == shown


def test_without_gaps_and_without_frames_it_says_so(tmp_path: Path) -> None:
    path = configured(tmp_path)
    write_coverage(path, coverage(day(tally(1), tally(1))))
    assert asked(tmp_path).splitlines()[-1] == "nothing is missing, as far as can be told from so much"
    write_coverage(path, coverage())
    assert asked(tmp_path).splitlines()[-1] == (
        "no frame was counted until 2026-09-05 00:00; a running daemon writes every five minutes what it has counted"
    )


@pytest.mark.parametrize(
    ("content", "said"), [(None, "does not exist yet: nothing has run with these settings"), ("{", "the whole: ")]
)
def test_no_counts_and_damaged_ones_are_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    path = configured(tmp_path)
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
    answer = framesift(tmp_path, "coverage", COLUMNS="200")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert f"{path.relative_to(tmp_path)}" in line
    assert said in line
