"""What the network, the platform and the power do to a delivery, one scenario each: nothing is lost, doubled or left
without its annotation, and no credit is spent twice.

Most run the spool, the workers and the sink against the stand-in for the platform, on a clock that jumps ahead whenever
everybody waits; some a whole process. Times of requests are the clock's.
"""

from __future__ import annotations

import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests

import canaries
from clocks import ManualClock
from deliveries import delivery, detected, detection, jpeg
from exhaustive import some_of
from framesift.datapoint import Candidate, Datapoint
from framesift.http_client.client import HttpClient
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, Window
from framesift.roboflow import RoboflowClient
from framesift.sinks import FailureScope, RetryLater
from framesift.sinks.roboflow import RoboflowSink, RoboflowSinkSettings
from framesift.spool import FinalOutcome, Spool, State
from framesift.upload.uploader import DeliveryAttempt, SinkProblem, Uploader
from rigs.daemon import POLICY, Daemon, framesift, write_configuration
from rigs.drawn_clips import clip, shape
from rigs.platform import (
    KEY,
    Answer,
    BadJson,
    Cut,
    Delay,
    Fault,
    Html,
    Oversized,
    Platform,
    Received,
    Redirect,
    Status,
    Trickle,
)
from rigs.spools import make_spool

PROJECT = "parking"
UNLIMITED = Quota("all", (), "batch")


def a_day(images: int) -> Quota:
    return Quota("all", (Limit(Window.DAILY, images),), "batch")


ONE_A_DAY = a_day(1)

LOST_AFTER_STORING = [
    Cut(stored=True),
    Cut(stored=True, reset=True),
    Cut(stored=True, sent=0.5),
    BadJson(stored=True),
    Html(stored=True),
    Oversized(stored=True),
    Answer({}, stored=True),
    Answer({"success": True}, stored=True),
    Status(502, stored=True),
    Status(504, body="<h1>Gateway time-out</h1>", stored=True),
]


def picture(number: int) -> bytes:
    """No two are equal; what follows a JPEG's end is nobody's business."""
    return jpeg(100) + number.to_bytes(4, "big")


class Sidecar:
    """A spool, workers, the sink, and all that they said."""

    def __init__(self, folder: Path, platform: Platform, clock: ManualClock, workers: int) -> None:
        self.clock = clock
        self.platform = platform
        self.attempts: list[DeliveryAttempt] = []
        self.pauses: list[SinkProblem | None] = []
        self.failures: list[BaseException] = []
        self.spool: Spool = make_spool(folder, clock)
        self.spool.open()
        self._changed = threading.Condition()
        self._web = HttpClient()
        client = RoboflowClient(self._web, api_key=KEY, api_url=platform.url)
        self.sink = RoboflowSink(RoboflowSinkSettings(type="roboflow", project=PROJECT), platform=client)
        self.uploader = Uploader(
            self.spool,
            self.sink,
            workers=workers,
            sink_limits=(),
            clock=clock,
            rng=random.Random(5),
            observer=self,
            on_failure=lambda error: self._tell(self.failures, error),
        )

    def delivery_attempted(self, attempt: DeliveryAttempt, /) -> None:
        self._tell(self.attempts, attempt)

    def sink_changed(self, problem: SinkProblem | None, /) -> None:
        self._tell(self.pauses, problem)

    def put(self, number: int, quota: Quota = UNLIMITED) -> None:
        datapoint = Datapoint(
            id=f"{number:032x}",
            device="gate-7",
            stream="north",
            frame_number=number,
            captured=self.clock.now(),
            width=200,
            height=100,
            jpeg=picture(number),
            prediction=detected(detection("car", x=10.0 + number % 100)),
        )
        self.spool.put(datapoint, [Candidate("all", None, ("gate-7",), quota.batch)], [quota])
        self.uploader.wake()

    def until(self, condition: Callable[[], bool], within_s: float = 60.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.failures) or condition(), within_s), "it took too long"
        assert not self.failures

    def until_drained(self) -> None:
        for _ in range(1200):  # the last outcome is noted a moment after it was told
            assert not self.failures
            if self.uploader.is_drained():
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"it took too long; {self.attempts[-3:]}")

    def exits(self) -> dict[FinalOutcome, int]:
        return {exit: number for exit, number in self.spool.outcome_counts().items() if number}

    def close(self) -> None:
        assert self.uploader.stop(30)
        self.spool.close()
        self._web.close()

    def _tell(self, told: list[Any], what: object) -> None:
        with self._changed:
            told.append(what)
            self._changed.notify_all()


