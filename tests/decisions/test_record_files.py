"""The files of the decision record: bounded, compressed, readable after a torn write."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from pathlib import Path

import pytest

from framesift.decisions import RecordFiles, forget_lines, read_lines
from framesift.decisions.record_files import PRESENT

MAX_BYTES = 64 << 10


def line(number: int, size: int = 200) -> bytes:
    """A line that can't be compressed well. size: in bytes, about."""
    return json.dumps({"number": number, "filling": random.Random(number).randbytes(size // 2).hex()}).encode()


def numbers(folder: Path) -> list[int]:
    return [one["number"] for one in read_lines(folder)]


@pytest.fixture
def files(tmp_path: Path) -> RecordFiles:
    return RecordFiles(tmp_path / "record", MAX_BYTES)


def test_lines_are_read_back_the_newest_first(files: RecordFiles) -> None:
    files.append([line(0), line(1)])
    files.append([line(2)])
    assert numbers(files.folder) == [2, 1, 0]
    assert oct((files.folder / PRESENT).stat().st_mode & 0o777) == "0o600"


def test_a_folder_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert numbers(tmp_path / "none") == []
    assert forget_lines(tmp_path / "none", lambda _: True, dry_run=False) == (0, 0)


def test_all_files_together_never_exceed_the_bound_and_the_newest_lines_stay(files: RecordFiles) -> None:
    for number in range(2000):
        files.append([line(number)])
        assert sum(path.stat().st_size for path in files.folder.iterdir()) <= MAX_BYTES + 300
    found = numbers(files.folder)
    assert found == list(range(1999, 1999 - len(found), -1))
    assert len(found) * 200 > MAX_BYTES // 2
    assert len(list(files.folder.glob("*.gz"))) > 3
    assert not list(files.folder.glob("decisions-*.jsonl"))


def test_a_torn_line_is_left_out_and_the_next_one_is_whole(files: RecordFiles) -> None:
    files.append([line(0)])
    files.close()
    with (files.folder / PRESENT).open("ab") as file:
        file.write(b'{"number": 1, "fil')
    again = RecordFiles(files.folder, MAX_BYTES)
    again.append([line(2)])
    assert numbers(files.folder) == [2, 0]


def test_a_damaged_compressed_file_loses_only_what_lies_behind_the_damage(files: RecordFiles) -> None:
    for number in range(60):
        files.append([line(number)])
    (packed,) = files.folder.glob("*.gz")
    content = bytearray(packed.read_bytes())
    middle = len(content) // 2
    content[middle:] = os.urandom(len(content) - middle)
    packed.write_bytes(content)
    found = numbers(files.folder)
    assert found[-1] == 0
    assert 0 < len(found) < 60


def test_a_compression_that_a_crash_interrupted_is_finished_by_the_next_start(files: RecordFiles) -> None:
    for number in range(60):
        files.append([line(number)])
    before = numbers(files.folder)
    files.close()
    (packed,) = files.folder.glob("*.gz")
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))  # both are there: it was not deleted yet
    assert numbers(files.folder) == before
    packed.rename(packed.with_name(f"{packed.name}.partial"))  # it was not complete yet
    assert numbers(files.folder) == before
    RecordFiles(files.folder, MAX_BYTES).append([line(60)])
    assert numbers(files.folder) == [60, *before]
    assert [path.name for path in files.folder.glob("decisions-*")] == [packed.name]


def test_forgotten_lines_are_gone_from_all_files_while_the_daemon_writes_on(files: RecordFiles) -> None:
    for number in range(60):
        files.append([line(number)])

    def is_selected(found: dict[str, object]) -> bool:
        return found["number"] in (3, 59)

    assert forget_lines(files.folder, is_selected, dry_run=True) == (2, 0)
    assert len(numbers(files.folder)) == 60
    assert forget_lines(files.folder, is_selected, dry_run=False) == (2, 0)
    files.append([line(60)])
    assert numbers(files.folder) == [number for number in range(60, -1, -1) if number not in (3, 59)]


def test_a_file_that_vanishes_is_made_again_by_the_next_write(files: RecordFiles) -> None:
    files.append([line(0)])
    (files.folder / PRESENT).unlink()
    files.append([line(1)])
    assert numbers(files.folder) == [1]


def test_a_folder_that_vanishes_is_made_again_by_the_write_after_the_one_that_fails(files: RecordFiles) -> None:
    files.append([line(0)])
    shutil.rmtree(files.folder)
    with pytest.raises(FileNotFoundError):
        files.append([line(1)])
    files.append([line(2)])
    assert numbers(files.folder) == [2]
