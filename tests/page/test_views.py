"""What the views say, from numbers that are known."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import timezone
from html import unescape

import pytest

from framesift.decisions import DownTime, MinuteCounts
from framesift.page.budget_view import budget_view
from framesift.page.datapoint_view import datapoint_view
from framesift.page.gallery_view import STATES, GalleryNames, gallery_view
from framesift.page.pace import PaceMeter
from framesift.page.pictures import GalleryPage, PageChoice, PageDatapoint, PagePlace
from framesift.page.streams_view import hour_strip, stream_hands, stream_views
from framesift.page.words import duration_text
from framesift.telemetry import (
    ComponentHealth,
    Condition,
    PausedStream,
    PolicyReport,
    QuotaReport,
    QuotaUse,
    SpoolNumbers,
    StatusReport,
    StreamAbsence,
    StreamCounts,
    Timing,
)
from sampling_data import objects

NAMES = GalleryNames(["hall"], ["rare"], ["bus"])
AT_S = 1_789_043_400.0  # 12:30
UTC = timezone.utc
QUEUE = SpoolNumbers(3, 1, 2, 4, 5 << 20, {"delivered": 7, "evicted": 0}, 1 << 20, 12 << 20, AT_S - 120)
REPORT = StatusReport(
    frames_read=0,
    frames_accepted=0,
    skipped={},
    refused={},
    matched={},
    accepted={},
    outcomes={},
    attempts={},
    malformed=0,
    model=Timing(),
    delivery=Timing(),
    queue=QUEUE,
    streams=(),
    taken_at_s=AT_S,
    quota=QuotaReport("local", "", 2, AT_S, (QuotaUse("", "unsure", "hourly", 20, 5, 15),)),
)


def text(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).strip())


def datapoint(number: int = 0, **fields: object) -> PageDatapoint:
    made = PageDatapoint(
        f"id{number}", "gate", number, AT_S - number, "unsure", number / 100, "ready", 32, 24, objects(("car", 0.5))
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def test_the_budget_says_what_is_used_and_when_there_is_more() -> None:
    said = text(budget_view(REPORT, None, UTC))
    assert "this device counts for itself; 2 datapoints wait for quota" in said
    assert "unsure 5 of 20 in the hour a new hour at 13:00, in 30 min" in said
    for pair in ("waiting 5", "being sent 1", "buried 4", "oldest 2 min", "6.0 MiB of 12.0 MiB", "left: delivered 7"):
        assert pair in said
    assert "evicted" not in said
    assert "all parts are well" in said


def test_each_policy_says_what_it_collects_or_why_nothing() -> None:
    policy = PolicyReport(
        "", "policy.json", (), True, "1f", None, True, ("hard", "rare"), ("x: left out",), ("a note",), None
    )
    off = replace(policy, streams=("gate", "yard"), enabled=False)
    none = replace(policy, streams=("roof",), enabled=False, hash=None, source="https://p", problem="no answer")
    said = text(budget_view(replace(REPORT, policies=(policy, off, none)), None, UTC))
    assert "Policy (policy.json, from the disk): hard, rare. a note x: left out" in said
    assert 'Policy of gate, yard (policy.json): nothing is collected, since it says "enabled": false.' in said
    assert "Policy of roof: there is none yet from https://p: no answer; nothing is collected." in said


@pytest.mark.parametrize(("used", "turn"), [(9, "a turn is due;"), (10, "a turn at 12:33;"), (20, "a new hour")])
def test_a_strategy_that_holds_frames_has_its_next_turn(used: int, turn: str) -> None:
    assert REPORT.quota is not None
    use = QuotaUse("", "unsure", "hourly", 20, used, 20 - used)
    said = text(budget_view(replace(REPORT, quota=replace(REPORT.quota, used=(use,)), held={"unsure": 3}), None, UTC))
    assert f"{used} of 20 in the hour {turn}" in said
    assert "Held until a turn is due: 3 by unsure." in said


def test_what_is_ill_is_named() -> None:
    health = (
        ComponentHealth("spool", Condition.OK, "", 0.0),
        ComponentHealth("sink", Condition.FAILED, "no route to host", 0.0),
    )
    said = text(budget_view(replace(REPORT, health=health, queue=None, quota=None), None, UTC))
    assert "failed sink: no route to host" in said
    assert "the quota can't be read now" in said
    assert "it can't be read now" in said
    assert "all parts are well" not in said


def test_the_pace_says_when_the_spool_is_empty_or_full() -> None:
    meter = PaceMeter()
    assert meter.add(AT_S, QUEUE) is None
    emptier = meter.add(AT_S + 60.0, replace(QUEUE, ready=1))
    assert emptier is not None
    assert emptier.text() == "empty in 2 min"
    fuller = PaceMeter()
    fuller.add(AT_S, QUEUE)
    pace = fuller.add(AT_S + 60.0, replace(QUEUE, ready=5, size_bytes=7 << 20))
    assert pace is not None
    assert pace.text() == "full in 2 min"
    assert meter.add(AT_S - 3600.0, QUEUE) is None  # the clock was set


def test_the_last_hour_is_sixty_bars_with_what_was_accepted_wanted_and_not() -> None:
    hour = (
        MinuteCounts(100, Counter(), Counter(unsure=1), Counter(no_match=2, limit=1)),
        MinuteCounts(159, Counter(), Counter(), Counter(no_match=4)),
    )
    strip = hour_strip(hour, (), 159)
    bars = re.findall(r'<rect x="(\d+)" y="[\d.]+" width="4" height="([\d.]+)" class="(\w+)">', strip)
    assert bars == [
        ("0", "10.0", "accepted"),
        ("0", "10.0", "refused"),
        ("0", "20.0", "unwanted"),
        ("295", "40.0", "unwanted"),
    ]
    assert "1 accepted for unsure, 6 no_match, 1 limit" in strip
    assert "nothing was decided" in hour_strip((), (), 159)


def test_the_time_in_which_no_daemon_ran_is_a_line_in_the_strip() -> None:
    down = (DownTime(110 * 60.0, 130 * 60.0), DownTime(90 * 60.0, 105 * 60.0))
    strip = hour_strip((MinuteCounts(130, Counter(), Counter(unsure=1)),), down, 159)
    lines = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="20.0" y2="20.0" class="down">', strip)
    assert lines == [("50.0", "150.0"), ("0.0", "25.0")]
    assert "1 accepted for unsure, framesift did not run for 20 min, framesift did not run for 15 min" in strip


def test_streams_say_their_state_and_what_is_to_be_done() -> None:
    away = StreamAbsence("refused", "connection refused", "is the port right?")
    streams = (
        StreamCounts("yard", up=False, away=away),
        StreamCounts("gate", up=True, frames_read=1200, accepted={"unsure": 3}, refused={"limit": 9}, losses=2),
        StreamCounts("hall", up=True),
        StreamCounts("new"),
    )
    paused = (PausedStream("hall", AT_S - 60, AT_S + 3600, "alice"),)
    report = replace(REPORT, streams=streams, paused=paused, uptime_s=600.0)
    views, hands = dict(stream_views(report, {}, {"gate": 9.96}, (), UTC)), dict(stream_hands(report))
    assert list(views) == ["gate", "hall", "new", "yard"]
    said = {name: text(view) for name, view in views.items()}
    assert said["gate"].startswith(
        "running lost 2 times counted since 2026-09-10 12:20:00 "
        "frames read 1,200 to the model 10.0 a second accepted 3 refused 9"
    )
    assert said["hall"].startswith("paused until 2026-09-10 13:30:00 by alice")
    assert said["yard"].startswith("away connection refused: is the port right?")
    assert said["new"].startswith("not started")
    assert 'data-post="/resume"' in hands["hall"]
    assert 'data-post="/pause"' not in hands["hall"]
    assert 'data-post="/pause"' in hands["gate"]


def test_the_gallery_shows_a_page_and_where_older_ones_are() -> None:
    page = GalleryPage((datapoint(0), datapoint(1, stream="yard")), PagePlace(7, 40))
    shown = gallery_view(page, PageChoice(stream="a & b"), NAMES, UTC, is_first=True, has_key=True)
    assert shown.count("<figure>") == 2
    assert "/pictures/id0.jpg" in shown
    assert 'href="/gallery?stream=a+%26+b&amp;before=7.40"' in shown


@pytest.mark.parametrize(
    ("choice", "is_first", "older", "said"),
    [
        (PageChoice(), True, None, "No datapoint is on this machine: none was accepted yet, or all have left it."),
        (PageChoice(by_score=True), True, None, "No datapoint is on this machine"),
        (PageChoice(state="buried"), True, None, "No datapoint on this machine is like that"),
        (PageChoice(state="buried"), False, None, "There are no older datapoints like that."),
        (PageChoice(state="buried"), True, PagePlace(7, 40), "there are older ones. older"),
    ],
)
def test_a_page_of_the_gallery_without_datapoints_says_why(
    choice: PageChoice, is_first: bool, older: PagePlace | None, said: str
) -> None:
    shown = gallery_view(GalleryPage((), older), choice, NAMES, UTC, is_first=is_first, has_key=True)
    assert said in text(shown)
    assert ('href="/gallery?state=buried">the newest' in shown) is not is_first


def test_the_gallery_offers_what_is_known_shown_or_chosen() -> None:
    page = GalleryPage((datapoint(0),), None)
    shown = gallery_view(page, PageChoice(class_name="dog"), NAMES, UTC, is_first=True, has_key=True)
    offered = re.findall(r'<option value="(\w*)"( selected)?>', shown)
    assert [name for name, _ in offered if name] == [
        *("gate", "hall", "rare", "unsure", "bus", "car", "dog"),
        *STATES,
        "score",
    ]
    assert [name for name, chosen in offered if chosen] == ["dog"]


def test_without_the_key_no_picture_is_named() -> None:
    shown = gallery_view(GalleryPage((datapoint(),), None), PageChoice(), NAMES, UTC, is_first=True, has_key=False)
    assert "<img" not in shown
    assert "framesift status --open" in shown


@pytest.mark.parametrize(
    ("state", "posts"),
    [
        ("ready", ["/datapoints/drop", "/datapoints/retry"]),
        ("buried", ["/datapoints/drop", "/datapoints/retry"]),
        ("sending", ["/datapoints/drop"]),
        ("delivered", []),
    ],
)
def test_a_datapoint_has_the_buttons_of_its_state(state: str, posts: list[str]) -> None:
    shown = datapoint_view("id0", datapoint(state=state), [], UTC, has_key=True)
    assert re.findall(r'data-post="([^"]*)"', shown) == posts


def test_a_datapoint_that_has_left_is_still_explained() -> None:
    line = {"type": "decision", "at": AT_S, "stream": "gate", "frame": 1, "outcome": "accepted", "strategy": "unsure"}
    said = text(datapoint_view("id9", None, [line], UTC, has_key=True))
    assert "Frame id9 Its picture is not on this machine any more" in said
    assert "accepted for unsure" in said
    assert "Frame id9 Its picture is not on this machine any more" in text(
        datapoint_view("id9", None, [], UTC, has_key=True)
    )


def test_a_held_frame_that_was_refused_is_no_datapoint_whose_picture_has_left() -> None:
    line = {"type": "decision", "at": AT_S, "stream": "gate", "frame": 1, "outcome": "held", "strategy": "unsure"}
    dropped = {"type": "outcome", "at": AT_S + 9, "outcome": "refused", "reason": "outscored"}
    said = text(datapoint_view("id9", None, [line, dropped], UTC, has_key=True))
    assert "Frame id9 It was refused, and so its picture was thrown away" in said
    assert "Frame id9 It is no datapoint yet" in text(datapoint_view("id9", None, [line], UTC, has_key=True))


@pytest.mark.parametrize(
    ("seconds", "said"), [(5.4, "5 s"), (65, "1 min 5 s"), (3600, "1 h"), (5400, "1 h 30 min"), (200_000, "2.3 days")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration_text(seconds) == said
