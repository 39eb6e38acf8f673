"""The figures of a simulation as JSON data: what `--json` prints, and what the table and the report show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from framesift.simulation.contact_pictures import ContactPicture, Place, bytes_of_image
from framesift.simulation.outcome import ChosenFrame, Coverage, LimitOutcome, PolicyOutcome

# What it takes a person to check and correct one box that a model has drafted.
SECONDS_PER_BOX = 10.0


def figures_of(
    outcome: PolicyOutcome, pictures: Mapping[Place, ContactPicture], *, seconds_per_box: float
) -> dict[str, Any]:
    """All that is to be said of one policy. pictures: of the frames that are shown. Times are ISO 8601 in its zone."""
    zone = ZoneInfo(outcome.policy.time_zone)
    size = bytes_of_image(outcome, pictures)
    return {
        "policy": outcome.name,
        "frames": outcome.frames,
        "first": iso(outcome.first_s, zone),
        "last": iso(outcome.last_s, zone),
        "matched": dict(outcome.matched),
        "accepted": dict(outcome.accepted),
        "images": outcome.images,
        "refused": dict(outcome.refused),
        "held_at_the_end": outcome.held,
        "limits": [_limit(limit, zone) for limit in outcome.limits],
        "images_a_day": round(outcome.images_a_day, 2),
        "bytes_a_day": None if size is None else round(outcome.images_a_day * size[0]),
        "bytes_are_estimated": None if size is None else size[1],
        "boxes": outcome.boxes,
        "labelling_minutes": round(outcome.boxes * seconds_per_box / 60.0, 1),
        "labelling_minutes_a_day": round(outcome.boxes * seconds_per_box / 60.0 / outcome.days, 1),
        "alike": None if outcome.alikeness is None else asdict(outcome.alikeness),
        "classes": _coverage(outcome.classes),
        "hours": _coverage(outcome.hours),
        "streams": _coverage(outcome.streams),
        "notes": list(outcome.notes),
        "chosen": [_chosen(one, zone) for one in outcome.chosen],
    }


def iso(at_s: float, zone: ZoneInfo) -> str:
    """A Unix time as ISO 8601, to the second."""
    return datetime.fromtimestamp(at_s, zone).isoformat(timespec="seconds")


def limit_words(limit: Mapping[str, Any]) -> str:
    """When a limit was full, in a few words. limit: as in the figures."""
    if limit["value"] == 0:
        return "lets nothing through"
    if not limit["full"]:
        return "never full"
    first = limit["full_at"][0][11:16]
    if limit["window"] == "daily":
        times = sorted(at[11:16] for at in limit["full_at"])
        if limit["full"] == 1:
            return f"full at {first}"
        when = f"at {first}" if times[0] == times[-1] else f"between {times[0]} and {times[-1]}"
        return f"full on {limit['full']} days, {when}"
    unit = "minute" if limit["window"] == "minutely" else "hour"
    return f"full in {limit['full']} {unit}{'' if limit['full'] == 1 else 's'}, first at {first}"


def _limit(limit: LimitOutcome, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "strategy": limit.strategy,
        "window": limit.window.value,
        "value": limit.value,
        "windows": limit.windows,
        "full": limit.full,
        "full_at": [iso(at_s, zone) for at_s in limit.full_at_s],
    }


def _chosen(chosen: ChosenFrame, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "stream": chosen.stream,
        "frame": chosen.number,
        "captured_at": datetime.fromtimestamp(chosen.at_s, zone).isoformat(timespec="milliseconds"),
        "strategy": chosen.strategy,
        "score": chosen.score,
    }


def _coverage(coverage: Coverage) -> dict[str, Any]:
    return {
        "seen": dict(coverage.seen),
        "collected": dict(coverage.collected),
        "missing": list(coverage.missing),
    }
