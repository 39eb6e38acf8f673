"""Outages, poison and refusals: nothing is lost to a sink that fails, and nothing that is bad holds up what is good."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from exhaustive import some_of
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, Window
from framesift.sinks import (
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    Registered,
    Rejected,
    RetryLater,
)
from framesift.spool import FinalOutcome, Spool, State
from framesift.upload.uploader import REFUSED_RETRY_S, SinkProblem
from rigs.uploads import RecordingSink, name, open_spool, outcomes, put, running

ONE_A_DAY = Quota("all", (Limit(Window.DAILY, 1),), "batch")
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(waiters=1)


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = open_spool(tmp_path, clock)
    yield spool
    spool.close()


def pass_time(clock: ManualClock, seconds: float) -> None:
    """For this thread, one of those that the clock waits for."""
    end_s = clock.monotonic() + seconds
    while clock.monotonic() < end_s:
        clock.wait(threading.Event(), end_s - clock.monotonic())


def unsure(_delivery: Delivery | None = None, _time: int = 0) -> DeliveryResult:
    return RetryLater(None, "it answered 500", FailureScope.UNSURE)


def away() -> DeliveryResult:
    return RetryLater(None, "no connection", FailureScope.SINK, may_have_arrived=False)


# --- outages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", some_of([unsure, away], lambda failure: failure is away))
@pytest.mark.parametrize("workers", [1, 4])
def test_an_outage_of_thirty_seconds_at_five_datapoints_a_second_loses_nothing(
    tmp_path: Path, workers: int, failure: Callable[[], DeliveryResult]
) -> None:
    clock = ManualClock(waiters=workers + 1)
    spool = open_spool(tmp_path, clock)
    over = threading.Event()

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        return failure() if NOON_S + 15.0 <= clock.now().wall_s < NOON_S + 45.0 else Delivered()

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock, workers=workers) as rig:

        def collect() -> None:
            for number in range(300):
                put(spool, range(number, number + 1), clock.now(), threads=1)
                rig.uploader.wake()
                clock.wait(over, 0.2)
            while not clock.wait(over, 20.0):
                pass

        collecting = threading.Thread(target=collect)
        collecting.start()
        rig.until(lambda: sum(isinstance(a.outcome, Delivered) for a in rig.attempts) == 300)
        rig.until_drained()
        over.set()
        collecting.join(30)
    rows = outcomes(spool)
    spool.close()

    assert rows == {FinalOutcome.DELIVERED: 300}
    failed = [at_s for _, at_s in sink.arrived if NOON_S + 15.0 <= at_s < NOON_S + 45.0]
    assert len(failed) <= 20 * workers, "it was probed without a pause"
    # Back within the longest pause after half a minute, and then without delay.
    assert max(at_s for _, at_s in sink.arrived) <= NOON_S + 45.0 + 64.0
    assert len(rig.pauses) % 2 == 0
    assert rig.pauses[-1] is None


def delivered_in_a_minute(folder: Path, failure: Callable[[], DeliveryResult], share: float) -> int:
    """By four workers, of a sink where each call takes 0.2 s and this share of them fails at random."""
    clock = ManualClock(waiters=5)
    folder.mkdir()
    spool = open_spool(folder, clock)
    put(spool, range(1300), clock.now())
    chance, lock, over = random.Random(4), threading.Lock(), threading.Event()

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        pass_time(clock, 0.2)
        with lock:
            return failure() if chance.random() < share else Delivered()

    def pass_the_rest() -> None:
        while not clock.wait(over, 20.0):
            pass

    with running(spool, RecordingSink(clock, answer), clock, workers=4) as rig:
        pass_time(clock, 60.0)
        delivered = sum(isinstance(a.outcome, Delivered) for a in rig.attempts)
        threading.Thread(target=pass_the_rest).start()
        assert rig.uploader.stop(30)
    over.set()
    assert not spool.list_rows(State.BURIED)
    spool.close()
    return delivered


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Delivered in a minute of a sink of which no call fails."""
    return delivered_in_a_minute(tmp_path_factory.mktemp("minute") / "healthy", unsure, 0.0)


