"""The platform's limits and batches, sentence by sentence: the windows, what is charged to them and when, refunds, and
the names of batches. Tests of deliberate differences have "ours" in their name."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framesift.datapoint import BatchInterval, batch_name
from framesift.fleet.platform_batches import BatchWatcher, DeviceBatchCounts, WatchedBatch
from framesift.http_client.client import HttpClient
from framesift.limits import Window, window_end, window_start
from framesift.roboflow import RoboflowClient
from framesift.spool import ClaimedDatapoint, FinalOutcome
from registrations import PROJECT, Registrations, at, found, limits, policy, registering
from rigs.platform import KEY, Answer, Fault, Platform

NOON = at("2026-09-10T12:00:00")  # a Thursday
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Australia/Lord_Howe",
    "Africa/Cairo",
]


def offered(here: Registrations, *times_s: float) -> list[str]:
    """The result of one frame at each of these times."""
    said = []
    for wall_s in times_s:
        here.go_to(wall_s)
        said.append(here.offer())
    return said


def claimed(here: Registrations) -> ClaimedDatapoint:
    (item,) = here.spool.claim(1).items
    return item


# The windows


@pytest.mark.parametrize(
    ("kind", "edge"),
    [
        ("minutely", "2026-09-10T12:01:00"),
        ("hourly", "2026-09-10T13:00:00"),
        ("daily", "2026-09-11T00:00:00"),
        ("daily", "2026-10-01T00:00:00"),
        ("daily", "2027-01-01T00:00:00"),
    ],
)
def test_a_window_is_the_calendars_of_utc_and_does_not_slide(tmp_path: Path, kind: str, edge: str) -> None:
    edge_s = at(edge)
    with registering(tmp_path, policy(limits(**{kind: 2})), wall_s=edge_s - 40) as here:
        # The one before the edge makes no room after it smaller, however near it lies.
        times = (edge_s - 40, edge_s - 0.002, edge_s - 0.001, edge_s, edge_s + 0.001, edge_s + 0.002)
        assert offered(here, *times) == ["a", "a", "limit", "a", "a", "limit"]


def test_a_minute_of_the_next_hour_is_another_minute(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(minutely=1)), wall_s=NOON) as here:
        assert offered(here, NOON, NOON + 1, NOON + 3600, NOON + 3601) == ["a", "limit", "a", "limit"]


def test_an_hour_of_the_next_day_is_another_hour(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(hourly=1)), wall_s=NOON) as here:
        assert offered(here, NOON, NOON + 1, NOON + 86400, NOON + 86401) == ["a", "limit", "a", "limit"]


@given(wall_s=st.integers(int(at("2024-01-01T00:00:00")), int(at("2040-01-01T00:00:00"))))
@example(wall_s=int(NOON))
def test_windows_of_utc_are_the_parts_of_the_date(wall_s: int) -> None:
    parts = datetime.fromtimestamp(wall_s, ZoneInfo("UTC"))
    minute, hour, day = (window_start(window, wall_s) for window in Window)
    assert (minute, hour) == (wall_s - parts.second, wall_s - parts.second - 60 * parts.minute)
    assert day == at(f"{parts:%Y-%m-%d}T00:00:00")
    assert [window_end(window, wall_s) for window in Window] == [minute + 60, hour + 3600, day + 86400]


# Refusals and charges


@pytest.mark.parametrize("kind", ["minutely", "hourly", "daily"])
@pytest.mark.parametrize("value", [0, 1, 3])
def test_a_strategy_is_refused_once_its_use_equals_the_value(tmp_path: Path, kind: str, value: int) -> None:
    with registering(tmp_path, policy(limits(**{kind: value})), wall_s=NOON) as here:
        assert offered(here, *[NOON] * (value + 2)) == ["a"] * value + ["limit"] * 2


def test_any_one_of_the_limits_refuses(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(minutely=1, hourly=2, daily=3)), wall_s=NOON) as here:
        minutes = [NOON + 60 * i for i in range(4)]
        assert offered(here, *minutes) == ["a", "a", "limit", "limit"]
        hours = [NOON + 3600, NOON + 3660, NOON + 7200, NOON + 86400]
        assert offered(here, *hours) == ["a", "limit", "limit", "a"]


def test_a_window_that_nothing_was_charged_to_counts_as_zero(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(daily=1)), wall_s=NOON) as here:
        assert here.spool.quota_usage() == ()
        assert here.offer() == "a"


@pytest.mark.parametrize("rule", [{}, limits(daily=5), limits(minutely=5, hourly=5, daily=5)])
def test_a_charge_counts_in_the_minute_the_hour_and_the_day_whatever_limits_there_are(
    tmp_path: Path, rule: dict[str, object]
) -> None:
    with registering(tmp_path, policy(rule), wall_s=NOON) as here:
        assert offered(here, NOON, NOON) == ["a", "a"]
        assert {(one.account, one.window, one.count) for one in here.spool.quota_usage()} == {
            ("a", w, 2) for w in Window
        }


@pytest.mark.parametrize("kind", ["minutely", "hourly", "daily"])
def test_charges_from_before_there_was_a_limit_count(tmp_path: Path, kind: str) -> None:
    with registering(tmp_path, policy({}), wall_s=NOON) as here:
        assert offered(here, *[NOON] * 3) == ["a"] * 3
        here.follow(policy(limits(**{kind: 4})))
        assert offered(here, NOON, NOON) == ["a", "limit"]


def test_a_refused_strategy_is_charged_nowhere(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(minutely=0, daily=1)), wall_s=NOON) as here:
        assert offered(here, NOON, NOON) == ["limit", "limit"]
        here.follow(policy(limits(minutely=1, daily=1)))
        assert here.offer() == "a"


def test_the_first_strategy_with_room_in_all_its_limits_is_charged_and_no_other(tmp_path: Path) -> None:
    rules: tuple[dict[str, Any], ...] = (limits(minutely=1, daily=2), limits(hourly=2), {})
    with registering(tmp_path, policy(*rules), wall_s=NOON) as here:
        times = (NOON, NOON, NOON, NOON, NOON + 60, NOON + 60, NOON + 120)
        assert offered(here, *times) == ["a", "b", "b", "c", "a", "c", "c"]


def test_each_strategy_has_windows_of_its_own(tmp_path: Path) -> None:
    near = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.1, "probability": 1}
    with registering(tmp_path, policy({**near, **limits(daily=1)}, limits(daily=1)), wall_s=NOON) as here:
        assert [here.offer(found(c)) for c in (0.9, 0.9, 0.5, 0.5)] == ["b", "limit", "a", "limit"]


# What is given back


def test_a_duplicate_at_the_first_attempt_is_refunded(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(minutely=1, hourly=1, daily=1)), wall_s=NOON) as here:
        assert offered(here, NOON, NOON) == ["a", "limit"]
        here.spool.complete(claimed(here).id, FinalOutcome.DUPLICATE)
        assert here.spool.quota_usage() == ()
        assert offered(here, NOON, NOON) == ["a", "limit"]


def test_ours_a_refund_goes_to_the_windows_that_were_charged(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(minutely=1)), wall_s=NOON) as here:
        before = here.clock.now()
        assert offered(here, NOON, NOON + 60) == ["a", "a"]
        item = claimed(here)
        assert item.captured_at_s == NOON
        here.spool.complete(item.id, FinalOutcome.DUPLICATE)
        assert here.offer() == "limit"  # the minute of the second frame is as full as it was
        assert here.offer(captured=before) == "a"  # a frame that waited since then finds its own minute


def test_a_second_refund_or_one_without_a_charge_creates_no_extra_quota(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(daily=1)), wall_s=NOON) as here:
        assert here.offer() == "a"
        id = claimed(here).id
        for _ in range(3):
            here.spool.complete(id, FinalOutcome.DUPLICATE)
        here.spool.complete("never there", FinalOutcome.DUPLICATE)
        assert offered(here, NOON, NOON) == ["a", "limit"]


def test_an_image_without_its_annotation_keeps_its_charge(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(daily=1)), wall_s=NOON) as here:
        assert here.offer() == "a"
        here.spool.mark_registered(claimed(here).id, "their-id")
        here.spool.bury(claimed(here).id, "the platform refuses its annotation")
        assert here.offer() == "limit"


def test_ours_an_upload_of_unknown_outcome_keeps_its_charge(tmp_path: Path) -> None:
    with registering(tmp_path, policy(limits(daily=1)), wall_s=NOON) as here:
        assert here.offer() == "a"
        here.spool.retry_later(claimed(here).id, None, "the answer was lost")
        assert here.offer() == "limit"
        here.spool.complete(claimed(here).id, FinalOutcome.DUPLICATE)  # its own, of the attempt before
        assert here.offer() == "limit"
        assert here.spool.outcome_counts()[FinalOutcome.DELIVERED] == 1


# Batches


def batch_of(interval: str, wall_s: float, zone: str) -> str:
    """The documented batch name: the prefix, and the date of today, of this week's Monday, or of the first day of the
    month."""
    if interval == "never":
        return "al"
    today = datetime.fromtimestamp(wall_s, ZoneInfo(zone))
    year, month, day = today.year, today.month, today.day
    if interval == "weekly":
        weekday = calendar.weekday(year, month, day)
        while weekday != calendar.MONDAY:
            weekday -= 1
            day -= 1
            if day == 0:
                year, month = (year, month - 1) if month > 1 else (year - 1, 12)
                day = calendar.monthrange(year, month)[1]
    elif interval == "monthly":
        day = 1
    return f"al_{year:04d}_{month:02d}_{day:02d}"


@given(
    wall_s=st.floats(at("2024-01-01T00:00:00"), at("2040-01-01T00:00:00")),
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(["never", "daily", "weekly", "monthly"]),
)
@example(wall_s=at("2028-02-29T23:59:59.999"), zone="UTC", interval="monthly")
@example(wall_s=at("2027-01-01T00:00:00"), zone="UTC", interval="weekly")
def test_every_batch_has_the_documented_name(wall_s: float, zone: str, interval: str) -> None:
    assert batch_name("al", BatchInterval(interval), wall_s, ZoneInfo(zone)) == batch_of(interval, wall_s, zone)


@pytest.mark.parametrize(
    ("interval", "last", "before", "after"),
    [
        ("never", "2026-12-31", "al", "al"),
        ("daily", "2026-09-10", "al_2026_09_10", "al_2026_09_11"),
        ("daily", "2026-09-30", "al_2026_09_30", "al_2026_10_01"),
        ("daily", "2026-12-31", "al_2026_12_31", "al_2027_01_01"),
        ("daily", "2028-02-28", "al_2028_02_28", "al_2028_02_29"),
        ("daily", "2027-02-28", "al_2027_02_28", "al_2027_03_01"),
        ("weekly", "2026-09-12", "al_2026_09_07", "al_2026_09_07"),  # Saturday
        ("weekly", "2026-09-13", "al_2026_09_07", "al_2026_09_14"),  # Sunday
        ("weekly", "2026-09-30", "al_2026_09_28", "al_2026_09_28"),  # a month ends, the week goes on
        ("weekly", "2026-12-31", "al_2026_12_28", "al_2026_12_28"),  # a year ends, the week goes on
        ("weekly", "2027-01-03", "al_2026_12_28", "al_2027_01_04"),
        ("monthly", "2026-09-13", "al_2026_09_01", "al_2026_09_01"),
        ("monthly", "2026-09-30", "al_2026_09_01", "al_2026_10_01"),
        ("monthly", "2026-12-31", "al_2026_12_01", "al_2027_01_01"),
        ("monthly", "2028-02-29", "al_2028_02_01", "al_2028_03_01"),
    ],
)
def test_a_batch_ends_at_its_zones_midnight(tmp_path: Path, interval: str, last: str, before: str, after: str) -> None:
    next_day = datetime.fromisoformat(last) + timedelta(days=1)
    for zone in ZONES:
        midnight_s = at(next_day.isoformat(), zone)
        for wall_s, name in ((midnight_s - 0.01, before), (midnight_s, after)):
            assert batch_name("al", BatchInterval(interval), wall_s, ZoneInfo(zone)) == name, zone
    # And in one of them all the way, from the policy to the spool.
    zone = ZONES[next_day.toordinal() % len(ZONES)]
    midnight_s = at(next_day.isoformat(), zone)
    rules = policy(batching={"recreation_interval": interval}, time_zone=zone)
    with registering(tmp_path, rules, wall_s=midnight_s - 0.01) as here:
        assert offered(here, midnight_s - 0.01, midnight_s) == ["a", "a"]
        assert here.batches() == [before, after]


def test_ours_days_of_limits_and_of_batches_begin_at_the_same_midnight(tmp_path: Path) -> None:
    rules = policy(limits(daily=1), batching={"recreation_interval": "daily"}, time_zone="Asia/Kolkata")
    midnight_s = at("2026-09-11T00:00:00", "Asia/Kolkata")
    with registering(tmp_path, rules, wall_s=midnight_s - 1) as here:
        assert offered(here, midnight_s - 1, midnight_s - 0.5, midnight_s, midnight_s + 1) == [
            *("a", "limit"),
            *("a", "limit"),
        ]
        assert here.batches() == ["al_2026_09_10", "al_2026_09_11"]


@pytest.fixture
def machine_in_kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone is five and a half hours ahead of UTC."""
    with monkeypatch.context() as within:
        within.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("machine_in_kolkata")
