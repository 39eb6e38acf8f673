"""Thumbnails of refused frames: their bound, their lines, what a power cut makes of them, and what forgets them."""

from __future__ import annotations

import random
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from framesift.decisions import (
    RecordFiles,
    ThumbnailFiles,
    delete_thumbnails,
    forget_lines,
    read_lines,
    read_thumbnail,
    thumbnail_file,
)
from framesift.decisions.decision_record import WRITE_EVERY
from rigs.refused_thumbnails import Thumbnail, ThumbnailRecord

MAX_BYTES = 80_000  # ten thumbnails of two blocks each, less one that is not filled
SIZE = 5000


def jpeg(number: int = 0) -> bytes:
    return number.to_bytes(2, "big") * (SIZE // 2)


def size_on_disk(folder: Path) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in (folder / "thumbnails").iterdir())


class Rig(ThumbnailRecord):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "record", MAX_BYTES)

    def lines(self) -> list[dict[str, Any]]:
        """Writes, and returns the lines of decisions, the oldest first."""
        return [line for line in self.record.lines() if line["type"] == "decision"][::-1]

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "thumbnails").iterdir())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def named(lines: Sequence[dict[str, Any]]) -> list[str]:
    return [line["thumbnail"] for line in lines if "thumbnail" in line]


def test_of_the_frames_of_a_second_only_the_nearest_is_encoded_and_its_line_names_the_file(rig: Rig) -> None:
    shown = [Thumbnail(jpeg(number)) for number in range(3)]
    for thumbnail, nearness in zip(shown, (0.4, 0.6, 0.5), strict=True):
        rig.refuse(thumbnail, nearness)
    (line,) = rig.lines()
    assert [thumbnail.made for thumbnail in shown] == [0, 1, 0]
    path = thumbnail_file(rig.folder, line)
    assert path is not None
    assert path.read_bytes() == read_thumbnail(rig.folder, line["thumbnail"]) == jpeg(1)
    assert rig.names() == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((rig.folder / "decisions.jsonl").stat().st_mode) == 0o600


def test_a_line_waits_for_its_mask_and_goes_without_a_thumbnail_that_can_not_be_made(rig: Rig) -> None:
    waiting = Thumbnail(is_settled=False)
    rig.refuse(waiting)
    rig.refuse(Thumbnail(None), stream="yard")
    assert [line["stream"] for line in rig.lines()] == ["yard"]
    rig.refuse(None, stream="door")
    waiting.is_settled = True
    lines = rig.lines()
    assert [(line["stream"], "thumbnail" in line) for line in lines] == [
        ("yard", False),
        ("gate", True),
        ("door", False),
    ]
    assert waiting.made == 1


def test_no_more_are_taken_while_nothing_can_be_written(rig: Rig) -> None:
    for _ in range(WRITE_EVERY):
        assert rig.record.keeps_thumbnails
        rig.refuse(Thumbnail())
        rig.record.end_second()
    assert not rig.record.keeps_thumbnails
    assert len(named(rig.lines())) == WRITE_EVERY
    assert rig.record.keeps_thumbnails


def test_the_end_of_a_run_waits_for_no_mask(rig: Rig) -> None:
    rig.record.start()
    rig.refuse(Thumbnail(is_settled=False))
    assert rig.record.stop(5.0)
    (line,) = rig.lines()
    assert thumbnail_file(rig.folder, line) is not None


def test_all_together_never_exceed_the_bound_on_the_disk_and_the_newest_stay(tmp_path: Path) -> None:
    files = ThumbnailFiles(tmp_path, MAX_BYTES)
    names = []
    for number in range(40):
        if number == 20:
            files = ThumbnailFiles(tmp_path, MAX_BYTES)  # another run
        names.append(files.add(jpeg(number), 1))
        assert size_on_disk(tmp_path) <= MAX_BYTES
    kept = sorted(path.name for path in (tmp_path / "thumbnails").iterdir())
    assert kept == names[-len(kept) :]
    assert len(kept) >= 7


