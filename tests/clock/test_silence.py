"""Silence: nobody who waits for a turn, and nobody who is answered late, makes the other side silent."""

from __future__ import annotations

import threading

import pytest

from clocks import ManualClock
from framesift.clock.silence import Silence


def test_silence_lasts_from_the_question_to_the_answer() -> None:
    clock = ManualClock()
    silence = Silence(clock)
    clock.advance(100.0)
    assert silence.lasts_s() == 0.0
    with silence.asking():
        clock.advance(7.0)
        assert silence.lasts_s() == 7.0
    clock.advance(50.0)
    assert silence.lasts_s() == 0.0
    with silence.asking():
        clock.advance(2.0)
        assert silence.lasts_s() == 2.0


def test_an_error_is_an_answer() -> None:
    clock = ManualClock()
    silence = Silence(clock)

    def fail() -> None:
        with silence.asking():
            clock.advance(7.0)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert silence.lasts_s() == 0.0


def test_who_waits_for_a_turn_while_others_are_answered_meets_no_silence() -> None:
    clock = ManualClock()
    silence = Silence(clock)
    began, may_end = threading.Event(), threading.Event()

    def ask() -> None:
        with silence.asking():
            began.set()
            may_end.wait(10.0)

    thread = threading.Thread(target=ask)
    thread.start()
    assert began.wait(10.0)
    for _ in range(5):
        with silence.asking():
            clock.advance(10.0)
    assert silence.lasts_s() == 0.0
    clock.advance(4.0)
    assert silence.lasts_s() == 4.0
    may_end.set()
    thread.join(10.0)
    assert silence.lasts_s() == 0.0
