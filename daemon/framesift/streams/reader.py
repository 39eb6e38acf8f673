"""The reader: a separate process that opens one source and decodes its pictures into shared memory.

It is a process because a decoder that hangs or crashes can only be stopped by killing it. It is a fork of the template
(reader_template.py), and `run` is all that it does. It receives the source over its channel, never as an argument or in
the environment, which other users can read. It ends with the template, and when the channel is closed.

A live source is read as fast as it comes; of the pictures that were not requested in time, only the newest is kept. A
file waits until a slot is free, so that every picture counts. One thread decodes and one receives requests, so a
picture that is ready leaves at once, even while the decoder waits for the next.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from framesift.streams.channel import (
    MAX_PICTURE_PIXELS,
    Channel,
    ChannelClosed,
    FileEnded,
    OpenRequest,
    PictureReady,
    PictureRequest,
    PictureSlots,
    ReaderStarted,
    SharedMemory,
    SkipCounts,
    SourceFailed,
    SourceOpened,
)
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.frame_selectors import FileFrameSelector, LiveFrameSelector

if TYPE_CHECKING:
    import cv2

_SLOT_COUNT = 3  # one is used by the daemon, one waits, one is being filled
_COUNTS_EVERY_S = 1.0
_DEFAULT_FPS = 25.0  # for files that don't state their rate
_MAX_THREADS = 4  # each decoding thread delays a live picture by one


class SourceError(Exception):
    """The source gives no more pictures; the text is the reason."""


class PictureUnusable(Exception):
    """This picture can't be used; the text is the reason."""


def as_bgr(decoded: NDArray[np.generic] | None) -> NDArray[np.uint8] | None:
    """Converts a decoder's result to BGR uint8, shape (height, width, 3); None if it is not a picture."""
    if decoded is None or decoded.dtype != np.uint8 or decoded.ndim not in (2, 3):
        return None
    height, width = decoded.shape[:2]
    if height < 2 or width < 2 or height * width > MAX_PICTURE_PIXELS:
        return None
    picture = cast("NDArray[np.uint8]", decoded)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels == 1:
        return np.repeat(picture.reshape(height, width, 1), 3, axis=2)
    return picture if channels == 3 else picture[:, :, :3] if channels == 4 else None


