"""Events: one line for each thing worth knowing, and no more lines than a human or a small disk can take.

Two rules keep the flood out, and neither loses a count:
- The same event (name, level and the fields that say of whom it speaks) within 60 s is held, and told at the end of the
  minute with `repeated`, the number of events that the line stands for, and the fields of the latest.
- Lines come from a bucket that gains one a second and holds 60; the last 20 are kept for warnings, errors and changes
  of state. An event that finds none is held until there is one.

Every text passes the redactor, and control characters are spelt out, so that nothing that a camera or a platform sends
can forge a line or move a terminal's cursor. Where lines go, and what becomes of those that nobody reads: lines.py.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from typing import Any, Protocol

import structlog

from framesift.clock.clock import Clock
from framesift.config.redact import Redactor
from framesift.telemetry.lines import LEVELS, LogOutput

FOLD_S = 60.0
BUCKET_LINES = 60.0
RESERVED_FOR_WARNINGS = 20.0

# Of whom an event speaks: with its name and level, what makes two events the same.
_WHO = ("stream", "strategy", "component", "state", "sink", "reason", "path", "setting")
_OWN_KEYS = ("time", "level", "event", "repeated", "exception")
_MOST_KINDS = 1000
_LONGEST_TEXT = 2000
_LONGEST_TRACE = 16000
_DEEPEST = 6
_LOOK_S = 1.0  # a flood of events must not look through all that is held at each of them


class LogStyle(Protocol):
    """What is printed, and how. format: auto (JSON unless the output is a terminal), json or text. level: the least
    that is printed: debug, info, warning or error.
    """

    @property
    def format(self) -> str: ...

    @property
    def level(self) -> str: ...


@dataclass(slots=True)
class _Kind:
    """Events that are the same: when one was last told, and those held since."""

    level: str
    name: str
    told_s: float = -math.inf
    held: int = 0
    fields: Mapping[str, object] = field(default_factory=dict)
    held_fold: bool = True


class EventLog:
    """May be used by several threads (not by a signal handler: it could interrupt a line that is half written)."""

    def __init__(self, clock: Clock, style: LogStyle, redacted: Redactor, lines: LogOutput) -> None:
        self._clock = clock
        self._redacted = redacted
        self._least = LEVELS.index(style.level)
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        self._bucket = BUCKET_LINES
        self._filled_s = self._looked_s = clock.monotonic()
        as_text = style.format == "text" or (style.format == "auto" and lines.is_terminal)
        renderer: Any = structlog.processors.JSONRenderer()
        if as_text:
            renderer = structlog.dev.ConsoleRenderer(
                colors=lines.is_terminal,
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,
                sort_keys=False,
            )
        # A logger of our own: nothing is configured for the whole process, which other people's models share.
        self._log = structlog.wrap_logger(
            _Logger(lines),
            processors=[_ordered, renderer],
            wrapper_class=structlog.BoundLogger,
            cache_logger_on_first_use=False,
        )

    def log(
        self,
        level: str,
        name: str,
        fields: Mapping[str, object],
        *,
        fold: bool = True,
        cause: BaseException | None = None,
    ) -> None:
        """Prints an event, or holds it. fold: whether it is held where the same was told within FOLD_S."""
        if LEVELS.index(level) < self._least:
            return
        plain = self._fields(fields, cause)
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s - self._looked_s >= _LOOK_S:
                self._tell_due(now_s)
            kind = self._kind(level, name, plain, fold)
            recent = fold and now_s - kind.told_s < FOLD_S
            if recent or kind.held or not self._take_line(level if fold else "warning", now_s):
                kind.held += 1
                kind.fields = plain
                kind.held_fold = kind.held_fold and fold
                return
            kind.told_s = now_s
            self._print(kind, plain)

    def log_due(self) -> None:
        """Prints what was held for long enough, as far as lines last."""
        with self._lock:
            self._tell_due(self._clock.monotonic())

    def log_all(self) -> None:
        """Prints all that is held."""
        with self._lock:
            for kind in self._kinds.values():
                if kind.held:
                    self._print_held(kind, self._clock.monotonic())

    def _kind(self, level: str, name: str, fields: Mapping[str, object], fold: bool) -> _Kind:
        # A change replaces the one before it, whatever its state and level: the last line is the present state.
        who = tuple(f"{key}={fields[key]}" for key in _WHO if key in fields and (fold or key != "state"))
        key = (level if fold else "change", name, *who)
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            key = key[:2]  # somebody invents names: they are one
        kind = self._kinds.setdefault(key, _Kind(level, name))
        kind.level = level
        return kind

    def _tell_due(self, now_s: float) -> None:
        self._looked_s = now_s
        for key, kind in list(self._kinds.items()):
            if kind.held:
                due = not kind.held_fold or now_s - kind.told_s >= FOLD_S
                if due and self._take_line(kind.level if kind.held_fold else "warning", now_s):
                    self._print_held(kind, now_s)
            elif now_s - kind.told_s >= FOLD_S:
                del self._kinds[key]

    def _print_held(self, kind: _Kind, now_s: float) -> None:
        fields = {**kind.fields, "repeated": kind.held}
        kind.held, kind.fields, kind.held_fold, kind.told_s = 0, {}, True, now_s
        self._print(kind, fields)

    def _take_line(self, level: str, now_s: float) -> bool:
        self._bucket = min(BUCKET_LINES, self._bucket + max(0.0, now_s - self._filled_s))
        self._filled_s = now_s
        kept = 0.0 if level in ("warning", "error") else RESERVED_FOR_WARNINGS
        if self._bucket - kept < 1.0:
            return False
        self._bucket -= 1.0
        return True

    def _print(self, kind: _Kind, fields: Mapping[str, object]) -> None:
        now = datetime.fromtimestamp(self._clock.now().wall_s, timezone.utc)
        time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        getattr(self._log, kind.level)(kind.name, time=time, level=kind.level, **fields)

    def _fields(self, fields: Mapping[str, object], cause: BaseException | None) -> dict[str, object]:
        # A field that is called as one of the line's own keeps its value under another name.
        plain = {
            self._text(f"{key}_" if key in _OWN_KEYS else key): self._plain(value) for key, value in fields.items()
        }
        if cause is not None:
            trace = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__)).rstrip()
            plain["cause"] = f"{type(cause).__name__}: {self._plain(cause)}"
            plain["exception"] = self._text(trace, _LONGEST_TRACE)
        return plain

    def _plain(self, value: object, depth: int = 0) -> object:
        """The value as JSON knows it, its texts without secrets."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self._plain(value.value, depth)
        if isinstance(value, int):
            return value
        if isinstance(value, float):
            return round(value, 6) if math.isfinite(value) else str(value)
        if depth < _DEEPEST:
            if isinstance(value, Mapping):
                return {self._text(str(k)): self._plain(v, depth + 1) for k, v in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._plain(v, depth + 1) for v in value]
        try:
            return self._text(str(value))
        except Exception as error:  # noqa: BLE001  # what can't be printed is somebody else's; the rest of the line is ours
            return f"({type(value).__name__} can't be printed: {type(error).__name__})"

    def _text(self, text: str, most: int = _LONGEST_TEXT) -> str:
        text = self._redacted(text)  # before it is cut: half a secret would be recognised no more
        if len(text) > most:
            text = f"{text[: most // 2]} [...] {text[-most // 2 :]}"
        return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _ordered(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What every line has comes first."""
    return {key: line.pop(key) for key in ("time", "level", "event")} | dict(line)


class _Logger:
    """What structlog hands its rendered lines to: one method a level."""

    def __init__(self, lines: LogOutput) -> None:
        self.debug = partial(lines.put, "debug")
        self.info = partial(lines.put, "info")
        self.warning = partial(lines.put, "warning")
        self.error = partial(lines.put, "error")
