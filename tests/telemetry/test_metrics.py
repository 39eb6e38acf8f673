"""The metrics of program, spool and streams: what they say. Their names: tests/docs/test_metrics_page.py."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from clocks import ManualClock
from framesift.telemetry import SpoolNumbers, Telemetry


class _Style:
    format = "json"
    level = "info"


def made() -> tuple[Telemetry, ManualClock]:
    clock = ManualClock()
    return Telemetry(clock, _Style(), out=io.StringIO()), clock


def samples(telemetry: Telemetry) -> Mapping[str, float]:
    """Each sample as it stands in the text -> its value."""
    found = {}
    for family in text_string_to_metric_families(telemetry.metrics_text().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_build_info_says_which_versions_run() -> None:
    telemetry, _ = made()
    telemetry.set_build(version="1.2.3", opencv="4.12")
    (name,) = (name for name in samples(telemetry) if name.startswith("framesift_build_info"))
    assert re.fullmatch(r"framesift_build_info\{opencv=4\.12,python=3\.\d+\.\d+\S*,version=1\.2\.3\}", name)


def test_the_heartbeat_stands_still_when_the_main_loop_does() -> None:
    telemetry, clock = made()
    assert "framesift_heartbeat_timestamp_seconds" not in samples(telemetry)
    telemetry.tick()
    beat = samples(telemetry)["framesift_heartbeat_timestamp_seconds"]
    assert beat == clock.now().wall_s
    clock.advance(5.0)
    assert samples(telemetry)["framesift_heartbeat_timestamp_seconds"] == beat
    telemetry.tick()
    assert samples(telemetry)["framesift_heartbeat_timestamp_seconds"] == beat + 5.0


def test_idle_components_are_shown() -> None:
    telemetry, _ = made()
    telemetry.set_idle_source(lambda: {"upload": 7.5})
    assert samples(telemetry)["framesift_component_idle_seconds{component=upload}"] == 7.5


def test_the_spool_shows_its_bound_and_its_oldest_datapoint() -> None:
    telemetry, _ = made()
    numbers = SpoolNumbers(1, 2, 3, 4, 500, {"delivered": 9}, log_bytes=60, max_bytes=7000, oldest_at_s=1_000.5)
    telemetry.set_spool_source(lambda: numbers)
    found = samples(telemetry)
    assert found["framesift_spool_bytes"] == 500
    assert found["framesift_spool_log_bytes"] == 60
    assert found["framesift_spool_max_bytes"] == 7000
    assert found["framesift_spool_oldest_timestamp_seconds"] == 1_000.5


def test_an_empty_spool_has_no_oldest_datapoint() -> None:
    telemetry, _ = made()
    telemetry.set_spool_source(lambda: SpoolNumbers(0, 0, 0, 0, 500, {}))
    assert "framesift_spool_oldest_timestamp_seconds" not in samples(telemetry)


def test_dropped_log_lines_are_counted_for_each_level_from_the_beginning() -> None:
    telemetry, _ = made()
    found = samples(telemetry)
    for level in ("debug", "info", "warning", "error"):
        assert found[f"framesift_log_lines_dropped_total{{level={level}}}"] == 0


def test_readers_are_counted_by_stream() -> None:
    telemetry, _ = made()
    telemetry.set_stream_up("gate", True)
    telemetry.count_reader("gate")
    telemetry.count_reader("gate")
    assert samples(telemetry)["framesift_stream_readers_started_total{stream=gate}"] == 2
    (stream,) = telemetry.report().streams
    assert stream.readers_started == 2
