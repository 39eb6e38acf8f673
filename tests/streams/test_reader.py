"""Inside the reader: which pictures are selected, what can be a picture, and who owns which slot."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    Channel,
    Message,
    PictureReady,
    PictureRequest,
    SharedMemory,
    SkipCounts,
    SourceFailed,
)
from framesift.streams.engines.capture import CapturedPicture
from framesift.streams.engines.opencv import as_bgr
from framesift.streams.frame_selectors import FileFrameSelector, LiveFrameSelector
from framesift.streams.picture_buffer import PictureBuffer
from framesift.streams.picture_slots import PictureSlots


@pytest.mark.parametrize(
    ("fps", "file_fps", "wanted"),
    [
        (0, 25, list(range(50))),
        (25, 25, list(range(50))),
        (100, 25, list(range(50))),
        (5, 25, list(range(0, 50, 5))),
        (0.5, 25, [0]),
        (12.5, 25, list(range(0, 50, 2))),
        (20, 25, [i for i in range(50) if i % 5 != 1]),
    ],
)
def test_a_file_is_thinned_by_its_own_time(fps: float, file_fps: float, wanted: list[int]) -> None:
    thinning = FileFrameSelector(fps)
    assert [index for index in range(50) if thinning.wants(index / file_fps)] == wanted


@pytest.mark.parametrize(("fps", "file_fps"), [(7, 29.97), (3, 23.976), (10, 30), (1, 59.94), (0.1, 25)])
def test_no_second_of_a_file_shows_more_than_was_asked_for(fps: float, file_fps: float) -> None:
    thinning = FileFrameSelector(fps)
    seconds = 600
    wanted = sum(thinning.wants(index / file_fps) for index in range(int(seconds * file_fps)))
    assert seconds * fps - 1 <= wanted <= seconds * fps + 1


@pytest.mark.parametrize(("fps", "camera_fps"), [(5, 25), (5, 30), (7, 25), (1, 15), (0.2, 10)])
def test_a_camera_is_thinned_by_the_clock(fps: float, camera_fps: float) -> None:
    thinning = LiveFrameSelector(fps)
    wanted = sum(thinning.wants(index / camera_fps) for index in range(int(100 * camera_fps)))
    assert 100 * fps - 1 <= wanted <= 100 * fps + 1


def test_a_camera_whose_pictures_jitter_keeps_all_that_are_wanted() -> None:
    thinning = LiveFrameSelector(25)
    jitter = np.random.default_rng(3).uniform(-0.01, 0.01, 1000)
    assert sum(thinning.wants(index * 0.04 + jitter[index]) for index in range(1000)) == 1000


def test_after_a_gap_a_camera_does_not_catch_up() -> None:
    thinning = LiveFrameSelector(5)
    assert thinning.wants(0.0)
    assert [index for index in range(10) if thinning.wants(60.0 + index * 0.04)] == [0, 3, 8]


@pytest.mark.parametrize(
    ("decoded", "shape"),
    [
        (np.zeros((4, 6, 3), np.uint8), (4, 6, 3)),
        (np.zeros((4, 6), np.uint8), (4, 6, 3)),
        (np.zeros((4, 6, 1), np.uint8), (4, 6, 3)),
        (np.zeros((4, 6, 4), np.uint8), (4, 6, 3)),
        (np.zeros((4, 6, 2), np.uint8), None),
        (np.zeros((4, 6, 3), np.uint16), None),
        (np.zeros((1, 6, 3), np.uint8), None),
        (np.zeros((6, 1, 3), np.uint8), None),
        (np.zeros((0, 0, 3), np.uint8), None),
        (np.zeros(12, np.uint8), None),
        (np.broadcast_to(np.uint8(0), (10_001, 10_000, 3)), None),
        (None, None),
    ],
)
def test_only_what_a_model_can_use_is_a_picture(decoded: np.ndarray | None, shape: tuple[int, int, int] | None) -> None:
    picture = as_bgr(decoded)
    assert (None if picture is None else picture.shape) == shape


def test_a_grey_picture_has_the_same_value_in_every_channel() -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    picture = as_bgr(grey)
    assert picture is not None
    assert all(np.array_equal(picture[:, :, channel], grey) for channel in range(3))


class Desk:
    """A picture buffer, and the parent's end of its channel."""

    def __init__(self, *, live: bool) -> None:
        ours, theirs = Channel.socket_pair()
        self.parent = Channel(ours)
        self.sockets: tuple[socket.socket, socket.socket] = (ours, theirs)
        self.buffer = PictureBuffer(Channel(theirs), live=live)
        self.slots: PictureSlots | None = None

    def decode(self, number: int, size: tuple[int, int] = (4, 6), age_s: float = 0.0) -> None:
        """What the decoding thread does with one picture, all of whose values are its number."""
        slot = self.buffer.take_free_slot()
        room = self.buffer.pixels(slot)
        picture = np.full((*size, 3), number, np.uint8) if room is None or room.shape[:2] != size else room
        picture[:] = number
        self.buffer.put(picture, slot, number, CapturedPicture(time.monotonic() - age_s, 0.0))
        self.buffer.record_progress(number + 1)

    def messages(self) -> list[Message]:
        received: list[Message] = []
        while (message := self.parent.receive(0.0)) is not None:
            if isinstance(message, SharedMemory):
                self.slots = PictureSlots.attach(message)
            received.append(message)
        return received

    def pictures(self) -> list[PictureReady]:
        return [message for message in self.messages() if isinstance(message, PictureReady)]

    def value(self, picture: PictureReady) -> int:
        assert self.slots is not None
        assert self.slots[picture.slot].min() == self.slots[picture.slot].max()
        return int(self.slots[picture.slot].max())


