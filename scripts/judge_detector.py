"""Judges the demo's detector against the truth of rendered streets, by day and at dusk.

    .venv/bin/python scripts/judge_detector.py

The demo's own street is judged on its video as it is decoded, the held-out ones (whose seeds the training never sees)
on the rendered frames. Confident means 0.5 and more; recall counts objects of which at least half can be seen.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from framesift.demo.scene import CLASS_NAMES, SceneObject, Street, write_video

HEIGHT, WIDTH = 224, 384
DEMO_SEED = 7
HELD_OUT_SEEDS = range(500, 512)
STREET_ONNX = Path(__file__).resolve().parent.parent / "daemon" / "framesift" / "demo" / "street.onnx"


def letterbox(picture: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """The picture at the network's size, with the scale and the offsets (x, y) that were used."""
    scale = min(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
    canvas = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return canvas, scale, left, top


@dataclass
class Tally:
    """What confident boxes (0.5 and more) were worth, against objects of which at least half is visible."""

    boxes: int = 0
    right: int = 0
    objects: int = 0
    found: int = 0
    iou_sum: float = 0.0
    unsure: int = 0

    def line(self, name: str) -> str:
        """Precision, recall and overlap, as one line of text."""
        precision, recall = self.right / max(self.boxes, 1), self.found / max(self.objects, 1)
        quality = f"precision {precision:.3f}  recall {recall:.3f}  mean IoU {self.iou_sum / max(self.boxes, 1):.3f}"
        return f"{name:24s} {quality}  confident boxes {self.boxes}  from 0.3 to 0.5: {self.unsure}"


def detect(session: onnxruntime.InferenceSession, picture: np.ndarray) -> list[tuple[int, float, np.ndarray]]:
    """Class, confidence and corner box (picture's pixels) of what is seen with 0.3 and more."""
    canvas, scale, left, top = letterbox(picture)
    images = np.ascontiguousarray(canvas[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255
    rows = session.run(None, {"images": images})[0][0].T
    kinds, scores = rows[:, 4:].argmax(1), rows[:, 4:].max(1)
    found: list[tuple[int, float, np.ndarray]] = []
    for at in np.argsort(-scores):
        if scores[at] < 0.3:
            break
        x, y, w, h = rows[at, :4]
        box = (np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) - (left, top, left, top)) / scale
        if all(kind != kinds[at] or iou(box, other) < 0.6 for kind, _, other in found):
            found.append((int(kinds[at]), float(scores[at]), box))
    return found


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two corner boxes."""
    shared = (np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])).clip(min=0).prod()
    return float(shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def judge(
    session: onnxruntime.InferenceSession, picture: np.ndarray, truth: tuple[SceneObject, ...], tally: Tally
) -> None:
    """Counts a picture: each confident box, best first, takes the object of its class that it overlaps most."""
    left_over = [
        (
            CLASS_NAMES.index(t.class_name),
            np.array([t.x - t.width / 2, t.y - t.height / 2, t.x + t.width / 2, t.y + t.height / 2]),
            t.visible,
        )
        for t in truth
    ]
    tally.objects += sum(visible >= 0.5 for _, _, visible in left_over)
    for kind, score, box in detect(session, picture):
        if score < 0.5:
            tally.unsure += 1
            continue
        tally.boxes += 1
        same = [(iou(box, other), at) for at, (k, other, _) in enumerate(left_over) if k == kind]
        overlap, at = max(same, default=(0.0, -1))
        tally.iou_sum += overlap
        if overlap >= 0.5:
            tally.right += 1
            tally.found += left_over[at][2] >= 0.5
            del left_over[at]


def evaluate(path: Path) -> None:
    """Judge the detector of an ONNX file on all streets, and print a line for each part."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for name, darkest in (("day", False), ("dusk", True)):
        tally = Tally()
        for seed in HELD_OUT_SEEDS:
            street = Street(seed, frames=480)
            for number in range(10, 480, 30):
                if (street.darkness(number) > 0.5) == darkest:
                    judge(session, street.render(number), street.truth(number), tally)
        print(tally.line(f"held-out streets, {name}"))
    street = Street(DEMO_SEED)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, "street.mp4")
        write_video(street, video)
        reader = cv2.VideoCapture(str(video))
        day, dusk = Tally(), Tally()
        for number in range(street.frames):
            ok, picture = reader.read()
            if ok and number % 5 == 0:
                judge(session, picture, street.truth(number), dusk if street.darkness(number) > 0.5 else day)
    print(day.line("the demo's video, day"))
    print(dusk.line("the demo's video, dusk"))
    names = [field.name for field in fields(Tally)]
    both = Tally(*(getattr(day, n) + getattr(dusk, n) for n in names))
    print(both.line("the demo's video"))


def main() -> None:
    """Judge the detector that the command line names, or the demo's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=STREET_ONNX)
    evaluate(parser.parse_args().model)


if __name__ == "__main__":
    main()
