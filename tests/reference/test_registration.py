"""One registration on the platform, sentence by sentence: the order of its steps, and what is sent: tags, the picture,
its annotation. Where we differ on purpose a case says so, and shows ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clocks import NOON_S
from framesift.clock.moment import Moment
from framesift.config.errors import ConfigError
from framesift.datapoint import encode_datapoint, new_datapoint_id
from framesift.frame import Frame, Pixels
from framesift.pictures.outgoing import NO_MASK, fit_size
from framesift.prediction import masks
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Detections, scale_prediction
from framesift.settings import load
from registrations import IMAGE, PROJECT, STUB, found, limits, policy, registering
from rigs.platform import Platform, StoredImage
from rigs.polygons import covered

CLOSE: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.2, "probability": 1}
UNSURE: dict[str, Any] = {"type": "uncertainty"}
LABEL = {"image": IMAGE, "predictions": [{"class": "cat", "confidence": 0.9}], "top": "cat", "confidence": 0.9}
NO_LABEL = {"image": IMAGE, "predictions": [], "top": "", "confidence": 0.0}
LABELS = {
    "image": IMAGE,
    "predictions": {name: {"confidence": 0.9, "class_id": i} for i, name in enumerate(("wet", "dark", "snow"))},
    "predicted_classes": ["wet", "snow"],
}


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as started:
        started.add_project(PROJECT)
        yield started
    assert started.bugs == []


def sent(folder: Path, platform: Platform, answer: dict[str, Any] | None = None, **rules: Any) -> StoredImage:
    """What the platform has of one frame."""
    tags = rules.pop("machine", ())
    pixels = rules.pop("pixels", None)
    if answer is not None and ("top" in answer or "predicted_classes" in answer):
        platform.add_project(PROJECT, "single-label-classification")  # where labels may land
    with registering(folder, policy(*rules.pop("strategies", ()), **rules), tags=tags) as here:
        assert here.offer(answer, pixels=pixels) not in ("no_match", "limit")
        here.upload_to(platform)
    (image,) = platform.images
    return image


def picture(width: int, height: int) -> Pixels:
    """Something to see: BGR."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack((x * 255 // width, y * 255 // height, (x + y) % 256), axis=2).astype(np.uint8)


def decoded(jpeg: bytes) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels.astype(np.uint8)


# The order


def test_a_frame_is_bgr_and_the_stored_picture_has_its_colours(tmp_path: Path, platform: Platform) -> None:
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[:, :, 0] = 250
    stored = decoded(sent(tmp_path, platform, pixels=blue).jpeg)
    assert stored[..., 0].min() > 240
    assert stored[..., 1:].max() < 10


def test_of_all_that_match_the_first_in_the_policys_order_is_charged_whatever_the_scores(tmp_path: Path) -> None:
    with registering(tmp_path, policy(CLOSE, UNSURE, {})) as here:
        assert here.offer(found(0.4)) == "a"  # though b would give it a score
        assert here.offer(found(0.9)) == "b"
        assert here.offer(found()) == "c"


def test_where_none_matches_nothing_is_charged_and_nothing_is_sent(tmp_path: Path, platform: Platform) -> None:
    with registering(tmp_path, policy(CLOSE)) as here:
        assert here.offer(found(0.9)) == "no_match"
        assert here.spool.quota_usage() == ()
        here.upload_to(platform)
    assert platform.requests == ()


def test_where_none_has_quota_nothing_is_sent(tmp_path: Path, platform: Platform) -> None:
    with registering(tmp_path, policy(limits(daily=0), limits(hourly=0))) as here:
        assert here.offer() == "limit"
        here.upload_to(platform)
    assert platform.requests == ()


