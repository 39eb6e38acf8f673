"""`framesift estimate`: what the baseline's pictures say of all frames, and once labels are back, of the model."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from framesift.cli.console import escape_text, fail, noun, out, parse_time_s, print_note, to_json_text

if TYPE_CHECKING:
    from framesift.estimation.intervals import Estimate
    from framesift.estimation.labels import Labels
    from framesift.estimation.measures import ClassFrequency, Domain, FieldQuality
    from framesift.estimation.sample import Sample

    Result = tuple[float, tuple[ClassFrequency, ...] | FieldQuality]  # with the confidence


def estimate(
    folder: Annotated[Path, typer.Argument(help="A folder sink's folder (sink.path).")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels that came back: a YOLO dataset's folder, one COCO file, or a folder for each class."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Captured then or later: 2026-11-28, or 2026-11-28T10:00 (UTC without an offset)."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Captured before that.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only frames of this stream.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Only this class; may be given several times.")
    ] = None,
    confidence: Annotated[
        list[float] | None,
        typer.Option(help="Objects of at least this confidence (0.5); may be given several times.", min=0.0, max=1.0),
    ] = None,
    iou: Annotated[
        float, typer.Option(help="How much a right box overlaps that of the label at least.", min=0.01, max=1.0)
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say from the baseline's pictures how often classes are predicted, or with --labels how good the model is.

    For example: framesift estimate collected --labels export/ --since 2026-11-01 --confidence 0.3 --confidence 0.5.
    The policy's baseline collects what this needs: docs/estimate.md.
    """
    from framesift.estimation.errors import EstimationError
    from framesift.estimation.measures import Domain

    since_s = -math.inf if since is None else parse_time_s("--since", since)
    until_s = math.inf if until is None else parse_time_s("--until", until)
    if since_s >= until_s:
        fail("--since is not before --until: nothing was captured in between")
    domain = Domain(stream, frozenset(classes) if classes else None)
    confidences = sorted({*(confidence or [0.5])})
    try:
        report = _Report(folder, domain, since_s, until_s)
        results = report.frequencies(confidences) if labels is None else report.quality(confidences, labels, iou)
    except EstimationError as error:
        fail(str(error))
    if as_json:
        sys.stdout.write(to_json_text(report.facts() | {"iou": iou, "results": list(map(_fields, results))}, indent=2))
        return
    report.print_head(labels)
    for of_confidence in results:
        _print_result(of_confidence, iou)


