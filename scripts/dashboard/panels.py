"""A panel of the dashboard, and the kinds of it: numbers, lines, stacked lines, bars and tables.

In an expression, {DEVICE} stands for the chosen devices, and {STREAM} for the chosen streams of these.
"""

from __future__ import annotations

from dataclasses import dataclass

_DEVICE = 'job=~"$job", instance=~"$instance"'
_STREAM = f'{_DEVICE}, stream=~"$stream"'


@dataclass(frozen=True)
class Query:
    """A question to Prometheus, and the name of each line of the answer."""

    text: str
    legend: str = ""

    @property
    def expr(self) -> str:
        """The text as Grafana gets it."""
        return self.text.replace("{DEVICE", f"{{{_DEVICE}").replace("{STREAM", f"{{{_STREAM}")


@dataclass(frozen=True)
class Panel:
    """One panel.

    unit: as Grafana names it. width: of 24. is_trouble: red from 1 on. value: the title of a table's number, None to
    hide it.
    """

    kind: str
    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    width: int = 8
    is_trouble: bool = False
    is_stacked: bool = False
    value: str | None = None


def number(title: str, description: str, text: str, *, is_trouble: bool = True) -> Panel:
    """A number of the first row."""
    return Panel("stat", title, "short", description, (Query(text),), width=3, is_trouble=is_trouble)


def lines(title: str, unit: str, description: str, *queries: Query, width: int = 8) -> Panel:
    """Lines over the time."""
    return Panel("timeseries", title, unit, description, queries, width)


def stack(title: str, unit: str, description: str, *queries: Query, width: int = 8) -> Panel:
    """Areas on top of each other: parts of a sum."""
    return Panel("timeseries", title, unit, description, queries, width, is_stacked=True)


def bars(title: str, unit: str, description: str, query: Query, width: int = 8) -> Panel:
    """Bars of the present moment."""
    return Panel("bargauge", title, unit, description, (query,), width)


def table(title: str, description: str, text: str, *, width: int = 8, value: str | None = None) -> Panel:
    """A line for each series of the present moment. value: title of its number, None to hide it."""
    return Panel("table", title, "short", description, (Query(text),), width, value=value)


OF_STREAM = "{{instance}} {{stream}}"
OF_DEVICE = "{{instance}}"
