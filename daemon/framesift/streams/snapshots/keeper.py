"""The keeper: a reader process that keeps the packets of a main stream, and decodes one picture on request.

Three threads: one reads packets and never waits for the others, so that a camera is not held up while a picture of 4K
is decoded; one receives requests; one answers them, one after the other. Each picture lies in memory of its own, which
is free again once the daemon has released it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import NoReturn

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    MAX_DETAIL_CHARACTERS,
    Channel,
    ChannelClosed,
    KeepRequest,
    OpenRequest,
    PacketsKept,
    ReaderStarted,
    SharedMemory,
    SnapshotReady,
    SnapshotRefused,
    SnapshotRequest,
    SourceFailed,
    SourceOpened,
)
from framesift.streams.engines.av_packets import AvPackets
from framesift.streams.engines.av_pixels import AvPixels
from framesift.streams.engines.capture import PictureUnusable, ReaderHooks, SourceError
from framesift.streams.engines.choice import open_with_transport
from framesift.streams.picture_slots import PictureSlots
from framesift.streams.snapshots.group_decoder import GroupDecoder, SnapshotUndecodable
from framesift.streams.snapshots.packet_groups import NearestPacket, PacketGroups, WantedTime
from framesift.streams.snapshots.split_log import SplitLog
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason

_TELL_EVERY_S = 1.0
_THREADS = 4  # that decode a picture somebody waits for: a group of 4K takes one of them over a second
_Requests = queue.SimpleQueue[tuple[SnapshotRequest, float]]  # with the time at which it came, by the monotonic clock


def keep_packets(channel: Channel, keep: KeepRequest) -> NoReturn:
    """Keep the packets of the source that the next message names, until it or the parent ends."""
    request = channel.receive(None)
    if not isinstance(request, OpenRequest):
        raise ChannelClosed("the second message is not an open request")
    channel.send(ReaderStarted())
    groups = PacketGroups(
        keep_s=keep.keep_s,
        max_bytes=keep.max_bytes,
        max_decode_frames=keep.max_decode_frames,
        max_skew_s=keep.max_skew_s,
    )
    requests: _Requests = queue.SimpleQueue()
    receiver = threading.Thread(target=_receive, args=(channel, requests), daemon=True)
    receiver.start()
    try:
        _read(channel, request, groups, requests)
    except SourceError as error:
        channel.send(SourceFailed(error.reason, error.detail[:MAX_DETAIL_CHARACTERS]))
    receiver.join()  # the parent closes the channel when it has read this
    os._exit(0)


def _receive(channel: Channel, requests: _Requests) -> None:
    try:
        while True:
            message = channel.receive(None)
            if isinstance(message, SnapshotRequest):
                requests.put((message, time.monotonic()))
    except ChannelClosed:
        os._exit(0)  # as a reader does: FFmpeg may be in a read that never returns


def _read(
    channel: Channel,
    request: OpenRequest,
    groups: PacketGroups,
    requests: _Requests,
) -> NoReturn:
    """Raises SourceError, and ChannelClosed when the parent ended."""
    log = SplitLog()
    hooks = ReaderHooks(on_idle=lambda _waited_s: None, pictures_done=lambda: 0)
    packets, transport = open_with_transport(request, lambda asked: AvPackets(asked, log, hooks))
    if packets.format == "hls":
        why = "HLS comes in pieces of seconds, of which no picture can be matched with a frame; take an RTSP stream"
        raise SourceError(AwayReason.UNUSABLE, why)
    context = packets.stream.codec_context
    log.split_off(context.codec.name)
    channel.send(SourceOpened(transport))
    threads = request.threads or min(_THREADS, os.cpu_count() or 1)
    decoder = GroupDecoder(context, threads=threads, take_lines=log.take_decoder_lines)
    answers = _Answers(channel, groups, decoder, AvPixels(rotate=request.rotate, threads=request.threads or 1))
    threading.Thread(target=answers.run, args=(requests,), daemon=True).start()
    told_s, any_kept = float("-inf"), False
    for packet, facts in packets.read():
        if not packet.size:
            continue
        damage = packets.damage.judge(facts.number, is_key_frame=facts.is_key, is_corrupt=False)
        groups.add(packet, facts, damage)
        if facts.arrived_s - told_s >= _TELL_EVERY_S or (groups.kept_bytes and not any_kept):
            told_s, any_kept = facts.arrived_s, groups.kept_bytes > 0
            channel.send(PacketsKept(groups.packets, groups.kept_bytes), wait=False)
    raise SourceError(AwayReason.ENDED)


class _Answers:
    """Answers requests. For one thread."""

    def __init__(self, channel: Channel, groups: PacketGroups, decoder: GroupDecoder, pixels: AvPixels) -> None:
        self._channel = channel
        self._groups = groups
        self._decoder = decoder
        self._pixels = pixels

    def run(self, requests: _Requests) -> None:
        try:
            while True:
                request, received_s = requests.get()
                missed = self._answer(request, received_s)
                if missed is not None:
                    detail = missed.detail[:MAX_DETAIL_CHARACTERS]
                    self._channel.send(SnapshotRefused(request.number, missed.reason, detail))
        except ChannelClosed:
            os._exit(0)

    def _answer(self, request: SnapshotRequest, received_s: float) -> SnapshotMissed | None:
        """Send the picture, or return why there is none."""
        deadline_s = received_s + request.within_s
        wanted = WantedTime(received_s - request.age_s, request.sent_s or None)
        nearest = self._groups.nearest(wanted, deadline_s)
        if isinstance(nearest, SnapshotMissed):
            return nearest
        try:
            self._send(request.number, nearest, deadline_s)
        except SnapshotUndecodable as error:
            return error.miss
        except PictureUnusable as error:
            return SnapshotMissed(SnapshotMissReason.DECODER, str(error))
        except (OSError, MemoryError) as error:
            return SnapshotMissed(SnapshotMissReason.DECODER, f"there is no memory for its picture: {error}")
        return None

    def _send(self, number: int, nearest: NearestPacket, deadline_s: float) -> None:
        upright = self._pixels.convert(self._decoder.decode(nearest, deadline_s), None)
        height, width = upright.shape[:2]
        slots, fd = PictureSlots.create(height, width, 1)
        try:
            slots[0][:] = upright
            self._channel.send(SharedMemory(number, height, width, 1, fd))
        finally:
            os.close(fd)
        age_s = time.monotonic() - nearest.facts.arrived_s
        ready = SnapshotReady(number, age_s, nearest.skew_s, nearest.by_sender, nearest.sent_s or 0.0)
        self._channel.send(ready)
