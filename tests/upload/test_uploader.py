"""The upload workers: each datapoint leaves once and within the limits, whatever the sink answers, however they end."""

from __future__ import annotations

import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from deliveries import HEIGHT, WIDTH, detected, detection, folder_sink, jpeg, read_image_folder, read_yolo
from exhaustive import some_of
from framesift.clock.clock import SystemClock
from framesift.clock.moment import Moment
from framesift.limits import Limit, Window, window_start
from framesift.prediction.wire_format import to_wire
from framesift.sinks import Delivered, Delivery, DeliveryResult, Duplicate, FailureScope, Registered, RetryLater
from framesift.spool import FinalOutcome, Spool, State
from framesift.upload.uploader import DeliveryAttempt, SinkProblem, Uploader
from rigs.uploads import RecordingSink, RunningUploader, name, open_spool, outcomes, put, running, until


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(waiters=1)


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = open_spool(tmp_path, clock)
    yield spool
    spool.close()


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.timeout(240)
def test_four_workers_never_exceed_the_sinks_limits_per_minute_hour_and_day(tmp_path: Path) -> None:
    """1,000 rows from 22:58 on: 50 a minute bind at once, 500 a day from 23:08 on, 420 an hour from 00:09 on."""
    clock = ManualClock(NOON_S + 10 * 3600 + 58 * 60, waiters=4)
    spool = open_spool(tmp_path, clock)
    put(spool, range(1000), clock.now(), jpeg(1))
    limits = (Limit(Window.MINUTELY, 50), Limit(Window.HOURLY, 420), Limit(Window.DAILY, 500))
    sink = RecordingSink(clock)

    with running(spool, sink, clock, workers=4, limits=limits) as rig:
        rig.until(lambda: len(rig.attempts) == 1000)
        rig.until_drained()
    spool.close()

    assert sorted(id for id, _ in sink.arrived) == [name(n) for n in range(1000)]
    for limit in limits:
        counts = Counter(window_start(limit.window, at_s) for _, at_s in sink.arrived)
        assert max(counts.values()) == limit.value, f"{limit} was exceeded, or did not bind"
    hours = Counter(window_start(Window.HOURLY, at_s) for _, at_s in sink.arrived)
    assert list(hours.values()) == [100, 400, 420, 80], "the workers waited longer than the limits ask for"
    assert len({window_start(Window.MINUTELY, at_s) for _, at_s in sink.arrived}) == 2 + 8 + 9 + 2


def test_the_sinks_limits_hold_over_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(waiters=1)
    limits = (Limit(Window.MINUTELY, 5),)
    sink = RecordingSink(clock)
    spool = open_spool(tmp_path, clock)
    put(spool, range(8), clock.now())
    with running(spool, sink, clock, limits=limits) as rig:
        rig.until(lambda: len(rig.attempts) == 3)
    spool.close()
    spool = open_spool(tmp_path, clock)
    with running(spool, sink, clock, limits=limits) as rig:
        rig.until_drained()
    spool.close()

    minutes = Counter(window_start(Window.MINUTELY, at_s) for _, at_s in sink.arrived)
    assert list(minutes.values()) == [5, 3]


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_what_is_handed_over_is_what_was_accepted(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(3, 4), clock.now())
    sink = RecordingSink(clock)
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert sink.deliveries == [
        Delivery(
            id=name(3),
            device="gate-7",
            stream="north",
            frame=3,
            captured_at_s=NOON_S,
            strategy="all",
            score=None,
            tags=("gate-7",),
            batch="batch",
            annotate=True,
            width=WIDTH,
            height=HEIGHT,
            prediction=detected(detection("car", x=3.0)),
            jpeg=jpeg(3),
            project=None,
            attempt_number=1,
            image_id=None,
            prediction_json=json.dumps(to_wire(detected(detection("car", x=3.0))), separators=(",", ":")),
        )
    ]
    assert outcomes(spool) == {FinalOutcome.DELIVERED: 1}


