"""`framesift demo`: the whole pipeline, from a video to a folder of labelled frames.

Without a source it is a rendered street watched by a detector that was trained on rendered streets. That detector knows
nothing else, so a source of the user is never shown to it: without `--model`, the demo uses the null model there.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from framesift.clock.clock import SystemClock
from framesift.config.errors import ConfigError
from framesift.config.redact import redact_url
from framesift.datasets.contact_sheet import ON_A_PAGE, contact_sheet
from framesift.datasets.sheet_sources import collected_sheet_picture, read_collected
from framesift.demo.scene import Street, write_video
from framesift.models import ModelLoadError
from framesift.pictures.outgoing import NO_MASK, encode_outgoing
from framesift.prediction.prediction import Detections
from framesift.service.service import Service
from framesift.service.systemd import Notifier
from framesift.settings import load, secrets
from framesift.sinks.collected_folder import CollectedPicture
from framesift.streams import StreamLost
from framesift.telemetry import StatusReport, Telemetry

MARKER = ".framesift-demo"
DETECTOR = Path(__file__).with_name("street.onnx")
CONFIDENT = 0.5
DEMO_SEED = 7

# Rare enough that the hour's quota lasts from the first cars in daylight to the last one at dusk.
STREET_STRATEGIES: tuple[dict[str, Any], ...] = (
    {"name": "unsure", "type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.1, "probability": 0.1,
     "limits": [{"type": "hourly", "value": 8}]},
    {"name": "crowded", "type": "detections_number_based", "more_than": 12, "probability": 0.1,
     "limits": [{"type": "hourly", "value": 8}]},
    {"name": "hard", "type": "uncertainty", "aggregation": "mean", "minimum_score": 0.5, "probability": 0.1,
     "limits": [{"type": "hourly", "value": 8}]},
    {"name": "everyday", "type": "random", "traffic_percentage": 0.02},
)  # fmt: skip
OWN_STRATEGIES: tuple[dict[str, Any], ...] = (
    {"name": "everyday", "type": "random", "traffic_percentage": 0.1, "limits": [{"type": "minutely", "value": 20}]},
)
# With the user's own model: frames of which it is unsure, too.
MODEL_STRATEGIES: tuple[dict[str, Any], ...] = (
    {"name": "unsure", "type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.15, "probability": 0.2,
     "limits": [{"type": "minutely", "value": 20}]},
    {"name": "hard", "type": "uncertainty", "minimum_score": 0.5, "probability": 0.2,
     "limits": [{"type": "minutely", "value": 20}]},
    *OWN_STRATEGIES,
)  # fmt: skip


class DemoError(Exception):
    """The demo can't run as requested; the message says why."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How well the confident boxes agree with the true objects of the scene. boxes: how many were compared."""

    mean_iou: float
    boxes: int


def run_demo(
    folder: Path,
    *,
    source: str | None,
    model: Path | None,
    class_names: str | None,
    seconds: float,
    console: Console,
) -> int:
    """Run the demo in `folder` and print what it collected; return the exit code. Raises DemoError.

    class_names: coco, or a file, of a model without names.
    """
    if source is None and model is not None:
        raise DemoError("--model needs --source: the rendered street has its own detector")
    if model is None and class_names is not None:
        raise DemoError("--class-names needs --model: they are the names of its classes")
    if source is not None and _is_path(source):
        _check_source_file(Path(source), folder)
    _prepare_folder(folder, console)
    street = Street(seed=DEMO_SEED) if source is None else None
    if street is not None:
        _render(street, folder / "street.mp4", console)
    _configure(folder, source, model, class_names)
    if source is not None and model is None:
        console.print("no --model: the null model watches, so frames are chosen by chance, and near duplicates refused")
    snapshot, code = _collect(folder, street, seconds, console)
    if not snapshot.frames_read:
        seen = "the rendered street" if source is None else redact_url(source)
        raise DemoError(f"not one frame could be read from {seen}; the lines above say why")
    collected = read_collected(folder / "collected")
    console.print(_table(snapshot))
    if street is not None:
        overlap = mean_overlap(street, collected)
        boxes = f"{overlap.boxes} boxes of confidence {CONFIDENT} or more"
        console.print(f"boxes on objects: mean IoU {overlap.mean_iou:.2f} over {boxes}")
    sheet = folder / "contact-sheet.png"
    shown = _evenly(collected, ON_A_PAGE)
    title = f"framesift: {len(collected)} frames worth a label"
    if len(shown) < len(collected):
        title += f", {len(shown)} of them here"
    drawn = contact_sheet([collected_sheet_picture(folder / "collected", one) for one in shown], title)
    # The pictures on it were masked, where they had to be, when they were collected.
    sheet.write_bytes(encode_outgoing(drawn, mask=NO_MASK, suffix=".png").content)
    labels = ", YOLO labels/ and data.yaml" if (folder / "collected" / "data.yaml").exists() else ""
    console.print(f"collected:     {folder / 'collected'}  (images/{labels}, metadata.jsonl)")
    console.print(f"contact sheet: {sheet}")
    return code


def mean_overlap(street: Street, collected: tuple[CollectedPicture, ...]) -> Overlap:
    """The mean intersection over union of confident boxes with the nearest true box of the same class (0 if none)."""
    overlaps: list[float] = []
    for one in collected:
        prediction = one.prediction
        if not isinstance(prediction, Detections):
            continue
        truth = street.truth(one.frame)
        for d in prediction.objects:
            if d.confidence >= CONFIDENT:
                same = (t for t in truth if t.class_name == d.class_name)
                overlaps.append(max((_iou(_corners(d), _corners(t)) for t in same), default=0.0))
    return Overlap(sum(overlaps) / len(overlaps) if overlaps else 0.0, len(overlaps))


