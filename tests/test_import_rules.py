"""The import rules: the layers of the package, what each module may import of it, which modules may read the
environment, and how large a file may grow. The tables are the architecture; a new module that isn't in them fails here
until its layer is chosen."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "daemon" / "framesift"

# A module is a folder of the package or a file beside the folders. It imports modules of lower layers only.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__init__", "config", "clock", "atomic_files", "backoff", "processes"),
    ("frame", "prediction", "periodic", "http_client"),
    ("pictures", "decisions", "coverage"),
    ("datapoint", "telemetry", "roboflow", "strategies", "streams", "limits"),
    ("models", "sinks", "policy", "known", "spool", "privacy"),
    ("sampling", "upload", "status", "extend", "estimation", "datasets"),
    ("collect", "listeners", "simulation", "page"),
    ("settings",),
    ("fleet",),
    ("service",),
    ("demo",),
    ("cli",),
    ("__main__",),
)

# Path (a module, or a file that may import less than its module) -> the modules that it may import, beside itself.
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "config": set(),
    "clock": set(),
    "atomic_files": set(),
    "backoff": set(),
    "processes": set(),
    "frame": {"clock"},
    "prediction": set(),
    "periodic": {"clock"},
    "http_client": {"config"},
    "pictures": {"frame"},
    "decisions": {"clock", "atomic_files", "frame", "prediction", "periodic"},
    "coverage": {"atomic_files", "prediction"},
    "pictures/picture_files": {"config"},
    "datapoint": {"clock", "frame", "prediction", "pictures"},
    "telemetry": {"config", "clock", "frame", "decisions", "coverage"},
    "roboflow": {"config", "backoff", "prediction", "http_client"},
    "strategies": {"config", "frame", "prediction", "decisions"},
    "known": {"atomic_files", "pictures", "strategies"},
    "streams": {"config", "clock", "atomic_files", "backoff", "frame", "http_client", "pictures"},
    "limits": {"clock"},
    "models": {
        "config",
        "clock",
        "backoff",
        "frame",
        "prediction",
        "http_client",
        "pictures",
        "telemetry",
    },
    "sinks": {"config", "clock", "atomic_files", "backoff", "prediction", "datapoint", "roboflow"},
    "policy": {
        "config",
        "clock",
        "atomic_files",
        "backoff",
        "prediction",
        "periodic",
        "http_client",
        "pictures",
        "datapoint",
        "roboflow",
        "strategies",
    },
    "spool": {
        "clock",
        "atomic_files",
        "backoff",
        "processes",
        "frame",
        "prediction",
        "datapoint",
        "limits",
    },
    "privacy": {"config", "frame", "prediction", "pictures"},
    "sampling": {
        "atomic_files",
        "decisions",
        "coverage",
        "periodic",
        "config",
        "clock",
        "frame",
        "prediction",
        "pictures",
        "datapoint",
        "telemetry",
        "strategies",
        "limits",
        "policy",
        "known",
        "privacy",
        "spool",
        "streams",
    },
    "upload": {"clock", "backoff", "prediction", "limits", "sinks", "spool"},
    "page": {"config", "coverage", "decisions", "telemetry", "prediction", "limits", "spool", "sinks", "status"},
    "status": {"atomic_files", "config", "processes", "telemetry"},
    "extend": {"config", "frame", "prediction", "strategies", "sinks"},
    "estimation": {"prediction", "strategies", "sinks", "policy"},
    "datasets": {"frame", "prediction", "sinks", "spool"},
    "collect": {"frame", "telemetry", "streams", "models", "sampling"},
    "listeners": {
        "config",
        "clock",
        "processes",
        "frame",
        "prediction",
        "pictures",
        "telemetry",
        "policy",
        "sampling",
    },
    "simulation": {
        "config",
        "clock",
        "frame",
        "prediction",
        "pictures",
        "strategies",
        "streams",
        "limits",
        "models",
        "policy",
        "known",
        "privacy",
        "sampling",
    },
    "settings": {
        "config",
        "atomic_files",
        "streams",
        "limits",
        "models",
        "sinks",
        "policy",
        "spool",
        "privacy",
        "listeners",
    },
    "fleet": {"clock", "backoff", "periodic", "telemetry", "roboflow", "limits", "spool", "settings"},
    "service": {
        "page",
        "coverage",
        "decisions",
        "config",
        "clock",
        "atomic_files",
        "frame",
        "prediction",
        "periodic",
        "http_client",
        "telemetry",
        "roboflow",
        "strategies",
        "streams",
        "limits",
        "models",
        "sinks",
        "policy",
        "spool",
        "known",
        "privacy",
        "sampling",
        "upload",
        "status",
        "collect",
        "listeners",
        "settings",
        "fleet",
    },
    "demo": {
        "config",
        "clock",
        "prediction",
        "pictures",
        "telemetry",
        "streams",
        "models",
        "sinks",
        "datasets",
        "settings",
        "service",
    },
    "cli": {
        "status",
        "coverage",
        "decisions",
        "config",
        "clock",
        "atomic_files",
        "processes",
        "frame",
        "http_client",
        "prediction",
        "pictures",
        "datapoint",
        "telemetry",
        "roboflow",
        "strategies",
        "streams",
        "limits",
        "models",
        "sinks",
        "policy",
        "known",
        "spool",
        "sampling",
        "estimation",
        "datasets",
        "privacy",
        "simulation",
        "listeners",
        "settings",
        "service",
        "demo",
    },
    "cli/alive": {"config", "processes"},
    "__main__": {"cli"},
}

# Configuration is read once, in one place. The parent of a reader process makes a scrubbed environment for it.
MAY_READ_ENVIRONMENT = {
    "settings",
    "config/variables",
    "streams/engines/gstreamer",  # writes it: what GStreamer logs
    "streams/engines/opencv",  # writes it: OpenCV takes its options of FFmpeg from there
    "streams/reader_forks",
    "streams/reader_template",
    "__main__",
    "cli",
}
# One way out for pixels: whoever makes a picture for somebody calls it, with a mask.
MAY_ENCODE_PIXELS = {
    "pictures/outgoing",
    "demo/scene",  # the rendered street, which shows nobody
}
ENCODERS = {"imencode", "imencodemulti", "imwrite", "imwritemulti", "VideoWriter", "to_image", "save", "encode_video"}
MAX_LINES = 400


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _path(file: Path) -> str:
    """`spool/rows` for a file in a folder, `spool` for a folder's own, `frame` for a file beside the folders."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return "/".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _module(file: Path) -> str:
    return _path(file).split("/")[0]


