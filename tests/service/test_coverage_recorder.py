"""CoverageRecorder: what a run finds, keeps and says of the counts of coverage, on a real disk."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from clocks import NOON_S, ManualClock
from framesift.coverage import CoveredFrame, read_coverage
from framesift.service.coverage_recorder import CoverageRecorder
from framesift.settings import Settings, load
from framesift.telemetry import Telemetry
from rigs.daemon import write_configuration
from sampling_data import objects

BERLIN = ZoneInfo("Europe/Berlin")
FRAME = CoveredFrame.of("gate", NOON_S, objects(("car", 0.5)), 0.5)


class Style:
    format = "json"
    level = "info"


class Rig:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, Style(), out=self.out)
        write_configuration(folder, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
        self.settings: Settings = load(folder / "framesift.yaml", {})
        self.path = folder / "spool.db.coverage" / "counts.json"

    def run(self) -> CoverageRecorder:
        recorder = CoverageRecorder(self.settings, self.telemetry, self.clock, lambda: BERLIN)
        assert self.telemetry.coverage is recorder.counts
        return recorder

    def collected(self) -> int:
        found = read_coverage(self.path)
        assert found is not None
        return sum(day.collected.frames for day in found.days)

    def warnings(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in lines if line["level"] == "warning"]


def test_what_is_counted_is_kept_at_the_end_and_found_at_the_next_start(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for run in range(1, 3):
        recorder = rig.run()
        recorder.counts.collect(FRAME)
        rig.clock.advance(60.0)
        assert recorder.stop(5.0)
        assert rig.collected() == run
    found = read_coverage(rig.path)
    assert found is not None
    assert (found.since_s, found.until_s, found.time_zone) == (NOON_S, NOON_S + 120.0, "Europe/Berlin")
    assert rig.warnings() == []


def test_what_is_counted_is_kept_every_five_minutes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.clock = ManualClock(waiters=1)  # time passes while the recorder waits
    recorder = rig.run()
    recorder.counts.collect(FRAME)
    until_s = 0.0
    recorder.start()
    while until_s < NOON_S + 600.0:
        found = read_coverage(rig.path)
        until_s = 0.0 if found is None else found.until_s
    assert rig.collected() == 1
    assert recorder.stop(5.0)


def test_counts_that_cannot_be_read_are_set_aside_and_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.path.parent.mkdir()
    rig.path.write_text('{"version": 7}')
    recorder = rig.run()
    recorder.counts.collect(FRAME)
    assert recorder.stop(5.0)
    assert rig.collected() == 1
    assert rig.path.with_name("counts.json.unreadable").read_text() == '{"version": 7}'
    (line,) = rig.warnings()
    assert (line["event"], line["path"]) == ("coverage_unreadable", str(rig.path))
    assert "since_s: Field required" in line["why"]


def test_a_disk_that_takes_no_counts_is_said_and_nothing_ends(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.path.parent.write_text("in the way")
    recorder = rig.run()
    assert recorder.stop(5.0)
    lines = rig.warnings()
    assert [line["event"] for line in lines] == ["coverage_unreadable", "coverage_not_saved"]
    assert lines[1]["why"] == "File exists"


def test_a_name_with_half_of_a_character_is_kept_with_a_question_mark(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    recorder = rig.run()
    recorder.counts.remember("a", CoveredFrame.of("gate\udc80", NOON_S, objects(("car\ud800", 0.5)), 0.5))
    assert recorder.stop(5.0)
    found = read_coverage(rig.path)
    assert found is not None
    assert (found.pending["a"].stream, found.pending["a"].classes) == ("gate?", ("car?",))
