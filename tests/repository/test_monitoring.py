"""monitoring/: every metric and label in the dashboard and the alerts exists, and promtool accepts and tests the rules.

Where promtool is missing (Debian's package `prometheus`), its tests fail; they are not skipped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from every_metric import CLOSED_LISTS, metric_shapes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
RULE_TESTS = [FOLDER / "alerts.test.yml", FOLDER / "alerts_days.test.yml"]
OF_PROMETHEUS = {"job", "instance"}  # labels that it gives to all that it scrapes
METRIC = re.compile(r"\b(?:framesift|process)_\w+|\bup\b")
SELECTOR = re.compile(rf"({METRIC.pattern})(?:{{(.*?)}})?")
MATCHER = re.compile(r"""(\w+)\s*(=~|!~|!=|=)\s*["'](.*?)["'](?:, |$)""")
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def shown_panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """(where it stands, expression) of the dashboard's panels and choices, the alerts, and the texts of the alerts."""
    for panel in shown_panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield variable["name"], variable["definition"]
    for rule in RULES:
        yield rule["alert"], rule["expr"]
        for text in re.findall(r'printf "(.*?)" ', rule["annotations"]["description"]):
            yield f"{rule['alert']} description", text


def labels_of(metric: str) -> set[str]:
    """The labels that the program gives to a metric. Raises KeyError if it has no such metric."""
    shapes = metric_shapes()
    part = re.fullmatch(r"(\w+)_(bucket|sum|count)", metric)
    if part and part[1] in shapes and shapes[part[1]].type == "histogram":
        return {*shapes[part[1]].labels, *(["le"] if part[2] == "bucket" else [])}
    return set() if metric == "up" else set(shapes[metric].labels)


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_every_metric_label_and_value_in_an_expression_exists(place: str, expression: str) -> None:
    found = SELECTOR.findall(expression)
    assert found, place
    known = set(OF_PROMETHEUS)
    for metric, matchers in found:
        labels = labels_of(metric) | OF_PROMETHEUS
        known |= labels
        named = MATCHER.findall(matchers)
        assert ", ".join(f"{label}{sign}" for label, sign, _ in named) == re.sub(r"""\s*["'].*?["']""", "", matchers)
        for label, _, value in named:
            assert label in labels, f"{metric} has no label {label}"
            if (metric, label) in CLOSED_LISTS:
                assert set(value.split("|")) <= {*CLOSED_LISTS[metric, label]}, f"{label} of {metric} is never {value}"
    for names in GROUPING.findall(expression):
        assert set(re.findall(r"\w+", names)) <= known, f"{place} groups by a label that none of its metrics has"


def test_the_legends_of_the_dashboard_name_labels_that_the_answer_has() -> None:
    for panel in shown_panels():
        for target in panel["targets"]:
            expr = target["expr"]
            known = OF_PROMETHEUS.union(*(labels_of(metric) for metric in METRIC.findall(expr)))
            grouped = re.search(r"\b(?:sum|count|avg|max) by \(([^)]*)\)", expr)
            kept = set(re.findall(r"\w+", grouped[1])) if grouped else known
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, panel["title"]


def test_every_panel_has_an_id_of_its_own_a_title_a_unit_and_a_description() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(set(titles)) == len(titles)
    for panel in DASHBOARD["panels"]:
        assert len(panel["description"]) > 20, panel["title"]
    for panel in shown_panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def test_no_panel_lies_over_another_one_or_beside_the_grid() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_the_dashboard_asks_for_its_datasource_once_and_everything_uses_it() -> None:
    (asked,) = DASHBOARD["__inputs"]
    assert (asked["name"], asked["pluginId"]) == ("DS_PROMETHEUS", "prometheus")
    used = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    for panel in shown_panels():
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [used] * (
            1 + len(panel["targets"])
        )
    assert [variable["datasource"] for variable in DASHBOARD["templating"]["list"]] == [used] * 3


def test_every_panel_follows_the_choice_of_devices_and_of_streams_where_it_has_some() -> None:
    for panel in shown_panels():
        for target in panel["targets"]:
            for metric, matchers in SELECTOR.findall(target["expr"]):
                chosen = ['job=~"$job"', 'instance=~"$instance"']
                if "stream" in labels_of(metric):
                    chosen.append('stream=~"$stream"')
                assert matchers.split(", ")[: len(chosen)] == chosen, panel["title"]


def test_the_committed_dashboard_is_what_the_script_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dashboard", str(tmp_path / "grafana.json")]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")})
    again = "PYTHONPATH=scripts .venv/bin/python -m dashboard"
    assert (tmp_path / "grafana.json").read_text() == (FOLDER / "grafana.json").read_text(), f"run {again}"


def promtool(*words: str | Path) -> str:
    """What it prints; fails the test if it doesn't accept."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", FOLDER / "alerts.yml")


def test_promtool_accepts_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\[\$__\w+\]", "[1h]", expr)}
        for number, expr in enumerate(target["expr"] for panel in shown_panels() for target in panel["targets"])
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: str(file.name))
def test_the_alerts_fire_when_they_should_and_not_otherwise(file: Path) -> None:
    promtool("test", "rules", file)


def test_each_alert_has_a_case_in_which_it_fires_one_in_which_it_is_too_early_and_a_device_that_is_well() -> None:
    cases = {case["name"]: case for file in RULE_TESTS for case in yaml.safe_load(file.read_text())["tests"]}
    assert sorted(cases) == sorted(rule["alert"] for rule in RULES)
    for rule in RULES:
        early, late = cases[rule["alert"]]["promql_expr_test"]
        assert early["expr"] == late["expr"] == f'ALERTS{{alertname="{rule["alert"]}", alertstate="firing"}}'
        assert early["exp_samples"] == []
        (fired,) = late["exp_samples"]
        devices = {re.findall(r'instance="(.*?)"', line["series"])[0] for line in cases[rule["alert"]]["input_series"]}
        assert {"bad"} < devices
        labels = dict(re.findall(r'(\w+)="(.*?)"', fired["labels"]))
        assert labels["instance"] == "bad"
        texts = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", texts)) <= set(labels), f"a text of {rule['alert']} names a label"


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_each_alert_says_what_happened_what_to_do_and_where_to_read(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("Framesift")
    assert rule["labels"]["severity"] in ("page", "ticket")
    summary, description, runbook = (rule["annotations"][name] for name in ("summary", "description", "runbook"))
    assert "$labels.instance" in summary
    assert len(description) > 80
    assert "\n" not in description
    page, _, anchor = runbook.partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert not anchor or anchor in anchors, runbook


def test_the_page_about_watching_devices_names_every_alert() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    section = text[text.index("## Watching many devices") :].split("\n## ")[0]
    listed = dict(line.strip("|").rsplit("|", 1)[::-1] for line in section.splitlines() if line.startswith("| `Fr"))
    for severity in ("page", "ticket"):
        of_it = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == severity}
        assert set(re.findall(r"`(\w+)`", listed[f" `{severity}` "])) == of_it
