"""The command line's operations on the spool, in a process of its own, while a daemon runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.datapoint import Candidate
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, Window
from framesift.spool import Accepted, FinalOutcome, Spool, SpoolUnusable, State, admin
from rigs.spools import accepted, datapoint, make_spool, put, quota


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = make_spool(tmp_path, clock)
    spool.open()
    yield spool
    spool.close()


def buried(spool: Spool, clock: ManualClock, id: str, refund: bool = False) -> None:
    put(spool, clock, [quota("a", (Window.DAILY, 2))], id=id, score=9.0)
    spool.claim(1)
    spool.bury(id, "the sink chokes", refund=refund)


def test_rows_are_listed_oldest_first_by_state(spool: Spool, clock: ManualClock) -> None:
    buried(spool, clock, "a")
    put(spool, clock, id="b")
    put(spool, clock, id="c")
    assert [row.id for row in admin.list_rows(spool.path)] == ["a", "b", "c"]
    assert [row.id for row in admin.list_rows(spool.path, State.READY, 1)] == ["b"]
    (row,) = admin.list_rows(spool.path, State.BURIED)
    assert (row.why, row.attempts, row.stream, row.strategy) == ("the sink chokes", 1, "gate", "a")


def test_a_datapoint_is_shown_with_its_prediction(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="a", tags=("x",))
    shown = admin.show(spool.path, "a")
    assert shown is not None
    assert (shown.row.tags, '"class":"car"' in str(shown.prediction)) == (("x",), True)
    assert admin.show(spool.path, "nobody") is None


def test_a_retried_row_has_all_its_attempts_again(spool: Spool, clock: ManualClock) -> None:
    buried(spool, clock, "a")
    put(spool, clock, id="waits")
    spool.claim(1)
    spool.retry_later("waits", clock.now().wall_s + 3600, "busy")
    assert admin.retry(spool.path, ["a", "waits", "nobody"], clock.now()) == ("a", "waits")
    assert {(item.id, item.attempts) for item in spool.claim(5).items} == {("a", 1), ("waits", 1)}


def test_without_ids_all_buried_rows_are_meant(spool: Spool, clock: ManualClock) -> None:
    buried(spool, clock, "a")
    buried(spool, clock, "b")
    put(spool, clock, id="ready")
    assert admin.drop(spool.path, None) == ("a", "b")
    assert [row.id for row in spool.list_rows()] == ["ready"]
    assert spool.outcome_counts()[FinalOutcome.DROPPED] == 2


def test_a_retried_row_whose_quota_was_refunded_is_charged_again(spool: Spool, clock: ManualClock) -> None:
    quotas = [quota("a", (Window.DAILY, 2))]
    buried(spool, clock, "a", refund=True)
    admin.retry(spool.path, None, clock.now())
    assert [item.id for item in spool.claim(1).items] == ["a"]
    assert isinstance(put(spool, clock, quotas), Accepted)
    assert not isinstance(put(spool, clock, quotas), Accepted)


def test_quota_granted_by_an_operator_is_charged_to_the_same_account_and_batch(
    spool: Spool, clock: ManualClock
) -> None:
    quotas = [Quota("a", (Limit(Window.DAILY, 1),), "cars/batch", 2, scope="yard")]
    candidates = [Candidate("a", None, (), "batch", project="cars")]
    answer = spool.put(datapoint(clock), candidates, quotas)
    (item,) = spool.claim(1).items
    assert (item.project, item.batch) == ("cars", "batch")
    spool.bury(accepted(answer), "refused", refund=True)
    assert isinstance(spool.check_quota(quotas, clock.now()), QuotaGranted)
    admin.retry(spool.path, None, clock.now())
    assert spool.check_quota(quotas, clock.now()) == QuotaRefused(batch_full=False)
    full = [Quota("other", (), "cars/batch", 1, scope="yard")]
    assert spool.check_quota(full, clock.now()) == QuotaRefused(batch_full=True)


def test_a_row_that_is_being_sent_is_not_changed(spool: Spool, clock: ManualClock) -> None:
    put(spool, clock, id="a")
    spool.claim(1)
    assert admin.drop(spool.path, ["a"]) == ()
    assert admin.retry(spool.path, ["a"], clock.now()) == ()
    assert spool.counts().sending == 1


def test_it_works_without_a_daemon(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock, id="a")
    spool.close()
    assert admin.counts(spool.path, 2**20).ready == 1
    assert admin.drop(spool.path, ["a"]) == ("a",)
    assert admin.outcome_counts(spool.path)[FinalOutcome.DROPPED] == 1


def test_a_missing_spool_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match="there is no spool"):
        admin.list_rows(tmp_path / "none.db")
    assert not list(tmp_path.iterdir())
