"""A classifier's dataset: a folder for each class in a folder for each split, as torchvision and Ultralytics read it.

    train/car/NAME.jpg    train/bus/...    val/car/...    test/car/...

Each split has a folder for every class, also an empty one: loaders number the classes by the folders that they see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from framesift.datasets.drafts import DatasetFacts, LabelledPicture, labels_of
from framesift.datasets.errors import DatasetError
from framesift.datasets.splits import Split

_LONGEST_NAME_BYTES = 255  # of a folder, on nearly all file systems
_UNUSABLE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.")


class ClassFolders:
    """Writes one dataset. For one thread."""

    def __init__(self, root: Path, facts: DatasetFacts, splits: Sequence[Split]) -> None:
        """root: an empty folder. Raises OSError, and DatasetError where two classes would share a folder."""
        self._root = root
        self._folders: dict[str, str] = {}
        taken: dict[str, str] = {}
        for name in facts.class_names:
            folder = _UNUSABLE.sub("-", name).encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore")
            if folder in taken:
                both = f"the classes {taken[folder]!r} and {name!r} would share the folder {folder}"
                raise DatasetError(f"{both}: rename one of them in the model, or take --format cvat")
            taken[folder] = name
            self._folders[name] = folder
        for split in splits:
            for folder in taken:
                (root / split / folder).mkdir(parents=True)

    def picture_path(self, one: LabelledPicture, file_name: str) -> Path:
        """Where the picture belongs."""
        (label,) = labels_of(one.draft)
        return self._root / one.split / self._folders[label] / file_name

    def add(self, one: LabelledPicture, picture: Path) -> None:
        """Nothing: the folder says the class."""

    def finish(self) -> None:
        """Nothing."""
