"""The collector on a real spool: where each frame ends, which strategy is charged, what the datapoint contains."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from clocks import NOON_S, ManualClock
from framesift.collect import Collector
from framesift.frame import Frame
from framesift.models import ModelFailed, ModelNotes, ModelUnavailable
from framesift.models.health import ModelBroken, ModelHealth
from framesift.models.predictor import Predictor
from framesift.policy.policy import Policy, parse
from framesift.prediction.prediction import Detection, Detections, Prediction, Task, with_origin
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.spool import Spool
from framesift.telemetry import ComponentHealth, Telemetry
from rigs.spools import make_spool


@dataclass
class Frames:
    """A stream of frames that the test made: `before` is called as each is handed over."""

    clock: ManualClock
    count: int
    shape: tuple[int, int, int] = (48, 64, 3)
    before: Callable[[int], None] = lambda _number: None
    name: str = "gate"
    is_file: bool = False
    age_s: float = 0.0
    sender_ahead_s: float | None = None

    def frames(self) -> Iterator[Frame]:
        for number in range(self.count):
            self.before(number)
            pixels = np.full(self.shape, number % 200, np.uint8)
            now = self.clock.now()
            captured = replace(now, wall_s=now.wall_s - self.age_s, boottime_s=now.boottime_s - self.age_s)
            media_s = number / 25 if self.is_file else None
            sent_s = None if self.sender_ahead_s is None else captured.wall_s + self.sender_ahead_s
            yield Frame(self.name, number, pixels, captured, media_s=media_s, sent_s=sent_s)


@dataclass
class CarModel:
    """A model that finds one car in each frame, or fails."""

    fails: Callable[[Frame], bool] = lambda _frame: False
    failure: ModelFailed = field(default_factory=lambda: ModelFailed("blinked"))
    seen: list[int] = field(default_factory=list)
    task: Task | None = Task.OBJECT_DETECTION
    class_names: tuple[str, ...] | None = ("car",)
    model_id: str = "eye/3"
    description: str = "an eye"
    notes: ModelNotes = field(default_factory=ModelNotes)
    gives_embeddings: bool | None = False

    def predict(self, frame: Frame) -> Prediction:
        self.seen.append(frame.number)
        if self.fails(frame):
            raise self.failure
        car = Detection(32.0, 24.0, 16.0, 8.0, 0.5, "car", 0)
        return Detections(
            task=Task.OBJECT_DETECTION,
            objects=(car,),
            width=frame.width,
            height=frame.height,
            model_id=self.model_id,
            time_s=0.25,
        )

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


def _policy(*strategies: dict[str, Any], **more: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": strategies or ({"name": "all", "type": "random", "traffic_percentage": 1.0},),
        "batching_strategy": {"batches_name_prefix": "b", "recreation_interval": "daily"},
        **more,
    }
    return parse(json.dumps(whole), "policy.json")


class Pipeline:
    """A collector with everything real but its frames, its model and its clock."""

    def __init__(self, folder: Path, stream: Frames, policy: Policy, model: CarModel | None = None) -> None:
        self.clock = stream.clock
        self._stream = stream
        self.spool: Spool = make_spool(folder, self.clock)
        self.log = io.StringIO()
        self.telemetry = Telemetry(self.clock, _Style(), out=self.log)
        self.stop = threading.Event()
        self.woken = 0
        self.intake = Intake(
            stream.name,
            CollectionOrigin("gate-7", ("fleet",), ("north",), seed=0),
            policy=policy,
            accepted=AcceptedFrames(),
            admission=Admission(self.spool, self.clock),
            telemetry=self.telemetry,
            on_accepted=self._wake,
        )
        self.collector = Collector(
            stream,  # type: ignore[arg-type]  # of a stream a collector uses its frames
            self.intake,
            Predictor(
                model or CarModel(),
                ModelHealth(self.telemetry.health, self.clock),
                telemetry=self.telemetry,
                clock=self.clock,
                stop=self.stop,
            ),
            self.telemetry,
        )

    def stream_before(self, action: Callable[[int], None]) -> None:
        """action: called before each frame, with its number."""
        self._stream.before = action

    def health(self) -> tuple[ComponentHealth, ...]:
        return self.telemetry.health.components()

    def run(self) -> None:
        self.spool.open()
        try:
            self.collector.run()
            self.items = self.spool.claim(1000).items
            self.jpegs = [self.spool.read_jpeg(item.id) for item in self.items]
        finally:
            self.spool.close()
        self.seen = self.telemetry.report()

    def _wake(self) -> None:
        self.woken += 1


def test_every_frame_ends_in_exactly_one_place(tmp_path: Path) -> None:
    policy = _policy(
        {"name": "some", "type": "random", "traffic_percentage": 0.5, "limits": [{"type": "minutely", "value": 10}]}
    )
    pipeline = Pipeline(
        tmp_path, Frames(ManualClock(), 100), policy, CarModel(fails=lambda frame: frame.number % 10 == 0)
    )
    pipeline.run()
    assert pipeline.seen.frames_read == 100
    assert pipeline.seen.frames_accepted == 10 == len(pipeline.items) == pipeline.woken
    assert pipeline.seen.refused["model_failed"] == 10
    assert pipeline.seen.refused["limit"] > 0
    assert sum(pipeline.seen.refused.values()) + pipeline.seen.frames_accepted == 100


def test_a_frame_without_quota_is_refused_before_it_is_encoded(tmp_path: Path) -> None:
    # No JPEG is 70,000 pixels wide: were it encoded first, it would be refused for that.
    policy = _policy(
        {"name": "none", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 0}]}
    )
    wide = Frames(ManualClock(), 1, shape=(2, 70_000, 3))
    pipeline = Pipeline(tmp_path, wide, policy)
    pipeline.run()
    assert pipeline.seen.refused == {"limit": 1}


def test_a_picture_that_no_jpeg_can_hold_is_refused_by_name(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 1, shape=(2, 70_000, 3)), _policy())
    pipeline.run()
    assert pipeline.seen.refused == {"unencodable": 1}


def test_the_first_strategy_with_credit_is_charged_and_gives_its_tags(tmp_path: Path) -> None:
    policy = _policy(
        {
            "name": "first",
            "type": "random",
            "traffic_percentage": 1.0,
            "tags": ["one"],
            "limits": [{"type": "hourly", "value": 1}],
        },
        {"name": "second", "type": "random", "traffic_percentage": 1.0, "tags": ["two"]},
        tags=["policy"],
    )
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 2), policy)
    pipeline.run()
    by_frame = {item.frame: item for item in pipeline.items}
    assert by_frame[0].strategy == "first"
    assert by_frame[0].tags == ("fleet", "policy", "one", "eye-3", "gate-7", "north")
    assert by_frame[1].strategy == "second"
    assert by_frame[1].tags == ("fleet", "policy", "two", "eye-3", "gate-7", "north")
    assert by_frame[0].batch == "b_2026_09_10"


def test_a_full_batch_refuses_by_its_own_name(tmp_path: Path) -> None:
    batching = {"batches_name_prefix": "b", "recreation_interval": "never", "max_batch_images": 3}
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 5), _policy(batching_strategy=batching))
    pipeline.run()
    assert len(pipeline.items) == 3
    assert pipeline.seen.refused == {"batch_full": 2}


def test_what_is_left_out_of_a_prediction_is_counted_and_said(tmp_path: Path) -> None:
    @dataclass
    class LosingModel(CarModel):
        def predict(self, frame: Frame) -> Prediction:
            return with_origin(super().predict(frame), dropped=2, dropped_extras=3)

    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 1), _policy(), LosingModel())
    pipeline.run()
    assert pipeline.seen.malformed == 5
    assert (
        "2 parts of a prediction were malformed or too many, and were left out; 3 extras of a"
        in pipeline.log.getvalue()
    )


def test_picture_and_prediction_shrink_together(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 1, shape=(480, 640, 3)), _policy(max_image_size=[48, 64]))
    pipeline.run()
    (item,) = pipeline.items
    picture = cv2.imdecode(np.frombuffer(pipeline.jpegs[0], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (48, 64, 3)
    prediction = json.loads(item.prediction)
    assert prediction["image"] == {"width": 64, "height": 48}
    (car,) = prediction["predictions"]
    assert (car["x"], car["y"], car["width"], car["height"]) == pytest.approx((3.2, 2.4, 1.6, 0.8))


def test_predictions_that_are_not_to_persist_are_not_delivered(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 1), _policy(persist_predictions=False))
    pipeline.run()
    (item,) = pipeline.items
    assert not item.annotate
    assert "eye-3" not in item.tags


def test_while_the_policy_is_off_the_model_rests(tmp_path: Path) -> None:
    model = CarModel()
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 3), parse('{"enabled": false}', "policy.json"), model)
    pipeline.run()
    assert pipeline.seen.refused == {"disabled": 3}
    assert model.seen == []


def test_a_new_policy_holds_from_the_next_frame_on(tmp_path: Path) -> None:
    stream = Frames(ManualClock(), 6)
    pipeline = Pipeline(tmp_path, stream, _policy())

    def switch(number: int) -> None:
        if number == 4:
            pipeline.intake.policy = parse('{"enabled": false}', "policy.json")

    stream.before = switch
    pipeline.run()
    assert sorted(item.frame for item in pipeline.items) == [0, 1, 2, 3]


def test_a_failing_strategy_leaves_the_health_when_the_stream_ends(tmp_path: Path) -> None:
    fails = {
        "type": "python",
        "factory": "faulty_rules:FailsOnObjects",
        "path": str(Path(__file__).parent / "rigs" / "faulty"),
    }
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 2), _policy({"name": "mine", **fails}))
    seen: list[int] = []
    pipeline.stream_before(lambda _number: seen.append(sum("mine" in part.name for part in pipeline.health())))
    pipeline.run()
    assert seen == [0, 1]
    assert not any("mine" in part.name for part in pipeline.health())


def test_a_limit_counts_in_the_minute_of_capture(tmp_path: Path) -> None:
    clock = ManualClock(NOON_S)
    stream = Frames(clock, 40, before=lambda _number: clock.advance(10.0))
    limits = [{"type": "minutely", "value": 2}]
    pipeline = Pipeline(
        tmp_path, stream, _policy({"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": limits})
    )
    pipeline.run()
    minutes: dict[int, int] = {}
    for item in pipeline.items:
        minutes[int(item.captured_at_s // 60)] = minutes.get(int(item.captured_at_s // 60), 0) + 1
    # Frames at 10, 20, ... 400 s: five in the first minute, six in each of the next five, five in the last.
    assert list(minutes.values()) == [2] * 7


def test_a_live_stream_goes_on_however_long_its_model_is_unavailable(tmp_path: Path) -> None:
    away = CarModel(fails=lambda frame: frame.number < 300, failure=ModelUnavailable("no answer from 10.0.0.7"))
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 301), _policy(), away)
    prediction: list[tuple[str, str, str]] = []
    pipeline.stream_before(lambda _: prediction.extend((c.name, c.condition.value, c.why) for c in pipeline.health()))
    pipeline.run()
    assert pipeline.telemetry.report().refused == {"model_failed": 300}
    assert len(pipeline.items) == 1
    assert set(prediction) == {("model", "degraded", "no answer from 10.0.0.7")}
    assert [(c.name, c.condition.value) for c in pipeline.health()] == [("model", "ok")]


@pytest.mark.parametrize(("is_file", "counted"), [(False, 3), (True, 0)])
def test_the_age_of_a_cameras_picture_is_measured_when_the_model_begins_with_it(
    tmp_path: Path, is_file: bool, counted: int
) -> None:
    clock = ManualClock()

    def take_half_a_second(_frame: Frame) -> bool:
        clock.advance(0.5)  # for another stream's picture; CarModel says that its own work took 0.25 s
        return False

    pipeline = Pipeline(
        tmp_path, Frames(clock, 3, age_s=0.25, is_file=is_file), _policy(), CarModel(take_half_a_second)
    )
    pipeline.run()
    lines = pipeline.telemetry.metrics_text().decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines)
    assert float(found.get('framesift_picture_age_seconds_count{stream="gate"}', 0)) == counted
    assert float(found.get('framesift_picture_age_seconds_sum{stream="gate"}', 0)) == counted * 0.5


@pytest.mark.parametrize(("ahead_s", "shown"), [(None, []), (3600.0, ["3600.0"]), (-0.25, ["-0.25"])])
def test_the_offset_of_the_clock_of_a_camera_is_a_metric_where_it_is_told(
    tmp_path: Path, ahead_s: float | None, shown: list[str]
) -> None:
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 3, sender_ahead_s=ahead_s), _policy())
    pipeline.run()
    lines = pipeline.telemetry.metrics_text().decode().splitlines()
    metric = 'framesift_stream_sender_offset_seconds{stream="gate"} '
    assert [line.removeprefix(metric) for line in lines if line.startswith(metric)] == shown


def test_a_file_waits_for_an_unavailable_model_and_loses_no_frame(tmp_path: Path) -> None:
    clock = ManualClock(waiters=1)
    back_at_s = clock.monotonic() + 90.0
    away = CarModel(fails=lambda _: clock.monotonic() < back_at_s, failure=ModelUnavailable("busy", retry_after_s=7.0))
    pipeline = Pipeline(tmp_path, Frames(clock, 3, is_file=True), _policy(), away)
    pipeline.run()
    assert pipeline.telemetry.report().refused == {}
    assert len(pipeline.items) == 3
    assert away.seen == [0] * 14 + [1, 2]  # the first is asked about every 7 s


def test_a_frame_that_a_server_falls_over_again_and_again_is_left_in_the_end(tmp_path: Path) -> None:
    poison = CarModel(fails=lambda frame: frame.number == 1, failure=ModelUnavailable("500"))
    pipeline = Pipeline(tmp_path, Frames(ManualClock(waiters=1), 3, is_file=True), _policy(), poison)
    pipeline.run()
    assert pipeline.telemetry.report().refused == {"model_failed": 1}
    assert len(pipeline.items) == 2
    assert len(poison.seen) == 603


def test_a_stop_ends_the_waiting_for_a_model(tmp_path: Path) -> None:
    away = CarModel(fails=lambda _: True, failure=ModelUnavailable("busy"))
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 3, is_file=True), _policy(), away)
    pipeline.stop.set()
    pipeline.run()
    assert away.seen == [0, 1, 2]


def test_a_model_that_fails_on_single_frames_is_well_and_the_frames_are_counted(tmp_path: Path) -> None:
    now_and_then = CarModel(fails=lambda frame: frame.number % 3 != 0)
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 300), _policy(), now_and_then)
    prediction: set[tuple[str, str]] = set()
    pipeline.stream_before(lambda _: prediction.update((c.name, c.condition.value) for c in pipeline.health()))
    pipeline.run()
    assert len(pipeline.items) == 100
    assert pipeline.seen.refused == {"model_failed": 200}
    assert prediction == {("model", "ok")}


def test_a_model_that_fails_on_every_frame_ends_the_loop_in_time_not_in_frames(tmp_path: Path) -> None:
    clock = ManualClock()
    blind = Pipeline(tmp_path, Frames(clock, 10_000), _policy(), CarModel(fails=lambda _frame: True))
    conditions: list[tuple[int, str]] = []

    def before(number: int) -> None:
        conditions.extend(
            (number, c.condition.value)
            for c in blind.health()
            if not conditions or conditions[-1][1] != c.condition.value
        )
        clock.advance(0.5)

    blind.stream_before(before)
    with pytest.raises(ModelBroken, match="blinked"):
        blind.run()
    assert conditions == [(1, "ok"), (3, "degraded"), (121, "failed")]
    seen = blind.telemetry.report()
    assert seen.frames_read == seen.refused["model_failed"] == 601  # 300 s


def test_a_paused_stream_asks_no_model_takes_nothing_and_goes_on_when_the_pause_ends(tmp_path: Path) -> None:
    clock, model = ManualClock(), CarModel()
    stream = Frames(clock, 20)
    pipeline = Pipeline(tmp_path, stream, _policy(), model)
    pauses = pipeline.intake.requests.pauses

    def at(number: int) -> None:
        clock.advance(1.0)
        if number == 5:
            pauses.pause("yard", None, "alice")
            pauses.pause("gate", 10.0, "alice")  # one frame a second

    pipeline.stream_before(at)
    pipeline.run()
    assert model.seen == [*range(5), *range(15, 20)]
    assert [item.frame for item in pipeline.items] == model.seen
    assert pipeline.seen.refused == {"paused": 10}


def test_a_recording_goes_on_while_its_stream_is_paused(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, Frames(ManualClock(), 4), _policy())
    recorded: list[int] = []
    pipeline.collector = Collector(
        Frames(pipeline.clock, 4),  # type: ignore[arg-type]  # as above
        pipeline.intake,
        Predictor(
            CarModel(),
            ModelHealth(pipeline.telemetry.health, pipeline.clock),
            telemetry=pipeline.telemetry,
            clock=pipeline.clock,
            stop=pipeline.stop,
            on_prediction=lambda frame, _: recorded.append(frame.number),
        ),
        pipeline.telemetry,
    )
    pipeline.intake.requests.pauses.pause(None, None, "alice")
    pipeline.run()
    assert recorded == [0, 1, 2, 3]
    assert pipeline.seen.refused == {"paused": 4}
    assert pipeline.items == ()
