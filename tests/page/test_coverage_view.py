"""What the page says of coverage, from numbers that are known."""

from __future__ import annotations

import re
from html import unescape

from framesift.coverage import Tally
from framesift.page.coverage_view import coverage_view
from rigs.coverage_days import UTC, coverage, day, tally


def text(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).strip())


def test_hours_are_coloured_by_what_is_collected_beside_what_is_seen() -> None:
    seen = tally(hours={0: 100, 1: 100, 2: 100, 3: 100, 4: 0})
    html = coverage_view(coverage(day(seen, tally(hours={1: 2, 2: 10, 3: 28, 4: 1}))), UTC)
    cells = re.findall(r'<td title="(\d\d:00: [^"]*)" class="heat (\w+)"><span class="hidden">([^<]*)<', html)
    assert len(cells) == 24
    assert [kind for _, kind, _ in cells[:6]] == ["none", "less", "alike", "more", "more", "unseen"]
    assert all(title == read for title, _, read in cells)
    assert cells[3][0] == "03:00: 28 of 41 collected, 100 of 400 seen"


def test_bars_have_the_share_of_what_is_collected_and_of_what_is_seen() -> None:
    seen = tally(200, brightness=(50, 0, 150), objects=(0, 200, 0, 0), car=150, bus=50)
    html = coverage_view(coverage(day(seen, tally(20, brightness=(1, 0, 19), car=18))), UTC)
    said = text(html)
    assert "dark 1 of 20 25 %" in said
    assert "car 18 of 20 75 %" in said
    assert "bus 0 of 20 25 %" in said
    assert "1-2 0 of 0 100 %" in said
    assert '<span class="bar"><span style="width:90.0%"></span></span>' in html
    assert '<span class="bar seen"><span style="width:75.0%"></span></span>' in html


def test_what_is_missing_comes_first_and_a_long_list_ends() -> None:
    seen = tally(1000)
    seen.classes.update({f"c{number:02}": 100 for number in range(40)})
    html = coverage_view(coverage(day(seen, tally(100))), UTC)
    assert html.index("gate: no c00 yet, though in 10 % of what was seen") < html.index("heat")
    assert html.count("<li>") == 20
    assert "and 20 more: framesift coverage" in text(html)
    assert "and 10 more: framesift coverage" in text(html)  # classes


def test_the_names_of_clients_are_text_and_a_model_without_objects_has_no_bars_of_them() -> None:
    seen = tally(5)
    seen.classes["<b>"] = 1
    html = coverage_view(coverage(day(seen, Tally(), stream="<i>gate"), day(Tally(), Tally())), UTC)
    assert "<b>" not in html
    assert "<i>gate" not in html
    assert "Objects in the frame" not in html
    assert "all streams" in html
    assert "Nothing is missing" in html


def test_before_the_first_frame_it_says_so() -> None:
    assert "No stream has given a frame yet." in coverage_view(coverage(), UTC)
