"""The reader: a process of its own that opens one source and decodes its pictures into shared memory.

    python -m framesift.streams.reader SOCKET NAME

A process, because a decoder that hangs or crashes can only be got rid of by killing it. It is told what to open over
the socket, never by its arguments or environment, which others can read. It ends with its parent, and with the socket.

A live source is read as fast as it comes, and of what was not asked for in time only the newest picture is kept. A file
waits until there is room, so that every picture counts. Two threads: one decodes, one listens to the parent; so a
picture that is ready leaves at once, whatever the decoder is waiting for.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
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

if TYPE_CHECKING:
    import cv2

_SLOTS = 3  # one is looked at, one waits, one is being filled
_TALLY_EVERY_S = 1.0
_USUAL_FPS = 25.0  # for files that state none
_MOST_THREADS = 4  # each decoding thread delays a live picture by one
_PR_SET_PDEATHSIG = 1


class SourceError(Exception):
    """The source gives no more pictures; the text says why."""


class PictureUnusable(Exception):
    """Nothing can be done with this picture; the text says why."""


class FileFrameSelector:
    """Which pictures of a file are wanted, by their index alone, so that a second run wants the same ones.

    Picture i lies i / file_fps seconds into the file; of the pictures of one 1 / fps of a second the first is wanted.
    """

    def __init__(self, fps: float, file_fps: float) -> None:
        self._ratio = min(1.0, fps / file_fps) if fps > 0 else 1.0

    def wants(self, index: int) -> bool:
        if index == 0 or self._ratio >= 1.0:
            return True
        # The small step forgives the rounding of the ratio, which would push a picture over the edge of its second.
        return math.floor(index * self._ratio + 1e-9) > math.floor((index - 1) * self._ratio + 1e-9)


class LiveFrameSelector:
    """Which pictures of a live source are wanted, by the clock: `fps` a second on average, no catching up after a gap.

    A picture may come half a period early: a camera at exactly `fps` whose pictures jitter would lose every other one.
    """

    def __init__(self, fps: float) -> None:
        self._period_s = 1.0 / fps if fps > 0 else 0.0
        self._due_s = -math.inf

    def wants(self, now_s: float) -> bool:
        if now_s < self._due_s - self._period_s / 2:
            return False
        late = now_s >= self._due_s + self._period_s
        self._due_s = (now_s if late else self._due_s) + self._period_s
        return True


def as_bgr(decoded: NDArray[np.generic] | None) -> NDArray[np.uint8] | None:
    """What a decoder returned as a picture: BGR, uint8, (height, width, 3); None if no picture can be made of it."""
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
    """The slots, and the one picture that may wait in them for the parent. Both threads use it."""

    def __init__(self, channel: Channel, *, live: bool) -> None:
        self._channel = channel
        self._live = live
        self._changed = threading.Condition()
        self._slots: PictureSlots | None = None
        self._memory = 0
        self._free: list[int] = []
        self._waiting: tuple[PictureReady, float] | None = None
        self._wanted = False
        self._rate = self._busy = self._unusable = 0
        self._unusable_later = 0  # than the picture that waits: told behind it
        self._why = ""
        self._number = 0
        self._told_s = time.monotonic()

    def take_free_slot(self) -> int | None:
        """A slot to decode into, waiting for one if need be; None before the first picture told its size."""
        with self._changed:
            if self._slots is None:
                return None
            while not self._free:
                self._changed.wait()
            return self._free.pop()

    def pixels(self, slot: int | None) -> NDArray[np.uint8] | None:
        return None if self._slots is None or slot is None else self._slots[slot]

    def release_slot(self, slot: int | None) -> None:
        with self._changed:
            if slot is not None:
                self._free.append(slot)

    def put(self, picture: NDArray[np.uint8], slot: int | None, number: int, taken_s: float, media_s: float) -> None:
        """Hands over a picture that was decoded into the slot, or elsewhere because its size was not known."""
        if self._slots is None or picture.shape != self._slots.shape:
            slot = self._renew(picture.shape[0], picture.shape[1])
        target = self.pixels(slot)
        if target is None or slot is None:
            raise SourceError("the reader has no memory for its pictures")
        if picture.__array_interface__["data"][0] != target.__array_interface__["data"][0]:
            np.copyto(target, picture)
        with self._changed:
            overtaken = self._take_waiting()
            if overtaken is not None:
                self._free.append(overtaken[0].slot)
                self._busy += 1
            self._waiting = (PictureReady(self._memory, slot, number, 0.0, media_s), taken_s)
            if self._wanted or not self._live:
                self._send_waiting()

    def request_next(self, asked: PictureRequest) -> None:
        """The parent has returned a slot and wants the next picture."""
        with self._changed:
            if asked.slot >= 0 and asked.memory_id == self._memory:
                self._free.append(asked.slot)
                self._changed.notify_all()
            self._wanted = True
            if self._waiting is not None:
                self._send_waiting()

    def record_progress(self, number: int, *, rate: int = 0, unusable: str = "") -> None:
        """The source moves: `number` is the next picture's. Says so about once a second."""
        with self._changed:
            self._number = number
            self._rate += rate
            if unusable:
                self._unusable += self._waiting is None
                self._unusable_later += self._waiting is not None
                self._why = unusable
            if time.monotonic() - self._told_s >= _TALLY_EVERY_S:
                self._tell(wait=False)

    def finish(self, word: FileEnded | SourceFailed) -> None:
        with self._changed:
            if self._take_waiting() is not None:  # live: nobody asked for it in time
                self._busy += 1
            self._tell(wait=True)
            self._channel.send(word)

    def _renew(self, height: int, width: int) -> int:
        slots, fd = PictureSlots.create(height, width, _SLOTS)
        try:
            with self._changed:
                if self._take_waiting() is not None:
                    self._busy += 1
                self._slots = slots
                self._memory += 1
                self._free = list(range(1, len(slots)))
                self._channel.send(SharedMemory(self._memory, height, width, len(slots), fd))
        finally:
            os.close(fd)
        return 0

    def _send_waiting(self) -> None:
        if self._waiting is None:
            return
        picture, taken_s = self._waiting
        self._wanted = False
        if self._rate or self._busy or self._unusable:
            self._tell(wait=True)
        age_s = max(0.0, time.monotonic() - taken_s) if self._live else 0.0
        self._channel.send(PictureReady(picture.memory_id, picture.slot, picture.number, age_s, picture.media_s))
        self._told_s = time.monotonic()
        self._take_waiting()

    def _take_waiting(self) -> tuple[PictureReady, float] | None:
        waiting, self._waiting = self._waiting, None
        self._unusable += self._unusable_later
        self._unusable_later = 0
        return waiting

    def _tell(self, *, wait: bool) -> None:
        # A parent that is busy leaves its messages unread: then the counts are kept for the next tally.
        why = self._why if self._unusable else ""
        if self._channel.send(SkipCounts(self._number, self._rate, self._busy, self._unusable, why), wait=wait):
            self._rate = self._busy = self._unusable = 0
        self._told_s = time.monotonic()


