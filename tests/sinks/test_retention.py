"""A collected folder with bounds: the oldest pictures go, with their labels and lines, and nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deliveries import CAPTURED_S, deliver, delivery, detected, detection, read_image_folder, read_yolo
from exhaustive import some_of
from framesift.sinks import Delivered, FailureScope, FolderSink, FolderSinkSettings, RetryLater
from framesift.sinks.own_lines import parse_own_line

DAY_S = 86_400.0
NOW_S = CAPTURED_S + 3600.0
TESTS = Path(__file__).parents[1]


def bounded(path: Path, max_bytes: int | None = None, max_age_days: float | None = None) -> FolderSink:
    """A sink with bounds that settings would refuse, since they are too small for real pictures."""
    options = FolderSinkSettings.model_construct(
        type="folder", path=path, max_bytes=max_bytes, max_age_days=max_age_days
    )
    return FolderSink(options, class_names=None)


def settle(sink: FolderSink, now_s: float = NOW_S, monotonic_s: float | None = None) -> None:
    """Passes until there is nothing left to measure. monotonic_s: as if no clock had stepped, if it is None."""
    while sink.apply_retention(now_s=now_s, monotonic_s=now_s if monotonic_s is None else monotonic_s):
        pass


def numbers(root: Path) -> list[int]:
    """The pictures of a folder, by their lines; each has its files, and no file is without a line."""
    rows = read_image_folder(root)
    names = {Path(row["file_name"]).stem for row in rows}
    assert {path.stem for path in (root / "images").iterdir()} == names
    assert {path.stem for path in (root / "labels").iterdir()} == names
    assert set(read_yolo(root)) == names
    return sorted(int(row["id"], 16) for row in rows)


def held_bytes(root: Path) -> int:
    files = [*(root / "images").iterdir(), *(root / "labels").iterdir(), root / "metadata.jsonl"]
    return sum(path.stat().st_size for path in files)


def test_the_oldest_goes_with_its_label_and_line_and_the_bound_always_holds(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_bytes=20_000)
    for number in (5, 1, 3, *range(10, 60)):
        assert deliver(sink, delivery(number, jpeg=b"x" * 900)) == Delivered()
        assert held_bytes(tmp_path) <= 20_000
    left = [int(json.loads(line)["id"], 16) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert left == list(range(left[0], 60))
    assert held_bytes(tmp_path) > 0.8 * 20_000
    report = sink.retention_report()
    assert (report.pictures, report.size_bytes) == (len(left), held_bytes(tmp_path))
    assert report.oldest_s == pytest.approx(CAPTURED_S + left[0], abs=0.001)
    assert report.removed == {"age": 0, "size": 53 - len(left)}


def test_what_is_too_old_goes_by_the_time_of_its_capture(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_age_days=10.0)
    for day in range(12):
        deliver(sink, delivery(day, captured_at_s=CAPTURED_S + day * DAY_S))
    settle(sink, CAPTURED_S + 10 * DAY_S)
    assert numbers(tmp_path) == list(range(12))
    settle(sink, CAPTURED_S + 10 * DAY_S + 1.0)
    assert numbers(tmp_path) == list(range(2, 12)), "down to nine tenths of the bound"
    settle(sink, CAPTURED_S + 13 * DAY_S)
    assert numbers(tmp_path) == list(range(4, 12))
    assert sink.retention_report().removed == {"age": 4, "size": 0}


def test_pictures_and_lines_of_other_programs_never_go_and_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cat.jpg").write_bytes(delivery(1).jpeg)
    own = f"gate-7_north_20200101T000000000Z_{7:032x}"
    (tmp_path / "images" / f"{own}.jpg").write_bytes(delivery(7).jpeg)  # like ours, but without a line
    rest = '"device": "d", "stream": "s", "frame": 1, "captured_at": "2020-01-01T00:00:00Z"}'
    theirs = [
        "no object",
        '{"file_name": "images/cat.jpg", "label": "cat"}',
        '{"file_name": "images/dog.jpg", "id": "7", ' + rest,
        f'{{"file_name": "images/../../{own}.jpg", "id": "{7:032x}", ' + rest,
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(f"{line}\n" for line in theirs))
    sink = bounded(tmp_path, max_bytes=3000, max_age_days=1.0)
    for number in range(1, 30):
        assert deliver(sink, delivery(number)) == Delivered()
    settle(sink, CAPTURED_S + 10 * DAY_S)

    assert (tmp_path / "metadata.jsonl").read_text().splitlines() == theirs
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["cat.jpg", f"{own}.jpg"]
    assert list((tmp_path / "labels").iterdir()) == []
    assert sink.retention_report().pictures == 0


def test_a_later_process_measures_what_is_there_and_keeps_the_bound(tmp_path: Path) -> None:
    first = bounded(tmp_path)
    for number in range(40):
        deliver(first, delivery(number))
    first.close()
    before = held_bytes(tmp_path)
    most = before // 2

    sink = bounded(tmp_path, max_bytes=most)
    assert sink.apply_retention(now_s=NOW_S, monotonic_s=NOW_S) is False  # measured, all at once
    settle(sink)

    assert held_bytes(tmp_path) <= most
    assert sink.retention_report().size_bytes == held_bytes(tmp_path)
    assert numbers(tmp_path)[-1] == 39
    deliver(sink, delivery(40))
    assert held_bytes(tmp_path) <= most


def test_a_picture_alone_beyond_the_bound_is_its_own_problem(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_bytes=20_000)
    deliver(sink, delivery(1))
    result = deliver(sink, delivery(2, jpeg=b"x" * 20_000))
    assert isinstance(result, RetryLater)
    assert result.scope is FailureScope.ITEM
    assert "and sink.max_bytes is 20000" in result.reason
    assert numbers(tmp_path) == [1]


def test_settings_with_a_bound_below_one_picture_are_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 16777216"):
        FolderSinkSettings.model_validate_json('{"type": "folder", "path": "x", "max_bytes": "15MiB"}')
    whole = FolderSinkSettings.model_validate_json(
        '{"type": "folder", "path": "x", "max_bytes": "2GiB", "max_age_days": 30}'
    )
    assert whole.bounds is not None
    assert (whole.bounds.max_bytes, whole.bounds.max_age_s) == (2 << 30, 30 * DAY_S)


def test_what_was_captured_before_the_clock_was_set_is_as_old_as_its_delivery(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_age_days=2.0)
    deliver(sink, delivery(1, captured_at_s=1000.0))
    deliver(sink, delivery(2))
    settle(sink, NOW_S + 60.0)
    assert numbers(tmp_path) == [1, 2]
    settle(sink, NOW_S + 3 * DAY_S)
    assert not (tmp_path / "metadata.jsonl").read_bytes()


def test_a_clock_that_jumps_ahead_removes_nothing_for_a_day(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_age_days=10.0)
    deliver(sink, delivery(1))
    settle(sink, NOW_S, 0.0)
    settle(sink, NOW_S + 3650 * DAY_S, 60.0)
    assert numbers(tmp_path) == [1]
    settle(sink, NOW_S + 120.0, 120.0)  # it was wrong, and is right again
    settle(sink, NOW_S + 3650 * DAY_S, 180.0)
    settle(sink, NOW_S + 3651 * DAY_S, 180.0 + DAY_S)  # it was right after all
    assert not (tmp_path / "metadata.jsonl").read_bytes()


def test_whoever_reads_the_listing_meanwhile_sees_whole_lines(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_bytes=20_000)
    deliver(sink, delivery(0))
    over = threading.Event()
    broken: list[str] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        while not over.is_set():
            for line in (tmp_path / "metadata.jsonl").read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n") and parse_own_line(line) is None:
                    broken.append(repr(line))
            reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 150):
        deliver(sink, delivery(number))
    over.set()
    reader.join()
    assert broken == []
    assert reads > 10


def test_lines_changed_by_hand_meanwhile_are_read_again(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_bytes=1_000_000, max_age_days=5.0)
    for number in range(4):
        deliver(sink, delivery(number))
    lines = (tmp_path / "metadata.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metadata.jsonl").write_text("# a note\n" + "".join(lines[:2]))  # two pictures are now the user's own
    settle(sink, NOW_S + 9 * DAY_S)
    assert (tmp_path / "metadata.jsonl").read_text() == "# a note\n"
    assert len(list((tmp_path / "images").iterdir())) == 2


@pytest.mark.parametrize("edit", ["swapped", "moved", "the user's own"])
def test_an_edit_that_keeps_the_size_of_the_listing_is_noticed_before_anything_goes(tmp_path: Path, edit: str) -> None:
    sink = bounded(tmp_path, max_bytes=1_000_000, max_age_days=5.0)
    for number in range(6):
        deliver(sink, delivery(number, captured_at_s=CAPTURED_S + number * DAY_S))
    listing = tmp_path / "metadata.jsonl"
    lines = listing.read_bytes().splitlines(keepends=True)
    size_bytes = listing.stat().st_size
    if edit == "swapped":
        lines.reverse()
    elif edit == "moved":  # a byte from one line to the line before
        lines[0], lines[1] = lines[0].replace(b'": ', b'":  ', 1), lines[1].replace(b'": ', b'":', 1)
        lines = [lines[1], lines[0], *lines[2:]]
    else:
        lines[0] = lines[0].replace(b'{"file_name"', b'{"FILE_NAME"')
    with listing.open("r+b") as file:  # in place
        file.write(b"".join(lines))
    assert listing.stat().st_size == size_bytes

    settle(sink, CAPTURED_S + 7.1 * DAY_S)  # finds it, and reads the listing anew
    settle(sink, CAPTURED_S + 7.1 * DAY_S)

    gone = {"swapped": {0, 1, 2}, "moved": {2}, "the user's own": {1, 2}}[edit]
    left = [json.loads(line) for line in listing.read_text().splitlines()]
    assert {int(row["id"], 16) for row in left} == set(range(6)) - gone
    assert len(list((tmp_path / "images").iterdir())) == 6 - len(gone)
    report = sink.retention_report()
    theirs = {"swapped": 0, "moved": 2, "the user's own": 1}[edit]
    assert report.pictures == 6 - len(gone) - theirs
    assert report.size_bytes is not None


def test_the_listing_keeps_its_mode_when_lines_go(tmp_path: Path) -> None:
    sink = bounded(tmp_path, max_age_days=1.0)
    deliver(sink, delivery(1))
    (tmp_path / "metadata.jsonl").chmod(0o664)
    settle(sink, NOW_S + 9 * DAY_S)
    assert (tmp_path / "metadata.jsonl").stat().st_mode & 0o777 == 0o664


PROGRAM = """
import pathlib, sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/sinks"]
from test_retention import NOW_S, DAY_S, bounded, settle
sink = bounded(pathlib.Path(sys.argv[1]), max_age_days=1.0)
pathlib.Path(sys.argv[1], "ready").mkdir()
settle(sink, NOW_S + 10 * DAY_S)
"""


def removing_child(root: Path, *strace: str) -> subprocess.CompletedProcess[str]:
    """A process that removes pictures 1 and 2 of `half_old`, under strace."""
    trace = str(root.parent / f"{root.name}.trace")
    command = ["strace", "-f", "-o", trace, *strace, sys.executable, "-c", PROGRAM, str(root), str(TESTS)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def half_old(root: Path) -> None:
    sink = bounded(root)
    for number in (1, 2):
        deliver(sink, delivery(number))
    deliver(sink, delivery(3, detected(detection("car")), captured_at_s=NOW_S + 10 * DAY_S))
    sink.close()


def assert_the_next_pass_finishes(root: Path) -> None:
    (root / "ready").rmdir()
    lines = (root / "metadata.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        assert (root / row["file_name"]).exists(), "no line lacks its picture, at no moment"
    sink = bounded(root, max_age_days=1.0)
    settle(sink, NOW_S + 10 * DAY_S)
    assert numbers(root) == [3]
    assert not {path.name for path in root.iterdir()} & {".removing", ".partial"}
    sink.close()


@pytest.mark.parametrize("when", some_of([1, 2, 4], lambda when: when == 2))
def test_the_next_pass_finishes_what_a_kill_interrupted(tmp_path: Path, when: int) -> None:
    half_old(tmp_path / "c")
    ended = removing_child(tmp_path / "c", "--trace=unlinkat", f"--inject=unlinkat:signal=SIGKILL:when={2 + when}")
    assert ended.returncode != 0
    assert_the_next_pass_finishes(tmp_path / "c")


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("call", ["write", "fsync", "renameat", "unlink", "unlinkat", "openat", "fchmod"])
def test_the_next_pass_finishes_whatever_call_a_kill_interrupted(tmp_path: Path, call: str) -> None:
    half_old(tmp_path / "whole")
    assert removing_child(tmp_path / "whole", f"--trace={call},mkdir").returncode == 0
    lines = (tmp_path / "whole.trace").read_text().splitlines()
    (start,) = (at for at, line in enumerate(lines) if "mkdir(" in line and '/ready"' in line)
    before, total = (sum(f" {call}(" in line for line in part) for part in (lines[:start], lines))
    for number in range(before + 1, total + 1):
        root = tmp_path / f"{number}"
        half_old(root)
        removing_child(root, f"--trace={call}", f"--inject={call}:signal=SIGKILL:when={number}")
        assert_the_next_pass_finishes(root)


def test_what_a_forged_list_of_removals_names_outside_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "precious.jpg").touch()
    root = tmp_path / "collected"
    first = bounded(root)
    deliver(first, delivery(1))
    first.close()
    (root / ".removing").write_text("../../precious\n../README\n" + "\0\n")
    sink = bounded(root, max_age_days=1.0)
    settle(sink)
    assert (tmp_path / "precious.jpg").exists()
    assert numbers(root) == [1]


def collected(settings: dict[str, Any]) -> FolderSinkSettings:
    return FolderSinkSettings.model_validate_json(json.dumps({"type": "folder", "path": "x", **settings}))


def test_a_folder_without_bounds_has_no_index_and_no_passes(tmp_path: Path) -> None:
    options = collected({})
    sink = FolderSink(options.model_copy(update={"path": tmp_path}), class_names=None)
    assert options.retention(sink) is None
    assert sink.apply_retention(now_s=NOW_S, monotonic_s=0.0) is False
