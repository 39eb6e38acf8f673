"""`framesift export`: a dataset of a collected folder, in the format of a trainer or of a labelling tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framesift.cli.console import err, escape_text, fail, noun, out, print_note

if TYPE_CHECKING:
    from framesift.datasets.export import ExportReport
    from framesift.datasets.splits import SplitShares


def export(
    folder: Annotated[Path, typer.Argument(help="A folder sink's folder (sink.path); a daemon may run.")],
    to: Annotated[Path, typer.Argument(metavar="OUT", help="A new or an empty folder for the dataset.")],
    format: Annotated[
        str, typer.Option(help="yolo, coco, cvat (CVAT for images 1.1), or classify (a folder a class).")
    ],
    confidence: Annotated[
        float, typer.Option(help="Predictions of at least this confidence become labels.", min=0.0, max=1.0)
    ] = 0.3,
    split: Annotated[str, typer.Option(help="Shares of train/val/test, or of train/val, in percent.")] = "80/10/10",
    by_stream: Annotated[bool, typer.Option("--by-stream", help="All pictures of a stream in one split.")] = False,
    together: Annotated[
        float, typer.Option(help="Pictures of a stream within the same so many seconds in one split.", min=0.0)
    ] = 0.0,
    background: Annotated[
        bool, typer.Option("--background/--no-background", help="Pictures with nothing at this confidence, too.")
    ] = True,
    stream: Annotated[str | None, typer.Option(help="Only pictures of this stream.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Only pictures that this strategy took.")] = None,
) -> None:
    """Write a dataset of what was collected, with predictions as drafts of its labels.

    For example: framesift export collected dataset --format yolo --confidence 0.3 --split 80/10/10. A picture stays in
    its split when more come: docs/datasets.md.
    """
    from framesift.datasets.drafts import DatasetFormat
    from framesift.datasets.errors import DatasetError
    from framesift.datasets.export import ExportOptions, export_dataset
    from framesift.datasets.picture_choice import PictureChoice
    from framesift.datasets.splits import Grouping, SplitShares

    if format not in {f.value for f in DatasetFormat}:
        fail(f"--format {format}: must be one of {', '.join(DatasetFormat)}")
    if by_stream and together:
        fail(f"--together {together:g}: --by-stream keeps more together already: use one of them")
    try:
        shares = SplitShares.parse(split)
    except ValueError as error:
        fail(f"--split {error}")
    options = ExportOptions(
        DatasetFormat(format),
        confidence,
        shares,
        Grouping(by_stream, together),
        PictureChoice(stream, strategy),
        background,
    )
    try:
        with err.status("writing the dataset"):
            report = export_dataset(folder, to, options)
    except DatasetError as error:
        fail(str(error))
    _print_report(report, f"{to}: {format}", confidence, shares)


def _print_report(report: ExportReport, what: str, confidence: float, shares: SplitShares) -> None:
    from framesift.datasets.splits import Split

    classes = f"{len(report.class_names)} {noun(len(report.class_names), 'class', 'classes')}"
    labels = f"{_labels(report.labels.total())} of confidence {confidence:g} or more"
    out.print(escape_text(f"{what}, {_pictures(report.pictures.total())}, {labels}, {classes}"))
    for split in Split:
        if shares.of(split) or report.pictures[split]:
            background = f", {report.background[split]} of them background" if report.background[split] else ""
            out.print(f"  {split}: {_pictures(report.pictures[split])}, {_labels(report.labels[split])}{background}")
    for why, number in report.left_out.items():
        if number:
            print_note(why.told(number))
    for split in Split:
        if shares.of(split) and not report.pictures[split]:
            print_note(f"{split} has no picture: by chance, with so few groups of pictures; another --split may do")


def _pictures(number: int) -> str:
    return f"{number} {noun(number, 'picture')}"


def _labels(number: int) -> str:
    return f"{number} {noun(number, 'label')}"
