"""Listening: the messages of one reader, with a limit to the patience for each.

Patience is counted in the listening itself, not by a clock: a machine that was asleep, or a clock that jumps, makes no
camera silent. Time during which nobody listens, because the model is busy, does not count either.
"""

from __future__ import annotations

from framesift.frame import Pixels
from framesift.streams.channel import (
    Channel,
    ChannelClosed,
    Message,
    OpenRequest,
    PictureReady,
    PictureRequest,
    PictureSlots,
    ReaderStarted,
    SharedMemory,
    SourceFailed,
    SourceOpened,
)

POLL_S = 0.2  # how long a stop may go unnoticed
_START_S = 30.0  # loading the decoder from a cold SD card on a busy machine
_GRACE_S = 2.0  # the reader keeps the time-outs itself, and knows more about them; this is for one that hangs


class SourceLost(Exception):
    """The source gives no more pictures; the text says why. told: the reader said so, it did not just fall silent."""

    def __init__(self, reason: str, *, reported: bool) -> None:
        super().__init__(reason)
        self.reported = reported


class ReaderSession:
    """Listens to a reader that has been started. `opened` tells whether it has opened its source."""

    def __init__(self, channel: Channel, work: OpenRequest) -> None:
        self._channel = channel
        self._work = work
        self._memory = 0
        self._slots: PictureSlots | None = None
        self._silent_s = 0.0
        self._patience_s = _START_S
        self._complaint = "the reader did not start"
        self.opened = False

    def start(self) -> None:
        """Gives the reader its work, and asks for the first picture. Raises ChannelClosed."""
        self._channel.send(self._work)
        self.request_next(None)

    def next_message(self) -> Message | None:
        """The next message, or None when none came within LISTEN_S.

        Raises SourceGone when the reader says so or has been silent for too long, ChannelClosed when it died.
        """
        message = self._channel.receive(POLL_S)
        if message is None:
            self._silent_s += POLL_S
            if self._silent_s >= self._patience_s:
                raise SourceLost(self._complaint, reported=False)
            return None
        self._silent_s = 0.0
        if isinstance(message, SourceFailed):
            raise SourceLost(message.reason, reported=True)
        if isinstance(message, ReaderStarted):
            self._patience_s = self._work.open_timeout_s + _GRACE_S
            self._complaint = f"did not open within {self._work.open_timeout_s:g} s"
        elif isinstance(message, SourceOpened):
            self.opened = True
            self._patience_s = self._work.read_timeout_s + _GRACE_S
            self._complaint = f"no picture for {self._work.read_timeout_s:g} s"
        elif isinstance(message, SharedMemory):
            self._slots = PictureSlots.attach(message)
            self._memory = message.memory_id
        return message

    def pixels(self, picture: PictureReady) -> Pixels:
        """The picture itself, ours until we ask for the next. Raises ChannelClosed if it lies in no memory we know."""
        if self._slots is None or picture.memory_id != self._memory or not 0 <= picture.slot < len(self._slots):
            raise ChannelClosed("a picture in no memory that was announced")
        return self._slots[picture.slot]

    def request_next(self, seen: PictureReady | None) -> None:
        """Gives the slot of the picture that was seen back, and asks for the next one. Raises ChannelClosed."""
        self._channel.send(PictureRequest(0, -1) if seen is None else PictureRequest(seen.memory_id, seen.slot))
