"""A COCO dataset: for each split a folder with its pictures and one file, which lists them with their annotations.

    train/NAME.jpg    train/_annotations.coco.json    valid/...    test/...

Ids begin at 1. A polygon stays one; a mask becomes uncompressed run lengths, which every reader of COCO knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np

from framesift.datasets.drafts import DatasetFacts, LabelledPicture
from framesift.datasets.splits import Split
from framesift.prediction import masks
from framesift.prediction.prediction import Detection, Detections

FOLDERS = {Split.TRAIN: "train", Split.VAL: "valid", Split.TEST: "test"}
FILE_NAME = "_annotations.coco.json"


class CocoDataset:
    """Writes one dataset; annotations go to the disk at once, only the list of pictures is kept. For one thread."""

    def __init__(self, root: Path, facts: DatasetFacts, splits: Sequence[Split]) -> None:
        """root: an empty folder. Raises OSError."""
        self._root = root
        self._facts = facts
        self._ids = {name: id for id, name in enumerate(facts.class_names, 1)}
        self._files: dict[Split, _CocoFile] = {}
        for split in splits:
            (root / FOLDERS[split]).mkdir()
            self._files[split] = _CocoFile(root / FOLDERS[split] / FILE_NAME, [*map(self._category, self._ids)])

    def picture_path(self, one: LabelledPicture, file_name: str) -> Path:
        """Where the picture belongs."""
        return self._root / FOLDERS[one.split] / file_name

    def add(self, one: LabelledPicture, picture: Path) -> None:
        """Writes the annotations of a picture. Raises OSError."""
        assert isinstance(one.draft, Detections)
        captured = datetime.fromtimestamp(one.picture.captured_at_s, timezone.utc)
        image = {
            "file_name": picture.name,
            "width": one.draft.width,
            "height": one.draft.height,
            "date_captured": f"{captured:%Y-%m-%d %H:%M:%S}",
        }
        self._files[one.split].add(image, [self._annotation(d) for d in one.draft.objects])

    def finish(self) -> None:
        """Completes the files. Raises OSError."""
        for file in self._files.values():
            file.close()

    def _category(self, name: str) -> dict[str, Any]:
        category: dict[str, Any] = {"id": self._ids[name], "name": name, "supercategory": ""}
        keypoints = self._facts.keypoints_of(name)
        return category | {"keypoints": keypoints, "skeleton": []} if keypoints else category

    def _annotation(self, d: Detection) -> dict[str, Any]:
        box = [_rounded(v) for v in (d.x - d.width / 2, d.y - d.height / 2, d.width, d.height)]
        annotation: dict[str, Any] = {
            "category_id": self._ids[d.class_name],
            "bbox": box,
            "area": _rounded(d.width * d.height),
            "iscrowd": 0,
            "segmentation": [],
            "score": round(d.confidence, 4),
        }
        runs = [] if d.rle is None else masks.decode_counts(d.rle.counts)
        if d.rle is not None and any(runs[1::2]):  # a mask without a pixel is none
            annotation["segmentation"] = {"size": [d.rle.height, d.rle.width], "counts": runs}
            annotation["area"] = sum(runs[1::2])
        elif d.points is not None and len(d.points) >= 3:
            corners = np.array([(p.x, p.y) for p in d.points])
            annotation["segmentation"] = [[_rounded(v) for v in corners.ravel().tolist()]]
            annotation["area"] = _rounded(_polygon_area(corners))
        keypoints = self._facts.keypoints_of(d.class_name)
        if keypoints:
            flat = [0.0] * (3 * len(keypoints))
            for k in d.keypoints or ():
                if k.class_id >= 0:
                    flat[3 * k.class_id : 3 * k.class_id + 3] = [_rounded(k.x), _rounded(k.y), 2]
            annotation |= {"keypoints": flat, "num_keypoints": sum(v > 0 for v in flat[2::3])}
        return annotation


class _CocoFile:
    """One file: the annotations first, then the images, which are known last."""

    def __init__(self, path: Path, categories: list[dict[str, Any]]) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations = 0
        self._file: IO[str] = path.open("w", encoding="utf-8")
        begin = {"info": {"description": "drafts of labels: predictions, not truth"}, "licenses": []}
        self._file.write(json.dumps(begin | {"categories": categories})[:-1] + ', "annotations": [')

    def add(self, image: dict[str, Any], annotations: list[dict[str, Any]]) -> None:
        self._images.append({"id": len(self._images) + 1} | image)
        for annotation in annotations:
            self._file.write(",\n" if self._annotations else "\n")
            self._annotations += 1
            ids = {"id": self._annotations, "image_id": len(self._images)}
            self._file.write(json.dumps(ids | annotation, allow_nan=False))

    def close(self) -> None:
        with self._file:
            self._file.write(f'\n], "images": {json.dumps(self._images)}}}\n')


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _polygon_area(corners: Any) -> float:
    x, y = corners[:, 0], corners[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
