"""CoverageCounts and their file: what is counted, what is forgotten, and what a restart finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framesift.coverage import (
    CountedCoverage,
    CoverageCounts,
    CoverageUnreadable,
    CoveredFrame,
    Tally,
    read_coverage,
    summaries,
    write_coverage,
)
from framesift.coverage.counts import MAX_CELLS, MAX_CLASSES, MAX_DAYS, MAX_PENDING, MAX_STREAMS
from framesift.prediction.prediction import Classification, Prediction, Stub, Task
from rigs.coverage_days import DAY, DAY_S, UTC
from sampling_data import objects

LABEL = Classification(width=4, height=3, top="cat", confidence=0.9, scores=())


def frame(
    *classes: str, stream: str = "gate", day: int = DAY, hour: float = 12.0, brightness: float = 0.5
) -> CoveredFrame:
    prediction = objects(*((name, 0.5) for name in classes))
    return CoveredFrame.of(stream, day * DAY_S + 3600.0 * hour, prediction, brightness)


def counted(counts: CoverageCounts) -> CountedCoverage:
    return counts.snapshot((DAY + 1) * DAY_S, "UTC")


def of_all(counts: CoverageCounts) -> tuple[Tally, Tally]:
    """Seen and collected, over all days and streams."""
    (every, *_) = summaries(counted(counts), UTC)
    return every.seen, every.collected


@pytest.mark.parametrize(("brightness", "band"), [(0.0, 0), (0.149, 0), (0.15, 1), (0.349, 1), (0.35, 2), (1.0, 2)])
def test_the_brightness_is_one_of_three(brightness: float, band: int) -> None:
    assert frame(brightness=brightness).brightness == band


@pytest.mark.parametrize(("number", "place"), [(0, 0), (1, 1), (2, 1), (3, 2), (5, 2), (6, 3), (60, 3)])
def test_the_number_of_objects_is_one_of_four(number: int, place: int) -> None:
    assert frame(*["car"] * number).objects == place


@pytest.mark.parametrize(
    ("prediction", "classes"), [(LABEL, ("cat",)), (Stub(width=4, height=3, task=Task.OBJECT_DETECTION), ())]
)
def test_a_model_that_detects_nothing_has_no_number_of_objects(prediction: Prediction, classes: tuple[str]) -> None:
    made = CoveredFrame.of("gate", 0.0, prediction, 0.5)
    assert (made.objects, made.classes) == (None, classes)


def test_a_class_counts_once_for_each_frame_that_shows_it() -> None:
    counts = CoverageCounts(0.0)
    counts.collect(frame("car", "car", "bus", hour=3.99))
    counts.collect(frame("car", hour=4.0, brightness=0.1))
    _, collected = of_all(counts)
    assert collected.classes == {"car": 2, "bus": 1}
    assert (collected.hours[3], collected.hours[4]) == (1, 1)
    assert (collected.brightness, collected.objects) == ([1, 0, 1], [0, 1, 1, 0])


def test_one_frame_a_second_of_each_stream_is_due_and_a_file_may_begin_again() -> None:
    counts = CoverageCounts(0.0)
    assert counts.is_due("gate", 7.0)
    counts.see(frame(), 7.0)
    assert not counts.is_due("gate", 7.9)
    assert counts.is_due("gate", 8.0)
    assert counts.is_due("gate", 0.0)
    assert counts.is_due("yard", 7.1)
    seen, collected = of_all(counts)
    assert (seen.frames, collected.frames) == (1, 0)


def test_what_is_held_counts_when_it_is_accepted_and_not_otherwise() -> None:
    counts = CoverageCounts(0.0)
    for id in ("a", "b", "c"):
        counts.remember(id, frame("car"))
    counts.settle("a", is_accepted=True)
    counts.settle("b", is_accepted=False)
    assert of_all(counts)[1].frames == 1
    assert set(counted(counts).pending) == {"c"}


@pytest.mark.parametrize("is_accepted", [True, False])
def test_another_thread_may_settle_a_frame_before_it_is_remembered(is_accepted: bool) -> None:
    counts = CoverageCounts(0.0)
    counts.collect(frame())
    counts.settle("a", is_accepted=is_accepted)
    counts.remember("a", frame("car"))
    assert of_all(counts)[1].frames == 1 + is_accepted
    assert counted(counts).pending == {}


def test_the_oldest_days_are_forgotten_and_since_says_so() -> None:
    counts = CoverageCounts(DAY * DAY_S - 5.0)
    for day in range(MAX_DAYS + 2):
        counts.collect(frame(day=DAY + day))
    counts.collect(frame(day=DAY - 9))  # older than all that is kept
    found = counted(counts)
    assert {one.day for one in found.days} == set(range(DAY + 2, DAY + MAX_DAYS + 2))
    assert found.since_s == (DAY + 2) * DAY_S


def test_counting_began_no_later_than_now_where_the_clock_was_set_back() -> None:
    counts = CoverageCounts((DAY + 400) * DAY_S)
    counts.collect(frame(day=DAY))
    assert counted(counts).since_s == (DAY + 1) * DAY_S == counted(counts).until_s


def test_many_streams_have_fewer_days() -> None:
    counts = CoverageCounts(0.0)
    streams = 200
    for day in range(MAX_DAYS):
        for number in range(streams):
            counts.collect(frame(stream=f"s{number}", day=DAY + day))
    days = {one.day for one in counted(counts).days}
    assert days == set(range(DAY + MAX_DAYS - MAX_CELLS // streams, DAY + MAX_DAYS))


def test_streams_classes_and_held_frames_are_bounded() -> None:
    counts = CoverageCounts(0.0)
    for number in range(MAX_STREAMS + 20):
        counts.see(frame(stream=f"s{number}"), 1.0)
    assert not counts.is_due("one more", 1.5)
    for number in range(MAX_CLASSES + 5):
        counts.collect(frame(f"c{number}", f"c{number + 1}", stream="s0"))
    for number in range(MAX_PENDING + 7):
        counts.remember(f"id{number}", frame())
    found = counted(counts)
    assert len({one.stream for one in found.days}) == MAX_STREAMS + 1
    seen, collected = of_all(counts)
    assert (seen.frames, collected.frames) == (MAX_STREAMS + 20, MAX_CLASSES + 5)
    assert len(collected.classes) == MAX_CLASSES + 1
    assert collected.classes["other"] == 6  # each frame once, although it shows two of them
    assert next(iter(found.pending)) == "id7"
    assert len(found.pending) == MAX_PENDING


def test_a_restart_goes_on_with_what_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "spool.db.coverage" / "counts.json"
    first = CoverageCounts(DAY * DAY_S)
    first.see(frame("car", hour=1.0), 1.0)
    first.collect(frame("bus", stream="yard"))
    first.remember("a", frame("truck", hour=2.0, brightness=0.2))
    write_coverage(path, first.snapshot(DAY * DAY_S + 60.0, "Europe/Berlin"))
    assert path.stat().st_mode & 0o777 == 0o600
    kept = read_coverage(path)
    assert kept is not None
    assert kept == first.snapshot(DAY * DAY_S + 60.0, "Europe/Berlin")
    second = CoverageCounts(DAY * DAY_S + 999.0)
    second.restore(kept)
    second.settle("a", is_accepted=True)
    second.see(frame("car", hour=1.0), 1.0)
    seen, collected = of_all(second)
    assert seen.classes == {"car": 2}
    assert collected.classes == {"bus": 1, "truck": 1}
    assert collected.hours[2] == 1
    assert counted(second).since_s == DAY * DAY_S
    assert kept == read_coverage(path)  # what was restored was copied


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda fields: fields.update(version=2), "version"),
        (lambda fields: fields["days"][0]["seen"]["hours"].pop(), "days.0.seen.hours"),
        (lambda fields: fields["days"][0]["seen"]["classes"].update(car=-1), "days.0.seen.classes"),
        (lambda fields: fields["days"][0].update(day=10**9), "days.0.day"),
        (lambda fields: fields["days"][0].update(day="20700"), "days.0.day"),
        (lambda fields: fields["pending"]["a"].update(captured_s=1e300), "pending.a.captured_s"),
        (lambda fields: fields.pop("since_s"), "since_s"),
    ],
)
def test_a_file_with_other_content_is_refused_with_the_place(tmp_path: Path, change: object, why: str) -> None:
    path = tmp_path / "c" / "counts.json"
    counts = CoverageCounts(0.0)
    counts.see(frame("car"), 0.0)
    counts.remember("a", frame())
    write_coverage(path, counted(counts))
    fields = json.loads(path.read_text())
    assert callable(change)
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(CoverageUnreadable, match=f"^{why}: "):
        read_coverage(path)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[1]", b'{"since_s": 1'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "counts.json"
    path.write_bytes(content)
    with pytest.raises(CoverageUnreadable):
        read_coverage(path)


def test_no_file_is_no_error_and_a_folder_is_one(tmp_path: Path) -> None:
    assert read_coverage(tmp_path / "counts.json") is None
    with pytest.raises(CoverageUnreadable, match="Is a directory"):
        read_coverage(tmp_path)
