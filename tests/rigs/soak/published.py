"""What docs/reliability.md shows of a soak and of the deaths: figures as files beside it, and tables made of them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

_UNITS = {"rss_mib": "MiB", "all_mib": "MiB", "fds": "descriptors", "threads": "threads"}
_WHOSE = {
    "rss_mib": "memory of the daemon",
    "all_mib": "memory of all its processes",
    "fds": "file descriptors",
    "threads": "threads",
}


def soak_table(summary: dict[str, Any]) -> str:
    """The table of a soak's summary, in Markdown."""
    left = ", ".join(f"{number} {exit}" for exit, number in sorted(summary["left"].items()))
    rows = [
        ("hours, in so many runs", f"{summary['hours']:.1f}, {summary['runs']}"),
        ("daemons, one after the other", summary["daemons"]),
        ("faults", f"{summary['faults_in_all']}, of {len(summary['faults'])} kinds"),
        (
            "audits, and how many of them asked whether all was well",
            f"{summary['audits']}, {summary['audits_in_quiet']}",
        ),
        ("frames accepted", summary["accepted"]),
        ("what became of them", f"{left}; {summary['in_spool']} in the spool"),
        ("**what did not fit**", f"**{summary['violations']}**"),
        ("processor, of a core", f"{summary['cores']:.2f}"),
    ]
    for name, unit in _UNITS.items():
        highest = f"at most {summary['highest'][name]:.0f} {unit}"
        found = summary[f"{name}_an_hour"]
        grows = (
            "" if found is None else f", {found['an_hour']:+.2f} an hour [{found['low']:+.2f}, {found['high']:+.2f}]"
        )
        rows.append((_WHOSE[name], highest + grows))
    return _table(("", "soak"), rows)


def faults_table(summary: dict[str, Any]) -> str:
    """How often each kind of fault came."""
    kinds = (f"{kind} ({number})" for kind, number in summary["faults"].items())
    return textwrap.fill("The kinds of faults: " + ", ".join(kinds) + ".", 120) + "\n"


def deaths_table(summary: dict[str, Any]) -> str:
    """The table of the deaths' summary, in Markdown."""
    fates = "; ".join(f"{fate}: {number}" for fate, number in summary["fates"].items())
    rows = [
        ("kills at random moments", summary["kills"]),
        ("frames accepted over these kills", summary["accepted_over_kills"]),
        ("system calls of one datapoint's life, of all threads", summary["calls_of_a_life"]),
        ("... that reach outside the process", summary["of_a_life_reaching_outside"]),
        ("deaths tried", f"{summary['calls_tried']}, {summary['tried_reaching_outside']} of them reaching outside"),
        (
            "... that came at that call",
            f"{summary['died_there']}, {summary['of_them_reaching_outside']} of them outside",
        ),
        ("... the client's answer, and the datapoint", fates),
        ("**what did not fit**", f"**{len(summary['violations'])}**"),
    ]
    return _table(("", "deaths"), rows)


def publish(page: Path, name: str, summary: dict[str, Any], *tables: str, drawing: str | None = None) -> None:
    """Writes NAME.json (and NAME.svg) into the folder that is called as the page is, and the tables into the page.

    They stand between the lines `<!-- NAME -->` and `<!-- end of NAME -->`.
    """
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(summary, indent=1) + "\n")
    if drawing is not None:
        (folder / f"{name}.svg").write_text(drawing)
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(before + begin + "\n".join(tables) + end + after, encoding="utf-8")


def _table(heads: tuple[str, str], rows: list[tuple[str, Any]]) -> str:
    lines = [f"| {heads[0]} | {heads[1]} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + "\n"
