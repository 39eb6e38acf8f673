"""What counts as the same picture: stills behind an encoder do, dark nights and walls don't."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from exhaustive import some_of
from framesift.frame import Pixels
from framesift.streams.freeze_detector import FROZEN_AFTER_S, FreezeDetector
from rigs.footage import real_pictures, with_sensor_noise, write_clip

PICTURE: Pixels = np.random.default_rng(1).integers(40, 200, (180, 320, 3), np.uint8)
BLOCK = 20, 15  # width and height of a 16th and a 12th of it
STEP_S = 0.5


class Camera:
    """Shows pictures to a detector, two a second."""

    def __init__(self) -> None:
        self.detector = FreezeDetector()
        self.now_s = 100.0
        self.rng = np.random.default_rng(3)

    def show(self, picture: Callable[[], Pixels], seconds: float) -> float | None:
        """Returns after how many seconds the source was frozen; None if it was not."""
        for step in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            if self.detector.update(picture(), self.now_s):
                return step * STEP_S
        return None

    def noisy(self, deviation: float) -> Callable[[], Pixels]:
        states = itertools.cycle([with_sensor_noise(PICTURE, deviation, self.rng) for _ in range(16)])
        return lambda: next(states)

    def flickering(self, mean: float) -> Callable[[], Pixels]:
        """A still picture, every second one of which is lighter by `mean` in each block: some values are one more."""
        pixels = np.arange(PICTURE.shape[0] * PICTURE.shape[1]).reshape(PICTURE.shape[:2])
        lit: Pixels = np.repeat((pixels * 7 % 300 < round(mean * 300))[:, :, None], 3, axis=2).astype(np.uint8)
        lighter: Pixels = PICTURE + lit
        states: Iterator[Pixels] = itertools.cycle([PICTURE, lighter])
        return lambda: next(states)


def still() -> Pixels:
    copy: Pixels = PICTURE.copy()
    return copy


def test_a_still_picture_is_frozen_within_a_minute_and_until_it_moves() -> None:
    camera = Camera()
    assert camera.show(still, 200.0) == FROZEN_AFTER_S
    assert camera.show(still, 1000.0) == 0.0
    assert [camera.detector.update(camera.noisy(1.0)(), camera.now_s + step) for step in (1, 2, 3)] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("mean", [0.005, 0.025])
def test_what_an_encoder_makes_of_a_still_picture_is_frozen(mean: float) -> None:
    camera = Camera()
    assert camera.show(camera.flickering(mean), 80.0) is not None


def test_a_clock_that_ticks_in_a_few_blocks_does_not_move_the_picture() -> None:
    camera = Camera()
    ticks = iter(range(10_000))

    def clocked() -> Pixels:
        picture = still()
        cv2.putText(picture, f"12:00:{next(ticks) // 2:02d}", (4, 14), cv2.FONT_HERSHEY_PLAIN, 1.0, (255, 255, 255))
        return picture

    assert camera.show(clocked, 100.0) == FROZEN_AFTER_S


def test_movement_in_a_tenth_of_the_blocks_is_movement() -> None:
    camera = Camera()

    def waving() -> Pixels:
        picture = still()
        part = picture[: 5 * BLOCK[1], : 4 * BLOCK[0]]
        part[:] = with_sensor_noise(part, 1.0, camera.rng)
        return picture

    assert camera.show(waving, 200.0) is None


def test_what_differs_less_than_the_noise_that_was_learnt_is_frozen() -> None:
    camera = Camera()
    assert camera.show(camera.flickering(0.045), 200.0) is None
    assert camera.show(camera.noisy(2.0), 620.0) is None
    assert camera.show(camera.flickering(0.045), 100.0) is not None


def test_noise_is_learnt_for_ten_minutes() -> None:
    camera = Camera()
    assert camera.show(camera.noisy(2.0), 500.0) is None
    assert camera.show(camera.flickering(0.045), 99.0) is None


def test_rain_that_ends_leaves_a_scene_that_is_not_frozen() -> None:
    camera = Camera()
    assert camera.show(camera.noisy(20.0), 1200.0) is None
    assert camera.show(camera.noisy(1.0), 300.0) is None


def test_the_noise_by_day_says_nothing_of_the_room_after_the_light_is_off() -> None:
    camera = Camera()
    assert camera.show(camera.noisy(2.0), 620.0) is None
    flickering = camera.flickering(0.045)
    assert camera.show(lambda: flickering() - 30, 300.0) is None


def test_seconds_without_pictures_do_not_count() -> None:
    camera = Camera()
    assert camera.show(still, 50.0) is None
    camera.detector.source_lost()
    camera.now_s += 600.0
    assert camera.show(still, 200.0) == FROZEN_AFTER_S


def test_a_frozen_source_stays_so_over_a_loss_and_a_torn_picture() -> None:
    camera = Camera()
    camera.show(still, 60.0)
    camera.detector.source_lost()
    camera.now_s += 600.0
    assert camera.show(still, 1.0) == 0.0
    torn = still()
    torn[90:] = 128
    for picture in (torn, still(), torn, still()):
        camera.now_s += STEP_S
        assert camera.detector.update(picture, camera.now_s)
    camera.now_s += STEP_S
    assert camera.detector.update(torn, camera.now_s)
    assert not camera.detector.update(torn, camera.now_s + STEP_S)


@pytest.mark.parametrize("frozen", [False, True])
def test_another_size_is_movement(frozen: bool) -> None:
    camera = Camera()
    assert (camera.show(still, 60.0 if frozen else 30.0) is not None) == frozen
    assert camera.show(lambda: PICTURE[:90].copy(), 50.0) is None


@pytest.mark.parametrize("size", [(2, 2), (3, 500), (500, 3), (1080, 1920)])
def test_a_picture_of_any_size_can_be_frozen(size: tuple[int, int]) -> None:
    camera = Camera()
    pixels = np.full((*size, 3), 90, np.uint8)
    moved = itertools.cycle([10, 200])
    assert camera.show(lambda: pixels, 100.0) == FROZEN_AFTER_S
    assert camera.show(lambda: np.full_like(pixels, next(moved)), 3.0) == 0.0
    assert camera.show(lambda: np.full_like(pixels, next(moved)), 3.0) is None
    assert not camera.detector.is_frozen


def test_memory_that_is_reused_does_not_count_as_the_same_picture() -> None:
    camera = Camera()
    shared = still()

    def reused() -> Pixels:
        shared[:] = 255 - shared
        return shared

    assert camera.show(reused, 200.0) is None


def test_pictures_between_two_comparisons_are_not_looked_at() -> None:
    detector = FreezeDetector()
    for index in range(1500):
        detector.update(PICTURE if index % 10 == 0 else 255 - PICTURE, index * 0.05)
    assert detector.is_frozen


# -- pictures that went through an encoder


def decoded(path: Path) -> Iterator[Pixels]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def frozen_after_s(clip: Path, fps: int) -> float | None:
    detector = FreezeDetector()
    for index, pixels in enumerate(decoded(clip)):
        if detector.update(pixels, index / fps):
            return index / fps
    return None


ENCODERS = {
    "quality, a key frame every 4 s": ({"crf": "23"}, 8),
    "quality, a key frame every 25 s": ({"crf": "28"}, 50),
    "100 kbit/s": ({"b": "100000"}, 8),
    "10 kbit/s": ({"b": "10000"}, 20),
}


def half(picture: Pixels) -> Pixels:
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


@functools.cache
def street_by_day() -> list[Pixels]:
    return [half(picture) for picture in real_pictures()[::10]]


def scenes() -> dict[str, list[NDArray[np.float32]]]:
    street = [picture.astype(np.float32) for picture in street_by_day()]
    wall = np.full(street[0].shape, 120.0, np.float32) + np.linspace(0.0, 20.0, street[0].shape[1])[None, :, None]
    return {
        "a street at night": [picture * 0.12 + 4.0 for picture in street],
        "an empty street at night": [street[0] * 0.12 + 4.0],
        "a wall": [wall.astype(np.float32)],
    }


@pytest.mark.parametrize("encoder", some_of(ENCODERS, lambda encoder: encoder == "10 kbit/s"))
@pytest.mark.parametrize("scene", ["a street at night", "an empty street at night", "a wall"])
def test_real_noise_behind_an_encoder_is_not_frozen(scene: str, encoder: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    views = scenes()[scene]
    pictures = (with_sensor_noise(views[index % len(views)], 1.2, rng) for index in range(2 * 75))
    options, gop = ENCODERS[encoder]
    assert frozen_after_s(write_clip(tmp_path / "clip.mp4", pictures, 2, gop, **options), 2) is None


@pytest.mark.parametrize(
    ("encoder", "with_clock"),
    [
        pytest.param({"crf": "23"}, False, marks=pytest.mark.exhaustive),
        pytest.param({"b": "300000"}, False, marks=pytest.mark.exhaustive),
        ({"b": "300000"}, True),
    ],
)
def test_a_still_picture_behind_an_encoder_is_frozen(encoder: dict[str, str], with_clock: bool, tmp_path: Path) -> None:
    picture = street_by_day()[0]
    fps = 12

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for index in range(fps * 75):
            shown = picture.copy()
            if with_clock:
                time = f"12:00:{index // fps % 60:02d}"
                cv2.putText(shown, time, (8, 14), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 255))
            yield shown

    assert frozen_after_s(write_clip(tmp_path / "clip.mp4", pictures(), fps, 2 * fps, **encoder), fps) is not None
