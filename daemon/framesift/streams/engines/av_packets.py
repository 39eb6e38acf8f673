"""AvPackets: the packets of a source's best video stream, by FFmpeg through PyAV, and what is known of each."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framesift.streams.away_reasons import AwayReason, recognise_reason
from framesift.streams.channel import OpenRequest
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.byte_streams import open_byte_stream
from framesift.streams.engines.capture import ReaderHooks, SourceError
from framesift.streams.engines.damage import DamageWatch
from framesift.streams.engines.ffmpeg_options import ffmpeg_options

if TYPE_CHECKING:
    import av

_REFERENCE_TIME = struct.Struct("=q")  # of the sender's clock, in microseconds: AVProducerReferenceTime


@dataclass(frozen=True, slots=True)
class PacketFacts:
    """What is known of a packet before its picture: its number from 1, and the times of CapturedPicture.

    is_key: the container or the parser says that decoding may begin here.
    """

    number: int
    arrived_s: float
    sent_s: float | None
    is_key: bool


class AvPackets:
    """An open container of FFmpeg. For one thread.

    damage: what `read` and the decoder of the packets know of damage. stream: the best video stream. format: the name
    of the container's format.
    """

    def __init__(self, request: OpenRequest, log: DecoderLog, hooks: ReaderHooks) -> None:
        """Open the source. log: where FFmpeg's lines go. Raises SourceError."""
        import av

        # FFmpeg's own way to stderr, where each line is whole and at once; Python's logging would be called from its
        # threads. INFO: what it says of concealed errors is no warning to it.
        av.logging.restore_default_callback()
        av.logging.set_libav_level(av.logging.INFO)
        self._request = request
        self._log = log
        log.mark()
        began_s = time.monotonic()
        try:
            self._bytes = open_byte_stream(request, hooks)
            self._container = av.open(
                self._bytes or request.address,
                "r",
                options=ffmpeg_options(request),
                timeout=None if self._bytes else (request.open_timeout_s, request.read_timeout_s),
            )
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
            is_late = time.monotonic() - began_s >= request.open_timeout_s
            raise self._opening_error(error, is_late=is_late) from None
        stream: Any = self._container.streams.best("video")
        if stream is None:
            raise SourceError(AwayReason.NO_VIDEO)
        self.stream: av.VideoStream = stream
        self.format = self._container.format.name
        self.damage = DamageWatch()
        self._last: av.Packet[Any] | None = None
        log.mark()

    def read(self) -> Iterator[tuple[av.Packet[Any], PacketFacts]]:
        """Wait for each packet, and look for signs of damage. Ends where the source ends. Raises SourceError."""
        import av

        silent = f"no picture for {self._request.read_timeout_s:g} s"
        packets = self._container.demux(self.stream)
        while True:
            began_s = time.monotonic()
            try:
                packet = next(packets, None)
            except (av.error.ExitError, av.error.TimeoutError):
                raise SourceError(AwayReason.SILENT, silent) from None
            except (av.error.FFmpegError, OSError, MemoryError) as error:
                reason, detail = recognise_reason(_code(error), self._log.new_lines())
                if reason in (AwayReason.TLS, AwayReason.UNKNOWN):  # a connection that worked
                    reason, detail = AwayReason.ENDED, f"the connection ended: {error_text(error)}"
                raise SourceError(reason, detail) from None
            if packet is None:
                if self._bytes is not None and self._bytes.failure is not None:
                    raise self._bytes.failure
                return
            # FFmpeg, when it is interrupted, hands out what it had kept for a while, and would wait as long again.
            if self._request.live and time.monotonic() - began_s >= self._request.read_timeout_s:
                raise SourceError(AwayReason.SILENT, silent)
            if self._is_repeated(packet):
                continue
            yield packet, self._look_at(packet)

    def close(self) -> None:
        """Close the source."""
        self._container.close()
        if self._bytes is not None:
            self._bytes.close()

    def _look_at(self, packet: av.Packet[Any]) -> PacketFacts:
        arrived_s = time.monotonic()
        self.damage.read_lines(self._log.take_new_lines(), of_next_packet=True)
        if packet.pts is not None and packet.size and self._is_rtsp:
            self.damage.packet_time(float(packet.pts * packet.time_base))
        facts = PacketFacts(self.damage.next_packet(), arrived_s, _sender_time_s(packet), packet.is_keyframe)
        if packet.is_corrupt and packet.size:
            self.damage.sign("the container marked a packet as corrupt")
        return facts

    def _is_repeated(self, packet: av.Packet[Any]) -> bool:
        """Whether a camera has sent the same packet again: decoded twice, it would spoil what is predicted from it."""
        last, self._last = self._last, packet
        return (
            self._is_rtsp
            and last is not None
            and packet.pts is not None
            and (packet.pts, packet.size) == (last.pts, last.size)
            and packet.size > 0
            and bytes(packet) == bytes(last)
        )

    @property
    def _is_rtsp(self) -> bool:
        return self.format == "rtsp"

    def _opening_error(self, error: Exception, *, is_late: bool) -> SourceError:
        reason, detail = recognise_reason(_code(error), self._log.new_lines())
        # FFmpeg reports an interrupted step as one of several errors, and tries what is blocked again and again.
        if is_late and reason is not AwayReason.BLOCKED:
            return SourceError(AwayReason.SILENT, f"did not open within {self._request.open_timeout_s:g} s")
        if reason is AwayReason.DECODER and self._request.address.startswith(("rtsp:", "rtsps:")):
            return SourceError(AwayReason.WRONG_PROTOCOL)
        return SourceError(reason, detail or (error_text(error) if reason is AwayReason.UNKNOWN else ""))


def error_text(error: Exception) -> str:
    """Return what FFmpeg says, without the address in it."""
    return str(getattr(error, "strerror", None) or error).partition(": '")[0]


def _sender_time_s(packet: av.Packet[Any]) -> float | None:
    """Return the Unix time by the sender's clock; known from its first RTCP report on."""
    if not packet.has_sidedata("prft"):
        return None
    (time_us,) = _REFERENCE_TIME.unpack_from(bytes(packet.get_sidedata("prft")))
    return time_us / 1e6 if time_us > 0 else None


def _code(error: Exception) -> int:
    return errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None) or 0
