"""Writes the Grafana dashboard, monitoring/grafana.json, from the lists of its panels beside this file.

    PYTHONPATH=scripts .venv/bin/python -m dashboard [FILE]

The dashboard is for many devices at once: what grows with their number is a sum, a count, or the 20 worst of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dashboard.collecting import DECISIONS, FLEET, STREAMS
from dashboard.delivering import BUDGET, PROGRAM, SPOOL, UPLOADS
from dashboard.panels import Panel, Query

FILE = Path(__file__).parents[2] / "monitoring" / "grafana.json"
_DATASOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
_WIDTH = 24  # of Grafana's grid
_HEIGHTS = {"row": 1, "stat": 4}
_HEIGHT = 8
_GREEN_THEN_RED = {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 1}]}
_PLAIN = {"mode": "absolute", "steps": [{"color": "blue", "value": None}]}

_ROWS = (
    ("Fleet", "Is anything wrong, and where?", FLEET),
    ("Streams", "Cameras and files: are they there, and how many of their pictures does the model see?", STREAMS),
    ("Decisions", "Which frames are taken, for which strategy, and why the others are not.", DECISIONS),
    ("Budget", "How much of the limits is used, and by when.", BUDGET),
    ("Spool", "What waits on the devices.", SPOOL),
    ("Uploads", "Deliveries to the sink.", UPLOADS),
    ("Program", "The daemon on its machine.", PROGRAM),
)


def _target(number: int, query: Query, panel: Panel) -> dict[str, Any]:
    instant = panel.kind in ("stat", "table", "bargauge")
    return {
        "datasource": _DATASOURCE,
        "refId": chr(ord("A") + number),
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": "table" if panel.kind == "table" else "time_series",
        "instant": instant,
        "range": not instant,
    }


def _options(panel: Panel) -> dict[str, Any]:
    latest = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind == "stat":
        return {"reduceOptions": latest, "colorMode": "value", "graphMode": "none", "textMode": "value"}
    if panel.kind == "bargauge":
        return {"reduceOptions": latest, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}
    if panel.kind == "state-timeline":
        return {"showValue": "never", "mergeValues": True, "legend": {"displayMode": "list", "placement": "bottom"}}
    if panel.kind == "table":
        return {"showHeader": True, "cellHeight": "sm"}
    return {
        "legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _field_config(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": _GREEN_THEN_RED if panel.is_trouble else _PLAIN}
    if panel.unit == "percentunit" and panel.kind == "bargauge":
        defaults |= {"min": 0, "max": 1}
    if panel.kind == "state-timeline":
        defaults["mappings"] = [
            {
                "type": "value",
                "options": {"0": {"text": "away", "color": "red"}, "1": {"text": "up", "color": "green"}},
            }
        ]
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.is_stacked else "none"}
        defaults["custom"] = {"fillOpacity": 20 if panel.is_stacked else 0, "stacking": stacking, "showPoints": "never"}
    return {"defaults": defaults, "overrides": []}


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": _HEIGHTS.get(panel.kind, _HEIGHT)},
        "targets": [_target(index, query, panel) for index, query in enumerate(panel.queries)],
        "fieldConfig": _field_config(panel),
        "options": _options(panel),
    }
    if panel.kind == "table":
        value = {} if panel.value is None else {"Value": panel.value}
        hidden = {"Time": True, "job": True, "__name__": True, "Value": panel.value is None}
        shown["transformations"] = [
            {"id": "organize", "options": {"excludeByName": hidden, "renameByName": value, "indexByName": {}}}
        ]
    return shown


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    """A choice of some or all.

    All is one pattern where there may be hundreds of names: a list of them would be longer than a query may be. Jobs
    are few, and a pattern would take in those of other programs.
    """
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": None if name == "job" else ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, description, row in _ROWS:
        grid = {"x": 0, "y": y, "w": _WIDTH, "h": _HEIGHTS["row"]}
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "description": description,
                "collapsed": False,
                "gridPos": grid,
                "panels": [],
            }
        )
        y += _HEIGHTS["row"]
        x = height = 0
        for panel in row:
            if x + panel.width > _WIDTH:
                x, y, height = 0, y + height, 0
            panels.append(_panel(len(panels) + 1, panel, x, y))
            x, height = x + panel.width, max(height, _HEIGHTS.get(panel.kind, _HEIGHT))
        y += height
    return {
        "__inputs": [
            {
                "name": "DS_PROMETHEUS",
                "label": "Prometheus",
                "description": "the server that scrapes the devices",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0"},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
        ],
        "title": "framesift",
        "uid": "framesift",
        "description": "What framesift devices read, keep and deliver, and which of them need somebody.",
        "tags": ["framesift"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [
                _variable("job", "Job", "label_values(framesift_build_info, job)"),
                _variable("instance", "Device", 'label_values(framesift_build_info{job=~"$job"}, instance)'),
                _variable(
                    "stream",
                    "Stream",
                    'label_values(framesift_stream_up{job=~"$job", instance=~"$instance"}, stream)',
                ),
            ]
        },
        "panels": panels,
    }


def main(file: Path) -> None:
    """Write the dashboard."""
    file.write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
