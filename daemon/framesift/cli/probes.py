"""What `framesift check` finds, and the deadline that each of its probes has.

A probe runs in a thread of its own. One that is late is told as failed, with the place where it stands; it is left
behind, and the next one begins. Code in C that keeps the interpreter to itself lets nobody go on: then `faulthandler`,
which needs no interpreter, writes where it stands to stderr and ends the process.
"""

from __future__ import annotations

import faulthandler
import queue
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from framesift.clock.clock import Clock
from framesift.telemetry.thread_stacks import stack_line

_GRACE_S = 10.0
_LOOK_S = 0.5
_THREAD = "probe: "
_CALLS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. good: None for something to know that hinders nothing. advice: what to do about it."""

    subject: str
    ok: bool | None
    message: str
    advice: str = ""


def run_probe(subject: str, findings: Iterator[Finding], clock: Clock, within_s: float) -> Iterator[Finding]:
    """The findings of one probe, as it has them; a failure instead of those that it has not had after `within_s`, or
    where the system refuses something. Raises what else the probe raises, which is a bug.
    """
    # Of several kinds, since a thread has no other way to say that it is done, or has failed.
    had: queue.SimpleQueue[Finding | BaseException | None] = queue.SimpleQueue()
    news = threading.Event()

    def run() -> None:
        said: BaseException | None = None
        try:
            for finding in findings:
                had.put(finding)
                news.set()
        except BaseException as error:  # noqa: BLE001  # whoever waits for it raises it
            said = error
        had.put(said)
        news.set()

    thread = threading.Thread(target=run, name=f"{_THREAD}{subject}", daemon=True)
    until_s = clock.monotonic() + within_s
    if sys.stderr is not None:
        faulthandler.dump_traceback_later(within_s + _GRACE_S, exit=True)
    try:
        thread.start()
        while True:
            try:
                said = had.get_nowait()
            except queue.Empty:
                if clock.monotonic() >= until_s:
                    yield Finding(
                        subject,
                        False,
                        f"no end within {within_s:g} s: it stands at {stack_line(thread, _CALLS)}",
                        "mend what it waits for; --within gives each probe another time",
                    )
                    return
                clock.wait(news, _LOOK_S)
                news.clear()
                continue
            if said is None:
                return
            if isinstance(said, OSError):
                yield Finding(subject, False, str(said))
                return
            if isinstance(said, BaseException):
                raise said
            yield said
    finally:
        faulthandler.cancel_dump_traceback_later()


def has_hung_probe() -> bool:
    """Whether a probe that was late still runs. Such a thread may keep Python from ending."""
    return any(thread.name.startswith(_THREAD) for thread in threading.enumerate())
