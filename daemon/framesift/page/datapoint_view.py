"""The page of one datapoint: its picture, why it was taken, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from framesift.decisions import explanation
from framesift.page.gallery_view import picture
from framesift.page.html import Html, element, joined
from framesift.page.pictures import DELIVERED, PageDatapoint
from framesift.page.words import time_text


def datapoint_view(
    id: str, one: PageDatapoint | None, lines: Sequence[dict[str, Any]], zone: tzinfo, *, has_key: bool
) -> Html:
    """Everything about a datapoint. one: None if it is not on this machine any more. lines: of the record."""
    decisions = [line for line in lines if line["type"] == "decision"]
    outcomes = [line for line in lines if line["type"] == "outcome"]
    parts: list[Html | None] = [element("h2", f"Frame {id}" if one is None else f"Datapoint {id}")]
    if one is None:
        why = explanation.missing_picture(decisions[-1], outcomes) if decisions else explanation.PICTURE_GONE
        parts.append(element("p", _sentence(why)))
    else:
        parts.append(picture(one, has_key=has_key))
        why = f": {one.why}" if one.why else ""
        parts.append(element("p", element("span", one.state, class_="mark"), why))
        parts.append(_hands(one))
    parts.append(element("h3", "Why"))
    for line in decisions:
        texts = explanation.explain(line, outcomes, lambda at_s: time_text(at_s, zone))
        parts.append(element("pre", "\n".join(texts), class_="explanation"))
        for similar in explanation.similar_ids(line):
            parts.append(element("p", "it looks like ", element("a", similar, href=f"/datapoints/{similar}")))
    if not decisions:
        parts.append(element("p", "The record does not go back to this decision, or nothing is recorded."))
    return joined(parts)


def unknown_datapoint_view(id: str) -> Html:
    """For an id that nothing is known of."""
    return joined(
        element("h2", f"Datapoint {id}"),
        element(
            "p", "No datapoint with this id is on this machine, and the decision record does not have it (any more)."
        ),
        element("p", "Those that are here are in the ", element("a", "gallery", href="/gallery"), "."),
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _hands(one: PageDatapoint) -> Html | None:
    """The buttons. What is delivered can't be dropped any more."""
    if one.state == DELIVERED:
        return None
    buttons = [_button("drop", "/datapoints/drop", one.id, "Drop this datapoint for good, before it is delivered?")]
    if one.state != "sending":
        buttons.append(_button("try again now", "/datapoints/retry", one.id, None))
    return element("p", buttons, class_="hands")


def _button(text: str, path: str, id: str, question: str | None) -> Html:
    return element("button", text, data_post=path, data_ids=id, data_question=question, type="button")
