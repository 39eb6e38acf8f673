"""SplitLog: the lines of FFmpeg where one thread reads packets and another decodes some of them: to each its own."""

from __future__ import annotations

import re
import threading

from framesift.streams.decoder_log import DecoderLog

_MAX_BYTES = 65_536


class SplitLog(DecoderLog):
    """A decoder log for two threads: one reads packets and takes its lines as from any, one takes those of decoders."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__(fd)
        self._lock = threading.Lock()
        self._decoders: re.Pattern[bytes] | None = None
        self._of_decoders = self._of_packets = b""

    def split_off(self, codec: str) -> None:
        """From now on, the lines of this codec's decoders are those of the other thread."""
        self._decoders = re.compile(rb"^\[%s @ [^\n]*\n?" % re.escape(codec.encode()), re.MULTILINE)

    def mark(self) -> None:
        """See DecoderLog."""
        with self._lock:
            super().mark()
            self._of_packets = b""

    def new_lines(self) -> bytes:
        """See DecoderLog."""
        with self._lock:
            self._pull()
            return self._of_packets

    def take_new_lines(self) -> bytes:
        """See DecoderLog."""
        with self._lock:
            self._pull()
            taken, self._of_packets = self._of_packets, b""
            return taken

    def take_decoder_lines(self) -> bytes:
        """What decoders have written since the last call."""
        with self._lock:
            self._pull()
            taken, self._of_decoders = self._of_decoders, b""
            return taken

    def _pull(self) -> None:
        lines = super().new_lines()
        self._marked_at += len(lines)
        if self._marked_at > _MAX_BYTES:
            super().mark()
        if self._decoders is not None and lines:
            found = b"".join(self._decoders.findall(lines))
            self._of_decoders = (self._of_decoders + found)[-_MAX_BYTES:]
            lines = self._decoders.sub(b"", lines)
        self._of_packets = (self._of_packets + lines)[-_MAX_BYTES:]
