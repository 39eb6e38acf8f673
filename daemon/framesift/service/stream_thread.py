"""Watch: one stream's thread. It waits for a policy, then runs the stream's collector to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from framesift.clock.clock import HeartbeatClock, MonitoredThread
from framesift.collect import Collector
from framesift.policy.policy import NO_POLICY_YET
from framesift.streams import Stream, StreamLost

_LOOK_S = 1.0


class StreamThread:
    """lost: told why the stream can't go on, if it can't. failed: told of everything else that ended the thread. over:
    called when it has ended, whatever the reason. clock: the one that the collector and the stream use.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        collector: Collector,
        clock: HeartbeatClock,
        *,
        stop: threading.Event,
        lost: Callable[[str], None],
        failed: Callable[[BaseException], None],
        over: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._collector = collector
        self._clock = clock
        self._stop = stop
        self._lost = lost
        self._failed = failed
        self._over = over
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.loop = MonitoredThread(f"stream {name}", self._thread, clock)

    def start(self) -> None:
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends the stream; the thread ends soon after."""
        self._stream.close()

    def join(self, within_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(within_s)

    def _run(self) -> None:
        try:
            # A file's frames must not be refused because nobody has said yet what is wanted.
            while self._collector.intake.policy is NO_POLICY_YET:
                if self._clock.wait(self._stop, _LOOK_S):
                    return
            self._collector.run()
        except StreamLost as error:
            self._lost(str(error))
        except BaseException as error:  # noqa: BLE001  # whatever it is: the main thread ends the process with it
            self._failed(error)
        finally:
            self._over()
