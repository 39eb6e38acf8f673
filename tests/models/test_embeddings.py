"""Embeddings of models: of the picture that they were given, also in recordings; errors that say what there is."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from framesift.frame import Pixels
from framesift.models import Model, ModelFailed, ModelLoadError, ModelSettings, load
from framesift.prediction.embedding import Embedding, make_embedding
from framesift.prediction.prediction import Classification
from framesift.sampling.recorder import Recorder
from rigs.networks import averaging, blank, constant, frame, spotting

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
COLOURS = [(10, 20, 200), (200, 20, 10), (90, 90, 90), (0, 255, 0)]
STREET = Path(__file__).parents[2] / "daemon" / "framesift" / "demo" / "street.onnx"


def model(**fields: object) -> Model:
    return load(OPTIONS.validate_json(json.dumps(fields)))


def coloured(colour: tuple[int, int, int]) -> Pixels:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:] = colour
    return pixels


def embedding(of: Model, pixels: Pixels) -> Embedding:
    found = of.predict(frame(pixels)).embedding
    assert found is not None
    return found


def mean_network(folder: Path) -> Model:
    """Its embedding is the mean of red, green and blue, which is a value inside of its graph."""
    path = averaging(folder / "mean.onnx")
    return model(type="onnx", path=str(path), activation="none", embedding="means")


# Networks in ONNX files


def test_a_value_inside_of_the_graph_is_the_embedding(tmp_path: Path) -> None:
    network = mean_network(tmp_path)
    assert network.gives_embeddings is True
    assert "embeddings means" in network.description
    for colour in COLOURS:
        wanted = make_embedding(np.array(colour[::-1]))
        assert embedding(network, coloured(colour)) == pytest.approx(wanted, abs=1e-3)


def test_an_output_is_the_embedding_also_where_the_prediction_is_read_from_it(tmp_path: Path) -> None:
    path = averaging(tmp_path / "mean.onnx")
    plain = model(type="onnx", path=str(path), activation="none")
    both = model(type="onnx", path=str(path), activation="none", embedding="output0")
    picture = frame(coloured(COLOURS[0]))
    assert plain.gives_embeddings is False
    assert plain.predict(picture).embedding is None
    assert both.predict(picture).embedding == pytest.approx(make_embedding(np.array(COLOURS[0][::-1])), abs=1e-3)
    without, beside = plain.predict(picture), both.predict(picture)
    assert isinstance(without, Classification)
    assert isinstance(beside, Classification)
    assert without.scores == beside.scores


def test_a_detector_with_an_embedding_finds_what_it_found_without(tmp_path: Path) -> None:
    path = spotting(tmp_path / "spot.onnx", "yolov8", metadata={"names": "{0: 'red', 1: 'blue'}"})
    picture = blank(192, 320)
    picture[40:80, 40:120] = (0, 0, 255)
    found = [
        model(type="onnx", path=str(path), **more).predict(frame(picture)) for more in ({}, {"embedding": "columns"})
    ]
    assert getattr(found[0], "objects", None) == getattr(found[1], "objects", None) != ()
    columns = np.zeros(320)
    columns[40:120] = 1.0
    assert found[1].embedding == pytest.approx(make_embedding(columns))


def test_a_trained_detector_gives_one_for_its_channels() -> None:
    network = model(type="onnx", path=str(STREET), embedding="/detector/coarse/coarse.1/Add_output_0")
    busy = blank(360, 640)
    busy[100:300, 50:400] = (200, 60, 30)
    empty, again, other = (embedding(network, shown) for shown in (blank(360, 640), blank(360, 640), busy))
    assert np.array_equal(empty, again)
    assert float(empty @ other) < 0.99


def test_each_stream_gets_the_embedding_of_its_own_picture_when_pictures_are_run_together(tmp_path: Path) -> None:
    path = spotting(tmp_path / "spot.onnx", "yolov8", batch="n", metadata={"names": "{0: 'red', 1: 'blue'}"})
    network = model(type="onnx", path=str(path), batch_size=4, embedding="columns", threads=1)
    pictures = [blank(192, 320) for _ in range(6)]
    for stream, pixels in enumerate(pictures):
        pixels[40:80, 40 * stream : 40 * stream + 24] = (0, 0, 255)
    alone = [embedding(network, pixels) for pixels in pictures]
    start = threading.Barrier(len(pictures))

    def ask(pixels: Pixels) -> list[Embedding]:
        start.wait(10.0)
        return [embedding(network, pixels) for _ in range(8)]

    with ThreadPoolExecutor(len(pictures)) as pool:
        together = list(pool.map(ask, pictures))
    for wanted, answers in zip(alone, together, strict=True):
        assert all(np.array_equal(wanted, answer) for answer in answers)


@pytest.mark.parametrize(("value", "dropped"), [(np.nan, 2), (0.0, 1), (0.5, 0)])
def test_a_picture_without_a_finite_embedding_has_none_and_that_is_counted(
    tmp_path: Path, value: float, dropped: int
) -> None:
    scores = np.array([[0.25, 0.75]], np.float32)
    path = constant(tmp_path / "n.onnx", scores, np.array([[value, 0.0]], np.float32))
    answer = model(type="onnx", path=str(path), family="classifier", embedding="output1").predict(frame(blank(64, 64)))
    assert (answer.embedding is None) is (dropped > 0)
    assert answer.dropped == min(dropped, 1)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("mean", None, r"computes no value 'mean'; did you mean 'means'\? Its outputs are output0; a value inside"),
        ("nothing", None, r"computes no value 'nothing'. Its outputs are output0"),
        (
            "output1",
            np.zeros((1, 5000), np.float32),
            r"'output1': an embedding has 1 to 4096 values, and shape \(5000,\)",
        ),
        ("output1", np.zeros(7, np.float32), r"'output1' of shape \(7,\) is no array of one row for each picture"),
        ("output1", np.array([["a"]]), r"'output1': an embedding is an array of numbers"),
    ],
)
def test_what_can_be_no_embedding_is_refused_when_the_network_is_loaded(
    tmp_path: Path, name: str, values: np.ndarray | None, why: str
) -> None:
    path = tmp_path / "n.onnx"
    if values is None:
        averaging(path)
    else:
        constant(path, np.array([[0.25, 0.75]], np.float32), values)
    with pytest.raises(ModelLoadError, match=why):
        model(type="onnx", path=str(path), family="classifier", activation="none", embedding=name)


def test_a_name_is_not_empty() -> None:
    with pytest.raises(ValidationError, match="embedding"):
        OPTIONS.validate_json(json.dumps({"type": "onnx", "path": "n.onnx", "embedding": ""}))


# Models in Python, and recordings

CODE = """
import numpy as np
from dataclasses import replace
from framesift.prediction import Classification

