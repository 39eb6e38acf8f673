"""What ends `framesift run` is a line of its log, too: the event `failed`, with the reason and the exit status.

The message on stderr stays, for a person. In a terminal the log has the same reader, so nothing is said twice there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from framesift.cli.console import CommandFailed, redact

if TYPE_CHECKING:
    from framesift.telemetry import LineQueue, Telemetry

LAST_LINES_S = 1.0  # how long a run waits at its end until its last log lines are read


@dataclass(frozen=True, slots=True)
class _DefaultStyle:
    """The log before the settings are read, or where they can't be."""

    format: str = "auto"
    level: str = "info"


@dataclass(slots=True)
class RunLog:
    """The log of a run. Without settings, both are made when something fails.

    has_left_behind: returns whether something of the run still runs, so that the interpreter must not wait for it.
    """

    lines: LineQueue | None = None
    telemetry: Telemetry | None = None
    has_left_behind: Callable[[], bool] = lambda: False

    def failed(self, why: str, exit_status: int, cause: BaseException | None, journal_stream: str | None) -> None:
        """Log why the run fails, and wait a moment until that is read."""
        from framesift.clock.clock import SystemClock
        from framesift.telemetry import LineQueue, Telemetry

        lines = self.lines or LineQueue(sys.stdout, journal_stream=journal_stream)
        telemetry = self.telemetry or Telemetry(SystemClock(), _DefaultStyle(), out=lines)
        if not lines.is_terminal:
            telemetry.error("failed", why=redact(why), exit_status=exit_status, cause=cause)
        lines.drain(LAST_LINES_S)


@contextmanager
def failures_logged(
    log: RunLog, user_error: Callable[[Exception], tuple[str, int] | None], journal_stream: str | None
) -> Iterator[None]:
    """Log what ends the block. user_error: the message and exit status of an error that is no bug, else None."""
    try:
        yield
    except CommandFailed as failure:
        log.failed(failure.why, failure.exit_code, None, journal_stream)
        raise
    except typer.Exit:
        raise
    except Exception as error:
        message = user_error(error)
        why, status = message or (f"{type(error).__name__}: {error}", 1)
        log.failed(why, status, None if message else error, journal_stream)
        raise
