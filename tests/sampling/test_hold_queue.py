"""HoldQueue: the best frames of a strategy are held, seldom written, and accepted when turns are due."""

from __future__ import annotations

from datetime import timezone

import numpy as np
import pytest

from clocks import NOON_S
from framesift.clock.moment import Moment
from framesift.frame import RefusalReason
from framesift.limits import Limit, Turns, Window
from framesift.sampling.hold_queue import Dropped, HeldCandidate, HoldQueue, QueueTime
from framesift.sampling.likeness import Likeness
from framesift.strategies import PacingOptions
from framesift.strategies.near_duplicate import RememberedFrame

OUTSCORED, NEAR = RefusalReason.OUTSCORED, RefusalReason.NEAR_DUPLICATE
# One turn each 600 s, one write each 75 s.
SIX = Turns(Limit(Window.HOURLY, 6))
Queue = HoldQueue[None]


def queue(max_held: int = 64, max_hold_s: float = 3600.0, turns: Turns = SIX) -> Queue:
    return HoldQueue(PacingOptions(mode="hold_queue", max_held=max_held, max_hold_s=max_hold_s), turns, timezone.utc)


def at(elapsed_s: float) -> QueueTime:
    """So many seconds after the window has opened, at noon."""
    return QueueTime(Moment(NOON_S + elapsed_s, elapsed_s, "boot"), NOON_S + elapsed_s)


def looks(shade: float, stream: str = "gate", limit: float = 0.01) -> Likeness:
    return Likeness(RememberedFrame("", np.full(192, shade, np.float32)), "picture", limit, stream)


def seen(name: str, score: float, elapsed_s: float = 0.0, likeness: Likeness | None = None) -> HeldCandidate[None]:
    return HeldCandidate(name, score, at(elapsed_s).moment, likeness, None)


def hold(held: Queue, candidate: HeldCandidate[None]) -> list[tuple[str, RefusalReason]]:
    """Offers a frame, and stores it where it is time for that. Returns the frames that are dropped for it."""
    time = at(candidate.captured.boottime_s)
    refusal = held.refusal(candidate.score, candidate.likeness)
    if refusal is not None:
        return [(candidate.id, refusal)]
    dropped = held.offer(candidate)
    begun = held.begin_write(time)
    candidate.is_stored = begun is not None
    return names([*dropped, *(begun[1] if begun is not None else [])])


def names(dropped: list[Dropped[None]]) -> list[tuple[str, RefusalReason]]:
    return [(one.candidate.id, one.reason) for one in dropped]


def held_ids(held: Queue) -> list[str]:
    return [one.id for one in held]


def turn(held: Queue, elapsed_s: float) -> str | None:
    """Who gets the turn that is due now; its owner accepts it."""
    best = held.best_to_ask(at(elapsed_s))
    if best is None:
        return None
    held.remove(best)
    held.record_turn(best, at(elapsed_s))
    return best.id


# --- what is held -----------------------------------------------------------------------------------------------------


def test_between_two_writes_only_the_best_frame_is_kept_in_memory() -> None:
    held = queue()
    assert hold(held, seen("first", 0.5)) == []  # stored at once
    assert hold(held, seen("weak", 0.2, 10)) == []
    assert hold(held, seen("weaker", 0.1, 20)) == [("weaker", OUTSCORED)]
    assert hold(held, seen("good", 0.3, 30)) == [("weak", OUTSCORED)]
    assert held.begin_write(at(74)) is None
    written = held.begin_write(at(75))
    assert written is not None
    assert written[0].id == "good"
    assert held_ids(held) == ["first", "good"]


def test_no_more_frames_are_written_than_eight_a_turn_however_much_better_each_one_is() -> None:
    held, written = queue(), 0
    for second in range(3600):
        candidate = seen(str(second), float(second), second)
        assert held.refusal(candidate.score, None) is None
        held.offer(candidate)
        written += held.begin_write(at(second)) is not None
    assert written == 48


def test_over_max_held_the_lowest_goes() -> None:
    held = queue(max_held=2)
    for number, score in enumerate((0.5, 0.9)):
        assert hold(held, seen(str(score), score, 75 * number)) == []
    assert hold(held, seen("0.4", 0.4, 150)) == [("0.4", OUTSCORED)]
    assert hold(held, seen("0.6", 0.6, 225)) == [("0.5", OUTSCORED)]
    assert held_ids(held) == ["0.9", "0.6"]


