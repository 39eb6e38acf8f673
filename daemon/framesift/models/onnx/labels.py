"""Class names, from a file or from the metadata of a network."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from framesift.models.git_lfs import git_lfs_problem
from framesift.models.model import ModelLoadError
from framesift.prediction import wire_format

_MAX_CLASSES = 100_000


def from_file(path: Path) -> tuple[str, ...]:
    """Reads a text file with one name per line, or a YAML file with `names`, as YOLO datasets have.

    `names` is a list, or a mapping of class ids to names. Raises ModelLoadError.
    """
    where = f"model.class_names_file: {path}"
    if (problem := git_lfs_problem(path)) is not None:
        raise ModelLoadError(f"model.class_names_file: {problem}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ModelLoadError(f"{where}: {reason}") from error
    if path.suffix.lower() in (".yaml", ".yml"):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ModelLoadError(f"{where}: {error}") from error
        return _checked(value.get("names") if isinstance(value, Mapping) else None, f"{where}: names")
    return _checked([line.strip() for line in text.strip().splitlines()], where)


def from_metadata(text: str, path: Path) -> tuple[str, ...]:
    """Parses the names in the metadata: Ultralytics writes them as a Python dictionary. Raises ModelLoadError."""
    where = f"model.path: {path}: its metadata's names"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ModelLoadError(f"{where} can't be read ({text!r:.80}); give model.class_names") from error
    try:
        return _checked(value, where)
    except ModelLoadError as error:
        raise ModelLoadError(f"{error}; give model.class_names, which is used instead") from None


def placeholders(count: int) -> tuple[str, ...]:
    """Names for the classes of a network that has none: class_0, class_1, ..."""
    return tuple(f"class_{number}" for number in range(count))


def _checked(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        try:
            by_id = {int(key): name for key, name in value.items()}
        except (TypeError, ValueError):
            raise ModelLoadError(f"{where}: the keys are class ids, whole numbers from 0 on") from None
        missing = next((number for number in range(len(value)) if number not in by_id), None)
        if missing is not None:
            raise ModelLoadError(f"{where}: class id {missing} has no name")
        value = [by_id[number] for number in range(len(by_id))]
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MAX_CLASSES:
        given = "" if value else ", and there are none: write them there, or give model.class_names"
        raise ModelLoadError(f"{where}: a list of names is expected, or class id to name{given}")
    names: list[str] = []
    for number, name in enumerate(value):
        try:
            names.append(wire_format.clean_class_name(name))
        except ValueError as error:
            raise ModelLoadError(f"{where}: class {number}: {error}") from None
    return tuple(names)