class VideoSource:
    """An open capture. `cv2` is loaded by then: loading it takes longer than all the rest. words: what it writes."""

    def __init__(self, work: OpenRequest, words: DecoderLog) -> None:
        import cv2

        self._work = work
        self._words = words
        try:
            self._capture = self._open()
            opened = self._capture.isOpened()
        except cv2.error as error:
            raise SourceError(f"it did not open: {error.err}") from None
        if not opened:
            raise SourceError("it did not open" if work.live else "not a video that can be decoded")
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = stated if math.isfinite(stated) and 0.0 < stated <= 1000.0 else _USUAL_FPS
        pixels = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH) * self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        self._too_large = pixels > MAX_PICTURE_PIXELS

    def _open(self) -> cv2.VideoCapture:
        import cv2

        work = self._work
        if work.webcam_index >= 0:
            return cv2.VideoCapture(work.webcam_index, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
        if cv2.CAP_FFMPEG not in cv2.videoio_registry.getStreamBackends():
            return cv2.VideoCapture(work.address, cv2.CAP_ANY)  # a system's own build, with GStreamer
        settings = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(work.open_timeout_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(work.read_timeout_s * 1000)),
        ]
        if hasattr(cv2, "CAP_PROP_N_THREADS"):  # OpenCV 4.6, which Debian 12 brings, does not have it
            settings += [cv2.CAP_PROP_N_THREADS, min(_MOST_THREADS, os.cpu_count() or 1)]
        return cv2.VideoCapture(work.address, cv2.CAP_FFMPEG, settings)

    def grab(self) -> bool:
        """Takes the next picture from the source; False: there is none. Raises SourceGone if it took too long.

        A read that ran into its time-out may say that all is well, and have the picture of before.
        """
        self._words.mark()
        began_s = time.monotonic()
        grabbed = self._capture.grab()
        if time.monotonic() - began_s >= self._work.read_timeout_s:
            raise SourceError(f"no picture for {self._work.read_timeout_s:g} s")
        return bool(grabbed)

    def decode_picture(self, room: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """The picture that was grabbed, in `room` if it fits there. Raises PictureUnusable."""
        import cv2

        if self._too_large:
            raise PictureUnusable("larger than any camera's")
        self._words.mark()
        try:
            good, decoded = self._capture.retrieve() if room is None else self._capture.retrieve(room)
        except cv2.error as error:
            raise PictureUnusable(f"not decoded: {error.err}") from None
        refusal = self._words.conversion_error()
        if refusal:
            raise PictureUnusable(f"not written by the decoder: {refusal}")
        picture = as_bgr(decoded) if good else None
        if picture is None:
            raise PictureUnusable("of no size or kind that a camera has")
        return picture

    def close(self) -> None:
        self._capture.release()


def read_source(work: OpenRequest, channel: Channel, tray: PictureBuffer) -> None:
    """Decodes until the source is gone or the file has ended. Raises SourceGone; ChannelClosed when the parent is."""
    number = work.first_number
    live_thinning = LiveFrameSelector(work.fps)
    words = DecoderLog()
    while True:
        source = VideoSource(work, words)
        channel.send(SourceOpened())
        file_thinning = FileFrameSelector(work.fps, source.fps)
        index = 0
        shown = False
        while source.grab():
            taken_s = time.monotonic()
            if index < work.resume_at:
                tray.record_progress(number)
            elif not (live_thinning.wants(taken_s) if work.live else file_thinning.wants(index)):
                number += 1
                tray.record_progress(number, rate=1)
            else:
                slot = tray.take_free_slot()
                unusable = ""
                try:
                    picture = source.decode_picture(tray.pixels(slot))
                except PictureUnusable as error:
                    tray.release_slot(slot)
                    unusable = str(error)
                else:
                    tray.put(picture, slot, number, taken_s, -1.0 if work.live else index / source.fps)
                    shown = True
                # Counted only now: after a crash the reader of a file goes on behind what was counted.
                number += 1
                tray.record_progress(number, unusable=unusable)
            index += 1
        source.close()
        if work.live:
            raise SourceError("the connection ended" if work.webcam_index < 0 else "the webcam gives no more pictures")
        if index == 0:
            raise SourceError("no picture in it could be decoded")
        if not work.loop:
            return
        if not shown:
            raise SourceError("no picture in it can be used")


def receive_requests(channel: Channel, tray: PictureBuffer) -> None:
    """The listening thread: takes slots back until the parent is gone, which ends the process."""
    try:
        while True:
            message = channel.receive(None)
            if isinstance(message, PictureRequest):
                tray.request_next(message)
    except ChannelClosed:
        # Not by the way of the interpreter: the decoder may be in the middle of a read that never returns.
        os._exit(0)


def main(arguments: list[str]) -> None:
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would carry the credentials to the disk
    channel = Channel(socket.socket(fileno=int(arguments[1])))
    try:
        work = channel.receive(None)
        if not isinstance(work, OpenRequest):
            raise ChannelClosed("the first message is not the work")
        import cv2  # noqa: F401 - loaded here, so that loading counts neither as opening nor as reading

        channel.send(ReaderStarted())
        tray = PictureBuffer(channel, live=work.live)
        listener = threading.Thread(target=receive_requests, args=(channel, tray), daemon=True)
        listener.start()
        try:
            read_source(work, channel, tray)
        except SourceError as error:
            tray.finish(SourceFailed(str(error)))
        else:
            tray.finish(FileEnded())
        listener.join()  # what was sent may still be unread; the parent closes when it has seen it
    except ChannelClosed:
        os._exit(0)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv)
