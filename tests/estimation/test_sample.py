"""The baseline's pictures are read from the folder sink's lines, and nothing else is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from framesift.estimation.errors import EstimationError
from framesift.estimation.sample import Sample, read_sample
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks import Delivered, Delivery, FolderSink, FolderSinkSettings
from rigs.baseline_folder import DAY_BEGINS_S, SIZE, BaselineFolder, found_object, label, objects, picture_id

CAR = objects(found_object("car"))


def read(folder: BaselineFolder, since_s: float = -math.inf, until_s: float = math.inf) -> Sample:
    return read_sample(folder.path, since_s=since_s, until_s=until_s)


def ids(sample: Sample) -> list[str]:
    return [frame.id for frame in sample.predicted]


def test_the_lines_of_these_tests_are_those_of_the_folder_sink(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path / "by-hand")
    folder.add(3, CAR, weight=None)
    delivery = Delivery(
        id=picture_id(3),
        device="box",
        stream="gate",
        frame=3,
        captured_at_s=DAY_BEGINS_S + 1800,
        strategy="baseline",
        score=None,
        tags=(),
        batch="b",
        annotate=True,
        width=SIZE[0],
        height=SIZE[1],
        prediction=parse_prediction(CAR),
        jpeg=b"",
        project=None,
        attempt_number=1,
        image_id=None,
    )
    sink = FolderSink(FolderSinkSettings(type="folder", path=tmp_path / "real"), class_names=None)
    assert sink.deliver(delivery, now_s=0.0, within_s=1.0) == Delivered()
    sink.close()
    real, by_hand = (json.loads((tmp_path / of / "metadata.jsonl").read_text()) for of in ("real", "by-hand"))
    assert real == by_hand


def test_only_the_baselines_lines_are_read_in_the_order_of_capture(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add(2, CAR, weight=7)
    folder.add(1, CAR, weight=5)
    folder.add(3, CAR, strategy="hard", weight=None)
    sample = read(folder)
    assert ids(sample) == [picture_id(1), picture_id(2)]
    assert [(f.weight, f.stream, f.captured_at_s) for f in sample.predicted] == [
        (5, "gate", DAY_BEGINS_S + 600),
        (7, "gate", DAY_BEGINS_S + 1200),
    ]
    assert sample.predicted[0].prediction == parse_prediction(CAR)
    assert sample.predicted_share == 1.0


def test_each_devices_pictures_stay_together(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    for number in range(4):
        folder.add(number, CAR, device="ab"[number % 2])
    assert ids(read(folder)) == [picture_id(number) for number in (0, 2, 1, 3)]


def test_the_times_choose(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add_all([CAR] * 4)
    assert ids(read(folder, DAY_BEGINS_S + 600, DAY_BEGINS_S + 1800)) == [picture_id(1), picture_id(2)]
    with pytest.raises(EstimationError, match=r"none of the 4 pictures of the baseline was captured from --since"):
        read(folder, until_s=DAY_BEGINS_S)


def test_pictures_without_a_prediction_are_counted(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add(0, CAR)
    folder.add(1, None)
    folder.add(2, {"is_stub": True})
    folder.add(3, {"predictions": "none"})
    sample = read(folder)
    assert (ids(sample), sample.without_prediction, sample.predicted_share) == ([picture_id(0)], 3, 0.25)


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add_all([CAR] * 2)
    path = tmp_path / "metadata.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert ids(read(folder)) == [picture_id(0)]


def test_without_any_prediction_it_says_what_is_needed(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add(0, None)
    with pytest.raises(EstimationError, match=r"none of the 1 pictures .* persist_predictions: true in the policy"):
        read(folder)


@pytest.mark.parametrize("weight", [None, 0, -1, 2.5, "100", True])
def test_a_strategy_of_that_name_without_weights_is_another_one(tmp_path: Path, weight: object) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add(0, CAR, weight=weight)
    with pytest.raises(EstimationError, match="1 lines are of a strategy named baseline that records no weight"):
        read(folder)
    folder.add(1, CAR)
    assert (ids(read(folder)), read(folder).without_weight) == ([picture_id(1)], 1)


def test_without_a_baseline_it_says_how_to_get_one(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add(0, CAR, strategy="hard", weight=None)
    with pytest.raises(EstimationError) as raised:
        read(folder)
    assert str(raised.value) == (
        f"{tmp_path}/metadata.jsonl: none of its 1 lines is of the baseline, whose pictures alone stand for all frames:"
        ' "baseline": {"share": 0.1} in the policy collects them'
    )


def test_what_is_no_collected_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EstimationError, match=r"no metadata\.jsonl in it: the path of a folder sink is expected"):
        read_sample(tmp_path, since_s=0.0, until_s=1.0)


def test_two_kinds_of_models_are_not_mixed(tmp_path: Path) -> None:
    folder = BaselineFolder(tmp_path)
    folder.add_all([CAR, label("car"), label("bus")])
    with pytest.raises(EstimationError, match="2 pictures of the baseline have a classifier's labels, 1 a detector's"):
        read(folder)
