"""The engine on PyAV: FFmpeg's libraries, which tell a picture's own time, its key frames and its damage."""

from __future__ import annotations

import errno
import gc
import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from framesift.streams.away_reasons import AwayReason, recognise_reason
from framesift.streams.channel import MAX_PICTURE_PIXELS, OpenRequest
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.byte_streams import open_byte_stream
from framesift.streams.engines.capture import CapturedPicture, PictureUnusable, ReaderHooks, SourceError
from framesift.streams.engines.damage import DamageWatch
from framesift.streams.engines.deinterlacer import Deinterlacer
from framesift.streams.engines.ffmpeg_options import ffmpeg_options
from framesift.streams.engines.media_times import MediaTimes
from framesift.streams.engines.orientation import Orientation
from framesift.streams.engines.pace import Pace

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame

_MAX_ERRORS_IN_A_ROW = 500  # packets that can't be decoded, with no picture in between: it is no video
_MAX_IN_DECODER = 64  # packets whose pictures may still come: the depth of reordering is at most 16
# Decoders of which no mark means no key frame. Others (QuickTime Animation, CineForm) mark none: packets say it.
_MARKS_KEY_FRAMES = ("h264", "hevc")
_REFERENCE_TIME = struct.Struct("=q")  # of the sender's clock, in microseconds: AVProducerReferenceTime


@dataclass(frozen=True, slots=True)
class _PacketFacts:
    """What is known of a packet before its picture: its number from 1, and the times of CapturedPicture.

    is_key: the container or the parser says that decoding may begin here.
    """

    number: int
    arrived_s: float
    sent_s: float | None
    is_key: bool


