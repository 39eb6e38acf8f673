"""The stacks of running threads, innermost call first, and which module's work a thread waits for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

_MAX_STACKS = 64
_MAX_NAMES = 8
_MAX_DEPTH = 14
_PACKAGE = Path(__file__).parents[1]
# Modules of the package -> what a call in them waits for, for an operator.
_WAITS_FOR = {
    "models": "the model",
    "spool": "the spool's disk",
    "sinks": "the sink",
    "roboflow": "the platform",
    "policy": "the source of a policy",
    "limits": "the shared limits",
    "fleet": "the shared limits",
    "streams": "the reader of its stream",
    "listeners": "a client",
    "telemetry": "the log",
}


def waits_for(thread: threading.Thread) -> str:
    """Return what a thread waits for: decided by its innermost call in one of the modules of the table above."""
    for frame in _frames(thread):
        module = _file_of(frame).partition("/")[0].removesuffix(".py")
        if module in _WAITS_FOR:
            return _WAITS_FOR[module]
    return "something unknown"


def stack_line(thread: threading.Thread, max_depth: int = _MAX_DEPTH) -> str:
    """Return a thread's innermost calls in one line, without any values; empty if it does not run."""
    calls = [f"{_file_of(frame)}:{frame.f_lineno} {frame.f_code.co_name}" for frame in _frames(thread)]
    return " < ".join(calls[:max_depth])


def stack_lines(first: Iterable[threading.Thread]) -> list[str]:
    """Return one line per different stack of this process: the threads' names, then the calls. `first` come first."""
    leading = tuple(first)
    by_stack: dict[str, list[str]] = {}
    for thread in sorted(threading.enumerate(), key=lambda thread: thread not in leading):
        by_stack.setdefault(stack_line(thread), []).append(thread.name)
    return [f"{_joined(names)}: {calls}" for calls, names in list(by_stack.items())[:_MAX_STACKS]]


def _joined(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _frames(thread: threading.Thread) -> Iterator[FrameType]:
    frame = None if thread.ident is None else sys._current_frames().get(thread.ident)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _file_of(frame: FrameType) -> str:
    """The file of a call: within the package its path there, elsewhere its name."""
    path = Path(frame.f_code.co_filename)
    return path.relative_to(_PACKAGE).as_posix() if path.is_relative_to(_PACKAGE) else path.name
