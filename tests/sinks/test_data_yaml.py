"""data.yaml with many classes: a new one costs a line, and a broken line costs nothing but itself."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

from deliveries import deliver, delivery, detected, detection, folder_sink
from exhaustive import some_of
from framesift.prediction import detections_from_arrays
from framesift.prediction.prediction import Detections
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks import Delivered, FailureScope, RetryLater
from framesift.sinks.data_yaml import DataYaml

FILE = "data.yaml"
MANY = 12_000
SEVERAL = 4_000  # so that their names are more than what a few deliveries write
# Names that YAML writes in quotes, over several lines, or with escapes.
ODD_NAMES: tuple[str, ...] = (
    "yes",
    "12",
    "null",
    "",
    " a",
    "a: b",
    "#",
    "é",
    "日本",
    "a\nb",
    "a\x85b",
    "'",
    '"\\',
    "-",
)
ODD_NAMES += ("...", "x" * 300, "a " * 100, "1e3", "~", "{a}", "!tag", "a\tb", "\U0001f600", "\x00\x1b", "a\n\n")


def bytes_moved() -> int:
    """What this process has read and written up to now."""
    counted = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counted["rchar"]) + int(counted["wchar"])


def names(root: Path) -> dict[int, str]:
    return dict(yaml.safe_load((root / FILE).read_bytes())["names"])


def ours(count: int, before: str = "train: images\nval: images\n") -> str:
    return before + "names:\n" + "".join(f"  {number}: class-{number}\n" for number in range(count))


def test_a_new_class_costs_as_much_among_twelve_thousand_as_among_twelve(tmp_path: Path) -> None:
    moved = {}
    for count in (12, MANY):
        root = tmp_path / str(count)
        sink = folder_sink(root, tuple(f"class-{number}" for number in range(count)))
        deliver(sink, delivery(0, detected(detection("class-0"))))
        before = bytes_moved()
        for number in range(1, 21):
            deliver(sink, delivery(number, detected(detection(f"new-{number}"))))
        moved[count] = bytes_moved() - before
        assert list(names(root).items())[count:] == [(count - 1 + n, f"new-{n}") for n in range(1, 21)]
    assert moved[MANY] < 1.1 * moved[12]


def named(form: str) -> str:
    """A file with the names of SEVERAL classes, in a form that another program or a person might have written."""
    mapping = {number: f"c{number}" for number in range(SEVERAL)}
    match form:
        case "list":
            return yaml.safe_dump({"names": [*mapping.values()], "train": "images", "nc": SEVERAL}, sort_keys=False)
        case "mapping":
            return yaml.safe_dump({"names": mapping, "val": "more", "nc": SEVERAL}, sort_keys=False)
        case "flow":
            return yaml.safe_dump({"names": mapping}, default_flow_style=True)
        case "indented":
            return yaml.safe_dump({"names": mapping}, indent=6)
        case "crlf":
            return ours(SEVERAL).replace("\n", "\r\n")
        case "no newline":
            return ours(SEVERAL)[:-1]
        case "comment":
            return f"# a page\n{ours(SEVERAL)}# end\n"
        case "nc":
            return ours(SEVERAL, f"nc: {SEVERAL}\n")
        case _:
            return f"{ours(SEVERAL)}copy:\n  {SEVERAL - 1}: class-{SEVERAL - 1}\n"


@pytest.mark.parametrize(
    "form",
    some_of(
        ["list", "mapping", "flow", "indented", "crlf", "no newline", "comment", "nc", "other mapping last"],
        lambda form: form in ("list", "mapping", "nc"),
    ),
)
def test_a_file_of_another_program_is_written_anew_once_and_extended_then(tmp_path: Path, form: str) -> None:
    written = named(form)
    (tmp_path / FILE).write_bytes(written.encode())
    before = yaml.safe_load(written)
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1, detected(detection("new-1"))))
    inode = (tmp_path / FILE).stat().st_ino
    moved = bytes_moved()
    for number in range(2, 10):
        deliver(sink, delivery(number, detected(detection(f"new-{number}"))))
    assert bytes_moved() - moved < len(written) / 2
    assert (tmp_path / FILE).stat().st_ino == inode

    after = yaml.safe_load((tmp_path / FILE).read_bytes())
    listed = before["names"]
    kept = dict(enumerate(listed)) if isinstance(listed, list) else listed
    assert after["names"] == kept | {SEVERAL - 1 + n: f"new-{n}" for n in range(1, 10)}
    if "nc" in before:
        assert after["nc"] == len(after["names"])
    skipped = ("names", "nc")
    assert {k: v for k, v in before.items() if k not in skipped}.items() <= after.items()


def test_every_name_is_one_line_and_is_read_as_it_was_written(tmp_path: Path) -> None:
    inodes = set()
    for number, name in enumerate(ODD_NAMES):
        sink = folder_sink(tmp_path)
        assert deliver(sink, delivery(number, detected(detection(name)))) == Delivered()
        sink.close()
        inodes.add((tmp_path / FILE).stat().st_ino)

    assert len(inodes) == 1
    assert tuple(names(tmp_path).values()) == ODD_NAMES
    assert yaml.safe_load((tmp_path / FILE).read_text(encoding="utf-8"))["names"] == dict(enumerate(ODD_NAMES))


def test_a_last_line_that_was_cut_anywhere_costs_no_name_but_its_own(tmp_path: Path) -> None:
    before = ours(3).encode()
    line = '  3: "yes é"\n'.encode()
    for end in range(len(line)):
        for rest in (b"", b"\0" * 7):
            root = tmp_path / f"{end}-{len(rest)}"
            root.mkdir()
            (root / FILE).write_bytes(before + line[:end] + rest)
            assert (
                deliver(folder_sink(root), delivery(1, detected(detection("emu"), detection("class-2")))) == Delivered()
            )

            found = names(root)
            assert {n: found[n] for n in range(3)} == {n: f"class-{n}" for n in range(3)}
            assert list(found.values()).count("emu") == 1
            index = next(index for index, name in found.items() if name == "emu")
            assert [text.split()[0] for text in next((root / "labels").iterdir()).read_text().splitlines()] == [
                str(index),
                "2",
            ]


def test_a_broken_last_line_of_a_person_stays_and_is_reported(tmp_path: Path) -> None:
    for number, written in enumerate((ours(2) + "  3: [dog", ours(2) + "names", 'names: [a]\n  3: "dog')):
        root = tmp_path / str(number)
        root.mkdir()
        (root / FILE).write_text(written)
        answer = deliver(folder_sink(root), delivery(1, detected(detection("emu"))))
        if number:
            assert isinstance(answer, RetryLater)
            assert (root / FILE).read_text() == written


def test_the_number_of_names_is_put_right_after_a_crash_between_the_two_writes(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(ours(2, "nc: 2\n"))
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1, detected(detection("emu"))))
    assert yaml.safe_load((tmp_path / FILE).read_text())["nc"] == 3
    with (tmp_path / FILE).open("a") as file:
        file.write("  3: gnu\n")

    assert deliver(sink, delivery(2, detected(detection("gnu")))) == Delivered()

    assert yaml.safe_load((tmp_path / FILE).read_text())["nc"] == 4
    assert names(tmp_path) == {0: "class-0", 1: "class-1", 2: "emu", 3: "gnu"}


def test_a_copy_made_of_links_keeps_what_it_had(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path / "a")
    deliver(sink, delivery(1, detected(detection("car"))))
    os.link(tmp_path / "a" / FILE, tmp_path / "copy.yaml")
    before = (tmp_path / "copy.yaml").read_text()

    deliver(sink, delivery(2, detected(detection("dog"))))

    assert (tmp_path / "copy.yaml").read_text() == before
    assert names(tmp_path / "a") == {0: "car", 1: "dog"}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("names: [car, lorry]\n"),
        lambda path: shutil.copy(path, path.with_name("x")) and path.with_name("x").replace(path),
        lambda path: path.unlink(),
    ],
    ids=["edited", "replaced", "removed"],
)
def test_a_file_that_changes_between_two_deliveries_is_not_written_over(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1, detected(detection("car"))))
    change(tmp_path / FILE)

    deliver(sink, delivery(2, detected(detection("bus"))))

    found = names(tmp_path)
    assert set(found.values()) >= {"bus"}
    assert "lorry" not in (tmp_path / FILE).read_text() or found == {0: "car", 1: "lorry", 2: "bus"}


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond this size: as if the disk were full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path, tuple(f"class-{number}" for number in range(MANY)))
    deliver(sink, delivery(1, detected(detection("class-1"))))
    before = (tmp_path / FILE).read_bytes()

    with largest_file(len(before) + 5):
        answer = deliver(sink, delivery(2, detected(detection("emu"))))

    assert isinstance(answer, RetryLater)
    assert answer.scope is FailureScope.SINK
    assert (tmp_path / FILE).read_bytes() == before
    assert deliver(sink, delivery(2, detected(detection("emu")))) == Delivered()
    assert names(tmp_path)[MANY] == "emu"


def seen(*class_names: str) -> Detections:
    count = len(class_names)
    boxes = np.tile([1.0, 1, 5, 5], (count, 1))
    return detections_from_arrays(boxes, np.ones(count), np.arange(count), class_names, width=9, height=9)


def test_classes_without_names_have_the_models_numbers_whichever_is_seen_first(tmp_path: Path) -> None:
    data = DataYaml(tmp_path / FILE, None)
    for predicted in (seen("class_3"), seen("class_1"), seen("class_6", "class_0")):
        data.add_classes(predicted)
    assert names(tmp_path) == {number: f"class_{number}" for number in range(7)}
    again = DataYaml(tmp_path / FILE, None)
    again.refresh()
    again.add_classes(seen("car", "class_9"))
    assert list(names(tmp_path).values())[7:] == ["car", "class_9"]  # as they come, now that they are mixed


def test_a_models_own_names_are_no_numbers(tmp_path: Path) -> None:
    DataYaml(tmp_path / FILE, ("class_7", "class_5")).add_classes(seen("class_5", "class_9"))
    assert names(tmp_path) == {0: "class_7", 1: "class_5", 2: "class_9"}


@pytest.mark.parametrize(
    ("keypoints", "flipped"),
    [
        (["nose", "left_eye", "right_eye"], [0, 2, 1]),
        (["Top Left", "Top Right", "Base"], [1, 0, 2]),
        (["l_hand", "r_hand", "belly"], [1, 0, 2]),
        (["tip"], [0]),
        (["head", "tail"], None),
        (["left_eye", "nose"], None),
        (["left", "left", "right"], None),
    ],
)
def test_keypoints_that_a_mirror_swaps_are_told_by_their_names(
    tmp_path: Path, keypoints: list[str], flipped: list[int] | None
) -> None:
    pose = {"x": 5, "y": 5, "width": 4, "height": 4, "confidence": 0.9, "class": "person", "class_id": 0}
    points = [{"x": 5, "y": 5, "confidence": 1, "class": k, "class_id": n} for n, k in enumerate(keypoints)]
    answer = {"image": {"width": 9, "height": 9}, "predictions": [pose | {"keypoints": points}]}
    prediction = parse_prediction(answer)
    assert isinstance(prediction, Detections)
    DataYaml(tmp_path / FILE, None).add_classes(prediction)
    assert yaml.safe_load((tmp_path / FILE).read_bytes()).get("flip_idx") == flipped
