"""What coverage lacks, in words, from numbers that are known."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from framesift.coverage import CountedCoverage, DayCoverage, Tally, find_gaps, share_text, summaries
from rigs.coverage_days import UTC, coverage, day, tally

BERLIN = ZoneInfo("Europe/Berlin")  # two hours ahead of UTC in September


def texts(found: CountedCoverage) -> list[str]:
    return [gap.text for gap in find_gaps(found, UTC)]


def test_what_is_collected_as_it_is_seen_has_no_gap() -> None:
    seen = tally(1000, brightness=(300, 0, 700), objects=(500, 500, 0, 0), car=400, bus=100)
    collected = tally(100, brightness=(30, 0, 70), objects=(50, 50, 0, 0), car=40, bus=10)
    assert texts(coverage(day(seen, collected))) == []
    assert texts(coverage()) == []


def test_a_brightness_that_was_not_collected_for_days_is_named_with_its_share() -> None:
    before = day(tally(1000, brightness=(120, 0, 880)), tally(100, brightness=(12, 0, 88)))
    after = [
        day(tally(1000, brightness=(120, 0, 880)), tally(10, brightness=(0, 0, 10)), place=place)
        for place in range(1, 10)
    ]
    (gap,) = find_gaps(coverage(before, *after), UTC)
    assert gap.text == "gate: no dark frames in 9 days, though 12 % of what was seen"
    assert (gap.stream, gap.kind, gap.subject, gap.days) == ("gate", "brightness", "dark", 9)
    assert (gap.collected, gap.collected_of, gap.seen, gap.seen_of) == (0, 90, 1080, 9000)


def test_the_present_day_is_not_over_but_what_never_was_collected_is_named_at_once() -> None:
    seen = tally(1000, brightness=(120, 0, 880))
    light, both = tally(100), tally(100, brightness=(20, 0, 80))
    assert texts(coverage(day(seen, both), day(seen, light, place=1))) == []
    assert texts(coverage(day(seen, light))) == ["gate: no dark frames yet, though 12 % of what was seen"]


def test_a_class_that_is_collected_less_than_half_as_often_as_it_is_seen_is_named() -> None:
    found = coverage(day(tally(1000, car=600, bus=100), tally(100, car=60, bus=3)))
    (gap,) = find_gaps(found, UTC)
    assert gap.text == "gate: bus 3 of 100, though in 10 % of what was seen"
    assert (gap.kind, gap.subject, gap.days) == ("class", "bus", None)
    assert (gap.collected, gap.collected_of, gap.seen, gap.seen_of) == (3, 100, 100, 1000)
    assert texts(coverage(day(tally(1000, bus=100), tally(100, bus=5)))) == [
        "gate: bus 5 of 100, though in 10 % of what was seen"
    ]
    assert texts(coverage(day(tally(1000, bus=100), tally(100, bus=6)))) == []


def test_numbers_of_objects_are_named() -> None:
    found = coverage(day(tally(1000, objects=(500, 200, 100, 200)), tally(100, objects=(0, 80, 20, 0))))
    assert texts(found) == [
        "gate: no frames without objects yet, though 50 % of what was seen",
        "gate: no frames with 6 or more objects yet, though 20 % of what was seen",
    ]


@pytest.mark.parametrize(
    ("seen", "collected"),
    [
        (tally(1000, bus=59), tally(100)),  # seen for less than a minute
        (tally(1000, bus=100), tally(49)),  # 4.9 would be expected
    ],
)
def test_nothing_is_said_from_little(seen: Tally, collected: Tally) -> None:
    assert texts(coverage(day(seen, collected))) == []


def test_enough_is_just_enough() -> None:
    assert texts(coverage(day(tally(1000, bus=60), tally(100)))) == ["gate: no bus yet, though in 6 % of what was seen"]
    assert texts(coverage(day(tally(1000, bus=100), tally(50)))) == [
        "gate: no bus yet, though in 10 % of what was seen"
    ]


def test_hours_without_anything_are_joined_over_midnight_in_the_zone_of_the_limits() -> None:
    at_night = dict.fromkeys((20, 21, 22, 23, 0, 1), 100)
    seen = tally(hours={12: 600, **at_night, 15: 100, 16: 59})
    found = coverage(day(seen, tally(hours={12: 30, 20: 1})))
    (gap,) = find_gaps(found, UTC)
    assert gap.text == "gate: nothing was collected in the hours 15, 21-01 (UTC), though 44 % of what was seen"
    assert (gap.kind, gap.subject, gap.seen, gap.collected_of) == ("hours", "15, 21-01", 600, 31)
    (in_berlin,) = find_gaps(found, BERLIN)
    assert "in the hours 17, 23-03 (CEST)" in in_berlin.text


def test_a_stream_of_which_nothing_is_collected_is_named_once_and_first() -> None:
    seen = tally(5000, brightness=(2500, 0, 2500), car=2000)
    silent = [day(seen, Tally(), place=place, stream="yard") for place in range(3)]
    found = coverage(*silent, day(seen, tally(100, brightness=(50, 0, 50), car=40)))
    first, *others = texts(found)
    assert first == "yard: nothing was collected in 3 days, of 15,000 frames seen"
    assert not [text for text in others if text.startswith("yard")]


def test_a_stream_that_gave_nothing_lately_is_named() -> None:
    days = [day(tally(1000), tally(9)), *(day(tally(1000), Tally(), place=place) for place in (1, 2))]
    assert texts(coverage(*days)) == ["gate: nothing was collected in 2 days, of 2,000 frames seen"]
    assert texts(coverage(*days[:2])) == []


def test_what_all_streams_lack_is_said_once() -> None:
    seen, collected = tally(1000, bus=100, car=500), tally(100, car=50)
    both = [day(seen, collected, stream=stream) for stream in ("gate", "yard")]
    assert texts(coverage(*both)) == ["no bus yet, though in 10 % of what was seen"]
    one = [both[0], day(tally(1000, car=500), tally(100, bus=30, car=50), stream="yard")]
    assert texts(coverage(*one)) == ["gate: no bus yet, though in 10 % of what was seen"]


def test_sums_are_of_all_days_with_the_hours_of_the_zone() -> None:
    days: list[DayCoverage] = [
        day(tally(hours={23: 5}, car=5), tally(hours={23: 1})),
        day(tally(hours={0: 7}, car=2), tally(), place=1, stream="yard"),
    ]
    every, gate, yard = summaries(coverage(*days), BERLIN)
    assert (every.stream, gate.stream, yard.stream) == (None, "gate", "yard")
    assert (every.seen.hours[1], every.seen.hours[2], every.collected.hours[1]) == (5, 7, 1)
    assert every.seen.classes == {"car": 7}
    assert (gate.seen.frames, yard.seen.frames) == (5, 7)
    assert days[0].seen.hours[23] == 5  # nothing was changed
    assert len(summaries(coverage(days[0]), UTC)) == 1


@pytest.mark.parametrize(
    ("number", "of", "text"),
    [(12, 100, "12 %"), (4, 1000, "0.4 %"), (1, 100_000, "0.1 %"), (0, 7, "0 %"), (7, 7, "100 %"), (0, 0, "0 %")],
)
def test_shares_are_short(number: int, of: int, text: str) -> None:
    assert share_text(number, of) == text
