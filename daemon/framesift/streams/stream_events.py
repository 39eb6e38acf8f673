"""What a stream tells: its states, their changes, and who observes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from framesift.frame import SkipReason
from framesift.streams.away_reasons import AwayReason


class StreamLost(Exception):
    """The source gives no frames, and trying again would not help. The text says why, in one line without secrets."""

    def __init__(self, detail: str, reason: AwayReason) -> None:
        super().__init__(detail)
        self.reason = reason


class StreamState(str, Enum):
    """The states of a stream, see the drawing in stream.py."""

    CONNECTING = "connecting"
    RUNNING = "running"
    LOST = "lost"
    FROZEN = "frozen"
    UNUSABLE = "unusable"
    ENDED = "ended"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A change of a stream's state. detail: why, in one line without secrets.

    reason: why the stream gives no pictures in this state; None if it gives pictures, or has ended.
    """

    stream: str
    state: StreamState
    detail: str
    reason: AwayReason | None = None


class StreamObserver:
    """Receives what happens to a stream. Its methods do nothing: override those that you need.

    They are called by the stream's thread and must not block.
    """

    def on_event(self, event: StreamEvent) -> None:
        """The stream's state changed."""

    def on_reason(self, event: StreamEvent) -> None:
        """The state is the same as before, and the reason for it is another."""

    def on_transport(self, transport: str) -> None:
        """The camera does not offer the usual transport; this one is used from now on."""

    def on_reader(self) -> None:
        """A reader process was started."""

    def on_skipped(self, reason: SkipReason, count: int) -> None:
        """So many pictures were not used."""

    def on_unusable(self, count: int, why: str) -> None:
        """So many pictures in a row could not be used, and no change of state reports it."""

    def on_damaged(self, count: int, why: str) -> None:
        """So many pictures in a row were damaged and not shown, and no change of state reports it."""
