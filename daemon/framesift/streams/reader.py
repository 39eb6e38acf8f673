"""The reader: a separate process that opens one source and decodes its pictures into shared memory.

It is a process because a decoder that hangs or crashes can only be stopped by killing it. It is a fork of the template
(reader_template.py), and `run` is all that it does. It receives the source over its channel, never as an argument or in
the environment, which other users can read. It ends with the template, and when the channel is closed.

A live source is read as fast as it comes; of the pictures that were not requested in time, only the newest is kept. A
file waits until a slot is free, so that every picture counts, unless it plays a camera: then each waits for its turn.
One thread decodes and one receives requests, so a picture that is ready leaves at once, even while the decoder waits
for the next.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import replace

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    MAX_DETAIL_CHARACTERS,
    Channel,
    ChannelClosed,
    FileEnded,
    KeepRequest,
    OpenRequest,
    PictureRequest,
    ReaderStarted,
    SourceFailed,
    SourceOpened,
    SourceQuiet,
)
from framesift.streams.continued_times import ContinuedTimes
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.capture import PictureUnusable, ReaderHooks, SourceError
from framesift.streams.engines.choice import open_source, open_with_transport
from framesift.streams.engines.pace import Pace
from framesift.streams.frame_selectors import FileFrameSelector, LiveFrameSelector
from framesift.streams.picture_buffer import PictureBuffer
from framesift.streams.picture_slots import MAX_FILE_ROOM_BYTES

_IDLE_EVERY_S = 0.5


def read_source(request: OpenRequest, channel: Channel, buffer: PictureBuffer) -> None:
    """Decodes until the file ends. Raises SourceError, and ChannelClosed when the parent ended."""
    number = request.first_number
    live_selector = LiveFrameSelector(request.fps)
    pace, times = Pace(), ContinuedTimes()
    log = DecoderLog()
    is_quiet = False

    def on_idle(waited_s: float) -> None:
        nonlocal is_quiet
        if not is_quiet and waited_s >= request.read_timeout_s:
            is_quiet = True
            channel.send(SourceQuiet())
        buffer.record_progress(number)

    hooks = ReaderHooks(on_idle=on_idle, pictures_done=lambda: buffer.done)
    while True:
        source, transport = open_with_transport(request, lambda asked: open_source(asked, log, hooks))
        buffer.send_progress()  # what came before belongs to the file before
        channel.send(SourceOpened(transport))
        selector = live_selector if request.live else FileFrameSelector(request.fps)
        index = 0
        any_usable = False
        while (picture := source.next_picture()) is not None:
            is_quiet = False
            for _ in range(picture.left_out):
                if index >= request.resume_at:
                    number += 1
                    buffer.record_progress(number, damaged=picture.left_out_why)
                index += 1
            if request.realtime and index >= request.resume_at:
                turn_s = pace.turn_s(times.continued_s(picture.media_s), time.monotonic())
                _wait_until(turn_s, hooks)
                picture = replace(picture, arrived_s=turn_s)
            time_s = picture.arrived_s if request.live else picture.media_s
            if index < request.resume_at:
                selector.wants(time_s)  # an earlier reader has selected it or not
                buffer.record_progress(number)
            elif picture.damage and not request.show_damaged:
                number += 1
                buffer.record_progress(number, damaged=picture.damage)
            elif not (selector.wants(time_s) or (request.live and buffer.next_takes_turn())):
                number += 1
                buffer.record_progress(number, rate=1)
            else:
                slot = buffer.take_free_slot()
                unusable = ""
                try:
                    pixels = source.convert(buffer.pixels(slot))
                except PictureUnusable as error:
                    buffer.release_slot(slot)
                    unusable = str(error)
                else:
                    buffer.put(pixels, slot, number, picture, source.jpeg)
                    any_usable = True
                # Counted only now: after a crash the next reader of a file continues after the counted pictures.
                number += 1
                buffer.record_progress(number, unusable=unusable)
            index += 1
        source.close()
        if request.live and not request.realtime:
            raise SourceError(AwayReason.ENDED)
        if index == 0:
            raise SourceError(AwayReason.DECODER, "no picture in it could be decoded")
        if not (request.loop or request.follow):
            return
        if not any_usable:
            raise SourceError(AwayReason.UNUSABLE, "no picture in it can be used")


def _wait_until(turn_s: float, hooks: ReaderHooks) -> None:
    """Wait until then, by the monotonic clock, and say at times that this is no stall."""
    while (left_s := turn_s - time.monotonic()) > 0:
        time.sleep(min(left_s, _IDLE_EVERY_S))
        hooks.on_idle(0.0)


def receive_requests(channel: Channel, buffer: PictureBuffer) -> None:
    """The receiving thread: returns slots to the buffer. It ends the process when the parent has closed the channel."""
    try:
        while True:
            message = channel.receive(None)
            if isinstance(message, PictureRequest):
                buffer.request_next(message)
    except ChannelClosed:
        # Without the interpreter's clean-up: the decoder may be in a read that never returns.
        os._exit(0)


def run(end: socket.socket) -> None:
    """Run the reader until its source or its parent ends. end: of the channel."""
    channel = Channel(end)
    try:
        request = channel.receive(None)
        if isinstance(request, KeepRequest):
            from framesift.streams.snapshots.keeper import keep_packets  # it needs PyAV

            keep_packets(channel, request)
        if not isinstance(request, OpenRequest):
            raise ChannelClosed("the first message is not an open request")
        import cv2  # noqa: F401 - loaded here, so that loading it counts neither as opening nor as reading

        channel.send(ReaderStarted())
        buffer = PictureBuffer(
            channel, live=request.live, file_room_bytes=MAX_FILE_ROOM_BYTES if request.pictures else 0
        )
        receiver_thread = threading.Thread(target=receive_requests, args=(channel, buffer), daemon=True)
        receiver_thread.start()
        try:
            read_source(request, channel, buffer)
        except SourceError as error:
            buffer.finish(SourceFailed(error.reason, error.detail[:MAX_DETAIL_CHARACTERS]))
        else:
            buffer.finish(FileEnded())
        receiver_thread.join()  # the parent may not have read everything yet; it closes the channel when it has
    except ChannelClosed:
        os._exit(0)
