"""What the parts of a run report: the sink that says nothing, and the clock that was never set."""

from __future__ import annotations

import io
import json
import threading

from clocks import ManualClock
from framesift.service.reports import StreamReports, UploadReports, report_clock
from framesift.sinks import Delivered, RetryLater
from framesift.spool import ClaimedDatapoint
from framesift.streams import StreamEvent, StreamState
from framesift.telemetry import Telemetry
from framesift.upload.uploader import DeliveryAttempt, SinkProblem

ITEM = ClaimedDatapoint(
    id="0" * 32,
    device="test",
    stream="gate",
    frame=1,
    captured_at_s=0.0,
    strategy="all",
    score=None,
    tags=(),
    project=None,
    batch="test",
    annotate=False,
    width=64,
    height=48,
    size_bytes=1000,
    prediction="{}",
    extra="{}",
    attempts=1,
    tried=1,
    refusals=0,
    image_id=None,
)


class _Style:
    format = "json"
    level = "info"


class Reported:
    """Telemetry whose lines and health a test can read."""

    def __init__(self, wall_s: float | None = None) -> None:
        self.clock = ManualClock() if wall_s is None else ManualClock(wall_s)
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, _Style(), out=self.out)

    def health(self) -> list[tuple[str, str, str]]:
        return [(c.name, c.condition.value, c.why) for c in self.telemetry.health.components()]

    def states(self) -> list[str]:
        return [
            line["state"] for line in map(json.loads, self.out.getvalue().splitlines()) if line["event"] == "health"
        ]


def test_a_sink_that_does_not_answer_for_20_s_is_degraded_until_a_delivery_succeeds() -> None:
    reported = Reported()
    uploads = UploadReports(reported.telemetry, "roboflow")
    uploads.report_silence(lambda: 19.0)
    assert reported.health() == []
    uploads.report_silence(lambda: 21.0)
    why = "no answer for 21 s; a delivery is given up after 45 s, and tried again"
    assert reported.health() == [("sink", "degraded", why)]
    uploads.report_silence(lambda: 0.0)
    assert reported.health() == [("sink", "degraded", why)]
    uploads.delivery_attempted(DeliveryAttempt(ITEM, Delivered(), 30.0))
    assert reported.health() == [("sink", "ok", "")]


def test_a_sink_that_failed_keeps_its_own_reason_while_a_probe_is_not_answered() -> None:
    reported = Reported()
    uploads = UploadReports(reported.telemetry, "roboflow")
    uploads.report_silence(lambda: 25.0)
    uploads.delivery_attempted(DeliveryAttempt(ITEM, RetryLater(None, "no whole answer in time"), 45.0))
    uploads.sink_changed(SinkProblem("no whole answer in time", all_refused=False))
    uploads.report_silence(lambda: 40.0)
    assert reported.health() == [("sink", "degraded", "no whole answer in time")]
    uploads.delivery_attempted(DeliveryAttempt(ITEM, Delivered(), 1.0))
    uploads.sink_changed(None)
    assert reported.health() == [("sink", "ok", "")]
    assert reported.states()[-1] == "ok"


def test_an_answer_that_comes_while_the_silence_is_reported_ends_it() -> None:
    reported = Reported()
    uploads = UploadReports(reported.telemetry, "roboflow")
    answers = threading.Thread(target=uploads.delivery_attempted, args=(DeliveryAttempt(ITEM, Delivered(), 25.0),))

    def read_silent_s() -> float:
        answers.start()
        answers.join(0.2)  # it may end only after the report
        return 25.0

    uploads.report_silence(read_silent_s)
    answers.join(10.0)
    assert reported.health() == [("sink", "ok", "")]


def test_a_camera_that_comes_and_goes_for_two_hours_is_a_handful_of_lines_and_its_number_is_said() -> None:
    reported = Reported()
    streams = StreamReports(reported.telemetry, "gate")

    def pass_time(seconds: int) -> None:
        for _ in range(seconds):
            reported.clock.advance(1.0)
            reported.telemetry.tick()

    streams.on_event(StreamEvent("gate", StreamState.RUNNING, "pictures of 640 x 480"))
    losses = 0
    for _ in range(7200 // 70):
        pass_time(50)
        streams.on_event(StreamEvent("gate", StreamState.LOST, "no picture for 10 s"))
        losses += 1
        [gate] = reported.telemetry.report().streams
        assert (gate.up, gate.losses) == (False, losses)
        assert ("stream gate", "degraded", "no picture for 10 s") in reported.health()
        pass_time(20)
        streams.on_event(StreamEvent("gate", StreamState.RUNNING, "pictures of 640 x 480"))
        assert reported.telemetry.report().streams[0].up
    flapping = {name: why for name, _, why in reported.health()}["stream gate"]
    assert "it works again, but has failed 52 times within an hour" in flapping
    assert flapping.endswith("it failed last with: no picture for 10 s")
    pass_time(301)
    assert ("stream gate", "ok", "") in reported.health()
    lines = [json.loads(line) for line in reported.out.getvalue().splitlines()]
    assert [line["state"] for line in lines[:6]] == ["running", "lost"] * 3
    assert len(lines) <= 14
    assert {(line["event"], line["stream"]) for line in lines} == {("stream", "gate")}
    assert (lines[-1]["state"], lines[-1]["why"]) == ("running", "pictures of 640 x 480")
    watched = [line for line in lines if "works again" in line["why"]]
    assert 2 * losses + 1 == len(lines) + sum(line.get("unlogged", 0) for line in lines)
    assert [line["state"] for line in watched] == ["running"]


def test_a_clock_that_was_never_set_is_degraded_until_it_is() -> None:
    reported = Reported(wall_s=86_400.0)
    report_clock(reported.telemetry, reported.clock.now())
    ((name, condition, why),) = reported.health()
    assert (name, condition) == ("clock", "degraded")
    assert "is not set, it says 1970-01-02" in why
    assert "NTP" in why
    reported.clock.step_wall(1_780_000_000.0)
    report_clock(reported.telemetry, reported.clock.now())
    assert reported.health() == [("clock", "ok", "")]
    assert reported.states() == ["degraded", "ok"]
