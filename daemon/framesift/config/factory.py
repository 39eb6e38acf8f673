"""Loads code that is not part of framesift: a setting `factory: "module:function"`, with `options` and a `path`.

Models, strategies and sinks of `type: python` use it. It checks in the module's source for which version of
`framesift.extend` it was written, imports the module, finds the callable, and calls it. Every failure is a
FactoryError, a line for the operator.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from traceback import walk_tb
from types import CodeType
from typing import Annotated, Any

from pydantic import Field, JsonValue

from framesift.config.paths import LocalPath
from framesift.config.schema import FACTORY_PATTERN

# The version of the interface for outside code. It grows only when code that was written for it must change.
EXTEND_VERSION = 1
# The name under which a module says for which version it was written.
VERSION_CONSTANT = "FRAMESIFT_EXTEND"

_MAX_LINE = 300  # characters

FactoryName = Annotated[
    str,
    Field(
        pattern=FACTORY_PATTERN,
        max_length=256,
        description='"module:function": an importable module and a callable in it.',
        examples=["detector:make"],
    ),
]
FactoryOptions = Annotated[
    dict[str, JsonValue],
    Field(description="The keyword arguments of the factory.", examples=[{"weights": "yolo11n.pt"}]),
]
FactoryPath = Annotated[
    LocalPath | None, Field(description="A folder from which the module is imported first.", examples=["."])
]


class FactoryError(ValueError):
    """The factory cannot be used. The text says what is wrong and where."""


def load_factory(name: str, folder: Path | None = None, *, versioned: bool = True) -> Callable[..., object]:
    """The callable that `name` ("module:function") stands for; its module is imported, from `folder` first.

    versioned: whether the module must say for which version of `framesift.extend` it was written. The line is looked
    for in its source: so a policy that names some other module of this machine, such as `os:system`, is refused before
    anything of it runs. The same holds for the packages that the module is in, unless they are empty.
    Raises FactoryError. Call it from one thread: it may extend `sys.path`.
    """
    module_name, _, attribute = name.partition(":")
    if folder is not None:
        _add_to_path(folder)
    try:
        if versioned:
            _check_source(module_name)
        module: Any = importlib.import_module(module_name)
    except FactoryError:
        raise
    except (Exception, SystemExit) as error:
        searched = f" (looked in {folder} first)" if folder is not None else ""
        is_absent = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        advice = "; name its folder as `path`, or install it" if is_absent else ""
        raise FactoryError(f"can't import {module_name}{searched}: {failure_text(error)}{advice}") from error
    if folder is not None:
        _check_origin(module, module_name, folder)
    if versioned:
        _check_version(read_attribute(module, VERSION_CONSTANT, module_name), module_name)
    found = module
    for part in attribute.split("."):
        found = read_attribute(found, part, name)
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


def read_attribute(owner: object, attribute: str, name: str) -> Any:
    """An attribute of an object of outside code, None where it has none.

    name: of the factory, for the message. Raises FactoryError where reading it fails, whatever that raises.
    """
    try:
        return getattr(owner, attribute, None)
    except (Exception, SystemExit) as error:
        raise FactoryError(f"{name}: reading its {attribute} failed: {failure_text(error)}") from error


def failure_text(error: BaseException) -> str:
    """An exception of outside code as one line: its type and its text, at most 300 characters."""
    return one_line(f"{type(error).__name__}: {_text_of(error)}")


def one_line(value: object) -> str:
    """The text of any value of outside code as one line that can be printed and stored, at most 300 characters."""
    line = " ".join(_text_of(value)[: 8 * _MAX_LINE].split())[:_MAX_LINE]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def _text_of(value: object) -> str:
    """str() of any value, also of one whose `__str__` fails."""
    try:
        return str.__str__(str(value))  # of a subclass of str, the plain text
    except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
        return f"its text can't be read ({type(error).__name__})"


def failure_line(error: BaseException, called: Callable[..., object]) -> str:
    """Where outside code failed, as "file:line": the innermost line in the file of `called`, "" where it has no file.

    Where the call itself failed, such as with wrong arguments, it is the line at which `called` begins.
    """
    try:
        code = getattr(called, "__code__", None)
    except (Exception, SystemExit):  # noqa: BLE001 - code of others may raise anything
        return ""
    if not isinstance(code, CodeType):
        return ""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == code.co_filename]
    return f"{code.co_filename}:{lines[-1] if lines else code.co_firstlineno}"


def _add_to_path(folder: Path) -> None:
    try:
        is_folder = folder.is_dir()
    except OSError as error:
        raise FactoryError(f"path: {folder} can't be read: {failure_text(error)}") from error
    if not is_folder:
        raise FactoryError(f"path: {folder} is not a folder")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _check_source(module_name: str) -> None:
    """Looks for the version in the source of the module, and of the packages that it is in. Imports nothing unchecked.

    Raises FactoryError; whatever finding a module raises passes.
    """
    parts = module_name.split(".")
    for i in range(1, len(parts) + 1):
        part_name = ".".join(parts[:i])
        spec = importlib.util.find_spec(part_name)  # imports the packages around it: those have been checked
        if spec is None:
            raise ModuleNotFoundError(f"No module named {part_name!r}", name=part_name)
        is_package = i < len(parts)
        if is_package and spec.loader is None:  # a folder without __init__.py
            continue
        get_source = getattr(spec.loader, "get_source", None)
        source = None if get_source is None else get_source(part_name)
        if source is None:
            raise FactoryError(
                f"{part_name} does not say for which version of framesift.extend it is written: it has no source"
            )
        statements = ast.parse(source).body
        if is_package and all(_is_docstring(statement) for statement in statements):
            continue
        versions = (_version_in(statement) for statement in statements)
        _check_version(next((version for version in versions if version is not None), None), part_name)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _version_in(statement: ast.stmt) -> int | None:
    """The version, if the statement is `FRAMESIFT_EXTEND = <a whole number>`."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return None
    is_constant = any(isinstance(target, ast.Name) and target.id == VERSION_CONSTANT for target in targets)
    if is_constant and isinstance(statement.value, ast.Constant) and type(statement.value.value) is int:
        return statement.value.value
    return None


