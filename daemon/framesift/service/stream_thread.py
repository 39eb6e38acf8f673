"""Stream threads: each waits until its stream has a policy, then runs the stream's collector to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.collect import Collector
from framesift.policy.policy import NO_POLICY_YET
from framesift.service.components import idle_s
from framesift.streams import Stream, StreamLost

_POLICY_CHECK_INTERVAL_S = 1.0


class StreamThread:
    """The thread of one stream."""

    def __init__(
        self,
        name: str,
        stream: Stream,
        collector: Collector,
        clock: HeartbeatClock,
        *,
        stop: threading.Event,
        on_end: Callable[[StreamLost | None], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """clock: the one that the stream and the collector use. stop: ends the wait for a policy.

        Both callbacks are called by the thread. on_end: it has ended, for whatever reason; the argument says why the
        stream can't continue, None if it just ended. on_failure: an unexpected error, before on_end.
        """
        self._stream = stream
        self._collector = collector
        self._clock = clock
        self._stop = stop
        self._on_end = on_end
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.threads = (MonitoredThread(f"stream {name}", self._thread, clock), collector.intake.waiting_thread)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the stream; the thread ends soon after."""
        self._stream.close()

    def join(self, within_s: float) -> None:
        """Wait for the thread's end, at most so long."""
        if self._thread.ident is not None:
            self._thread.join(within_s)

    def _run(self) -> None:
        lost: StreamLost | None = None
        try:
            # The frames of a file must not be refused only because its policy has not arrived yet.
            while self._collector.intake.policy is NO_POLICY_YET:
                if self._clock.wait(self._stop, _POLICY_CHECK_INTERVAL_S):
                    return
            self._collector.run()
        except StreamLost as error:
            lost = error
        except BaseException as error:  # noqa: BLE001  # whatever it is: the service ends with it
            self._on_failure(error)
        finally:
            self._on_end(lost)


class StreamThreads:
    """The component of all streams: one thread for each."""

    name = "streams"

    def __init__(self, threads: Sequence[StreamThread], clock: Clock) -> None:
        self._threads = tuple(threads)
        self._clock = clock

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """See Component."""
        return tuple(monitored for thread in self._threads for monitored in thread.threads)

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()

    def any_alive(self) -> bool:
        """Return whether a thread still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def stop(self, within_s: float) -> bool:
        """End all streams at once, and wait for their threads; return whether all ended in time."""
        deadline_s = self._clock.monotonic() + within_s
        for thread in self._threads:
            thread.close()
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - self._clock.monotonic()))
        return not self.any_alive()

    def idle_s(self) -> float:
        """See Component."""
        return idle_s(self.threads)