@dataclass(frozen=True)
class Asked:
    at_s: float  # of the clock
    what: Received


@contextmanager
def sidecar(folder: Path, *, workers: int = 1, others: int = 0) -> Iterator[tuple[Sidecar, list[Asked]]]:
    """others: how many threads beside the workers wait with the clock."""
    clock = ManualClock(waiters=workers + others)
    asked: list[Asked] = []
    with Platform(heard=lambda what: asked.append(Asked(clock.now().wall_s, what))) as platform:
        platform.add_project(PROJECT)
        rig = Sidecar(folder, platform, clock, workers)
        try:
            yield rig, asked
        finally:
            rig.close()


def assert_all_there_and_annotated_once(platform: Platform, numbers: range) -> None:
    assert sorted(image.jpeg for image in platform.images) == sorted(picture(number) for number in numbers)
    assert Counter(a.image_id for a in platform.annotations) == Counter(image.id for image in platform.images)


# --- an answer that doesn't come, or is none --------------------------------------------------------------------------


@pytest.mark.parametrize("action", LOST_AFTER_STORING, ids=repr)
def test_an_answer_that_is_lost_after_storing_costs_no_second_charge_and_no_annotation(
    tmp_path: Path, action: Any
) -> None:
    with sidecar(tmp_path) as (rig, _):
        rig.platform.orders.add(Fault("upload", action))
        rig.put(0, ONE_A_DAY)
        rig.uploader.start()
        rig.until_drained()
        assert_all_there_and_annotated_once(rig.platform, range(1))
        (image,) = rig.platform.images
        assert image.uploads == 2
        assert rig.exits() == {FinalOutcome.DELIVERED: 1}
        assert isinstance(
            rig.spool.check_quota([ONE_A_DAY], rig.clock.now()), QuotaRefused
        )  # the credit is spent, as it should


@pytest.mark.parametrize("action", [Cut(stored=True), BadJson(stored=True), Status(500, stored=True)], ids=repr)
def test_an_annotation_whose_answer_is_lost_is_found_to_be_there(tmp_path: Path, action: Any) -> None:
    with sidecar(tmp_path) as (rig, asked):
        rig.platform.orders.add(Fault("annotate", action))
        rig.put(0)
        rig.uploader.start()
        rig.until_drained()
        assert_all_there_and_annotated_once(rig.platform, range(1))
        assert [a.what.status for a in asked if a.what.call == "annotate"][-1] == 409
        assert rig.exits() == {FinalOutcome.DELIVERED: 1}


def test_the_same_name_is_sent_again_after_a_lost_answer(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, _):
        rig.platform.orders.add(Fault("upload", Cut()), Fault("upload", Cut()))
        rig.put(0)
        rig.uploader.start()
        rig.until_drained()
        (image,) = rig.platform.images
        assert image.name.startswith("gate-7_north_20260910T120000000_")
        assert rig.platform.annotations[0].name == image.name.replace(".jpg", ".json")


def test_an_annotation_that_is_not_found_five_times_is_sent_a_sixth_time_and_the_image_once(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, asked):
        rig.platform.orders.add(Fault("annotate", Status(404), times=5))
        rig.put(0)
        rig.uploader.start()
        rig.until_drained()
        assert Counter(a.what.call for a in asked) == {"upload": 1, "annotate": 6}
        assert_all_there_and_annotated_once(rig.platform, range(1))
        assert rig.exits() == {FinalOutcome.DELIVERED: 1}


