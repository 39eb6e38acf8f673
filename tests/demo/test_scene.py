"""The demo's street: the same frame each time, a truth that lies on what is seen, and a story worth collecting from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framesift.demo.backdrop import lay_out
from framesift.demo.scene import CLASS_NAMES, SceneObject, Street, write_video
from framesift.demo.traffic import stage


@pytest.fixture(scope="module")
def street() -> Street:
    return Street()


@pytest.fixture(scope="module")
def story(street: Street) -> dict[int, tuple[SceneObject, ...]]:
    """The truth of two frames a second."""
    return {number: street.truth(number) for number in range(0, street.frames, 6)}


def edges(seen: SceneObject, margin: float = 0.0) -> tuple[float, float, float, float]:
    half = seen.width / 2 + margin, seen.height / 2 + margin
    return seen.x - half[0], seen.y - half[1], seen.x + half[0], seen.y + half[1]


def window(picture: NDArray[Any], seen: SceneObject, margin: int) -> NDArray[Any]:
    left, top, right, bottom = (int(edge) for edge in edges(seen, margin))
    return picture[max(top, 0) : bottom, max(left, 0) : right]


def change(street: Street, number: int) -> NDArray[np.float32]:
    """How much each pixel changes when everybody leaves (the largest of its channels)."""
    there, gone = street.render(number).astype(np.float32), street.render_empty(number).astype(np.float32)
    largest: NDArray[np.float32] = np.abs(there - gone).max(axis=2)
    return largest


def test_the_same_seed_gives_the_same_frame_in_any_order(street: Street) -> None:
    late, early = street.render(431), street.render(17)
    again = Street()
    assert np.array_equal(again.render(17), early)
    assert np.array_equal(again.render(431), late)
    assert again.truth(431) == street.truth(431)
    assert early.shape == (360, 640, 3)
    assert early.dtype == np.uint8


def test_another_seed_gives_another_street(street: Street) -> None:
    other = Street(seed=8)
    difference = np.abs(other.render_empty(0).astype(int) - street.render_empty(0).astype(int)).mean()
    assert difference > 10
    assert other.truth(60) != street.truth(60)


def test_every_box_lies_inside_the_picture(street: Street, story: dict[int, tuple[SceneObject, ...]]) -> None:
    for seen in (seen for objects in story.values() for seen in objects):
        left, top, right, bottom = edges(seen)
        assert 0 <= left < right <= street.width
        assert 0 <= top < bottom <= street.height
        assert 0 < seen.visible <= 1
        assert seen.class_name in CLASS_NAMES


@pytest.mark.parametrize("number", [20, 140, 236])
def test_what_changes_when_everybody_leaves_lies_in_the_boxes(street: Street, number: int) -> None:
    changed = change(street, number)
    # Shadows fall outside the boxes, so only a change stronger than any shadow counts here.
    strong = changed > 90
    assert strong.sum() > 500
    covered = np.zeros_like(strong)
    for seen in street.truth(number):
        window(covered, seen, 1)[:] = True
        assert (window(changed, seen, 0) > 20).mean() > 0.2
    assert (strong & ~covered).sum() < 0.01 * strong.sum()


def test_a_box_ends_where_its_object_ends(street: Street) -> None:
    judged = 0
    for number in range(0, 240, 24):
        objects = street.truth(number)
        changed = change(street, number)
        for seen in objects:
            around = edges(seen, 14)
            others = [edges(other) for other in objects if other is not seen]
            alone = all(
                o[2] < around[0] or o[0] > around[2] or o[3] < around[1] or o[1] > around[3] for o in others
            ) and (around[0] > 0 and around[2] < street.width and around[3] < street.height)
            if not alone or seen.visible < 0.98:
                continue
            left, top, right, _ = (int(edge) for edge in around)
            rows = np.nonzero((changed[top : int(seen.y), left:right] > 40).any(axis=1))[0]
            assert abs(int(rows.min()) - 14) <= 2
            judged += 1
    assert judged >= 8


def test_the_story_has_everything_a_strategy_could_ask_for(story: dict[int, tuple[SceneObject, ...]]) -> None:
    counts = [len(objects) for objects in story.values()]
    assert {seen.class_name for objects in story.values() for seen in objects} == set(CLASS_NAMES)
    assert max(counts) >= 10
    quiet = [number for number, objects in story.items() if not objects]
    assert len(quiet) >= 4
    assert counts[0] > 0
    assert counts[-1] > 0
    hidden = [seen for objects in story.values() for seen in objects if seen.visible < 0.6 and 20 < seen.x < 620]
    assert len(hidden) >= 20


def test_a_vehicle_stands_still_while_others_pass(street: Street, story: dict[int, tuple[SceneObject, ...]]) -> None:
    vehicles = [{edges(seen) for seen in story[number] if seen.class_name in ("car", "truck")} for number in story]
    stays = [one & two & three for one, two, three in zip(vehicles[::2], vehicles[2::2], vehicles[4::2], strict=False)]
    assert any(stays)
    assert street.truth(0) != street.truth(12)


def test_nobody_is_driven_over() -> None:
    tracks = stage(lay_out(np.random.default_rng((7, 0)), 640, 360), np.random.default_rng((7, 3)), 50.0, 12.0)
    half_width = {"car": 0.9, "truck": 1.1, "bicycle": 0.3}
    crossed = 0
    for number in range(0, 600, 2):
        there = [(track.look, pose) for track in tracks if (pose := track.pose(number, lights=False)) is not None]
        people = [pose for look, pose in there if look.class_name == "person"]
        crossed += sum(abs(pose.y - 21.3) < 1.0 for pose in people)
        for look, pose in there:
            for person in people if look.class_name != "person" else []:
                apart = abs(person.x - pose.x) > look.length_m / 2
                assert apart or abs(person.y - pose.y) > half_width[look.class_name], (number, look.class_name)
    assert crossed >= 20


def test_an_object_at_the_edge_is_as_visible_as_the_part_inside(street: Street) -> None:
    judged = 0
    for number in range(0, street.frames, 12):
        for seen in street.truth(number):
            left, _, right, _ = edges(seen)
            # The narrower its box at the edge, the less of a vehicle is in the picture.
            if seen.class_name in ("car", "truck") and (left == 0 or right == street.width) and seen.width < 40:
                assert seen.visible < 0.6
                judged += 1
    assert judged >= 3


def test_dusk_comes_in_the_second_half(street: Street) -> None:
    assert street.darkness(0) == 0
    assert street.darkness(street.frames - 1) == 1
    day, dusk = street.render_empty(10), street.render_empty(street.frames - 10)
    assert dusk.mean() < 0.6 * day.mean()
    flat = (slice(310, 350), slice(300, 340))
    rough_day, rough_dusk = (
        np.std(street.render_empty(n)[flat].astype(int) - street.render_empty(n + 1)[flat].astype(int))
        for n in (10, street.frames - 10)
    )
    assert rough_dusk > 2 * rough_day


def test_a_video_has_as_many_frames_as_the_street_and_shows_them(tmp_path: Path) -> None:
    street = Street(seed=11, frames=31)
    progress: list[tuple[int, int]] = []
    write_video(street, tmp_path / "street.mp4", lambda done, total: progress.append((done, total)))
    assert progress == [(number + 1, 31) for number in range(31)]
    reader = cv2.VideoCapture(str(tmp_path / "street.mp4"), cv2.CAP_FFMPEG)
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 31
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    number = 0
    while True:
        there, picture = reader.read()
        if not there:
            break
        assert cv2.PSNR(picture, street.render(number)) > 28
        number += 1
    reader.release()
    assert number == 31


def test_a_video_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no-such-folder"):
        write_video(Street(frames=2), tmp_path / "no-such-folder" / "street.mp4")


def test_a_frame_that_is_not_there_is_refused(street: Street) -> None:
    for number in (-1, street.frames):
        with pytest.raises(IndexError, match=f"frame {number} "):
            street.render(number)
        with pytest.raises(IndexError, match="0 to 599"):
            street.truth(number)


def test_an_impossible_street_is_refused() -> None:
    with pytest.raises(ValueError, match="10x360"):
        Street(width=10)
    with pytest.raises(ValueError, match="0 frames"):
        Street(frames=0)
    with pytest.raises(ValueError, match="at 0 fps"):
        Street(fps=0)


def test_a_short_or_small_street_still_has_people_on_it() -> None:
    street = Street(seed=3, width=320, height=180, frames=24)
    assert street.render(23).shape == (180, 320, 3)
    assert len(street.truth(12)) >= 3