class PyAvCapture:
    """An open container of FFmpeg, and the decoder of its best video stream."""

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
        self._stream = self._container.streams.best("video")
        if self._stream is None:
            raise SourceError(AwayReason.NO_VIDEO)
        decoder = self._stream.codec_context
        decoder.thread_count = request.threads or 1
        decoder.flags |= av.codec.context.Flags.output_corrupt  # marked, and so counted, instead of left out
        if request.keyframes_only:
            decoder.skip_frame = "NONKEY"
            decoder.flags |= av.codec.context.Flags.low_delay  # nothing is reordered: no picture has to wait
        log.mark()
        self._packets = self._container.demux(self._stream)
        self._frames = self._decode_all()
        self._damage = DamageWatch()
        self._deinterlacer = Deinterlacer()
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._facts: dict[int, _PacketFacts] = {}  # by the packet's time, of those whose pictures may still come
        self._left_out = 0  # of those that were damaged, and are not waited for any more
        self._last_packet: av.Packet[Any] | None = None
        self._latest = _PacketFacts(0, time.monotonic(), None, False)
        self._marks_key_frames = decoder.name in _MARKS_KEY_FRAMES
        self._known: deque[CapturedPicture] = deque()  # of the pictures that are being deinterlaced
        self._pace = Pace() if request.live and not request.local and self._container.format.name == "hls" else None
        self._times = MediaTimes()
        self._frame: VideoFrame | None = None
        self._orientation: tuple[int, Orientation] | None = None  # with PyAV's `rotation` of the picture that had it

    def next_picture(self) -> CapturedPicture | None:
        """Wait for the next picture. Raises SourceError."""
        self._frame = next(self._frames, None)
        if self._frame is None:
            return None
        picture = self._known.popleft()
        if self._pace is None:
            return picture
        now_s = time.monotonic()
        turn_s = self._pace.turn_s(picture.media_s, now_s)
        time.sleep(turn_s - now_s)
        return replace(picture, arrived_s=turn_s)

    def convert(self, target: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Convert the latest picture, upright. Raises PictureUnusable."""
        import av

        frame = self._frame
        if frame is None or not _is_picture(frame):
            raise PictureUnusable("its size is not a camera's")
        try:
            # More threads take more processor time in all, and a reader has others beside it.
            bgr = self._reformatter.reformat(frame, format="bgr24", threads=self._request.threads or 1)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise PictureUnusable(f"it could not be converted: {error}") from None
        plane = bgr.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: bgr.height]
        pixels = rows[:, : bgr.width * 3].reshape(bgr.height, bgr.width, 3)
        upright = self._orientation_of(frame).turned(self._request.rotate).apply(pixels)
        if target is None or target.shape != upright.shape:
            return upright
        np.copyto(target, upright)
        return target

    def close(self) -> None:
        """Close the source."""
        self._container.close()
        if self._bytes is not None:
            self._bytes.close()

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        """Return what a picture's own side data say; read at key frames, and where PyAV sees another rotation.

        PyAV's object of side data and its picture refer to each other. Each picture whose side data were read stays in
        memory until Python collects such cycles: that was hundreds of pictures.
        """
        if self._orientation is None or frame.key_frame or frame.rotation != self._orientation[0]:
            gc.collect()  # earlier pictures; cheap in a reader, a fork whose other objects are frozen
            self._orientation = frame.rotation, _orientation(frame)
        return self._orientation[1]

    def _opening_error(self, error: Exception, *, is_late: bool) -> SourceError:
        reason, detail = recognise_reason(_code(error), self._log.new_lines())
        # FFmpeg reports an interrupted step as one of several errors, and tries what is blocked again and again.
        if is_late and reason is not AwayReason.BLOCKED:
            return SourceError(AwayReason.SILENT, f"did not open within {self._request.open_timeout_s:g} s")
        if reason is AwayReason.DECODER and self._request.address.startswith(("rtsp:", "rtsps:")):
            return SourceError(AwayReason.WRONG_PROTOCOL)
        return SourceError(reason, detail or (_text(error) if reason is AwayReason.UNKNOWN else ""))

    def _decode_all(self) -> Iterator[VideoFrame]:
        errors_in_a_row = 0
        for packet in self._read_packets():
            frames, error = self._decode(packet)
            errors_in_a_row = 0 if frames or not error else errors_in_a_row + 1
            if errors_in_a_row > _MAX_ERRORS_IN_A_ROW:
                raise SourceError(AwayReason.DECODER, f"its pictures can't be decoded: {error}")
            self._damage.read_lines(self._log.take_new_lines())
            if error:
                self._damage.sign(f"the decoder reported: {error}")
            for frame in frames:
                self._known.append(self._describe(frame))
                yield from self._deinterlacer.push(frame)
        yield from self._deinterlacer.flush()

    def _read_packets(self) -> Iterator[av.Packet[Any]]:
        import av

        silent = f"no picture for {self._request.read_timeout_s:g} s"
        while True:
            began_s = time.monotonic()
            try:
                packet = next(self._packets, None)
            except (av.error.ExitError, av.error.TimeoutError):
                raise SourceError(AwayReason.SILENT, silent) from None
            except (av.error.FFmpegError, OSError, MemoryError) as error:
                reason, detail = recognise_reason(_code(error), self._log.new_lines())
                if reason in (AwayReason.TLS, AwayReason.UNKNOWN):  # a connection that worked
                    reason, detail = AwayReason.ENDED, f"the connection ended: {_text(error)}"
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
            self._note(packet)
            yield packet

    def _is_repeated(self, packet: av.Packet[Any]) -> bool:
        """Whether a camera has sent the same packet again: decoded twice, it would spoil what is predicted from it."""
        last, self._last_packet = self._last_packet, packet
        return (
            self._is_rtsp
            and last is not None
            and packet.pts is not None
            and (packet.pts, packet.size) == (last.pts, last.size)
            and packet.size > 0
            and bytes(packet) == bytes(last)
        )

    def _note(self, packet: av.Packet[Any]) -> None:
        """Remember what is known of a packet until its picture comes, and look for signs of damage."""
        arrived_s = time.monotonic()
        self._damage.read_lines(self._log.take_new_lines(), of_next_packet=True)
        if packet.pts is not None and packet.size and self._is_rtsp:
            self._damage.packet_time(float(packet.pts * packet.time_base))
        number, is_key = self._damage.next_packet(), packet.is_keyframe
        self._latest = _PacketFacts(number, arrived_s, _sender_time_s(packet), is_key)
        if packet.is_corrupt and packet.size:
            self._damage.sign("the container marked a packet as corrupt")
        elif packet.is_discard and is_key:  # cut off by an edit list: it is decoded, and its picture never comes out
            self._damage.judge(number, is_key_frame=True, is_corrupt=False)
        if packet.pts is not None:
            self._facts[packet.pts] = self._latest
            if len(self._facts) > _MAX_IN_DECODER:
                self._give_up([next(iter(self._facts))])

    @property
    def _is_rtsp(self) -> bool:
        return self._container.format.name == "rtsp"

    def _decode(self, packet: av.Packet[Any]) -> tuple[list[VideoFrame], str]:
        import av

        try:
            return packet.decode(), ""
        except av.error.EOFError:
            return [], ""
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            return [], _text(error)

    def _describe(self, frame: VideoFrame) -> CapturedPicture:
        facts = self._latest if frame.pts is None else self._facts.pop(frame.pts, self._latest)
        if frame.pts is not None and frame.time_base:
            self._times.move_to(float(frame.pts * frame.time_base))
        left_out, why = 0, self._damage.lost_why
        self._marks_key_frames |= bool(frame.key_frame)
        is_key_frame = bool(frame.key_frame) or (facts.is_key and not self._marks_key_frames)
        if is_key_frame:  # nothing of before it comes any more
            self._give_up([pts for pts, known in self._facts.items() if known.number < facts.number])
            left_out, self._left_out = self._left_out, 0
        damage = self._damage.judge(
            facts.number,
            is_key_frame=is_key_frame,
            is_corrupt=frame.is_corrupt,
            begins_refresh=facts.is_key and not is_key_frame,
        )
        return CapturedPicture(facts.arrived_s, self._times.position_s, facts.sent_s, damage, left_out, why)

    def _give_up(self, times: list[int]) -> None:
        """Forget packets whose pictures have not come: the decoder leaves some out when others are missing before them.

        Without damage, a packet without a picture is one that never has any, such as a reference of VP8 alone.
        """
        for pts in times:
            del self._facts[pts]
            self._left_out += bool(self._damage.lost_why) and not self._request.keyframes_only


def _is_picture(frame: VideoFrame) -> bool:
    return frame.width >= 2 and frame.height >= 2 and frame.width * frame.height <= MAX_PICTURE_PIXELS


def _orientation(frame: VideoFrame) -> Orientation:
    side_data: Any = frame.side_data
    for found in side_data:
        data = found if hasattr(found, "type") else side_data[found]  # a mapping whose keys come only since PyAV 19
        if data.type.name == "DISPLAYMATRIX":
            return Orientation.of_matrix(bytes(data))
    return Orientation()


def _sender_time_s(packet: av.Packet[Any]) -> float | None:
    """Return the Unix time by the sender's clock; known from its first RTCP report on."""
    if not packet.has_sidedata("prft"):
        return None
    (time_us,) = _REFERENCE_TIME.unpack_from(bytes(packet.get_sidedata("prft")))
    return time_us / 1e6 if time_us > 0 else None


def _code(error: Exception) -> int:
    return errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None) or 0


def _text(error: Exception) -> str:
    """Return what FFmpeg says, without the address in it."""
    return str(getattr(error, "strerror", None) or error).partition(": '")[0]
