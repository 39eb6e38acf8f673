"""ReaderSession: receives the messages of one reader process, with a timeout for each stage.

Waiting time is added up in steps of the polling, not measured by a clock: a machine that was suspended, or a clock that
jumps, causes no timeout. Time in which nobody polls, because the model is busy, does not count either.
"""

from __future__ import annotations

from framesift.frame import Pixels
from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    Channel,
    ChannelClosed,
    Message,
    OpenRequest,
    PictureReady,
    PictureRequest,
    ReaderStarted,
    SharedMemory,
    SourceFailed,
    SourceOpened,
)
from framesift.streams.picture_slots import PictureSlots, SlotPicture

POLL_S = 0.2  # how soon a stop is noticed, at the latest
_START_TIMEOUT_S = 30.0  # loading the decoder from a cold SD card on a busy machine
_GRACE_S = 2.0  # the reader has the same time-outs and reports more about them; this is for a reader that hangs


class SourceLost(Exception):
    """The source gives no more pictures. detail: see engines.capture.SourceError.

    reported: True if the reader reported it, False if the reader sent nothing for too long.
    """

    def __init__(self, reason: AwayReason, detail: str, *, reported: bool) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.reported = reported


class TimedMessages:
    """The messages of one running reader, each stage within its time-out. For one thread."""

    def __init__(self, channel: Channel, request: OpenRequest) -> None:
        self._channel = channel
        self._request = request
        self._waited_s = 0.0
        self._timeout_s = _START_TIMEOUT_S
        self._timeout_reason = AwayReason.NO_READER
        self._timeout_text = "the reader did not start"

    def next_message(self) -> Message | None:
        """Returns the next message, or None if none came within POLL_S.

        Raises SourceLost when the reader reports it or sent nothing for too long, ChannelClosed when the reader ended.
        """
        message = self._channel.receive(POLL_S)
        if message is None:
            self._waited_s += POLL_S
            if self._waited_s >= self._timeout_s:
                raise SourceLost(self._timeout_reason, self._timeout_text, reported=False)
            return None
        self._waited_s = 0.0
        if isinstance(message, SourceFailed):
            raise SourceLost(message.reason, message.detail, reported=True)
        if isinstance(message, ReaderStarted):
            self._timeout_reason = AwayReason.SILENT
            self._timeout_s = self._request.open_timeout_s + _GRACE_S
            self._timeout_text = f"did not open within {self._request.open_timeout_s:g} s"
        elif isinstance(message, SourceOpened):
            self._timeout_s = self._request.read_timeout_s + _GRACE_S
            self._timeout_text = f"no picture for {self._request.read_timeout_s:g} s"
        return message


class ReaderSession:
    """The messages of one running reader that sends pictures, and these pictures. For one thread."""

    def __init__(self, channel: Channel, request: OpenRequest) -> None:
        self._channel = channel
        self._request = request
        self._messages = TimedMessages(channel, request)
        self._memory_id = 0
        self._slots: PictureSlots | None = None

    def start(self) -> None:
        """Sends the reader its request and asks for the first picture. Raises ChannelClosed."""
        self._channel.send(self._request)
        self.request_next(None)

    def next_message(self) -> Message | None:
        """Return the next message as TimedMessages does."""
        message = self._messages.next_message()
        if isinstance(message, SharedMemory):
            self._slots = PictureSlots.attach(message)
            self._memory_id = message.memory_id
        return message

    def pixels(self, picture: PictureReady) -> Pixels:
        """The pixels of a picture, shape (height, width, 3), valid until `request_next`.

        Raises ChannelClosed if the picture lies in memory that was not announced.
        """
        if self._slots is None or picture.memory_id != self._memory_id or not 0 <= picture.slot < len(self._slots):
            raise ChannelClosed("a picture lies in memory that was not announced")
        return self._slots[picture.slot]

    def picture(self, picture: PictureReady) -> Pixels | SlotPicture:
        """The same pixels, together with the file of which they were decoded where the reader has sent one.

        Raises what `pixels` raises.
        """
        pixels = self.pixels(picture)
        if self._slots is None or not picture.file_bytes:
            return pixels
        room = self._slots.file(picture.slot)
        if not 0 < picture.file_bytes <= len(room):
            raise ChannelClosed("a picture's file lies in memory that was not announced")
        return SlotPicture(pixels, room[: picture.file_bytes])

    def request_next(self, picture: PictureReady | None) -> None:
        """Returns the picture's slot to the reader and asks for the next picture. Raises ChannelClosed."""
        self._channel.send(
            PictureRequest(0, -1) if picture is None else PictureRequest(picture.memory_id, picture.slot)
        )