@pytest.fixture
def live() -> Iterator[Desk]:
    desk = Desk(live=True)
    yield desk
    for end in desk.sockets:
        end.close()


@pytest.fixture
def file() -> Iterator[Desk]:
    desk = Desk(live=False)
    yield desk
    for end in desk.sockets:
        end.close()


def test_a_live_picture_leaves_only_when_it_is_asked_for(live: Desk) -> None:
    live.decode(0)
    assert live.pictures() == []
    live.buffer.request_next(PictureRequest(0, -1))
    [picture] = live.pictures()
    assert (picture.number, live.value(picture)) == (0, 0)


def test_of_live_pictures_that_were_not_requested_only_the_newest_is_kept(live: Desk) -> None:
    for number in range(40):
        live.decode(number)
    live.buffer.request_next(PictureRequest(0, -1))
    _, tally, picture = live.messages()
    assert tally == SkipCounts(40, 0, 39, 0)
    assert isinstance(picture, PictureReady)
    assert (picture.number, live.value(picture)) == (39, 39)


def test_a_live_picture_that_is_awaited_leaves_at_once(live: Desk) -> None:
    live.buffer.request_next(PictureRequest(0, -1))
    live.decode(0)
    assert [picture.number for picture in live.pictures()] == [0]
    live.decode(1)
    assert live.pictures() == []


def test_a_picture_that_waited_in_vain_gives_its_turn_to_the_first_one_after_the_request(live: Desk) -> None:
    live.decode(0)  # its turn, but the model is busy
    assert not live.buffer.next_takes_turn()  # picture 1: newer, so that 0 is of no use any more
    assert not live.buffer.next_takes_turn()
    live.buffer.request_next(PictureRequest(0, -1))
    assert live.pictures() == []
    assert live.buffer.next_takes_turn()
    live.decode(3)
    assert [(picture.number, live.value(picture)) for picture in live.pictures()] == [(3, 3)]
    live.buffer.request_next(PictureRequest(0, -1))
    assert not live.buffer.next_takes_turn()  # the turn is taken


def test_a_picture_that_waited_in_vain_is_counted_as_missed_by_a_busy_model(live: Desk) -> None:
    live.decode(0)
    live.buffer.next_takes_turn()
    live.buffer.record_progress(2, rate=1)
    live.decode(2)
    live.buffer.request_next(PictureRequest(0, -1))
    _, counts, picture = live.messages()
    assert counts == SkipCounts(3, 1, 1, 0)
    assert isinstance(picture, PictureReady)


def test_a_picture_whose_turn_it_is_not_is_not_shown_to_a_model_that_is_not_late(live: Desk) -> None:
    live.buffer.request_next(PictureRequest(0, -1))
    assert not live.buffer.next_takes_turn()
    live.decode(1)
    live.buffer.request_next(PictureRequest(0, -1))
    assert not live.buffer.next_takes_turn()


