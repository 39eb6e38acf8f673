"""PacketGroups: the packets of a live stream that are kept undecoded, and which of them is nearest to a time.

A *group* begins with a key frame, and its pictures are decoded from there on. What can't be decoded any more (behind
damage, or too far from the key frame) stays known by its times only, so that a request for it gets the right answer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from framesift.streams.engines.av_packets import PacketFacts
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason

if TYPE_CHECKING:
    import av

_NOT_ONE_CLOCK_S = 5.0  # two streams of one camera don't arrive so far apart: then their clocks are two

_MAX_REORDERING = 16  # pictures, of any codec


@dataclass(slots=True, eq=False)
class KeptPacket:
    """A packet. time_s: of its picture, by the stream's own time, None if there is none. miss: why it is lost."""

    facts: PacketFacts
    time_s: float | None
    packet: av.Packet[Any] | None = None
    miss: SnapshotMissed | None = None


@dataclass(slots=True, eq=False)
class _Group:
    kept: list[KeptPacket] = field(default_factory=list)
    lost: deque[KeptPacket] = field(default_factory=deque)  # behind those that are kept
    size_bytes: int = 0

    @property
    def last(self) -> KeptPacket:
        return self.lost[-1] if self.lost else self.kept[-1]


@dataclass(frozen=True, slots=True)
class WantedTime:
    """arrived_s: when the frame arrived, by the monotonic clock. sent_s: Unix time by the sender's clock, or None."""

    arrived_s: float
    sent_s: float | None


@dataclass(frozen=True, slots=True)
class NearestPacket:
    """The packet of the picture that is nearest, and what is needed to decode it.

    chain: in order, from a key frame to the packet itself. before: the whole group before it, where it is kept and both
    together are not too long. skew_s, by_sender, sent_s: see channel.SnapshotReady.
    """

    chain: tuple[av.Packet[Any], ...]
    before: tuple[av.Packet[Any], ...]
    facts: PacketFacts
    skew_s: float
    by_sender: bool
    sent_s: float | None


