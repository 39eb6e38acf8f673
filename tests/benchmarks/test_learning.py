from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from framesift.sampling.recorder import parse_signature
from framesift.strategies.near_duplicate import distance
from learning.camera import Camera, Learner, average_precision
from learning.day import CLIP_FRAMES, scenes_of
from learning.digits import digits_camera
from learning.figures import Estimate, best_reference, gain, labels_needed, needed_share
from learning.policies import AGAIN, BUDGET, CRON, RANDOM, REFERENCE, STRATEGIES, policy_of
from learning.protocol import Curve, Night, curve_of
from learning.results import drawing, read_curves, table, write_curves
from learning.street import CLIPS, street_camera

ROOT = Path(__file__).parents[2]
FRAMES_A_DAY = CLIPS * CLIP_FRAMES


def curve(*scores: float, frames: float = 10, boxes: float = 30) -> Curve:
    """A curve with so many more labels each night."""
    return tuple(Night(frames * night, boxes * night, score) for night, score in enumerate(scores))


@pytest.fixture(scope="module")
def digits() -> Camera:
    return digits_camera(1, days=2, clips=48)


@pytest.fixture(scope="module")
def street() -> Camera:
    return street_camera(2, days=1, clips=24, tested=1)


def test_labels_are_counted_to_where_the_curve_first_reaches_the_score() -> None:
    labels, scores = [0.0, 10.0, 20.0, 30.0], [0.4, 0.5, 0.7, 0.6]
    assert labels_needed(labels, scores, 0.6) == pytest.approx(15)
    assert labels_needed(labels, scores, 0.7) == pytest.approx(20)
    assert labels_needed(labels, scores, 0.3) == 0
    assert labels_needed(labels, scores, 0.71) == np.inf


def test_a_strategy_that_learns_twice_as_fast_needs_half_of_the_frames() -> None:
    curves = {
        RANDOM: {seed: curve(0.4, 0.5, 0.6) for seed in (1, 2, 3)},
        "fast": {seed: curve(0.4, 0.6, 0.7, boxes=45) for seed in (1, 2, 3)},
        "never": {seed: curve(0.4, 0.5, 0.59) for seed in (1, 2, 3)},
    }
    assert needed_share(curves, "fast", "frames") == Estimate(0.5, 0.5, 0.5)
    assert needed_share(curves, "fast", "boxes") == Estimate(0.75, 0.75, 0.75)
    assert needed_share(curves, "never", "frames").value == np.inf
    assert needed_share(curves, RANDOM, "frames").value == 1


def test_intervals_are_of_the_differences_between_seeds_not_of_the_seeds() -> None:
    lasts = {seed: 0.5 + seed / 20 for seed in range(8)}
    curves = {
        "one": {seed: curve(0.4, last) for seed, last in lasts.items()},
        "same": {seed: curve(0.4, last + 0.1) for seed, last in lasts.items()},
        "other": {seed: curve(0.4, last + 0.1 + (seed % 2) / 10) for seed, last in lasts.items()},
    }
    same, other = gain(curves, "same", "one"), gain(curves, "other", "one")
    assert (same.value, same.low, same.high) == pytest.approx((0.1, 0.1, 0.1))
    assert other.value == pytest.approx(0.15)
    assert 0.1 < other.low < 0.13
    assert 0.17 < other.high < 0.2


def test_the_interval_of_a_mean_is_as_wide_as_statistics_say() -> None:
    lasts = np.random.default_rng(3).normal(0.6, 0.05, 40)
    curves = {
        "one": {seed: curve(0.4, 0.5) for seed in range(40)},
        "two": {seed: curve(0.4, last) for seed, last in enumerate(lasts)},
    }
    found = gain(curves, "two", "one")
    half = 1.96 * lasts.std() / np.sqrt(40)
    assert found.value - found.low == pytest.approx(half, rel=0.15)
    assert found.high - found.value == pytest.approx(half, rel=0.15)


def test_the_reference_is_the_best_hourly_setting() -> None:
    first, second, *_ = REFERENCE
    curves = {RANDOM: {1: curve(0.4, 0.5)}, first: {1: curve(0.4, 0.6)}, second: {1: curve(0.4, 0.7)}}
    assert best_reference(curves) == second


def test_a_day_has_no_gap_and_its_nights_are_still() -> None:
    for day in range(20):
        scenes = scenes_of(np.random.default_rng(day), CLIPS)
        ends = [scene.first_clip + scene.clips for scene in scenes]
        assert [scene.first_clip for scene in scenes] == [0, *ends[:-1]]
        assert ends[-1] == CLIPS
        assert max(scene.clips for scene in scenes) >= CLIPS / 24  # something is parked for an hour
        by_light = {light: [s.clips for s in scenes if s.light == light] for light in ("day", "night")}
        assert np.median(by_light["day"]) < np.mean(by_light["night"])
    rare = [sum(s.is_rare for s in scenes_of(np.random.default_rng(day), CLIPS)) for day in range(50)]
    assert 0 in rare
    assert max(rare) > 3


def test_the_precision_is_averaged_over_the_true_items() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert average_precision(confidence, np.array([True, False, True, False])) == pytest.approx((1 + 2 / 3) / 2)


