"""A watched folder: what is in it and what arrives, each file once, whole, and remembered."""

from __future__ import annotations

import os
import signal
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from framesift.frame import SkipReason
from framesift.streams import StreamState
from framesift.streams.engines.taken_pictures import TakenPictures, digest
from rigs.footage import read_number
from rigs.stream_reader import RecordedStream
from streams.test_image_files import numbered


class Watched:
    """A watched folder whose frames are collected in a thread."""

    def __init__(self, folder: Path, *, taken_file: Path | None = None, read_timeout_s: float = 10.0) -> None:
        self.recorded = RecordedStream(
            source=str(folder), watch=True, taken_file=taken_file, read_timeout_s=read_timeout_s
        )
        self.numbers: list[int] = []
        self._came = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for frame in self.recorded.stream.frames():
            with self._came:
                self.numbers.append(read_number(frame.pixels))
                self._came.notify_all()

    def wait_for(self, count: int) -> list[int]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.numbers) >= count, 20.0), self.numbers
            return list(self.numbers)

    def close(self) -> None:
        self.recorded.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture
def opened() -> Iterator[list[Watched]]:
    watched: list[Watched] = []
    yield watched
    for one in watched:
        one.close()


def put(folder: Path, name: str, number: int) -> None:
    """Give a picture its name when it is complete."""
    (folder / f".{name}").write_bytes(numbered(number))
    (folder / f".{name}").rename(folder / name)


def test_what_is_there_and_what_arrives_comes_once(folder: Path, opened: list[Watched]) -> None:
    put(folder, "b.jpg", 1)
    watched = Watched(folder)
    opened.append(watched)
    assert watched.wait_for(1) == [1]
    put(folder, "a.jpg", 2)  # its name comes before the one that was read
    assert watched.wait_for(2) == [1, 2]
    (folder / "c.jpg").write_bytes(numbered(3))
    assert watched.wait_for(3) == [1, 2, 3]
    (folder / "a.jpg").write_bytes(numbered(4))  # written anew
    assert watched.wait_for(4) == [1, 2, 3, 4]
    (folder / "b.jpg").unlink()
    put(folder, "last.jpg", 5)
    assert watched.wait_for(5) == [1, 2, 3, 4, 5]
    assert watched.recorded.states == [StreamState.RUNNING]


def test_an_empty_folder_is_waited_at_without_a_loss(folder: Path, opened: list[Watched]) -> None:
    watched = Watched(folder, read_timeout_s=0.5)
    opened.append(watched)
    assert watched.recorded.wait_for(lambda: watched.recorded.states == [StreamState.RUNNING])
    assert "waits for pictures" in watched.recorded.events[0].detail
    put(folder, "a.jpg", 1)
    assert watched.wait_for(1) == [1]
    assert watched.recorded.states == [StreamState.RUNNING]


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path, opened: list[Watched]) -> None:
    watched = Watched(tmp_path / "later")
    opened.append(watched)
    assert watched.recorded.wait_for(lambda: watched.recorded.states == [StreamState.LOST])
    (tmp_path / "later").mkdir()
    put(tmp_path / "later", "a.jpg", 1)
    assert watched.wait_for(1) == [1]


def test_half_of_a_picture_is_never_shown(folder: Path, opened: list[Watched]) -> None:
    """The writer stops in the middle for as long as it takes until somebody has looked."""
    content = numbered(7)
    watched = Watched(folder)
    opened.append(watched)
    with (folder / "a.jpg").open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        assert watched.recorded.wait_for(lambda: watched.recorded.skipped[SkipReason.UNUSABLE] == 1)
        assert watched.numbers == []
        file.write(content[len(content) // 2 :])
    assert watched.wait_for(1) == [7]


def test_a_broken_picture_is_named_and_read_once(folder: Path, opened: list[Watched]) -> None:
    (folder / "a.jpg").write_bytes(b"this is no picture")
    watched = Watched(folder)
    opened.append(watched)
    assert watched.recorded.wait_for(lambda: watched.recorded.skipped[SkipReason.UNUSABLE] == 1)
    for number in (1, 2):
        put(folder, f"b{number}.jpg", number)
        watched.wait_for(number)
    assert watched.recorded.skipped == {SkipReason.UNUSABLE: 1}
    assert watched.recorded.unusable[0][1].startswith("a.jpg: ")


def test_a_new_reader_reads_no_picture_again_that_was_done_with(
    folder: Path, tmp_path: Path, opened: list[Watched]
) -> None:
    for number in range(3):
        put(folder, f"{number}.jpg", number)
    taken_file = tmp_path / "spool.db.watched-gate"
    watched = Watched(folder, taken_file=taken_file)
    opened.append(watched)
    assert watched.wait_for(3) == [0, 1, 2]
    ends_s = time.monotonic() + 20
    while not (taken_file.exists() and taken_file.stat().st_size == 24):
        assert time.monotonic() < ends_s
        threading.Event().wait(0.02)
    os.kill(watched.recorded.reader_pids()[0], signal.SIGKILL)
    put(folder, "3.jpg", 3)
    assert watched.wait_for(4) == [0, 1, 2, 3]
    watched.close()
    again = Watched(folder, taken_file=taken_file)
    opened.append(again)
    put(folder, "4.jpg", 4)
    assert again.wait_for(1)[-1] in (3, 4)  # whose end was not known when the reader was stopped


def test_what_was_taken_is_remembered_in_eight_bytes_for_each(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    taken = TakenPictures(str(path))
    values = [digest(f"{number}.jpg", 1) for number in range(2_500)]
    for value in values:
        assert value not in taken
        taken.add(value)
    assert path.stat().st_size == 8 * 2_500
    assert path.stat().st_mode & 0o777 == 0o600
    again = TakenPictures(str(path))
    assert all(value in one for one in (taken, again) for value in values)
    assert len(again) == len(taken) == 2_500
    assert digest("1.jpg", 2) not in again


def test_an_end_that_was_cut_off_costs_one_name(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    taken = TakenPictures(str(path))
    taken.add(1)
    taken.add(2)
    os.truncate(path, 13)
    again = TakenPictures(str(path))
    assert (1 in again, 2 in again) == (True, False)


def test_what_is_gone_is_forgotten_and_the_file_made_smaller(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    taken = TakenPictures(str(path))
    for value in range(10_010):
        taken.add(value)
    taken.keep_only(array("Q", [5, 7]))
    assert len(taken) == 2
    assert path.stat().st_size == 16
    assert [value for value in range(10_010) if value in TakenPictures(str(path))] == [5, 7]


def test_a_file_that_can_not_be_written_is_done_without(tmp_path: Path) -> None:
    taken = TakenPictures(str(tmp_path / "away" / "taken"))
    taken.add(1)
    assert 1 in taken
