"""DamageWatch: which pictures are damaged, or predicted from damaged ones.

From any sign of damage on, pictures count as damaged until the next key frame. The signs are a picture that the decoder
marks, an error of the decoder, lines of FFmpeg about lost packets and concealed errors, and, of an RTSP camera whose
pictures come regularly, a gap in its times: over TCP, FFmpeg says nothing of packets that the camera did not send.
"""

from __future__ import annotations

import re
import statistics
from collections import deque

_LINES = re.compile(rb"RTP: missed|error while decoding|concealing|decode_slice_header error|corrupt", re.IGNORECASE)
_GAP_INTERVALS = 1.5
_LEARN_INTERVALS = 25  # so many must be known
_REGULAR_SHARE = 0.9  # and so many of them be within a quarter of their median


class DamageWatch:
    """What is known of the present picture's damage. For one thread."""

    def __init__(self) -> None:
        self._why = "no key frame has come yet"
        self._intervals: deque[float] = deque(maxlen=4 * _LEARN_INTERVALS)
        self._last_s: float | None = None
        self._interval_s: float | None = None

    def sign(self, why: str) -> None:
        """Something was damaged: pictures count as damaged until the next key frame."""
        self._why = why

    def read_lines(self, lines: bytes) -> None:
        """Look for signs in what FFmpeg wrote."""
        found = _LINES.search(lines)
        if found:
            begin, end = lines.rfind(b"\n", 0, found.start()) + 1, lines.find(b"\n", found.end())
            self.sign(lines[begin : end if end >= 0 else None].decode(errors="replace").strip())

    def packet_time(self, time_s: float) -> None:
        """Look for a gap: the time of the next packet of an RTSP camera, in seconds by the camera's clock."""
        last_s, self._last_s = self._last_s, time_s
        if last_s is None:
            return
        passed_s = time_s - last_s
        if self._interval_s is not None and passed_s > _GAP_INTERVALS * self._interval_s:
            self.sign(
                f"a gap of {passed_s:.2f} s in the camera's times, whose pictures are {self._interval_s:.3f} s apart"
            )
        self._intervals.append(passed_s)
        if len(self._intervals) % _LEARN_INTERVALS == 0:
            self._interval_s = self._regular_interval()

    def judge(self, *, is_key_frame: bool, is_corrupt: bool) -> str:
        """Return why this picture must not be shown, "" if nothing is known against it."""
        if is_key_frame:
            self._why = ""
        if is_corrupt:
            self.sign("the decoder marked it as corrupt")
        return self._why

    def _regular_interval(self) -> float | None:
        median_s = statistics.median(self._intervals)
        near = sum(abs(interval_s - median_s) <= median_s / 4 for interval_s in self._intervals)
        return median_s if median_s > 0 and near >= _REGULAR_SHARE * len(self._intervals) else None
