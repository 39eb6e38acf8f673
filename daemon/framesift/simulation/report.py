"""The report of a simulation: one HTML file with everything in it, policies side by side."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from framesift.config.byte_sizes import bytes_text
from framesift.prediction.prediction import Classification, Detections, MultiLabel, Prediction
from framesift.simulation.contact_pictures import ContactPicture, Place, shown
from framesift.simulation.figures import limit_words
from framesift.simulation.outcome import ChosenFrame, PolicyOutcome
from framesift.simulation.timeline import timeline

_LEAST_SHOWN = 0.1  # confidence of a box that is drawn
_MOST_BOXES = 40
_MOST_LISTED = 12
_STYLE = """
:root { color-scheme: light dark; --paper: #f7f6f4; --card: #fff; --ink: #23262b; --faint: #6a7078; --line: #dcdfe3;
  --accepted: #0072b2; --matched: #e69f00; --seen: #c3c8ce; --full: #c8401f; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1e2125; --ink: #e7e9ec; --faint: #9aa1a9;
  --line: #33383e; --accepted: #56b4e9; --matched: #e6a940; --seen: #464d55; --full: #ff8a65; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 20px; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 0 0 10px; overflow-wrap: anywhere; }
h3 { font-size: 13px; font-weight: 600; color: var(--faint); margin: 18px 0 6px; }
p { margin: 0 0 16px; color: var(--faint); }
main { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px; min-width: 0; }
dl.big { display: grid; grid-template-columns: repeat(auto-fit, minmax(105px, 1fr)); gap: 14px; margin: 0; }
dl.big div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
dl.big dt { font-size: 12px; color: var(--faint); } dl.big dd { margin: 0; font-size: 20px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
td, th { text-align: left; padding: 3px 10px 3px 0; font-weight: 400; vertical-align: top; overflow-wrap: break-word; }
td:last-child, th:last-child { padding-right: 0; }
th { color: var(--faint); font-size: 12px; } td.limits { color: var(--faint); font-size: 12px; padding-bottom: 8px; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.missing { color: var(--full); }
svg.time { width: 100%; height: auto; display: block; }
.ticks { display: flex; justify-content: space-between; font-size: 11px; color: var(--faint); margin-bottom: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 12px; color: var(--faint); }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px; }
.sheet { display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); }
figure { margin: 0; min-width: 0; }
figure div { position: relative; background: var(--seen); border-radius: 4px; overflow: hidden; }
figure img, figure svg { display: block; width: 100%; height: auto; }
figure img + svg { position: absolute; inset: 0; height: 100%; }
figure rect { fill: none; stroke: var(--accepted); stroke-width: 2px; vector-effect: non-scaling-stroke; }
figure rect.unsure { stroke: var(--matched); stroke-dasharray: 4 3; }
figcaption { font-size: 12px; color: var(--faint); overflow-wrap: anywhere; }
"""


@dataclass(frozen=True, slots=True, eq=False)
class ReportedPolicy:
    """What is shown of one policy. figures: see figures_of."""

    outcome: PolicyOutcome
    figures: Mapping[str, Any]


def html_report(reports: Sequence[ReportedPolicy], pictures: Mapping[Place, ContactPicture], *, footage: str) -> str:
    """The whole file. footage: what was simulated, in words."""
    span = min(one.outcome.first_s for one in reports), max(one.outcome.last_s for one in reports)
    sections = "".join(_section(one, pictures, span) for one in reports)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>framesift simulate</title>"
        f"<style>{_STYLE}</style></head><body><h1>What each policy would collect</h1><p>{escape(footage)}</p>"
        f"<main>{sections}</main></body></html>\n"
    )


def _section(report: ReportedPolicy, pictures: Mapping[Place, ContactPicture], span: tuple[float, float]) -> str:
    outcome, figures = report.outcome, report.figures
    notes = "".join(f"<p>{escape(note)}</p>" for note in figures["notes"])
    tiles = "".join(_tile(one, pictures.get((one.source, one.line)), outcome) for one in shown(outcome))
    return (
        f"<section><h2>{escape(outcome.name)}</h2>{_big(figures)}"
        f"<h3>Over the time</h3>{timeline(outcome, *span)}"
        f"<h3>Strategies</h3>{_strategies(figures)}"
        f"<h3>Not accepted</h3>{_refusals(figures)}"
        f"<h3>Coverage</h3>{_coverage(figures)}{notes}"
        f'<h3>{_sheet_title(outcome)}</h3><div class="sheet">{tiles}</div></section>'
    )


def _big(figures: Mapping[str, Any]) -> str:
    alike = figures["alike"]
    size = figures["bytes_a_day"]
    about = "about " if figures["bytes_are_estimated"] else ""
    cells = {
        "images a day": f"{round(figures['images_a_day'], 1):,}",
        "a day on the disk": "?" if size is None else f"{about}{bytes_text(size)}",
        f"labelling a day, {figures['boxes']:,} boxes in all": f"{figures['labelling_minutes_a_day']:,} min",
        "look like another one": "?" if alike is None else f"{100 * alike['near_share']:.0f} %",
    }
    shown_cells = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in cells.items())
    return f'<dl class="big">{shown_cells}</dl>'


def _strategies(figures: Mapping[str, Any]) -> str:
    rows = ['<tr><th>strategy</th><th class="n">matched</th><th class="n">accepted</th></tr>']
    for name, accepted in figures["accepted"].items():
        limits = [limit for limit in figures["limits"] if limit["strategy"] == name]
        words = "; ".join(f"{limit['window']} {limit['value']}: {limit_words(limit)}" for limit in limits)
        matched = figures["matched"].get(name)
        rows.append(
            f'<tr><td>{escape(name)}</td><td class="n">{"" if matched is None else f"{matched:,}"}</td>'
            f'<td class="n">{accepted:,}</td></tr>'
        )
        if words:
            rows.append(f'<tr><td class="limits" colspan="3">{escape(words)}</td></tr>')
    return f"<table>{''.join(rows)}</table>"


def _refusals(figures: Mapping[str, Any]) -> str:
    counts = dict(figures["refused"])
    if figures["held_at_the_end"]:
        counts["still held at the end"] = figures["held_at_the_end"]
    rows = "".join(f'<tr><td>{escape(name)}</td><td class="n">{count:,}</td></tr>' for name, count in counts.items())
    return f"<table>{rows}</table>" if rows else "<p>nothing</p>"


def _coverage(figures: Mapping[str, Any]) -> str:
    rows = []
    for what in ("classes", "hours", "streams"):
        of = figures[what]
        if not of["seen"]:
            continue
        listed = ", ".join(of["missing"][:_MOST_LISTED])
        more = len(of["missing"]) - _MOST_LISTED
        listed += f" and {more} more" if more > 0 else ""
        missing = f'<span class="missing">missing: {escape(listed)}</span>' if listed else "nothing is missing"
        rows.append(
            f'<tr><td>{what}</td><td class="n">{len(of["collected"])} of {len(of["seen"])}</td><td>{missing}</td></tr>'
        )
    return f"<table>{''.join(rows)}</table>"


def _sheet_title(outcome: PolicyOutcome) -> str:
    count = len(shown(outcome))
    return "Chosen pictures" if count == outcome.images else f"{count} of {outcome.images:,} chosen pictures"


def _tile(chosen: ChosenFrame, picture: ContactPicture | None, outcome: PolicyOutcome) -> str:
    if picture is None:
        return ""
    at = datetime.fromtimestamp(chosen.at_s, ZoneInfo(outcome.policy.time_zone))
    score = "" if chosen.score is None else f" {chosen.score:.2f}"
    label = label_of(picture.prediction)
    words = f"{at:%d %b %H:%M:%S} {chosen.strategy}{score}{f', {label}' if label else ''}"
    if picture.jpeg is None and picture.why and "recording" not in picture.why:
        words += f" ({picture.why})"
    image = ""
    if picture.jpeg is not None:
        data = base64.b64encode(picture.jpeg).decode("ascii")
        image = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    return f"<figure><div>{image}{_boxes(picture.prediction)}</div><figcaption>{escape(words)}</figcaption></figure>"


def label_of(prediction: Prediction) -> str:
    """The label or the labels of a classifier; "" for anything else."""
    if isinstance(prediction, Classification):
        return f"{prediction.top} {prediction.confidence:.2f}"
    return ", ".join(prediction.predicted) if isinstance(prediction, MultiLabel) else ""


def _boxes(prediction: Prediction) -> str:
    width, height = (prediction.width, prediction.height) if prediction.width > 1 else (320, 180)
    boxes = ""
    if isinstance(prediction, Detections):
        columns = prediction.columns
        rows = zip(
            *(columns.x, columns.y, columns.width, columns.height, columns.confidence, columns.class_name), strict=True
        )
        sure = sorted((row for row in rows if row[4] >= _LEAST_SHOWN), key=lambda row: -row[4])[:_MOST_BOXES]
        boxes = "".join(
            f'<rect {"" if of >= 0.5 else "class=unsure "}x="{x - w / 2:.0f}" y="{y - h / 2:.0f}" width="{w:.0f}" '
            f'height="{h:.0f}"><title>{escape(name)} {of:.2f}</title></rect>'
            for x, y, w, h, of, name in sure
        )
    return f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{boxes}</svg>'
