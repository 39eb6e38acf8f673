"""Which packets of a main stream are kept, for how long, and which of them is nearest to a time."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from typing import Any

import av
import pytest

from framesift.streams.engines.av_packets import PacketFacts
from framesift.streams.snapshots.packet_groups import NearestPacket, PacketGroups, WantedTime
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason

CLOCK_S = 1_750_000_000.0  # the camera's Unix time at the stream's time 0
SIZE = 100  # bytes of a packet


class Kept:
    """Groups to which a camera of 25 pictures a second adds, with a key frame every `gop`. All times begin at 0."""

    def __init__(self, *, gop: int = 10, sender: bool = True, **options: Any) -> None:
        bounds = {"keep_s": 5.0, "max_bytes": 1 << 20, "max_decode_frames": 150, "max_skew_s": 0.5, **options}
        self.groups = PacketGroups(**bounds)
        self._gop = gop
        self._sender = sender
        self._number = 0

    def add(self, count: int, *, damage: str = "", shown_as: int | None = None, is_key: bool | None = None) -> None:
        """shown_as: the place of its picture, where that is not the packet's own."""
        for _ in range(count):
            packet = av.Packet(bytes(SIZE))
            packet.pts, packet.time_base = (self._number if shown_as is None else shown_as), Fraction(1, 25)
            key = self._number % self._gop == 0 if is_key is None else is_key
            sent_s = CLOCK_S + packet.pts / 25 if self._sender else None
            self.groups.add(packet, PacketFacts(self._number + 1, self._number / 25, sent_s, key), damage)
            self._number += 1

    def find(self, number: float, *, arrived: float | None = None) -> NearestPacket | SnapshotMissed:
        """The picture nearest to where this one stands; `arrived` is when its frame came, in pictures."""
        arrived_s = (number if arrived is None else arrived) / 25
        wanted = WantedTime(arrived_s, CLOCK_S + number / 25 if self._sender else None)
        return self.groups.nearest(wanted, time.monotonic())

    def nearest(self, number: float, *, arrived: float | None = None) -> NearestPacket:
        found = self.find(number, arrived=arrived)
        assert isinstance(found, NearestPacket), found
        return found

    def miss(self, number: float) -> SnapshotMissReason:
        found = self.find(number)
        assert isinstance(found, SnapshotMissed), found
        return found.reason


def shown(found: NearestPacket) -> int | None:
    return found.chain[-1].pts


def test_the_chain_goes_from_the_key_frame_to_the_nearest_picture() -> None:
    kept = Kept()
    kept.add(30)
    found = kept.nearest(17.4)
    assert [packet.pts for packet in found.chain] == list(range(10, 18))
    assert [packet.pts for packet in found.before] == list(range(10))
    assert found.skew_s == pytest.approx(-0.4 / 25, abs=1e-5)
    assert found.by_sender
    assert found.sent_s == pytest.approx(CLOCK_S + 17 / 25)
    assert shown(kept.nearest(17.6)) == 18


def test_the_senders_clock_counts_whenever_the_frame_arrived() -> None:
    kept = Kept()
    kept.add(100)
    assert shown(kept.nearest(50, arrived=80)) == 50
    # But not where the clocks of both streams can't be one.
    found = kept.nearest(50 - 6 * 25, arrived=60)
    assert (shown(found), found.by_sender) == (60, False)


@pytest.mark.parametrize("arrived", [40.4, 39.6])
def test_without_the_senders_clock_the_arrival_counts(arrived: float) -> None:
    kept = Kept(sender=False)
    kept.add(60)
    found = kept.nearest(arrived)
    assert (shown(found), found.by_sender, found.sent_s) == (40, False, None)
    assert found.skew_s == pytest.approx((40 - arrived) / 25)


def test_packets_from_before_the_first_report_have_the_senders_clock_too() -> None:
    kept = Kept()
    kept._sender = False
    kept.add(20)
    kept._sender = True
    kept.add(1)
    assert kept.nearest(12).by_sender
    assert shown(kept.nearest(12)) == 12


