"""Loads code that is not part of framesift: a setting `factory: "module:function"`, with `options` and a `path`.

Models, strategies and sinks of `type: python` use it. It imports the module, finds the callable, checks for which
version of `framesift.extend` it was written, and calls it. Every failure is a FactoryError, a line for the operator.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import walk_tb
from types import CodeType
from typing import Annotated, Any

from pydantic import Field, JsonValue

from framesift.config.schema import FACTORY_PATTERN

# The version of the interface for outside code. It grows only when code that was written for it must change.
EXTEND_VERSION = 1
# The name under which a module says for which version it was written.
VERSION_CONSTANT = "FRAMESIFT_EXTEND"

FactoryName = Annotated[
    str,
    Field(
        pattern=FACTORY_PATTERN,
        max_length=256,
        description='"module:function": an importable module and a callable in it.',
    ),
]
FactoryOptions = Annotated[dict[str, JsonValue], Field(description="The keyword arguments of the factory.")]
FactoryPath = Annotated[Path | None, Field(description="A folder from which the module is imported first.")]


class FactoryError(ValueError):
    """The factory cannot be used. The text says what is wrong and where."""


def load_factory(name: str, folder: Path | None = None, *, versioned: bool = True) -> Callable[..., object]:
    """The callable that `name` ("module:function") stands for; its module is imported, from `folder` first.

    versioned: whether the module must say for which version of `framesift.extend` it was written. So a policy that
    names some other callable of this machine, such as `os:system`, is refused before anything is called.
    Raises FactoryError. Call it from one thread: it may extend `sys.path`.
    """
    module_name, _, attribute = name.partition(":")
    if folder is not None:
        _add_to_path(folder)
    try:
        module: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        searched = f" (looked in {folder} first)" if folder is not None else ""
        is_absent = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        advice = "; name its folder as `path`, or install it" if is_absent else ""
        raise FactoryError(f"can't import {module_name}{searched}: {failure_text(error)}{advice}") from error
    if versioned:
        _check_version(module, module_name)
    found = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise FactoryError(f"{module_name} has no callable {attribute!r}")
    factory: Callable[..., object] = found
    return factory


def call_factory(name: str, factory: Callable[..., object], options: Mapping[str, JsonValue]) -> Any:
    """What the factory returns for these options. Raises FactoryError where it fails, whatever it raises."""
    try:
        return factory(**options)
    except (Exception, SystemExit) as error:
        raise FactoryError(f"{name} failed: {failure_text(error)}") from error


def failure_text(error: BaseException) -> str:
    """An exception of outside code as one line: its type and its text, at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def failure_line(error: BaseException, called: Callable[..., object]) -> str:
    """Where outside code failed, as "file:line": the innermost line in the file of `called`, "" where it has no file.

    Where the call itself failed, such as with wrong arguments, it is the line at which `called` begins.
    """
    code = getattr(called, "__code__", None)
    if not isinstance(code, CodeType):
        return ""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == code.co_filename]
    return f"{code.co_filename}:{lines[-1] if lines else code.co_firstlineno}"


def _add_to_path(folder: Path) -> None:
    if not folder.is_dir():
        raise FactoryError(f"path: {folder} is not a folder")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _check_version(module: object, module_name: str) -> None:
    version = getattr(module, VERSION_CONSTANT, None)
    if version is None:
        raise FactoryError(
            f"{module_name} does not say for which version of framesift.extend it is written: "
            f"add the line {VERSION_CONSTANT} = {EXTEND_VERSION}"
        )
    if version != EXTEND_VERSION:
        raise FactoryError(
            f"{module_name} is written for version {version!r:.20} of framesift.extend, "
            f"and this framesift has version {EXTEND_VERSION}"
        )