@pytest.mark.parametrize(("score", "wins"), [(0.84, False), (0.85, True)])
def test_of_frames_that_look_alike_one_is_held_and_another_must_be_5_percent_better(score: float, wins: bool) -> None:
    held = queue()
    assert hold(held, seen("car", 0.8, likeness=looks(0.1))) == []
    assert hold(held, seen("bus", 0.7, 75, looks(0.5))) == []
    again = hold(held, seen("car again", score, 150, looks(0.105)))
    assert again == ([("car", NEAR)] if wins else [("car again", NEAR)])
    assert sorted(held_ids(held)) == (["bus", "car again"] if wins else ["bus", "car"])


def test_a_frame_that_beats_its_like_needs_no_place_of_its_own() -> None:
    held = queue(max_held=1)
    hold(held, seen("car", 0.5, likeness=looks(0.1)))
    assert hold(held, seen("car again", 0.6, 75, looks(0.1))) == [("car", NEAR)]


def test_streams_are_compared_only_where_the_scope_is_all() -> None:
    held = queue()
    hold(held, seen("gate", 0.5, likeness=looks(0.1, "gate")))
    assert held.refusal(0.4, looks(0.1, "yard")) is None
    assert held.refusal(0.4, looks(0.1, "")) is NEAR


def test_frames_without_a_likeness_are_like_nothing() -> None:
    held = queue()
    hold(held, seen("a", 0.5, likeness=looks(0.1)))
    assert hold(held, seen("b", 0.4, 75)) == []
    assert held_ids(held) == ["a", "b"]


def test_a_frame_that_was_accepted_elsewhere_drops_what_looks_like_it() -> None:
    held = queue()
    hold(held, seen("car", 0.5, likeness=looks(0.1)))
    hold(held, seen("bus", 0.5, 75, looks(0.5)))
    assert names(held.drop_alike(looks(0.105, limit=0.0))) == [("car", NEAR)]
    assert held_ids(held) == ["bus"]


def test_what_was_held_too_long_goes() -> None:
    held = queue(max_hold_s=100.0)
    hold(held, seen("old", 0.5))
    hold(held, seen("new", 0.4, 75))
    assert held.expire(at(100)) == []
    assert names(held.expire(at(101))) == [("old", OUTSCORED)]
    assert held_ids(held) == ["new"]


def test_what_could_not_be_stored_is_tried_again_unless_a_better_frame_has_come() -> None:
    held = queue()
    held.offer(seen("a", 0.5))
    begun = held.begin_write(at(0))
    assert begun is not None
    assert held.undo_write(begun[0]) == []
    again = held.begin_write(at(75))
    assert again is not None
    assert again[0].id == "a"
    held.offer(seen("b", 0.9, 80))
    assert names(held.undo_write(again[0])) == [("a", OUTSCORED)]
    assert held_ids(held) == ["b"]


# --- turns ------------------------------------------------------------------------------------------------------------


def test_the_best_frame_gets_the_turn_also_if_it_is_in_memory_only() -> None:
    held = queue()
    hold(held, seen("stored", 0.5))
    hold(held, seen("best", 0.9, 10))
    assert turn(held, 600) == "best"
    assert turn(held, 675) == "stored"
    assert turn(held, 900) is None


def test_turns_that_were_saved_up_go_to_the_best_frames_of_a_while_and_not_to_the_first_ones() -> None:
    held, taken = queue(), []
    for second in range(1800, 2101):  # three turns were earned before the first frame came
        candidate = seen(str(second), (second % 75) / 75, second)
        if held.refusal(candidate.score, None) is None:
            hold(held, candidate)
        while (name := turn(held, second)) is not None:
            taken.append(name)
    assert taken == [
        "1874",
        "1949",
        "2024",
        "2099",
    ]  # the best of each 75 s; whether turns are due decides who counts them