def test_ours_a_frame_without_credit_is_refused_before_there_is_a_jpeg(tmp_path: Path) -> None:
    wide = np.zeros((2, 70_000, 3), np.uint8)  # which no JPEG holds: were it made, it would fail
    with registering(tmp_path, policy(limits(daily=0))) as here:
        assert here.offer(pixels=wide) == "limit"
    full = policy(batching={"max_batch_images": 1})
    (tmp_path / "other").mkdir()
    with registering(tmp_path / "other", full) as here:
        assert here.offer() == "a"
        assert here.offer(pixels=wide) == "batch_full"


def test_the_image_goes_before_its_annotation_with_the_batch_and_both_with_the_same_name(
    tmp_path: Path, platform: Platform
) -> None:
    image = sent(tmp_path, platform, batching={"recreation_interval": "daily"})
    assert [(one.call, one.status) for one in platform.requests] == [("upload", 200), ("annotate", 200)]
    assert image.batch == "al_2026_09_10"
    (annotation,) = platform.annotations_of(image.id)
    assert annotation.prediction
    assert (Path(image.name).suffix, Path(annotation.name).suffix) == (".jpg", ".json")
    assert Path(image.name).stem == Path(annotation.name).stem


# Tags


def tags_of(folder: Path, platform: Platform, answer: dict[str, Any] | None = None, **rules: Any) -> tuple[str, ...]:
    """Without those of our own, which stand behind: the device and the stream's."""
    tags = sent(folder, platform, answer, **rules).tags
    assert tags[-2:] == ("gate-7", "north")
    return tags[:-2]


def test_tags_are_the_environments_the_policys_the_strategys_and_the_models_in_this_order(
    tmp_path: Path, platform: Platform
) -> None:
    answer = found(0.5, model_id="parking/3")
    rules = {"tags": ["p2", "p1"], "strategies": [{"tags": ["s2", "s1"]}], "machine": ("e2", "e1")}
    assert tags_of(tmp_path, platform, answer, **rules) == ("e2", "e1", "p2", "p1", "s2", "s1", "parking-3")


def test_tags_are_those_of_the_one_strategy_that_is_charged(tmp_path: Path, platform: Platform) -> None:
    strategies = [{"tags": ["first"], **limits(daily=0)}, {"tags": ["second"]}, {"tags": ["third"]}]
    assert tags_of(tmp_path, platform, strategies=strategies) == ("second",)


def test_a_tag_that_is_said_twice_is_sent_twice(tmp_path: Path, platform: Platform) -> None:
    rules = {"tags": ["x", "x"], "strategies": [{"tags": ["x"]}], "machine": ("x",)}
    assert tags_of(tmp_path, platform, found(0.5, model_id="x"), **rules) == ("x", "x", "x", "x", "x")


def test_without_persist_predictions_there_is_no_tag_of_the_model(tmp_path: Path, platform: Platform) -> None:
    answer = found(0.5, model_id="parking/3")
    rules = {"tags": ["p"], "strategies": [{"tags": ["s"]}], "machine": ("e",), "persist_predictions": False}
    assert tags_of(tmp_path, platform, answer, **rules) == ("e", "p", "s")


def test_without_tags_anywhere_there_is_that_of_the_model(tmp_path: Path, platform: Platform) -> None:
    assert tags_of(tmp_path, platform, found(0.5, model_id="a/b/3")) == ("a-b-3",)


def test_a_stub_has_the_tag_of_its_model(tmp_path: Path, platform: Platform) -> None:
    assert tags_of(tmp_path, platform, STUB) == ("parking-0",)


def test_ours_a_model_whose_name_is_no_tag_gives_none(tmp_path: Path, platform: Platform) -> None:
    assert tags_of(tmp_path, platform, found(0.5, model_id="my model")) == ()


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, ("mine",)),
        ("", ("mine",)),
        ("night", ("night", "mine")),
        ("b,a", ("b", "a", "mine")),
        (" b , a ,", ("b", "a", "mine")),
    ],
)
def test_the_environments_tags_are_a_comma_list_before_the_machines(
    tmp_path: Path, variable: str | None, expected: tuple[str, ...]
) -> None:
    whole = {
        "tags": ["mine"],
        "streams": [{"name": "gate", "source": "a.mp4"}],
        "model": {"type": "stub"},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
    }
    (tmp_path / "framesift.yaml").write_text(json.dumps(whole))
    environ = {} if variable is None else {"ACTIVE_LEARNING_TAGS": variable}
    assert load(tmp_path / "framesift.yaml", environ).tags == expected


