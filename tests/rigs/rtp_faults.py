"""Faults in the RTP packets of a camera's TCP connection, for the proxy of rigs.rtsp.

    faults = RtpFaults()
    with CuttableConnection(camera.port, faults=faults) as wire: ...
        faults.lose(3)                # the next three packets never come, and the numbers of the others show it
        faults.corrupt(3)             # the next three have other bytes in their second half
        faults.corrupt_picture(30)    # the packets of the 30th picture, counted from 0: the same bytes in each run
        faults.leave_out_pictures(2)  # the camera did not send two pictures: the packets' numbers have no gap

Between a request and its answer nothing is changed. Only packets of pictures that are not key frames are hit.
"""

from __future__ import annotations

import struct
import threading

_HEADER = struct.Struct(">BBHII")  # RTP: flags, marker and type, sequence number, time, source
_SPARED_NAL_TYPES = {5, 7, 8}  # H.264: key frames and parameter sets


class RtpFaults:
    """What happens to the packets that come. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._to_lose = self._to_corrupt = self._pictures_to_leave_out = 0
        self._last_time: int | None = None
        self._picture = -1  # the number of the latest
        self._picture_to_corrupt = -1
        self._left_out_time: int | None = None
        self._left_out_packets = 0
        self.hit = 0  # packets so far

    def lose(self, packets: int) -> None:
        with self._lock:
            self._to_lose += packets

    def corrupt(self, packets: int) -> None:
        with self._lock:
            self._to_corrupt += packets

    def corrupt_picture(self, number: int) -> None:
        with self._lock:
            self._picture_to_corrupt = number

    def leave_out_pictures(self, pictures: int) -> None:
        with self._lock:
            self._pictures_to_leave_out += pictures

    def open_stream(self) -> InterleavedStream:
        """For one connection's bytes."""
        return InterleavedStream(self)

    def apply(self, packet: bytes) -> bytes | None:
        """What arrives of an RTP packet; None if it is lost."""
        if len(packet) < _HEADER.size + 2:
            return packet
        flags, kind, number, time, source = _HEADER.unpack_from(packet)
        nal_type = packet[_HEADER.size] & 31
        if nal_type in (28, 29):  # a fragment
            nal_type = packet[_HEADER.size + 1] & 31
        with self._lock:
            is_spared = nal_type in _SPARED_NAL_TYPES
            begins, self._last_time = time != self._last_time, time
            self._picture += begins
            if self._left_out_time == time or (begins and self._pictures_to_leave_out and not is_spared):
                self._pictures_to_leave_out -= begins
                self._left_out_time = time
                self._left_out_packets += 1
                return self._count(None)
            head = _HEADER.pack(flags, kind, (number - self._left_out_packets) & 0xFFFF, time, source)
            packet = head + packet[_HEADER.size :]
            if self._to_lose and not is_spared:
                self._to_lose -= 1
                return self._count(None)
            is_chosen = self._picture == self._picture_to_corrupt
            if (self._to_corrupt or is_chosen) and not is_spared and len(packet) > 60:
                self._to_corrupt -= not is_chosen
                middle = len(packet) // 2
                return self._count(packet[:middle] + bytes(byte ^ 0x5A for byte in packet[middle:]))
            return packet

    def _count(self, packet: bytes | None) -> bytes | None:
        self.hit += 1
        return packet


class InterleavedStream:
    """Takes a camera's bytes in as they come, and gives out what is left of them after the faults."""

    def __init__(self, faults: RtpFaults) -> None:
        self._faults = faults
        self._buffer = b""

    def feed(self, chunk: bytes) -> bytes:
        self._buffer += chunk
        out = b""
        while self._buffer:
            if self._buffer[0] == ord("$"):
                if len(self._buffer) < 4:
                    break
                channel, size = self._buffer[1], int.from_bytes(self._buffer[2:4], "big")
                if len(self._buffer) < 4 + size:
                    break
                packet: bytes | None = self._buffer[4 : 4 + size]
                self._buffer = self._buffer[4 + size :]
                if channel % 2 == 0 and packet is not None:
                    packet = self._faults.apply(packet)
                out += b"" if packet is None else b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet
            else:  # an answer
                head, end, rest = self._buffer.partition(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                length = int(lengths[0].partition(b":")[2]) if lengths else 0
                if not end or len(rest) < length:
                    break
                out += head + end + rest[:length]
                self._buffer = rest[length:]
        return out