def _check_version(version: object, module_name: str) -> None:
    if version is None:
        raise FactoryError(
            f"{module_name} does not say for which version of framesift.extend it is written: "
            f"add the line {VERSION_CONSTANT} = {EXTEND_VERSION}"
        )
    if type(version) is not int or version != EXTEND_VERSION:
        raise FactoryError(
            f"{module_name} is written for version {one_line(version)[:20]} of framesift.extend, "
            f"and this framesift has version {EXTEND_VERSION}"
        )


def _check_origin(module: object, module_name: str, folder: Path) -> None:
    """Raises FactoryError if the folder has such a module, and it is another one: Python loads a name only once."""
    wanted = _file_in(folder, module_name)
    loaded = read_attribute(module, "__file__", module_name)
    if wanted is None or (isinstance(loaded, str) and Path(loaded).resolve() == wanted.resolve()):
        return
    where = one_line(loaded) if loaded else "Python itself"
    raise FactoryError(
        f"{module_name} is {wanted} here, but a module of this name is loaded already, from {where}; "
        "give one of the two another name"
    )


def _file_in(folder: Path, module_name: str) -> Path | None:
    """The file of a module below a folder; None if there is none."""
    searched: list[str] | None = [str(folder)]
    origin: str | None = None
    parts = module_name.split(".")
    for i in range(1, len(parts) + 1):
        spec = None if searched is None else PathFinder.find_spec(".".join(parts[:i]), searched)
        if spec is None:
            return None
        origin = spec.origin
        searched = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    return None if origin is None else Path(origin)
