"""From a camera's file to the platform, with a real process: for every task, what is stored there is what was seen.

One white object stands at a known place on the dark, in clips without loss. The stored picture is looked at: there the
object must be where the stored annotation says, to the pixel, after the picture was reduced by a factor that is no
whole number, in a wide, a tall and a very flat picture, and in one that was small enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

import canaries
from rigs.daemon import POLICY, framesift, write_configuration
from rigs.drawn_clips import Shape, box_of, clip, filled, from_runs, near, runs_of, shape, white, write_recording
from rigs.platform import KEY, Platform, StoredAnnotation, StoredImage

SIZES = {"wide": (641, 359), "tall": (359, 641), "flat": (901, 49), "small": (297, 150)}
MAX_SIZE = [200, 300]  # height, width
STORED = {"wide": (300, 168), "tall": (112, 200), "flat": (300, 16), "small": (297, 150)}
FRAMES = 2
EXTRAS = {
    "track_quality": 0.7,
    "colour": "red",
    "plate": None,
    "length_px": 120,
}  # under keys that framesift doesn't know
NEAREST = 0.51  # the edge of a pixel nearest to a place, and a little for the JPEG

Answer = dict[str, Any]


def policy(**changes: Any) -> dict[str, Any]:
    return {**POLICY, "max_image_size": MAX_SIZE, "jpeg_compression_level": 100, **changes}


def boxed(drawn: Shape, **more: Any) -> Answer:
    left, top, right, bottom = box_of(drawn.mask())
    box = {"x": (left + right) / 2, "y": (top + bottom) / 2, "width": right - left, "height": bottom - top}
    found = {**box, "confidence": 0.5, "class": "ramp", "class_id": 3, **EXTRAS, **more}
    return {"image": {"width": drawn.width, "height": drawn.height}, "predictions": [found]}


def with_polygon(drawn: Shape) -> Answer:
    return boxed(drawn, points=[{"x": x, "y": y} for x, y in drawn.corners])


def with_mask(drawn: Shape) -> Answer:
    return boxed(drawn, rle={"size": [drawn.height, drawn.width], "counts": runs_of(drawn.mask())})


def with_keypoints(drawn: Shape) -> Answer:
    named = [
        {"x": x, "y": y, "confidence": 0.9, "class": f"k{n}", "class_id": n} for n, (x, y) in enumerate(drawn.corners)
    ]
    return boxed(drawn, keypoints=named)


def one_label(drawn: Shape) -> Answer:
    scores = [{"class": "day", "class_id": 0, "confidence": 0.9}, {"class": "night", "class_id": 1, "confidence": 0.1}]
    size = {"width": drawn.width, "height": drawn.height}
    return {"image": size, "predictions": scores, "top": "day", "confidence": 0.9}


def many_labels(drawn: Shape) -> Answer:
    scores = {name: {"confidence": 0.9, "class_id": n} for n, name in enumerate(("wet", "dark", "empty"))}
    size = {"width": drawn.width, "height": drawn.height}
    return {"image": size, "predictions": scores, "predicted_classes": ["wet", "empty"]}


@dataclass(frozen=True)
class Kind:
    """What a model may say. shape: what is drawn for it. say: None for the null model, which says nothing."""

    shape: Literal["box", "triangle", "dots"]
    task: str
    say: Callable[[Shape], Answer] | None


KINDS = {
    "box": Kind("box", "object-detection", boxed),
    "polygon": Kind("triangle", "instance-segmentation", with_polygon),
    "mask": Kind("triangle", "instance-segmentation", with_mask),
    "keypoints": Kind("dots", "keypoint-detection", with_keypoints),
    "label": Kind("box", "classification", one_label),
    "labels": Kind("box", "classification", many_labels),
    "nothing": Kind("box", "object-detection", None),
}


# The frames of each clip, in their order.
EACH = [(name, kind, n) for name in SIZES for kind in KINDS for n in range(FRAMES)]


@dataclass(frozen=True)
class Found:
    """What was drawn, and what the platform has of it."""

    drawn: Shape
    image: StoredImage
    annotation: StoredAnnotation | None


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Found]]:
    """What one process delivers of clips of every size, in whose frames a model says one kind of thing after the other:
    by kind."""
    folder = tmp_path_factory.mktemp("drawn")
    drawn = {(name, kind, n): shape(KINDS[kind].shape, *SIZES[name], n) for name, kind, n in EACH}
    lines: list[Answer] = []
    for name in SIZES:
        of_clip = [key for key in EACH if key[0] == name]
        clip(folder / f"{name}.mkv", [drawn[key] for key in of_clip])
        for frame, (_, kind, n) in enumerate(of_clip):
            say = KINDS[kind].say
            what = say(drawn[name, kind, n]) if say else {"is_stub": True}
            about = {"stream": name, "frame": frame, "model_id": "parking/3", "inference_id": f"{name}-{kind}-{n}"}
            lines.append({**about, "task_type": KINDS[kind].task, "weather": "rain", **what})
    write_recording(folder / "said.jsonl", lines)
    with Platform() as platform:
        platform.add_project("parking", "classification")  # where labels may go; boxes are anybody's
        streams = [{"name": name, "source": f"{name}.mkv"} for name in SIZES]
        model = {"type": "recorded", "path": "said.jsonl"}
        write_configuration(folder, {"streams": streams, "model": model, **platform.settings("parking")}, policy())
        done = framesift(folder, "run", ROBOFLOW_API_KEY=KEY)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not canaries.find_in_files(folder)
        assert {received.status for received in platform.requests} == {200}
        images = {image.inference_id: image for image in platform.images}
        assert len(platform.images) == len(images) == len(drawn)
        by_kind: dict[str, list[Found]] = {kind: [] for kind in KINDS}
        for (name, kind, n), what_was_drawn in drawn.items():
            image = images[f"{name}-{kind}-{n}"]
            height, width = white(image.jpeg).shape
            assert (width, height) == STORED[name]
            annotations = platform.annotations_of(image.id)
            assert len(annotations) == (1 if KINDS[kind].say else 0)
            assert all(annotation.prediction for annotation in annotations)
            by_kind[kind].append(Found(what_was_drawn, image, annotations[0] if annotations else None))
        return by_kind


def the_object(it: Found) -> Answer:
    """The one object of an annotation, which must be of the stored picture's size, with a box where the object is."""
    assert it.annotation is not None
    assert it.annotation.name == f"{it.image.name.removesuffix('.jpg')}.json"
    content = it.annotation.json()
    mask = white(it.image.jpeg)
    assert content["image"] == {"width": mask.shape[1], "height": mask.shape[0]}
    (found,) = content["predictions"]
    assert (found["class"], found["class_id"], found["confidence"]) == ("ramp", 3, 0.5)
    assert {key: found[key] for key in EXTRAS} == EXTRAS
    assert content["weather"] == "rain"
    return dict(found)


