"""SinkCircuitBreaker: when it opens, who may probe, when it closes, and whether a failure is the item's fault."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from framesift.upload.circuit_breaker import (
    FAILURES_TO_OPEN,
    MAX_FAILURES_TO_OPEN,
    OUTAGE_S,
    RECENT_S,
    REFUSALS_TO_OPEN,
    REFUSED_PAUSE_S,
    REMEMBERED_ITEMS,
    RETRY_SCHEDULE,
    BreakerDecision,
    SinkCircuitBreaker,
    SinkSignal,
)

SUCCEEDED, ITEM_FAILED, REFUSED, UNCLEAR, SINK_FAILED = (
    SinkSignal.SUCCEEDED,
    SinkSignal.ITEM_FAILED,
    SinkSignal.REFUSED,
    SinkSignal.UNCLEAR,
    SinkSignal.SINK_FAILED,
)


class BreakerRig:
    """One breaker, and a time that the test moves. Items without a name are each another one."""

    def __init__(self) -> None:
        self.breaker = SinkCircuitBreaker(random.Random(5))
        self.now_s = 1000.0
        self._number = 0

    def answer(
        self, answer: SinkSignal, id: str | None = None, why: str = "why", retry_after_s: float | None = None
    ) -> BreakerDecision:
        self._number += 1
        return self.breaker.record(id or f"id-{self._number}", answer, why, self.now_s, retry_after_s)

    def wait_s(self) -> float:
        return self.breaker.enter(self.now_s)

    def probe(self, answer: SinkSignal, id: str | None = None, retry_after_s: float | None = None) -> float:
        """Waits until it may probe, and probes; returns the seconds that it waited."""
        wait_s = self.wait_s()
        self.now_s += wait_s
        if wait_s:
            assert self.wait_s() == 0.0
        self.answer(answer, id, retry_after_s=retry_after_s)
        self.breaker.leave()
        return wait_s


@pytest.fixture
def rig() -> BreakerRig:
    return BreakerRig()


def in_another_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)


# --- shutting and opening ---------------------------------------------------------------------------------------------


def test_it_is_closed_at_first_and_stays_so_while_deliveries_succeed(rig: BreakerRig) -> None:
    assert rig.wait_s() == 0.0
    for answer in (SUCCEEDED, ITEM_FAILED, REFUSED, SUCCEEDED):
        assert rig.answer(answer) == BreakerDecision(
            item_at_fault=True, is_open=False, all_refused=False, changed=False
        )
        assert rig.wait_s() == 0.0


def test_a_failure_of_the_whole_sink_opens_it_and_is_no_items_fault(rig: BreakerRig) -> None:
    assert rig.answer(SINK_FAILED) == BreakerDecision(
        item_at_fault=False, is_open=True, all_refused=False, changed=True
    )
    assert 1.0 <= rig.wait_s() <= 2.0


def test_pauses_grow_while_it_stays_open_and_start_again_once_it_was_closed(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED)
    waits = [rig.probe(SINK_FAILED) for _ in range(300)]
    for n, wait_s in enumerate(waits):
        assert 1.0 <= wait_s <= min(60.0, 2.0 * 2.0**n)
    assert max(waits) > 55.0
    rig.probe(SUCCEEDED)
    assert rig.wait_s() == 0.0
    rig.answer(SINK_FAILED)
    assert rig.wait_s() <= 2.0


def test_only_one_probes_at_a_time(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED)
    rig.now_s += 10.0
    assert rig.wait_s() == 0.0
    others: list[float] = []
    in_another_thread(lambda: others.append(rig.wait_s()))
    assert others[0] > 0.0
    in_another_thread(rig.breaker.leave)  # who doesn't ask can't give the turn away
    in_another_thread(lambda: others.append(rig.wait_s()))
    assert others[1] > 0.0
    rig.breaker.leave()
    in_another_thread(lambda: others.append(rig.wait_s()))
    assert others[2] == 0.0


@pytest.mark.parametrize("answer", [SUCCEEDED, ITEM_FAILED, REFUSED])
def test_any_answer_to_a_probe_but_a_failure_closes_it(rig: BreakerRig, answer: SinkSignal) -> None:
    rig.answer(SINK_FAILED)
    rig.now_s += rig.wait_s()
    assert rig.wait_s() == 0.0
    assert rig.answer(answer) == BreakerDecision(item_at_fault=True, is_open=False, all_refused=False, changed=True)
    rig.breaker.leave()
    assert rig.wait_s() == 0.0


def test_an_answer_to_a_delivery_that_began_before_it_opened_does_not_close_it(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED, retry_after_s=60.0)
    assert rig.answer(SUCCEEDED) == BreakerDecision(item_at_fault=True, is_open=True, all_refused=False, changed=False)
    assert rig.wait_s() >= 60.0


def test_an_answer_to_a_delivery_that_began_before_it_opened_makes_the_pause_no_longer(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED)
    before_s = rig.wait_s()
    for _ in range(3):
        assert not rig.answer(SINK_FAILED).changed
    assert rig.wait_s() == before_s


def test_a_pause_that_the_sink_asks_for_is_kept_and_spread(rig: BreakerRig) -> None:
    waits = set()
    rig.answer(SINK_FAILED, retry_after_s=1000.0)
    for _ in range(20):
        waits.add(rig.probe(SINK_FAILED, retry_after_s=1000.0))
    assert min(waits) >= 1000.0
    assert max(waits) <= 1100.0
    assert max(waits) - min(waits) > 10.0


def test_the_longest_of_several_pauses_is_kept(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED)
    rig.answer(SINK_FAILED, retry_after_s=60.0)
    rig.answer(SINK_FAILED, retry_after_s=2.0)
    assert rig.wait_s() >= 60.0


def test_a_sink_that_asks_for_no_pause_at_all_is_not_probed_in_a_busy_loop(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED, retry_after_s=0.0)
    assert rig.wait_s() >= 1.0


def test_a_probe_now_is_allowed_at_once_and_a_failure_opens_it_again(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED, retry_after_s=3600.0)
    rig.breaker.probe_now(rig.now_s)
    assert rig.probe(SINK_FAILED, retry_after_s=300.0) == 0.0
    assert rig.wait_s() >= 300.0


def test_another_reason_is_a_change_and_the_same_is_not(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED, why="no network")
    news = []
    for why in ("no network", "the key was revoked", "the key was revoked"):
        rig.now_s += rig.wait_s()
        assert rig.wait_s() == 0.0
        news.append(rig.answer(SINK_FAILED, why=why).changed)
        rig.breaker.leave()
    assert news == [False, True, False]


def test_an_item_whose_probe_failed_is_delivered_again_after_every_few_others(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED, "a")
    rig.probe(UNCLEAR, "b")
    assert rig.breaker.failed_probes() == ("a", "b")
    rig.probe(SUCCEEDED)
    assert rig.breaker.failed_probes() == ("a", "b")
    for _ in range(REMEMBERED_ITEMS - 1):
        rig.answer(SUCCEEDED)
    assert rig.breaker.failed_probes() == ("b",)
    rig.now_s += 60.0
    rig.answer(SINK_FAILED, "a")
    assert rig.breaker.failed_probes() == ("b", "a")


@pytest.mark.parametrize("through", ["a", "b"])
def test_when_one_item_whose_probe_failed_succeeds_all_of_them_may_be_delivered(rig: BreakerRig, through: str) -> None:
    for id in ("a", "b", "c"):
        rig.probe(SINK_FAILED, id)
    for _ in range(REMEMBERED_ITEMS):
        rig.probe(SUCCEEDED)
    assert rig.breaker.failed_probes() == ("b", "c")
    rig.answer(SUCCEEDED, through)
    assert rig.breaker.failed_probes() == ()


def test_what_it_remembers_of_a_long_outage_is_bounded(rig: BreakerRig) -> None:
    for _ in range(2000):
        rig.probe(SINK_FAILED)
    assert len(rig.breaker.failed_probes()) <= 500


# --- unsure failures --------------------------------------------------------------------------------------------------


def test_a_failure_after_a_success_is_the_items_fault(rig: BreakerRig) -> None:
    rig.answer(SUCCEEDED)
    assert rig.answer(UNCLEAR) == BreakerDecision(item_at_fault=True, is_open=False, all_refused=False, changed=False)


def test_a_failure_as_the_first_answer_is_not_the_items_fault(rig: BreakerRig) -> None:
    assert not rig.answer(UNCLEAR).item_at_fault


def test_the_third_failure_in_a_row_opens_it_and_only_the_first_is_the_items_fault(rig: BreakerRig) -> None:
    rig.answer(SUCCEEDED)
    rulings = [rig.answer(UNCLEAR) for _ in range(3)]
    assert [ruling.item_at_fault for ruling in rulings] == [True, False, False]
    assert [ruling.is_open for ruling in rulings] == [False, False, True]
    assert rig.wait_s() >= 1.0


def test_while_it_is_open_a_failure_keeps_it_open(rig: BreakerRig) -> None:
    rig.answer(SINK_FAILED)
    rig.probe(UNCLEAR)
    assert rig.wait_s() >= 1.0


def test_a_poison_item_between_good_ones_is_always_at_fault(rig: BreakerRig) -> None:
    for _ in range(20):
        for _ in range(3):
            rig.answer(SUCCEEDED)
        ruling = rig.answer(UNCLEAR, "poison")
        assert ruling.item_at_fault
        assert not ruling.is_open


def test_failures_of_a_sink_that_fails_half_of_the_time_are_no_items_fault(rig: BreakerRig) -> None:
    """After its first failures: what any item may have to pay for them is far below what gives it up."""
    chance = random.Random(2)
    own = failures = 0
    for _ in range(2000):
        answer = UNCLEAR if chance.random() < 0.5 else SUCCEEDED
        if rig.wait_s() > 0.0:
            rig.now_s += 1000.0
            rig.wait_s()
        ruling = rig.answer(answer)
        rig.breaker.leave()
        failures += answer is UNCLEAR
        own += ruling.item_at_fault and answer is UNCLEAR
    assert failures > 900
    assert own < failures / 10


def test_after_the_sink_worked_again_a_poison_item_is_recognised_again(rig: BreakerRig) -> None:
    for _ in range(5):
        rig.answer(UNCLEAR)
    rig.now_s += 1000.0
    rig.probe(SUCCEEDED)
    for _ in range(REMEMBERED_ITEMS):
        rig.answer(SUCCEEDED)
    assert rig.answer(UNCLEAR, "poison").item_at_fault


# --- failures by chance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [UNCLEAR, SINK_FAILED])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.6])
def test_where_a_share_of_the_calls_fails_at_random_it_is_closed_nearly_all_the_time(
    rig: BreakerRig, failure: SinkSignal, share: float
) -> None:
    chance = random.Random(7)
    waited_s = 0.0
    rig.answer(SUCCEEDED)
    for _ in range(4000):
        waited_s += rig.probe(failure if chance.random() < share else SUCCEEDED)
        rig.now_s += 0.05
    # 4,000 calls of 4 workers, at 0.05 s each: 200 s without any pause.
    assert waited_s < 15.0


@pytest.mark.parametrize("failure", [UNCLEAR, SINK_FAILED])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_sink_that_fails_for_good_gets_few_calls_however_often_it_failed_before(
    rig: BreakerRig, failure: SinkSignal, share: float
) -> None:
    chance = random.Random(7)
    for _ in range(400):
        rig.probe(failure if chance.random() < share else SUCCEEDED)
        rig.now_s += 0.05
    rig.now_s += rig.wait_s()
    rig.probe(SUCCEEDED)

    calls = 0
    while rig.wait_s() == 0.0:
        rig.answer(failure)
        calls += 1
    assert calls <= MAX_FAILURES_TO_OPEN
    if share == 0.0:
        assert calls == FAILURES_TO_OPEN
    waits = [rig.probe(failure) for _ in range(30)]
    assert min(waits) >= 1.0
    assert max(waits) > 50.0


def test_while_nothing_has_succeeded_for_a_while_one_failure_of_the_whole_sink_opens_it(rig: BreakerRig) -> None:
    for _ in range(20):
        rig.answer(SUCCEEDED)
    assert not rig.answer(SINK_FAILED).is_open
    rig.now_s += RECENT_S + 1.0
    assert rig.answer(SINK_FAILED).is_open


def test_a_pause_that_the_sink_asks_for_is_kept_at_once_also_among_successes(rig: BreakerRig) -> None:
    for _ in range(20):
        rig.answer(SUCCEEDED)
    assert rig.answer(SINK_FAILED, retry_after_s=60.0).is_open
    assert rig.wait_s() >= 60.0


def test_the_failures_of_an_outage_do_not_make_the_next_one_longer(rig: BreakerRig) -> None:
    for _ in range(5):
        rig.answer(SUCCEEDED)
        rig.now_s += OUTAGE_S + 1.0
        for _ in range(50):
            rig.probe(UNCLEAR)
        rig.probe(SUCCEEDED)
        assert [rig.answer(UNCLEAR).is_open for _ in range(FAILURES_TO_OPEN)] == [False, False, True]
        rig.now_s += OUTAGE_S + 1.0
        rig.probe(SUCCEEDED)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_refused_item_among_others_is_at_fault(rig: BreakerRig) -> None:
    for _ in range(3):
        for n in range(REFUSALS_TO_OPEN - 1):
            assert rig.answer(REFUSED, f"bad-{n}") == BreakerDecision(
                item_at_fault=True, is_open=False, all_refused=False, changed=False
            )
        for _ in range(REMEMBERED_ITEMS):
            rig.answer(SUCCEEDED)


def test_one_item_that_is_refused_again_and_again_is_one_item(rig: BreakerRig) -> None:
    for _ in range(20):
        assert rig.answer(REFUSED, "bad").item_at_fault


def test_when_most_of_the_latest_items_are_refused_it_is_the_sink(rig: BreakerRig) -> None:
    rig.answer(SUCCEEDED)
    for _ in range(REFUSALS_TO_OPEN - 1):
        assert rig.answer(REFUSED).item_at_fault
    assert rig.answer(REFUSED, "last") == BreakerDecision(
        item_at_fault=False, is_open=True, all_refused=True, changed=True
    )
    assert REFUSED_PAUSE_S <= rig.wait_s() <= 1.1 * REFUSED_PAUSE_S
    for _ in range(5):
        assert rig.probe(REFUSED) >= REFUSED_PAUSE_S


def test_an_outage_between_refusals_makes_them_no_fewer(rig: BreakerRig) -> None:
    for _ in range(REFUSALS_TO_OPEN - 1):
        rig.answer(REFUSED)
    for _ in range(REMEMBERED_ITEMS):
        rig.probe(SINK_FAILED)
    rig.now_s += 1000.0
    assert rig.wait_s() == 0.0
    assert rig.answer(REFUSED).all_refused


def test_once_the_sink_accepts_something_again_its_refusals_are_the_items_fault(rig: BreakerRig) -> None:
    for _ in range(20):
        rig.probe(REFUSED)
    assert rig.wait_s() > 0.0
    rig.probe(SUCCEEDED)
    assert rig.answer(REFUSED) == BreakerDecision(item_at_fault=True, is_open=False, all_refused=False, changed=False)


def test_a_sink_that_refuses_everything_and_then_is_unavailable_is_reported_as_unavailable(rig: BreakerRig) -> None:
    for _ in range(REFUSALS_TO_OPEN):
        rig.answer(REFUSED, why="too large")
    rig.now_s += 1000.0
    rig.wait_s()
    assert rig.answer(SINK_FAILED, why="too large") == BreakerDecision(
        item_at_fault=False, is_open=True, all_refused=False, changed=True
    )


def test_the_longest_pause_is_the_sinks_own() -> None:
    rig = BreakerRig()
    rig.breaker = SinkCircuitBreaker(random.Random(5), probe_at_most_s=30.0)
    rig.answer(SINK_FAILED)
    waits = [rig.probe(SINK_FAILED) for _ in range(300)]
    assert 25.0 < max(waits) <= 30.0


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
