"""Metrics are stable: the program, the list in tests/telemetry/metrics.txt and docs/metrics.md say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from every_metric import CLOSED_LISTS, REPORTED, MetricShape, metric_shapes
from framesift.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
FROZEN = (ROOT / "tests" / "telemetry" / "metrics.txt").read_text(encoding="utf-8").splitlines()

NAMES = {"stream", "strategy", "policy", "project", "component"}
OF_BUILDS = {"version", "python", "opencv"}


def rows(columns: int) -> list[list[str]]:
    """The page's table rows of so many columns, without titles."""
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines()]
    return [cells for cells in found if len(cells) == columns and cells[0].startswith("`")]


def words(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_everything_that_can_be_reported_is_looked_at_here() -> None:
    methods = {name for name in vars(Telemetry) if name.startswith(("count_", "record_", "set_"))}
    assert set(REPORTED) == methods, "tests/every_metric.py must report to each method once"


def test_no_metric_vanishes_or_changes_its_type_or_labels() -> None:
    shown = {str(shape) for shape in metric_shapes().values()}
    assert set(FROZEN) <= shown, (
        f"{sorted(set(FROZEN) - shown)}: names, types and labels of metrics are stable: dashboards of others "
        "depend on them. A change needs a new name, the old one for one more version, and a line in CHANGELOG.md"
    )
    assert shown <= set(FROZEN), (
        f"add to tests/telemetry/metrics.txt and to docs/metrics.md: {sorted(shown - set(FROZEN))}"
    )
    assert sorted(FROZEN) == FROZEN


def test_every_metric_is_on_the_page_once_with_its_type_its_labels_and_what_it_is() -> None:
    shown = metric_shapes()
    listed = [MetricShape(words(name)[0], kind, tuple(sorted(words(labels)))) for name, kind, labels, *_ in rows(5)]
    assert sorted(shape.name for shape in listed) == sorted(shown)
    for shape in listed:
        assert shape == shown[shape.name]
    for name, kind, _labels, unit, meaning in rows(5):
        assert meaning, name
        assert bool(unit) is (kind != "gauge" or "build_info" not in name), f"{name} needs a unit"


@pytest.mark.parametrize(("metric", "label"), sorted(set(CLOSED_LISTS) - {("framesift_stream_away", "reason")}))
def test_the_values_of_a_label_are_on_the_page(metric: str, label: str) -> None:
    ((_, _, values),) = [row for row in rows(3) if words(row[0]) == [metric] and words(row[1]) == [label]]
    listed = [word for word in words(values) if word != "fps"]  # a setting, in the explanation of a value
    assert sorted(listed) == sorted(CLOSED_LISTS[metric, label])


def test_every_label_is_a_name_or_has_its_values_on_the_page() -> None:
    listed = {(words(metric)[0], words(label)[0]) for metric, label, _ in rows(3)}
    assert listed == set(CLOSED_LISTS)
    for shape in metric_shapes().values():
        for label in shape.labels:
            assert label in NAMES | OF_BUILDS or (shape.name, label) in listed, (
                f"{shape.name}: which values has {label}?"
            )