# The picture


def reduced(h: int, w: int, max_h: int, max_w: int) -> tuple[int, int]:
    """The reference's sentence as a program: new_h, new_w; and ours: at least 1."""
    if h <= max_h and w <= max_w:
        return h, w
    if w / h >= max_w / max_h:
        new_w, new_h = max_w, int(max_w / (w / h))
    else:
        new_h, new_w = max_h, int(max_h * (w / h))
    return max(new_h, 1), max(new_w, 1)


SIDE = st.integers(1, 5000) | st.integers(1, 65535) | st.sampled_from([1, 2, 3, 480, 640, 720, 1080, 1200, 1920])


@given(height=SIDE, width=SIDE, max_height=SIDE, max_width=SIDE)
@example(height=1080, width=1920, max_height=1200, max_width=1200)
@example(height=1080, width=1920, max_height=1080, max_width=1919)
@example(height=49, width=147, max_height=33, max_width=99)
@example(height=3, width=10_000, max_height=100, max_width=100)
# Where the order of the operations shows, and which of two equal ratios goes first.
@example(height=342, width=873, max_height=114, max_width=291)  # a third of it, and yet 113 high
@example(height=748, width=102, max_height=374, max_width=51)
@example(height=1020, width=561, max_height=487, max_width=264)
@example(height=1757, width=245, max_height=753, max_width=1933)
def test_a_picture_is_as_large_as_the_sentence_says(height: int, width: int, max_height: int, max_width: int) -> None:
    new_height, new_width = reduced(height, width, max_height, max_width)
    assert fit_size(width, height, (max_height, max_width)) == (new_width, new_height)
    assert new_height <= max_height or new_height == height
    assert new_width <= max_width or new_width == width


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((64, 48), None, (64, 48)),
        ((64, 48), [48, 64], (64, 48)),
        ((64, 48), [480, 640], (64, 48)),
        ((64, 48), [47, 64], (62, 47)),  # 62.67 is cut
        ((64, 48), [48, 63], (63, 47)),  # 47.25 is cut
        ((48, 64), [32, 32], (24, 32)),
        ((64, 48), [24, 32], (32, 24)),
        ((50, 20), [20, 30], (30, 12)),
    ],
)
def test_max_image_size_is_height_and_width_and_the_stored_picture_fits_in_it(
    tmp_path: Path, platform: Platform, size: tuple[int, int], most: list[int] | None, expected: tuple[int, int]
) -> None:
    stored = decoded(sent(tmp_path, platform, pixels=picture(*size), max_image_size=most).jpeg)
    assert (stored.shape[1], stored.shape[0]) == expected


def test_ours_a_thin_picture_keeps_a_pixel(tmp_path: Path, platform: Platform) -> None:
    stored = decoded(sent(tmp_path, platform, pixels=picture(600, 2), max_image_size=[100, 100]).jpeg)
    assert stored.shape[:2] == (1, 100)


@pytest.mark.parametrize("quality", [None, 1, 60, 100])
def test_a_picture_is_always_encoded_anew_with_the_policys_quality_95_by_default(
    tmp_path: Path, platform: Platform, quality: int | None
) -> None:
    pixels = picture(64, 48)
    more: dict[str, Any] = {} if quality is None else {"jpeg_compression_level": quality}
    made, expected = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality or 95])
    assert made
    assert sent(tmp_path, platform, pixels=pixels, **more).jpeg == expected.tobytes()


def test_a_picture_is_reduced_bilinearly(tmp_path: Path, platform: Platform) -> None:
    pixels = picture(64, 48)
    small = cv2.resize(pixels, (40, 30), interpolation=cv2.INTER_LINEAR)
    expected = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert sent(tmp_path, platform, pixels=pixels, max_image_size=[30, 40]).jpeg == expected


