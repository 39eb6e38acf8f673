"""What was collected beside what was seen: what is missing in words, a heat map of the hours, and bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from framesift.coverage import CountedCoverage, CoverageSummary, find_gaps, share_text, summaries
from framesift.page.html import Html, element, joined
from framesift.page.words import time_text

_MOST_GAPS = 20
_MOST_CLASSES = 30
# The share of an hour in what is collected, divided by its share in what is seen, is below this.
_HEAT = ((0.5, "less"), (2.0, "alike"))
_LEGEND = (
    ("none", "seen, and nothing collected"),
    ("less", "less than half of its share"),
    ("alike", "about as it is seen"),
    ("more", "more than twice its share"),
    ("unseen", "not seen"),
)
_KINDS = {"brightness": "Brightness", "objects": "Objects in the frame", "class": "Classes"}


def coverage_view(coverage: CountedCoverage, zone: tzinfo) -> Html:
    """Everything about coverage. zone: in which the hours of the day are counted."""
    found = summaries(coverage, zone)
    if not found:
        return joined(element("h2", "Coverage"), element("p", "No stream has given a frame yet."))
    since = (
        f"Since {time_text(coverage.since_s, zone)}. Of what each stream shows, about one frame a second is counted."
    )
    return joined(
        element("h2", "Coverage"),
        _gaps([gap.text for gap in find_gaps(coverage, zone)]),
        element("p", element("small", since)),
        element("h3", f"Hours of the day ({coverage.time_zone})"),
        _heat_map(found),
        [_bars(one, is_open=place == 0) for place, one in enumerate(found)],
    )


def _gaps(texts: Sequence[str]) -> Html:
    if not texts:
        return element("p", "Nothing is missing, as far as can be told from so much.", class_="note")
    more = len(texts) - _MOST_GAPS
    return joined(
        element("ul", [element("li", text) for text in texts[:_MOST_GAPS]], class_="gaps"),
        element("p", f"and {more} more: ", element("code", "framesift coverage")) if more > 0 else None,
    )


def _name(one: CoverageSummary) -> str:
    return "all streams" if one.stream is None else one.stream


def _heat_map(found: Sequence[CoverageSummary]) -> Html:
    hours = [
        element("th", hour if hour % 3 == 0 else "", scope="col", aria_label=f"{hour:02}:00") for hour in range(24)
    ]
    rows = [
        joined(
            element("tr", element("th", _name(one), scope="rowgroup", colspan=24), class_="name"),
            element("tr", list(_cells(one))),
        )
        for one in found
    ]
    legend = [element("span", element("i", class_=f"heat {kind}"), f" {text}") for kind, text in _LEGEND]
    return joined(
        element("table", element("thead", element("tr", hours)), element("tbody", rows), class_="hours"),
        element("p", legend, class_="legend"),
    )


def _cells(one: CoverageSummary) -> Iterator[Html]:
    seen_of, of = one.seen.frames, one.collected.frames
    for hour, (seen, collected) in enumerate(zip(one.seen.hours, one.collected.hours, strict=True)):
        text = f"{hour:02}:00: {collected:,} of {of:,} collected, {seen:,} of {seen_of:,} seen"
        heat = _heat(collected, of, seen, seen_of)
        yield element("td", element("span", text, class_="hidden"), title=text, class_=f"heat {heat}")


def _heat(collected: int, of: int, seen: int, seen_of: int) -> str:
    if not seen and not collected:
        return "unseen"
    if not collected:
        return "none"
    if not seen:
        return "more"
    times = (collected / of) / (seen / seen_of)
    return next((name for below, name in _HEAT if times < below), "more")


def _bars(one: CoverageSummary, *, is_open: bool) -> Html:
    title = element("summary", element("strong", _name(one)), f": {one.collected.frames:,} collected")
    return element("details", title, list(_kinds(one)), open=is_open, class_="shares")


def _kinds(one: CoverageSummary) -> Iterator[Html]:
    subjects = one.subjects()
    for kind, title in _KINDS.items():
        names = [name for its_kind, name in subjects if its_kind == kind]
        if not any(one.seen.share(kind, name)[1] or one.collected.share(kind, name)[1] for name in names):
            continue
        left = len(names) - _MOST_CLASSES
        head = element("tr", [element("th", text, scope="col") for text in (title, "collected", "seen")])
        yield element(
            "table",
            element("thead", head),
            element("tbody", [_row(one, kind, name) for name in names[:_MOST_CLASSES]]),
            class_="shares",
        )
        if left > 0:
            yield element("p", f"and {left} more: ", element("code", "framesift coverage"))


def _row(one: CoverageSummary, kind: str, name: str) -> Html:
    collected, of = one.collected.share(kind, name)
    seen, seen_of = one.seen.share(kind, name)
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", _bar(collected, of, "bar"), f" {collected:,} of {of:,}"),
        element("td", _bar(seen, seen_of, "bar seen"), f" {share_text(seen, seen_of)}"),
    )


def _bar(number: int, of: int, kind: str) -> Html:
    width = 100 * number / of if of else 0.0
    return element("span", element("span", style=f"width:{width:.1f}%"), class_=kind)
