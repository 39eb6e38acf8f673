"""The timeline of one policy as a drawing: when frames came, matched and were accepted, when limits were full."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from framesift.simulation.outcome import PolicyOutcome

_LEGEND = {
    "accepted": "accepted",
    "matched": "matched",
    "seen": "seen",
    "full": "an hourly or daily limit is full",
}
_BINS = 120
_WIDTH, _TOP, _BOTTOM = 720.0, 62.0, 50.0
_LABELS = 5
_SHORT_S, _DAY_S = 600.0, 86_400.0


def timeline(outcome: PolicyOutcome, from_s: float, until_s: float) -> str:
    """The drawing as HTML. from_s, until_s: Unix times of its ends; policies that are compared have the same.

    Above the line accepted frames, below it those that came and that matched, each with a scale of its own.
    """
    length_s = max(1.0, until_s - from_s)
    number = min(_BINS, max(1, round(length_s / outcome.over_time.step_s)))
    bins = outcome.over_time.binned(from_s, from_s + length_s, number)
    most_seen = max(1, *(seen for seen, _, _ in bins))
    parts = [
        _bars([seen for seen, _, _ in bins], most_seen, _BOTTOM, down=True, colour="seen"),
        _bars([matched for _, matched, _ in bins], most_seen, _BOTTOM, down=True, colour="matched"),
        _bars([accepted for *_, accepted in bins], None, _TOP - 12, down=False, colour="accepted"),
    ]
    full = [at_s for limit in outcome.limits if limit.window != "minutely" for at_s in limit.full_at_s]
    places = [min(max(4.0, (at_s - from_s) / length_s * _WIDTH), _WIDTH - 4.0) for at_s in full]
    parts += [f'<path d="M{place:.1f} 9l-4-8h8z" fill="var(--full)"/>' for place in places]
    parts.append(f'<line x1="0" x2="{_WIDTH:.0f}" y1="{_TOP}" y2="{_TOP}" stroke="var(--line)"/>')
    zone = ZoneInfo(outcome.policy.time_zone)
    form = "%H:%M:%S" if length_s < _SHORT_S else "%H:%M" if length_s <= 1.5 * _DAY_S else "%d %b"
    times = [from_s + length_s * number / (_LABELS - 1) for number in range(_LABELS)]
    labels = "".join(f"<span>{datetime.fromtimestamp(at_s, zone):{form}}</span>" for at_s in times)
    colours = [colour for colour in _LEGEND if full or colour != "full"]
    legend = "".join(f'<span><i style="background:var(--{one})"></i>{_LEGEND[one]}</span>' for one in colours)
    return (
        f'<svg class="time" viewBox="0 0 {_WIDTH:.0f} {_TOP + _BOTTOM:.0f}" role="img">{"".join(parts)}</svg>'
        f'<div class="ticks">{labels}</div><div class="legend">{legend}</div>'
    )


def _bars(counts: Sequence[int], most: int | None, height: float, *, down: bool, colour: str) -> str:
    """Bars of one colour, as one path. most: which count is as high as can be; None: the largest one."""
    largest = most or max(1, *counts)
    width = _WIDTH / len(counts)
    steps = []
    for place, count in enumerate(counts):
        if count:
            size = max(1.5, height * count / largest)  # where anything is, one sees it
            top = _TOP if down else _TOP - size
            steps.append(f"M{place * width:.1f} {top:.1f}h{width - 0.8:.1f}v{size:.1f}h{0.8 - width:.1f}z")
    return f'<path d="{"".join(steps)}" fill="var(--{colour})"/>'
