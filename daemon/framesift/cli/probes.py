"""Probes: each check of `framesift check` runs in a thread of its own, with a deadline.

A probe that misses its deadline is reported as failed, with the line at which it hangs; its thread is left behind, and
the next probe starts. C code that never releases the interpreter would block them all: then `faulthandler`, which does
not need the interpreter, writes the line to stderr and ends the process.
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
_POLL_S = 0.5
_THREAD = "probe: "
_CALLS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ok: None for a note, which is no failure. advice: what to do about it."""

    subject: str
    ok: bool | None
    message: str
    advice: str = ""


def run_probe(subject: str, findings: Iterator[Finding], clock: Clock, within_s: float) -> Iterator[Finding]:
    """Yields the findings of one probe as they come.

    After `within_s` seconds, or after an OSError, it yields one failed finding instead of the rest. Raises every other
    error of the probe, which is a bug.
    """
    # A finding, the error that ended the probe, or None at its end.
    results: queue.SimpleQueue[Finding | BaseException | None] = queue.SimpleQueue()
    has_results = threading.Event()

    def run() -> None:
        end: BaseException | None = None
        try:
            for finding in findings:
                results.put(finding)
                has_results.set()
        except BaseException as error:  # noqa: BLE001  # whoever waits for it raises it
            end = error
        results.put(end)
        has_results.set()

    thread = threading.Thread(target=run, name=f"{_THREAD}{subject}", daemon=True)
    until_s = clock.monotonic() + within_s
    if sys.stderr is not None:
        faulthandler.dump_traceback_later(within_s + _GRACE_S, exit=True)
    try:
        thread.start()
        while True:
            try:
                result = results.get_nowait()
            except queue.Empty:
                if clock.monotonic() >= until_s:
                    yield Finding(
                        subject,
                        False,
                        f"not finished within {within_s:g} s: it is at {stack_line(thread, _CALLS)}",
                        "correct what it waits for; --within sets another deadline",
                    )
                    return
                clock.wait(has_results, _POLL_S)
                has_results.clear()
                continue
            if result is None:
                return
            if isinstance(result, OSError):
                yield Finding(subject, False, str(result))
                return
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        faulthandler.cancel_dump_traceback_later()


def has_hung_probe() -> bool:
    """Whether a late probe still runs. Its thread may keep Python from ending."""
    return any(thread.name.startswith(_THREAD) for thread in threading.enumerate())
