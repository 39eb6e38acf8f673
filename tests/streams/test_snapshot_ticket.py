"""A ticket for a snapshot: one answer, never later than its deadline, and memory that is given back."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest

from clocks import ManualClock
from framesift.clock.moment import Moment
from framesift.streams.snapshots.ticket import (
    SkewMeasure,
    SnapshotMissed,
    SnapshotMissReason,
    SnapshotPicture,
    SnapshotTicket,
)

AWAY = SnapshotMissed(SnapshotMissReason.AWAY, "it does not answer")


def picture() -> SnapshotPicture:
    pixels = np.zeros((4, 6, 3), np.uint8)
    taken_at = Moment(0.0, 0.0, "boot")
    return SnapshotPicture(pixels, skew_s=0.1, measured_by=SkewMeasure.SENDER, sent_s=None, taken_at=taken_at)


def test_an_answer_ends_the_wait_and_stays_the_answer() -> None:
    ticket = SnapshotTicket(ManualClock(), deadline_s=1001.0)
    waiting = threading.Thread(target=ticket.wait)
    waiting.start()
    ticket.answer(AWAY)
    waiting.join(10)
    assert not waiting.is_alive()
    ticket.answer(SnapshotMissed(SnapshotMissReason.SKEW))
    assert ticket.wait() is ticket.wait() is AWAY


def test_no_answer_by_the_deadline_is_an_answer_too() -> None:
    clock = ManualClock(waiters=1)  # its time passes while the ticket waits
    ticket = SnapshotTicket(clock, deadline_s=1002.0)
    assert ticket.wait() == SnapshotMissed(SnapshotMissReason.NO_PICTURE, "no answer came in time")
    assert clock.now().boottime_s == pytest.approx(1002.0)


def test_a_picture_that_comes_too_late_is_released() -> None:
    ticket = SnapshotTicket(ManualClock(), deadline_s=1000.0)
    assert isinstance(ticket.wait(), SnapshotMissed)
    late = picture()
    ticket.answer(late)
    with pytest.raises(ValueError, match="released"):
        _ = late.pixels


def test_released_pixels_are_free() -> None:
    given = picture()
    assert (given.width, given.height) == (6, 4)
    pixels = weakref.ref(given.pixels)
    given.release()
    given.release()
    assert pixels() is None