def make(answer):
    wire = {"image": {"width": 32, "height": 32}, "predictions": []}
    whole = Classification(top="a", confidence=1.0, scores=(), width=32, height=32)
    answers = {
        "pair": lambda pixels: (wire, pixels.mean(axis=(0, 1))),
        "whole": lambda pixels: (whole, list(pixels.mean(axis=(0, 1)))),
        "none": lambda pixels: (whole, None),
        "nan": lambda pixels: (whole, [float("nan")]),
        "long": lambda pixels: (whole, np.ones(4097)),
        "text": lambda pixels: (whole, "abc"),
    }
    return answers[answer]
"""


def python_model(folder: Path, answer: str) -> Model:
    (folder / "embedding_models.py").write_text(CODE)
    options = {"answer": answer}
    return model(type="python", factory="embedding_models:make", path=str(folder), options=options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("answer", ["pair", "whole"])
def test_a_python_model_answers_with_a_pair(folder: Path, answer: str) -> None:
    made = python_model(folder, answer)
    assert made.gives_embeddings is None
    assert embedding(made, coloured(COLOURS[0])) == pytest.approx(make_embedding(np.array(COLOURS[0])))


@pytest.mark.parametrize(("answer", "dropped"), [("none", 0), ("nan", 1)])
def test_a_pair_without_an_embedding_is_a_prediction(folder: Path, answer: str, dropped: int) -> None:
    found = python_model(folder, answer).predict(frame(coloured(COLOURS[0])))
    assert (found.embedding, found.dropped) == (None, dropped)


@pytest.mark.parametrize(("answer", "why"), [("long", "1 to 4096 values"), ("text", "array of numbers")])
def test_a_pair_with_something_else_is_a_failure_that_says_so(folder: Path, answer: str, why: str) -> None:
    with pytest.raises(ModelFailed, match=why):
        python_model(folder, answer).predict(frame(coloured(COLOURS[0])))


def test_a_recorded_embedding_is_replayed_to_the_bit(tmp_path: Path) -> None:
    network = mean_network(tmp_path)
    errors: list[OSError] = []
    recorder = Recorder(tmp_path / "p.jsonl", on_error=errors.append)
    given = []
    for number, colour in enumerate(COLOURS):
        shown = frame(coloured(colour), number)
        given.append(network.predict(shown))
        recorder.record(shown, given[-1])
    recorder.close()
    replayed = model(type="recorded", path=str(tmp_path / "p.jsonl"))
    assert replayed.gives_embeddings is True
    for number, prediction in enumerate(given):
        again = replayed.predict(frame(coloured(COLOURS[0]), number)).embedding
        assert again is not None
        assert prediction.embedding is not None
        assert np.array_equal(again, prediction.embedding)


def test_a_recording_with_something_else_as_embedding_is_refused_with_its_line(tmp_path: Path) -> None:
    line = {"frame": 0, "image": {"width": 32, "height": 32}, "predictions": [], "embedding": "AAAA="}
    (tmp_path / "p.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ModelLoadError, match=r"p\.jsonl:1: embedding: is not allowed"):
        model(type="recorded", path=str(tmp_path / "p.jsonl"))


def test_a_model_without_the_setting_says_that_it_gives_none(tmp_path: Path) -> None:
    line = {"frame": 0, "image": {"width": 32, "height": 32}, "predictions": []}
    (tmp_path / "p.jsonl").write_text(json.dumps(line) + "\n")
    assert model(type="stub").gives_embeddings is False
    assert model(type="recorded", path=str(tmp_path / "p.jsonl")).gives_embeddings is False
    assert model(type="onnx", path=str(averaging(tmp_path / "n.onnx")), activation="none").gives_embeddings is False