class _Report:
    """What is estimated from one folder, and from what."""

    def __init__(self, folder: Path, domain: Domain, since_s: float, until_s: float) -> None:
        """Raises EstimationError."""
        from framesift.estimation.errors import EstimationError
        from framesift.estimation.sample import read_sample

        self._folder = folder
        self._domain = domain
        self._sample: Sample = read_sample(folder, since_s=since_s, until_s=until_s)
        self._labels: Labels | None = None
        self._frames = [frame for frame in self._sample.predicted if domain.has(frame)]
        if not self._frames:
            streams = ", ".join(sorted({frame.stream for frame in self._sample.predicted}))
            raise EstimationError(f"--stream {domain.stream}: the baseline has no picture of it, but of {streams}")

    def frequencies(self, confidences: list[float]) -> list[Result]:
        """How often classes are predicted, for each confidence."""
        from framesift.estimation.measures import estimate_frequencies

        return [(c, estimate_frequencies(self._sample, self._domain, confidence=c)) for c in confidences]

    def quality(self, confidences: list[float], path: Path, iou: float) -> list[Result]:
        """How good the model is, for each confidence. Raises EstimationError."""
        from framesift.estimation.errors import EstimationError
        from framesift.estimation.label_formats import read_labels
        from framesift.estimation.measures import estimate_quality, refuse_other_class_names
        from framesift.sinks.data_yaml import DataYaml, InvalidDataYaml

        if self._folder.resolve() in (path.resolve(), *path.resolve().parents):
            raise EstimationError(
                f"--labels {path}: lies in {self._folder}, where labels are the model's own predictions, not the truth:"
                " name another folder, with the labels that came back"
            )
        self._labels = found = read_labels(path, {frame.id for frame in self._sample.predicted})
        model_names: tuple[str, ...] = ()
        if (self._folder / "data.yaml").is_file():
            try:
                model_names = tuple(DataYaml.read_names(self._folder / "data.yaml")[0].values())
            except InvalidDataYaml as error:
                raise EstimationError(str(error)) from None
        try:
            refuse_other_class_names(self._sample, found, self._domain, model_names, confidence=confidences[0])
            return [
                (c, estimate_quality(self._sample, found, self._domain, confidence=c, iou=iou)) for c in confidences
            ]
        except EstimationError as error:
            raise EstimationError(f"--labels {path}: {error}") from None

    @property
    def _labelled(self) -> int:
        return 0 if self._labels is None else sum(f.id in self._labels.of_pictures for f in self._frames)

    def facts(self) -> dict[str, Any]:
        """From what is estimated, for JSON."""
        times_s = [frame.captured_at_s for frame in self._frames]
        labels = None
        if self._labels is not None:
            unlabelled = len(self._frames) - self._labelled
            labels = {"labelled": self._labelled, "unlabelled": unlabelled, "not_of_these": self._labels.unknown}
        return {
            "folder": str(self._folder),
            "stream": self._domain.stream,
            "pictures": len(self._frames),
            "frames": sum(frame.weight for frame in self._frames),
            "first": _utc(min(times_s)),
            "last": _utc(max(times_s)),
            "without_prediction": self._sample.without_prediction,
            "labels": labels,
        }

    def print_head(self, labels: Path | None) -> None:
        """Says for people from what is estimated, and notes what was left out."""
        facts = self.facts()
        of_all = f"{facts['frames']:,} {noun(facts['frames'], 'frame')}"
        frames = of_all if self._domain.stream is None else f"about {of_all} of {self._domain.stream}"
        times = f"{facts['first']} to {facts['last']}"
        stand = noun(facts["pictures"], "picture of the baseline stands", "pictures of the baseline stand")
        out.print(escape_text(f"{facts['pictures']} {stand} for {frames}, {times}"))
        sample = self._sample
        if sample.without_prediction:
            left = noun(
                sample.without_prediction, "picture has no prediction and is", "pictures have no prediction and are"
            )
            print_note(f"{sample.without_prediction} more {left} left out")
        if sample.without_weight:
            lines = noun(sample.without_weight, "line is", "lines are")
            print_note(f"{sample.without_weight} {lines} of another strategy named baseline, without a weight")
        if self._labels is not None:
            missing = len(self._frames) - self._labelled
            out.print(escape_text(f"{self._labelled} of them {noun(self._labelled, 'has', 'have')} labels in {labels}"))
            if missing:
                left = noun(missing, "picture without labels is", "pictures without labels are")
                print_note(
                    f"{missing} {left} left out, and nothing stands in for what they show: the figures hold"
                    " if those with labels are a random part"
                )
            if self._labels.unknown:
                pictures = noun(self._labels.unknown, "labelled picture is", "labelled pictures are")
                print_note(f"{self._labels.unknown} {pictures} none of these, by the ids in the names")


def _print_result(result: Result, iou: float) -> None:
    from framesift.estimation.measures import FieldQuality

    confidence, found = result
    out.print()
    table = Table(box=None, padding=(0, 2, 0, 0))
    if isinstance(found, FieldQuality):
        is_detector = found.accuracy is None
        matched = f"objects of confidence {confidence:g} or more, right from an IoU of {iou:g} on"
        titles = ("precision", "recall")
        rows = [(c.class_name, (_percent(c.precision), _percent(c.recall))) for c in found.classes]
        if found.accuracy is not None:
            out.print(f"right in {_percent(found.accuracy)} of all frames")
    else:
        is_detector = found[0].objects is not None
        matched = f"objects of confidence {confidence:g} or more"
        titles = ("frames with it", *(("objects in a frame",) if is_detector else ()))
        rows = [
            (c.class_name, (_percent(c.frames), *(() if c.objects is None else (_number(c.objects, "", 1.0),))))
            for c in found
        ]
    out.print(f"{matched if is_detector else 'labels'}; 95 % intervals")
    table.add_column("class", overflow="fold")
    for title in titles:
        table.add_column(title)
    for name, cells in rows:
        table.add_row("[bold]all[/]" if name is None else escape_text(name), *cells)
    out.print(table)


def _percent(found: Estimate) -> str:
    return _number(found, " %", 100.0)


def _number(found: Estimate, unit: str, factor: float) -> str:
    if found.value is None:
        return "none seen"
    value = f"{found.value * factor:.3g}{unit}"
    if found.low is None or found.high is None:
        return f"{value} (too few: {found.pictures} {noun(found.pictures, 'picture')})"
    return f"{value} ({found.low * factor:.3g} to {found.high * factor:.3g})"


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fields(result: Result) -> dict[str, Any]:
    from framesift.estimation.measures import FieldQuality

    confidence, found = result
    if not isinstance(found, FieldQuality):
        rows = [{"class": c.class_name, "frames": _of(c.frames), "objects": _of(c.objects)} for c in found]
        return {"confidence": confidence, "classes": rows}
    rows = [{"class": c.class_name, "precision": _of(c.precision), "recall": _of(c.recall)} for c in found.classes]
    return {"confidence": confidence, "accuracy": _of(found.accuracy), "classes": rows}


def _of(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)
