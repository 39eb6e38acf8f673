"""Telemetry: lines that never flood and show no secret, numbers that stay bounded, states whose changes are logged."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clocks import ManualClock
from framesift.frame import RefusalReason, SkipReason
from framesift.telemetry import SpoolNumbers, Telemetry
from rigs.terminals import read_terminal


@dataclass(frozen=True)
class Style:
    format: str = "json"
    level: str = "info"


class Rig:
    """A telemetry, its clock, and the lines that it printed."""

    def __init__(self, style: Style | None = None, secrets: tuple[str, ...] = ()) -> None:
        self.clock = ManualClock()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, style or Style(), secrets=secrets, out=self.out)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def names(self) -> list[str]:
        return [line["event"] for line in self.lines()]


def test_a_line_begins_with_when_how_bad_and_what() -> None:
    rig = Rig()
    rig.clock.advance(1.5)
    rig.telemetry.warning("model_failed", stream="gate", frame=7, score=0.25, ratio=None, tags=("a", "b"))
    assert rig.out.getvalue() == (
        '{"time": "2026-09-10T12:00:01.500Z", "level": "warning", "event": "model_failed", "stream": "gate",'
        ' "frame": 7, "score": 0.25, "ratio": null, "tags": ["a", "b"]}\n'
    )


def test_the_same_event_within_a_minute_is_counted_and_logged_once() -> None:
    rig = Rig()
    for frame in range(30):
        rig.telemetry.warning("model_failed", stream="gate", frame=frame)
        rig.clock.advance(1.0)
    assert [line["frame"] for line in rig.lines()] == [0]
    rig.clock.advance(29.0)
    rig.telemetry.tick()
    assert len(rig.lines()) == 1
    rig.clock.advance(1.0)
    rig.telemetry.tick()
    assert [(line["frame"], line.get("repeated")) for line in rig.lines()] == [(0, None), (29, 29)]


def test_almost_a_minute_is_not_a_minute() -> None:
    rig = Rig()
    rig.telemetry.info("camera_lost", stream="gate")
    rig.clock.advance(59.9)
    rig.telemetry.info("camera_lost", stream="gate")
    assert len(rig.lines()) == 1


def test_a_minute_after_the_last_line_an_event_is_logged_at_once() -> None:
    rig = Rig()
    rig.telemetry.info("camera_lost", stream="gate")
    rig.clock.advance(60.0)
    rig.telemetry.info("camera_lost", stream="gate")
    assert [line.get("repeated") for line in rig.lines()] == [None, None]


def test_an_event_joins_those_that_are_held_and_due() -> None:
    rig = Rig()
    rig.telemetry.info("camera_lost", stream="gate")
    rig.clock.advance(59.5)
    rig.telemetry.info("camera_lost", stream="gate")
    rig.clock.advance(0.6)
    rig.telemetry.info("camera_lost", stream="gate")
    rig.clock.advance(0.4)
    rig.telemetry.info("other", stream="gate")
    assert [(line["event"], line.get("repeated")) for line in rig.lines()] == [
        ("camera_lost", None),
        ("camera_lost", 2),
        ("other", None),
    ]


def test_events_of_different_streams_names_and_levels_are_not_the_same() -> None:
    rig = Rig()
    rig.telemetry.info("lost", stream="gate")
    rig.telemetry.info("lost", stream="yard")
    rig.telemetry.info("back", stream="gate")
    rig.telemetry.warning("lost", stream="gate")
    assert len(rig.lines()) == 4


def test_what_was_held_is_logged_at_the_end() -> None:
    rig = Rig()
    for _ in range(3):
        rig.telemetry.error("upload_failed", sink="folder")
    rig.telemetry.close()
    rig.telemetry.close()
    assert [line.get("repeated") for line in rig.lines()] == [None, 2]


def test_a_flood_of_different_events_is_cut_to_a_line_a_second_and_no_event_is_lost() -> None:
    rig = Rig()
    events = 0
    for second in range(300):
        for n in range(20):
            rig.telemetry.info("strange", reason=f"{second % 30}-{n}")
            events += 1
        rig.clock.advance(1.0)
    report = rig.lines()
    assert len(report) <= 60 + 300
    rig.telemetry.close()
    assert sum(line.get("repeated", 1) for line in rig.lines()) == events


def test_warnings_are_logged_when_information_has_used_up_its_lines() -> None:
    rig = Rig()
    for n in range(100):
        rig.telemetry.info("noise", reason=str(n))
    assert len(rig.lines()) == 40
    rig.telemetry.error("spool_broken", path="spool.db")
    assert rig.names()[-1] == "spool_broken"


def test_a_change_of_state_is_logged_each_time_even_within_a_minute() -> None:
    rig = Rig()
    for state in ("lost", "running", "lost", "running"):
        rig.telemetry.state_changed("stream", stream="gate", state=state)
        rig.clock.advance(1.0)
    assert [line["state"] for line in rig.lines()] == ["lost", "running", "lost", "running"]


def test_a_change_of_state_is_logged_when_information_has_used_up_its_lines() -> None:
    rig = Rig()
    for n in range(100):
        rig.telemetry.info("noise", reason=str(n))
    rig.telemetry.state_changed("stream", stream="gate", state="running")
    assert rig.names()[-1] == "stream"


def test_events_that_are_over_take_no_memory_and_later_ones_are_told_apart() -> None:
    rig = Rig()
    for n in range(1500):
        rig.telemetry.info("strange", reason=str(n))
        rig.clock.advance(30.0)
    assert len(rig.lines()) == 1500


def test_endlessly_many_kinds_of_events_at_once_become_one() -> None:
    rig = Rig()
    for n in range(5000):
        rig.telemetry.info("strange", reason=str(n))
    rig.telemetry.close()
    assert len(rig.lines()) <= 1001
    assert sum(line.get("repeated", 1) for line in rig.lines()) == 5000


def test_the_last_line_about_a_state_is_the_present_state_even_in_a_flood() -> None:
    rig = Rig()
    for n in range(401):
        rig.telemetry.state_changed("stream", stream="gate", state="lost" if n % 2 else "running")
    rig.clock.advance(1.0)
    rig.telemetry.tick()
    last = rig.lines()[-1]
    assert (last["stream"], last["state"]) == ("gate", "running")
    assert sum(line.get("repeated", 1) for line in rig.lines()) == 401


@pytest.mark.parametrize(("level", "report"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_less_than_the_level_is_not_printed(level: str, report: int) -> None:
    rig = Rig(Style(level=level))
    rig.telemetry.debug("a")
    rig.telemetry.info("b")
    rig.telemetry.warning("c")
    rig.telemetry.error("d")
    assert len(rig.lines()) == report


def test_secrets_are_removed_from_every_part_of_a_line() -> None:
    rig = Rig(secrets=("geh/eim",))
    try:
        raise ValueError("cannot open rtsp://me:geh%2Feim@cam")
    except ValueError as error:
        rig.telemetry.error(
            "failed",
            cause=error,
            text="geh/eim",
            deep=[{"geh/eim": ("x geh/eim",)}],
            path=Path("/geh/eim"),
            of_bytes=b"geh/eim",
            other=ValueError("geh/eim"),
        )
    assert "geh" not in rig.out.getvalue()
    assert rig.lines()[0]["cause"] == "ValueError: cannot open rtsp://****@cam"


def test_a_secret_in_a_cut_text_leaves_no_half_behind() -> None:
    rig = Rig(secrets=("geheimnis",))
    for padding in (*range(980, 1010), *range(1990, 2001)):
        text = "x" * padding + "geheimnis" + "y" * 3000 + "geheimnis" + "z" * padding
        rig.telemetry.info("long", reason=padding, text=text)
    assert "geh" not in rig.out.getvalue()
    assert "nis" not in rig.out.getvalue()


def test_a_cause_is_logged_with_its_traceback() -> None:
    rig = Rig()
    try:
        raise KeyError("wanted")
    except KeyError as error:
        rig.telemetry.error("bug", cause=error)
    (line,) = rig.lines()
    assert line["cause"] == "KeyError: 'wanted'"
    assert line["exception"].startswith("Traceback")
    assert 'raise KeyError("wanted")' in line["exception"]


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_nothing_that_is_logged_can_break_a_line() -> None:
    rig = Rig()
    loop: list[object] = []
    loop.append(loop)
    rig.telemetry.info(
        "odd",
        nan=float("nan"),
        inf=float("-inf"),
        unprintable=_Unprintable(),
        surrogate="\udcff",
        escape="\x1b[2J\r",
        loop=loop,
        refusal=RefusalReason.LIMIT,
        huge="x" * 1_000_000,
        event="mine",
        time=3,
        repeated=4,
    )
    (line,) = rig.lines()
    assert line["event"] == "odd"
    assert (line["event_"], line["time_"], line["repeated_"]) == ("mine", 3, 4)
    assert (line["nan"], line["inf"], line["refusal"]) == ("nan", "-inf", "limit")
    assert line["escape"] == "\\x1b[2J\\r"
    assert "RuntimeError" in line["unprintable"]
    assert len(rig.out.getvalue()) < 4000


def test_a_text_line_is_for_people_and_can_not_be_forged() -> None:
    rig = Rig(Style(format="text"), secrets=("geheim",))
    rig.telemetry.info("camera_lost", stream="gate", why="401\nfake line \x1b[31m geheim")
    (line,) = rig.out.getvalue().splitlines()
    assert line.startswith("2026-09-10T12:00:00.000Z [info")
    assert "camera_lost" in line
    assert "\x1b" not in line
    assert "geheim" not in line


def test_lines_are_json_unless_the_output_is_a_terminal() -> None:
    ours, theirs = os.openpty()
    program = (
        "import sys; from types import SimpleNamespace; from framesift.clock.clock import SystemClock\n"
        "from framesift.telemetry import Telemetry\n"
        "style = SimpleNamespace(format='auto', level='info')\n"
        "Telemetry(SystemClock(), style).info('hello', stream='gate')\n"
    )
    subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True, timeout=60)
    os.close(theirs)
    seen = read_terminal(ours)
    assert "hello" in seen
    assert not seen.startswith("{")
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert json.loads(piped.stdout)["event"] == "hello"


def test_an_output_that_takes_no_lines_stops_nobody() -> None:
    with contextlib.suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:
        telemetry = Telemetry(ManualClock(), Style(), out=full)
        telemetry.info("one")
        telemetry.count_read("gate")
    telemetry.info("two")  # the file is closed
    assert telemetry.report().frames_read == 1


def test_lines_in_an_encoding_that_lacks_a_character_spell_it_out() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Telemetry(ManualClock(), Style(format="text"), out=out).info("hello", why="Straße")
    assert b"Stra\\xdfe" in raw.getvalue()


def test_many_threads_log_whole_lines() -> None:
    rig = Rig()

    def talk(thread: int) -> None:
        for n in range(200):
            rig.telemetry.info("busy", stream=f"s{thread}", n=n)
            rig.telemetry.count_read(f"s{thread}")

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.telemetry.close()
    assert sum(line.get("repeated", 1) for line in rig.lines()) == 1600
    assert rig.telemetry.report().frames_read == 1600


def counted() -> Rig:
    rig = Rig()
    telemetry = rig.telemetry
    for _ in range(5):
        telemetry.count_read("gate")
    telemetry.count_read("yard")
    telemetry.count_skipped("gate", SkipReason.BUSY, 3)
    telemetry.count_skipped("yard", SkipReason.BUSY, 1)
    telemetry.count_refused("gate", RefusalReason.NO_MATCH)
    telemetry.count_refused("gate", RefusalReason.LIMIT)
    telemetry.count_matched("gate", "night")
    telemetry.count_accepted("gate", "night")
    telemetry.record_prediction("gate", 0.25, 2)
    telemetry.record_prediction("gate", 0.75)
    telemetry.record_delivery("done", 0.5)
    telemetry.set_stream_up("gate", True)
    telemetry.set_stream_up("yard", False)
    telemetry.set_spool_source(lambda: SpoolNumbers(1, 2, 3, 4, 5000, {"delivered": 7, "evicted": 1}))
    return rig


def test_a_report_sums_over_the_streams_and_shows_each() -> None:
    rig = counted()
    rig.clock.advance(10.0)
    report = rig.telemetry.report()
    assert (report.frames_read, report.frames_accepted, report.malformed) == (6, 1, 2)
    assert (report.skipped, report.refused) == ({"busy": 4}, {"no_match": 1, "limit": 1})
    assert (report.matched, report.accepted, report.attempts) == ({"night": 1}, {"night": 1}, {"done": 1})
    assert (report.model.count, report.model.mean_s, report.delivery.total_s) == (2, 0.5, 0.5)
    assert report.outcomes == {"delivered": 7, "evicted": 1}
    assert report.queue == SpoolNumbers(1, 2, 3, 4, 5000, {"delivered": 7, "evicted": 1})
    assert [(s.stream, s.up, s.frames_read, s.skipped) for s in report.streams] == [
        ("gate", True, 5, {"busy": 3}),
        ("yard", False, 1, {"busy": 1}),
    ]
    assert report.uptime_s == 10.0
    assert report.taken_at_s == rig.clock.now().wall_s


def test_a_report_of_nothing_is_all_zeros() -> None:
    report = Rig().telemetry.report()
    assert (report.frames_read, report.refused, report.outcomes, report.queue, report.streams) == (0, {}, {}, None, ())
    assert report.model.mean_s == 0.0


def test_prometheus_reads_every_number() -> None:
    families = {f.name: f for f in text_string_to_metric_families(counted().telemetry.metrics_text().decode())}
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values[("framesift_frames_read_total", ("stream", "gate"))] == 5
    assert values[("framesift_frames_skipped_total", ("stream", "gate"), ("why", "busy"))] == 3
    assert values[("framesift_frames_refused_total", ("reason", "limit"), ("stream", "gate"))] == 1
    assert values[("framesift_frames_matched_total", ("strategy", "night"), ("stream", "gate"))] == 1
    assert values[("framesift_frames_accepted_total", ("strategy", "night"), ("stream", "gate"))] == 1
    assert values[("framesift_prediction_parts_dropped_total", ("stream", "gate"))] == 2
    assert values[("framesift_delivery_attempts_total", ("outcome", "done"))] == 1
    assert values[("framesift_stream_up", ("stream", "yard"))] == 0
    assert values[("framesift_model_seconds_count",)] == 2
    assert values[("framesift_delivery_seconds_sum",)] == 0.5
    assert values[("framesift_spool_datapoints", ("state", "buried"))] == 4
    assert values[("framesift_spool_bytes",)] == 5000
    assert values[("framesift_datapoints_left_total", ("exit", "evicted"))] == 1
    assert families["process_resident_memory_bytes"].samples
    assert not [name for name in families if name.endswith("_created")]


def test_two_telemetries_in_one_process_share_no_number() -> None:
    first, second = Rig(), Rig()
    first.telemetry.count_read("gate")
    assert second.telemetry.report().frames_read == 0


def test_a_spool_that_can_not_be_read_takes_no_other_number_away() -> None:
    rig = counted()

    def broken() -> SpoolNumbers:
        raise OSError("disk gone")

    rig.telemetry.set_spool_source(broken)
    assert rig.telemetry.report().queue is None
    assert rig.telemetry.report().outcomes == {}
    shown = rig.telemetry.metrics_text()
    assert b'framesift_frames_read_total{stream="gate"} 5.0' in shown
    assert b"framesift_spool_bytes" not in shown


def test_endlessly_many_names_become_one_label() -> None:
    rig = Rig()
    for n in range(1000):
        rig.telemetry.count_accepted("gate", f"strategy-{n}")
    report = rig.telemetry.report()
    assert report.frames_accepted == 1000
    assert len(report.accepted) == 257
    assert report.accepted["other"] == 744


def test_a_label_is_short_and_printable() -> None:
    rig = Rig()
    rig.telemetry.count_matched("gate", 'night"\n\x00' + "x" * 1000)
    (name,) = rig.telemetry.report().matched
    assert name == 'night"??' + "x" * 56
    assert list(text_string_to_metric_families(rig.telemetry.metrics_text().decode()))
