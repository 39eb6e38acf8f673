"""Deliveries to hand to a sink, and two readers that take a folder as others do: a YOLO loader and an image folder's.

The readers follow the published conventions and are strict where training would silently leave a picture out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.sinks import Delivery, FolderSink, FolderSinkSettings

WIDTH, HEIGHT = 200, 100
CAPTURED_S = 1_789_041_600.125  # 2026-09-10T12:00:00.125Z


def jpeg(shade: int = 128, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    made, encoded = cv2.imencode(".jpg", np.full((height, width, 3), shade, np.uint8))
    assert made
    return encoded.tobytes()


def detection(
    class_name: str, x: float = 100.0, y: float = 50.0, w: float = 20.0, h: float = 10.0, **more: Any
) -> Detection:
    return Detection(x=x, y=y, width=w, height=h, confidence=0.5, class_name=class_name, class_id=0, **more)


def detected(*objects: Detection, task: Task = Task.OBJECT_DETECTION) -> Detections:
    return Detections(task=task, objects=objects, width=WIDTH, height=HEIGHT)


def delivery(number: int, prediction: Prediction | None = None, **changes: Any) -> Delivery:
    values: dict[str, Any] = {
        "id": f"{number:032x}",
        "device": "gate-7",
        "stream": "north",
        "frame": number,
        "captured_at_s": CAPTURED_S + number,
        "strategy": "unsure",
        "score": 0.25,
        "tags": ("gate-7", "night"),
        "batch": "cars_2026_09_10",
        "annotate": True,
        "width": WIDTH,
        "height": HEIGHT,
        "prediction": detected(detection("car")) if prediction is None else prediction,
        "jpeg": jpeg(number % 256),
    }
    return Delivery(**(values | changes))


def folder_sink(path: Path, class_names: tuple[str, ...] | None = None) -> FolderSink:
    return FolderSink(FolderSinkSettings(type="folder", path=path), class_names=class_names)


def deliver(sink: FolderSink, what: Delivery) -> Any:
    return sink.deliver(what, now_s=CAPTURED_S + 3600.0, within_s=45.0)


@dataclass(frozen=True)
class Label:
    """box: x, y, w, h; outline: (n, 2); keypoints: (k, 3); fractions of the picture."""

    class_name: str
    box: NDArray[np.float64] | None = None
    outline: NDArray[np.float64] | None = None
    keypoints: NDArray[np.float64] | None = None


def read_yolo(root: Path) -> dict[str, list[Label] | None]:
    """Labels by the image's stem, None for an image without a label file."""
    data = yaml.safe_load((root / "data.yaml").read_text(encoding="utf-8"))
    names = data["names"]
    names = dict(enumerate(names)) if isinstance(names, list) else names
    assert sorted(names) == list(range(len(names))), "the loaders refuse indices with gaps"
    base = Path(data["path"]) if "path" in data else root
    keypoints, dimensions = data.get("kpt_shape", (0, 0))
    found: dict[str, list[Label] | None] = {}
    for image in sorted((base / data["train"]).glob("*.jpg")):
        assert cv2.imread(str(image)) is not None, image
        label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
        if not label.exists():
            found[image.stem] = None
            continue
        rows = [line.split() for line in label.read_text(encoding="utf-8").splitlines()]
        segments = not keypoints and any(len(row) > 6 for row in rows)
        labels: list[Label] = []
        found[image.stem] = labels
        for row in rows:
            values = np.array(row[1:], np.float64)
            assert (values[:4] >= 0).all()
            assert (values[: 4 if keypoints else None] <= 1).all()
            name = names[int(row[0])]
            if keypoints:
                assert len(values) == 4 + keypoints * dimensions
                labels.append(Label(name, values[:4], keypoints=values[4:].reshape(keypoints, dimensions)))
            elif segments:
                assert len(values) >= 6
                assert len(values) % 2 == 0
                labels.append(Label(name, outline=values.reshape(-1, 2)))
            else:
                assert len(values) == 4
                labels.append(Label(name, values))
    assert (root / data["val"]).is_dir()
    return found


def read_image_folder(root: Path) -> list[dict[str, Any]]:
    """The rows of metadata.jsonl; the pictures they name must be there, and be pictures of the size they say."""
    header = yaml.safe_load((root / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert header["configs"][0]["data_files"][0]["path"] == ["metadata.jsonl", "images/*.jpg"]
    content = (root / "metadata.jsonl").read_bytes()
    assert content.endswith(b"\n")
    rows = [json.loads(line) for line in content.split(b"\n")[:-1]]
    for row in rows:
        picture = cv2.imread(str(root / row["file_name"]))
        assert picture is not None, row["file_name"]
        assert picture.shape[:2] == (row["height"], row["width"])
    assert {row["file_name"] for row in rows} <= {f"images/{p.name}" for p in (root / "images").glob("*.jpg")}
    return rows