def test_ours_days_are_those_of_utc_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    assert datetime.fromtimestamp(NOON).hour == 17
    rules = policy(limits(daily=1), batching={"recreation_interval": "daily"})
    with registering(tmp_path, rules, wall_s=at("2026-09-10T23:59:59")) as here:
        times = [at("2026-09-10T23:59:59"), at("2026-09-11T00:00:00"), at("2026-09-11T05:30:00")]
        assert offered(here, *times) == ["a", "a", "limit"]
        assert here.batches() == ["al_2026_09_10", "al_2026_09_11"]


def test_a_frame_that_was_captured_before_midnight_is_of_the_batch_and_the_limits_of_that_day(tmp_path: Path) -> None:
    rules = policy(limits(daily=1), batching={"recreation_interval": "daily"})
    with registering(tmp_path, rules, wall_s=at("2026-09-10T23:59:59")) as here:
        captured = here.clock.now()
        here.go_to(at("2026-09-11T00:00:01"))
        assert [here.offer(captured=captured), here.offer(captured=captured), here.offer()] == ["a", "limit", "a"]
        assert here.batches() == ["al_2026_09_10", "al_2026_09_11"]


def test_a_batch_with_max_batch_images_takes_so_many_and_no_more_over_all_strategies(tmp_path: Path) -> None:
    rules = policy(limits(daily=2), {}, batching={"recreation_interval": "daily", "max_batch_images": 3})
    with registering(tmp_path, rules, wall_s=NOON) as here:
        times = [*[NOON] * 4, NOON + 86400]
        assert offered(here, *times) == ["a", "a", "b", "batch_full", "a"]


