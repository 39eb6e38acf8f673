"""ReloadAnswer: what became of one reload, known only when every source has been read."""

from __future__ import annotations

import threading
from collections.abc import Callable

from framesift.policy.source_state import SourceState


class ReloadAnswer:
    """The sources that one reload still waits for, and why others were refused. Thread-safe."""

    def __init__(self, on_read: Callable[[tuple[str, ...]], None]) -> None:
        """on_read: called once, with all problems, when nothing is waited for any more."""
        self._on_read = on_read
        self._lock = threading.Lock()
        self._waiting: dict[int, SourceState] = {}
        self._problems: list[str] = []
        self._is_ready = False
        self.is_finished = False

    def add_problem(self, problem: str) -> None:
        """A source was refused."""
        with self._lock:
            self._problems.append(problem)

    def wait_for(self, state: SourceState) -> None:
        """This source will be fetched. Before `finish_if_read`."""
        with self._lock:
            self._waiting[id(state)] = state

    def waits_for(self, state: SourceState) -> bool:
        """Return whether this source has not been read since the reload."""
        with self._lock:
            return id(state) in self._waiting

    def was_read(self, state: SourceState) -> None:
        """The source was read after the reload: its problem is the one that it has now."""
        with self._lock:
            self._waiting.pop(id(state), None)
            if state.problem is not None:
                self._problems.append(state.problem)
        self.finish_if_read(is_ready=False)

    def finish_if_read(self, *, is_ready: bool = True) -> None:
        """Give the answer if nothing is waited for. is_ready: from now on all sources are known."""
        with self._lock:
            self._is_ready |= is_ready
            if self._waiting or not self._is_ready or self.is_finished:
                return
            self.is_finished = True
        self._on_read(tuple(self._problems))
