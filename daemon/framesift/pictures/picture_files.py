"""PictureFiles: which pictures a path names.

a folder            every picture below it, whatever the folders are called: a YOLO dataset, or what the folder
                    sink has written; names that begin with a dot don't count
FILE.yaml, .yml     a YOLO dataset: its `path`, and `train`, `val` and `test`, each a folder, a list of pictures
                    (.txt), or several of them
FILE.json           COCO: its `images`, each with a `file_name`, beside it, in its folder `images`, or in the folder
                    above
a picture           itself
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framesift.config import text as config_text
from framesift.config.types import ConfigError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_YAML, _COCO, _LIST = (".yaml", ".yml"), (".json",), (".txt",)
_PARTS = ("train", "val", "test")
_MAX_LIST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file that holds a picture. size_bytes, changed_ns: of its content, by which it is known again."""

    path: str
    size_bytes: int
    changed_ns: int


@dataclass(slots=True)
class PictureFiles:
    """What was found. files: by path. unreadable: a sentence for each thing that could not be read."""

    files: dict[str, PictureFile] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


class Interrupted(Exception):
    """The caller wants to end."""


def path_problem(path: Path) -> str | None:
    """Why a path can't name pictures, in words; None if it can, as far as that shows without reading it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"there is no such file or folder ({error.strerror})"
    if stat.S_ISDIR(mode) or path.suffix.lower() in (*_YAML, *_COCO, *PICTURES):
        return None
    return "it must be a folder of pictures, a YOLO dataset (its folder or data.yaml), a COCO file (.json) or a picture"


def find_pictures(path: Path, found: PictureFiles, keep_on: Callable[[], bool]) -> None:
    """Adds the pictures that `path` names. keep_on: is asked again and again. Raises Interrupted when it says no."""
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            _walk(path, found, keep_on)
        elif suffix in _YAML:
            _yolo(path, found, keep_on)
        elif suffix in _COCO:
            _coco(path, found, keep_on)
        else:
            _add(path, found)
    except OSError as error:
        found.unreadable.append(f"{path}: {error.strerror}")
    except (ValueError, RecursionError, ConfigError) as error:  # no JSON, no YAML, no such dataset
        found.unreadable.append(f"{path}: {error}")


def _walk(folder: Path, found: PictureFiles, keep_on: Callable[[], bool]) -> None:
    """Links to folders are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        if not keep_on():
            raise Interrupted
        here = waiting.pop()
        try:
            described = Path(here).stat()
            if (described.st_dev, described.st_ino) in seen:
                continue
            seen.add((described.st_dev, described.st_ino))
            with os.scandir(here) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
            waiting += [entry.path for entry in visible if entry.is_dir()]
        except OSError as error:
            found.unreadable.append(f"{here}: {error.strerror}")
            continue
        for entry in visible:
            if entry.name.lower().endswith(PICTURES):
                _add(Path(entry.path), found)


def _yolo(path: Path, found: PictureFiles, keep_on: Callable[[], bool]) -> None:
    data = config_text.parse(path.read_text(encoding="utf-8"), str(path), is_json=False).data
    if not isinstance(data, dict) or not any(data.get(part) for part in _PARTS):
        raise ValueError(f"no YOLO dataset: it has none of {', '.join(_PARTS)}")
    folders = [path.parent]
    if isinstance(data.get("path"), str):
        folders.insert(0, path.parent / data["path"])
    for part in _PARTS:
        values = data.get(part) if isinstance(data.get(part), list) else [data.get(part)]
        for value in values or ():
            if isinstance(value, str):
                # Exports say "../train/images" of what lies beside them.
                place = _first_there(folders, value, value.removeprefix("../"))
                if place.suffix.lower() in _LIST and place.is_file():
                    _listed(place, folders, found, keep_on)
                else:
                    find_pictures(place, found, keep_on)


def _listed(path: Path, folders: list[Path], found: PictureFiles, keep_on: Callable[[], bool]) -> None:
    """The pictures of a list, one a line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            _add(_first_there([path.parent, *folders], line.strip()), found)
            if not keep_on():
                raise Interrupted


def _coco(path: Path, found: PictureFiles, keep_on: Callable[[], bool]) -> None:
    if path.stat().st_size > _MAX_LIST_BYTES:
        raise ValueError(f"more than {_MAX_LIST_BYTES:,} bytes")
    data: Any = json.loads(path.read_bytes())
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list):
        raise ValueError("no COCO file: it has no list of images")
    folders = [path.parent, path.parent / "images", path.parent.parent, path.parent.parent / "images"]
    for name in _file_names(images):
        _add(_first_there(folders, name), found)
        if not keep_on():
            raise Interrupted


def _file_names(images: list[Any]) -> Iterator[str]:
    for image in images:
        name = image.get("file_name") if isinstance(image, dict) else None
        if isinstance(name, str):
            yield name


def _first_there(folders: list[Path], *names: str) -> Path:
    """The first place at which there is something; if there is none, the first of all."""
    places = [folder / name for name in names for folder in folders]
    return next((place for place in places if place.exists()), places[0])


def _add(path: Path, found: PictureFiles) -> None:
    try:
        described = path.stat()
        if not stat.S_ISREG(described.st_mode):
            raise OSError(0, "it is no file")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        found.unreadable.append(f"{path}: {getattr(error, 'strerror', None) or error}")
        return
    name = os.path.normpath(path)
    found.files[name] = PictureFile(name, described.st_size, described.st_mtime_ns)
