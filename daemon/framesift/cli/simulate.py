"""`framesift simulate`: what policies would collect from videos and recordings, side by side."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from framesift.cli.console import ConfigOption, check_output, escape_text, fail, noun, out, print_note, to_json_text
from framesift.cli.footage import open_footage, progress, read_policies
from framesift.config.byte_sizes import bytes_text

if TYPE_CHECKING:
    from framesift.cli.footage import OpenFootage
    from framesift.simulation.simulate import NamedPolicy

    Figures = dict[str, Any]

_MOST_LISTED = 8
SECONDS_PER_BOX = 10.0


def simulate(
    footage: Annotated[list[Path], typer.Argument(help="Videos, or recordings of framesift run --record.")],
    policy: Annotated[
        list[Path] | None, typer.Option(help="A policy; may be given several times. Default: that of the settings.")
    ] = None,
    config: ConfigOption = None,
    start: Annotated[
        str | None,
        typer.Option(help="When the first frame was captured, as 2026-11-28T10:00 (local; default: yesterday, 00:00)."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Repeat the footage until so many days are full.", min=0.001, max=3660.0)
    ] = None,
    stream: Annotated[str | None, typer.Option(help="The stream of the settings that the videos stand for.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The seed of the random draws; default: the settings'.", min=0, max=2**63 - 1)
    ] = None,
    seconds_per_box: Annotated[
        float, typer.Option(help="How long it takes a person to label one box.", min=0.0)
    ] = SECONDS_PER_BOX,
    html: Annotated[Path | None, typer.Option(help="Also write a report with pictures: one file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what policies would collect from footage: how much, when, how alike, and what is missing.

    For example: framesift simulate gate.mp4 --policy now.json --policy new.json --start 2026-11-28T06:00 --days 3
    --html report.html. The model runs once over each video; docs/simulate.md has what each figure means.
    """
    from framesift.config.errors import ConfigError
    from framesift.simulation.contact_pictures import take_pictures
    from framesift.simulation.errors import SimulationError
    from framesift.simulation.figures import figures_of

    if html is not None:
        check_output("--html", html)
    opened = open_footage(footage, config, stream=stream, start=start, days=days)
    try:
        policies = read_policies(policy or [], opened)
        if seed is None and opened.settings is not None and opened.entries:
            seed = opened.settings.seed
        outcomes = _simulate(opened, policies, seed)
        videos = opened.videos() if html is not None else {}
        pictures = take_pictures(outcomes, opened.footage.sources, videos, clock=opened.clock)
    except ConfigError as error:
        fail(str(error))
    except SimulationError as error:
        fail(str(error), code=1)
    figures = [figures_of(outcome, pictures, seconds_per_box=seconds_per_box) for outcome in outcomes]
    if html is not None:
        from framesift.atomic_files import write_atomically
        from framesift.simulation.report import ReportedPolicy, html_report

        reported = [ReportedPolicy(outcome, found) for outcome, found in zip(outcomes, figures, strict=True)]
        page = html_report(reported, pictures, footage=_words(footage, figures[0]))
        write_atomically(html, page.encode(), for_person=True)
        print_note(f"the report is in {html}")
    if as_json:
        sys.stdout.write(to_json_text({"seconds_per_box": seconds_per_box, "policies": figures}, indent=2))
    else:
        _print(footage, figures)


def _simulate(opened: OpenFootage, policies: list[NamedPolicy], seed: int | None) -> Any:
    from framesift.simulation.simulate import simulate as simulate_policies

    total = None
    if opened.footage.days is None:
        total = sum(source.count() for source in opened.footage.sources)
    with progress() as shown:
        task = shown.add_task("each policy decides on each frame", total=total)
        frames = opened.footage.frames(lambda: shown.advance(task))
        return simulate_policies(policies, frames, seed=seed)


def _words(footage: list[Path], figures: Figures) -> str:
    names = ", ".join(path.name for path in footage)
    first, last = (datetime.fromisoformat(figures[key]) for key in ("first", "last"))
    until = f"{last:%H:%M:%S}" if last.date() == first.date() else f"{last:%Y-%m-%d %H:%M:%S}"
    zones = dict.fromkeys(f"{one:%Z}" for one in (first, last))  # two where the clocks change in between
    frames = f"{figures['frames']:,} {noun(figures['frames'], 'frame')}"
    return f"{frames} of {names}, {first:%Y-%m-%d %H:%M:%S} to {until} ({' to '.join(zones)})"


def _print(footage: list[Path], figures: list[Figures]) -> None:
    out.print(escape_text(_words(footage, figures[0])))
    for of in figures:
        out.print()
        out.print(f"[bold]{escape_text(of['policy'])}[/]")
        _print_strategies(of)
        for name, words in _lines(of):
            out.print(f"  {name:<16} {escape_text(words)}")
        for note in of["notes"]:
            print_note(note)


def _print_strategies(of: Figures) -> None:
    from framesift.simulation.figures import limit_words

    table = Table(box=None, padding=(0, 2, 0, 2))
    table.add_column("strategy", overflow="fold")
    for title in ("matched", "accepted"):
        table.add_column(title, justify="right")
    table.add_column("limits", overflow="fold")
    for name, accepted in of["accepted"].items():
        limits = [limit for limit in of["limits"] if limit["strategy"] == name]
        words = "; ".join(f"{limit['window']} {limit['value']}: {limit_words(limit)}" for limit in limits)
        matched = of["matched"].get(name)
        table.add_row(escape_text(name), "" if matched is None else str(matched), str(accepted), words)
    out.print(table)


def _lines(of: Figures) -> list[tuple[str, str]]:
    """The rest in words: a name and a sentence each."""
    refused = ", ".join(f"{count} {reason}" for reason, count in of["refused"].items())
    held = f"; {of['held_at_the_end']} still held at the end" if of["held_at_the_end"] else ""
    about = "about " if of["bytes_are_estimated"] else ""
    size = "" if of["bytes_a_day"] is None else f", {about}{bytes_text(of['bytes_a_day'])}"
    minutes, boxes = of["labelling_minutes_a_day"], of["boxes"]
    found = [
        ("not accepted", f"{refused or 'nothing'}{held}"),
        ("a day", f"{of['images_a_day']:g} {noun(of['images_a_day'], 'image')}{size}"),
        ("labelling", f"{minutes:g} {noun(minutes, 'minute')} a day for {boxes} {noun(boxes, 'box', 'boxes')} in all"),
    ]
    alike = of["alike"]
    if alike is not None:
        words = f"{100 * alike['near_share']:.0f} % of {alike['of']} look like another one; nearest at"
        found.append(
            ("alike", f"{words} {alike['mean_distance']:.3f} in the mean, {alike['lowest_distance']:.3f} least")
        )
    for what in ("classes", "hours", "streams"):
        coverage = of[what]
        if not coverage["seen"] or (what == "streams" and len(coverage["seen"]) == 1):
            continue
        listed = ", ".join(coverage["missing"][:_MOST_LISTED])
        more = len(coverage["missing"]) - _MOST_LISTED
        missing = f"; missing: {listed}{f' and {more} more' if more > 0 else ''}" if listed else ""
        found.append((what, f"{len(coverage['collected'])} of {len(coverage['seen'])} that were seen{missing}"))
    return found