@pytest.mark.exhaustive
@pytest.mark.parametrize("failure", some_of([unsure, away], lambda failure: failure is unsure))
@pytest.mark.parametrize("share", some_of([0.1, 0.5], lambda share: share == 0.5))
def test_calls_that_fail_at_random_cost_hardly_more_than_these_calls(
    tmp_path: Path, healthy: int, failure: Callable[[], DeliveryResult], share: float
) -> None:
    assert healthy > 1100
    assert delivered_in_a_minute(tmp_path / "failing", failure, share) >= 0.8 * (1.0 - share) * healthy


@pytest.mark.exhaustive
@pytest.mark.parametrize("failure", some_of([unsure, away], lambda failure: failure is unsure))
def test_an_outage_of_a_day_buries_nothing_however_many_are_tried(
    spool: Spool, clock: ManualClock, failure: Callable[[], DeliveryResult]
) -> None:
    put(spool, range(10), clock.now())
    back_s = NOON_S + DAY_S
    sink = RecordingSink(clock, lambda *_: failure() if clock.now().wall_s < back_s else Delivered())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert outcomes(spool) == {FinalOutcome.DELIVERED: 10}
    probes = [at_s for _, at_s in sink.arrived if at_s < back_s]
    assert DAY_S / 60.0 <= len(probes) <= DAY_S / 20.0
    assert min(at_s for _, at_s in sink.arrived if at_s >= back_s) <= back_s + 60.0


def test_a_revoked_key_is_probed_every_five_minutes_and_at_once_when_an_operator_asks(
    tmp_path: Path,
) -> None:
    clock = ManualClock(waiters=2)
    spool = open_spool(tmp_path, clock)
    put(spool, range(5), clock.now())
    good = threading.Event()

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        return (
            Delivered()
            if good.is_set()
            else RetryLater(clock.now().wall_s + 300.0, "the key was revoked", FailureScope.SINK)
        )

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock) as rig:
        pass_time(clock, DAY_S)
        probes = len(sink.arrived)
        assert DAY_S / 330.0 - 1 <= probes <= DAY_S / 300.0 + 1
        rig.uploader.probe_now()
        rig.until(lambda: len(rig.attempts) == probes + 1, within_s=10)
        pass_time(clock, 60.0)
        assert len(sink.arrived) == probes + 1
        good.set()
        rig.uploader.probe_now()
        rig.until_drained()
    rows = outcomes(spool)
    spool.close()

    assert rows == {FinalOutcome.DELIVERED: 5}
    assert rig.pauses == [SinkProblem("the key was revoked", all_refused=False), None]


@pytest.mark.parametrize("step_s", [-10 * 365 * DAY_S, -HOUR_S, HOUR_S, 10 * 365 * DAY_S])
def test_a_step_of_the_clock_during_an_outage_neither_hurries_nor_delays(tmp_path: Path, step_s: float) -> None:
    clock = ManualClock(waiters=1)
    spool = open_spool(tmp_path, clock)
    put(spool, range(10), clock.now())
    began_s = clock.monotonic()
    stepped = threading.Event()
    delivered_s: list[float] = []

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        elapsed_s = clock.monotonic() - began_s
        if elapsed_s >= HOUR_S:
            delivered_s.append(elapsed_s)
            return Delivered()
        if elapsed_s >= HOUR_S / 2 and not stepped.is_set():
            stepped.set()
            clock.step_wall(step_s)
        return unsure()

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock) as rig:
        rig.until_drained()
    assert max(delivered_s) <= HOUR_S + 320.0
    assert outcomes(spool) == {FinalOutcome.DELIVERED: 10}
    assert len(sink.arrived) < 180
    spool.close()


@pytest.mark.exhaustive
def test_half_of_all_second_steps_failing_leaves_none_without_it(tmp_path: Path) -> None:
    clock = ManualClock(waiters=2)
    spool = open_spool(tmp_path, clock)
    put(spool, range(300), clock.now())
    steps = itertools.count()

    def answer(delivery: Delivery, _time: int) -> DeliveryResult:
        if delivery.image_id is None:
            return Registered(f"image-{delivery.id}")
        return Delivered() if hash((delivery.id, next(steps) * 2654435761 % 97)) % 2 else unsure()

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock, workers=2) as rig:
        rig.until_drained()

    assert outcomes(spool) == {FinalOutcome.DELIVERED: 300}
    uploads = Counter(delivery.id for delivery in sink.deliveries if delivery.image_id is None)
    assert set(uploads.values()) == {1}
    assert len(sink.deliveries) - 300 > 500, "half of them were to fail"
    spool.close()