def test_an_image_that_is_not_found_for_half_an_hour_still_gets_its_annotation(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, asked):
        rig.platform.orders.add(Fault("annotate", Status(404), times=None))
        rig.put(0)
        rig.uploader.start()
        rig.until(lambda: bool(asked) and asked[-1].at_s - asked[0].at_s > 1800.0)
        rig.platform.orders.clear()
        rig.until_drained()
        assert_all_there_and_annotated_once(rig.platform, range(1))


@pytest.mark.parametrize(
    "action",
    some_of(
        [Status(500), Status(503), Cut(), Cut(stored=True), Html(), Status(404)],
        lambda action: action == Cut(stored=True),
    ),
    ids=repr,
)
def test_where_half_of_all_annotations_fail_no_image_is_left_without_its_own(tmp_path: Path, action: Any) -> None:
    with sidecar(tmp_path) as (rig, asked):  # one worker: so that the same half fails each time
        rig.platform.orders.add(Fault("annotate", action, times=None, share=0.5))
        for number in range(40):
            rig.put(number)
        rig.uploader.start()
        rig.until_drained()
        assert sum(a.what.call == "annotate" for a in asked) > 60
        assert_all_there_and_annotated_once(rig.platform, range(40))
        assert {image.uploads for image in rig.platform.images} == {1}
        assert rig.exits() == {FinalOutcome.DELIVERED: 40}


def test_an_answer_that_trickles_or_never_comes_ends_with_the_time_for_it(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, _):
        slow: list[Trickle | Delay] = [Trickle(10.0), Delay(60.0)]
        for number, action in enumerate(slow):
            rig.platform.orders.add(Fault("upload", action))
            began_s = time.monotonic()
            outcome = rig.sink.deliver(delivery(number), now_s=rig.clock.now().wall_s, within_s=1.0)
            assert 0.9 < time.monotonic() - began_s < 5.0
            assert isinstance(outcome, RetryLater)
            assert (outcome.scope, outcome.may_have_arrived) == (FailureScope.SINK, True)


# --- an outage --------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_an_outage_of_30_s_at_5_datapoints_a_second_costs_nothing(tmp_path: Path) -> None:
    with sidecar(tmp_path, workers=2, others=1) as (rig, asked):
        ended = threading.Event()

        def camera() -> None:
            for number in range(300):
                if number == 100:
                    rig.platform.go_away()
                if number == 250:
                    rig.platform.come_back()
                rig.put(number)
                rig.clock.wait(ended, 0.2)
            while not ended.is_set():
                rig.clock.wait(ended, 20.0)

        rig.uploader.start()
        thread = threading.Thread(target=camera)
        began_s = rig.clock.now().wall_s
        thread.start()
        try:
            rig.until(lambda: sum(1 for a in rig.attempts) >= 600)
            rig.until_drained()
        finally:
            ended.set()
            thread.join()
        assert_all_there_and_annotated_once(rig.platform, range(300))
        assert rig.exits() == {FinalOutcome.DELIVERED: 300}
        paused, over = rig.pauses[0], rig.pauses[-1]
        assert paused is not None
        assert over is None
        assert asked[-1].at_s - began_s < 120.0


@pytest.mark.exhaustive  # with a sink that is no platform: tests/upload/test_outages.py
def test_an_outage_of_a_day_buries_nothing(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, asked):
        for number in range(5):
            rig.put(number)
        rig.platform.go_away()
        began_s = rig.clock.now().wall_s
        rig.uploader.start()
        rig.until(lambda: rig.clock.now().wall_s - began_s > 86_400.0)
        rig.platform.come_back()
        rig.until_drained()
        assert_all_there_and_annotated_once(rig.platform, range(5))
        assert len(asked) == 10


