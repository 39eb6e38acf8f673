"""Where a running thread stands: its calls, innermost first, and which room's work it waits for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

_MOST_STACKS = 64
_MOST_NAMES = 8
_DEEPEST = 14
_PACKAGE = Path(__file__).parents[1]
_WAITS_FOR = {
    "models": "the model",
    "spool": "the spool's disk",
    "sinks": "the sink",
    "roboflow": "the platform",
    "policy_source": "the source of a policy",
    "limits": "the ledger of the limits",
    "streams": "the reader of its stream",
    "doors": "a client",
    "telemetry": "the log",
}


def waits_for(thread: threading.Thread) -> str:
    """By the innermost of its calls that is in a room of which one can tell."""
    for frame in _frames(thread):
        room = _place(frame).partition("/")[0].removesuffix(".py")
        if room in _WAITS_FOR:
            return _WAITS_FOR[room]
    return "something unknown"


def stack_line(thread: threading.Thread, deepest: int = _DEEPEST) -> str:
    """Its innermost calls in one line, without any of their values; empty where it does not run."""
    calls = [f"{_place(frame)}:{frame.f_lineno} {frame.f_code.co_name}" for frame in _frames(thread)]
    return " < ".join(calls[:deepest])


def stack_lines(first: Iterable[threading.Thread]) -> list[str]:
    """A line for each stack of this process, with the threads that are in it; those of `first` lead."""
    leading = tuple(first)
    by_stack: dict[str, list[str]] = {}
    for thread in sorted(threading.enumerate(), key=lambda thread: thread not in leading):
        by_stack.setdefault(stack_line(thread), []).append(thread.name)
    return [f"{_listed(names)}: {calls}" for calls, names in list(by_stack.items())[:_MOST_STACKS]]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _frames(thread: threading.Thread) -> Iterator[FrameType]:
    frame = None if thread.ident is None else sys._current_frames().get(thread.ident)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType) -> str:
    """The file of a call: within the package by its path there, else by its name."""
    path = Path(frame.f_code.co_filename)
    return path.relative_to(_PACKAGE).as_posix() if path.is_relative_to(_PACKAGE) else path.name
