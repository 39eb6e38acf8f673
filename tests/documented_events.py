"""docs/events.md as a table: which events there are, at which levels, with which fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "events.md"
OF_EVERY_LINE = {"time", "level", "event"}


@dataclass(frozen=True)
class DocumentedEvent:
    """One line of the page. always: the fields of every line of the event."""

    levels: frozenset[str]
    fields: frozenset[str]
    always: frozenset[str]


@cache
def documented_events() -> Mapping[str, DocumentedEvent]:
    """The events of the page, by name."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`"):
            fields, sometimes = re.findall(r"`(\w+)`", cells[3]), re.findall(r"\(`(\w+)`\)", cells[3])
            always = frozenset(fields) - frozenset(sometimes)
            found[cells[0].strip("`")] = DocumentedEvent(frozenset(cells[1].split(", ")), frozenset(fields), always)
    return found


def undocumented(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """What lines of the log have that the page does not say."""
    found = []
    for line in lines:
        event = documented_events().get(line["event"])
        fields = set(line) - OF_EVERY_LINE - {"repeated"}
        if event is None:
            found.append(f"the event {line['event']}")
        elif line["level"] not in event.levels or not event.always <= fields <= event.fields:
            found.append(f"{line['event']} at {line['level']} with {sorted(fields)}")
    return found
