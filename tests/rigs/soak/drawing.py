"""The drawing of a soak: panels one below the other over the hours, with a line for each fault, as an SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rigs.soak.journal import Record

_WIDTH, _LEFT, _RIGHT = 860, 70, 20
_PANEL, _GAP, _TOP = 120, 34, 30
_MOST_POINTS = 700  # of a curve
_PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("memory in MiB", (("rss_mib", "of the daemon", "#0072b2"), ("all_mib", "of all its processes", "#d55e00"))),
    ("file descriptors, threads", (("fds", "descriptors", "#0072b2"), ("threads", "threads", "#009e73"))),
    ("datapoints in the spool", (("in_spool", "in the spool", "#0072b2"),)),
    ("datapoints since the beginning", (("accepted", "accepted", "#0072b2"), ("at_platform", "delivered", "#d55e00"))),
)


def drawing(records: Sequence[Record]) -> str:
    """Faults are grey lines, starts of a daemon black ones, and what did not fit red ones."""
    hours = max((record["hours"] for record in records), default=0.0) or 1.0
    height = _TOP + len(_PANELS) * (_PANEL + _GAP) + 10

    def x(at_h: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_h / hours

    def parts() -> Iterator[str]:
        size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
        yield "<title>A soak: memory, descriptors, spool and deliveries over hours, with faults</title>"
        yield f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
        yield from _marks(records, x, height)
        for number, (title, curves) in enumerate(_PANELS):
            yield from _panel(records, title, curves, _TOP + number * (_PANEL + _GAP), x)
        for part in range(5):
            label = f"{hours * part / 4:.1f} h"
            yield f'<text x="{x(hours * part / 4):.0f}" y="{height - 8}" text-anchor="middle">{label}</text>'
        yield "</svg>"

    return "\n".join(parts()) + "\n"


def _marks(records: Sequence[Record], x: object, height: int) -> Iterator[str]:
    assert callable(x)
    colours = {"fault": "#cccccc", "daemon": "#000000", "violation": "#ff0000"}
    for record in records:
        if record["what"] in colours:
            at = x(record["hours"])
            said = escape(str(record.get("kind", record.get("text", "start"))))
            yield (
                f'<path d="M{at:.1f},{_TOP} V{height - _GAP}" stroke="{colours[record["what"]]}" stroke-width="0.6">'
                f"<title>{said}</title></path>"
            )


def _panel(
    records: Sequence[Record], title: str, curves: Sequence[tuple[str, str, str]], top: int, x: object
) -> Iterator[str]:
    assert callable(x)
    audits = [record for record in records if record["what"] == "audit"]
    most = max((record[name] for record in audits for name, _, _ in curves if name in record), default=1) or 1
    bottom = top + _PANEL
    yield f'<path d="M{_LEFT},{top} V{bottom} H{_WIDTH - _RIGHT}" fill="none" stroke="black"/>'
    yield f'<text x="{_LEFT}" y="{top - 6}" font-weight="bold">{escape(title)}</text>'
    for part in (0, 1, 2):
        y = bottom - _PANEL * part / 2
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{most * part / 2:.0f}</text>'
    for number, (name, label, colour) in enumerate(curves):
        points = [(record["hours"], record[name]) for record in audits if name in record]
        step = max(1, len(points) // _MOST_POINTS)
        line = " ".join(f"{x(at_h):.1f},{bottom - _PANEL * value / most:.1f}" for at_h, value in points[::step])
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        where = _LEFT + 260 + 190 * number
        yield f'<text x="{where}" y="{top - 6}" fill="{colour}">{escape(label)}</text>'