# --- poison -----------------------------------------------------------------------------------------------------------


def test_a_poison_item_among_good_ones_is_buried_after_eight_attempts_and_delays_nobody(tmp_path: Path) -> None:
    clock = ManualClock(waiters=2)
    spool = open_spool(tmp_path, clock)
    poison, over = name(0), threading.Event()
    sink = RecordingSink(clock, lambda d, _: unsure() if d.id == poison else Delivered())
    put(spool, range(1), clock.now())
    accepted: dict[str, float] = {}
    with running(spool, sink, clock) as rig:

        def collect() -> None:
            for number in range(1, 200):
                accepted[name(number)] = clock.now().wall_s
                put(spool, range(number, number + 1), clock.now(), threads=1)
                rig.uploader.wake()
                clock.wait(over, 5.0)
            while not clock.wait(over, 20.0):
                pass

        collecting = threading.Thread(target=collect)
        collecting.start()
        rig.until(lambda: sum(isinstance(a.outcome, Delivered) for a in rig.attempts) == 199)
        rig.until_drained()
        over.set()
        collecting.join(30)
    (buried,) = spool.list_rows(State.BURIED)
    rows = outcomes(spool)
    spool.close()

    assert buried.id == poison
    assert "it answered 500" in str(buried.why)
    assert rows == {FinalOutcome.DELIVERED: 199}
    assert {id: at_s for id, at_s in sink.arrived if id != poison} == accepted
    assert 8 <= len(sink.times_of(0)) <= 10


@pytest.mark.exhaustive
def test_a_poison_item_alone_is_never_buried_and_lets_a_good_one_pass_that_joins_it(tmp_path: Path) -> None:
    clock = ManualClock(waiters=2)
    spool = open_spool(tmp_path, clock)
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock, lambda d, _: unsure() if d.id == name(0) else Delivered())
    with running(spool, sink, clock) as rig:
        pass_time(clock, DAY_S / 2)
        assert 720 <= len(sink.times_of(0)) <= 2160
        assert [row.state for row in spool.list_rows()] == [State.READY]
        put(spool, range(1, 2), clock.now())
        rig.uploader.wake()
        pass_time(clock, 320.0)
        assert len(sink.times_of(1)) == 1
        assert [row.id for row in spool.list_rows()] == [name(0)]
    spool.close()


@pytest.mark.parametrize("failure", [unsure, away])
def test_poison_with_the_highest_score_does_not_keep_the_breaker_open_for_the_others(
    spool: Spool, clock: ManualClock, failure: Callable[[], DeliveryResult]
) -> None:
    put(spool, range(20), clock.now(), score=lambda number: 1.0 if number < 5 else 0.1)
    sink = RecordingSink(clock, lambda d, _: failure() if int(d.id, 16) < 5 else Delivered())
    with running(spool, sink, clock) as rig:
        rig.until(lambda: sum(isinstance(a.outcome, Delivered) for a in rig.attempts) == 15)

    assert max(at_s for id, at_s in sink.arrived if int(id, 16) >= 5) <= NOON_S + 60.0


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_is_refused_is_tried_three_times_more_within_the_hour_then_buried_and_its_quota_refunded(
    spool: Spool, clock: ManualClock
) -> None:
    captured = clock.now()
    put(spool, range(1), captured, quota=ONE_A_DAY)
    assert spool.check_quota([ONE_A_DAY], captured) == QuotaRefused(batch_full=False)
    sink = RecordingSink(clock, lambda *_: Rejected("too large"))
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    waits = [after_s - before_s for before_s, after_s in itertools.pairwise(sink.times_of(0))]
    assert len(waits) == 3
    assert all(0.9 * due_s <= wait_s <= 1.1 * due_s + 0.1 for due_s, wait_s in zip(REFUSED_RETRY_S, waits, strict=True))
    assert all(delivery.attempt_number == 1 for delivery in sink.deliveries)
    (buried,) = spool.list_rows(State.BURIED)
    assert buried.why == "refused 4 times, the last: too large"
    assert spool.check_quota([ONE_A_DAY], captured) == QuotaGranted("all")