def _most_exact(path: str, table: set[str]) -> str | None:
    """The longest beginning of the path that stands in the table."""
    parts = path.split("/")
    beginnings = ("/".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((beginning for beginning in beginnings if beginning in table), None)


@dataclass(frozen=True)
class Source:
    """What a file of the package says. imports: modules of framesift, in whichever line. names: each name that it uses,
    and each attribute with a dot before it, with the line."""

    imports: set[str]
    names: list[tuple[int, str]]


def _source(file: Path) -> Source:
    source = Source(set(), [])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            source.names.append((node.lineno, f".{node.attr}"))
        elif isinstance(node, ast.Name):
            source.names.append((node.lineno, node.id))
        elif isinstance(node, ast.Import):
            source.imports.update(_modules([alias.name for alias in node.names]))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_path(file)}:{node.lineno}: imports are absolute"
            source.imports.update(
                _modules([f"framesift.{a.name}" for a in node.names] if node.module == "framesift" else [node.module])
            )
    return source


def _modules(names: list[str | None]) -> set[str]:
    parts = [(name or "").split(".") for name in names]
    return {of[1] for of in parts if of[0] == "framesift" and len(of) > 1 and not of[1].startswith("__")}


@functools.cache
def _sources() -> dict[Path, Source]:
    return {file: _source(file) for file in _files()}


def _layer(module: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if module in layer)


def test_a_module_imports_only_what_is_allowed() -> None:
    wrong: list[str] = []
    for file, source in _sources().items():
        path = _most_exact(_path(file), set(ALLOWED))
        if path is None:
            wrong.append(f"{_module(file)} has no layer yet: add it to LAYERS and ALLOWED")
        elif forbidden := source.imports - ALLOWED[path] - {_module(file)}:
            wrong.append(f"{_path(file)} may not import {', '.join(sorted(forbidden))}")
    assert not wrong, "\n".join(wrong)


def test_no_import_goes_upward() -> None:
    wrong: list[str] = []
    for path, allowed in ALLOWED.items():
        module = path.split("/")[0]
        if upward := {other for other in allowed if _layer(other) >= _layer(module)}:
            wrong.append(f"{path} lies below {', '.join(sorted(upward))}, or beside it")
    assert not wrong, "\n".join(wrong)


def test_what_nobody_imports_is_not_allowed_either() -> None:
    used: dict[str, set[str]] = {}
    for file, source in _sources().items():
        used.setdefault(_most_exact(_path(file), set(ALLOWED)) or "", set()).update(source.imports)
    wrong = [f"{path} is gone: remove it from ALLOWED" for path in ALLOWED if path not in used]
    for path, imports in used.items():
        if unused := ALLOWED.get(path, set()) - imports:
            wrong.append(f"{path} no longer imports {', '.join(sorted(unused))}")
    assert not wrong, "\n".join(wrong)


def test_every_module_stands_in_one_layer() -> None:
    modules = [module for layer in LAYERS for module in layer]
    assert sorted(modules) == sorted({_module(file) for file in _files()})


def test_only_settings_read_the_environment() -> None:
    wrong = [
        f"{_path(file)}:{line} reads the environment"
        for file, source in _sources().items()
        if _most_exact(_path(file), MAY_READ_ENVIRONMENT) is None
        for line, name in source.names
        if name in {".environ", ".getenv"}
    ]
    assert not wrong, "\n".join(wrong)


def test_pixels_have_one_way_out() -> None:
    wrong = [
        f"{_path(file)}:{line} encodes pixels: {name}"
        for file, source in _sources().items()
        if _path(file) not in MAY_ENCODE_PIXELS
        for line, name in source.names
        if name.removeprefix(".") in ENCODERS
    ]
    assert not wrong, "\n".join(wrong)


def test_a_file_can_be_read_in_one_sitting() -> None:
    lines = {_path(file): len(file.read_text(encoding="utf-8").splitlines()) for file in _files()}
    wrong = [f"{path} has {count} lines: it does two things" for path, count in lines.items() if count > MAX_LINES]
    assert not wrong, "\n".join(wrong)


def test_the_package_opens_with_few_files() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 10


def test_no_module_is_named_after_nothing() -> None:
    names = {file.stem for file in _files()}
    assert not names & {"utils", "helpers", "common", "core", "base", "manager", "handler", "misc"}


def test_what_few_need_is_loaded_for_them_alone() -> None:
    code = (
        "import sys, framesift.service.service; "
        "print([m for m in ('redis', 'onnxruntime', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