class PictureBuffer:
    """The slots of shared memory, and at most one picture that waits in them for the parent. Thread-safe."""

    def __init__(self, channel: Channel, *, live: bool) -> None:
        self._channel = channel
        self._live = live
        self._changed = threading.Condition()
        self._slots: PictureSlots | None = None
        self._memory_id = 0
        self._free: list[int] = []
        self._waiting: tuple[PictureReady, float] | None = None
        self._is_requested = False
        self._rate = self._busy = self._unusable = 0
        self._unusable_after_waiting = 0  # unusable pictures that came after the waiting one: they are sent after it
        self._why = ""
        self._number = 0
        self._counts_sent_s = time.monotonic()

    def take_free_slot(self) -> int | None:
        """Returns a slot to decode into, and waits until one is free. None before the first picture."""
        with self._changed:
            if self._slots is None:
                return None
            while not self._free:
                self._changed.wait()
            return self._free.pop()

    def pixels(self, slot: int | None) -> NDArray[np.uint8] | None:
        """The pixels of a slot, a writable view of shape (height, width, 3); None if there is no slot yet."""
        return None if self._slots is None or slot is None else self._slots[slot]

    def release_slot(self, slot: int | None) -> None:
        """Makes a slot free again after nothing was decoded into it."""
        with self._changed:
            if slot is not None:
                self._free.append(slot)

    def put(self, picture: NDArray[np.uint8], slot: int | None, number: int, decoded_s: float, media_s: float) -> None:
        """Stores a picture, decoded into the slot or elsewhere, and sends it if it is requested (a file: at once).

        decoded_s: when it left the source, by the monotonic clock. media_s: its position in a file, -1 for live
        sources.
        """
        if self._slots is None or picture.shape != self._slots.shape:
            slot = self._replace_slots(picture.shape[0], picture.shape[1])
        target = self.pixels(slot)
        if target is None or slot is None:
            raise SourceError("the reader has no memory for its pictures")
        if picture.__array_interface__["data"][0] != target.__array_interface__["data"][0]:
            np.copyto(target, picture)
        with self._changed:
            replaced = self._pop_waiting()
            if replaced is not None:
                self._free.append(replaced[0].slot)
                self._busy += 1
            self._waiting = (PictureReady(self._memory_id, slot, number, 0.0, media_s), decoded_s)
            if self._is_requested or not self._live:
                self._send_waiting()

    def request_next(self, request: PictureRequest) -> None:
        """The parent has returned a slot and wants the next picture."""
        with self._changed:
            if request.slot >= 0 and request.memory_id == self._memory_id:
                self._free.append(request.slot)
                self._changed.notify_all()
            self._is_requested = True
            if self._waiting is not None:
                self._send_waiting()

    def record_progress(self, number: int, *, rate: int = 0, unusable: str = "") -> None:
        """Counts a picture that was skipped, and sends the counts about once a second. number: of the next picture.

        unusable: why the picture could not be used, "" if it could.
        """
        with self._changed:
            self._number = number
            self._rate += rate
            if unusable:
                self._unusable += self._waiting is None
                self._unusable_after_waiting += self._waiting is not None
                self._why = unusable
            if time.monotonic() - self._counts_sent_s >= _COUNTS_EVERY_S:
                self._send_counts(wait=False)

    def finish(self, message: FileEnded | SourceFailed) -> None:
        """Sends the last counts, then the last message."""
        with self._changed:
            if self._pop_waiting() is not None:  # live: it was not requested in time
                self._busy += 1
            self._send_counts(wait=True)
            self._channel.send(message)

    def _replace_slots(self, height: int, width: int) -> int:
        slots, fd = PictureSlots.create(height, width, _SLOT_COUNT)
        try:
            with self._changed:
                if self._pop_waiting() is not None:
                    self._busy += 1
                self._slots = slots
                self._memory_id += 1
                self._free = list(range(1, len(slots)))
                self._channel.send(SharedMemory(self._memory_id, height, width, len(slots), fd))
        finally:
            os.close(fd)
        return 0

    def _send_waiting(self) -> None:
        if self._waiting is None:
            return
        picture, decoded_s = self._waiting
        self._is_requested = False
        if self._rate or self._busy or self._unusable:
            self._send_counts(wait=True)
        age_s = max(0.0, time.monotonic() - decoded_s) if self._live else 0.0
        self._channel.send(PictureReady(picture.memory_id, picture.slot, picture.number, age_s, picture.media_s))
        self._counts_sent_s = time.monotonic()
        self._pop_waiting()

    def _pop_waiting(self) -> tuple[PictureReady, float] | None:
        waiting, self._waiting = self._waiting, None
        self._unusable += self._unusable_after_waiting
        self._unusable_after_waiting = 0
        return waiting

    def _send_counts(self, *, wait: bool) -> None:
        # When the socket is full because the parent is busy, the counts are sent with the next message.
        why = self._why if self._unusable else ""
        if self._channel.send(SkipCounts(self._number, self._rate, self._busy, self._unusable, why), wait=wait):
            self._rate = self._busy = self._unusable = 0
        self._counts_sent_s = time.monotonic()