def test_a_full_batch_stops_before_any_limit_is_charged(tmp_path: Path) -> None:
    with registering(tmp_path, policy(batching={"max_batch_images": 1}), wall_s=NOON) as here:
        assert offered(here, NOON, NOON) == ["a", "batch_full"]
        assert {one.count for one in here.spool.quota_usage()} == {1}


def test_without_max_batch_images_a_batch_takes_any_number(tmp_path: Path) -> None:
    for batching in ({}, {"max_batch_images": None}):
        folder = tmp_path / str(len(batching))
        folder.mkdir()
        with registering(folder, policy(batching=batching), wall_s=NOON) as here:
            assert offered(here, *[NOON] * 20) == ["a"] * 20


# Batches that others fill too: a batch has room while the maximum is more than what the platform counts in it.


def there(name: str, images: int, jobs: int = 0, id: str = "b1") -> dict[str, object]:
    return {"id": id, "name": name, "images": images, "numJobs": jobs}


def job(images: int, of: str = "b1") -> dict[str, object]:
    return {"sourceBatch": of, "numImages": images}


@pytest.mark.parametrize(
    ("batches", "jobs", "room"),
    [
        pytest.param([], [], 3, id="a batch that is not there has room for the maximum"),
        pytest.param([there("al", 0)], [], 3, id="an empty batch has room for the maximum"),
        pytest.param([there("al", 2)], [], 1, id="its images count"),
        pytest.param([there("al", 3)], [], 0, id="a total that equals the maximum is no room"),
        pytest.param([there("al", 9)], [], 0, id="a total over the maximum is no room"),
        pytest.param([there("al", 1, jobs=1)], [job(1)], 1, id="the images of its job count too"),
        pytest.param([there("al", 0, jobs=2)], [job(1), job(1)], 1, id="the images of all its jobs count"),
        pytest.param([there("al", 0, jobs=1)], [job(5, of="b2")], 3, id="the images of other jobs do not"),
        pytest.param([there("al", 1, jobs=0)], [job(5)], 2, id="without jobs nobody asks for them"),
        pytest.param(
            [there("al2", 9), there("AL", 9), there("xal", 9)], [], 3, id="a batch is found by its exact name"
        ),
        pytest.param([there("al", 1), there("al", 9)], [], 2, id="the first of that name is the one"),
        pytest.param([there("al", 1, jobs=1)], [job(9, of="b12")], 2, id="ours: a job is its batch's by the exact id"),
        pytest.param([there("al", 1, jobs=1)], [job(1, of="yard/b1")], 1, id="or by a path that has the id in it"),
    ],
)
def test_a_batch_has_room_while_the_maximum_is_more_than_the_total(
    tmp_path: Path, batches: list[dict[str, object]], jobs: list[dict[str, object]], room: int
) -> None:
    with (
        Platform() as platform,
        registering(tmp_path, policy(batching={"max_batch_images": 3}), wall_s=NOON) as here,
        closing(HttpClient()) as web,
    ):
        platform.add_project(PROJECT)
        platform.orders.add(
            Fault("batches", Answer({"batches": batches})),
            Fault("jobs", Answer({"jobs": jobs})),
        )
        watcher = BatchWatcher(
            RoboflowClient(web, api_key=KEY, api_url=platform.url),
            DeviceBatchCounts(here.spool),
            SimpleNamespace(watched_batches=lambda: [WatchedBatch(None, PROJECT, "al", "al")]),
            here.clock,
            on_problem=lambda trouble: pytest.fail(f"could not ask: {trouble}") if trouble else None,
            on_failure=lambda error: pytest.fail(f"a bug: {error!r}"),
        )
        watcher.refresh_once()
        assert offered(here, *[NOON] * 5) == ["a"] * room + ["batch_full"] * (5 - room)
        wanted_jobs = any(one["name"] == "al" and one["numJobs"] for one in batches[:1])
        assert len(platform.asked("jobs")) == (1 if wanted_jobs else 0)
