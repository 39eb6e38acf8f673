"""Labels that came back as one COCO file: images, annotations and categories."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from framesift.estimation.errors import EstimationError
from framesift.estimation.labels import LabelCollector, Labels, cut_to_picture
from framesift.estimation.matching import LabelledObject


def read_coco_labels(path: Path, ids: Collection[str]) -> Labels:
    """Reads a COCO file. An image without annotations is one with nothing on it. Raises EstimationError, OSError."""
    return _CocoFile(path).read(ids)


class _CocoFile:
    """The content of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise EstimationError(f"{path}: is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise EstimationError(f"{path}: an object with images, annotations and categories is expected")
        self._content = content

    def read(self, ids: Collection[str]) -> Labels:
        categories = {c["id"]: str(c["name"]) for _, c in self._items("categories", "id", "name")}
        collector = LabelCollector(ids)
        found: dict[Any, str] = {}  # ids of pictures by those of the file's images
        images: dict[Any, Mapping[str, Any]] = {}
        for place, image in self._items("images", "id", "file_name"):
            if image["id"] in images:
                raise EstimationError(f"{place}: two images have the id {image['id']}")
            images[image["id"]] = image
            extra = image.get("extra")
            id = collector.id_in(str(image["file_name"]), str(extra.get("name")) if isinstance(extra, dict) else "")
            if id is not None:
                found[image["id"]] = id
        objects: dict[Any, list[LabelledObject]] = {image_id: [] for image_id in found}
        for place, annotation in self._items("annotations", "image_id", "category_id"):
            if annotation["category_id"] not in categories:
                raise EstimationError(f"{place}.category_id: {annotation['category_id']} is the id of no category")
            if annotation["image_id"] not in images:
                raise EstimationError(f"{place}.image_id: {annotation['image_id']} is the id of no image")
            if annotation["image_id"] in objects:
                class_name = categories[annotation["category_id"]]
                objects[annotation["image_id"]].append(
                    _object(place, annotation, images[annotation["image_id"]], class_name)
                )
        for image_id, id in found.items():
            collector.add(id, f"{self._path}: {images[image_id]['file_name']}", tuple(objects[image_id]))
        return collector.labels(tuple(categories.values()))

    def _items(self, name: str, *keys: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The items of a list with their places; each has these keys."""
        items = self._content.get(name)
        if not isinstance(items, list):
            raise EstimationError(f"{self._path}: {name}: a list is expected, not {type(items).__name__}")
        placed = [(f"{self._path}: {name}[{number}]", item) for number, item in enumerate(items)]
        for place, item in placed:
            for key in keys:
                if not isinstance(item, dict) or not isinstance(item.get(key), str | int | float):
                    raise EstimationError(f"{place}: an object with {' and '.join(keys)} is expected")
        return placed


def _object(place: str, annotation: Mapping[str, Any], image: Mapping[str, Any], class_name: str) -> LabelledObject:
    box = annotation.get("bbox")
    if not box:
        return LabelledObject(class_name, None)
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise EstimationError(f"{place}.bbox: {str(box)[:80]} is no x, y, width and height in pixels")
    if not all(_is_number(image.get(side)) and image[side] > 0 for side in ("width", "height")):
        raise EstimationError(f"{place}: its image {image['file_name']} has no width and height in pixels")
    width, height = image["width"], image["height"]
    x, y, w, h = box
    return LabelledObject(class_name, cut_to_picture((x / width, y / height, (x + w) / width, (y + h) / height)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