def test_a_scene_of_digits_looks_like_itself_and_like_no_other(digits: Camera) -> None:
    signatures = [parse_signature(text) for text in digits.signatures]
    scenes = scenes_of(np.random.default_rng((1, 2, 0)), 48)
    by_day = [scene for scene in scenes if scene.light == "day"]
    firsts = [scene.first_clip * CLIP_FRAMES for scene in by_day]
    within = [distance(signatures[first], signatures[first + CLIP_FRAMES - 1]) for first in firsts]
    between = [distance(signatures[one], signatures[other]) for one in firsts for other in firsts if one != other]
    assert max(within) < 0.003 < 0.01 < min(between)


@pytest.mark.parametrize(("name", "at_least"), [("digits", 0.9), ("street", 0.8)])
def test_the_truth_is_that_of_the_inputs(name: str, at_least: float, request: pytest.FixtureRequest) -> None:
    # What is learned of each second frame is true of the others, which show the same scenes with other noise.
    camera: Camera = request.getfixturevalue(name)
    learner = Learner(camera, 1)
    learner.learn(range(0, camera.frames_a_day, 2))
    right = []
    for line in list(learner.recorded(0))[1::2]:
        first, end = camera.first[line["frame"]], camera.first[line["frame"] + 1]
        if camera.boxes is None:
            right.append(line["top"] == camera.class_names[camera.items.truth[first]])
            continue
        found = {(one["x"], one["y"]): one for one in line["predictions"]}
        for box, of in zip(camera.boxes[first:end], camera.items.truth[first:end], strict=True):
            there = found.get((float(box[0]), float(box[1])))
            is_found = there is not None and there["confidence"] >= 0.5
            right.append(there["class"] == camera.class_names[of] if there is not None and is_found else of == 0)
    assert np.mean(right) > at_least
    assert learner.score() > 0.4  # and of the test, whose classes have the same numbers


def test_a_frame_of_the_street_has_its_places_and_its_labels(street: Camera) -> None:
    assert street.boxes is not None
    assert len(street.first) == len(street.signatures) + 1
    assert street.first[-1] == len(street.boxes) == len(street.items.truth)
    middles = street.boxes[:, :2] / street.picture
    assert ((middles > -0.1) & (middles < 1.1)).all()
    names = np.array(street.class_names)[street.items.truth]
    high = street.boxes[:, 3] / street.boxes[:, 2]
    assert np.median(high[names == "person"]) > 1.5  # people are high, vehicles long
    assert np.median(high[np.isin(names, ["car", "truck"])]) < 1
    frames = range(len(street.signatures))
    assert Learner(street, 1).boxes(frames) == np.count_nonzero(street.items.truth)


def test_frames_are_recorded_with_confidences_below_the_threshold_of_a_display(street: Camera) -> None:
    recorded = list(Learner(street, 1).recorded(0))
    confidences = [one["confidence"] for line in recorded for one in line["predictions"]]
    assert 0.1 <= min(confidences) < 0.4
    hours = [(line["captured_at"] - recorded[0]["captured_at"]) / 3600 for line in recorded]
    assert hours == sorted(hours)
    assert 22 < hours[-1] < 24


def test_what_is_collected_is_within_the_budget_and_makes_the_model_better(digits: Camera) -> None:
    learner = Learner(digits, 1)
    found = curve_of(CRON, digits, learner, 1)
    assert len(found) == 1 + digits.days
    for day, night in enumerate(found):
        assert night.frames == night.boxes <= BUDGET * day
    assert found[-1].frames > BUDGET
    assert found[-1].score > found[0].score
    assert curve_of(CRON, digits, learner, 1) == found


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_each_policy_has_the_budget(name: str) -> None:
    (strategy,) = policy_of(name, FRAMES_A_DAY).sampling_strategies
    daily = [limit.value for limit in strategy.limits if limit.type == "daily"]
    assert daily == ([] if name in (RANDOM, AGAIN) else [BUDGET])
    assert (strategy.pacing is not None) == any(mode in name for mode in ("hold_queue", "adaptive_threshold"))


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    curves = {"street": {name: {1: curve(0.4, 0.5, 0.6), 2: curve(0.4, 0.55, 0.65)} for name in STRATEGIES}}
    write_curves(tmp_path / "curves.json", curves)
    assert read_curves(tmp_path / "curves.json") == curves
    assert read_curves(tmp_path / "none.json") == {}
    text = table(curves["street"], has_boxes=True)
    assert f"| {RANDOM} | 20 | 0.625 | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] |" in text
    drawn = drawing(curves["street"], [RANDOM, CRON], "a < b")
    root = ElementTree.fromstring(drawn)
    assert len(root.findall("{*}polyline")) == 2
    assert "a < b" in [text.text for text in root.findall("{*}text")]


@pytest.mark.exhaustive
def test_the_benchmark_runs_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    sizes = ["--seeds", "1", "--days", "1", "--clips", "24", "--cameras", "digits", "--processes", "1"]

    def printed() -> str:
        return subprocess.run(
            [sys.executable, "-m", "learning", *sizes, "--out", str(tmp_path), "--keep"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "benchmarks", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=110,
            check=True,
        ).stdout

    first = printed()
    assert "digits 1\n" in first
    curves = read_curves(tmp_path / "curves.json")
    assert next(iter(curves["digits"])) == RANDOM
    assert table(curves["digits"], has_boxes=False) in first
    assert (tmp_path / "digits.svg").read_text().startswith("<svg")
    assert "digits 1\n" not in printed()
