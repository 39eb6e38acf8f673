"""The model's health: its condition and reason after failures, and when the process must end."""

from __future__ import annotations

import io

import pytest

from clocks import ManualClock
from framesift.models.health import ModelBroken, ModelHealth
from framesift.telemetry import Telemetry


class _Style:
    format = "json"
    level = "info"


class Model:
    """A model's health, with failures and answers at times that the test chooses."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, _Style(), out=self.out)
        self.health = ModelHealth(self.telemetry.health, self.clock)

    def fails(self, times: int = 1, *, every_s: float = 0.0, stream: str = "gate", why: str = "CUDA error 700") -> None:
        """Each failure comes `every_s` after whatever was before."""
        for _ in range(times):
            self.clock.advance(every_s)
            self.health.record_failure(stream, why)

    @property
    def condition(self) -> str:
        return next((c.condition.value for c in self.telemetry.health.components()), "")

    @property
    def why(self) -> str:
        return next((c.why for c in self.telemetry.health.components()), "")


def test_one_failure_is_only_counted_three_in_a_row_degrade_and_the_first_answer_is_the_end_of_it() -> None:
    model = Model()
    model.health.record_success("gate")
    model.fails(2)
    assert model.condition == "ok"
    model.health.record_success("gate")
    model.fails(2)
    assert model.condition == "ok"
    model.fails()
    assert (model.condition, model.why) == ("degraded", "failures in a row: 3, the last: CUDA error 700")
    model.health.record_success("gate")
    assert (model.condition, model.why) == ("ok", "")


def test_after_a_minute_without_an_answer_it_has_failed_and_an_answer_makes_it_well() -> None:
    model = Model()
    model.fails()
    model.fails(59, every_s=1.0)
    assert model.condition == "degraded"
    model.fails(every_s=1.0)
    assert model.condition == "failed"
    assert "CUDA error 700" in model.why
    model.health.record_success("gate")
    assert model.condition == "ok"
    model.fails(3)
    assert model.condition == "degraded"


def test_after_five_minutes_the_process_ends_with_the_models_last_error() -> None:
    model = Model()
    model.fails()
    model.fails(299, every_s=1.0)
    assert model.condition == "failed"
    with pytest.raises(ModelBroken, match=r"has failed for 300 s: failures in a row: 301, the last: out of memory$"):
        model.fails(every_s=1.0, why="out of\nmemory")


def test_a_camera_of_one_frame_a_minute_counts_too_and_not_before_three_failures() -> None:
    model = Model()
    model.fails(2, every_s=60.0)
    assert model.condition == "ok"
    model.fails(every_s=60.0)
    assert model.condition == "failed"
    model.fails(2, every_s=60.0)
    with pytest.raises(ModelBroken):
        model.fails(every_s=60.0)


def test_of_the_time_in_which_it_is_asked_nothing_little_counts() -> None:
    model = Model()
    model.health.record_success("gate")
    model.fails(3, every_s=0.1)
    model.fails(every_s=86_400.0)  # the camera was away for a day
    assert model.condition == "failed"
    model.health.record_success("gate")
    model.clock.advance(86_400.0)
    model.fails(3, every_s=0.1)
    assert model.condition == "degraded"


def test_an_unavailable_model_never_ends_the_process_and_recovers() -> None:
    model = Model()
    model.health.record_unavailable("no answer from 10.0.0.7")
    model.clock.advance(86_400.0)
    model.health.record_unavailable("still no answer from 10.0.0.7")
    assert (model.condition, model.why) == ("degraded", "still no answer from 10.0.0.7")
    model.health.record_success("gate")
    assert model.condition == "ok"


def test_time_in_which_the_model_is_unavailable_does_not_count_as_failing() -> None:
    model = Model()
    for _ in range(100):
        model.fails(every_s=0.1)
        model.clock.advance(30.0)
        model.health.record_unavailable("no answer")
        model.clock.advance(30.0)
    model.fails()
    assert model.condition == "degraded"


def test_a_stream_whose_pictures_alone_fail_is_named_and_ends_nothing() -> None:
    model = Model()
    for _ in range(1000):
        model.fails(every_s=1.0, stream="infrared", why="expected 3 channels, got 1")
        model.health.record_success("gate")
    assert model.condition == "degraded"
    assert model.why == "stream infrared: failures in a row: 1000, the last: expected 3 channels, got 1"
    model.health.record_success("infrared")
    assert model.condition == "ok"


def test_failures_of_several_streams_are_the_models_own() -> None:
    model = Model()
    for stream in ("a", "b", "c"):
        model.fails(stream=stream)
    assert model.condition == "degraded"
    for _ in range(30):
        for stream in ("a", "b", "c"):
            model.fails(every_s=1.0, stream=stream)
    assert model.condition == "failed"


def test_a_stream_that_has_ended_no_longer_counts_in_the_models_health() -> None:
    model = Model()
    model.fails(3, stream="infrared")
    model.health.record_success("gate")
    assert model.condition == "degraded"
    model.health.remove_stream("infrared")
    assert model.condition == "ok"
    model.fails(3)
    model.health.remove_stream("gate")
    assert model.condition == "degraded"  # nobody has seen it answer since


def test_a_change_is_one_line_however_many_frames_fail() -> None:
    model = Model()
    model.health.record_success("gate")
    model.fails(250, every_s=1.0)
    model.health.record_success("gate")
    states = [line.partition('"state": "')[2].partition('"')[0] for line in model.out.getvalue().splitlines()]
    assert states == ["degraded", "failed", "ok"]


def test_a_run_without_one_prediction_is_known_as_such() -> None:
    model = Model()
    assert model.health.failed_run_reason() is None
    model.fails(why="no such layer")
    assert model.health.failed_run_reason() == "failures in a row: 1, the last: no such layer"
    model.health.record_success("gate")
    model.fails(50)
    assert model.health.failed_run_reason() is None


def test_an_error_as_long_as_a_book_is_cut_to_a_line() -> None:
    model = Model()
    model.fails(3, why="layer\n" * 100_000)
    assert len(model.why) < 600
    assert "\n" not in model.why


def test_a_model_that_gives_no_answer_for_15_s_is_degraded_until_it_gives_one() -> None:
    model = Model()
    model.health.record_success("gate")
    with model.health.asking():
        model.clock.advance(14.0)
        model.health.check()
        assert model.condition == "ok"
        model.clock.advance(3.0)
        model.health.check()
        assert model.condition == "degraded"
        assert model.why.startswith("it has given no answer for 17 s")
    model.health.record_success("gate")
    assert model.condition == "ok"