def test_a_poison_row_is_buried_after_eight_attempts_and_delays_no_other(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(20), clock.now())
    sink = RecordingSink(clock, lambda d, _: RetryLater(None, "no idea") if d.id == name(0) else Delivered())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert [at_s for id, at_s in sink.arrived if id != name(0)] == [NOON_S] * 19
    times = sink.times_of(0)
    assert len(times) == 8
    waits = [after_s - before_s for before_s, after_s in itertools.pairwise(times)]
    assert all(1.0 <= wait_s <= 2.0**failures + 0.1 for failures, wait_s in enumerate(waits, 1))
    assert max(waits) > 30.0
    assert [delivery.attempt_number for delivery in sink.deliveries if delivery.id == name(0)] == list(range(1, 9))
    (buried,) = spool.list_rows(State.BURIED)
    assert buried.id == name(0)
    assert buried.why is not None
    assert "no idea" in buried.why
    assert outcomes(spool) == {FinalOutcome.DELIVERED: 19}


def test_a_sink_that_names_a_time_is_not_asked_before(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock, lambda _, time: RetryLater(NOON_S + 90.0, "at half past") if time == 1 else Delivered())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    first_s, second_s = sink.times_of(0)
    assert first_s == NOON_S
    assert NOON_S + 90.0 <= second_s < NOON_S + 91.0


def test_an_image_that_was_there_before_the_first_try_is_somebody_elses(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())
    with running(spool, RecordingSink(clock, lambda *_: Duplicate()), clock) as rig:
        rig.until_drained()

    assert outcomes(spool) == {FinalOutcome.DUPLICATE: 1}


def test_an_image_that_was_there_after_an_answer_was_lost_is_our_own(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock, lambda _, time: RetryLater(None, "answer lost") if time == 1 else Duplicate())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert outcomes(spool) == {FinalOutcome.DELIVERED: 1}


def test_what_is_registered_comes_again_with_the_sinks_own_id(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock, lambda _, time: Registered("their-id") if time == 1 else Delivered())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    first, second = sink.deliveries
    assert second == replace(first, image_id="their-id", attempt_number=2)
    assert second.jpeg is first.jpeg  # it was not read again
    assert outcomes(spool) == {FinalOutcome.DELIVERED: 1}


def test_the_second_step_of_one_datapoint_never_has_the_picture_of_another(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(6), clock.now())

    def answer(delivery: Delivery, time: int) -> DeliveryResult:
        if delivery.id == name(0) and time == 1:
            spool.retry_later(delivery.id, clock.now().wall_s + 60.0, "so that another row comes next")
        return Registered(f"of-{delivery.id}") if time == 1 else Delivered()

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert outcomes(spool) == {FinalOutcome.DELIVERED: 6}
    for delivery in sink.deliveries:
        number = int(delivery.id, 16)
        assert delivery.jpeg == jpeg(number)
        assert delivery.prediction == detected(detection("car", x=float(number)))


def test_what_is_registered_again_and_again_waits_as_a_failure_does(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock, lambda _, time: Registered(f"id-{time}"))
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    times_s = sink.times_of(0)
    assert times_s[1] == times_s[0]  # for its prediction
    assert all(later_s - earlier_s >= 1.0 for earlier_s, later_s in itertools.pairwise(times_s[1:]))
    assert [delivery.image_id for delivery in sink.deliveries[:4]] == [None, "id-1", "id-2", "id-3"]
    (buried,) = spool.list_rows(State.BURIED)
    assert buried.why is not None
    assert buried.why.endswith("attempts failed, the last: the sink has the image, and asks for its prediction again")


def test_a_date_that_is_over_is_no_reason_to_spin(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock, lambda _, time: RetryLater(NOON_S - 5.0, "busy") if time < 4 else Delivered())
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert all(later_s - earlier_s >= 1.0 for earlier_s, later_s in itertools.pairwise(sink.times_of(0)))