# The annotation


@pytest.mark.parametrize(
    ("answer", "name", "text"),
    [
        pytest.param(LABEL, ".txt", "cat", id="of one label its name"),
        pytest.param(NO_LABEL, ".txt", "", id="of no label an empty text, since there is a top"),
        pytest.param(LABELS, ".txt", "wet,snow", id="ours: of many labels the predicted names"),
        pytest.param({**LABELS, "predicted_classes": []}, ".txt", "", id="ours: of many labels none predicted"),
    ],
)
def test_what_is_written_to_a_classification(
    tmp_path: Path, platform: Platform, answer: dict[str, Any], name: str, text: str
) -> None:
    image = sent(tmp_path, platform, answer)
    (annotation,) = platform.annotations_of(image.id)
    assert (Path(annotation.name).suffix, annotation.text) == (name, text)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(STUB, id="a stub"),
        pytest.param({**STUB, "task_type": "classification"}, id="a stub of a classifier"),
        pytest.param(found(), id="no objects"),
        pytest.param({"image": IMAGE, "predictions": {}, "predicted_classes": []}, id="no labels at all"),
    ],
)
def test_an_image_of_which_nothing_was_predicted_goes_without_an_annotation(
    tmp_path: Path, platform: Platform, answer: dict[str, Any]
) -> None:
    sent(tmp_path, platform, answer)
    assert (len(platform.asked("upload")), platform.asked("annotate")) == (1, ())


@pytest.mark.parametrize("answer", [found(0.5), LABEL, LABELS], ids=["objects", "one label", "many labels"])
def test_without_persist_predictions_an_image_goes_alone(
    tmp_path: Path, platform: Platform, answer: dict[str, Any]
) -> None:
    sent(tmp_path, platform, answer, persist_predictions=False)
    assert (len(platform.asked("upload")), platform.asked("annotate")) == (1, ())


@pytest.mark.parametrize("bad", [0, None, "false", "no"])
def test_ours_only_true_and_false_are_answers_to_persist_predictions(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"persist_predictions: .* is not allowed; .*it must be true or false"):
        policy(persist_predictions=bad)