def _evenly(collected: tuple[CollectedPicture, ...], most: int) -> tuple[CollectedPicture, ...]:
    """At most so many of them, evenly over time."""
    if len(collected) <= most:
        return collected
    return tuple(collected[round(n * (len(collected) - 1) / (most - 1))] for n in range(most))


def _corners(box: Any) -> tuple[float, float, float, float]:
    return box.x - box.width / 2, box.y - box.height / 2, box.x + box.width / 2, box.y + box.height / 2


def _iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _prepare_folder(folder: Path, console: Console) -> None:
    """Make the folder, empty. What an earlier demo collected there is kept, in a folder beside it.

    Raises DemoError if somebody else's files are there.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise DemoError(f"{folder} is not empty and was not made by a demo: choose another --folder")
        name = folder.resolve().name
        kept = next(
            path for n in itertools.count(1) if not (path := folder.resolve().with_name(f"{name}-{n}")).exists()
        )
        try:
            folder.resolve().rename(kept)
        except OSError as error:
            why = error.strerror or error
            raise DemoError(f"{folder} can't be renamed to {kept.name}: {why}: choose another --folder") from None
        console.print(f"the last demo's frames are kept in {kept.name}/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _is_path(source: str) -> bool:
    return "://" not in source and not source.isdigit()


def _check_source_file(source: Path, folder: Path) -> None:
    """Raise DemoError if the source can not be used. Called before anything of an earlier demo is removed."""
    if not source.is_file():
        raise DemoError(
            f"--source {source}: {'is a folder, not a file' if source.is_dir() else 'there is no such file'}"
        )
    if folder.absolute() in source.absolute().parents:
        raise DemoError(f"--source {source} lies in the demo's own folder {folder}, which begins anew: move it")


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _render(street: Street, path: Path, console: Console) -> None:
    with _bar(console) as bar:
        task = bar.add_task("rendering a street", total=street.frames)
        write_video(street, path, lambda done, _total: bar.update(task, completed=done))


def _configure(folder: Path, source: str | None, model: Path | None, class_names: str | None) -> None:
    """Writes the demo's own framesift.yaml and policy.json, so that it can be read, changed and run again."""
    strategies = STREET_STRATEGIES if source is None else OWN_STRATEGIES if model is None else MODEL_STRATEGIES
    policy = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": list(strategies),
        "batching_strategy": {"batches_name_prefix": "demo", "recreation_interval": "daily"},
        "near_duplicate": {"threshold": "auto", "memory": 256},
    }
    if source is None:
        stream: dict[str, Any] = {"name": "street", "source": "street.mp4"}
        model_block: dict[str, Any] = {"type": "onnx", "path": str(DETECTOR), "confidence": 0.1}
    else:
        # The path of a file is relative to the current folder, wherever the demo's folder is.
        there = Path(source).absolute() if _is_path(source) else source
        stream = {"name": "yours", "source": int(source) if source.isdigit() else str(there)}
        model_block = {"type": "stub"} if model is None else {"type": "onnx", "path": str(model.absolute())}
        if class_names == "coco":
            model_block["class_names"] = class_names
        elif class_names is not None:
            model_block["class_names_file"] = str(Path(class_names).absolute())
    settings = {
        "device": "demo",
        "streams": [stream],
        "model": model_block,
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
        "spool": {"path": "spool.db", "max_bytes": "256MiB", "min_free_bytes": "64MiB"},
        "status": {"bind": None},
        "log": {"level": "warning" if source is None else "info"},
    }
    (folder / "policy.json").write_text(json.dumps(policy, indent=2) + "\n", encoding="utf-8")
    (folder / "framesift.yaml").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")  # JSON is YAML


def _collect(folder: Path, street: Street | None, seconds: float, console: Console) -> tuple[StatusReport, int]:
    clock = SystemClock()
    try:
        settings = load(folder / "framesift.yaml", _NOTHING)
    except ConfigError as error:
        raise DemoError(str(error)) from None
    telemetry = Telemetry(clock, settings.log, secrets=secrets(settings))
    finite = "://" not in str(settings.streams[0].source) and not isinstance(settings.streams[0].source, int)
    started_s = clock.monotonic()
    with _bar(console) as bar:
        total = street.frames if street is not None else None if finite else round(seconds)
        task = bar.add_task("watching" if finite else "watching (seconds)", total=total)

        def progress() -> None:
            watched_s = clock.monotonic() - started_s
            bar.update(task, completed=telemetry.report().frames_read if finite else round(watched_s))
            if not finite and watched_s >= seconds:
                service.stop()

        service = Service(settings, clock=clock, telemetry=telemetry, notifier=Notifier(None), progress=progress)
        try:
            code = service.run()
        except (ModelLoadError, StreamLost) as error:
            raise DemoError(str(error)) from None
        _finish(bar, task, telemetry.report().frames_read if finite else None)
    return telemetry.report(), code


_NOTHING: Mapping[str, str] = {}  # no variable changes the demo: it is the same everywhere


def _finish(bar: Progress, task: TaskID, frames: int | None) -> None:
    if frames is not None:
        bar.update(task, completed=frames, total=frames)


def _table(snapshot: StatusReport) -> Table:
    table = Table(title="what became of the frames", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("frames", justify="right")
    table.add_row("seen", str(snapshot.frames_read))
    for reason, count in snapshot.refused.items():
        table.add_row(f"  refused: {reason}", str(count))
    for strategy, count in snapshot.matched.items():
        table.add_row(f"  matched: {strategy}", str(count))
    table.add_row("accepted", str(snapshot.frames_accepted))
    for strategy, count in snapshot.accepted.items():
        table.add_row(f"  charged: {strategy}", str(count))
    table.add_row("delivered", str(snapshot.outcomes.get("delivered", 0)))
    return table