@pytest.mark.parametrize(
    "action",
    some_of(
        [
            Status(500),
            Status(503),
            Html(),
            Redirect("http://127.0.0.1:9/login"),
            Answer({}),
            Cut(),
            Oversized(stored=False),
        ],
        lambda action: action == Html(),
    ),
    ids=repr,
)
def test_whatever_answers_in_the_platforms_place_for_an_hour_is_not_taken_for_success(
    tmp_path: Path, action: Any
) -> None:
    with sidecar(tmp_path) as (rig, asked):
        rig.platform.orders.add(Fault("any", action, times=None))
        for number in range(3):
            rig.put(number)
        began_s = rig.clock.now().wall_s
        rig.uploader.start()
        rig.until(lambda: rig.clock.now().wall_s - began_s > 3600.0)
        assert not rig.exits()
        assert len(asked) < 200
        rig.platform.orders.clear()
        rig.until_drained()
        assert_all_there_and_annotated_once(rig.platform, range(3))
        assert rig.exits() == {FinalOutcome.DELIVERED: 3}


EVERY_FAILURE = [
    *LOST_AFTER_STORING,
    *(Status(code) for code in (400, 401, 402, 404, 422, 500, 503)),
    Status(429, {"Retry-After": "3"}),
    Cut(),
    Html(),
    Answer({}),
    Redirect("http://127.0.0.1:9/login"),
]


@pytest.mark.parametrize("seed", some_of(range(3), lambda seed: seed == 0))
def test_any_mixture_of_failures_ends_with_everything_there_and_annotated_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with sidecar(tmp_path) as (rig, asked):  # one worker: so that the draws are the same each time
        for action in EVERY_FAILURE:
            for call in ("upload", "annotate"):
                rig.platform.orders.add(Fault(call, action, times=None, share=chance.choice([0.01, 0.02, 0.05])))  # type: ignore[arg-type]  # a call
        for number in range(60):
            rig.put(number, a_day(1000))
        rig.uploader.start()
        rig.until_drained()
        assert len(asked) > 140
        assert_all_there_and_annotated_once(rig.platform, range(60))
        assert rig.exits() == {FinalOutcome.DELIVERED: 60}
        # Each has cost one credit, however often it was sent.
        assert isinstance(rig.spool.check_quota([a_day(60)], rig.clock.now()), QuotaRefused)
        assert isinstance(rig.spool.check_quota([a_day(61)], rig.clock.now()), QuotaGranted)


def test_a_redirect_takes_the_key_nowhere(tmp_path: Path) -> None:
    with Platform() as elsewhere, sidecar(tmp_path) as (rig, _):
        elsewhere.add_project(PROJECT)
        rig.platform.orders.add(*(Fault("any", Redirect(f"{elsewhere.url}/", code)) for code in (301, 302, 307, 308)))
        rig.put(0)
        rig.uploader.start()
        rig.until_drained()
        assert not elsewhere.requests
        assert_all_there_and_annotated_once(rig.platform, range(1))


# --- too many requests ------------------------------------------------------------------------------------------------

EXACTLY = 1.1  # times what was asked for: devices shouldn't come back in the same instant
RETRY_AFTER = {
    "seconds": ("7", 7.0, 7.0 * EXACTLY),
    "fractions": ("1.5", 1.5, 1.5 * EXACTLY),
    "a date": (lambda: formatdate(time.time() + 120.0, usegmt=True), 118.0, 121.0 * EXACTLY),
    "a past date": ("Wed, 21 Oct 2015 07:28:00 GMT", 1.0, EXACTLY),
    "garbage": ("soon", 1.0, 300.0),
    "nothing in it": ("", 1.0, 300.0),
    "huge": ("99999999999999999999", 3600.0, 3600.0 * EXACTLY),
    "negative": ("-5", 1.0, EXACTLY),
}


@pytest.mark.parametrize(("header", "least_s", "most_s"), RETRY_AFTER.values(), ids=RETRY_AFTER.keys())
def test_retry_after_holds_for_everything_that_goes_to_the_platform(
    tmp_path: Path, header: str | Callable[[], str], least_s: float, most_s: float
) -> None:
    with sidecar(tmp_path) as (rig, asked):
        value = header if isinstance(header, str) else header()
        rig.platform.orders.add(Fault("upload", Status(429, {"Retry-After": value})))
        for number in range(3):
            rig.put(number)
        rig.uploader.start()
        rig.until_drained()
        assert asked[0].what.status == 429
        assert least_s <= asked[1].at_s - asked[0].at_s <= most_s + 0.5
        assert_all_there_and_annotated_once(rig.platform, range(3))
        assert max(attempt.item.attempts for attempt in rig.attempts) == 1  # it costs no attempt


