"""A YOLO dataset as Ultralytics' loaders read it: images/ and labels/ with a folder for each split, and data.yaml.

    data.yaml    classes.txt    images/train/NAME.jpg    labels/train/NAME.txt    images/val/...    labels/val/...

A dataset has one kind of labels: with keypoints, else with outlines, else boxes. Where some objects have an outline,
those without one have their box as outline, since the loaders drop all outlines of a dataset that mixes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from framesift.datasets.drafts import DatasetFacts, LabelledPicture
from framesift.datasets.splits import Split
from framesift.prediction.prediction import Detections
from framesift.sinks.yolo_labels import flip_indices, label_lines


class YoloDataset:
    """Writes one dataset. For one thread."""

    def __init__(self, root: Path, facts: DatasetFacts, splits: Sequence[Split]) -> None:
        """root: an empty folder. Raises OSError."""
        self._root = root
        self._facts = facts
        self._splits = splits
        self._indices = {name: index for index, name in enumerate(facts.class_names)}
        self.keypoint_shape = (facts.keypoints, 3) if facts.keypoints else None
        for split in splits:
            (root / "images" / split).mkdir(parents=True)
            (root / "labels" / split).mkdir(parents=True)

    def index_of(self, class_name: str) -> int:
        """The index of a class."""
        return self._indices[class_name]

    def picture_path(self, one: LabelledPicture, file_name: str) -> Path:
        """Where the picture belongs."""
        return self._root / "images" / one.split / file_name

    def add(self, one: LabelledPicture, picture: Path) -> None:
        """Writes the labels of a picture that lies at its place. Raises OSError."""
        assert isinstance(one.draft, Detections)
        labels = label_lines(one.draft, self, outlines=self._facts.has_outlines)
        (self._root / "labels" / one.split / f"{picture.stem}.txt").write_text(labels, encoding="utf-8")

    def finish(self) -> None:
        """Writes data.yaml and classes.txt. Raises OSError."""
        # No `path`: so the loaders search the pictures beside this file, wherever the folder is moved to.
        content: dict[str, object] = {str(split): f"images/{split}" for split in self._splits}
        if self.keypoint_shape is not None:
            content["kpt_shape"] = list(self.keypoint_shape)
            flips = [flip_indices(self._facts.keypoints_of(name)) for name in self._facts.keypoint_names]
            if flips[0] is not None and all(flip == flips[0] for flip in flips):
                content["flip_idx"] = flips[0]
        content["names"] = dict(enumerate(self._facts.class_names))
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (self._root / "data.yaml").write_text(text, encoding="utf-8")
        # Programs for labelling read the names from here: one a line, in the order of the indices.
        names = "".join(f"{' '.join(name.split())}\n" for name in self._facts.class_names)
        (self._root / "classes.txt").write_text(names, encoding="utf-8")