def test_what_is_refused_delays_no_other(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(20), clock.now(), score=lambda number: 1.0 if number < 3 else None)
    sink = RecordingSink(clock, lambda d, _: Rejected("too large") if int(d.id, 16) < 3 else Delivered())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert {at_s for id, at_s in sink.arrived if int(id, 16) >= 3} == {NOON_S}
    assert {row.id for row in spool.list_rows(State.BURIED)} == {name(0), name(1), name(2)}
    assert rig.pauses == []


def test_no_quota_is_refunded_if_the_image_is_there_or_may_be(spool: Spool, clock: ManualClock) -> None:
    two = Quota("all", (Limit(Window.DAILY, 2),), "batch")
    captured = clock.now()
    put(spool, range(2), captured, quota=two)

    def answer(delivery: Delivery, time: int) -> DeliveryResult:
        if time > 1:
            return Rejected("no such class")
        return Registered("image") if delivery.id == name(0) else RetryLater(None, "answer lost", FailureScope.UNSURE)

    with running(spool, RecordingSink(clock, answer), clock) as rig:
        rig.until_drained()

    assert spool.counts().buried == 2
    assert spool.check_quota([two], captured) == QuotaRefused(batch_full=False)


def test_an_image_that_was_refused_and_then_is_there_is_somebody_elses(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock, lambda _, time: Rejected("too large") if time == 1 else Duplicate())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert outcomes(spool) == {FinalOutcome.DUPLICATE: 1}


def test_a_sink_that_refuses_everything_gets_nothing_buried_and_is_probed_every_five_minutes(tmp_path: Path) -> None:
    clock = ManualClock(waiters=2)
    spool = open_spool(tmp_path, clock)
    put(spool, range(30), clock.now())
    mended_s = NOON_S + DAY_S
    sink = RecordingSink(clock, lambda *_: Rejected("no") if clock.now().wall_s < mended_s else Delivered())
    with running(spool, sink, clock, workers=2) as rig:
        rig.until_drained()
    rows = outcomes(spool)
    spool.close()

    assert rows == {FinalOutcome.DELIVERED: 30}
    probes = [at_s for _, at_s in sink.arrived if NOON_S < at_s < mended_s]
    assert DAY_S / 360.0 <= len(probes) <= DAY_S / 300.0
    assert max(Counter(probes).values()) == 1
    assert rig.pauses == [SinkProblem("no", all_refused=True), None]
    assert max(at_s for _, at_s in sink.arrived) <= mended_s + HOUR_S  # those that were refused once keep their date


def test_many_bad_items_that_are_worth_most_delay_the_good_ones_by_minutes_at_most(tmp_path: Path) -> None:
    clock = ManualClock(waiters=2)
    spool = open_spool(tmp_path, clock)
    over = threading.Event()
    put(spool, range(7), clock.now(), score=lambda _: 1.0)
    accepted: dict[str, float] = {}
    sink = RecordingSink(clock, lambda d, _: Rejected("too large") if int(d.id, 16) < 7 else Delivered())
    with running(spool, sink, clock) as rig:

        def collect() -> None:
            for number in range(7, 307):
                accepted[name(number)] = clock.now().wall_s
                put(spool, range(number, number + 1), clock.now(), threads=1)
                rig.uploader.wake()
                clock.wait(over, 60.0)
            while not clock.wait(over, 20.0):
                pass

        collecting = threading.Thread(target=collect)
        collecting.start()
        rig.until(lambda: sum(isinstance(a.outcome, Delivered) for a in rig.attempts) == 300)
        rig.until_drained()
        over.set()
        collecting.join(30)
    rows = outcomes(spool)
    buried = {int(row.id, 16) for row in spool.list_rows(State.BURIED)}
    spool.close()

    assert rows == {FinalOutcome.DELIVERED: 300}
    assert buried == set(range(7))
    delays = sorted(at_s - accepted[id] for id, at_s in sink.arrived if id in accepted)
    assert delays[-1] <= 20 * 60.0
    assert delays[len(delays) // 2] == 0.0
