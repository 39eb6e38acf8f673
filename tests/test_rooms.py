"""The walls between the rooms: what each may import of framesift, which of them may read the environment, and how large
a room may grow. The table is the architecture; a new file that isn't in it fails here until its place is chosen."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "daemon" / "framesift"

# Nouns without behaviour that waits: any room may speak them.
NOUNS = {"frame", "moment", "prediction", "wire", "masks", "options", "datapoint"}

# room -> the rooms of framesift that it may import, beside itself. "*" is for those that build the house.
WALLS: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"alive", "cli"},
    "moment": set(),
    "clock": {"moment"},
    "options": set(),
    "frame": {"moment"},
    "masks": set(),
    "prediction": {"masks"},
    "wire": {"masks", "prediction"},
    "datapoint": {"frame", "moment", "prediction"},
    "redact": set(),
    "config_nouns": {"redact"},
    "config_errors": {"config_nouns", "options", "redact"},
    "config_text": {"config_nouns"},
    "config_variables": {"config_nouns", "config_text"},
    # Whoever asks once a minute must not load what a minute's work would need.
    "alive": {"config_nouns", "config_variables"},
    "streams": {"frame", "moment", "clock", "redact", "options"},
    # Those that lie elsewhere are asked over the web.
    "models": {"frame", "prediction", "wire", "masks", "options", "datapoint", "web", "redact"},
    "strategies": {"frame", "prediction", "options"},
    "sampling": {"frame", "prediction", "strategies", "policy"},
    "policy": {"options", "config_errors", "config_text", "datapoint", "strategies"},
    "limits": {"moment"},
    "spool": {"datapoint", "limits", "moment", "clock", "frame", "prediction", "wire"},
    "sinks": {"datapoint", "prediction", "wire", "masks", "options", "moment", "roboflow", "durable"},
    "web": {"redact"},
    "roboflow": {"web", "redact", "prediction"},
    "durable": set(),
    "telemetry": {"frame", "clock", "moment", "redact"},
    "notify": set(),
    "descriptors": set(),
    "status": {"telemetry", "spool", "clock", "moment"},
    "settings": {
        "options",
        "config_errors",
        "config_variables",
        "streams",
        "models",
        "sinks",
        "spool",
        "policy_source",
        "doors",
        "limits",
    },
    "policy_source": {
        "policy",
        "options",
        "config_errors",
        "config_text",
        "web",
        "roboflow",
        "durable",
        "redact",
        "rounds",
        "clock",
    }
    | {"moment", "prediction", "strategies"},
    "claims": {"policy", "sampling", "limits", "datapoint", "prediction", "options", "moment"},
    "trial": NOUNS | {"claims", "policy", "sampling", "strategies", "limits", "clock"},
    "rounds": {"clock"},
    "batches": {"roboflow", "rounds", "spool", "clock", "moment", "limits"},
    "crediting": {"rounds", "spool", "limits", "clock", "moment"},
    "intake": NOUNS | {"claims", "sampling", "strategies", "policy", "limits", "spool", "telemetry", "clock"},
    "sharing": {"crediting", "batches", "limits", "settings", "spool", "steering", "telemetry", "clock"},
    "intakes": {"limits", "intake", "claims", "steering", "settings", "sampling", "spool", "telemetry", "clock"}
    | {"policy_source", "prediction"},
    "doors": NOUNS
    | {"descriptors", "intake", "steering", "policy_source", "streams", "clock", "telemetry", "redact", "spool"},
    "watch": {"collect", "steering", "streams", "clock"},
    "model_health": {"clock", "telemetry"},
    "stacks": set(),
    "loop_monitor": {"clock", "telemetry", "stacks"},
    "probes": {"clock", "stacks"},
    "disk_room": set(),
    "running_daemon": {"settings"},
    "check_beside": {"running_daemon", "probes", "disk_room", "settings", "spool"},
    "collect": NOUNS | {"streams", "models", "model_health", "intake", "telemetry", "clock"},
    "gate": {"clock"},
    "upload": NOUNS | {"spool", "sinks", "limits", "telemetry", "clock", "gate"},
    "online": {"roboflow", "web", "settings"},
    "tell": {"descriptors", "telemetry", "streams", "sinks", "spool", "upload"},
    "steering": {
        "policy_source",
        "policy",
        "claims",
        "batches",
        "limits",
        "settings",
        "models",
        "strategies",
        "telemetry",
    }
    | {"clock", "config_errors", "online", "prediction", "roboflow"},
    "service": {"*"},
    "cli": {"*"},
    "console": {"redact"},
    "policy_commands": {"*"},
    "spool_commands": {"*"},
    "policy_exchange": {"*"},
    "check": {"*"},
    "demo": {"*"},
}

# The rooms that may look at the process's environment: configuration is read once, in one place. The reader process's
# parent builds a scrubbed environment for its child.
MAY_READ_ENVIRONMENT = {
    "settings",
    "config_variables",
    "streams",
    "__main__",
    "cli",
    "spool_commands",
    "policy_commands",
    "policy_exchange",
}
MOST_LINES = 400


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _imported_rooms(tree: ast.AST) -> set[str]:
    rooms: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            names = [f"framesift.{a.name}" for a in node.names] if module == "framesift" else [module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "framesift" and len(parts) > 1 and not parts[1].startswith("__"):
                rooms.add(parts[1])
    return rooms


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_its_walls_allow(path: Path) -> None:
    room = _room(path)
    assert room in WALLS, f"{room} has no place in the house yet: add it to WALLS"
    allowed = WALLS[room]
    if "*" in allowed:
        return
    forbidden = _imported_rooms(ast.parse(path.read_text(encoding="utf-8"))) - allowed - {room}
    assert not forbidden, f"{path.name} may not import {', '.join(sorted(forbidden))}"


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_settings_read_the_environment(path: Path) -> None:
    if _room(path) in MAY_READ_ENVIRONMENT:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        used = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
        assert not used, f"{path.name}:{getattr(node, 'lineno', 0)} reads the environment"


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_can_be_read_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{path.name} has {lines} lines: it is two rooms"


def test_no_room_is_named_after_nothing() -> None:
    rooms = {_room(path) for path in _files()}
    assert not rooms & {"utils", "helpers", "common", "core", "base", "manager", "handler"}


def test_no_wall_stands_around_a_room_that_is_gone() -> None:
    gone = set(WALLS) - {_room(path) for path in _files()}
    assert not gone, f"remove {', '.join(sorted(gone))} from WALLS"


def test_what_few_need_is_loaded_for_them_alone() -> None:
    code = "import sys, framesift.service; print([m for m in ('redis', 'onnxruntime', 'requests') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
