"""`framesift plan`: proposes the policy for a budget of images a day, from footage."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from framesift.cli.console import ConfigOption, check_output, escape_text, fail, out
from framesift.cli.footage import open_footage, progress

_BUDGET = re.compile(r"(\d{1,6})/(day|hour)")


def plan(
    footage: Annotated[list[Path], typer.Argument(help="Videos, or recordings of framesift run --record.")],
    budget: Annotated[str, typer.Option(help="How many images a person will label: 50/day, or 5/hour.")],
    config: ConfigOption = None,
    start: Annotated[
        str | None,
        typer.Option(help="When the first frame was captured, as 2026-11-28T10:00 (local; default: yesterday, 00:00)."),
    ] = None,
    stream: Annotated[str | None, typer.Option(help="The stream of the settings that the videos stand for.")] = None,
    time_zone: Annotated[str, typer.Option(help="Whose days and hours count, as Europe/Berlin.")] = "UTC",
    output: Annotated[Path, typer.Option(help="The policy; its reasons go beside it, as .md.")] = Path("policy.json"),
    force: Annotated[bool, typer.Option(help="Overwrite what is there.")] = False,
) -> None:
    """Propose a policy that spends a budget over the whole day on the frames worth it, and say why.

    For example: framesift plan --budget 50/day monday.mp4 tuesday.mp4 --start 2026-11-23. Writes policy.json, and
    policy.md with the reason for each number. docs/simulate.md says how it is chosen; framesift simulate tries it.
    """
    from framesift.atomic_files import write_atomically
    from framesift.config.errors import ConfigError
    from framesift.simulation.errors import SimulationError
    from framesift.simulation.plan import make_plan
    from framesift.simulation.plan_text import plan_text, spent_words

    a_day = _images_a_day(budget)
    check_output("--output", output)
    if output.suffix == ".md":
        fail(f"--output {output}: the reasons go into an .md file beside the policy; name the policy's own")
    comment = output.with_suffix(".md")
    existing = [str(path) for path in (output, comment) if path.exists()]
    if existing and not force:
        fail(f"already there: {', '.join(existing)}; --force overwrites, --output names another file")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"--time-zone {time_zone}: is no time zone; a name such as Europe/Berlin is expected")
    opened = open_footage(footage, config, stream=stream, start=start, days=None)
    try:
        with progress() as shown:
            total = 2 * sum(source.count() for source in opened.footage.sources)
            task = shown.add_task("looking at each frame, and trying policies", total=total)
            made = make_plan(
                a_day,
                lambda: opened.footage.frames(lambda: shown.advance(task)),
                name=opened.settings.device if opened.settings is not None else "framesift",
                time_zone=time_zone,
            )
    except ConfigError as error:
        fail(str(error))
    except SimulationError as error:
        fail(str(error), code=1)
    except ValueError as error:
        fail(f"--budget {budget}: {error}")
    names = ", ".join(path.name for path in footage)
    text = plan_text(made, budget=a_day, footage=names, policy_name=output.name)
    write_atomically(output, (json.dumps(made.policy, indent=2) + "\n").encode(), for_person=True)
    write_atomically(comment, text.encode(), for_person=True)
    out.print(escape_text(f"wrote {output} and {comment}, which says why"))
    out.print(f"on this footage it collects {spent_words(made, a_day)}", soft_wrap=True)
    given = [("--config", config), ("--stream", stream), ("--start", start)]
    options = [word for name, value in given if value is not None for word in (name, str(value))]
    words = [*map(str, footage), *options, "--policy", str(output), "--html", "report.html"]
    out.print(escape_text(f"try it: framesift simulate {shlex.join(words)}"), soft_wrap=True)


def _images_a_day(budget: str) -> int:
    found = _BUDGET.fullmatch(budget.strip())
    if found is None:
        fail(f"--budget {budget}: a number of images is expected, such as 50/day or 5/hour")
    return int(found.group(1)) * (24 if found.group(2) == "hour" else 1)
