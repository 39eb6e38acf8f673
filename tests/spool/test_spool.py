"""The spool: accepted datapoints stay until they leave with one outcome, also after a crash."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.datapoint import Candidate
from framesift.frame import RefusalReason
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, Window
from framesift.prediction.wire_format import parse_prediction
from framesift.spool import (
    Accepted,
    FinalOutcome,
    NotAccepted,
    Spool,
    SpoolBroken,
    SpoolInUse,
    SpoolTooNew,
    SpoolUnusable,
    State,
    WhenFull,
)
from rigs.spools import BATCH, RecordedReports, accepted, datapoint, make_newer, make_spool, prediction, put, quota


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reports() -> RecordedReports:
    return RecordedReports()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock, reports: RecordedReports) -> Iterator[Spool]:
    spool = make_spool(tmp_path, clock, report=reports)
    spool.open()
    yield spool
    spool.close()


# --- put and claim ----------------------------------------------------------------------------------------------------


def test_a_claimed_datapoint_is_the_one_that_was_accepted(spool: Spool, clock: ManualClock) -> None:
    given = datapoint(clock, jpeg=b"\xff\xd8\x00\x01\xff\xd9", what=prediction("car", "dog"), frame=7)
    clock.advance(3)
    q = quota("night")
    spool.put(given, [Candidate("night", 0.7, ("a", "b"), BATCH, with_prediction=False)], [q])
    (item,) = spool.claim(5).items
    assert (item.id, item.device, item.stream, item.frame) == (given.id, "gate-7", "gate", 7)
    assert (item.captured_at_s, item.strategy, item.score, item.tags) == (NOON_S, "night", 0.7, ("a", "b"))
    assert (item.batch, item.annotate, item.width, item.height) == (BATCH, False, 64, 48)
    assert (item.size_bytes, item.attempts, item.tried, item.image_id) == (6, 1, 1, None)
    assert parse_prediction(json.loads(item.prediction)) == given.prediction
    assert spool.read_jpeg(item.id) == given.jpeg


def test_the_first_candidate_with_quota_gives_its_name_score_and_tags(spool: Spool, clock: ManualClock) -> None:
    quotas = [quota("first", (Window.DAILY, 0)), quota("second", (Window.DAILY, 1))]
    candidates = [Candidate("first", 0.9, ("one",), BATCH), Candidate("second", 0.1, ("two",), BATCH, project="cars")]
    answer = spool.put(datapoint(clock), candidates, quotas)
    assert isinstance(answer, Accepted)
    assert answer.strategy == "second"
    (item,) = spool.claim(1).items
    assert (item.strategy, item.score, item.tags, item.project) == ("second", 0.1, ("two",), "cars")
    assert spool.list_rows()[0].project == "cars"


def test_quotas_and_candidates_of_different_strategies_are_an_error(spool: Spool, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="different strategies"):
        spool.put(datapoint(clock), [Candidate("a", None, (), BATCH)], [quota("b")])


def test_a_datapoint_without_quota_is_refused_and_leaves_no_row(spool: Spool, clock: ManualClock) -> None:
    assert put(spool, clock, [quota("a", (Window.DAILY, 0))]) == NotAccepted(RefusalReason.LIMIT)
    assert put(spool, clock, [quota("a", batch_images=0)]) == NotAccepted(RefusalReason.BATCH_FULL)
    assert spool.counts().ready == 0
    assert spool.class_counts() == {}


def test_check_quota_says_what_put_will_find(spool: Spool, clock: ManualClock) -> None:
    quotas = [quota("a", (Window.MINUTELY, 1))]
    assert spool.check_quota(quotas, clock.now()) == QuotaGranted("a")
    put(spool, clock, quotas)
    assert spool.check_quota(quotas, clock.now()) == QuotaRefused(batch_full=False)
    clock.advance(60)
    assert spool.check_quota(quotas, clock.now()) == QuotaGranted("a")


def test_the_same_id_twice_is_one_datapoint_and_one_charge(spool: Spool, clock: ManualClock) -> None:
    quotas = [quota("a", (Window.DAILY, 1))]
    assert put(spool, clock, quotas, id="same") == put(spool, clock, quotas, id="same")
    assert spool.counts().ready == 1


def test_classes_of_all_accepted_datapoints_stay_counted(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, what=prediction("car", "car", "dog"))
    put(spool, clock, what=prediction("car"))
    for item in spool.claim(2).items:
        spool.complete(item.id)
    assert spool.class_counts() == {"car": 3, "dog": 1}


# --- the order of claims ----------------------------------------------------------------------------------------------


def test_the_highest_score_is_claimed_first_and_of_equal_scores_the_oldest(spool: Spool, clock: ManualClock) -> None:
    scores = {"b": 0.5, "none": None, "zero": 0.0, "minus": -1.0, "a": 0.9, "c": 0.5}
    for id, score in scores.items():
        put(spool, clock, id=id, score=score)
    assert [item.id for item in spool.claim(9).items] == ["a", "b", "c", "none", "zero", "minus"]


def test_registered_rows_are_claimed_before_the_highest_score(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="low", score=0.1)
    spool.claim(1)
    spool.mark_registered("low", "image-1")
    put(spool, clock, id="high", score=0.9)
    items = spool.claim(2).items
    assert [(item.id, item.image_id) for item in items] == [("low", "image-1"), ("high", None)]


def test_a_claimed_row_is_not_claimed_again(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock)
    assert len(spool.claim(5).items) == 1
    assert spool.claim(5).items == ()


def test_an_empty_claim_says_when_to_try_again(spool: Spool, clock: ManualClock) -> None:
    assert spool.claim(1).wait_until_s is None
    put(spool, clock, id="x")
    spool.claim(1)
    spool.retry_later("x", NOON_S + 30, "busy")
    assert spool.claim(1).wait_until_s == NOON_S + 30
    clock.advance(29.9)
    assert spool.claim(1).items == ()
    clock.advance(0.1)
    assert [item.id for item in spool.claim(1).items] == ["x"]


def test_only_rows_with_quota_are_claimed(spool: Spool, clock: ManualClock, tmp_path: Path) -> None:
    put(spool, clock, id="with")
    put(spool, clock, id="without", score=1.0)
    with sqlite3.connect(tmp_path / "spool.db") as other:
        other.execute("DELETE FROM charge WHERE id = 'without'")
    other.close()
    assert [item.id for item in spool.claim(5).items] == ["with"]


def test_a_retry_time_from_a_wrong_clock_is_ignored(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="x")
    year_s = 365 * 86400
    clock.step_wall(10 * year_s)
    spool.claim(1)
    spool.retry_later("x", clock.now().wall_s + 60, "busy")
    clock.step_wall(-10 * year_s)
    assert [item.id for item in spool.claim(1).items] == ["x"]


# --- outcomes ---------------------------------------------------------------------------------------------------------


def charges_left(spool: Spool, clock: ManualClock, quotas: list[Quota]) -> int:
    number = 0
    while not isinstance(put(spool, clock, quotas), NotAccepted):
        number += 1
    return number


@pytest.mark.parametrize(
    ("outcome", "tries", "counted", "refunded"),
    [
        (FinalOutcome.DELIVERED, 1, FinalOutcome.DELIVERED, 0),
        (FinalOutcome.DUPLICATE, 1, FinalOutcome.DUPLICATE, 1),
        (FinalOutcome.DUPLICATE, 2, FinalOutcome.DELIVERED, 0),
    ],
)
def test_each_outcome_is_counted_and_refunds_what_it_should(
    spool: Spool, clock: ManualClock, outcome: FinalOutcome, tries: int, counted: FinalOutcome, refunded: int
) -> None:
    quotas = [quota("a", (Window.DAILY, 3))]
    put(spool, clock, quotas, id="x", score=9.0)
    assert charges_left(spool, clock, quotas) == 2
    assert isinstance(spool.check_quota(quotas, clock.now()), QuotaRefused)  # cached from here on
    for _ in range(tries - 1):
        assert spool.claim(1).items[0].id == "x"
        spool.retry_later("x", None, "again", costs_attempt=False)
    spool.claim(1)
    spool.complete("x", outcome)
    assert spool.outcome_counts() == dict.fromkeys(FinalOutcome, 0) | {counted: 1}
    assert isinstance(spool.check_quota(quotas, clock.now()), QuotaGranted) == bool(refunded)
    assert charges_left(spool, clock, quotas) == refunded


def test_quota_is_refunded_to_the_window_that_was_charged(spool: Spool, clock: ManualClock) -> None:
    quotas = [quota("a", (Window.MINUTELY, 1))]
    first = clock.now()
    put(spool, clock, quotas, id="x")
    clock.advance(60)
    put(spool, clock, quotas, id="y")
    spool.claim(1)
    spool.complete("x", FinalOutcome.DUPLICATE)
    assert isinstance(spool.check_quota(quotas, first), QuotaGranted)
    assert isinstance(spool.check_quota(quotas, clock.now()), QuotaRefused)


def test_a_row_that_an_operator_dropped_can_still_be_completed(spool: Spool) -> None:
    spool.complete("never-was")
    spool.retry_later("never-was", None, "why")
    spool.bury("never-was", "why")
    spool.release(["never-was"])
    spool.mark_registered("never-was", "image")
    assert spool.outcome_counts() == dict.fromkeys(FinalOutcome, 0)
    with pytest.raises(SpoolBroken, match="gone"):
        spool.read_jpeg("never-was")


def test_after_its_last_attempt_it_is_buried_and_others_are_delivered(
    tmp_path: Path, clock: ManualClock, reports: RecordedReports
) -> None:
    spool = make_spool(tmp_path, clock, report=reports, max_attempts=3)
    spool.open()
    put(spool, clock, id="poison", score=1.0)
    put(spool, clock, id="good")
    for attempt in (1, 2, 3):
        item = spool.claim(1).items[0]
        assert (item.id, item.attempts) == ("poison", attempt)
        spool.retry_later("poison", None, "the sink chokes")
    assert [item.id for item in spool.claim(1).items] == ["good"]
    (buried,) = spool.list_rows(State.BURIED)
    assert buried.id == "poison"
    assert buried.why == "3 attempts failed, the last: the sink chokes"
    assert "spool_buried" in reports.names()
    spool.close()


def test_a_failure_with_another_cause_costs_no_attempt(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="x")
    for tries in range(1, 21):
        (item,) = spool.claim(1).items
        assert (item.attempts, item.tried) == (1, tries)
        spool.retry_later("x", None, "the sink is away", costs_attempt=False)


def test_a_send_that_surely_did_not_arrive_is_not_counted(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="x")
    for attempt in (1, 2, 3):
        (item,) = spool.claim(1).items
        assert (item.attempts, item.tried) == (attempt, 1)
        spool.retry_later("x", None, "refused at the door", arrived=False)
    spool.claim(1)
    spool.complete("x", FinalOutcome.DUPLICATE)
    assert spool.outcome_counts()[FinalOutcome.DUPLICATE] == 1


def test_a_send_during_a_crash_may_have_arrived(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock, id="x")
    spool.claim(1)
    spool.close()  # what the crash of the process leaves behind: a row that is being sent
    spool = make_spool(tmp_path, clock)
    spool.open()
    spool.claim(1)
    spool.retry_later("x", None, "no connection", arrived=False)
    assert spool.claim(1).items[0].tried == 2
    spool.complete("x", FinalOutcome.DUPLICATE)
    assert spool.outcome_counts()[FinalOutcome.DELIVERED] == 1
    spool.close()


def test_sending_the_prediction_has_attempts_of_its_own(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock, max_attempts=2)
    spool.open()
    put(spool, clock, id="x")
    spool.claim(1)
    spool.retry_later("x", None, "once")
    spool.claim(1)
    spool.mark_registered("x", "image-1")
    assert spool.claim(1).items[0].attempts == 1
    spool.retry_later("x", None, "twice")
    assert spool.claim(1).items[0].image_id == "image-1"
    spool.close()


def test_a_released_row_is_as_if_never_claimed(spool: Spool, clock: ManualClock) -> None:
    limits = [Limit(Window.DAILY, 1)]
    put(spool, clock, id="x")
    spool.claim(1, limits)
    spool.release(["x"])
    (item,) = spool.claim(1, limits).items
    assert (item.attempts, item.tried) == (1, 1)


def test_burying_refunds_quota_only_on_request(spool: Spool, clock: ManualClock) -> None:
    quotas = [quota("a", (Window.DAILY, 2))]
    put(spool, clock, quotas, id="x")
    put(spool, clock, quotas, id="y")
    spool.claim(2)
    spool.bury("x", "unknown outcome")
    assert isinstance(put(spool, clock, quotas), NotAccepted)
    spool.bury("y", "refused five times", refund=True)
    assert charges_left(spool, clock, quotas) == 1


# --- the sink's own limits --------------------------------------------------------------------------------------------


def test_claims_never_exceed_the_sinks_limits_and_say_when_to_try_again(spool: Spool, clock: ManualClock) -> None:
    limits = [Limit(Window.MINUTELY, 2), Limit(Window.HOURLY, 3)]
    for _ in range(9):
        put(spool, clock)
    claim = spool.claim(9, limits)
    assert (len(claim.items), claim.wait_until_s) == (2, NOON_S + 60)
    for item in claim.items:
        spool.complete(item.id)
    clock.advance(60)
    claim = spool.claim(9, limits)
    assert (len(claim.items), claim.wait_until_s) == (1, NOON_S + 3600)
    claim = spool.claim(9, limits)
    assert (len(claim.items), claim.wait_until_s) == (0, NOON_S + 3600)


def test_the_sinks_limits_survive_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    limits = [Limit(Window.DAILY, 2)]
    spool = make_spool(tmp_path, clock)
    spool.open()
    for _ in range(4):
        put(spool, clock)
    assert len(spool.claim(9, limits).items) == 2
    spool.close()
    spool = make_spool(tmp_path, clock)
    spool.open()
    assert spool.claim(9, limits).items == ()
    assert spool.counts().ready == 4
    spool.close()


def test_sending_the_prediction_does_not_count_for_the_sinks_limits(spool: Spool, clock: ManualClock) -> None:
    limits = [Limit(Window.DAILY, 1)]
    put(spool, clock, id="x")
    spool.claim(1, limits)
    spool.mark_registered("x", "image-1")
    assert [item.id for item in spool.claim(1, limits).items] == ["x"]


def test_releasing_a_registered_row_refunds_nothing_of_the_sinks_limits(spool: Spool, clock: ManualClock) -> None:
    limits = [Limit(Window.DAILY, 1)]
    put(spool, clock, id="x", score=1.0)
    put(spool, clock, id="y")
    spool.claim(1, limits)
    spool.mark_registered("x", "image-1")
    spool.claim(1, limits)
    spool.release(["x"])
    assert [item.id for item in spool.claim(2, limits).items] == ["x"]


def test_a_retry_may_be_due_before_the_sinks_window_opens(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="registered")
    spool.claim(1)
    spool.mark_registered("registered", "image-1")
    spool.claim(1)
    spool.retry_later("registered", NOON_S + 5, "busy")
    put(spool, clock)
    assert spool.claim(1, [Limit(Window.DAILY, 0)]).wait_until_s == NOON_S + 5


# --- start, stop, crash -----------------------------------------------------------------------------------------------


def test_after_a_start_no_row_is_being_sent(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock, id="first")
    put(spool, clock, id="second")
    spool.claim(2)
    spool.mark_registered("second", "image-2")
    spool.claim(1)
    spool.close()
    spool = make_spool(tmp_path, clock)
    spool.open()
    counts = spool.counts()
    assert (counts.ready, counts.sending, counts.registered) == (1, 0, 1)
    assert [(item.id, item.attempts, item.tried) for item in spool.claim(2).items] == [
        ("second", 2, 3),
        ("first", 2, 2),
    ]
    spool.close()


def test_a_row_that_crashes_the_process_each_time_is_buried(tmp_path: Path, clock: ManualClock) -> None:
    for start in range(3):
        spool = make_spool(tmp_path, clock, max_attempts=3)
        spool.open()
        if start == 0:
            put(spool, clock, id="x")
        assert len(spool.claim(1).items) == 1
        spool.close()  # what the crash of the process leaves behind: a row that is being sent
    spool = make_spool(tmp_path, clock, max_attempts=3)
    spool.open()
    assert spool.claim(1).items == ()
    assert "the program ended" in str(spool.list_rows(State.BURIED)[0].why)
    spool.close()


def test_a_closed_spool_leaves_one_file_and_no_log(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock)
    spool.counts()
    spool.close()
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"spool.db", "spool.db.lock", "spool.db.reserve", "spool.db.reserve-2"}
    with pytest.raises(SpoolBroken, match="closed"):
        put(spool, clock)


def test_methods_fail_before_open(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(SpoolBroken, match="not open"):
        put(make_spool(tmp_path, clock), clock)


@pytest.mark.usefixtures("spool")
def test_a_second_daemon_waits_fifteen_seconds_and_says_so(tmp_path: Path) -> None:
    clock = ManualClock(waiters=1)
    before_s = clock.monotonic()
    with pytest.raises(SpoolInUse, match=rf"spool\.db is in use by process {os.getpid()} \("):
        make_spool(tmp_path, clock).open()
    assert 15 <= clock.monotonic() - before_s <= 16


def test_a_second_daemon_takes_over_when_the_first_ends(tmp_path: Path, clock: ManualClock) -> None:
    first, second = make_spool(tmp_path, clock), make_spool(tmp_path, clock)
    first.open()
    id = accepted(put(first, clock))
    opening = threading.Thread(target=second.open)
    opening.start()
    while clock.waiting() == 0:
        opening.join(0.005)
    first.close()
    clock.advance(1)
    opening.join(10)
    assert [item.id for item in second.claim(1).items] == [id]
    second.close()


def test_a_newer_file_is_refused_and_not_changed(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock)
    spool.close()
    path = tmp_path / "spool.db"
    make_newer(path, 99)
    before = path.read_bytes()
    with pytest.raises(SpoolTooNew, match="format 99"):
        make_spool(tmp_path, clock).open()
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*corrupt*"))


def test_another_programs_database_is_refused_and_not_changed(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(SpoolUnusable, match="no spool of framesift"):
        make_spool(tmp_path, clock).open()
    assert path.read_bytes() == before


def test_the_error_names_a_path_below_a_file(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnusable, match=rf"{tmp_path / 'file'}.*uid {os.geteuid()}"):
        make_spool(tmp_path / "file", clock).open()


def test_the_error_names_the_uid_and_the_folder_without_permission(tmp_path: Path, clock: ManualClock) -> None:
    tmp_path.chmod(0o500)
    as_root = os.geteuid() == 0
    if as_root:  # root may write anywhere: become another user for a moment
        tmp_path.parent.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(SpoolUnusable, match=rf"{tmp_path.name}.*uid {os.geteuid()}|uid {os.geteuid()}"):
            make_spool(tmp_path, clock).open()
    finally:
        if as_root:
            os.seteuid(0)
        tmp_path.chmod(0o700)


def test_a_missing_folder_is_created(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path / "a" / "b", clock)
    spool.open()
    assert accepted(put(spool, clock))
    spool.close()


def test_a_size_too_small_for_anything_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="max_bytes: 1000"):
        make_spool(tmp_path, clock, max_bytes=1000)


def test_threads_that_put_at_the_same_time_each_get_their_own_result(spool: Spool, clock: ManualClock) -> None:
    quotas = [quota("a", (Window.DAILY, 25))]
    answers: list[object] = []

    def collect() -> None:
        answers.extend(put(spool, clock, quotas) for _ in range(10))

    threads = [threading.Thread(target=collect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if isinstance(answer, NotAccepted)]
    assert (len(answers), len(refused), spool.counts().ready) == (40, 15, 25)


def test_a_failed_job_does_not_affect_others_in_its_transaction(spool: Spool, clock: ManualClock) -> None:
    bad = datapoint(clock, what=prediction("car"))
    candidates = [Candidate("any", float("nan"), (), BATCH)]
    # NaN becomes NULL, which is no valid rank: an error of this datapoint only.
    with pytest.raises(sqlite3.IntegrityError):
        spool.put(bad, candidates, [quota("any")])
    assert accepted(put(spool, clock))
    assert spool.counts().ready == 1
    assert spool.health.problem is None


def test_when_full_is_named_as_in_the_settings() -> None:
    assert [str(word) for word in WhenFull] == ["evict_lowest", "evict_oldest", "refuse"]
