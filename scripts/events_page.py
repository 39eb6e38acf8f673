"""Writes docs/events.md: every log event with its level and its fields as the code logs them, and what they mean.

    .venv/bin/python scripts/events_page.py [FILE]

Names, levels and fields are read from the places in the code that log; the sentences are in
telemetry/event_meanings.py. A place that this script can't read is an error, and so is an event or a field without a
meaning, or a meaning without one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from framesift.telemetry.event_meanings import EVENTS, FIELDS
from framesift.telemetry.lines import LEVELS
from markdown_pages import ROOT, table, write

PACKAGE = ROOT / "daemon" / "framesift"


@dataclass(frozen=True)
class _Fields:
    """The fields of one place. sometimes: those of them that not every line has."""

    names: tuple[str, ...] = ()
    sometimes: frozenset[str] = frozenset()

    def __add__(self, other: _Fields) -> _Fields:
        return _Fields(tuple(dict.fromkeys(self.names + other.names)), self.sometimes | other.sometimes)


_INTRODUCTION = """
# Log events

Each line of the log is an event: JSON on one line, or text where the output is a terminal (`log.format`). Every line
has `time` (UTC), `level` and `event`, and `repeated` where it stands for several that were alike, within a minute.
Names and fields are stable; new ones may come with any version. Fields in parentheses are not in every line of the
event. Secrets are `****`. How lines are folded, and what happens where nobody reads them:
[operating.md](operating.md#logs-status-service-container).

This page is written by `scripts/events_page.py` from the code and `telemetry/event_meanings.py`.
"""

# The methods of Telemetry that log, and the level of their lines.
_METHODS = {
    "debug": "debug",
    "info": "info",
    "state_changed": "info",
    "warning": "warning",
    "refused": "error",
    "error": "error",
}
_OF_HEALTH = ("info", "warning", "error")  # by the condition: ok, degraded, failed
# The spool and the pauses report their events to functions (service/startup.py, service/operator_hands.py).
_REPORTS = ("report", "_report")
_REPORTING = ("spool/", "sampling/pauses.py")
# Changes of state are logged by the health, which may add this.
_OF_STATES = _Fields(("unlogged",), frozenset(["unlogged"]))
# With an exception as the cause, a line has both of these.
_OF_CAUSES = _Fields(("cause", "exception"), frozenset(["cause", "exception"]))
# Lines whose fields are made where they are logged, out of what can't be read here.
_COMPUTED = {"log_lines_dropped": LEVELS}
# Places that hand on an event which another place names: (module, the name's expression).
_HANDED_ON = {
    ("service/startup.py", "name"),
    ("service/operator_hands.py", "name"),
    ("service/reports.py", "change.name"),
    ("spool/writer.py", "event"),
    ("telemetry/__init__.py", "name"),
    ("telemetry/__init__.py", "line.event.name"),
}


class Unreadable(Exception):
    """A place that logs something that can't be told from its text."""


@dataclass
class Event:
    """What all places together log under one name. fields: those that every line has, and the others."""

    name: str
    levels: set[str] = field(default_factory=set)
    always: set[str] | None = None
    fields: dict[str, None] = field(default_factory=dict)

    def add(self, level: str, always: set[str], names: list[str]) -> None:
        """One more place."""
        self.levels.add(level)
        self.always = always if self.always is None else self.always & always
        self.fields |= dict.fromkeys(names)


class _Module:
    """One file, and what its names stand for."""

    def __init__(self, path: Path, package: Path) -> None:
        self.name = str(path.relative_to(package))
        self._tree = ast.parse(path.read_text(encoding="utf-8"))
        self._parents = {child: node for node in ast.walk(self._tree) for child in ast.iter_child_nodes(node)}

    def calls(self) -> Iterator[ast.Call]:
        """Every call in it."""
        return (node for node in ast.walk(self._tree) if isinstance(node, ast.Call))

    def fields(self, node: ast.expr, place: ast.AST) -> _Fields:
        """The keys of a mapping that is given at a place of the file."""
        if isinstance(node, ast.Dict):
            found = _Fields()
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    found += self.fields(value, place)
                elif isinstance(key, ast.Constant):
                    found += _Fields((str(key.value),))
                else:
                    raise self.unreadable(node)
            return found
        if isinstance(node, ast.IfExp):
            one, other = self.fields(node.body, place), self.fields(node.orelse, place)
            both = one + other
            return _Fields(both.names, both.sometimes | (set(one.names) ^ set(other.names)))
        if isinstance(node, ast.DictComp) and isinstance(node.key, ast.Name):
            (loop,) = node.generators  # of the items of another mapping, some of them left out
            if isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Attribute):
                kept = self.fields(loop.iter.func.value, place)
                return _Fields(kept.names, frozenset(kept.names if loop.ifs else kept.sometimes))
        if isinstance(node, ast.Name):
            return self.fields(self._assigned(node.id, place), place)
        raise self.unreadable(node)

    def _assigned(self, name: str, place: ast.AST) -> ast.expr:
        """What the function around the place assigns to a name, or the one around that."""
        scope = self._parents.get(place)
        while scope is not None:
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(scope):
                    if isinstance(node, ast.Assign) and len(node.targets) == 1:
                        pairs = [(node.targets[0], node.value)]
                        if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                            pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))
                        for target, value in pairs:
                            if isinstance(target, ast.Name) and target.id == name:
                                return value
            scope = self._parents.get(scope)
        raise self.unreadable(place)

    def unreadable(self, node: ast.AST) -> Unreadable:
        """The error about a place."""
        return Unreadable(f"{self.name}:{getattr(node, 'lineno', 0)}: the event or its fields can't be read here")