def test_it_waits_for_a_picture_at_or_after_the_time_and_not_longer() -> None:
    kept = Kept()
    kept.add(12)
    found: list[NearestPacket | SnapshotMissed] = []
    wanted = WantedTime(12 / 25, CLOCK_S + 12 / 25)
    waiting = threading.Thread(target=lambda: found.append(kept.groups.nearest(wanted, time.monotonic() + 60)))
    waiting.start()
    kept.add(1)
    waiting.join(10)
    assert isinstance(found[0], NearestPacket)
    assert kept.miss(13) is SnapshotMissReason.NO_PICTURE  # the deadline is over


def test_with_reordered_pictures_it_waits_for_those_that_may_still_be_nearer() -> None:
    kept = Kept(gop=100)
    for place in (0, 3, 1, 2, 6, 4, 5, 9):
        kept.add(1, shown_as=place)
    assert kept.miss(7) is SnapshotMissReason.NO_PICTURE  # 7 and 8 come after 9
    kept.add(1, shown_as=7)
    kept.add(1, shown_as=8)
    kept.add(1, shown_as=12)
    found = kept.nearest(7)
    assert [packet.pts for packet in found.chain] == [0, 3, 1, 2, 6, 4, 5, 9, 7]


def test_a_stream_whose_time_is_set_back_is_not_taken_for_one_with_reordered_pictures() -> None:
    kept = Kept()
    kept.add(100)
    for number in range(100, 140):
        kept.add(1, shown_as=number - 90)
    found = kept.nearest(49, arrived=139)  # the latest
    assert (shown(found), found.by_sender) == (49, True)


def test_groups_are_forgotten_by_age() -> None:
    kept = Kept(keep_s=1.0)
    kept.add(100)
    assert kept.groups.packets <= 10 + 25 + 10
    assert kept.groups.kept_bytes == kept.groups.packets * SIZE
    assert shown(kept.nearest(75)) == 75
    assert kept.miss(20) is SnapshotMissReason.SKEW


def test_the_oldest_group_goes_where_there_are_too_many_bytes() -> None:
    kept = Kept(max_bytes=25 * SIZE)
    kept.add(100)
    assert 15 * SIZE <= kept.groups.kept_bytes <= 25 * SIZE
    assert shown(kept.nearest(97)) == 97


@pytest.mark.parametrize("bound", [{"max_decode_frames": 20}, {"max_bytes": 20 * SIZE}])
def test_of_a_group_that_is_too_long_only_the_beginning_is_kept_and_that_not_for_ever(bound: dict[str, Any]) -> None:
    kept = Kept(gop=1_000, keep_s=2.0, **bound)
    kept.add(30)
    assert shown(kept.nearest(19)) == 19
    assert kept.miss(20) is SnapshotMissReason.GROUP_TOO_LONG
    assert kept.groups.packets == 20
    kept.add(500)
    assert (kept.groups.packets, kept.groups.kept_bytes) == (0, 0)
    assert kept.miss(525) is SnapshotMissReason.GROUP_TOO_LONG
    kept.add(1, is_key=True)
    assert shown(kept.nearest(530)) == 530


def test_what_is_damaged_is_lost_until_the_next_key_frame() -> None:
    kept = Kept()
    kept.add(14)
    kept.add(1, damage="RTP: missed 3 packets")
    kept.add(10)  # without a sign of its own, and predicted from it all the same
    assert shown(kept.nearest(13)) == 13
    for number in (14, 15, 19):
        found = kept.find(number)
        assert found == SnapshotMissed(SnapshotMissReason.DAMAGED, "RTP: missed 3 packets")
    assert shown(kept.nearest(20)) == 20
    assert kept.nearest(20).before == ()  # it is not whole


def test_before_the_first_key_frame_there_is_no_picture() -> None:
    kept = Kept()
    assert kept.miss(0) is SnapshotMissReason.NO_PICTURE
    kept.add(5, is_key=False, damage="no key frame has come yet")
    assert kept.miss(2) is SnapshotMissReason.NO_PICTURE


def test_a_picture_that_is_too_far_away_is_refused() -> None:
    kept = Kept(max_skew_s=0.1, gop=1)
    kept.add(1)
    kept.add(20, shown_as=40)
    assert kept.miss(10) is SnapshotMissReason.SKEW
    assert shown(kept.nearest(2)) == 0
