"""Events: one log line for each thing worth knowing, and no more lines than a human or a small disk can take.

Two rules limit the number of lines; neither loses a count:
- The same event (name, level, and the fields that say what it is about) within 60 s is held, and logged at the end of
  the minute with the fields of the latest and `repeated`, the number of events that the line stands for.
- A token bucket gains one line a second and holds 60; its last 20 are for warnings, errors and changes of state. An
  event that finds no token is held until there is one.

Every text passes the redactor, and control characters are escaped, so that nothing from a camera or a platform can
forge a line or move a terminal's cursor. Where lines go, and what happens to those that nobody reads: see lines.py.
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

# What an event is about: with its name and level, these fields make two events the same.
_SUBJECT = ("stream", "strategy", "component", "state", "sink", "reason", "path", "setting")
_RESERVED_KEYS = ("time", "level", "event", "repeated", "exception")
_MAX_KINDS = 1000
_MAX_TEXT = 2000
_MAX_TRACE = 16000
_MAX_DEPTH = 6
_HELD_CHECK_INTERVAL_S = 1.0  # a flood of events must not search all held events for each of them


class LogStyle(Protocol):
    """What is printed, and how: `log` of the settings."""

    @property
    def format(self) -> str:
        """One of auto (JSON unless the output is a terminal), json, text."""

    @property
    def level(self) -> str:
        """The lowest level that is printed: debug, info, warning or error."""


@dataclass(slots=True)
class _Kind:
    """Events that are the same: when one was last logged, and those held since."""

    level: str
    name: str
    logged_s: float = -math.inf
    held: int = 0
    fields: Mapping[str, object] = field(default_factory=dict)
    held_fold: bool = True


class EventLog:
    """Thread-safe, but not for signal handlers: one could interrupt a line that is half written."""

    def __init__(self, clock: Clock, style: LogStyle, redact: Redactor, output: LogOutput) -> None:
        self._clock = clock
        self._redact = redact
        self._min_level = LEVELS.index(style.level)
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        self._bucket = BUCKET_LINES
        self._filled_s = self._checked_s = clock.monotonic()
        as_text = style.format == "text" or (style.format == "auto" and output.is_terminal)
        renderer: Any = structlog.processors.JSONRenderer()
        if as_text:
            renderer = structlog.dev.ConsoleRenderer(
                colors=output.is_terminal,
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,
                sort_keys=False,
            )
        # A logger of our own: nothing is configured for the whole process, which the user's model code shares.
        self._log = structlog.wrap_logger(
            _Logger(output),
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
        """Print an event, or hold it. fold: whether it is held if the same was logged within FOLD_S."""
        if LEVELS.index(level) < self._min_level:
            return
        plain = self._fields(fields, cause)
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s - self._checked_s >= _HELD_CHECK_INTERVAL_S:
                self._log_due(now_s)
            kind = self._kind(level, name, plain, fold)
            recent = fold and now_s - kind.logged_s < FOLD_S
            if recent or kind.held or not self._take_token(level if fold else "warning", now_s):
                kind.held += 1
                kind.fields = plain
                kind.held_fold = kind.held_fold and fold
                return
            kind.logged_s = now_s
            self._print(kind, plain)

    def set_level(self, level: str) -> None:
        """Print nothing below this level from now on."""
        self._min_level = LEVELS.index(level)

    def log_due(self) -> None:
        """Print what was held for long enough, as far as the token bucket allows."""
        with self._lock:
            self._log_due(self._clock.monotonic())

    def log_all(self) -> None:
        """Print everything that is held."""
        with self._lock:
            for kind in self._kinds.values():
                if kind.held:
                    self._print_held(kind, self._clock.monotonic())

    def _kind(self, level: str, name: str, fields: Mapping[str, object], fold: bool) -> _Kind:
        # A change replaces the one before it, whatever its state and level: the last line is the present state.
        subject = tuple(f"{key}={fields[key]}" for key in _SUBJECT if key in fields and (fold or key != "state"))
        key = (level if fold else "change", name, *subject)
        if key not in self._kinds and len(self._kinds) >= _MAX_KINDS:
            key = key[:2]  # names come from outside: all further ones count as one
        kind = self._kinds.setdefault(key, _Kind(level, name))
        kind.level = level
        return kind

    def _log_due(self, now_s: float) -> None:
        self._checked_s = now_s
        for key, kind in list(self._kinds.items()):
            if kind.held:
                due = not kind.held_fold or now_s - kind.logged_s >= FOLD_S
                if due and self._take_token(kind.level if kind.held_fold else "warning", now_s):
                    self._print_held(kind, now_s)
            elif now_s - kind.logged_s >= FOLD_S:
                del self._kinds[key]

    def _print_held(self, kind: _Kind, now_s: float) -> None:
        fields = {**kind.fields, "repeated": kind.held}
        kind.held, kind.fields, kind.held_fold, kind.logged_s = 0, {}, True, now_s
        self._print(kind, fields)

    def _take_token(self, level: str, now_s: float) -> bool:
        self._bucket = min(BUCKET_LINES, self._bucket + max(0.0, now_s - self._filled_s))
        self._filled_s = now_s
        reserved = 0.0 if level in ("warning", "error") else RESERVED_FOR_WARNINGS
        if self._bucket - reserved < 1.0:
            return False
        self._bucket -= 1.0
        return True

    def _print(self, kind: _Kind, fields: Mapping[str, object]) -> None:
        now = datetime.fromtimestamp(self._clock.now().wall_s, timezone.utc)
        time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        getattr(self._log, kind.level)(kind.name, time=time, level=kind.level, **fields)

    def _fields(self, fields: Mapping[str, object], cause: BaseException | None) -> dict[str, object]:
        # A field with the name of one of the line's own keys gets another name.
        plain = {
            self._text(f"{key}_" if key in _RESERVED_KEYS else key): self._plain(value) for key, value in fields.items()
        }
        if cause is not None:
            trace = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__)).rstrip()
            plain["cause"] = f"{type(cause).__name__}: {self._plain(cause)}"
            plain["exception"] = self._text(trace, _MAX_TRACE)
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
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                return {self._text(str(k)): self._plain(v, depth + 1) for k, v in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._plain(v, depth + 1) for v in value]
        try:
            return self._text(str(value))
        except Exception as error:  # noqa: BLE001  # what can't be printed is somebody else's; the rest of the line is ours
            return f"({type(value).__name__} can't be printed: {type(error).__name__})"

    def _text(self, text: str, most: int = _MAX_TEXT) -> str:
        text = self._redact(text)  # before it is cut: half a secret would be recognised no more
        if len(text) > most:
            text = f"{text[: most // 2]} [...] {text[-most // 2 :]}"
        return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _ordered(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What every line has comes first."""
    return {key: line.pop(key) for key in ("time", "level", "event")} | dict(line)


class _Logger:
    """What structlog hands its rendered lines to: one method a level."""

    def __init__(self, output: LogOutput) -> None:
        self.debug = partial(output.put, "debug")
        self.info = partial(output.put, "info")
        self.warning = partial(output.put, "warning")
        self.error = partial(output.put, "error")