def accepted_by(held: Queue, captured_s: range, *, earned_s: list[float]) -> list[str]:
    """Which frames get a turn, if frames of such times come, and turns are earned at these."""
    accepted = []
    for number, now_s in enumerate(captured_s):
        hold(held, seen(str(now_s), float(number % 7), now_s))
        held.expire(at(now_s))
        best = held.best_to_ask(at(now_s))
        if best is None:
            continue
        held.remove(best)
        if earned_s and earned_s[0] <= now_s:
            earned_s.pop(0)
            held.record_turn(best, at(now_s))
            accepted.append(best.id)
        else:
            held.no_turn(best, at(now_s))
    return accepted


def test_frames_that_are_held_for_less_than_an_eighth_of_a_turn_get_their_turns_too() -> None:
    held = queue(max_hold_s=30.0)
    first, second = map(int, accepted_by(held, range(0, 1400, 2), earned_s=[600, 1200]))
    assert 600 - 30 <= first <= 602
    assert 1200 - 30 <= second <= 1202


TWO_A_DAY = Turns(Limit(Window.DAILY, 2))  # asked for no more often than each 5,400 s


def test_a_frame_that_comes_alone_gets_a_turn_that_is_due_before_it_is_held_too_long() -> None:
    held = queue(turns=TWO_A_DAY, max_hold_s=600.0)
    hold(held, seen("alone", 0.5, 30_000))
    assert held.best_to_ask(at(30_299)) is None
    assert held.wake_s(at(30_000)) == pytest.approx(300)
    assert turn(held, 30_300) == "alone"


def test_after_a_gap_the_first_frame_waits_for_better_ones_though_a_turn_is_long_due() -> None:
    held = queue(turns=TWO_A_DAY, max_hold_s=600.0)
    hold(held, seen("evening", 0.5, 0))
    assert turn(held, 300) == "evening"
    hold(held, seen("morning", 0.5, 25_000))
    assert turn(held, 25_001) is None
    hold(held, seen("better", 0.9, 25_200))
    assert turn(held, 25_300) == "better"


def test_after_no_turn_was_due_it_is_asked_again_when_the_next_one_is_earned() -> None:
    held = queue()
    hold(held, seen("a", 0.5, 650))
    best = held.best_to_ask(at(725))
    assert best is not None
    held.remove(best)
    held.no_turn(best, at(725))
    assert held.best_to_ask(at(1199)) is None
    assert held.wake_s(at(1199)) == pytest.approx(1.01)
    assert turn(held, 1200.02) == "a"


def test_when_a_window_closes_its_frames_get_its_last_turns_before_those_of_the_next_and_the_rest_goes() -> None:
    held = queue()
    for name, score, elapsed_s in (("old", 0.3, 3000), ("older", 0.2, 3100), ("new", 0.9, 3650)):
        hold(held, seen(name, score, elapsed_s))
    assert turn(held, 3650) == "old"
    best = held.best_to_ask(at(3650))  # at once: no better one can come
    assert best is not None
    assert best.id == "older"
    held.remove(best)
    assert names(held.no_turn(best, at(3650))) == [("older", OUTSCORED)]
    assert held_ids(held) == ["new"]


def test_a_frame_is_asked_for_a_last_time_after_its_window_has_closed_and_not_before() -> None:
    held = queue()
    hold(held, seen("a", 0.5, 3500))
    best = held.best_to_ask(at(3575))
    assert best is not None
    held.remove(best)
    assert held.no_turn(best, at(3575)) == []
    assert held.best_to_ask(at(3599.9)) is None
    assert turn(held, 3600.02) == "a"


def test_a_frame_that_got_no_turn_and_was_never_stored_is_stored_later() -> None:
    held = queue()
    held.offer(seen("a", 0.5, 10))
    best = held.best_to_ask(at(85))
    assert best is not None
    held.remove(best)
    assert held.no_turn(best, at(85)) == []
    begun = held.begin_write(at(85))
    assert begun is not None
    assert begun[0] is best


def test_a_strategy_that_holds_no_more_drops_all() -> None:
    held = queue()
    hold(held, seen("a", 0.5))
    hold(held, seen("b", 0.6, 10))
    assert names(held.drop_all()) == [("a", OUTSCORED), ("b", OUTSCORED)]
    assert len(held) == 0


def test_nothing_wakes_an_empty_queue() -> None:
    assert queue().wake_s(at(0)) == float("inf")
