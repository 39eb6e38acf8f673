"""The examples of docs/policy.md are policies, and the numbers that it names are those of the schema."""

from __future__ import annotations

import json
import re
import textwrap
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from framesift.policy.policy import Policy, parse
from framesift.strategies.hours import Schedule
from sampling_data import options

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")


def examples() -> list[dict[str, Any]]:
    """The indented blocks that are JSON objects."""
    blocks = [textwrap.dedent(block) for block in re.findall(r"\n\n((?: {4}.*\n|\n(?= {4}))+)", PAGE)]
    return [json.loads(block) for block in blocks if block.startswith("{")]


def test_the_whole_policy_is_one_and_the_strategies_on_the_page_are_too() -> None:
    whole, balanced, paced, strategy, beside, *others = examples()
    assert len(parse(json.dumps(whole), "policy.md").sampling_strategies) == 3
    assert options(**balanced).class_balance
    assert options(**paced).pacing is not None
    gate = options(**strategy)
    assert gate.zones is not None
    assert gate.inhibit is not None
    assert options(**beside).neighbours is not None
    assert [(one.type, one.needs_video) for one in (options(**other) for other in others)] == [
        ("temporal_inconsistency", True),
        ("novelty", False),
        ("track_end", True),
    ]


def test_the_example_takes_frames_until_six_on_sunday() -> None:
    gate = options(**examples()[3])
    schedule = Schedule(gate.hours, gate.days, ZoneInfo("UTC"))
    sunday_s = datetime.fromisoformat("2026-09-13T00:00:00+00:00").timestamp()
    assert [hour for hour in range(48) if schedule.is_open(sunday_s + 3600 * hour)] == [0, 1, 2, 3, 4, 5]


def test_the_page_names_the_most_of_each_list() -> None:
    fields = Policy.model_json_schema()["$defs"]["RandomOptions"]["properties"]
    zones, inhibit, hours = (fields[key]["anyOf"][0] for key in ("zones", "inhibit", "hours"))
    corners = zones["items"]
    row = f"up to {zones['maxItems']} polygons of {corners['minItems']} to {corners['maxItems']} corners"
    for words in (row, f"up to {inhibit['maxItems']} conditions", f"up to {hours['maxItems']} spans"):
        assert words in PAGE
