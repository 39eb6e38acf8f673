"""Sizes of labelling batches: our deliveries never exceed the policy's maximum, whatever others add or remove, and
whether or not the platform answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clocks import ManualClock
from framesift.fleet.platform_batches import REFRESH_INTERVAL_S, BatchWatcher, DeviceBatchCounts, WatchedBatch
from framesift.http_client.client import HttpClient
from framesift.limits import Quota, QuotaGranted, QuotaRefused
from framesift.roboflow import RoboflowClient
from framesift.spool import Accepted, FinalOutcome, Spool
from framesift.spool import admin as by_hand
from rigs.platform import KEY, WORKSPACE, Answer, Fault, Platform, Status
from rigs.spools import make_spool, put
from rigs.uploads import until

BATCH = "cars_2026_09_10"
WANTED = WatchedBatch(None, "parking", BATCH, f"parking/{BATCH}")


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as platform:
        platform.add_project("parking")
        platform.add_project("yard")
        yield platform


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = make_spool(tmp_path, clock)
    spool.open()
    yield spool
    spool.close()


class Desk:
    def __init__(self, platform: Platform, spool: Spool, clock: ManualClock) -> None:
        self.platform = platform
        self.spool = spool
        self.clock = clock
        self.wanted: list[WatchedBatch] = [WANTED]
        self.problems: list[str | None] = []
        self.failures: list[BaseException] = []
        self.web = HttpClient()
        client = RoboflowClient(self.web, api_key=KEY, api_url=platform.url)
        self.watcher = BatchWatcher(
            client,
            DeviceBatchCounts(spool),
            SimpleNamespace(watched_batches=lambda: self.wanted),
            clock,
            on_problem=self.problems.append,
            on_failure=self.failures.append,
        )

    def accepted(self, most: int, tries: int = 20, key: str = WANTED.spool_key, strategy: str = "any") -> list[str]:
        answers = [put(self.spool, self.clock, [Quota(strategy, (), key, most)]) for _ in range(tries)]
        return [answer.id for answer in answers if isinstance(answer, Accepted)]

    def deliver(self, count: int = 1000) -> int:
        """Uploads everything, as a sink would, and completes it in the spool."""
        items = self.spool.claim(count).items
        for item in items:
            self.platform.add_image("parking", item.id.encode(), BATCH)
            self.spool.complete(item.id)
        return len(items)

    def change(self, by: int, batch: str = BATCH) -> None:
        """Adds images to the batch on the platform, or removes some, as another user."""
        self.platform.set_batch("parking", batch, self.platform.batch("parking", batch).images + by)


@pytest.fixture
def desk(platform: Platform, spool: Spool, clock: ManualClock) -> Iterator[Desk]:
    desk = Desk(platform, spool, clock)
    yield desk
    assert not desk.failures
    desk.web.close()


# --- how many may be accepted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [True, False])
def test_of_twenty_candidates_three_fill_a_batch_of_ten_that_has_seven(desk: Desk, delivered: bool) -> None:
    desk.platform.set_batch("parking", BATCH, 7)
    desk.watcher.refresh_once()
    assert len(desk.accepted(10)) == 3
    if delivered:
        desk.deliver()
    desk.watcher.refresh_once()
    assert desk.accepted(10) == []
    desk.change(-2)
    assert desk.accepted(10) == []
    desk.watcher.refresh_once()
    assert len(desk.accepted(10)) == 2


def test_the_quota_check_uses_the_platforms_answer_too(desk: Desk) -> None:
    q = [Quota("any", (), WANTED.spool_key, 10)]
    desk.platform.set_batch("parking", BATCH, 10)
    assert desk.spool.check_quota(q, desk.clock.now()) == QuotaGranted("any")
    desk.watcher.refresh_once()
    for _ in range(2):  # the second time it is known by heart
        assert desk.spool.check_quota(q, desk.clock.now()) == QuotaRefused(batch_full=True)
    desk.change(-1)
    desk.watcher.refresh_once()
    assert desk.spool.check_quota(q, desk.clock.now()) == QuotaGranted("any")


def test_a_datapoint_that_leaves_between_two_requests_is_counted_once(desk: Desk) -> None:
    desk.platform.set_batch("parking", BATCH, 7)
    desk.watcher.refresh_once()
    assert len(desk.accepted(20, tries=6)) == 6
    desk.deliver(2)
    assert len(desk.accepted(20, tries=2)) == 2
    desk.watcher.refresh_once()
    desk.deliver(3)
    desk.watcher.refresh_once()
    assert len(desk.accepted(20)) == 20 - 7 - 6 - 2


def test_a_datapoint_that_is_delivered_during_the_request_is_not_missed(desk: Desk) -> None:
    desk.watcher.refresh_once()
    assert len(desk.accepted(10, tries=5)) == 5
    mark = desk.spool.batch_left_spool(WANTED.spool_key)
    desk.deliver(5)
    desk.spool.record_batch_size(WANTED.spool_key, 5, mark)  # as asked before the answer came
    assert desk.accepted(10) == []
    desk.watcher.refresh_once()
    assert len(desk.accepted(10)) == 5


def test_a_registered_image_counts_as_arrived(desk: Desk) -> None:
    (id,) = desk.accepted(2, tries=1)
    desk.spool.claim(1)
    desk.platform.add_image("parking", b"ours", BATCH)
    desk.spool.mark_registered(id, "image-1")
    desk.watcher.refresh_once()
    assert len(desk.accepted(2)) == 1


def test_a_dropped_or_evicted_datapoint_counts_until_the_next_request(desk: Desk) -> None:
    gone = desk.accepted(10, tries=4)
    assert by_hand.drop(desk.spool.path, gone) == tuple(gone)
    assert len(desk.accepted(10)) == 6
    desk.deliver()
    desk.watcher.refresh_once()
    assert len(desk.accepted(10)) == 4


def test_a_duplicate_of_anothers_image_counts_once(desk: Desk) -> None:
    desk.platform.set_batch("parking", BATCH, 1)
    desk.watcher.refresh_once()
    (id,) = desk.accepted(2)
    desk.spool.claim(1)
    desk.spool.complete(id, FinalOutcome.DUPLICATE)
    assert len(desk.accepted(2)) == 1


def test_streams_and_strategies_share_the_batch(desk: Desk) -> None:
    desk.platform.set_batch("parking", BATCH, 7)
    desk.watcher.refresh_once()
    assert len(desk.accepted(10, tries=2, strategy="first")) == 2
    assert len(desk.accepted(10, strategy="second")) == 1


def test_a_batch_that_does_not_exist_yet_is_empty(desk: Desk) -> None:
    desk.platform.set_batch("parking", f"{BATCH}_b", 100)
    desk.watcher.refresh_once()
    assert len(desk.accepted(3)) == 3


def test_images_in_jobs_are_in_the_batch(desk: Desk) -> None:
    desk.platform.set_batch("parking", BATCH, 2, jobs=(3, 1))
    desk.platform.set_batch("parking", "other", 0, jobs=(50,))
    desk.watcher.refresh_once()
    assert len(desk.accepted(10)) == 4


def test_jobs_are_only_requested_if_the_batch_has_some(desk: Desk) -> None:
    desk.platform.set_batch("parking", BATCH, 2)
    desk.platform.set_batch("parking", "other", 0, jobs=(50,))
    desk.watcher.refresh_once()
    assert (len(desk.platform.asked("batches")), len(desk.platform.asked("jobs"))) == (1, 0)
    assert desk.platform.asked("batches")[0].path == f"/{WORKSPACE}/parking/batches"


SOURCES = {
    "YYY": True, "XXX/YYY": True, "YYY/XXX": True, "a/YYY/b": True, "b1": False, "YYY2": False, "XYYY": False,
    "XXX/YYY2": False, "XXX-YYY": False, "yyy": False, "": False,
}  # fmt: skip


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize(("source", "is_its"), SOURCES.items())
def test_a_job_is_of_the_batch_whose_id_it_names_alone_or_in_a_path(
    desk: Desk, source: str, is_its: bool, as_list: bool
) -> None:
    batches = [{"id": "YYY", "name": BATCH, "images": 3, "numJobs": 1}]
    sources = [source, source, "b9"] if as_list else source  # which counts once, however often it is named
    desk.platform.orders.add(Fault("batches", Answer({"batches": batches})))
    desk.platform.orders.add(Fault("jobs", Answer({"jobs": [{"sourceBatch": sources, "numImages": 7}]})))
    desk.watcher.refresh_once()
    assert len(desk.accepted(12, tries=10)) == (2 if is_its else 9)


def test_a_batch_whose_id_is_in_anothers_is_another(desk: Desk) -> None:
    batches = [{"id": "b1", "name": BATCH, "images": 1, "numJobs": 1}]
    jobs = [{"sourceBatch": "b1", "numImages": 2}, {"sourceBatch": "b11", "numImages": 50}]
    desk.platform.orders.add(Fault("batches", Answer({"batches": batches})))
    desk.platform.orders.add(Fault("jobs", Answer({"jobs": jobs})))
    desk.watcher.refresh_once()
    assert len(desk.accepted(10)) == 7


def test_batches_of_the_same_name_in_two_projects_are_two(desk: Desk) -> None:
    other = WatchedBatch(WORKSPACE, "yard", BATCH, f"yard/{BATCH}")
    desk.wanted = [WANTED, other]
    desk.platform.set_batch("parking", BATCH, 9)
    desk.platform.set_batch("yard", BATCH, 8)
    desk.watcher.refresh_once()
    assert (len(desk.accepted(10)), len(desk.accepted(10, key=other.spool_key))) == (1, 2)


def test_the_platforms_answer_is_kept_over_a_restart(desk: Desk, tmp_path: Path) -> None:
    desk.platform.set_batch("parking", BATCH, 7)
    desk.watcher.refresh_once()
    desk.spool.close()
    again = make_spool(tmp_path, desk.clock)
    again.open()
    desk.spool = again
    assert len(desk.accepted(10)) == 3
    again.close()


# --- a platform that doesn't answer -----------------------------------------------------------------------------------


def test_while_the_platform_is_away_its_last_answer_stays_valid_and_the_problem_is_reported_once(desk: Desk) -> None:
    desk.platform.set_batch("parking", BATCH, 7)
    assert desk.watcher.refresh_once() == REFRESH_INTERVAL_S
    desk.platform.go_away()
    for _ in range(3):
        assert desk.watcher.refresh_once() == REFRESH_INTERVAL_S
    assert len(desk.accepted(10)) == 3
    assert len(desk.problems) == 1
    assert isinstance(desk.problems[0], str)
    assert KEY not in desk.problems[0]
    desk.platform.come_back()
    desk.watcher.refresh_once()
    assert desk.problems[1:] == [None]


def test_another_reason_is_reported_again(desk: Desk) -> None:
    for status in (500, 500, 401):
        desk.platform.orders.add(Fault("batches", Status(status)))
        desk.watcher.refresh_once()
    assert len(desk.problems) == 2


def test_a_platform_that_asks_for_more_time_gets_it(desk: Desk) -> None:
    desk.platform.orders.add(Fault("batches", Status(429, {"Retry-After": "500"})))
    assert desk.watcher.refresh_once() == 500.0
    assert desk.watcher.refresh_once() == REFRESH_INTERVAL_S


def test_a_project_whose_request_fails_does_not_hide_another(desk: Desk) -> None:
    desk.wanted = [WatchedBatch(None, "nowhere", BATCH, f"nowhere/{BATCH}"), WANTED]
    desk.platform.set_batch("parking", BATCH, 9)
    desk.watcher.refresh_once()
    assert len(desk.accepted(10)) == 1
    assert "nowhere" in str(desk.problems)


def test_without_watched_batches_the_platform_is_not_asked(desk: Desk) -> None:
    desk.wanted = []
    assert desk.watcher.refresh_once() == REFRESH_INTERVAL_S
    assert desk.platform.requests == ()


# --- the thread -------------------------------------------------------------------------------------------------------


def test_it_refreshes_at_once_and_then_once_a_minute(desk: Desk) -> None:
    desk.watcher.task.start()
    assert desk.platform.until(lambda: len(desk.platform.asked("batches")) == 1)
    for looks in (1, 2):
        for _ in range(2):
            until(lambda: desk.clock.waiting() == 1 and desk.watcher.task.idle_s() == 0.0)
            desk.clock.advance(20.0)
        until(lambda: desk.clock.waiting() == 1 and desk.watcher.task.idle_s() == 0.0)
        assert len(desk.platform.asked("batches")) == looks
        desk.clock.advance(20.0)

        def asked(times: int = looks + 1) -> bool:
            return len(desk.platform.asked("batches")) == times

        assert desk.platform.until(asked)
    assert desk.watcher.task.stop(30)
    assert len(desk.platform.asked("workspace")) == 1


@pytest.mark.parametrize("away", [False, True])
def test_the_first_run_can_be_waited_for_and_ends_even_if_the_platform_is_away(desk: Desk, away: bool) -> None:
    if away:
        desk.platform.go_away()
    assert not desk.watcher.task.wait_for_first_run(0.0)
    desk.watcher.task.start()
    until(lambda: desk.watcher.task.wait_for_first_run(0.0))
    assert len(desk.platform.asked("batches")) == (0 if away else 1)
    assert desk.watcher.task.stop(30)


def test_it_refreshes_at_once_when_woken(desk: Desk) -> None:
    desk.wanted = []
    desk.watcher.task.start()
    until(lambda: desk.clock.waiting() == 1)
    desk.wanted = [WANTED]
    desk.watcher.task.wake()
    assert desk.platform.until(lambda: len(desk.platform.asked("batches")) == 1)
    assert desk.watcher.task.stop(30)


def test_it_waits_as_long_as_the_platform_asked(desk: Desk) -> None:
    desk.platform.orders.add(Fault("batches", Status(429, {"Retry-After": "30"})))
    desk.watcher.task.start()
    assert desk.platform.until(lambda: len(desk.platform.asked("batches")) == 1)
    until(lambda: desk.clock.waiting() == 1)
    desk.watcher.task.wake()
    for passing_s in (20.0, 10.0):  # it waits 20 s at a time
        until(lambda: desk.clock.waiting() == 1 and desk.watcher.task.idle_s() == 0.0)
        assert len(desk.platform.asked("batches")) == 1
        desk.clock.advance(passing_s)
    assert desk.platform.until(lambda: len(desk.platform.asked("batches")) == 2)
    assert desk.watcher.task.stop(30)


def test_a_key_that_is_refused_is_tried_every_five_minutes_and_when_woken(desk: Desk) -> None:
    desk.platform.orders.add(Fault("any", Status(401), times=None))
    assert 240.0 <= desk.watcher.refresh_once() <= 300.0
    desk.watcher.task.start()
    until(lambda: desk.clock.waiting() == 1)
    assert "401" in str(desk.problems[-1])
    desk.platform.orders.clear()
    desk.watcher.task.wake()
    assert desk.platform.until(lambda: len(desk.platform.asked("batches")) == 1)
    assert desk.watcher.task.stop(30)
    assert desk.problems[-1] is None


def test_an_unexpected_error_is_reported(desk: Desk) -> None:
    def broken() -> list[WatchedBatch]:
        raise ZeroDivisionError("a bug")

    failures: list[BaseException] = []
    client = RoboflowClient(desk.web, api_key=KEY, api_url=desk.platform.url)
    watcher = BatchWatcher(
        client,
        DeviceBatchCounts(desk.spool),
        SimpleNamespace(watched_batches=broken),
        desk.clock,
        on_problem=desk.problems.append,
        on_failure=failures.append,
    )
    watcher.task.start()
    assert watcher.task.stop(30)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