def test_a_damaged_picture_is_buried_and_the_others_go_on(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    put(spool, range(5), clock.now())
    _damage(
        tmp_path, "UPDATE picture SET bytes = x'ffd8' WHERE number = (SELECT seq FROM datapoint WHERE id = ?)", name(2)
    )
    sink = RecordingSink(clock)
    with running(spool, sink, clock) as rig:
        rig.until_drained()

    assert sorted(sink.arrived) == [(name(n), NOON_S) for n in (0, 1, 3, 4)]
    assert [row.id for row in spool.list_rows(State.BURIED)] == [name(2)]


# --- a sink that takes nothing ----------------------------------------------------------------------------------------


def test_while_nothing_gets_through_one_delivery_at_a_time_probes_and_no_attempt_is_lost(tmp_path: Path) -> None:
    clock = ManualClock(waiters=4)
    spool = open_spool(tmp_path, clock)
    put(spool, range(40), clock.now())
    back_s = NOON_S + 3600.0
    all_four, together = threading.Barrier(4), threading.Event()

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        if clock.now().wall_s < back_s:
            return RetryLater(None, "the disk is full", FailureScope.SINK, may_have_arrived=False)
        if not together.is_set() and sink.delivered_since(back_s) > 1:
            all_four.wait(30)
            together.set()
        return Delivered()

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock, workers=4) as rig:
        rig.until_drained()
    rows = outcomes(spool)
    spool.close()

    probes = [at_s for _, at_s in sink.arrived if at_s < back_s]
    assert len([at_s for at_s in probes if at_s > NOON_S]) >= 3600 / 60
    later = Counter(at_s for at_s in probes if at_s > NOON_S)
    assert max(later.values()) == 1, "several workers probed at once"
    assert len(probes) < 3600 / 20
    assert rig.pauses == [SinkProblem("the disk is full", all_refused=False), None]
    assert rows == {FinalOutcome.DELIVERED: 40}
    assert all(delivery.attempt_number == 1 for delivery in sink.deliveries)
    # Back within the longest pause; and then everybody works at once (or the barrier would have broken).
    assert together.is_set()
    delivered = [at_s for _, at_s in sink.arrived if at_s >= back_s]
    assert len(delivered) == 40
    assert max(delivered) <= back_s + 60.0


def test_a_pause_that_the_sink_asked_for_is_kept_by_all(tmp_path: Path) -> None:
    clock = ManualClock(waiters=2)
    spool = open_spool(tmp_path, clock)
    put(spool, range(6), clock.now())
    until_s = NOON_S + 500.0

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        return (
            RetryLater(until_s, "come back later", FailureScope.SINK) if clock.now().wall_s < until_s else Delivered()
        )

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock, workers=2) as rig:
        rig.until_drained()
    spool.close()

    assert all(at_s == NOON_S or at_s >= until_s for _, at_s in sink.arrived)
    assert len([at_s for _, at_s in sink.arrived if at_s == NOON_S]) <= 2


def test_answers_to_deliveries_that_began_before_the_breaker_opened_do_not_make_the_pause_longer(
    tmp_path: Path,
) -> None:
    clock = ManualClock(waiters=4)
    spool = open_spool(tmp_path, clock)
    put(spool, range(20), clock.now())
    all_four = threading.Barrier(4)

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        if clock.now().wall_s > NOON_S:
            return Delivered()
        all_four.wait(30)
        return RetryLater(None, "the disk is full", FailureScope.SINK, may_have_arrived=False)

    sink = RecordingSink(clock, answer)
    with running(spool, sink, clock, workers=4) as rig:
        rig.until_drained()
    spool.close()

    again = [at_s for _, at_s in sink.arrived if at_s > NOON_S]
    assert len(again) == 20
    assert min(again) <= NOON_S + 2.0


# --- ending and waking ------------------------------------------------------------------------------------------------


