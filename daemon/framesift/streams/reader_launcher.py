"""ReaderProcess: the daemon's side of a reader process. Starts it, reads why it failed, and ends it.

It is a fork of the template process, which no secret of the daemon reaches (see reader_forks.py). Its stderr (see
decoder_log.py) is redacted before it is shown; its last line explains why a reader ended that reported nothing.
"""

from __future__ import annotations

import re
import signal

from framesift.config.redact import Redactor
from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import Channel
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.reader_forks import ReaderTemplate
from framesift.streams.stream_settings import StreamSettings

_MAX_LINES = 8
_MAX_LINE_BYTES = 2_000
_KILL_TIMEOUT_S = 2.0
_SHARED_TEMPLATE = ReaderTemplate()  # of this process

_LOG_PREFIX = re.compile(r"^\[[^\]]*\]\s*")  # [rtsp @ 0x5580]


class ReaderProcess:
    """A running reader. `kill` may be called from any thread, everything else from the stream's thread only."""

    def __init__(self, settings: StreamSettings, *, template: ReaderTemplate = _SHARED_TEMPLATE) -> None:
        """Starts the reader, which then waits for its request on the channel. Never waits for it.

        Raises OSError if no process can be started.
        """
        self._redactor = Redactor(settings.secrets())
        self._lines: list[str] = []
        self._log: DecoderLog | None = None
        self._status: int | str | None = None
        self._is_stuck = False
        parent_end, reader_end = Channel.socket_pair()
        try:
            self._log = DecoderLog.create()
            self._fork = template.start_reader(
                reader_end,
                self._log,
                name=settings.name,
            )
        except BaseException:
            parent_end.close()
            if self._log is not None:
                self._log.close()
            raise
        finally:
            reader_end.close()
        self.channel = Channel(parent_end)

    @property
    def pid(self) -> int | None:
        """The process id; None if it could not be started. It may have to wait until that is known."""
        return self._fork.pid()

    def kill(self) -> None:
        """Kills the process. Its channel then raises ChannelClosed, at once. Never waits."""
        self.channel.shut_down()
        self._fork.kill()

    def close(self, *, grace_s: float = 0.0) -> None:
        """Waits `grace_s` for the process to end, kills it if it still runs, and releases everything it used."""
        if self._log is None:
            return
        if not self._fork.wait(grace_s):
            self.channel.shut_down()
            self._fork.kill()
            # A process that is stuck in the kernel (a dead disk, a webcam's driver) ends when the kernel lets it.
            if not self._fork.wait(_KILL_TIMEOUT_S):
                self._fork.kill_hung_template()
                self._is_stuck = not self._fork.wait(_KILL_TIMEOUT_S / 2)
        self.channel.close()
        self._status = self._fork.status
        lines = self._log.last_lines(_MAX_LINES) or self._fork.template_lines(_MAX_LINES)
        printable = (printable_line(line[:_MAX_LINE_BYTES], self._redactor) for line in lines)
        self._lines = [line for line in printable if line]
        self._log.close()
        self._log = None
        if not self._is_stuck:
            self._fork.forget()

    def still_runs(self) -> bool:
        """Whether the process did not even end when it was killed. Call it after `close`, until it is False."""
        if self._is_stuck and self._fork.wait(0.0):
            self._is_stuck = False
            self._fork.forget()
        return self._is_stuck

    def failure(self) -> tuple[AwayReason, str]:
        """Return why the reader ended without a report, and the details, redacted. Call it after `close`."""
        status = self._status
        if self._is_stuck:
            detail = "the reader is stuck in the kernel, and ends when its disk or its device answers"
            return AwayReason.SILENT, detail
        last_line = f": {self._lines[-1]}" if self._lines else ""
        if status is None:
            return AwayReason.NO_READER, "the reader was killed, with the process that starts readers"
        if isinstance(status, str):
            return AwayReason.NO_READER, f"no reader can be started: {status}{last_line}"
        if status >= 0:
            return AwayReason.NO_READER, f"the reader ended with status {status}{last_line}"
        killed = f"the reader was killed by {signal.Signals(-status).name}"
        if -status == signal.SIGKILL:
            return AwayReason.OUT_OF_MEMORY, killed  # as the kernel does when memory runs out
        return AwayReason.DECODER, f"{killed}{last_line}"


def printable_line(line: bytes, redactor: Redactor) -> str:
    """A decoder's log line as it may be shown: printable, without the prefix "[rtsp @ 0x...]", without secrets."""
    text = "".join(c if c.isprintable() else " " for c in line.decode(errors="replace"))
    return redactor(_LOG_PREFIX.sub("", " ".join(text.split())))
