"""Exporting: what is taken, what is counted, and that there is a whole dataset or none."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from deliveries import deliver, delivery, folder_sink, jpeg
from framesift.datasets.drafts import DatasetFormat, LeftOut
from framesift.datasets.errors import DatasetError
from framesift.datasets.picture_choice import PictureChoice
from framesift.prediction.prediction import Stub, Task
from rigs.exports import car, collect, collect_predictions, export, label, objects

YOLO = DatasetFormat.YOLO


def refused(folder: Path, out: Path, format: DatasetFormat = YOLO, **how: object) -> str:
    with pytest.raises(DatasetError) as error:
        export(folder, out, format, **how)  # type: ignore[arg-type]  # by name
    return str(error.value)


@pytest.mark.parametrize("format", list(DatasetFormat))
def test_pictures_are_copies_byte_for_byte_and_the_folder_is_not_changed(tmp_path: Path, format: DatasetFormat) -> None:
    shown = label("car") if format is DatasetFormat.CLASSIFY else objects(car())
    folder = collect_predictions(tmp_path / "in", shown, shown)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert export(folder, tmp_path / "out", format).pictures.total() == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    exported = {path.name: path for path in (tmp_path / "out").rglob("*.jpg")}
    for path in (folder / "images").iterdir():
        assert exported[path.name].read_bytes() == path.read_bytes()
        assert not exported[path.name].samefile(path)
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]  # noqa: PTH208 - hidden ones, too


def test_background_pictures_can_be_left_out(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()), objects(car(0.2)), objects())
    with_them = export(folder, tmp_path / "with", YOLO)
    assert (with_them.pictures.total(), with_them.background.total()) == (3, 2)
    without = export(folder, tmp_path / "without", YOLO, background=False)
    assert (without.pictures.total(), without.background.total(), without.left_out[LeftOut.BACKGROUND]) == (1, 0, 2)


def test_what_nobody_looked_at_is_no_background(tmp_path: Path) -> None:
    stub = Stub(width=200, height=100, task=Task.OBJECT_DETECTION)
    folder = collect(tmp_path / "in", *(delivery(n, one) for n, one in enumerate((objects(car()), stub))))
    collect(folder, delivery(2, objects(car()), annotate=False))
    report = export(folder, tmp_path / "out", YOLO)
    assert (report.pictures.total(), report.left_out[LeftOut.NO_PREDICTION]) == (1, 2)


def test_lines_without_a_picture_of_their_own_and_pictures_that_are_gone_are_counted(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()), objects(car()))
    next(iter(sorted((folder / "images").iterdir()))).unlink()
    listing = folder / "metadata.jsonl"
    lines = listing.read_bytes().splitlines(keepends=True)
    listing.write_bytes(b"".join(lines) + lines[1] + b"not JSON\n" + b"[" * 5000 + b"\n" + b'{"file_name": "images/x')
    report = export(folder, tmp_path / "out", YOLO)
    assert report.pictures.total() == 1
    assert (report.left_out[LeftOut.MISSING], report.left_out[LeftOut.NO_LINE]) == (1, 4)


def test_a_daemon_may_deliver_and_remove_meanwhile(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()))
    sink = folder_sink(folder)
    deliver(sink, delivery(7, objects(car())))
    assert export(folder, tmp_path / "out", YOLO).pictures.total() == 2
    sink.close()


def test_a_stream_and_a_strategy_choose(tmp_path: Path) -> None:
    folder = collect(
        tmp_path / "in",
        delivery(0, objects(car()), stream="gate"),
        delivery(1, objects(car()), stream="yard", strategy="hard"),
        delivery(2, objects(car()), stream="yard"),
    )
    choice = PictureChoice("yard", "hard")
    assert export(folder, tmp_path / "out", YOLO, choice=choice).pictures.total() == 1
    assert "--stream roof: " in refused(folder, tmp_path / "none", choice=PictureChoice("roof"))


@pytest.mark.parametrize(
    ("predictions", "format", "message"),
    [
        ((label("car"),), YOLO, "1 picture has a classifier's labels, not objects: --format classify or cvat takes"),
        ((objects(car()),), DatasetFormat.CLASSIFY, "1 picture has a detector's objects, not labels: --format yolo,"),
        ((), YOLO, "there is no picture in it yet"),
    ],
    ids=["labels", "objects", "nothing"],
)
def test_where_nothing_can_be_exported_nothing_is_written(
    tmp_path: Path, predictions: tuple[object, ...], format: DatasetFormat, message: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "metadata.jsonl").touch()
    collect(folder, *(delivery(n, one) for n, one in enumerate(predictions)))  # type: ignore[arg-type]  # predictions
    assert message in refused(folder, tmp_path / "out", format)
    assert sorted(os.listdir(tmp_path)) == ["in"]  # noqa: PTH208


def test_the_place_must_be_new_or_empty_and_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("full", "file"):
        assert f"{name}: exists already: name a new or an empty folder" in refused(folder, tmp_path / name)
    assert "lies in" in refused(folder, folder / "dataset")
    assert "exists already" in refused(folder, folder)
    monkeypatch.chdir(tmp_path / "empty")
    assert "is the folder in which you are" in refused(folder, Path())
    monkeypatch.chdir(tmp_path)
    assert "no metadata.jsonl in it: the path of a folder sink" in refused(tmp_path / "full", tmp_path / "new")
    assert "gone: does not exist: the path of a folder sink" in refused(tmp_path / "gone", tmp_path / "new")
    assert "file: no folder: the path of a folder sink" in refused(tmp_path / "file", tmp_path / "new")
    export(folder, Path("empty"), YOLO)
    export(folder, Path("deep/down"), YOLO)
    assert (tmp_path / "empty" / "data.yaml").exists()
    assert (tmp_path / "deep" / "down" / "data.yaml").exists()


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()), objects(car()))
    last = sorted((folder / "images").iterdir())[-1]
    last.unlink()
    last.symlink_to("/proc/self/mem")  # a file that can be opened, and not read
    with pytest.raises(OSError, match="error"):
        export(folder, tmp_path / "out", YOLO)
    assert sorted(os.listdir(tmp_path)) == ["in"]  # noqa: PTH208


def test_a_full_disk_is_that_of_the_dataset(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = collect(tmp_path / "in", delivery(0, objects(car()), jpeg=jpeg() + b"\0" * 100_000))
    many = collect_predictions(tmp_path / "many", *[objects(*[car()] * 500)] * 3)
    for source, format in ((folder, YOLO), (many, DatasetFormat.COCO)):  # a picture that is copied, a file of labels
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # a real write ends short
        try:
            with pytest.raises(OSError, match="too large") as error:
                export(source, tmp_path / "out", format)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (error.value.filename, error.value.filename2) == (str(tmp_path / "out"), None)
    assert sorted(os.listdir(tmp_path)) == ["in", "many"]  # noqa: PTH208


def test_a_place_where_no_folder_can_be_made_is_named(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()))
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "out"
    why = f"{place}: no folder can be made in {tmp_path / 'file'}: File exists: name a folder elsewhere"
    assert refused(folder, place) == why
    assert "no folder can be made in /proc: " in refused(folder, Path("/proc/out"))
    steps = "mount -t tmpfs tmpfs out && exec $0 -m framesift export in out --format yolo"
    (tmp_path / "out").mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", steps, sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (
        2,
        "framesift: out: a disk or a volume is mounted there: name a new folder in it\n",
    )


def test_a_data_yaml_that_is_none_is_named(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()))
    (folder / "data.yaml").write_text("names: 3\n")
    assert "data.yaml: names: a list of class names" in refused(folder, tmp_path / "out")
