"""`framesift sheet`: a contact sheet of a collected folder or a spool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framesift.cli.console import check_output, escape_text, fail, noun, out


def sheet(
    source: Annotated[
        Path, typer.Argument(help="A folder sink's folder (sink.path), or a spool file (spool.path); a daemon may run.")
    ],
    out_file: Annotated[
        Path, typer.Option("--out", help="The sheet, .jpg or .png; further pages are NAME-2, NAME-3 and so on.")
    ] = Path("sheet.jpg"),
    limit: Annotated[int, typer.Option(help="How many pictures at most, the newest first; a page has 24.", min=1)] = 24,
    stream: Annotated[str | None, typer.Option(help="Only pictures of this stream.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Only pictures that this strategy took.")] = None,
) -> None:
    """Draw what was collected: the newest pictures, with predictions, strategy, score and time on each.

    For example: framesift sheet collected --strategy hard --limit 100. More in docs/datasets.md.
    """
    from framesift.atomic_files import write_atomically
    from framesift.datasets.contact_sheet import ON_A_PAGE, contact_sheet, pages
    from framesift.datasets.drawing import ClassColours
    from framesift.datasets.errors import DatasetError
    from framesift.datasets.picture_choice import PictureChoice
    from framesift.datasets.sheet_sources import open_sheet_source
    from framesift.pictures.outgoing import NO_MASK, encode_outgoing

    suffix = out_file.suffix.lower()
    if suffix not in (".jpg", ".jpeg", ".png"):
        fail(f"--out {out_file}: the name of a picture is expected, ending in .jpg or .png")
    check_output("--out", out_file)
    try:
        pictures = open_sheet_source(source, PictureChoice(stream, strategy), limit)
    except DatasetError as error:
        fail(str(error))
    shown = len(pictures.newest)
    number = pages(shown)
    colours = ClassColours(one.prediction for one in pictures.newest)
    of_all = "" if shown == pictures.number else f" of {pictures.number}"
    what = f"{source}: {shown}{of_all} {noun(pictures.number, 'picture')}"
    for page in range(number):
        here = pictures.read(page * ON_A_PAGE, (page + 1) * ON_A_PAGE)
        title = f"{what}, the newest first" + (f", page {page + 1} of {number}" if number > 1 else "")
        drawn = contact_sheet(here, title, colours=colours)
        # The pictures on it were masked, where they had to be, when they were collected.
        made = encode_outgoing(drawn, mask=NO_MASK, suffix=".png" if suffix == ".png" else ".jpg")
        path = out_file if page == 0 else out_file.with_stem(f"{out_file.stem}-{page + 1}")
        write_atomically(path, made.content, for_person=True)
        out.print(f"wrote {escape_text(str(path))}  [dim]{len(here)} {noun(len(here), 'picture')}[/]")
    if shown < pictures.number:
        older = pictures.number - shown
        out.print(f"{older} older {noun(older, 'one is', 'ones are')} not on it: --limit {pictures.number} shows all")
