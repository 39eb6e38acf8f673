"""The engine on PyAV: FFmpeg's libraries, which tell a picture's own time, its key frames and its damage."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import OpenRequest
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.av_packets import AvPackets, PacketFacts, error_text
from framesift.streams.engines.av_pixels import AvPixels
from framesift.streams.engines.capture import CapturedPicture, ReaderHooks, SourceError
from framesift.streams.engines.deinterlacer import Deinterlacer
from framesift.streams.engines.media_times import MediaTimes
from framesift.streams.engines.pace import Pace

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame

_MAX_ERRORS_IN_A_ROW = 500  # packets that can't be decoded, with no picture in between: it is no video
_MAX_IN_DECODER = 64  # packets whose pictures may still come: the depth of reordering is at most 16
# Decoders of which no mark means no key frame. Others (QuickTime Animation, CineForm) mark none: packets say it.
_MARKS_KEY_FRAMES = ("h264", "hevc")


class PyAvCapture:
    """An open container of FFmpeg, and the decoder of its best video stream."""

    jpeg = b""

    def __init__(self, request: OpenRequest, log: DecoderLog, hooks: ReaderHooks) -> None:
        """Open the source. log: where FFmpeg's lines go. Raises SourceError."""
        import av

        self._request = request
        self._log = log
        self._packets = AvPackets(request, log, hooks)
        decoder = self._packets.stream.codec_context
        decoder.thread_count = request.threads or 1
        decoder.flags |= av.codec.context.Flags.output_corrupt  # marked, and so counted, instead of left out
        if request.keyframes_only:
            decoder.skip_frame = "NONKEY"
            decoder.flags |= av.codec.context.Flags.low_delay  # nothing is reordered: no picture has to wait
        self._frames = self._decode_all()
        self._damage = self._packets.damage
        self._deinterlacer = Deinterlacer()
        self._pixels = AvPixels(rotate=request.rotate, threads=request.threads or 1)
        self._facts: dict[int, PacketFacts] = {}  # by the packet's time, of those whose pictures may still come
        self._left_out = 0  # of those that were damaged, and are not waited for any more
        self._latest = PacketFacts(0, time.monotonic(), None, False)
        self._marks_key_frames = decoder.name in _MARKS_KEY_FRAMES
        self._known: deque[CapturedPicture] = deque()  # of the pictures that are being deinterlaced
        self._pace = Pace() if request.live and not request.local and self._packets.format == "hls" else None
        self._times = MediaTimes()
        self._frame: VideoFrame | None = None

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
        return self._pixels.convert(self._frame, target)

    def close(self) -> None:
        """Close the source."""
        self._packets.close()

    def _decode_all(self) -> Iterator[VideoFrame]:
        errors_in_a_row = 0
        for packet, facts in self._packets.read():
            self._note(packet, facts)
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

    def _note(self, packet: av.Packet[Any], facts: PacketFacts) -> None:
        """Remember what is known of a packet until its picture comes."""
        self._latest = facts
        if packet.is_discard and facts.is_key and not packet.is_corrupt:
            # Cut off by an edit list: it is decoded, and its picture never comes out.
            self._damage.judge(facts.number, is_key_frame=True, is_corrupt=False)
        if packet.pts is not None:
            self._facts[packet.pts] = facts
            if len(self._facts) > _MAX_IN_DECODER:
                self._give_up([next(iter(self._facts))])

    def _decode(self, packet: av.Packet[Any]) -> tuple[list[VideoFrame], str]:
        import av

        try:
            return packet.decode(), ""
        except av.error.EOFError:
            return [], ""
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            return [], error_text(error)

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