def test_a_detected_box_is_where_the_object_is(delivered: dict[str, list[Found]]) -> None:
    for it in delivered["box"]:
        found = the_object(it)
        mask = white(it.image.jpeg)
        left, top = found["x"] - found["width"] / 2, found["y"] - found["height"] / 2
        edges = (left, top, left + found["width"], top + found["height"])
        assert np.abs(np.subtract(edges, box_of(mask))).max() <= NEAREST  # the edge of a pixel nearest to it
        height, width = mask.shape
        factors = (width / it.drawn.width, height / it.drawn.height)
        assert np.allclose(edges, np.multiply(box_of(it.drawn.mask()), factors * 2))


def test_a_polygon_covers_the_object(delivered: dict[str, list[Found]]) -> None:
    for it in delivered["polygon"]:
        found = the_object(it)
        mask = white(it.image.jpeg)
        polygon = [(point["x"], point["y"]) for point in found["points"]]
        assert near(mask, filled(polygon, mask.shape[1], mask.shape[0]))
        assert found["mask_format"] == "polygon"


def test_a_run_length_mask_covers_the_object(delivered: dict[str, list[Found]]) -> None:
    for it in delivered["mask"]:
        found = the_object(it)
        mask = white(it.image.jpeg)
        height, width = mask.shape
        assert found["rle"]["size"] == [height, width]
        assert near(mask, from_runs(plain_runs(found["rle"]["counts"]), width, height))


