"""The gallery: datapoints with what the model saw drawn over their pictures, and those that were nearly taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any
from urllib.parse import urlencode

import numpy as np

from framesift.decisions import explanation
from framesift.page.html import Html, element, joined
from framesift.page.pictures import DELIVERED, GalleryPage, PageChoice, PageDatapoint
from framesift.page.words import time_text
from framesift.prediction import masks
from framesift.prediction.prediction import Detection, Detections

STATES = ("ready", "sending", "registered", "buried", DELIVERED)
_COLOURS = 7


@dataclass(frozen=True, slots=True)
class GalleryNames:
    """What can be chosen in the gallery."""

    streams: Sequence[str]
    strategies: Sequence[str]
    classes: Sequence[str]


def gallery_view(
    page: GalleryPage, choice: PageChoice, names: GalleryNames, zone: tzinfo, *, is_first: bool, has_key: bool
) -> Html:
    """One page of the gallery. is_first: whether it begins with the newest."""
    tiles = [_tile(one, zone, has_key=has_key) for one in page.shown]
    newest = urlencode(_query(choice))
    older: Html | None = None
    if page.older is not None:
        older = element("a", "older", href=f"/gallery?{urlencode(_query(choice) | {'before': str(page.older)})}")
    return joined(
        element("h2", "Gallery"),
        _filter(page.shown, choice, names),
        None if tiles else element("p", _nothing_text(page, choice, is_first=is_first)),
        element("div", tiles, class_="tiles"),
        element("p", None if is_first else element("a", "the newest", href=f"/gallery?{newest}"), " ", older),
    )


def _nothing_text(page: GalleryPage, choice: PageChoice, *, is_first: bool) -> str:
    if page.older is not None:
        return "None of the datapoints that were looked at is like that; there are older ones."
    if not is_first:
        return "There are no older datapoints like that."
    if choice in (PageChoice(), PageChoice(by_score=True)):
        return "No datapoint is on this machine: none was accepted yet, or all have left it."
    return 'No datapoint on this machine is like that: leave more of the choices above at "every".'


def picture(one: PageDatapoint, *, has_key: bool) -> Html:
    """The picture of a datapoint, with boxes, masks and keypoints over it. has_key: whether pictures may be seen."""
    if not has_key:
        return element("div", "pictures need the key: framesift status --open", class_="nopicture")
    width, height = one.width or 1, one.height or 1
    return element(
        "div",
        element("img", src=f"/pictures/{one.id}.jpg", alt=_said(one), loading="lazy", width=width, height=height),
        element("svg", _marks(one), viewBox=f"0 0 {width} {height}", class_="marks", aria_hidden="true"),
        class_="picture",
    )


def nearly_view(lines: Sequence[dict[str, Any]], zone: tzinfo, thumbnails: Collection[str]) -> Html:
    """The frames that were nearly taken. lines: of the record, the newest first. thumbnails: those that are shown."""
    title = element("h2", "Nearly taken")
    if not lines:
        why = "No frame was nearly taken lately, or nothing is recorded (decisions.max_bytes)."
        return joined(title, element("p", why))
    return joined(title, element("div", [_nearly(line, zone, thumbnails) for line in lines], class_="nearly"))


def _nearly(line: dict[str, Any], zone: tzinfo, thumbnails: Collection[str]) -> Html:
    name = line.get("thumbnail")
    shown = (
        element("img", src=f"/nearly/{name}", alt="the refused frame", loading="lazy") if name in thumbnails else None
    )
    return element(
        "section",
        shown,
        element("strong", f"{line['stream']}, {time_text(line['at'], zone)}"),
        element("p", explanation.reason_text(line.get("reason", "")), class_="warn"),
        element("ul", [element("li", text) for text in explanation.strategy_texts(line)]),
        [
            element("p", "it looks like ", element("a", id, href=f"/datapoints/{id}"))
            for id in explanation.similar_ids(line)
        ],
    )


def _tile(one: PageDatapoint, zone: tzinfo, *, has_key: bool) -> Html:
    score = "" if one.score is None else f" {one.score:.2f}"
    return element(
        "figure",
        element("a", picture(one, has_key=has_key), href=f"/datapoints/{one.id}"),
        element(
            "figcaption",
            element("strong", f"{one.strategy}{score}"),
            f" {one.stream}, {time_text(one.captured_s, zone)}",
            element("br"),
            _said(one),
            " ",
            element("span", one.state, class_="bad mark" if one.state == "buried" else "mark"),
        ),
    )


def _said(one: PageDatapoint) -> str:
    return ", ".join(f"{name} {number}" for name, number in one.classes.items()) or "nothing seen"


def _filter(shown: Sequence[PageDatapoint], choice: PageChoice, names: GalleryNames) -> Html:
    streams = sorted({*names.streams, *(one.stream for one in shown), choice.stream} - {""})
    strategies = sorted({*names.strategies, *(one.strategy for one in shown), choice.strategy} - {""})
    classes = sorted({*names.classes, *(name for one in shown for name in one.classes), choice.class_name} - {""})
    return element(
        "form",
        _select("stream", "stream", streams, choice.stream),
        _select("strategy", "strategy", strategies, choice.strategy),
        _select("class", "class", classes, choice.class_name),
        _select("state", "state", STATES, choice.state),
        element(
            "label",
            "order ",
            element(
                "select",
                element("option", "newest first", value=""),
                element(
                    "option", "highest score first, of the newest thousand", value="score", selected=choice.by_score
                ),
                name="order",
            ),
        ),
        element("button", "show"),
        action="/gallery",
        class_="filter",
    )


def _select(name: str, text: str, values: Sequence[str], chosen: str) -> Html:
    options = [element("option", f"every {text}", value="")]
    options += [element("option", value, value=value, selected=value == chosen) for value in values]
    return element("label", f"{text} ", element("select", options, name=name))


def _query(choice: PageChoice) -> dict[str, str]:
    fields = {
        "stream": choice.stream,
        "strategy": choice.strategy,
        "class": choice.class_name,
        "state": choice.state,
        "order": "score" if choice.by_score else "",
    }
    return {name: value for name, value in fields.items() if value}


def _marks(one: PageDatapoint) -> list[Html]:
    if not isinstance(one.prediction, Detections):
        return []
    places = {name: place % _COLOURS for place, name in enumerate(sorted(one.classes))}
    size = max(one.width, one.height) / 55
    marks: list[Html] = []
    labels: list[tuple[float, float, float]] = []  # left, right and bottom of those that are written
    for found in one.prediction.objects:
        colour = f"class{places[found.class_name]}"
        marks += _outline(found, colour)
        left, top = found.x - found.width / 2, found.y - found.height / 2
        box = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": f"{found.width:.1f}", "height": f"{found.height:.1f}"}
        marks.append(element("rect", **box, class_=f"box {colour}"))
        label = f"{found.class_name} {found.confidence:.2f}"
        x, y = max(0.0, left), max(size, top - size / 4)
        right = x + 0.62 * size * len(label)
        if all(right < begin or x > end or abs(y - bottom) > size for begin, end, bottom in labels):
            labels.append((x, right, y))
            marks.append(element("text", label, x=f"{x:.1f}", y=f"{y:.1f}", font_size=f"{size:.1f}", class_=colour))
        marks += [
            element("circle", cx=f"{k.x:.1f}", cy=f"{k.y:.1f}", r=f"{size / 5:.1f}", class_=colour)
            for k in found.keypoints or ()
        ]
    return marks


def _outline(found: Detection, colour: str) -> list[Html]:
    """The outline of an instance."""
    corners: Sequence[tuple[float, float]] = [(p.x, p.y) for p in found.points or ()]
    if found.rle is not None:
        try:
            polygon = masks.mask_to_polygon(masks.decode_mask(found.rle))
        except ValueError:
            return []
        corners = [] if polygon is None else [(float(x), float(y)) for x, y in np.asarray(polygon)]
    if not corners:
        return []
    return [element("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners), class_=f"mask {colour}")]
