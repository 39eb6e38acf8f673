"""Signals: what is done about SIGTERM, SIGINT and SIGHUP, at once, whatever the main thread waits for.

A handler may interrupt code of the same thread that holds a lock, so it may take none. It only puts the signal's number
into a queue that needs no lock; a thread takes it out and acts. A stop may also begin by itself: `begin_stop`.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable

from framesift.clock.clock import Clock
from framesift.http_client.connections import Exchanges

_STOP = signal.SIGTERM


class Signals:
    """Calls back when a signal comes. What waits for the network `cut_after_s` after the beginning of a stop is cut."""

    def __init__(
        self,
        clock: Clock,
        exchanges: Exchanges,
        *,
        on_stop: Callable[[], None],
        on_reload: Callable[[], None],
        cut_after_s: float,
    ) -> None:
        """The callbacks are called by a thread of its own, and must neither wait nor raise.

        exchanges: they are cut, if `end` has not come `cut_after_s` after the beginning of the stop.
        """
        self._clock = clock
        self._on_stop = on_stop
        self._on_reload = on_reload
        self._cut_after_s = cut_after_s
        self._exchanges = exchanges
        # Its `put` may interrupt itself: see the documentation of queue.SimpleQueue.
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)

    def start(self) -> None:
        """Handle the signals from now on. Belongs to the main thread; no signal may come before."""
        self._thread.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._handle)

    def begin_stop(self) -> None:
        """The run ends by itself: the network is cut as after a signal."""
        self._came.put(_STOP)

    def end(self) -> None:
        """The run has ended: nothing is left to be cut."""
        self._ended.set()

    def _handle(self, number: int, _frame: object) -> None:
        self._came.put(number)

    def _run(self) -> None:
        while self._came.get() == signal.SIGHUP:
            self._on_reload()
        self._on_stop()
        self._clock.wait(self._ended, self._cut_after_s)
        if not self._ended.is_set():
            self._exchanges.cut()
