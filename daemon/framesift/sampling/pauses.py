"""Pauses: which streams take no frames at present because an operator said so, and until when.

They are kept in a small file, so that a restart ends none. A pause with an end ends by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pydantic import Field, ValidationError

from framesift.atomic_files import make_folder, write_atomically
from framesift.clock.clock import Clock
from framesift.config.schema import StrictModel

# Called with the name of an event and its fields, for the log.
PauseReporter = Callable[[str, Mapping[str, object]], None]

_ALL = "all"  # in the log: every stream


@dataclass(frozen=True, slots=True)
class Pause:
    """since_s, until_s: Unix times; until_s: None until somebody ends it. by: who asked for it."""

    since_s: float
    until_s: float | None
    by: str

    def holds_at(self, wall_s: float) -> bool:
        """Whether it has not ended at this Unix time."""
        return self.until_s is None or wall_s < self.until_s


class _State(StrictModel):
    """all: the pause of every stream, those included that are not known yet, but for `besides`. own: by stream."""

    all: Pause | None = None
    besides: frozenset[str] = frozenset()
    own: dict[str, Pause] = Field(default_factory=dict)


class Pauses:
    """Thread-safe. Asking costs next to nothing while nothing is paused.

    problem: why they would not survive a restart, None if they would.
    """

    def __init__(self, clock: Clock, folder: Path | None = None, report: PauseReporter = lambda _event, _fields: None):
        """folder: where they are kept, None for nowhere; nothing else may write to it."""
        self.problem: str | None = None
        self._clock = clock
        self._folder = folder
        self._report = report
        self._state = _State()
        self._lock = threading.Lock()  # of the state, which is only ever replaced
        self._saving = threading.Lock()  # of the file: a disk may hang

    def restore(self) -> None:
        """Go on with what was paused when the last process ended. A file that can't be read is reported."""
        if self._folder is None or not self._path.exists():
            return
        try:
            self._state = _State.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError) as error:
            self._report("pauses_unreadable", {"path": str(self._path), "why": str(error).splitlines()[0]})
            return
        self.end_due()
        for stream, pause in self._listed():
            self._report_paused(stream, pause)

    def of(self, stream: str) -> Pause | None:
        """The pause of a stream, None if it takes frames. Of two, the one that ends later."""
        state = self._state
        if state.all is None and not state.own:
            return None
        found = [] if state.all is None or stream in state.besides else [state.all]
        if stream in state.own:
            found.append(state.own[stream])
        now_s = self._clock.now().wall_s if found else 0.0
        holding = [pause for pause in found if pause.holds_at(now_s)]
        return max(holding, key=lambda pause: float("inf") if pause.until_s is None else pause.until_s, default=None)

    def pause(self, stream: str | None, for_s: float | None, by: str) -> Pause:
        """Pause a stream, or all of them (None), for so many seconds, or until `resume`. Waits for the disk."""
        now_s = self._clock.now().wall_s
        made = Pause(now_s, None if for_s is None else now_s + for_s, by)
        with self._lock:
            state = self._state
            if stream is None:
                self._state = state.model_copy(update={"all": made, "besides": frozenset()})
            else:
                self._state = state.model_copy(update={"own": {**state.own, stream: made}})
        self._report_paused(stream, made)
        self._save()
        return made

    def resume(self, stream: str | None, by: str) -> bool:
        """End the pause of a stream, also where all are paused, or every pause (None). Waits for the disk.

        Returns whether there was one.
        """
        with self._lock:
            state = self._state
            if stream is None:
                was_paused = bool(self._listed())
                self._state = _State()
            else:
                was_paused = self.of(stream) is not None
                own = {name: pause for name, pause in state.own.items() if name != stream}
                besides = state.besides if state.all is None else state.besides | {stream}
                self._state = state.model_copy(update={"own": own, "besides": besides})
        if was_paused:
            self._report("stream_resumed", {"stream": _ALL if stream is None else stream, "by": by})
            self._save()
        return was_paused

    def end_due(self) -> None:
        """End the pauses whose time is over, and report it. To be called about once a second; it waits for no disk.

        What `of` says does not depend on it.
        """
        if not self._listed():
            return
        now_s = self._clock.now().wall_s
        with self._lock:
            state = self._state
            ended = [stream for stream, pause in self._listed() if not pause.holds_at(now_s)]
            if not ended:
                return
            own = {name: pause for name, pause in state.own.items() if name not in ended}
            gone: dict[str, object] = {"all": None, "besides": frozenset()} if None in ended else {}
            self._state = state.model_copy(update={"own": own, **gone})
        for stream in ended:
            self._report("stream_resumed", {"stream": _ALL if stream is None else stream, "by": "time"})

    @property
    def _path(self) -> Path:
        assert self._folder is not None
        return self._folder / "pauses.json"

    def _listed(self) -> list[tuple[str | None, Pause]]:
        state = self._state
        of_all: list[tuple[str | None, Pause]] = [] if state.all is None else [(None, state.all)]
        return [*of_all, *state.own.items()]

    def _report_paused(self, stream: str | None, pause: Pause) -> None:
        until = None if pause.until_s is None else _iso(pause.until_s)
        fields = {"stream": _ALL if stream is None else stream, "until": until, "since": _iso(pause.since_s)}
        self._report("stream_paused", {**fields, "by": pause.by})

    def _save(self) -> None:
        if self._folder is None:
            return
        with self._saving:
            try:
                make_folder(self._folder)
                write_atomically(self._path, self._state.model_dump_json().encode())
                self.problem = None
            except OSError as error:
                self.problem = f"{self._path} can't be written: {error.strerror}"
                self._report("pauses_not_saved", {"why": self.problem})


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