def test_what_was_claimed_when_the_stop_came_goes_back_as_if_never_claimed(tmp_path: Path) -> None:
    clock = _Trap()
    spool = open_spool(tmp_path, clock)
    put(spool, range(1), clock.now())
    sink = RecordingSink(clock)
    rig = RunningUploader(spool, sink, clock, 1, ())
    # The spool reads its clock while it claims: at that instant the stop comes.
    clock.spring = lambda: rig.uploader.stop(0)
    rig.uploader.start()

    assert rig.uploader.stop(30)
    (row,) = spool.list_rows()
    spool.close()
    assert (row.state, row.attempts) == (State.READY, 0)
    assert sink.arrived == []
    assert rig.failures == []


def test_a_delivery_under_way_may_finish_within_the_deadline(tmp_path: Path) -> None:
    clock = SystemClock()
    spool = open_spool(tmp_path, clock)
    put(spool, range(2), clock.now())
    inside, go_on = threading.Event(), threading.Event()

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        inside.set()
        assert go_on.wait(30)
        return Delivered()

    rig = RunningUploader(spool, RecordingSink(clock, answer), clock, 1, ())
    rig.uploader.start()
    assert inside.wait(30)
    assert not rig.uploader.stop(0.05), "it is still delivering"
    go_on.set()
    assert rig.uploader.stop(30)

    assert outcomes(spool) == {FinalOutcome.DELIVERED: 1}
    assert [row.state for row in spool.list_rows()] == [State.READY]
    spool.close()


@pytest.mark.parametrize(
    "outcome", [Delivered(), RetryLater(None, "cut off", FailureScope.SINK), RetryLater(None, "its own fault")]
)
def test_a_delivery_that_the_stop_cuts_off_costs_no_attempt_whatever_comes_of_it_later(
    tmp_path: Path, outcome: DeliveryResult
) -> None:
    clock = SystemClock()
    spool = open_spool(tmp_path, clock)
    put(spool, range(1), clock.now())
    inside, go_on = threading.Event(), threading.Event()

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        inside.set()
        assert go_on.wait(30)
        return outcome

    rig = RunningUploader(spool, RecordingSink(clock, answer), clock, 1, ())
    rig.uploader.start()
    assert inside.wait(30)
    assert not rig.uploader.stop(0.05)
    until(lambda: [(row.state, row.attempts) for row in spool.list_rows()] == [(State.SENDING, 0)])
    go_on.set()
    assert rig.uploader.stop(30)
    assert [(row.state, row.attempts) for row in spool.list_rows()] == (
        [] if outcome == Delivered() else [(State.READY, 0)]
    )
    spool.close()


def test_an_idle_worker_claims_at_once_when_it_is_woken(tmp_path: Path) -> None:
    clock = SystemClock()
    spool = open_spool(tmp_path, clock)
    with running(spool, RecordingSink(clock), clock) as rig:
        for number in range(3):
            put(spool, range(number, number + 1), clock.now())
            rig.uploader.wake()

            def seen(attempts: int = number + 1) -> bool:
                return len(rig.attempts) == attempts

            rig.until(seen, within_s=10)
    spool.close()


def test_an_idle_worker_does_nothing_after_it_was_woken_for_nothing(tmp_path: Path) -> None:
    clock = _Counting()
    spool = open_spool(tmp_path, clock)
    with running(spool, RecordingSink(clock), clock) as rig:
        until(lambda: clock.waiting() == 1)
        rig.uploader.wake()
        until(lambda: clock.waits == 2 and clock.waiting() == 1)
        put(spool, range(5), clock.now())  # some work for the machine, which does not wake the worker
        assert clock.waits == 2
    spool.close()


def test_a_bug_is_reported_and_not_swallowed(spool: Spool, clock: ManualClock) -> None:
    put(spool, range(1), clock.now())

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        raise ZeroDivisionError("a bug")

    rig = RunningUploader(spool, RecordingSink(clock, answer), clock, 1, ())
    rig.uploader.start()
    with pytest.raises(ZeroDivisionError):
        rig.until(lambda: False)
    assert rig.uploader.stop(30)


