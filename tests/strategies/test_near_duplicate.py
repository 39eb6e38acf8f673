"""near_duplicate: what a signature sees and what it doesn't, how long a memory lasts, and how noise is learnt."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.frame import Pixels
from framesift.strategies.near_duplicate import (
    INITIAL_THRESHOLD,
    NearDuplicateOptions,
    NoiseEstimate,
    RememberedFrame,
    Signature,
    SignatureMemory,
    distance,
    signature,
)
from sampling_data import label, labels, objects, stub

CELLS = 192


def street(car_at: int | None = None, *, width: int = 640, height: int = 360) -> Pixels:
    """A still scene with texture, and a car of a tenth of the width at `car_at` percent from the left."""
    picture: Pixels = _empty_street(width, height).copy()
    if car_at is not None:
        left = width * car_at // 100
        picture[height * 5 // 10 : height * 7 // 10, left : left + width // 10] = (20, 20, 220)
    return picture


@cache
def _empty_street(width: int, height: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = 100 + 50 * np.sin(x / width * 9) * np.cos(y / height * 7) + 30 * (y > height / 2)
    return np.repeat(base[:, :, None], 3, axis=2).astype(np.uint8)


def flat(value: float) -> Signature:
    return np.full(CELLS, value, np.float32)


def remembered(found: Signature, id: str = "") -> RememberedFrame:
    return RememberedFrame(id, found)


# Signature and distance


def test_a_signature_is_grey_area_averages_less_their_median() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    blue, green, red = (picture[:, :, i].astype(np.float64) for i in range(3))
    grey = np.round(0.299 * red + 0.587 * green + 0.114 * blue)
    cells = grey.reshape(12, 2, 16, 2).mean(axis=(1, 3)).reshape(-1) / 255
    found = signature(picture)
    assert found.shape == (CELLS,)
    assert found.dtype == np.float32
    # One grey level of rounding in one of the four pixels of a cell is 0.001.
    assert np.abs(found - (cells - np.median(cells))).max() < 0.0021


def test_distance_is_the_mean_absolute_difference() -> None:
    one, other = flat(0.0), flat(0.0)
    other[:48] = -0.5
    assert distance(one, other) == pytest.approx(0.125)


def test_a_change_of_exposure_is_no_difference() -> None:
    brighter = np.clip(street(30).astype(np.int16) + 20, 0, 255).astype(np.uint8)
    assert distance(signature(street(30)), signature(brighter)) < 0.002


def test_flicker_is_less_than_a_car() -> None:
    flicker = np.clip(street().astype(np.float32) * 1.05, 0, 255).astype(np.uint8)
    assert distance(signature(street()), signature(flicker)) < INITIAL_THRESHOLD / 2
    assert distance(signature(street()), signature(street(50))) > INITIAL_THRESHOLD / 2
    # A car that moved is missing in one place and new in another.
    assert distance(signature(street(20)), signature(street(50))) > INITIAL_THRESHOLD


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (640, 360), (320, 240), (256, 144), (160, 90)])
def test_a_signature_does_not_depend_on_the_pictures_size(width: int, height: int) -> None:
    small = signature(street(30, width=width, height=height))
    assert distance(small, signature(street(30, width=1280, height=720))) < INITIAL_THRESHOLD / 2


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2000), (3000, 2), (15, 11)])
def test_a_picture_of_any_shape_has_a_signature(width: int, height: int) -> None:
    found = signature(np.full((height, width, 3), 200, np.uint8))
    assert found.shape == (CELLS,)
    assert np.abs(found).max() < 0.001


def test_sensor_noise_averages_out() -> None:
    rng = np.random.default_rng(2)
    noisy = [np.clip(street() + rng.normal(0, 8, (360, 640, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    assert distance(signature(noisy[0]), signature(noisy[1])) < INITIAL_THRESHOLD / 4


def test_a_signature_outlives_the_frames_pixels() -> None:
    picture = street(30)
    found = signature(picture)
    before = found.copy()
    picture[:] = 0
    assert (found == before).all()


# Memory


def test_a_distance_equal_to_the_threshold_is_a_near_duplicate() -> None:
    memory = SignatureMemory(4)
    memory.add(remembered(flat(0.0)))
    assert memory.find_similar(flat(0.25), 0.25) is not None
    assert memory.find_similar(flat(0.26), 0.25) is None


def test_an_empty_memory_knows_nothing() -> None:
    assert SignatureMemory(4).find_similar(flat(0.0), 1.0) is None


def test_slow_drift_passes_once_it_is_far_from_everything_accepted() -> None:
    memory = SignatureMemory(16)
    accepted = []
    for step in range(100):
        here = flat(step / 100)
        if memory.find_similar(here, 0.105) is None:
            memory.add(remembered(here))
            accepted.append(step)
    # Each is near the one before it, so comparing with the previous frame alone would have kept the first only.
    assert accepted == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]


def test_a_scene_that_comes_back_is_known_even_after_others() -> None:
    memory = SignatureMemory(16)
    for step in range(10):
        memory.add(remembered(flat(step / 10)))
    assert memory.find_similar(flat(0.0), 0.01) is not None


def test_the_least_recently_matched_signature_goes_first() -> None:
    memory = SignatureMemory(2)
    memory.add(remembered(flat(0.0)))
    memory.add(remembered(flat(0.5)))
    assert memory.find_similar(flat(0.01), 0.02) is not None
    memory.add(remembered(flat(1.0)))
    assert memory.find_similar(flat(0.0), 0.02) is not None
    assert memory.find_similar(flat(1.0), 0.02) is not None
    assert memory.find_similar(flat(0.5), 0.02) is None


def test_a_refusal_by_one_signature_does_not_refresh_the_others() -> None:
    memory = SignatureMemory(2)
    memory.add(remembered(flat(0.0)))
    memory.add(remembered(flat(0.5)))
    assert memory.find_similar(flat(0.25), 0.1) is None
    memory.add(remembered(flat(1.0)))
    assert memory.find_similar(flat(0.0), 0.02) is None


def test_a_memory_adopts_in_the_order_of_use() -> None:
    old = SignatureMemory(3)
    for value in (0.0, 0.5, 1.0):
        old.add(remembered(flat(value)))
    assert old.find_similar(flat(0.0), 0.01) is not None
    new = SignatureMemory(2)
    new.add_all(old.oldest_first())
    assert len(new) == 2
    assert new.find_similar(flat(0.5), 0.01) is None
    assert new.find_similar(flat(1.0), 0.01) is not None
    assert new.find_similar(flat(0.0), 0.01) is not None


@given(
    size=st.integers(1, 4),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=60),
)
def test_a_memory_behaves_like_a_plain_list_in_order_of_use(size: int, steps: list[tuple[bool, int]]) -> None:
    memory = SignatureMemory(size)
    plain: list[int] = []  # least recently used first
    for remembers, value in steps:
        # Powers of two apart, so that nothing is near two of them at once.
        here = flat(2.0**value)
        if remembers and value not in plain:
            memory.add(remembered(here))
            plain = [*plain, value][-size:]
        else:
            assert (memory.find_similar(here, 0.1) is not None) is (value in plain)
            if value in plain:
                plain.remove(value)
                plain.append(value)
        assert len(memory) == len(plain)


# The threshold that is learnt


def walk(noise: NoiseEstimate, steps: list[float], *, start: float = 0.0) -> None:
    """Observes one frame and then one for each step, that far from the one before it."""
    at = start
    noise.observe(flat(at), objects())
    for i, step in enumerate(steps):
        at += step if i % 2 else -step
        noise.observe(flat(at), objects())


def test_the_threshold_is_the_first_guess_until_500_distances_are_known() -> None:
    noise = NoiseEstimate()
    walk(noise, [0.001] * 499)
    assert noise.calibrating
    assert noise.threshold == INITIAL_THRESHOLD == 0.0125


def test_the_threshold_is_a_fifth_over_the_95th_percentile() -> None:
    noise = NoiseEstimate()
    walk(noise, [0.01] * 470 + [0.02] * 15 + [0.5] * 15)
    assert not noise.calibrating
    # 470 of 500 are 94 per cent: the 95th percentile is among the 0.02s.
    assert noise.threshold == pytest.approx(1.2 * 0.02, rel=1e-3)


def test_frames_in_which_the_number_of_objects_changed_teach_nothing() -> None:
    noise = NoiseEstimate()
    for i in range(2000):
        noise.observe(flat(0.5 * (i % 2)), objects(*[("car", 0.9)] * (i % 2)))
    assert noise.calibrating
    for _ in range(501):
        noise.observe(flat(0.0), objects(("car", 0.9)))
    assert noise.threshold == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "teaches"),
    [
        (objects(("car", 0.9)), objects(("bus", 0.2)), True),
        (objects(), objects(("bus", 0.2)), False),
        (label("car", 0.9), label("car", 0.4), True),
        (label("car", 0.9), label("bus", 0.9), False),
        (labels(("car", 0.9), predicted=("car",)), labels(("car", 0.7), predicted=("car",)), True),
        (labels(("car", 0.9), predicted=("car",)), labels(("car", 0.7)), False),
        (stub(), stub(), True),
    ],
)
def test_every_kind_of_prediction_says_whether_the_scene_changed(one: object, other: object, teaches: bool) -> None:
    noise = NoiseEstimate()
    for i in range(501):
        noise.observe(flat(0.0), one if i % 2 else other)  # type: ignore[arg-type]  # the parameters are predictions
    assert noise.calibrating is not teaches


def test_what_was_learnt_stays_in_force_until_enough_is_learnt_anew() -> None:
    noise = NoiseEstimate()
    walk(noise, [0.01] * 500)
    noise.recalibrate()
    assert noise.calibrating
    assert noise.threshold == pytest.approx(0.012, rel=1e-3)
    walk(noise, [0.03] * 499, start=0.9)
    assert noise.threshold == pytest.approx(0.012, rel=1e-3)
    walk(noise, [0.03])
    assert noise.threshold == pytest.approx(0.036, rel=1e-3)


def test_the_first_frame_after_a_restart_is_not_compared_with_the_last_before() -> None:
    noise = NoiseEstimate()
    walk(noise, [0.0])
    noise.recalibrate()
    walk(noise, [0.0] * 499, start=0.9)
    assert noise.calibrating


def test_on_a_noisy_camera_auto_refuses_the_noise_and_lets_a_car_through() -> None:
    rng = np.random.default_rng(3)

    def seen(car_at: int | None = None) -> Signature:
        picture = street(car_at, width=256, height=144)
        return signature(np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8))

    noise, memory = NoiseEstimate(), SignatureMemory(16)
    for _ in range(501):
        noise.observe(seen(), objects())
    assert not noise.calibrating
    memory.add(remembered(seen()))
    assert sum(memory.find_similar(seen(), noise.threshold) is not None for _ in range(100)) >= 90
    assert all(memory.find_similar(seen(car_at), noise.threshold) is None for car_at in range(5, 90, 5))


def test_the_defaults_are_auto_and_256() -> None:
    assert NearDuplicateOptions() == NearDuplicateOptions.model_validate_json('{"threshold": "auto", "memory": 256}')


# What is known after a restart


@pytest.mark.parametrize(("measured", "first"), [(0.001, INITIAL_THRESHOLD), (0.08, 0.08)])
def test_until_it_has_measured_again_it_is_no_finer_than_at_first_and_no_finer_than_the_noise(
    measured: float, first: float
) -> None:
    noise = NoiseEstimate()
    noise.restore(measured)
    assert noise.threshold == first
    assert noise.measured == measured
    assert noise.calibrating


def first_values(memory: SignatureMemory) -> list[float]:
    """Of the signatures, the least recently matched first."""
    found = [one.signature for one in memory.oldest_first()]
    return [round(float(one[0]), 3) for one in found if one is not None]


def test_signatures_that_are_known_already_are_not_added_twice_but_count_as_matched() -> None:
    memory = SignatureMemory(3)
    memory.add_all(map(remembered, [flat(0.1), flat(0.2), flat(0.3)]))
    memory.add_all(map(remembered, [flat(0.1)]))
    assert len(memory) == 3
    memory.add_all(map(remembered, [flat(0.4)]))
    assert first_values(memory) == [0.3, 0.1, 0.4]


def test_a_full_memory_that_gets_more_than_it_holds_has_the_last_ones() -> None:
    memory = SignatureMemory(2)
    memory.add_all(map(remembered, [flat(0.1), flat(0.2), flat(0.3), flat(0.1), flat(0.3)]))
    assert first_values(memory) == [0.1, 0.3]
