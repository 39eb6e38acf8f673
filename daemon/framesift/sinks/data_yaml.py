"""data.yaml of a YOLO dataset: which class has which index.

A new class is a new line at the end of the file, written with one write and one fsync: what it costs does not depend on
how many classes there are. For that the file must end with its block of names, in the form that is written here. A file
that doesn't (it is new, or a person or another program wrote it) is written anew once, and replaced atomically; so is
one that has a second name, since a copy made of links must not change. `nc`, where a file has it, is its first line, of
a fixed width, and is changed in place.

A power cut can leave an incomplete last line. It is cut off where the file can't be read with it; no label uses its
class yet, as labels are written after it.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import yaml

from framesift.atomic_files import write_atomically
from framesift.prediction.prediction import Detections, Task
from framesift.prediction.wire_values import MAX_KEYPOINTS
from framesift.sinks.yolo_labels import flip_indices

# libyaml's are 10 times as quick; wheels have them, some systems' builds don't.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_ONE_LINE = 2**31 - 1  # of width: long names are not wrapped
_NC_LINE = "nc: {:<10}\n"  # in one sector of the disk, so that it is changed completely or not at all
# The name of a class that has none; of an end-to-end network there may be so many.
_MADE_UP = re.compile(r"class_(0|[1-9][0-9]{0,2})")
_INCOMPLETE_LINE = re.compile(rb" {1,2}([0-9][^\n]*)?\0*|\0+")


class InvalidDataYaml(Exception):
    """data.yaml was changed by hand and can't be read. It is never overwritten."""


