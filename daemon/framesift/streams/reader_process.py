"""ReaderProcess: the daemon's side of a reader: starting it, hearing it, and getting rid of it.

The reader is started by exec with an environment of what a decoder needs and nothing else: it reads what strangers
send, so no key of ours may be within its reach. What it writes to stderr (see words.py) loses every secret of the
stream before it is shown, and its last lines explain a loss.

Linux kills it together with the thread that started it; so a stream's reader lives no longer than the stream's thread.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from framesift.config.redact import Redactor
from framesift.streams.channel import Channel
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.stream_settings import StreamSettings

_KEPT_LINES = 8
_LONGEST_LINE_BYTES = 2_000
_LONGEST_DYING_S = 5.0
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG", "TZ", "TMPDIR", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_INHERITED_BEGINNINGS = ("LC_", "GST_", "OPENCV_", "LIBVA_", "NVIDIA_")
# They send FFmpeg's words to stdout, or nowhere.
_NOT_INHERITED = ("OPENCV_FFMPEG_DEBUG", "OPENCV_FFMPEG_LOGLEVEL")

_SPEAKER = re.compile(r"^\[[^\]]*\]\s*")  # [rtsp @ 0x5580]

# What FFmpeg writes, and what it means to somebody who stands before the camera. The first that is found counts.
_MEANINGS = (
    ("401 Unauthorized", "credentials rejected (401)"),
    ("403 Forbidden", "access forbidden (403)"),
    ("404 Not Found", "the camera has no such stream (404)"),
    ("453 Not Enough Bandwidth", "the camera serves no more viewers (453)"),
    ("503 Service Unavailable", "the camera is busy (503)"),
    ("Failed to resolve hostname", "the host's name can't be resolved"),
    ("Connection refused", "connection refused"),
    ("No route to host", "no route to the host"),
    ("Network is unreachable", "the network is unreachable"),
    ("Connection timed out", "the host does not answer"),
    ("Connection reset by peer", "the connection was reset"),
    ("Invalid data found when processing input", "not a video that can be decoded"),
    ("moov atom not found", "not a video that can be decoded: its index is missing"),
)


class ReaderProcess:
    """A running reader. `kill` may be called from any thread, the rest from the stream's own."""

    def __init__(self, options: StreamSettings, *, full_probe: bool) -> None:
        """Starts the reader, which waits for its work on the channel. Raises OSError when no process can be started."""
        self._redactor = Redactor(options.secrets())
        self._lines: list[str] = []
        self._words: DecoderLog | None = None
        ours, theirs = Channel.socket_pair()
        try:
            self._words = DecoderLog.create()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "framesift.streams.reader", str(theirs.fileno()), options.name],
                env=_environment(options, thorough=full_probe),
                cwd="/",  # -m searches the working directory first: whatever lies there is not ours
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words.fileno(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C at the terminal is for the daemon to answer
            )
        except BaseException:
            ours.close()
            if self._words is not None:
                self._words.close()
            raise
        finally:
            theirs.close()
        self.channel = Channel(ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Ends the process at once, whatever it is doing. Whoever waits for its messages learns that it is gone."""
        self._process.kill()

    def close(self, *, grace_s: float = 0.0) -> None:
        """Kills the process if it still runs after the grace, and leaves nothing of it behind."""
        if not self._ended_within(grace_s):
            self._process.kill()
            # One that is stuck in the kernel (a dead network disk) goes when the kernel lets it go.
            self._ended_within(_LONGEST_DYING_S)
        self.channel.close()
        if self._words is not None:
            lines = (
                printable_line(line[:_LONGEST_LINE_BYTES], self._redactor)
                for line in self._words.last_lines(_KEPT_LINES)
            )
            self._lines = [line for line in lines if line]
            self._words.close()
            self._words = None

    def failure_reason(self, *, or_last_line: bool) -> str:
        """Why it ended, as far as its last lines tell, fit to be shown; empty if they don't. After `finish`.

        any_line: a line that we can't translate will do (else it may be about a picture of long ago).
        """
        said = " ".join(self._lines).replace("(", "").replace(")", "")  # 401 (Unauthorized) in some versions
        for sign, meaning in _MEANINGS:
            if sign in said:
                return meaning
        return self._lines[-1] if self._lines and or_last_line else ""

    def exit_status(self) -> str:
        """How the process ended, in words. After `finish`."""
        status = self._process.returncode
        if status is None:
            return "the reader does not die"
        if status >= 0:
            return f"the reader ended with status {status}"
        return f"the reader was killed by {signal.Signals(-status).name}"

    def _ended_within(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def printable_line(line: bytes, redactor: Redactor) -> str:
    """A line that a decoder wrote, as it may be shown: printable, without its speaker, without addresses' secrets."""
    text = "".join(c if c.isprintable() else " " for c in line.decode(errors="replace"))
    return redactor(_SPEAKER.sub("", " ".join(text.split())))


def _environment(options: StreamSettings, *, thorough: bool) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or (name.startswith(_INHERITED_BEGINNINGS) and name not in _NOT_INHERITED)
    }
    package_home = str(Path(__file__).resolve().parents[2])
    found = [str(Path(entry).resolve()) for entry in sys.path if entry]
    return {
        **inherited,
        # The reader finds the very packages that the daemon found, however it found them.
        "PYTHONPATH": os.pathsep.join([package_home, *found]),
        "OPENBLAS_NUM_THREADS": "1",  # nothing is multiplied here, and its threads cost start-up and memory
        "OPENCV_LOG_LEVEL": "SILENT",
        "OPENCV_FFMPEG_CAPTURE_OPTIONS": _capture_options(options, thorough=thorough),
    }


def _capture_options(options: StreamSettings, *, thorough: bool) -> str:
    """FFmpeg's options: TCP, only the protocols that this source needs, and a short look before the first picture."""
    if options.is_file:
        return "protocol_whitelist;file"
    scheme = urlsplit(str(options.source)).scheme
    settings = [
        "rtsp_transport;tcp",
        "allowed_media_types;video",
        f"protocol_whitelist;rtp,tcp,{'rtsps,tls' if scheme == 'rtsps' else 'rtsp'}",
    ]
    if not thorough:
        settings += ["analyzeduration;200000", "probesize;32768"]
    return "|".join(settings)