class PacketGroups:
    """The packets of the last seconds. Thread-safe: one thread adds, others look."""

    def __init__(self, *, keep_s: float, max_bytes: int, max_decode_frames: int, max_skew_s: float) -> None:
        """keep_s: how long packets are kept, by their arrival. The others: see channel.KeepRequest."""
        self._keep_s = keep_s
        self._max_bytes = max_bytes
        self._max_decode_frames = max_decode_frames
        self._max_skew_s = max_skew_s
        self._changed = threading.Condition()
        self._groups: deque[_Group] = deque()
        self._clock_s: float | None = None  # the sender's Unix time where the stream's own time is 0
        self._latest_s: float | None = None  # the greatest time of a picture
        self._behind = 0  # packets in a row whose pictures come before that
        self._reordering = 0  # the most of them
        self.kept_bytes = 0

    @property
    def packets(self) -> int:
        """How many packets are kept that can be decoded."""
        with self._changed:
            return sum(len(group.kept) for group in self._groups)

    def add(self, packet: av.Packet[Any], facts: PacketFacts, damage: str) -> None:
        """Keep a packet. damage: why its picture must not be shown, "" if nothing is known against it."""
        time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
        new = KeptPacket(facts, time_s)
        with self._changed:
            if facts.sent_s is not None and time_s is not None:
                self._clock_s = facts.sent_s - time_s
            self._note_order(time_s)
            if facts.is_key or not self._groups:
                self._groups.append(_Group())
            group = self._groups[-1]
            new.miss = self._miss(group, packet.size, damage, is_key=facts.is_key)
            if new.miss is None:
                new.packet = packet
                group.kept.append(new)
                group.size_bytes += packet.size
                self.kept_bytes += packet.size
            else:
                group.lost.append(new)
            self._forget(facts.arrived_s - self._keep_s)
            self._changed.notify_all()

    def nearest(self, wanted: WantedTime, deadline_s: float) -> NearestPacket | SnapshotMissed:
        """Wait until the picture that is nearest to a time is known, and return it. deadline_s: monotonic."""
        with self._changed:
            while not self._has_reached(wanted):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return SnapshotMissed(SnapshotMissReason.NO_PICTURE, "no picture of that time came in time")
                self._changed.wait(left_s)
            return self._find(wanted)

    def _miss(self, group: _Group, size: int, damage: str, *, is_key: bool) -> SnapshotMissed | None:
        if group.lost:
            return group.last.miss
        if not group.kept and not is_key:
            return SnapshotMissed(SnapshotMissReason.NO_PICTURE, "no key frame has come yet")
        if damage:
            return SnapshotMissed(SnapshotMissReason.DAMAGED, damage)
        if len(group.kept) >= self._max_decode_frames:
            why = f"its picture is over {self._max_decode_frames} behind its key frame (max_decode_frames)"
            return SnapshotMissed(SnapshotMissReason.GROUP_TOO_LONG, why)
        if group.size_bytes + size > self._max_bytes:
            why = f"the packets since its key frame are over {self._max_bytes} bytes (max_bytes)"
            return SnapshotMissed(SnapshotMissReason.GROUP_TOO_LONG, why)
        return None

    def _note_order(self, time_s: float | None) -> None:
        if time_s is None:
            return
        if self._latest_s is not None and time_s < self._latest_s and self._behind < _MAX_REORDERING:
            self._behind += 1
            return
        if self._behind < _MAX_REORDERING:  # otherwise the stream's time was set back
            self._reordering = max(self._reordering, self._behind)
        self._latest_s, self._behind = time_s, 0

    def _forget(self, before_s: float) -> None:
        """Forget what ended before that, by arrival, and the oldest groups where there are too many bytes."""
        while len(self._groups) > 1 and (
            self._groups[0].last.facts.arrived_s < before_s or self.kept_bytes > self._max_bytes
        ):
            self.kept_bytes -= self._groups.popleft().size_bytes
        first = self._groups[0]
        while first.lost and first.lost[0].facts.arrived_s < before_s:
            first.lost.popleft()
            self.kept_bytes -= first.size_bytes
            first.size_bytes = 0
            first.kept.clear()

    def _by_sender(self, wanted: WantedTime) -> bool:
        """Whether both streams tell their sender's clock, and it is the same clock."""
        if wanted.sent_s is None or self._clock_s is None:
            return False
        last = self._groups[-1].last
        sent_s = self._sent_s(last)
        if sent_s is None:
            return False
        return abs((sent_s - last.facts.arrived_s) - (wanted.sent_s - wanted.arrived_s)) <= _NOT_ONE_CLOCK_S

    def _sent_s(self, kept: KeptPacket) -> float | None:
        if kept.facts.sent_s is not None or kept.time_s is None or self._clock_s is None:
            return kept.facts.sent_s
        return self._clock_s + kept.time_s

    def _skew_s(self, kept: KeptPacket, wanted: WantedTime, *, by_sender: bool) -> float:
        sent_s = self._sent_s(kept) if by_sender else None
        if sent_s is None or wanted.sent_s is None:
            return kept.facts.arrived_s - wanted.arrived_s
        return sent_s - wanted.sent_s

    def _has_reached(self, wanted: WantedTime) -> bool:
        """Whether no picture that is still to come can be nearer."""
        if not self._groups:
            return False
        by_sender = self._by_sender(wanted)
        needed = 1 + (self._reordering if by_sender else 0)
        for kept in self._backwards():
            needed -= self._skew_s(kept, wanted, by_sender=by_sender) >= 0
            if needed == 0:
                return True
        return False

    def _backwards(self) -> Iterator[KeptPacket]:
        for group in reversed(self._groups):
            yield from reversed(group.lost)
            yield from reversed(group.kept)

    def _find(self, wanted: WantedTime) -> NearestPacket | SnapshotMissed:
        by_sender = self._by_sender(wanted)
        found = min(self._backwards(), key=lambda kept: abs(self._skew_s(kept, wanted, by_sender=by_sender)))
        skew_s = self._skew_s(found, wanted, by_sender=by_sender)
        if abs(skew_s) > self._max_skew_s:
            return SnapshotMissed(SnapshotMissReason.SKEW, f"the nearest picture is {skew_s:+.2f} s away")
        if found.miss is not None:
            return found.miss
        index = next(number for number, group in enumerate(self._groups) if found in group.kept)
        group = self._groups[index]
        chain = group.kept[: group.kept.index(found) + 1]
        before = self._groups[index - 1] if index else _Group()
        is_short = not before.lost and len(before.kept) + len(chain) <= self._max_decode_frames
        earlier = _packets(before.kept) if is_short else ()
        return NearestPacket(_packets(chain), earlier, found.facts, skew_s, by_sender, self._sent_s(found))


def _packets(kept: list[KeptPacket]) -> tuple[av.Packet[Any], ...]:
    return tuple(one.packet for one in kept if one.packet is not None)
