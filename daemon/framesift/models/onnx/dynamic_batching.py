"""Pictures of several streams, run through one network in one go where they wait for it at the same moment.

nobody runs:    who comes runs at once, alone: nobody waits for company
somebody runs:  who comes waits; when that run is over, one of those that wait runs for the first `most` of them
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
    """One that waits, is run, or is done: then it has `answers`, or `error`."""

    tensor: Tensor
    answers: list[Any] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class DynamicBatcher:
    """For several threads at once. run: tensors of up to `most` pictures, (n, ...) -> outputs, (n, ...) each; by one
    thread at a time.
    """

    def __init__(self, run: Callable[[Tensor], list[Any]], max_pictures: int) -> None:
        self._run = run
        self._most = max_pictures
        self._changed = threading.Condition()
        self._waiting: list[_Picture] = []
        self._running = False

    @property
    def waiting_count(self) -> int:
        """How many pictures wait for a run that is under way."""
        with self._changed:
            return len(self._waiting)

    def __call__(self, tensor: Tensor) -> list[Any]:
        """The outputs for one picture, (1, ...), without the batch's dimension. Raises what its run raises."""
        mine = _Picture(tensor)
        with self._changed:
            self._waiting.append(mine)
        while (taken := self._turn(mine)) is not None:
            try:
                self._answer(taken)
            finally:
                with self._changed:
                    self._running = False
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error
        return mine.answers

    def _turn(self, mine: _Picture) -> list[_Picture] | None:
        """Waits until it is done, None, or until it is to run those that have waited longest."""
        with self._changed:
            self._changed.wait_for(lambda: mine.done or not self._running)
            if mine.done:
                return None
            self._running = True
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            return taken

    def _answer(self, pictures: list[_Picture]) -> None:
        try:
            tensors = [picture.tensor for picture in pictures]
            outputs = self._run(np.concatenate(tensors) if len(tensors) > 1 else tensors[0])
            for place, picture in enumerate(pictures):
                picture.answers = [output[place] for output in outputs]
        except Exception as error:  # noqa: BLE001 - a runtime raises what it likes
            if len(pictures) == 1:
                pictures[0].error = error
            else:  # what one picture, or their number, is to blame for costs none of the others its answer
                for picture in pictures:
                    self._answer([picture])
        finally:
            for picture in pictures:
                picture.done = True
