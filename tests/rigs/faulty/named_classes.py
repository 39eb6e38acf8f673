"""A model that knows its classes, and fails where a file is missing that it was told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Finds:
    """Finds an object of its first class in the middle of every small picture. file: it fails without that."""

    task = "object-detection"

    def __init__(self, class_names: list[str], file: str | None = None) -> None:
        self.class_names = class_names
        self._file = None if file is None else Path(file)

    def __call__(self, pixels: Any) -> dict[str, Any]:
        if self._file is not None:
            self._file.read_text()
        height, width = pixels.shape[:2]
        place = {"x": width / 2, "y": height / 2, "width": 8, "height": 8}
        return {"predictions": [{**place, "confidence": 0.5, "class": self.class_names[0], "class_id": 0}]}
