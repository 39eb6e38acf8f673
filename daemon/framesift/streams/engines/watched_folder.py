"""The engine for a folder of pictures that is watched: what is in it, then what arrives, each file once.

A file that has its final name from the beginning is not read while it is being written: it must look the same, size and
time of change, over half a second, and a picture without its end is unusable; as it then changes, it is read again.
Looking at a folder of a million files takes seconds, so the pauses grow with that.
"""

from __future__ import annotations

import heapq
import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framesift.streams.channel import OpenRequest
from framesift.streams.engines.capture import CapturedPicture, PictureUnusable, ReaderHooks
from framesift.streams.engines.image_files import (
    DEFAULT_FPS,
    NAMES_IN_MEMORY,
    decode_named,
    pictures_in,
    read_picture_file,
)
from framesift.streams.engines.taken_pictures import TakenPictures, digest
from framesift.streams.picture_names import NameOrder, name_order

_POLL_S = 0.25
_SETTLED_AFTER_S = 0.5
_PAUSE_PER_LOOK = 10.0  # so long a pause as a look at the folder took, times this
_HEARTBEAT_FILES = 10_000


@dataclass(frozen=True, slots=True, order=True)
class _Arrival:
    """A file that was not read yet: the oldest first, then by name."""

    mtime_ns: int
    order: NameOrder
    size_bytes: int

    @property
    def name(self) -> str:
        return self.order[1]


class WatchedFolderCapture:
    """A watched folder. A picture counts as read when the daemon is done with it: after a crash before, it comes again.

    For one thread.
    """

    def __init__(self, request: OpenRequest, hooks: ReaderHooks) -> None:
        self._request = request
        self._hooks = hooks
        self._taken = TakenPictures(request.taken_file)
        self._unsettled: dict[_Arrival, float] = {}  # since when it looks like this
        self._ready: deque[_Arrival] = deque()
        self._given: deque[int] = deque()  # digests of pictures that the daemon has, or will have in a moment
        self._done = 0  # of those, so many were done with
        self.jpeg = b""
        self._name = ""
        self._content: bytes | PictureUnusable = b""
        self._index = -1

    def next_picture(self) -> CapturedPicture | None:
        """Wait for the next picture; it never ends. Raises SourceError if the folder is gone."""
        while True:
            self._remember_done()
            while self._ready:
                if self._read(self._ready.popleft()):
                    self._index += 1
                    return CapturedPicture(time.monotonic(), self._index / DEFAULT_FPS)
            began_s = time.monotonic()
            self._look()
            if not self._ready:
                self._pause(max(_POLL_S, _PAUSE_PER_LOOK * (time.monotonic() - began_s)))

    def convert(self, target: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Decode the picture. Raises PictureUnusable, which names the file."""
        try:
            decoded = decode_named(self._name, self._content, self._request.rotate)
        except PictureUnusable:
            self._taken.add(self._given.pop())  # the daemon never gets it
            raise
        pixels, self.jpeg = decoded.pixels, decoded.jpeg
        if target is None or target.shape != pixels.shape:
            return pixels
        np.copyto(target, pixels)
        return target

    def close(self) -> None:
        """Close the source."""

    def _read(self, arrival: _Arrival) -> bool:
        """Read a file. False if it is gone, or is another than it was."""
        self._name = arrival.name
        try:
            found = read_picture_file(Path(self._request.address, arrival.name))
        except PictureUnusable as error:
            self._content = error
        else:
            if found is None or (found[1].st_mtime_ns, len(found[0])) != (arrival.mtime_ns, arrival.size_bytes):
                return False
            self._content = found[0]
        self._given.append(digest(arrival.name, arrival.mtime_ns))
        return True

    def _look(self) -> None:
        now_s = time.monotonic()
        arrivals = heapq.nsmallest(NAMES_IN_MEMORY, self._arrivals())
        self._unsettled = {arrival: self._unsettled.get(arrival, now_s) for arrival in arrivals}
        self._ready.extend(a for a, since_s in self._unsettled.items() if now_s - since_s >= _SETTLED_AFTER_S)

    def _arrivals(self) -> Iterator[_Arrival]:
        """Yield the files that were not read; at the end forget those that were, and are gone."""
        present = array("Q")
        for count, entry in enumerate(pictures_in(self._request.address, self._request.pattern)):
            if count % _HEARTBEAT_FILES == _HEARTBEAT_FILES - 1:
                self._hooks.on_idle(0.0)
            try:
                described = entry.stat()
            except OSError:  # deleted meanwhile
                continue
            value = digest(entry.name, described.st_mtime_ns)
            if value in self._taken:
                present.append(value)
            elif value not in self._given:
                yield _Arrival(described.st_mtime_ns, name_order(entry.name), described.st_size)
        if present:  # an empty folder may be one whose disk is away
            self._taken.keep_only(present)

    def _remember_done(self) -> None:
        done = self._hooks.pictures_done()
        for _ in range(done - self._done):
            if self._given:
                self._taken.add(self._given.popleft())
        self._done = done

    def _pause(self, pause_s: float) -> None:
        ends_s = time.monotonic() + pause_s
        while (left_s := ends_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _POLL_S))
            self._remember_done()
            self._hooks.on_idle(0.0)
