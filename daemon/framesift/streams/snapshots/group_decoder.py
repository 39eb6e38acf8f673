"""GroupDecoder: from the key frame of a group to one of its pictures, with a decoder of its own each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from framesift.streams.engines.av_packets import error_text
from framesift.streams.engines.damage import line_of_damage
from framesift.streams.engines.deinterlacer import Deinterlacer
from framesift.streams.snapshots.packet_groups import NearestPacket
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame


class SnapshotUndecodable(Exception):
    """There is no such picture. miss: why."""

    def __init__(self, reason: SnapshotMissReason, detail: str) -> None:
        super().__init__(detail)
        self.miss = SnapshotMissed(reason, detail)


class GroupDecoder:
    """Decodes single pictures of one source. For one thread."""

    def __init__(self, context: av.VideoCodecContext, *, threads: int, take_lines: Callable[[], bytes]) -> None:
        """context: of the stream. take_lines: returns what decoders have written since its last call."""
        self._codec = context.codec.name
        self._extradata = None if context.extradata is None else bytes(context.extradata)
        self._threads = threads
        self._take_lines = take_lines

    def decode(self, nearest: NearestPacket, deadline_s: float) -> VideoFrame:
        """Return the picture of the last packet in the chain, whole where it is interlaced. deadline_s: monotonic.

        Raises SnapshotUndecodable.
        """
        chain, target = nearest.chain, nearest.chain[-1]
        frame = self._decode(chain, target, deadline_s)
        # It leads the key frame, or that only begins to renew the picture: the group before is needed too.
        if frame is None and nearest.before:
            frame = self._decode((*nearest.before, *chain), target, deadline_s)
        if frame is None:
            raise SnapshotUndecodable(SnapshotMissReason.DECODER, "its picture did not come out of the decoder")
        return frame

    def _decode(
        self, packets: Sequence[av.Packet[Any]], target: av.Packet[Any], deadline_s: float
    ) -> VideoFrame | None:
        import av

        decoder: Any = av.CodecContext.create(self._codec, "r")
        decoder.extradata = self._extradata
        decoder.thread_count = self._threads
        decoder.thread_type = "AUTO"  # pictures side by side too: none is shown before the last one is decoded
        decoder.skip_frame = "NONREF"  # nothing is predicted from these
        self._take_lines()
        frames: list[VideoFrame] = []
        try:
            for packet in packets:
                if time.monotonic() >= deadline_s:
                    raise SnapshotUndecodable(SnapshotMissReason.NO_PICTURE, "it was not decoded in time")
                if packet is target:
                    decoder.skip_frame = "DEFAULT"
                frames = [*frames, *decoder.decode(packet)][-4:]  # enough: pictures come out one by one
            frames += decoder.decode(None)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise SnapshotUndecodable(
                SnapshotMissReason.DECODER, f"the decoder reported: {error_text(error)}"
            ) from None
        sign = line_of_damage(self._take_lines())
        if sign:
            raise SnapshotUndecodable(SnapshotMissReason.DAMAGED, sign)
        shown = [index for index, frame in enumerate(frames) if frame.pts == target.pts]
        if not shown:
            return None
        return _whole(frames[: shown[-1] + 1][-2:])


def _whole(frames: Sequence[VideoFrame]) -> VideoFrame:
    """Return the last picture. frames: it and the one before it, if there is one."""
    if not frames[-1].interlaced_frame:
        return frames[-1]
    deinterlacer = Deinterlacer()
    out = [made for frame in frames for made in deinterlacer.push(frame)] + deinterlacer.flush()
    return out[-1]