def test_thumbnails_go_with_the_file_in_which_their_lines_were(rig: Rig) -> None:
    rng = random.Random(0)
    other = RecordFiles(rig.folder, MAX_BYTES)
    rig.refuse(Thumbnail())
    (first,) = rig.lines()
    while (rig.folder / "decisions.jsonl").exists():  # until it is full, and becomes an earlier one
        other.append([rng.randbytes(1000).hex().encode()])
    rig.refuse(Thumbnail(jpeg(1)), frame=8)
    second = rig.lines()[-1]
    assert rig.names() == [first["thumbnail"], second["thumbnail"]]
    while (rig.folder / "decisions-00000001.jsonl.gz").exists():
        other.append([rng.randbytes(1000).hex().encode()])
    rig.record.flush()
    assert rig.names() == [second["thumbnail"]]


@pytest.mark.parametrize("content", [b"", jpeg()[:-1], b"\0" * SIZE])
def test_what_a_power_cut_made_of_a_file_is_no_thumbnail(rig: Rig, content: bytes) -> None:
    rig.refuse(Thumbnail(jpeg(1)))
    (line,) = rig.lines()
    (rig.folder / "thumbnails" / line["thumbnail"]).write_bytes(content)
    assert read_thumbnail(rig.folder, line["thumbnail"]) is None
    assert thumbnail_file(rig.folder, line) is None


@pytest.mark.parametrize("name", ["", "../decisions.jsonl", "00000001-0000000001-00000000.jpg"])
def test_nothing_else_is_read_as_a_thumbnail(rig: Rig, name: str) -> None:
    rig.refuse(Thumbnail())
    rig.lines()
    assert read_thumbnail(rig.folder, name) is None


def test_forgotten_lines_take_their_thumbnails_along_and_those_without_a_line(rig: Rig) -> None:
    rig.refuse(Thumbnail(jpeg(1)))
    rig.refuse(Thumbnail(jpeg(2)), stream="yard")
    gate, yard = sorted(rig.lines(), key=lambda line: line["stream"])
    lost = ThumbnailFiles(rig.folder, MAX_BYTES).add(jpeg(3), 1)  # its line was lost in a power cut
    (rig.folder / "thumbnails" / ".partial").write_bytes(b"half")

    def is_selected(line: dict[str, Any]) -> bool:
        return (line["stream"], line["type"]) == ("gate", "decision")

    assert forget_lines(rig.folder, is_selected, dry_run=True) == (1, 2)
    assert rig.names() == sorted([".partial", gate["thumbnail"], yard["thumbnail"], lost])
    assert forget_lines(rig.folder, is_selected, dry_run=False) == (1, 2)
    assert rig.names() == [yard["thumbnail"]]
    assert named(list(read_lines(rig.folder))) == [yard["thumbnail"]]
    rig.refuse(Thumbnail(jpeg(4)), frame=9)
    assert thumbnail_file(rig.folder, rig.lines()[-1]) is not None


def test_all_are_deleted_where_they_are_switched_off(rig: Rig, tmp_path: Path) -> None:
    rig.refuse(Thumbnail())
    rig.lines()
    assert delete_thumbnails(rig.folder) == 1
    assert rig.names() == []
    assert delete_thumbnails(tmp_path / "none") == 0


def test_a_folder_that_can_not_be_written_is_reported_and_the_lines_go_without_thumbnails(rig: Rig) -> None:
    rig.refuse(None)
    rig.lines()
    (rig.folder / "thumbnails").write_text("in the way")
    rig.refuse(Thumbnail())
    assert len(rig.lines()) == 2
    (problem,) = rig.problems
    assert problem.endswith("thumbnails are not kept")
    (rig.folder / "thumbnails").unlink()
    rig.refuse(Thumbnail())
    assert len(named(rig.lines())) == 1
    assert rig.problems[1:] == [""]
    shutil.rmtree(rig.folder / "thumbnails")
    for _ in range(2):  # the write after the one that fails makes it again
        rig.refuse(Thumbnail())
        rig.record.flush()
    assert len(rig.names()) == 1
