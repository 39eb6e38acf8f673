"""The folder sink: what lies where, once for each id, in files that two kinds of loaders read."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from deliveries import deliver, delivery, detected, detection, folder_sink, jpeg, read_image_folder, read_yolo
from framesift.prediction.prediction import Classification, ClassScore, MultiLabel, Stub, Task
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks import Delivered, FolderSink, FolderSinkSettings, open_sink


def test_a_delivery_is_a_picture_a_label_and_a_line(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path / "deep" / "collected")
    what = delivery(1, detected(detection("car", x=100, y=50, w=20, h=10)))

    assert deliver(sink, what) == Delivered()

    root = tmp_path / "deep" / "collected"
    stem = f"gate-7_north_20260910T120001125Z_{1:032x}"
    assert (root / "images" / f"{stem}.jpg").read_bytes() == what.jpeg
    labels = read_yolo(root)
    assert list(labels) == [stem]
    found = labels[stem]
    assert found is not None
    (label,) = found
    assert label.box is not None
    assert (label.class_name, label.box.tolist()) == ("car", [0.5, 0.5, 0.1, 0.1])
    assert len(read_image_folder(root)) == 1


def test_a_line_has_exactly_the_promised_keys(tmp_path: Path) -> None:
    what = delivery(1)
    deliver(folder_sink(tmp_path), what)

    (row,) = read_image_folder(tmp_path)

    assert list(row) == [
        "file_name", "id", "device", "stream", "frame", "captured_at", "strategy", "score", "tags", "batch", "width",
        "height", "prediction",
    ]  # fmt: skip
    assert row | {"prediction": None} == {
        "file_name": f"images/gate-7_north_20260910T120001125Z_{1:032x}.jpg",
        "id": f"{1:032x}",
        "device": "gate-7",
        "stream": "north",
        "frame": 1,
        "captured_at": "2026-09-10T12:00:01.125Z",
        "strategy": "unsure",
        "score": 0.25,
        "tags": ["gate-7", "night"],
        "batch": "cars_2026_09_10",
        "width": 200,
        "height": 100,
        "prediction": None,
    }
    assert parse_prediction(row["prediction"]) == what.prediction


def test_a_second_delivery_of_the_same_id_changes_nothing(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    before = _content(tmp_path)

    assert deliver(sink, delivery(1, detected(detection("dog")), jpeg=jpeg(7))) == Delivered()
    assert _content(tmp_path) == before


def test_what_an_earlier_process_delivered_is_known(tmp_path: Path) -> None:
    first = folder_sink(tmp_path)
    deliver(first, delivery(1))
    first.close()
    before = _content(tmp_path)

    assert deliver(folder_sink(tmp_path), delivery(1, jpeg=jpeg(7))) == Delivered()
    assert _content(tmp_path) == before


def test_four_threads_deliver_each_id_once(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    outcomes: list[object] = []

    def work(first: int) -> None:
        outcomes.extend(deliver(sink, delivery(n % 20)) for n in range(first, first + 20))

    threads = [threading.Thread(target=work, args=(5 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert outcomes == [Delivered()] * 80
    assert sorted(row["id"] for row in read_image_folder(tmp_path)) == [f"{n:032x}" for n in range(20)]


def test_names_of_files_sort_by_time_within_a_stream_and_are_safe_everywhere(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    for number in (3, 1, 2):
        deliver(sink, delivery(number, device="Gate 7/..", stream="CON.überall"))

    names = sorted(path.name for path in (tmp_path / "images").glob("*.jpg"))

    assert [int(name[-36:-4], 16) for name in names] == [1, 2, 3]
    assert all(name.startswith("Gate-7---_CON--berall_20260910T12000") for name in names)
    assert all(row["device"] == "Gate 7/.." for row in read_image_folder(tmp_path))


def test_two_pictures_of_the_same_millisecond_are_two_files(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    for number in (1, 2):
        deliver(sink, delivery(number, captured_at_s=1_789_041_600.0))

    assert len(read_image_folder(tmp_path)) == len(list((tmp_path / "images").glob("*.jpg"))) == 2


@pytest.mark.parametrize(
    "prediction",
    [
        Stub(task=Task.OBJECT_DETECTION, width=200, height=100),
        Classification(top="day", confidence=0.9, scores=(ClassScore("day", 0, 0.9),), width=200, height=100),
        MultiLabel(scores=(ClassScore("day", 0, 0.9),), predicted=("day",), width=200, height=100),
    ],
    ids=lambda p: type(p).__name__,
)
def test_what_has_no_place_in_a_picture_has_a_line_and_no_label(tmp_path: Path, prediction: Stub) -> None:
    deliver(folder_sink(tmp_path), delivery(1, prediction))

    (row,) = read_image_folder(tmp_path)
    assert parse_prediction(row["prediction"], width=200, height=100) == prediction
    assert not (tmp_path / "labels").exists()
    assert not (tmp_path / "data.yaml").exists()


def test_a_picture_with_nothing_in_it_has_an_empty_label(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    deliver(sink, delivery(2, detected()))

    assert [labels and len(labels) for labels in read_yolo(tmp_path).values()] == [1, []]


def test_a_prediction_that_is_not_to_be_delivered_is_not(tmp_path: Path) -> None:
    deliver(folder_sink(tmp_path), delivery(1, annotate=False))

    (row,) = read_image_folder(tmp_path)
    assert row["prediction"] is None
    assert not (tmp_path / "labels").exists()


def test_a_class_name_with_a_line_separator_stays_on_its_line(tmp_path: Path) -> None:
    deliver(folder_sink(tmp_path), delivery(1, detected(detection("a\u2028b: #'\"{é"))))

    assert len((tmp_path / "metadata.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    (labels,) = read_yolo(tmp_path).values()
    assert labels is not None
    assert labels[0].class_name == "a\u2028b: #'\"{é"


def test_the_page_that_explains_the_folder_is_written_once(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    (tmp_path / "README.md").write_text("mine")
    deliver(sink, delivery(2))

    assert (tmp_path / "README.md").read_text() == "mine"


def test_the_settings_name_the_sink() -> None:
    options = FolderSinkSettings.model_validate_json(
        json.dumps({"type": "folder", "path": "out", "limits": [{"type": "minutely", "value": 60}]})
    )

    assert isinstance(open_sink(options, class_names=None), FolderSink)
    assert options.limits[0].value == 60
    with pytest.raises(ValidationError):
        FolderSinkSettings.model_validate_json('{"type": "floder", "path": "out"}')


def _content(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