def test_a_spool_that_is_unavailable_for_a_while_is_waited_for(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = open_spool(tmp_path, clock)
    put(spool, range(1), clock.now())
    spool.close()
    sink = RecordingSink(clock)
    with running(spool, sink, clock) as rig:
        until(lambda: clock.waiting() == 1)
        assert not rig.uploader.is_drained()
        spool.open()
        clock.advance(20.0)
        rig.until_drained()
    spool.close()

    assert len(sink.arrived) == 1


def test_a_worker_that_hangs_is_idle_and_one_that_waits_is_not(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = open_spool(tmp_path, clock)
    inside, go_on = threading.Event(), threading.Event()

    def answer(_delivery: Delivery, _time: int) -> DeliveryResult:
        inside.set()
        assert go_on.wait(30)
        return Delivered()

    with running(spool, RecordingSink(clock, answer), clock) as rig:
        (worker,) = rig.uploader.threads
        for _ in range(5):
            until(lambda: clock.waiting() == 1 and worker.idle_s() == 0.0)
            clock.advance(20.0)
        put(spool, range(1), clock.now())
        rig.uploader.wake()
        assert inside.wait(30)
        assert not rig.uploader.is_drained()
        clock.advance(55.0)
        assert worker.idle_s() == 55.0
        go_on.set()
        rig.until_drained()
    spool.close()


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", some_of([1, 9, 26], lambda delivered: delivered == 9))
def test_after_sigkill_nothing_is_missing_and_nothing_doubled(tmp_path: Path, delivered: int) -> None:
    clock = SystemClock()
    spool = open_spool(tmp_path, clock)
    put(spool, range(40), clock.now())
    spool.close()
    program = [sys.executable, "-m", "upload.test_uploader", str(tmp_path)]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert child.stdout is not None
    for _ in range(delivered):
        assert child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL

    spool = open_spool(tmp_path, clock)
    assert spool.counts().sending == 0
    sink = folder_sink(tmp_path / "collected")
    with running(spool, sink, clock, workers=4) as rig:
        rig.until_drained()
    tallies = outcomes(spool)
    spool.close()

    rows = read_image_folder(tmp_path / "collected")
    assert sorted(row["id"] for row in rows) == [name(n) for n in range(40)]
    for row in rows:
        assert (tmp_path / "collected" / row["file_name"]).read_bytes() == jpeg(row["frame"])
    assert len(read_yolo(tmp_path / "collected")) == 40
    assert tallies == {FinalOutcome.DELIVERED: 40}


class _Counting(ManualClock):
    waits = 0

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.waits += 1
        return super().wait(event, timeout_s)


class _Trap(ManualClock):
    """Runs `spring` once, when the time is read next."""

    def __init__(self) -> None:
        super().__init__()
        self.spring: Callable[[], object] | None = None

    def now(self) -> Moment:
        spring, self.spring = self.spring, None
        if spring is not None:
            spring()
        return super().now()


def _damage(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / "spool.db")
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def _deliver_until_killed(folder: Path) -> None:
    clock = SystemClock()
    spool = open_spool(folder, clock)
    uploader = Uploader(
        spool,
        folder_sink(folder / "collected"),
        workers=4,
        sink_limits=(),
        clock=clock,
        rng=random.Random(),
        observer=_Printer(),
        on_failure=lambda error: _say(repr(error)),
    )
    uploader.start()
    threading.Event().wait()


class _Printer:
    def delivery_attempted(self, attempt: DeliveryAttempt, /) -> None:
        _say(attempt.item.id)

    def sink_changed(self, problem: SinkProblem | None, /) -> None:
        """Nothing to print."""


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _deliver_until_killed(Path(sys.argv[1]))
