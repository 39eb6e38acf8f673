"""Class names, from the configuration, a file, or what the network says of itself."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from framesift.models.model import ModelLoadError
from framesift.prediction import wire_format as wire

_MOST_CLASSES = 100_000


def from_file(path: Path) -> tuple[str, ...]:
    """A text file with one name a line, or a YAML file with `names` (a list, or class id to name), as YOLO datasets
    have. Raises ModelLoadError.
    """
    where = f"model.class_names_file: {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ModelLoadError(f"{where}: {reason}") from error
    if path.suffix.lower() in (".yaml", ".yml"):
        try:
            said = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ModelLoadError(f"{where}: {error}") from error
        return _named(said.get("names") if isinstance(said, Mapping) else None, f"{where}: names")
    return _named([line.strip() for line in text.strip().splitlines()], where)


def from_metadata(text: str, path: Path) -> tuple[str, ...]:
    """Ultralytics writes the names as a Python dictionary's text. Raises ModelLoadError."""
    where = f"model.path: {path}: its metadata's names"
    try:
        said = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ModelLoadError(f"{where} can't be read ({text!r:.80}); give model.class_names") from error
    return _named(said, where)


def placeholders(count: int) -> tuple[str, ...]:
    """For a network whose classes nobody has named."""
    return tuple(f"class_{number}" for number in range(count))


def _named(said: Any, where: str) -> tuple[str, ...]:
    if isinstance(said, Mapping):
        try:
            by_id = {int(key): name for key, name in said.items()}
        except (TypeError, ValueError):
            raise ModelLoadError(f"{where}: the keys are class ids, whole numbers from 0 on") from None
        missing = next((number for number in range(len(said)) if number not in by_id), None)
        if missing is not None:
            raise ModelLoadError(f"{where}: class id {missing} has no name")
        said = [by_id[number] for number in range(len(by_id))]
    if not isinstance(said, list | tuple) or not 1 <= len(said) <= _MOST_CLASSES:
        raise ModelLoadError(f"{where}: a list of names is expected, or class id to name")
    names: list[str] = []
    for number, name in enumerate(said):
        try:
            names.append(wire.clean_class_name(name))
        except ValueError as error:
            raise ModelLoadError(f"{where}: class {number}: {error}") from None
    return tuple(names)
