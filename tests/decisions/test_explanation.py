"""A decision in words: every number of the line is said, and what was in the way."""

from __future__ import annotations

from typing import Any

import pytest

from framesift.decisions.explanation import (
    PICTURE_GONE,
    explain,
    explain_counts,
    missing_picture,
    reason_text,
    similar_ids,
)
from framesift.frame import RefusalReason

LINE: dict[str, Any] = {
    "type": "decision",
    "at": 12.5,
    "stream": "gate",
    "frame": 7,
    "epoch": 0,
    "outcome": "refused",
    "reason": "near_duplicate",
    "classes": {"car": 2, "bus": 1},
    "confidence": [0.4, 0.9],
    "strategies": [
        {"name": "all", "matched": False, "what": "draw", "value": 0.5, "relation": "<", "bound": 0.25},
        {
            "name": "unsure",
            "matched": False,
            "what": "uncertainty",
            "value": 0.8,
            "relation": ">=",
            "bound": 0.5,
            "draw": 0.1,
            "probability": 0.2,
            "similar": {"id": "a0", "distance": 0.004, "threshold": 0.0125},
        },
    ],
    "quota": {"unsure": {"hourly": [3, 20], "daily": [40, 50]}},
}


def words(line: dict[str, Any], *outcomes: dict[str, Any]) -> list[str]:
    return list(explain(line, outcomes, lambda at_s: f"<{at_s}>"))


def test_a_near_duplicate_is_explained_with_all_numbers() -> None:
    assert words(LINE) == [
        "gate, frame 7, captured <12.5>",
        "refused: it looks like a picture that is there already (near_duplicate)",
        "the model saw car 2, bus 1; confidence 0.4 to 0.9",
        "  all did not want it: draw 0.5, needs less than 0.25",
        "  unsure would have wanted it, but may not take it: uncertainty 0.8, needs at least 0.5; drew 0.1, needs less "
        "than 0.2; looks like a0 (distance 0.004; up to 0.0125 is alike)",
        "  unsure had used 3 of 20 in the hour, 40 of 50 in the day",
    ]
    assert similar_ids(LINE) == ("a0",)


def test_a_held_frame_is_told_to_its_end() -> None:
    held = {**LINE, "outcome": "held", "id": "a1", "strategy": "unsure", "media_s": 2.5, "strategies": [], "quota": {}}
    turn = {"type": "outcome", "at": 60.0, "id": "a1", "outcome": "accepted", "strategy": "unsure"}
    assert words({**held, "classes": {}}, turn) == [
        "gate, frame 7, 2.500 s into the file, captured <12.5>, id a1",
        "held by unsure until a turn is due",
        "<60.0>: accepted for unsure",
        "the model saw nothing",
    ]


@pytest.mark.parametrize(
    ("outcome", "strategy", "said"),
    [
        ("held", "baseline", "it got no turn: another frame of its interval was drawn in its place"),
        ("waits", "baseline", "it got no turn: another frame of its interval was drawn in its place"),
        ("held", "unsure", "it got no turn: a better frame took its place"),
        ("waits", "unsure", "the turns are kept for better frames"),
    ],
)
def test_a_held_frame_that_got_no_turn_is_told_why_by_how_its_strategy_chooses(
    outcome: str, strategy: str, said: str
) -> None:
    held = {**LINE, "outcome": outcome, "id": "a1", "strategy": strategy}
    dropped = {"type": "outcome", "at": 60.0, "id": "a1", "outcome": "refused", "reason": "outscored"}
    told = words(held, dropped)[2]
    assert told.startswith(f"<60.0>: refused: {said}")
    assert told.endswith("(outscored)")
    assert words(held, {**dropped, "reason": "limit"})[2] == "<60.0>: refused: the limits are reached (limit)"


def test_why_a_picture_is_not_here_depends_on_what_became_of_the_frame() -> None:
    held, waits, accepted = ({**LINE, "outcome": outcome} for outcome in ("held", "waits", "accepted"))
    refused = {"type": "outcome", "at": 60.0, "outcome": "refused", "reason": "outscored"}
    taken = {"type": "outcome", "at": 60.0, "outcome": "accepted", "strategy": "unsure"}
    assert missing_picture(accepted, ()) == missing_picture(held, (taken,)) == PICTURE_GONE
    assert missing_picture(held, (refused,)) == "it was refused, and so its picture was thrown away"
    assert (
        missing_picture(held, ())
        == missing_picture(waits, ())
        == "it is no datapoint yet, and so its picture is not shown"
    )


def test_a_known_picture_and_a_neighbour_are_named() -> None:
    known = {"name": "unsure", "matched": False, "similar": {"id": "", "distance": 0.0, "threshold": 0.1}}
    neighbour = {**LINE, "outcome": "waits", "chosen_id": "a9", "strategies": [known]}
    said = words(neighbour)
    assert "collected beside a9, as its neighbour" in said
    assert "it had quota, and waited for what its picture needed" in said
    assert any("looks like a known picture" in line for line in said)
    assert similar_ids(neighbour) == ()


def test_counts_are_told_by_reason_and_strategy() -> None:
    line = {
        "type": "counts",
        "from": 1.0,
        "to": 2.0,
        "stream": "gate",
        "matched": {"unsure": 2},
        "accepted": {"unsure": 1},
        "refused": {"limit": 1, "no_match": 8},
        "best": {"unsure": {"what": "uncertainty", "value": 0.7, "relation": ">=", "bound": 0.5}},
    }
    assert list(explain_counts(line, lambda at_s: f"<{at_s}>")) == [
        "gate, <1.0> to <2.0>",
        "  1 accepted for unsure",
        "  2 wanted by unsure",
        "  1 refused: the limits are reached (limit)",
        "  8 refused: no strategy wanted it (no_match)",
        "  best of unsure: uncertainty 0.7, needs at least 0.5",
    ]


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_reason_has_words(reason: RefusalReason) -> None:
    assert reason_text(reason.value) != reason.value
    assert reason_text(reason.value).endswith(f"({reason.value})")
