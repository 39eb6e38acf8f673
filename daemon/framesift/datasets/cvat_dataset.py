"""CVAT for images 1.1: annotations.xml, and the pictures in images/ with a folder for each subset.

An object is a polygon where it has an outline or a mask, else a box; its keypoints are points in the same group. A
classifier's labels are tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from framesift.datasets.drafts import DatasetFacts, LabelledPicture, labels_of
from framesift.datasets.splits import Split
from framesift.prediction import masks
from framesift.prediction.prediction import Detection, Detections


class CvatDataset:
    """Writes one dataset. For one thread."""

    def __init__(self, root: Path, facts: DatasetFacts, splits: Sequence[Split]) -> None:
        """root: an empty folder. Raises OSError."""
        self._root = root
        self._images = 0
        for split in splits:
            (root / "images" / split).mkdir(parents=True)
        self._file = (root / "annotations.xml").open("wb", buffering=1 << 20)
        self._xml = XMLGenerator(self._file, encoding="utf-8", short_empty_elements=False)
        self._xml.startDocument()
        self._open("annotations")
        self._text("version", "1.1")
        self._open("meta")
        self._open("task")
        self._text("size", str(facts.pictures))
        self._text("mode", "annotation")
        self._open("labels")
        for name in facts.class_names:
            self._open("label")
            self._text("name", name)
            self._text("attributes", "")
            self._close("label")
        for element in ("labels", "task", "meta"):
            self._close(element)

    def picture_path(self, one: LabelledPicture, file_name: str) -> Path:
        """Where the picture belongs."""
        return self._root / "images" / one.split / file_name

    def add(self, one: LabelledPicture, picture: Path) -> None:
        """Writes the shapes of a picture. Pictures are numbered as they come: in the order of names. Raises OSError."""
        size = {"width": str(one.draft.width), "height": str(one.draft.height)}
        self._open("image", {"id": str(self._images), "name": picture.name, "subset": str(one.split)} | size)
        self._images += 1
        if isinstance(one.draft, Detections):
            for number, d in enumerate(one.draft.objects, 1):
                self._shapes(d, number)
        for name in labels_of(one.draft):
            self._element("tag", {"label": name, "source": "auto"})
        self._close("image")

    def finish(self) -> None:
        """Completes the file. Raises OSError."""
        self._close("annotations")
        self._xml.endDocument()
        self._file.close()

    def _shapes(self, d: Detection, number: int) -> None:
        attributes = {"label": d.class_name, "source": "auto", "occluded": "0", "z_order": "0"}
        if d.keypoints:
            attributes["group_id"] = str(number)
        corners = None if d.rle is None else masks.mask_to_polygon(masks.decode_mask(d.rle))
        outline = [(p.x, p.y) for p in d.points or ()] if corners is None else corners.tolist()
        if len(outline) >= 3:
            self._element("polygon", attributes | {"points": _points(outline)})
        else:
            sides = (d.x - d.width / 2, d.y - d.height / 2, d.x + d.width / 2, d.y + d.height / 2)
            box = zip(("xtl", "ytl", "xbr", "ybr"), (f"{side:.2f}" for side in sides), strict=True)
            self._element("box", attributes | dict(box))
        if d.keypoints:
            ordered = sorted(d.keypoints, key=lambda k: k.class_id)
            self._element("points", attributes | {"points": _points([(k.x, k.y) for k in ordered])})

    def _open(self, name: str, attributes: dict[str, str] | None = None) -> None:
        self._xml.startElement(name, AttributesImpl(attributes or {}))

    def _close(self, name: str) -> None:
        self._xml.endElement(name)
        self._xml.ignorableWhitespace("\n")

    def _element(self, name: str, attributes: dict[str, str]) -> None:
        self._open(name, attributes)
        self._close(name)

    def _text(self, name: str, text: str) -> None:
        self._open(name)
        self._xml.characters(text)
        self._close(name)


def _points(corners: Sequence[Sequence[float]]) -> str:
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in corners)