def test_a_picture_in_the_parents_hands_is_never_written_to(live: Desk) -> None:
    live.buffer.request_next(PictureRequest(0, -1))
    live.decode(7)
    [held] = live.pictures()
    for number in range(8, 60):
        live.decode(number)
    assert live.value(held) == 7
    live.buffer.request_next(PictureRequest(held.memory_id, held.slot))
    [newest] = live.pictures()
    assert live.value(newest) == 59


def test_a_live_picture_that_waited_has_its_age(live: Desk) -> None:
    live.decode(0, age_s=2.5)
    live.buffer.request_next(PictureRequest(0, -1))
    [picture] = live.pictures()
    assert 2.5 <= picture.age_s < 5.0


def test_a_file_sends_pictures_ahead_while_slots_are_free(file: Desk) -> None:
    for number in range(3):
        file.decode(number)
    pictures = file.pictures()
    assert [(picture.number, file.value(picture)) for picture in pictures] == [(0, 0), (1, 1), (2, 2)]
    file.buffer.request_next(PictureRequest(pictures[0].memory_id, pictures[0].slot))
    file.decode(3)
    [fourth] = file.pictures()
    assert (fourth.number, fourth.slot) == (3, pictures[0].slot)


def test_another_size_gets_another_memory_and_old_slots_are_not_mixed_up_with_it(live: Desk) -> None:
    live.buffer.request_next(PictureRequest(0, -1))
    live.decode(1)
    [old] = live.pictures()
    live.decode(2)
    live.decode(3, size=(8, 10))
    live.buffer.request_next(PictureRequest(old.memory_id, old.slot))
    memory, tally, new = live.messages()
    assert isinstance(memory, SharedMemory)
    assert (memory.height, memory.width) == (8, 10)
    assert tally == SkipCounts(4, 0, 1, 0)
    assert isinstance(new, PictureReady)
    assert (new.memory_id, live.value(new)) == (memory.memory_id, 3)
    for number in range(4, 20):  # the slot of the old memory was not taken for one of the new
        live.decode(number, size=(8, 10))
    assert live.value(new) == 3


def test_counts_that_a_busy_parent_does_not_read_are_sent_later(live: Desk) -> None:
    sender = Channel(live.sockets[1])
    while sender.send(SkipCounts(0, 0, 0, 0), wait=False):
        pass
    live.buffer._counts_sent_s -= 10.0  # it is time for the next tally
    live.buffer.record_progress(5, rate=5)
    live.messages()
    live.buffer._counts_sent_s -= 10.0
    live.buffer.record_progress(6, rate=1, unusable="too small")
    assert live.messages() == [SkipCounts(6, 6, 0, 1, "too small")]


def test_unusable_pictures_after_the_waiting_one_are_counted_after_it(live: Desk) -> None:
    live.buffer.record_progress(1, unusable="before")
    live.decode(1)
    live.buffer.record_progress(3, unusable="behind")
    live.buffer._counts_sent_s -= 10.0  # it is time for the next tally
    live.buffer.record_progress(4, rate=1)
    live.buffer.request_next(PictureRequest(0, -1))
    live.buffer._counts_sent_s -= 10.0
    live.buffer.record_progress(5, rate=1)
    messages = [(m.unusable, m.rate) if isinstance(m, SkipCounts) else type(m) for m in live.messages()]
    assert messages == [SharedMemory, (1, 1), PictureReady, (1, 1)]


def test_an_unusable_picture_is_counted_once_whether_the_one_that_waited_before_it_was_asked_for_or_not(
    live: Desk,
) -> None:
    live.decode(0)
    live.buffer.record_progress(2, unusable="too small")
    live.decode(2)
    live.buffer.record_progress(4, unusable="too small")
    live.buffer.finish(SourceFailed(AwayReason.ENDED, ""))
    assert live.messages()[1:] == [SkipCounts(4, 0, 2, 2, "too small"), SourceFailed(AwayReason.ENDED, "")]


def test_the_last_message_follows_the_last_counts(live: Desk) -> None:
    live.decode(0)
    live.messages()
    live.buffer.finish(SourceFailed(AwayReason.ENDED, ""))
    assert live.messages() == [SkipCounts(1, 0, 1, 0), SourceFailed(AwayReason.ENDED, "")]