# --- the key ----------------------------------------------------------------------------------------------------------


def test_a_revoked_key_pauses_everything_and_a_restored_one_goes_on(tmp_path: Path) -> None:
    with sidecar(tmp_path, workers=2) as (rig, asked):
        rig.platform.revoke_key()
        for number in range(5):
            rig.put(number)
        began_s = rig.clock.now().wall_s
        rig.uploader.start()
        rig.until(lambda: rig.clock.now().wall_s - began_s > 86_400.0)
        (paused,) = rig.pauses
        assert paused is not None
        assert "key" in paused.why
        refused = [a.at_s for a in asked]
        assert 86_400 / 300 <= len(refused) <= 86_400 / 270 + 4
        assert not rig.exits()
        rig.platform.restore_key()
        rig.until_drained()
        assert_all_there_and_annotated_once(rig.platform, range(5))
        assert max(attempt.item.attempts for attempt in rig.attempts) == 1
        assert rig.pauses[-1] is None


def test_a_reload_asks_at_once_whether_the_key_is_accepted_now(tmp_path: Path) -> None:
    clock = ManualClock()  # stands still: only the reload can make it ask
    with Platform() as platform:
        platform.add_project(PROJECT)
        platform.revoke_key()
        rig = Sidecar(tmp_path, platform, clock, 1)
        rig.put(0)
        rig.uploader.start()
        rig.until(lambda: bool(rig.pauses))
        platform.restore_key()
        rig.uploader.probe_now()
        rig.until_drained()
        assert_all_there_and_annotated_once(platform, range(1))
        rig.close()


# --- images that are there already ------------------------------------------------------------------------------------


def test_somebody_elses_image_refunds_the_quota_and_gets_no_annotation(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, _):
        theirs = rig.platform.add_image(PROJECT, picture(0))
        rig.put(0, ONE_A_DAY)
        assert isinstance(rig.spool.check_quota([ONE_A_DAY], rig.clock.now()), QuotaRefused)
        rig.uploader.start()
        rig.until_drained()
        assert rig.exits() == {FinalOutcome.DUPLICATE: 1}
        assert rig.platform.images[0].uploads == 1
        assert not rig.platform.annotations_of(theirs.id)
        assert rig.uploader.stop(30)  # a refusal that is known is forgotten a moment after the refund is on the disk
        assert isinstance(rig.spool.check_quota([ONE_A_DAY], rig.clock.now()), QuotaGranted)


def test_a_duplicate_after_nothing_ever_arrived_is_somebody_elses(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, _):
        rig.platform.add_image(PROJECT, picture(0))
        rig.platform.go_away()
        rig.put(0)
        rig.uploader.start()
        rig.until(lambda: len(rig.attempts) >= 3)
        rig.platform.come_back()
        rig.until_drained()
        assert rig.exits() == {FinalOutcome.DUPLICATE: 1}
        assert not rig.platform.annotations


# --- the item's own fault ---------------------------------------------------------------------------------------------


def test_what_the_platform_refuses_is_tried_for_an_hour_and_then_buried_with_its_quota_refunded(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, asked):
        rig.platform.orders.add(Fault("upload", Status(422), times=4))
        rig.put(0, ONE_A_DAY)
        rig.uploader.start()
        rig.until_drained()
        (buried,) = rig.spool.list_rows(State.BURIED)
        assert buried.why is not None
        assert "422" in buried.why
        assert 1800.0 < asked[-1].at_s - asked[0].at_s < 7200.0
        assert isinstance(rig.spool.check_quota([ONE_A_DAY], rig.clock.now()), QuotaGranted)


def test_one_that_is_refused_holds_up_nobody(tmp_path: Path) -> None:
    with sidecar(tmp_path) as (rig, asked):
        rig.platform.orders.add(Fault("upload", Status(500), times=1))
        for number in range(10):
            rig.put(number)
        rig.uploader.start()
        rig.until_drained()
        assert_all_there_and_annotated_once(rig.platform, range(10))
        assert asked[-1].at_s - asked[0].at_s < 60.0


