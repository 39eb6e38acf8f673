"""PictureBuffer: the reader's pictures in shared memory, and which of them the parent gets."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    Channel,
    FileEnded,
    PictureReady,
    PictureRequest,
    SharedMemory,
    SkipCounts,
    SourceFailed,
)
from framesift.streams.engines.capture import CapturedPicture, SourceError
from framesift.streams.picture_slots import PictureSlots

_SLOT_COUNT = 3  # one is used by the daemon, one waits, one is being filled
_COUNTS_EVERY_S = 1.0


class PictureBuffer:
    """The slots of shared memory, and at most one picture that waits in them for the parent. Thread-safe."""

    def __init__(self, channel: Channel, *, live: bool, file_room_bytes: int = 0) -> None:
        """file_room_bytes: the largest file that is sent beside a picture's pixels."""
        self._channel = channel
        self._file_room_bytes = file_room_bytes
        self._live = live
        self._changed = threading.Condition()
        self._slots: PictureSlots | None = None
        self._memory_id = 0
        self._free: list[int] = []
        self._waiting: tuple[PictureReady, float] | None = None
        self._is_requested = False
        self._is_owed = False  # the picture that a turn of `fps` had chosen was dropped as too old
        self._rate = self._busy = self._unusable = self._damaged = 0
        self._unusable_after_waiting = 0  # unusable pictures that came after the waiting one: they are sent after it
        self._why = self._damage = ""
        self._number = 0
        self._counts_sent_s = time.monotonic()
        self._done = 0

    @property
    def done(self) -> int:
        """How many pictures the parent has returned, as it needs them no more."""
        return self._done

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

    def put(
        self,
        picture: NDArray[np.uint8],
        slot: int | None,
        number: int,
        captured: CapturedPicture,
        jpeg: bytes = b"",
    ) -> None:
        """Stores a picture, decoded into the slot or elsewhere, and sends it if it is requested (a file: at once).

        jpeg: the file of which it was decoded, which is left out if there is no room for it; b"" if there is none.
        """
        if self._slots is None or picture.shape != self._slots.shape:
            slot = self._replace_slots(picture.shape[0], picture.shape[1])
        target = self.pixels(slot)
        if target is None or slot is None:
            raise SourceError(AwayReason.OUT_OF_MEMORY)
        if picture.__array_interface__["data"][0] != target.__array_interface__["data"][0]:
            np.copyto(target, picture)
        file_bytes = len(jpeg) if len(jpeg) <= self._file_room_bytes else 0
        if file_bytes and self._slots is not None:
            self._slots.file(slot)[:file_bytes] = np.frombuffer(jpeg, np.uint8)
        with self._changed:
            self._drop_waiting()
            self._is_owed = False
            media_s = -1.0 if self._live else captured.media_s
            ready = PictureReady(self._memory_id, slot, number, 0.0, media_s, captured.sent_s or 0.0, file_bytes)
            self._waiting = (ready, captured.arrived_s)
            if self._is_requested or not self._live:
                self._send_waiting()

    def next_takes_turn(self) -> bool:
        """A live picture came whose turn it is not. Returns whether it is shown in place of an older one all the same.

        A picture that waits for a slow model is dropped now, as it is no longer the newest. Its turn stays open: the
        first picture after the parent's next request takes it. So what the model gets is never older than the time
        between two pictures of the camera, whatever `fps` is, and no picture is converted in vain.
        """
        with self._changed:
            self._is_owed = self._drop_waiting() or self._is_owed
            return self._is_owed and self._is_requested

    def request_next(self, request: PictureRequest) -> None:
        """The parent has returned a slot and wants the next picture."""
        with self._changed:
            self._done += request.slot >= 0
            if request.slot >= 0 and request.memory_id == self._memory_id:
                self._free.append(request.slot)
                self._changed.notify_all()
            self._is_requested = True
            if self._waiting is not None:
                self._send_waiting()

    def record_progress(self, number: int, *, rate: int = 0, unusable: str = "", damaged: str = "") -> None:
        """Counts a picture that was skipped, and sends the counts about once a second. number: of the next picture.

        unusable, damaged: why the picture could not be used, "" if it could.
        """
        with self._changed:
            self._number = number
            self._rate += rate
            if damaged:
                self._damaged += 1
                self._damage = damaged
            if unusable:
                self._unusable += self._waiting is None
                self._unusable_after_waiting += self._waiting is not None
                self._why = unusable
            if time.monotonic() - self._counts_sent_s >= _COUNTS_EVERY_S:
                self._send_counts(wait=False)

    def send_progress(self) -> None:
        """Sends the counts if something was counted."""
        with self._changed:
            if self._rate or self._busy or self._unusable or self._damaged:
                self._send_counts(wait=True)

    def finish(self, message: FileEnded | SourceFailed) -> None:
        """Sends the last counts, then the last message."""
        with self._changed:
            if self._pop_waiting() is not None:  # live: it was not requested in time
                self._busy += 1
            self._send_counts(wait=True)
            self._channel.send(message)

    def _replace_slots(self, height: int, width: int) -> int:
        slots, fd = PictureSlots.create(height, width, _SLOT_COUNT, self._file_room_bytes)
        try:
            with self._changed:
                if self._pop_waiting() is not None:
                    self._busy += 1
                self._slots = slots
                self._memory_id += 1
                self._free = list(range(1, len(slots)))
                room_bytes = self._file_room_bytes
                self._channel.send(SharedMemory(self._memory_id, height, width, len(slots), fd, room_bytes))
        finally:
            os.close(fd)
        return 0

    def _send_waiting(self) -> None:
        if self._waiting is None:
            return
        picture, arrived_s = self._waiting
        self._is_requested = False
        if self._rate or self._busy or self._unusable or self._damaged:
            self._send_counts(wait=True)
        age_s = max(0.0, time.monotonic() - arrived_s) if self._live else 0.0
        self._channel.send(replace(picture, age_s=age_s))
        self._counts_sent_s = time.monotonic()
        self._pop_waiting()

    def _drop_waiting(self) -> bool:
        """Makes the slot of the waiting picture free again, and counts it. Returns whether one waited."""
        dropped = self._pop_waiting()
        if dropped is None:
            return False
        self._free.append(dropped[0].slot)
        self._busy += 1
        return True

    def _pop_waiting(self) -> tuple[PictureReady, float] | None:
        waiting, self._waiting = self._waiting, None
        self._unusable += self._unusable_after_waiting
        self._unusable_after_waiting = 0
        return waiting

    def _send_counts(self, *, wait: bool) -> None:
        # When the socket is full because the parent is busy, the counts are sent with the next message.
        why = self._why if self._unusable else ""
        damage = self._damage if self._damaged else ""
        counts = SkipCounts(self._number, self._rate, self._busy, self._unusable, why, self._damaged, damage)
        if self._channel.send(counts, wait=wait):
            self._rate = self._busy = self._unusable = self._damaged = 0
        self._counts_sent_s = time.monotonic()