def _names(module: _Module, node: ast.expr) -> tuple[str, ...]:
    """The names that an event may have at a place; none where the place hands on an event."""
    if isinstance(node, ast.IfExp):
        return (*_names(module, node.body), *_names(module, node.orelse))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    if (module.name, ast.unparse(node)) in _HANDED_ON:
        return ()
    raise module.unreadable(node)


def _place(module: _Module, call: ast.Call) -> tuple[str, ast.expr, _Fields] | None:
    """(level, name, fields) where the call logs an event, None where it does not."""
    if isinstance(call.func, ast.Attribute):
        owner, method = ast.unparse(call.func.value), call.func.attr
        logs = owner.endswith("telemetry") or (owner == "self" and module.name == "telemetry/__init__.py")
        if method in _METHODS and logs and call.args:
            (name,) = call.args
            return _METHODS[method], name, _keywords(module, call, name)
        if owner == "self._events" and method == "log":
            level, name, fields = call.args
            if not _names(module, name):  # a method of Telemetry, or a change of state: found where it is called
                return None
            levels = str(level.value) if isinstance(level, ast.Constant) else ", ".join(_OF_HEALTH)
            return levels, name, module.fields(fields, call)
        if method == "append" and owner.endswith("events") and module.name.startswith("spool/"):
            (pair,) = call.args
            if isinstance(pair, ast.Tuple):
                return "warning", pair.elts[0], module.fields(pair.elts[1], call)
    function = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if function in _REPORTS and module.name.startswith(_REPORTING):
        name, fields = call.args
        names = _names(module, name)
        severity = "info" if names and names[0].startswith("stream_") else "warning"  # of a pause
        return severity, name, module.fields(fields, call) if names else _Fields()
    if function == "StateEvent":
        name, fields = call.args
        return "info", name, module.fields(fields, call) + _OF_STATES
    return None


def _keywords(module: _Module, call: ast.Call, name: ast.expr) -> _Fields:
    names = _names(module, name)
    if not names:
        return _Fields()
    if names[0] in _COMPUTED:
        return _Fields(_COMPUTED[names[0]], frozenset(_COMPUTED[names[0]]))
    found = _Fields()
    for keyword in call.keywords:
        if keyword.arg is not None:
            found += _Fields((keyword.arg,))
        else:
            found += module.fields(keyword.value, call)
    return found + _OF_CAUSES if "cause" in found.names else found


def events(package: Path = PACKAGE) -> dict[str, Event]:
    """All events that the code logs, by name. Raises Unreadable."""
    found: dict[str, Event] = {}
    for path in sorted(package.rglob("*.py")):
        module = _Module(path, package)
        for call in module.calls():
            place = _place(module, call)
            if place is None:
                continue
            levels, name_node, fields = place
            for name in _names(module, name_node):
                for level in levels.split(", "):
                    always = set(fields.names) - fields.sometimes
                    found.setdefault(name, Event(name)).add(level, always, list(fields.names))
    return dict(sorted(found.items()))


def meaning_of(event: str, name: str) -> str:
    """What a field of an event means. Raises KeyError."""
    own = f"{event}.{name}"
    return FIELDS[own] if own in FIELDS else FIELDS[name]


def page() -> str:
    """The text of docs/events.md. Raises Unreadable, and ValueError if meanings and code differ."""
    found = events()
    used = {key for event in found.values() for name in event.fields for key in (f"{event.name}.{name}", name)}
    missing = [name for name in found if name not in EVENTS]
    missing += [
        f"{e.name}.{name}" for e in found.values() for name in e.fields if not {f"{e.name}.{name}", name} & {*FIELDS}
    ]
    left = [*(set(EVENTS) - set(found)), *(set(FIELDS) - used)]
    if missing or left:
        raise ValueError(f"telemetry/event_meanings.py: no meaning for {missing}; nothing logs {sorted(left)}")
    rows, meanings = [], []
    for event in found.values():
        levels = ", ".join(level for level in LEVELS if level in event.levels)
        always = event.always or set()
        shown = ", ".join(f"`{name}`" if name in always else f"(`{name}`)" for name in event.fields)
        rows.append((f"`{event.name}`", levels, EVENTS[event.name], shown))
    for key in sorted(FIELDS, key=lambda key: key.rpartition(".")[::-1]):
        of_event, _, name = key.rpartition(".")
        meanings.append((f"`{name}`", f"`{of_event}`" if of_event else "", FIELDS[key]))
    lines = [
        _INTRODUCTION.strip(),
        "",
        *table(("event", "level", "what happened", "fields"), rows),
        *("", "## Fields", ""),
        *table(("field", "event", "what it is"), meanings),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write(page, "events.md")