class DataYaml:
    """data.yaml: the index of each class. An index never changes its class. For one thread at a time.

    What a person wrote into the file stays there, except comments; `names` may be a list or a mapping.
    keypoint_shape: (number of keypoints, 2 or 3 columns each), None for a folder without poses.
    """

    def __init__(self, path: Path, class_names: tuple[str, ...] | None) -> None:
        """class_names: of the model, in its order; they are the first of a new file."""
        self._path = path
        self._model_names = class_names or ()
        self._reset()

    @staticmethod
    def read_names(path: Path) -> tuple[dict[int, str], tuple[int, int] | None]:
        """The classes of a file of others by their index, and `keypoint_shape`. Raises OSError, InvalidDataYaml."""
        content = _parse(path, path.read_bytes())
        return _names(content.get("names")), _pose_shape(content.get("kpt_shape"))

    def refresh(self) -> None:
        """Reads the file if it has changed. Raises OSError, InvalidDataYaml."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._reset()
            return
        if _stamp(status) != self._stamp:
            self._read(status)

    def index_of(self, class_name: str) -> int:
        """The index of a class. Raises KeyError before `add_classes` had it."""
        return self._indices[class_name]

    def add_classes(self, prediction: Detections) -> None:
        """Gives an index to each class in `prediction` that has none, and writes the file.

        Raises OSError, InvalidDataYaml.
        """
        new = [n for n in dict.fromkeys(d.class_name for d in prediction.objects) if n not in self._indices]
        if not new and not self._nc_is_wrong:
            return
        new = self._with_those_between(new)
        if not (self._can_be_extended and self._append(new)):
            self._write(new, prediction)

    def _with_those_between(self, new: list[str]) -> list[str]:
        """The new classes; of a model whose classes have no names, also those that were not seen yet.

        So class_62 has the index 62, as in the model, whichever class is seen first.
        """
        numbers = [int(found[1]) for name in new if (found := _MADE_UP.fullmatch(name))]
        if len(numbers) < len(new) or not numbers or (self._model_names and not self._names):
            return new
        if any(self._names.get(index) != f"class_{index}" for index in range(len(self._names))):
            return new
        return [f"class_{number}" for number in range(len(self._names), max(numbers) + 1)]

    def _reset(self) -> None:
        self._stamp: tuple[int, int, int] | None = None
        self._content: dict[str, Any] = {}  # all but the names
        self._indices: dict[str, int] = {}  # a name that a person wrote twice has the lower index
        self._names: dict[int, str] = {}
        self._next_index = 0
        self._can_be_extended = False
        self._nc_is_wrong = False  # the process ended between a new name and the new number of names
        self.keypoint_shape: tuple[int, int] | None = None

    def _read(self, status: os.stat_result) -> None:
        text = self._path.read_bytes()
        try:
            content = _parse(self._path, text)
        except InvalidDataYaml:
            text = self._without_incomplete_line(text)
            content = _parse(self._path, text)
            status = self._path.stat()
        self._reset()
        self._stamp = _stamp(status)
        names_are_last = next(reversed(content), None) == "names"
        self._names = _names(content.pop("names", None))
        self.keypoint_shape = _pose_shape(content.get("kpt_shape"))
        self._indices = {name: index for index, name in sorted(self._names.items(), reverse=True)}
        self._next_index = max(self._names, default=-1) + 1
        self._content = content
        self._can_be_extended = names_are_last and status.st_nlink == 1 and self._ends_as_written(text)
        self._nc_is_wrong = self._can_be_extended and content.get("nc", len(self._names)) != len(self._names)

    def _without_incomplete_line(self, text: bytes) -> bytes:
        """Cuts a broken last line of our own off the file. Raises InvalidDataYaml if there is none, or OSError."""
        end = text.rfind(b"\n") + 1
        whole = text[:end]
        if _INCOMPLETE_LINE.fullmatch(text[end:]):
            names = _names(_parse(self._path, whole).get("names"))
            if names and whole.endswith(_line(*list(names.items())[-1])):
                with os.fdopen(os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as file:
                    file.truncate(end)
                    os.fsync(file.fileno())
                return whole
        return text

    def _ends_as_written(self, text: bytes) -> bool:
        """Whether a line at the end of the file, which was just read, is one more name."""
        if not self._names or ("nc" in self._content and not text.startswith(b"nc: ")):
            return False
        if "nc" in self._content and text.find(b"\n") + 1 != len(_NC_LINE.format(0)):
            return False
        last = list(self._names.items())[-1]
        return b"\nnames:\n  " in text and text.endswith(b"\n" + _line(*last))

    def _append(self, new: list[str]) -> bool:
        """Adds classes at the end of the file; False if it isn't the file that was read last. Raises OSError."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._path, flags)
        try:
            before = os.fstat(file)
            if _stamp(before) != self._stamp or before.st_nlink != 1:
                return False
            added = {self._next_index + number: name for number, name in enumerate(new)}
            lines = b"".join(_line(index, name) for index, name in added.items())
            try:
                if os.pwrite(file, lines, before.st_size) != len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fsync(file)
            except OSError:
                self._stamp = None  # read again whatever becomes of it
                os.ftruncate(file, before.st_size)
                raise
            if "nc" in self._content:
                self._stamp = None
                self._content["nc"] = len(self._names) + len(added)
                os.pwrite(file, _NC_LINE.format(self._content["nc"]).encode(), 0)
                os.fsync(file)
            self._names.update(added)
            self._indices.update({name: index for index, name in added.items()})
            self._next_index += len(added)
            self._nc_is_wrong = False
            self._stamp = _stamp(os.fstat(file))
        finally:
            os.close(file)
        return True

    def _write(self, new: list[str], prediction: Detections) -> None:
        """Replaces the file by one that has the new classes and can be extended. Raises OSError, InvalidDataYaml."""
        self.refresh()
        # No `path`: so the loaders search the pictures beside this file, wherever the folder is moved to.
        content = {"train": "images", "val": "images"} | self._content
        names = dict(self._names)
        if not names:
            keypoints = 1 + max((k.class_id for d in prediction.objects for k in d.keypoints or ()), default=-1)
            if prediction.task is Task.KEYPOINT_DETECTION and keypoints:
                content.setdefault("kpt_shape", [keypoints, 3])
                numbered = {k.class_id: k.class_name for d in prediction.objects for k in d.keypoints or ()}
                flipped = flip_indices([numbered.get(number, "") for number in range(keypoints)])
                if flipped is not None:
                    content.setdefault("flip_idx", flipped)
            names = dict(enumerate(self._model_names))
        known = set(names.values())
        next_index = max(names, default=-1) + 1
        names |= dict(enumerate((name for name in new if name not in known), next_index))
        has_nc = content.pop("nc", None) is not None
        text = _NC_LINE.format(len(names)) if has_nc else ""
        text += yaml.dump(content, Dumper=_DUMPER, sort_keys=False, allow_unicode=True) + "names:\n"
        lines = b"".join(_line(index, name) for index, name in names.items())
        write_atomically(self._path, text.encode() + lines)
        self.refresh()


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _line(index: int, name: str) -> bytes:
    """The line of one class in the block of names."""
    for style in (None, '"'):
        text: str = yaml.dump(name, Dumper=_DUMPER, allow_unicode=True, width=_ONE_LINE, default_style=style)
        text = text.removesuffix("...\n").removesuffix("\n")
        if "\n" not in text:
            break
    return f"  {index}: {text}\n".encode()


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    """The content of the file. Raises InvalidDataYaml."""
    try:
        content = yaml.load(text.decode("utf-8"), Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidDataYaml(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict | None):
        raise InvalidDataYaml(f"{path}: a mapping with names is expected, not {type(content).__name__}")
    try:
        _names((content or {}).get("names"))
        _pose_shape((content or {}).get("kpt_shape"))
    except ValueError as error:
        raise InvalidDataYaml(f"{path}: {error}") from None
    return content or {}


def _names(value: object) -> dict[int, str]:
    if value is None:
        return {}
    try:
        pairs = enumerate(value) if isinstance(value, list) else value.items()  # type: ignore[attr-defined]  # AttributeError is handled
        names = {int(index): str(name) for index, name in pairs}
    except (AttributeError, TypeError, ValueError):
        raise ValueError("names: a list of class names, or a mapping from indices to them, is expected") from None
    if min(names, default=0) < 0:
        raise ValueError(f"names: the index {min(names)} is negative")
    return names


def _pose_shape(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value):
        count, dimensions = value
        if 1 <= count <= MAX_KEYPOINTS and dimensions in (2, 3):
            return count, dimensions
    raise ValueError(f"kpt_shape: [number of keypoints, 2 or 3] is expected, not {value!r}")