def test_an_image_that_was_there_before_us_gets_no_annotation(tmp_path: Path, platform: Platform) -> None:
    pixels = picture(64, 48)
    platform.add_image(PROJECT, cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    with registering(tmp_path, policy(limits(daily=1))) as here:
        assert here.offer(pixels=pixels) == "a"
        here.upload_to(platform)
        assert platform.asked("annotate") == ()
        assert here.offer(pixels=picture(32, 32)) == "a"  # the quota was refunded


# Coordinates


def test_ours_coordinates_are_those_of_the_stored_picture_each_axis_by_its_own_factor(
    tmp_path: Path, platform: Platform
) -> None:
    # 64 x 48 in at most 47 x 64 is 62 x 47: the two factors differ.
    image = sent(tmp_path, platform, pixels=picture(64, 48), max_image_size=[47, 64])
    (annotation,) = platform.annotations_of(image.id)
    (box,) = annotation.json()["predictions"]
    assert (box["x"], box["y"]) == pytest.approx((32 * 62 / 64, 24 * 47 / 48))
    assert (box["width"], box["height"]) == pytest.approx((16 * 62 / 64, 8 * 47 / 48))
    assert annotation.json()["image"] == {"width": 62, "height": 47}


PIXEL = st.floats(0, 5000)


@given(
    x=PIXEL,
    y=PIXEL,
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    new=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_ours_every_point_is_scaled_by_its_axis_and_the_prediction_itself_is_not_changed(
    x: float, y: float, size: tuple[int, int], new: tuple[int, int]
) -> None:
    part = {
        "x": x,
        "y": y,
        "width": x,
        "height": y,
        "class": "car",
        "confidence": 0.5,
        "points": [{"x": x, "y": y}, {"x": 0, "y": 0}],
        "keypoints": [{"x": x, "y": y, "confidence": 0.9, "class_id": 0, "class": "nose"}],
    }
    before = wire.parse_prediction({"image": {"width": size[0], "height": size[1]}, "predictions": [part]})
    kept = wire.to_wire(before)
    after = scale_prediction(before, *new)
    assert wire.to_wire(before) == kept
    assert isinstance(after, Detections)
    (moved,) = after.objects
    expected: Any = pytest.approx((x * (new[0] / size[0]), y * (new[1] / size[1])))
    assert moved.points is not None
    assert moved.keypoints is not None
    assert (moved.x, moved.y) == (moved.width, moved.height) == expected
    places = [(p.x, p.y) for p in moved.points] + [(p.x, p.y) for p in moved.keypoints]
    assert places == [expected, (0, 0), expected]


@pytest.mark.parametrize("kind", ["points", "rle"])
def test_a_mask_in_pieces_is_sent_whole_in_the_pixels_of_the_stored_picture(
    tmp_path: Path, platform: Platform, kind: str
) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[8:40, 4:24] = mask[8:40, 32:60] = 1
    mask[16:24, 40:48] = 0
    corners, counts = masks.mask_to_polygon(mask), masks.encode_mask(mask).counts
    assert corners is not None
    prompts: dict[str, dict[str, Any]] = {
        "points": {"points": [{"x": x, "y": y} for x, y in corners.tolist()]},
        "rle": {"rle": {"size": [48, 64], "counts": counts}},
    }
    answer = found(0.5)
    answer["predictions"][0] |= {"x": 32, "y": 24, "width": 56, "height": 32, **prompts[kind]}
    image = sent(tmp_path, platform, answer, max_image_size=[24, 32])
    (annotation,) = platform.annotations_of(image.id)
    (box,) = annotation.json()["predictions"]
    if kind == "rle":
        assert "points" not in box
        stored = masks.decode_mask(masks.parse_rle((24, 32), box["rle"]["counts"])) > 0
    else:
        stored = covered([(point["x"], point["y"]) for point in box["points"]], 24, 32)
    assert (stored == (mask[::2, ::2] > 0)).all()
    rows, columns = np.nonzero(stored)
    box_of_mask = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    x, y, w, h = (box[key] for key in ("x", "y", "width", "height"))
    assert box_of_mask == (x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def test_coordinates_of_a_picture_that_is_not_reduced_stay_as_they_are(tmp_path: Path, platform: Platform) -> None:
    image = sent(tmp_path, platform, found(0.5), max_image_size=[48, 64])
    (annotation,) = platform.annotations_of(image.id)
    (box,) = annotation.json()["predictions"]
    assert {key: box[key] for key in ("x", "y", "width", "height")} == {"x": 32, "y": 24, "width": 16, "height": 8}


def test_ours_the_predictions_inference_id_goes_with_the_image(tmp_path: Path, platform: Platform) -> None:
    assert sent(tmp_path, platform, found(0.5, inference_id="of-this-answer")).inference_id == "of-this-answer"


def test_a_prediction_without_inference_id_sends_none(tmp_path: Path, platform: Platform) -> None:
    assert sent(tmp_path, platform).inference_id is None


def test_target_project_takes_the_place_of_the_sinks_own(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("elsewhere")
    assert sent(tmp_path, platform, target_project="elsewhere").project == "elsewhere"


def test_the_evaluated_prediction_is_not_changed_by_what_is_stored() -> None:
    prediction = wire.parse_prediction(found(0.5))
    before = wire.to_wire(prediction)
    frame = Frame("gate", 0, picture(64, 48), Moment(NOON_S, 1.0, "boot"))
    stored = encode_datapoint(
        frame, prediction, id=new_datapoint_id(), device="gate-7", mask=NO_MASK, max_size=(24, 32), jpeg_quality=95
    )
    assert wire.to_wire(prediction) == before != wire.to_wire(stored.prediction)
