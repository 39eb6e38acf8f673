"""Dynamic batching: pictures of several streams that wait at the same time are run through the network together.

no batch is running:  a thread runs its picture at once, alone, and does not wait for others
a batch is running:   other threads wait; when it ends, one of them runs the first `max_pictures` of the waiting
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]


@dataclass(slots=True, eq=False)
class _Picture:
    """A picture that waits or is run. When `done`, it has `answers`, or `error`."""

    tensor: Tensor
    answers: list[Any] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class DynamicBatcher:
    """Collects pictures into batches. Thread-safe."""

    def __init__(self, run: Callable[[Tensor], list[Any]], max_pictures: int) -> None:
        """run: takes (n, ...), n up to `max_pictures`, returns outputs (n, ...); called by one thread at a time."""
        self._run = run
        self._max_pictures = max_pictures
        self._changed = threading.Condition()
        self._waiting: list[_Picture] = []
        self._is_running = False

    @property
    def waiting_count(self) -> int:
        """How many pictures wait while a batch is run."""
        with self._changed:
            return len(self._waiting)

    def __call__(self, tensor: Tensor) -> list[Any]:
        """The outputs for one picture, shape (1, ...), without the batch axis. Raises what `run` raises."""
        own = _Picture(tensor)
        with self._changed:
            self._waiting.append(own)
        while (batch := self._next_batch(own)) is not None:
            try:
                self._run_batch(batch)
            finally:
                with self._changed:
                    self._is_running = False
                    self._changed.notify_all()
        if own.error is not None:
            raise own.error
        return own.answers

    def _next_batch(self, own: _Picture) -> list[_Picture] | None:
        """Waits until the picture is done (None), or until this thread shall run the batch that it returns."""
        with self._changed:
            self._changed.wait_for(lambda: own.done or not self._is_running)
            if own.done:
                return None
            self._is_running = True
            batch, self._waiting = self._waiting[: self._max_pictures], self._waiting[self._max_pictures :]
            return batch

    def _run_batch(self, pictures: list[_Picture]) -> None:
        try:
            tensors = [picture.tensor for picture in pictures]
            outputs = self._run(np.concatenate(tensors) if len(tensors) > 1 else tensors[0])
            for index, picture in enumerate(pictures):
                picture.answers = [output[index] for output in outputs]
        except Exception as error:  # noqa: BLE001 - a runtime raises what it likes
            if len(pictures) == 1:
                pictures[0].error = error
            else:  # one bad picture must not cost the others their answers
                for picture in pictures:
                    self._run_batch([picture])
        finally:
            for picture in pictures:
                picture.done = True