# --- whole processes --------------------------------------------------------------------------------------------------


def configure(folder: Path, platform: Platform, frames: int = 3, status: Any = None, **policy: Any) -> None:
    platform.add_project(PROJECT)
    clip(folder / "clip.mkv", [shape("box", 320, 240, n) for n in range(frames)])
    (folder / "mine.py").write_text(
        "def make():\n"
        "    box = {'x': 9, 'y': 9, 'width': 4, 'height': 4, 'class': 'ramp', 'confidence': 0.5}\n"
        "    return lambda p: {'image': {'width': p.shape[1], 'height': p.shape[0]}, 'predictions': [box]}\n"
    )
    settings = {
        "streams": [{"name": "gate", "source": "clip.mkv", "tags": ["north"]}],
        "model": {"type": "python", "factory": "mine:make", "path": "."},
        "status": status or {"bind": None},
        **platform.settings(PROJECT),
    }
    write_configuration(folder, settings, {**POLICY, **policy})


def annotated_once(platform: Platform) -> bool:
    of_images = Counter(annotation.image_id for annotation in platform.annotations)
    return bool(platform.images) and of_images == Counter(image.id for image in platform.images)


@pytest.mark.parametrize(
    ("call", "stored"),
    [
        pytest.param("upload", True, id="the image is there, and nobody knows"),
        pytest.param("annotate", False, id="between the image and its annotation"),
    ],
)
def test_killed_in_either_step_it_goes_on_where_it_was(tmp_path: Path, call: Any, stored: bool) -> None:
    with Platform() as platform:
        configure(tmp_path, platform)
        platform.orders.add(Fault(call, Delay(600.0, stored=stored), times=None))
        with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
            daemon.wait_for("ready")
            assert platform.until(lambda: bool(stored_by(platform, call) if stored else platform.asked(call)))
            assert daemon.until(lambda: waiting(tmp_path) == 3, 20.0)
            daemon.kill()
        in_second_step = {asked.path.rpartition("/")[2] for asked in platform.asked("annotate")}
        platform.orders.clear()
        done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY, ACTIVE_LEARNING_ENABLED="false")
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(platform.images) == 3
        assert annotated_once(platform)
        if call == "annotate":  # the first step is not repeated, of those that were beyond it
            assert {image.uploads for image in platform.images if image.id in in_second_step} == {1}


def stored_by(platform: Platform, call: str) -> tuple[object, ...]:
    return platform.images if call == "upload" else platform.annotations


def waiting(folder: Path) -> int:
    """How many datapoints are in the spool of a running daemon."""
    with closing(sqlite3.connect(f"file:{folder / 'spool.db'}?mode=ro", uri=True)) as spool:
        return int(spool.execute("SELECT count(*) FROM datapoint").fetchone()[0])


def test_a_platform_that_is_away_at_the_start_gets_everything_when_it_is_there(tmp_path: Path) -> None:
    with Platform() as platform:
        configure(tmp_path, platform)
        platform.go_away()
        with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
            daemon.wait_for("ready", timeout_s=15.0)
            assert daemon.until(lambda: waiting(tmp_path) == 3, 20.0)
            platform.come_back()
            assert daemon.wait(30.0) == 0
        assert len(platform.images) == 3
        assert annotated_once(platform)


def test_whatever_fails_the_key_is_on_no_page_and_in_no_line(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    with Platform() as platform:
        configure(tmp_path, platform, status={"bind": bind})
        platform.revoke_key()
        with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:  # looks through its own lines and processes
            daemon.wait_for("not_delivered")
            pages = [requests.get(f"http://{bind}{path}", timeout=20).text for path in ("/", "/status", "/metrics")]
            checked = framesift(tmp_path, "check", ROBOFLOW_API_KEY=KEY)
            assert daemon.stop() == 0
        assert "401" in checked.stdout
        assert "401" in pages[1]
        assert not any(canaries.find_in_text(text) for text in pages)
