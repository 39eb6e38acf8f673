"""Finding lines of a decision record: those of a datapoint, those of a moment of a stream, or why there are none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framesift.decisions.last_hour import LEAST_DOWN_S
from framesift.decisions.record_files import read_lines

Line = dict[str, Any]

_NEAR_S = 1.5  # frames so far from a moment belong to it
# The time in a line at which a daemon surely ran; a decision has that of a capture, which may be of an earlier run.
_RAN_AT = {"counts": "from", "unrecorded": "from", "down": "to", "stop": "at", "outcome": "at"}
_WRITTEN_WITHIN_S = 120.0  # lines are in the order of writing; a frame is decided on some time after its capture


@dataclass(frozen=True, slots=True)
class RecordSpan:
    """What a record has. oldest_s: Unix time of its oldest line, None if it is empty."""

    oldest_s: float | None
    streams: frozenset[str]


@dataclass(frozen=True, slots=True)
class QuietMoment:
    """Why a stream has no lines of a moment.

    off: the line that says that no daemon ran then, of the type down or stop; None where one may have run.
    before_s, after_s: Unix time until which frames were counted before it, and from which after it, about to a second;
    None where there were none.
    """

    off: Line | None
    before_s: float | None
    after_s: float | None


def find_datapoint(folder: Path, id: str) -> list[Line]:
    """The decision on a datapoint, and what became of it, the oldest first; empty if the record has none."""
    found: list[Line] = []
    for line in read_lines(folder, containing=id):
        if line.get("id") == id:
            found.append(line)
            if line["type"] == "decision":
                break
    return found[::-1]


def find_moment(folder: Path, stream: str, at_s: float) -> list[Line]:
    """What was decided on a stream at about a moment (Unix time), and what became of held frames, the oldest first."""
    found: list[Line] = []
    outcomes: list[Line] = []
    for line in read_lines(folder, containing=stream):
        if line.get("stream") != stream:
            continue
        if line["type"] == "outcome":
            outcomes.append(line)
        elif (line["type"] == "counts" and line["from"] <= at_s < line["to"]) or (
            line["type"] == "decision" and abs(line["at"] - at_s) <= _NEAR_S
        ):
            found.append(line)
        elif line["type"] == "counts" and line["to"] < at_s - _WRITTEN_WITHIN_S:
            break
    ids = {line["id"] for line in found if line.get("id")}
    return found[::-1] + [line for line in outcomes[::-1] if line.get("id") in ids]


def find_quiet_moment(folder: Path, stream: str, at_s: float) -> QuietMoment:
    """What the record has around a moment (Unix time) of which `find_moment` found nothing."""
    off: Line | None = None
    before_s: float | None = None
    after_s: float | None = None
    began_s = math.inf  # of what was written after the line at hand, the earliest
    for line in read_lines(folder):
        if line["type"] == "down" and line["from"] <= at_s < line["to"]:
            off = line
        elif line["type"] == "stop" and off is None:
            # Without a line of the type down, the next run began within a minute.
            until_s = math.inf if began_s == math.inf else min(began_s, line["at"] + LEAST_DOWN_S)
            if line["at"] <= at_s < until_s:
                off = line
        if line["type"] in _RAN_AT:
            began_s = min(began_s, line[_RAN_AT[line["type"]]])
        if line["type"] == "counts" and line.get("stream") == stream:
            if line["from"] > at_s:
                after_s = line["from"]
            elif before_s is None:
                before_s = line["to"]
            if line["to"] < at_s - _WRITTEN_WITHIN_S:
                break
    return QuietMoment(off, before_s, after_s)


def span(folder: Path) -> RecordSpan:
    """What the record has. Reads all of it."""
    oldest_s: float | None = None
    streams: set[str] = set()
    for line in read_lines(folder):
        oldest_s = line["from"] if "from" in line else line.get("at", oldest_s)
        if "stream" in line:
            streams.add(line["stream"])
    return RecordSpan(oldest_s, frozenset(streams))