def test_keypoints_are_in_the_middle_of_what_they_name(delivered: dict[str, list[Found]]) -> None:
    for it in delivered["keypoints"]:
        found = the_object(it)
        mask = white(it.image.jpeg)
        dots = [(point["x"], point["y"]) for point in found["keypoints"]]
        assert [point["class"] for point in found["keypoints"]] == ["k0", "k1", "k2"]
        rows, columns = np.nonzero(mask)
        owner = np.argmin([(columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 for x, y in dots], axis=0)
        for number, (x, y) in enumerate(dots):
            middle = (columns[owner == number].mean() + 0.5, rows[owner == number].mean() + 0.5)
            assert np.abs(np.subtract(middle, (x, y))).max() <= NEAREST


def test_the_label_of_a_picture_is_sent_as_text(delivered: dict[str, list[Found]]) -> None:
    for it in delivered["label"]:
        assert it.annotation is not None
        assert (it.annotation.text, it.annotation.name) == ("day", f"{it.image.name.removesuffix('.jpg')}.txt")
        assert_is_reduced(it)


def test_the_labels_of_a_picture_are_sent_as_text_with_commas(delivered: dict[str, list[Found]]) -> None:
    for it in delivered["labels"]:
        assert it.annotation is not None
        assert (it.annotation.text, it.annotation.name) == ("wet,empty", f"{it.image.name.removesuffix('.jpg')}.txt")
        assert_is_reduced(it)


def test_without_a_model_the_picture_goes_alone(delivered: dict[str, list[Found]]) -> None:
    for it in delivered["nothing"]:
        assert it.annotation is None
        assert_is_reduced(it)


def assert_is_reduced(it: Found) -> None:
    mask = white(it.image.jpeg)
    factors = (mask.shape[1] / it.drawn.width, mask.shape[0] / it.drawn.height)
    assert np.abs(np.subtract(np.multiply(box_of(it.drawn.mask()), factors * 2), box_of(mask))).max() <= NEAREST


def plain_runs(counts: str | list[int]) -> list[int]:
    """COCO's packed string as run lengths: base 32 from a character's low bits on, bit 32 for more, bit 16 of the last
    for a negative number; from the fourth on, the difference to the run two before."""
    if isinstance(counts, list):
        return counts
    runs: list[int] = []
    digits: list[int] = []
    for character in counts:
        code = ord(character) - 48
        digits.append(code & 31)
        if code < 32:
            value = sum(digit << 5 * place for place, digit in enumerate(digits))
            value -= (1 << 5 * len(digits)) if digits[-1] & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            digits = []
    return runs


def test_a_model_of_ones_own_draws_its_box_where_it_sees_the_object(tmp_path: Path) -> None:
    """Nothing recorded: the model looks at each picture that it is handed."""
    shapes = [shape("box", 641, 359, n) for n in range(3)]
    clip(tmp_path / "clip.mkv", shapes)
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    def look(pixels):\n"
        "        rows, columns = np.nonzero(pixels[:, :, 0] > 127)\n"
        "        w, h = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1\n"
        "        box = dict(x=columns.min() + w / 2, y=rows.min() + h / 2, width=w, height=h)\n"
        "        found = {**box, 'class': 'ramp', 'confidence': 0.5}\n"
        "        return {'image': {'width': pixels.shape[1], 'height': pixels.shape[0]}, 'predictions': [found]}\n"
        "    return look\n"
    )
    model = {"type": "python", "factory": "mine:make", "path": "."}
    with Platform() as platform:
        platform.add_project("parking")
        settings = {"streams": [{"name": "gate", "source": "clip.mkv"}], "model": model}
        write_configuration(tmp_path, {**settings, **platform.settings("parking")}, policy())
        done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(platform.images) == 3
        for image in platform.images:
            (annotation,) = platform.annotations_of(image.id)
            (found,) = annotation.json()["predictions"]
            left, top = found["x"] - found["width"] / 2, found["y"] - found["height"] / 2
            edges = (left, top, left + found["width"], top + found["height"])
            assert np.abs(np.subtract(edges, box_of(white(image.jpeg)))).max() <= NEAREST


def test_what_the_projects_policy_says_holds_for_what_arrives(tmp_path: Path) -> None:
    """And what it says that we don't know is left out, and told."""
    its_own = {
        "enabled": True,
        "persist_predictions": False,
        "jpeg_compression_level": 40,
        "max_image_size": [120, 1000],
        "sampling_strategies": [
            {"name": "new", "type": "of tomorrow", "threshold": 3},
            {"name": "all", "type": "random", "traffic_percentage": 1.0, "tags": ["every", "one"], "colour": "red"},
        ],
        "batching_strategy": {"batches_name_prefix": "gate", "recreation_interval": "daily"},
        "tags": ["policy", "not a tag!"],
        "target_project": "archive",
    }
    clip(tmp_path / "clip.mkv", [shape("box", 320, 240, n) for n in range(2)])
    write_recording(
        tmp_path / "said.jsonl",
        [{"frame": n, "model_id": "ramps/3", **boxed(shape("box", 320, 240, n))} for n in (0, 1)],
    )
    with Platform() as platform:
        platform.add_project("parking", active_learning=its_own)
        platform.add_project("archive")
        settings = {
            **platform.settings("parking"),
            "streams": [{"name": "gate", "source": "clip.mkv", "tags": ["north"]}],
            "model": {"type": "recorded", "path": "said.jsonl"},
            "policy": {"from": "roboflow", "project": "parking"},
        }
        write_configuration(tmp_path, settings)
        days = [f"{datetime.now(timezone.utc):gate_%Y_%m_%d}"]
        done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY, ACTIVE_LEARNING_TAGS="first,second")
        assert done.returncode == 0, done.stdout + done.stderr
        days.append(f"{datetime.now(timezone.utc):gate_%Y_%m_%d}")
        assert not platform.annotations
        assert len(platform.images) == 2
        for image in platform.images:
            assert image.project == "archive"
            # The model's name goes with its predictions, and is no tag without them.
            assert image.tags == ("first", "second", "policy", "every", "one", "test", "north")
            assert image.batch in days
            assert image.name.startswith("test_gate_")
            assert quantisation(image.jpeg) == quantisation(jpeg_of_quality(40))
            assert white(image.jpeg).shape == (120, 160)
        for left_out in ("of tomorrow", "colour", "not a tag!"):
            assert left_out in done.stdout


def quantisation(jpeg: bytes) -> bytes:
    """The first quantisation table: what a JPEG's quality is."""
    at = jpeg.index(b"\xff\xdb") + 5
    return jpeg[at : at + 64]


def jpeg_of_quality(quality: int) -> bytes:
    made, encoded = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert made
    return encoded.tobytes()
