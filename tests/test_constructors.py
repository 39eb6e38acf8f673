"""Constructors of public classes take at most five collaborators and two callbacks, so that tests can build each.

A callback is a parameter whose type is a `Callable`. A collaborator is one of any other type that is neither a value (a
number, a text, a path, a collection of these) nor data (settings, a policy, an enum, a frozen dataclass). A class that
needs more takes a small protocol, or does two things.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "daemon" / "framesift"
MAX_COLLABORATORS = 5
MAX_CALLBACKS = 2
VALUES = {"str", "int", "float", "bool", "bytes", "object", "Any", "None", "Literal", "Path", "SecretStr", "Policy"} | {
    *("tuple", "list", "dict", "set", "frozenset", "Collection", "Iterable", "Mapping", "Sequence")
}


@functools.cache
def _classes() -> tuple[tuple[str, ast.ClassDef], ...]:
    return tuple(
        (path.relative_to(PACKAGE).as_posix(), node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )


def _is_data(node: ast.ClassDef) -> bool:
    described = " ".join(map(ast.unparse, (*node.decorator_list, *node.bases)))
    return "frozen=True" in described or "Enum" in described or node.name.endswith(("Settings", "Options"))


def _names(annotation: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}


def _too_much(node: ast.ClassDef, values: set[str]) -> list[str]:
    """The callbacks and the collaborators of a class, where they are too many."""
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            parameters = [*member.args.args[1:], *member.args.kwonlyargs]
            types = {p.arg: _names(p.annotation) for p in parameters if p.annotation is not None}
            callbacks = [name for name, type_ in types.items() if "Callable" in type_]
            collaborators = [name for name, type_ in types.items() if "Callable" not in type_ and type_ - values]
            return [
                *(callbacks if len(callbacks) > MAX_CALLBACKS else ()),
                *(collaborators if len(collaborators) > MAX_COLLABORATORS else ()),
            ]
    return []


def test_constructors_take_few_collaborators_and_callbacks() -> None:
    values = VALUES | {node.name for _, node in _classes() if _is_data(node)}
    public = [(path, node) for path, node in _classes() if not node.name.startswith("_")]
    assert len(public) > 100
    too_much = {f"{path}: {node.name}": found for path, node in public if (found := _too_much(node, values))}
    assert too_much == {}


def test_no_two_public_classes_have_the_same_name() -> None:
    by_name: dict[str, list[str]] = {}
    for path, node in _classes():
        if not node.name.startswith("_"):
            by_name.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in by_name.items() if len(paths) > 1} == {}
