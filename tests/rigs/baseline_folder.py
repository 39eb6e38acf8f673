"""A collected folder with pictures of the baseline, as the folder sink writes it, without the pictures themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

DAY_BEGINS_S = 1_795_910_400.0  # 2026-11-29
SIZE = (200, 100)  # of a picture, in pixels


def picture_id(number: int) -> str:
    return f"{number:032x}"


def found_object(class_name: str, x: float = 50.0, *, confidence: float = 0.9, y: float = 50.0) -> dict[str, Any]:
    """An object of 20 x 20 pixels. x, y: its centre."""
    box = {"x": x, "y": y, "width": 20.0, "height": 20.0}
    return box | {"confidence": confidence, "class": class_name, "class_id": 0}


def objects(*found: dict[str, Any]) -> dict[str, Any]:
    return {"image": {"width": SIZE[0], "height": SIZE[1]}, "predictions": list(found)}


def label(top: str) -> dict[str, Any]:
    scores = [{"class": name, "class_id": n, "confidence": 0.5} for n, name in enumerate(("car", "bus"))]
    return {"image": {"width": SIZE[0], "height": SIZE[1]}, "predictions": scores, "top": top, "confidence": 0.5}


@dataclass
class BaselineFolder:
    """The folder, and the names of its pictures without an ending, by their numbers."""

    path: Path
    names: dict[int, str] = field(default_factory=dict)

    def add(
        self,
        number: int,
        prediction: dict[str, Any] | None,
        *,
        weight: object = 100,
        stream: str = "gate",
        strategy: str = "baseline",
        device: str = "box",
    ) -> None:
        """Adds the line of a picture: the one with this number, captured so many ten minutes after midnight."""
        captured = datetime.fromtimestamp(DAY_BEGINS_S + 600 * number, timezone.utc)
        name = f"{device}_{stream}_{captured:%Y%m%dT%H%M%S000Z}_{picture_id(number)}"
        fields: dict[str, Any] = {
            "file_name": f"images/{name}.jpg",
            "id": picture_id(number),
            "device": device,
            "stream": stream,
            "frame": number,
            "captured_at": f"{captured:%Y-%m-%dT%H:%M:%S.000Z}",
            "strategy": strategy,
            "score": None,
            "tags": [],
            "batch": "b",
            "width": SIZE[0],
            "height": SIZE[1],
            "prediction": prediction,
        }
        if weight is not None:
            fields["weight"] = weight
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "metadata.jsonl").open("a", encoding="ascii") as file:
            file.write(json.dumps(fields) + "\n")
        self.names[number] = name

    def add_all(self, predictions: Sequence[dict[str, Any]], **same: Any) -> None:
        for number, prediction in enumerate(predictions):
            self.add(number, prediction, **same)


def write_yolo(folder: Path, class_names: Sequence[str], labels: Mapping[str, Sequence[str]]) -> None:
    """Writes a YOLO dataset. labels: the lines of each picture, by its name."""
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(json.dumps({"names": list(class_names)}), encoding="utf-8")
    for name, lines in labels.items():
        (folder / "labels" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_coco(
    path: Path, class_names: Sequence[str], labels: Mapping[str, Sequence[tuple[int, list[float] | None]]]
) -> None:
    """Writes a COCO file. labels: class and box (x, y, width, height in pixels) by the name of the picture's file."""
    images = [{"id": n, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for n, name in enumerate(labels)]
    annotations = [
        {"id": 0, "image_id": n, "category_id": category} | ({} if box is None else {"bbox": box})
        for n, of_image in enumerate(labels.values())
        for category, box in of_image
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(class_names)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