class VideoSource:
    """An open `cv2.VideoCapture`. `cv2` is imported earlier, because importing it takes longer than opening."""

    def __init__(self, request: OpenRequest, log: DecoderLog) -> None:
        """Opens the source. log: where the decoder writes its errors. Raises SourceError."""
        import cv2

        self._request = request
        self._log = log
        try:
            self._capture = self._open()
            opened = self._capture.isOpened()
        except cv2.error as error:
            raise SourceError(f"it did not open: {error.err}") from None
        if not opened:
            raise SourceError("it did not open" if request.live else "not a video that can be decoded")
        stated_fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = stated_fps if math.isfinite(stated_fps) and 0.0 < stated_fps <= 1000.0 else _DEFAULT_FPS
        pixels = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH) * self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        self._too_large = pixels > MAX_PICTURE_PIXELS

    def _open(self) -> cv2.VideoCapture:
        import cv2

        request = self._request
        if request.webcam_index >= 0:
            return cv2.VideoCapture(request.webcam_index, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
        if cv2.CAP_FFMPEG not in cv2.videoio_registry.getStreamBackends():
            return cv2.VideoCapture(request.address, cv2.CAP_ANY)  # a system build without FFmpeg, but with GStreamer
        parameters = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(request.open_timeout_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(request.read_timeout_s * 1000)),
        ]
        if hasattr(cv2, "CAP_PROP_N_THREADS"):  # OpenCV 4.6 (Debian 12) does not have it
            parameters += [cv2.CAP_PROP_N_THREADS, min(_MAX_THREADS, os.cpu_count() or 1)]
        return cv2.VideoCapture(request.address, cv2.CAP_FFMPEG, parameters)

    def grab(self) -> bool:
        """Reads the next picture from the source, without decoding it. False: there is none.

        Raises SourceError after a timeout: then OpenCV may report success although it still holds the previous picture.
        """
        self._log.mark()
        began_s = time.monotonic()
        grabbed = self._capture.grab()
        if time.monotonic() - began_s >= self._request.read_timeout_s:
            raise SourceError(f"no picture for {self._request.read_timeout_s:g} s")
        return bool(grabbed)

    def decode_picture(self, target: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Decodes the picture that was grabbed, into `target` if it fits. Raises PictureUnusable."""
        import cv2

        if self._too_large:
            raise PictureUnusable("too large for a camera's picture")
        self._log.mark()
        try:
            good, decoded = self._capture.retrieve() if target is None else self._capture.retrieve(target)
        except cv2.error as error:
            raise PictureUnusable(f"it could not be decoded: {error.err}") from None
        error_text = self._log.conversion_error()
        if error_text:
            raise PictureUnusable(f"the decoder did not convert it: {error_text}")
        picture = as_bgr(decoded) if good else None
        if picture is None:
            raise PictureUnusable("its size or format is not a camera's")
        return picture

    def close(self) -> None:
        """Closes the source."""
        self._capture.release()


def read_source(request: OpenRequest, channel: Channel, buffer: PictureBuffer) -> None:
    """Decodes until the file ends. Raises SourceError, and ChannelClosed when the parent ended."""
    number = request.first_number
    live_selector = LiveFrameSelector(request.fps)
    log = DecoderLog()
    while True:
        source = VideoSource(request, log)
        channel.send(SourceOpened())
        file_selector = FileFrameSelector(request.fps, source.fps)
        index = 0
        any_usable = False
        while source.grab():
            decoded_s = time.monotonic()
            if index < request.resume_at:
                buffer.record_progress(number)
            elif not (live_selector.wants(decoded_s) if request.live else file_selector.wants(index)):
                number += 1
                buffer.record_progress(number, rate=1)
            else:
                slot = buffer.take_free_slot()
                unusable = ""
                try:
                    picture = source.decode_picture(buffer.pixels(slot))
                except PictureUnusable as error:
                    buffer.release_slot(slot)
                    unusable = str(error)
                else:
                    buffer.put(picture, slot, number, decoded_s, -1.0 if request.live else index / source.fps)
                    any_usable = True
                # Counted only now: after a crash the next reader of a file continues after the counted pictures.
                number += 1
                buffer.record_progress(number, unusable=unusable)
            index += 1
        source.close()
        if request.live:
            raise SourceError(
                "the connection ended" if request.webcam_index < 0 else "the webcam gives no more pictures"
            )
        if index == 0:
            raise SourceError("no picture in it could be decoded")
        if not request.loop:
            return
        if not any_usable:
            raise SourceError("no picture in it can be used")


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
        if not isinstance(request, OpenRequest):
            raise ChannelClosed("the first message is not an open request")
        import cv2  # noqa: F401 - loaded here, so that loading it counts neither as opening nor as reading

        channel.send(ReaderStarted())
        buffer = PictureBuffer(channel, live=request.live)
        receiver_thread = threading.Thread(target=receive_requests, args=(channel, buffer), daemon=True)
        receiver_thread.start()
        try:
            read_source(request, channel, buffer)
        except SourceError as error:
            buffer.finish(SourceFailed(str(error)))
        else:
            buffer.finish(FileEnded())
        receiver_thread.join()  # the parent may not have read everything yet; it closes the channel when it has
    except ChannelClosed:
        os._exit(0)
