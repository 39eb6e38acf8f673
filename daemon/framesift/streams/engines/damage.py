"""DamageWatch: which pictures are damaged, or predicted from damaged ones.

From any sign of damage on, pictures count as damaged until the next key frame. The signs are a packet that the
container or a picture that the decoder marks as corrupt, an error of the decoder, lines of FFmpeg about lost packets,
missing references and concealed errors, and, of an RTSP camera whose pictures come regularly, a gap in its times:
FFmpeg says nothing of pictures that the camera did not send.
"""

from __future__ import annotations

import re
import statistics
from collections import deque

_LINES = re.compile(
    rb"RTP: missed|corrupt|concealing|damaged|error while decoding|error decoding|decode_slice_header error"
    rb"|frame num gap|frame num change|missing reference|missing picture|could not find ref|invalid undecodable"
    rb"|invalid len|slice below|slice too small|bad vlc|huffman table|overdetermined vlc|header size larger",
    re.IGNORECASE,
)
_GAP_INTERVALS = 1.5
_LEARN_INTERVALS = 25  # so many must be known
_REGULAR_SHARE = 0.9  # and so many of them be within a quarter of their median


def line_of_damage(lines: bytes) -> str:
    """Return the first line of FFmpeg's that is a sign of damage, "" if there is none."""
    found = _LINES.search(lines)
    if not found:
        return ""
    begin, end = lines.rfind(b"\n", 0, found.start()) + 1, lines.find(b"\n", found.end())
    return lines[begin : end if end >= 0 else None].decode(errors="replace").strip()


class DamageWatch:
    """What is known of the present picture's damage. For one thread."""

    def __init__(self) -> None:
        self._why = "no key frame has come yet"
        self._was_clean = False
        self._packet = 0  # the number of the latest that went into the decoder
        self._damaged_packet = 0  # at which the latest sign was seen
        self._refresh_packet = 0  # with which the latest refresh of the picture began
        self._intervals: deque[float] = deque(maxlen=4 * _LEARN_INTERVALS)
        self._new_intervals = 0
        self._last_s: float | None = None
        self._interval_s: float | None = None

    @property
    def lost_why(self) -> str:
        """Why pictures are missing at this moment, "" if none should be. Before the first key frame none is known."""
        return self._why if self._was_clean else ""

    def next_packet(self) -> int:
        """Count a packet that goes into the decoder next. Return its number, from 1."""
        self._packet += 1
        return self._packet

    def sign(self, why: str, *, packet: int | None = None) -> None:
        """Something was damaged: pictures count as damaged until a key frame of a later packet than this.

        packet: its number, the latest unless it is said.
        """
        self._why = self._why or why  # the first one is the cause of the others
        self._damaged_packet = max(self._damaged_packet, self._packet if packet is None else packet)

    def read_lines(self, lines: bytes, *, of_next_packet: bool = False) -> None:
        """Look for signs in what FFmpeg wrote.

        of_next_packet: it wrote that when it read a packet which has not been counted. As it reads to the beginning of
        the one after it, that one may be damaged too.
        """
        line = line_of_damage(lines)
        if line:
            self.sign(line, packet=self._packet + 2 if of_next_packet else None)

    def packet_time(self, time_s: float) -> None:
        """Look for a gap before the next packet of an RTSP camera, which has not been counted.

        time_s: by the camera's clock.
        """
        last_s, self._last_s = self._last_s, time_s
        if last_s is None:
            return
        passed_s = time_s - last_s
        if self._interval_s is not None and passed_s > _GAP_INTERVALS * self._interval_s:
            self.sign(
                f"a gap of {passed_s:.2f} s in the camera's times, whose pictures are {self._interval_s:.3f} s apart"
            )
        self._intervals.append(passed_s)
        self._new_intervals = (self._new_intervals + 1) % _LEARN_INTERVALS
        if not self._new_intervals:
            self._interval_s = self._regular_interval()

    def judge(self, packet: int, *, is_key_frame: bool, is_corrupt: bool, begins_refresh: bool = False) -> str:
        """Return why this picture must not be shown, "" if nothing is known against it.

        packet: the number of its packet. A decoder that reorders pictures, or decodes several at once, hands out
        pictures from before the damage after its sign. begins_refresh: from here on the camera, which sends no key
        frames, renews the picture piece by piece (intra refresh); it is whole when the next refresh begins.
        """
        if begins_refresh:
            is_key_frame = is_key_frame or self._refresh_packet > self._damaged_packet
            self._refresh_packet = packet
        if is_key_frame and packet > self._damaged_packet:
            self._why = ""
            self._was_clean = True
        if is_corrupt and self._was_clean:  # before, it only says that no key frame has come
            self.sign("the decoder marked it as corrupt")
        return self._why

    def _regular_interval(self) -> float | None:
        median_s = statistics.median(self._intervals)
        near = sum(abs(interval_s - median_s) <= median_s / 4 for interval_s in self._intervals)
        return median_s if median_s > 0 and near >= _REGULAR_SHARE * len(self._intervals) else None
