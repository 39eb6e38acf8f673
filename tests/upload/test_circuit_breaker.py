"""The gate: when it shuts, who may ask, when it opens, and whose trouble a failure is."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from framesift.upload.circuit_breaker import (
    REFUSALS_TO_OPEN,
    REFUSED_PAUSE_S,
    REMEMBERED_ITEMS,
    RETRY_SCHEDULE,
    BreakerDecision,
    SinkCircuitBreaker,
    SinkSignal,
)

GOOD, ITEM, REFUSED, UNSURE, SINK = (
    SinkSignal.SUCCEEDED,
    SinkSignal.ITEM_FAILED,
    SinkSignal.REFUSED,
    SinkSignal.UNCLEAR,
    SinkSignal.SINK_FAILED,
)


class Desk:
    """One gate, and a time that the test moves. Items without a name are each another one."""

    def __init__(self) -> None:
        self.gate = SinkCircuitBreaker(random.Random(5))
        self.now_s = 1000.0
        self._number = 0

    def answer(
        self, answer: SinkSignal, id: str | None = None, why: str = "why", asked_s: float | None = None
    ) -> BreakerDecision:
        self._number += 1
        return self.gate.record(id or f"id-{self._number}", answer, why, self.now_s, asked_s)

    def wait_s(self) -> float:
        return self.gate.enter(self.now_s)

    def probe(self, answer: SinkSignal, id: str | None = None, asked_s: float | None = None) -> float:
        """Waits until it may ask, and asks; the seconds that it waited."""
        wait_s = self.wait_s()
        self.now_s += wait_s
        if wait_s:
            assert self.wait_s() == 0.0
        self.answer(answer, id, asked_s=asked_s)
        self.gate.leave()
        return wait_s


@pytest.fixture
def desk() -> Desk:
    return Desk()


def in_another_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)


# --- shutting and opening ---------------------------------------------------------------------------------------------


def test_it_is_open_at_first_and_stays_so_while_things_get_through(desk: Desk) -> None:
    assert desk.wait_s() == 0.0
    for answer in (GOOD, ITEM, REFUSED, GOOD):
        assert desk.answer(answer) == BreakerDecision(
            item_at_fault=True, is_open=False, all_refused=False, changed=False
        )
        assert desk.wait_s() == 0.0


def test_a_failure_of_the_whole_sink_shuts_it_and_is_nobodys_own(desk: Desk) -> None:
    assert desk.answer(SINK) == BreakerDecision(item_at_fault=False, is_open=True, all_refused=False, changed=True)
    assert 1.0 <= desk.wait_s() <= 2.0


def test_pauses_grow_while_it_stays_shut_and_begin_anew_once_it_was_open(desk: Desk) -> None:
    desk.answer(SINK)
    waits = [desk.probe(SINK) for _ in range(300)]
    for n, wait_s in enumerate(waits):
        assert 1.0 <= wait_s <= min(300.0, 2.0 * 2.0**n)
    assert max(waits) > 280.0
    desk.probe(GOOD)
    assert desk.wait_s() == 0.0
    desk.answer(SINK)
    assert desk.wait_s() <= 2.0


def test_only_one_asks_at_a_time(desk: Desk) -> None:
    desk.answer(SINK)
    desk.now_s += 10.0
    assert desk.wait_s() == 0.0
    others: list[float] = []
    in_another_thread(lambda: others.append(desk.wait_s()))
    assert others[0] > 0.0
    in_another_thread(desk.gate.leave)  # who doesn't ask can't give the turn away
    in_another_thread(lambda: others.append(desk.wait_s()))
    assert others[1] > 0.0
    desk.gate.leave()
    in_another_thread(lambda: others.append(desk.wait_s()))
    assert others[2] == 0.0


@pytest.mark.parametrize("answer", [GOOD, ITEM, REFUSED])
def test_any_answer_to_who_asked_but_a_failure_opens_it(desk: Desk, answer: SinkSignal) -> None:
    desk.answer(SINK)
    desk.now_s += desk.wait_s()
    assert desk.wait_s() == 0.0
    assert desk.answer(answer) == BreakerDecision(item_at_fault=True, is_open=False, all_refused=False, changed=True)
    desk.gate.leave()
    assert desk.wait_s() == 0.0


def test_an_answer_to_what_was_under_way_when_it_was_shut_does_not_open_it(desk: Desk) -> None:
    desk.answer(SINK, asked_s=60.0)
    assert desk.answer(GOOD) == BreakerDecision(item_at_fault=True, is_open=True, all_refused=False, changed=False)
    assert desk.wait_s() >= 60.0


def test_an_answer_to_what_was_under_way_when_it_was_shut_makes_the_pause_no_longer(desk: Desk) -> None:
    desk.answer(SINK)
    before_s = desk.wait_s()
    for _ in range(3):
        assert not desk.answer(SINK).changed
    assert desk.wait_s() == before_s


def test_a_pause_that_the_sink_asks_for_is_kept_and_spread(desk: Desk) -> None:
    waits = set()
    desk.answer(SINK, asked_s=1000.0)
    for _ in range(20):
        waits.add(desk.probe(SINK, asked_s=1000.0))
    assert min(waits) >= 1000.0
    assert max(waits) <= 1100.0
    assert max(waits) - min(waits) > 10.0


def test_the_longest_of_several_pauses_is_kept(desk: Desk) -> None:
    desk.answer(SINK)
    desk.answer(SINK, asked_s=60.0)
    desk.answer(SINK, asked_s=2.0)
    assert desk.wait_s() >= 60.0


def test_a_sink_that_asks_for_no_time_at_all_is_not_asked_in_a_circle(desk: Desk) -> None:
    desk.answer(SINK, asked_s=0.0)
    assert desk.wait_s() >= 1.0


def test_whoever_wants_to_know_now_may_ask_at_once_and_a_failure_shuts_it_again(desk: Desk) -> None:
    desk.answer(SINK, asked_s=3600.0)
    desk.gate.probe_now(desk.now_s)
    assert desk.probe(SINK, asked_s=300.0) == 0.0
    assert desk.wait_s() >= 300.0


def test_another_reason_is_news_and_the_same_is_not(desk: Desk) -> None:
    desk.answer(SINK, why="no network")
    news = []
    for why in ("no network", "the key was revoked", "the key was revoked"):
        desk.now_s += desk.wait_s()
        assert desk.wait_s() == 0.0
        news.append(desk.answer(SINK, why=why).changed)
        desk.gate.leave()
    assert news == [False, True, False]


def test_who_asked_in_vain_gets_another_turn_after_every_few_others(desk: Desk) -> None:
    desk.answer(SINK, "a")
    desk.probe(UNSURE, "b")
    assert desk.gate.failed_probes() == ("a", "b")
    desk.probe(GOOD)
    assert desk.gate.failed_probes() == ("a", "b")
    for _ in range(REMEMBERED_ITEMS - 1):
        desk.answer(GOOD)
    assert desk.gate.failed_probes() == ("b",)
    desk.answer(SINK, "a")
    assert desk.gate.failed_probes() == ("b", "a")


@pytest.mark.parametrize("through", ["a", "b"])
def test_when_one_that_asked_in_vain_gets_through_so_may_all(desk: Desk, through: str) -> None:
    for id in ("a", "b", "c"):
        desk.probe(SINK, id)
    for _ in range(REMEMBERED_ITEMS):
        desk.probe(GOOD)
    assert desk.gate.failed_probes() == ("b", "c")
    desk.answer(GOOD, through)
    assert desk.gate.failed_probes() == ()


def test_what_it_remembers_of_a_long_outage_is_bounded(desk: Desk) -> None:
    for _ in range(2000):
        desk.probe(SINK)
    assert len(desk.gate.failed_probes()) <= 500


# --- unsure failures --------------------------------------------------------------------------------------------------


def test_a_failure_after_a_good_answer_is_the_items_own(desk: Desk) -> None:
    desk.answer(GOOD)
    assert desk.answer(UNSURE) == BreakerDecision(item_at_fault=True, is_open=False, all_refused=False, changed=False)


def test_a_failure_of_which_nobody_knows_what_came_before_is_not(desk: Desk) -> None:
    assert not desk.answer(UNSURE).item_at_fault


def test_the_third_failure_in_a_row_shuts_it_and_none_but_the_first_is_the_items_own(desk: Desk) -> None:
    desk.answer(GOOD)
    rulings = [desk.answer(UNSURE) for _ in range(3)]
    assert [ruling.item_at_fault for ruling in rulings] == [True, False, False]
    assert [ruling.is_open for ruling in rulings] == [False, False, True]
    assert desk.wait_s() >= 1.0


def test_while_it_is_shut_a_failure_keeps_it_shut(desk: Desk) -> None:
    desk.answer(GOOD)
    desk.answer(SINK)
    desk.probe(UNSURE)
    assert desk.wait_s() >= 1.0


def test_a_poison_item_between_good_ones_is_always_its_own_trouble(desk: Desk) -> None:
    for _ in range(20):
        for _ in range(3):
            desk.answer(GOOD)
        ruling = desk.answer(UNSURE, "poison")
        assert ruling.item_at_fault
        assert not ruling.is_open


def test_a_sink_that_fails_half_of_the_time_makes_failures_nobodys_own(desk: Desk) -> None:
    """After its first failures: what any item may have to pay for them is far below what gives it up."""
    chance = random.Random(2)
    own = failures = 0
    for _ in range(2000):
        answer = UNSURE if chance.random() < 0.5 else GOOD
        if desk.wait_s() > 0.0:
            desk.now_s += 1000.0
            desk.wait_s()
        ruling = desk.answer(answer)
        desk.gate.leave()
        failures += answer is UNSURE
        own += ruling.item_at_fault and answer is UNSURE
    assert failures > 900
    assert own < failures / 10


def test_after_the_sink_worked_again_a_poison_item_is_recognised_again(desk: Desk) -> None:
    for _ in range(5):
        desk.answer(UNSURE)
    desk.now_s += 1000.0
    desk.probe(GOOD)
    for _ in range(REMEMBERED_ITEMS):
        desk.answer(GOOD)
    assert desk.answer(UNSURE, "poison").item_at_fault


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_refused_item_among_others_is_its_own_trouble(desk: Desk) -> None:
    for _ in range(3):
        for n in range(REFUSALS_TO_OPEN - 1):
            assert desk.answer(REFUSED, f"bad-{n}") == BreakerDecision(
                item_at_fault=True, is_open=False, all_refused=False, changed=False
            )
        for _ in range(REMEMBERED_ITEMS):
            desk.answer(GOOD)


def test_one_item_that_is_refused_again_and_again_is_one_item(desk: Desk) -> None:
    for _ in range(20):
        assert desk.answer(REFUSED, "bad").item_at_fault


def test_when_most_of_the_latest_items_are_refused_it_is_the_sink(desk: Desk) -> None:
    desk.answer(GOOD)
    for _ in range(REFUSALS_TO_OPEN - 1):
        assert desk.answer(REFUSED).item_at_fault
    assert desk.answer(REFUSED, "last") == BreakerDecision(
        item_at_fault=False, is_open=True, all_refused=True, changed=True
    )
    assert REFUSED_PAUSE_S <= desk.wait_s() <= 1.1 * REFUSED_PAUSE_S
    for _ in range(5):
        assert desk.probe(REFUSED) >= REFUSED_PAUSE_S


def test_an_outage_between_refusals_makes_them_no_fewer(desk: Desk) -> None:
    for _ in range(REFUSALS_TO_OPEN - 1):
        desk.answer(REFUSED)
    for _ in range(REMEMBERED_ITEMS):
        desk.probe(SINK)
    desk.now_s += 1000.0
    assert desk.wait_s() == 0.0
    assert desk.answer(REFUSED).all_refused


def test_once_it_takes_something_again_its_refusals_speak_of_the_items(desk: Desk) -> None:
    for _ in range(20):
        desk.probe(REFUSED)
    assert desk.wait_s() > 0.0
    desk.probe(GOOD)
    assert desk.answer(REFUSED) == BreakerDecision(item_at_fault=True, is_open=False, all_refused=False, changed=False)


def test_a_sink_that_refuses_everything_and_then_is_away_is_said_to_be_away(desk: Desk) -> None:
    for _ in range(REFUSALS_TO_OPEN):
        desk.answer(REFUSED, why="too large")
    desk.now_s += 1000.0
    desk.wait_s()
    assert desk.answer(SINK, why="too large") == BreakerDecision(
        item_at_fault=False, is_open=True, all_refused=False, changed=True
    )


# --- how long ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [1, 2, 5, 8, 9, 50, 5000])
def test_pauses_grow_to_five_minutes_and_are_spread(failures: int) -> None:
    chance = random.Random(3)
    pauses = [RETRY_SCHEDULE.pause_s(failures, chance) for _ in range(300)]
    longest_s = min(300.0, 2.0**failures) if failures < 100 else 300.0

    assert min(pauses) >= 1.0
    assert max(pauses) <= longest_s
    assert max(pauses) > 0.95 * longest_s
    assert sum(pauses) / len(pauses) < 0.8 * longest_s
    assert len(set(pauses)) == 300
