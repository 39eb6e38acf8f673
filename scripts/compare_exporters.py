"""Compares what framesift reads from exported networks with what the exporters' own programs find on the same frames.

docs/models.md has the outcome. The exporters are not among the project's requirements; give them an environment of
their own (YOLOX: `pip install --no-deps --no-build-isolation yolox` and `pip install loguru tabulate pycocotools`):

    python3 -m venv build/exporters
    build/exporters/bin/pip install -e '.[onnx,opencv]' torch torchvision \
        onnx onnxscript ultralytics transformers rfdetr
    build/exporters/bin/python scripts/compare_exporters.py                # all of them, or the names of some

An object counts as the same with the same class, an IoU of 0.95, a confidence within 0.01, a mask with an IoU of 0.95
and keypoints within a pixel. Objects whose confidence is within 0.01 of the threshold may be in one list alone.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from framesift.clock.moment import Moment
from framesift.frame import Frame, Pixels
from framesift.models.onnx.onnx_model import OnnxModel
from framesift.models.onnx.onnx_settings import OnnxSettings
from framesift.prediction.prediction import Classification, Detections
from random_networks import CONFIDENCE, EXPORTERS, IOU, OwnInference, Thing, pictures


def ours(path: Path, settings: dict[str, Any]) -> tuple[str, OwnInference]:
    """What framesift reads from the file, and how it describes the network. The settings are those of an onnx model."""
    given = {"type": "onnx", "path": str(path), "confidence": CONFIDENCE, "iou": IOU} | settings
    model = OnnxModel(OnnxSettings.model_validate_json(json.dumps(given)))

    def infer(pixels: Pixels) -> list[Thing]:
        prediction = model.predict(Frame("pictures", 0, pixels, Moment(0.0, 0.0, "")))
        if isinstance(prediction, Classification):
            return [Thing(score.class_id, score.confidence) for score in prediction.scores[:5]]
        assert isinstance(prediction, Detections)
        return [
            Thing(
                o.class_id,
                o.confidence,
                (o.x - o.width / 2, o.y - o.height / 2, o.x + o.width / 2, o.y + o.height / 2),
                None if o.points is None else filled([(p.x, p.y) for p in o.points], pixels),
                None
                if o.keypoints is None
                else np.array([(k.x, k.y) for k in o.keypoints]).clip(0, pixels.shape[1::-1]),
            )
            for o in prediction.objects
        ]

    return model.description, infer


def filled(corners: Sequence[tuple[float, float]], pixels: Pixels) -> Any:
    """The pixels whose middles a polygon has inside."""
    rows, columns = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
    inside = np.zeros(pixels.shape[:2], np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        top, bottom = (max(0, math.ceil(y - 0.5)) for y in sorted((y1, y2)))
        band = slice(top, bottom)
        if y1 != y2:
            inside[band] ^= columns[band] + 0.5 < x1 + (rows[band] + 0.5 - y1) * (x2 - x1) / (y2 - y1)
    return inside


@dataclass
class Tally:
    """How the objects of both compare.

    own: those that the exporter's program found; those of less than half a pixel across, which are not compared, apart.
    """

    own: int = 0
    without_area: int = 0
    same: int = 0
    worst_iou: float = 1.0
    worst_confidence: float = 0.0
    differences: list[str] = field(default_factory=list)

    def add(self, own: list[Thing], found: list[Thing]) -> None:
        """Compares the objects of one picture."""
        left = list(found)
        self.without_area += sum(is_thin(thing) for thing in own)
        for thing in own:
            if is_thin(thing):
                continue
            pairs = [(overlap(thing, other), other) for other in left if other.class_id == thing.class_id]
            iou, best = max(
                pairs, key=lambda pair: (pair[0], -abs(pair[1].confidence - thing.confidence)), default=(0.0, None)
            )
            self.own += 1
            if best is None or iou < 0.5:
                self.own -= is_edge(thing)
                if not is_edge(thing):
                    self.differences.append(f"not found: {told(thing)}")
                continue
            left.remove(best)
            off = abs(best.confidence - thing.confidence)
            self.worst_iou, self.worst_confidence = min(iou, self.worst_iou), max(off, self.worst_confidence)
            if iou >= 0.95 and off <= 0.01 and parts_agree(thing, best):
                self.same += 1
            else:
                self.differences.append(f"IoU {iou:.3f}, confidence off by {off:.4f}: {told(thing)} | {told(best)}")
        self.differences += [f"only ours: {told(thing)}" for thing in left if not is_thin(thing) and not is_edge(thing)]


def is_thin(thing: Thing) -> bool:
    """Whether it is less than half a pixel wide or high."""
    box = thing.box
    return box is not None and min(box[2] - box[0], box[3] - box[1]) < 0.5


def is_edge(thing: Thing) -> bool:
    """Whether it may be missing on one side, because its confidence is next to the threshold."""
    return thing.box is not None and thing.confidence < CONFIDENCE + 0.01


def overlap(one: Thing, other: Thing) -> float:
    """The IoU of two boxes; of two labels, 1."""
    if one.box is None or other.box is None:
        return 1.0
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = one.box, other.box
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    whole = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
    return shared / whole if whole > 0 else 0.0


def mask_overlap(one: Thing, other: Thing) -> float:
    """The IoU of two masks; 1 without masks."""
    if one.mask is None or other.mask is None:
        return 1.0 if one.mask is other.mask else 0.0
    return float((one.mask & other.mask).sum() / max(1, (one.mask | other.mask).sum()))


def parts_agree(own: Thing, found: Thing) -> bool:
    """Whether their masks and keypoints agree. Ultralytics gives keypoints of which it is unsure as (0, 0)."""
    if (own.keypoints is None) != (found.keypoints is None) or mask_overlap(own, found) < 0.95:
        return False
    if own.keypoints is None:
        return True
    sure = (own.keypoints != 0).any(axis=1)
    return float(np.abs(own.keypoints - found.keypoints)[sure].max(initial=0.0)) <= 1.0


def told(thing: Thing) -> str:
    """An object as a text."""
    box = "" if thing.box is None else " at " + ", ".join(f"{value:.1f}" for value in thing.box)
    pixels = "" if thing.mask is None else f", mask of {int(thing.mask.sum())} pixels"
    return f"class {thing.class_id}, {thing.confidence:.3f}{box}{pixels}"


def main() -> int:
    """Compares those that the command names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of: {'; '.join(EXPORTERS)}")
    parser.add_argument("--show", type=int, default=5, help="how many differences of each are shown")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in EXPORTERS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: not one of {'; '.join(EXPORTERS)}")
    failed = 0
    for name in arguments.names or EXPORTERS:
        exporter, tally = EXPORTERS[name], Tally()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.onnx")
            try:
                own = exporter.export(path)
                for pixels in pictures():
                    size = {"input_size": pixels.shape[:2]} if exporter.any_size else {}
                    description, infer = ours(path, exporter.settings | size)
                    tally.add(own(pixels), infer(pixels))
            except Exception:  # noqa: BLE001 - an exporter may raise anything; the others are compared
                traceback.print_exc()
                print(f"{name}: FAILED", flush=True)
                failed += 1
                continue
        print(
            f"{name} ({exporter.package} {version(exporter.package)}; {description}): {tally.same} of {tally.own} the "
            f"same, {len(tally.differences)} different, {tally.without_area} without area; least IoU "
            f"{tally.worst_iou:.4f}, confidence off by up to {tally.worst_confidence:.5f}",
            flush=True,
        )
        for line in tally.differences[: arguments.show]:
            print(f"    {line}")
        failed += bool(tally.differences) or not tally.own
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
