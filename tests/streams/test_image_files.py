"""Folders of pictures: each file once, in the order of the names; what is broken is named and stops nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from framesift.frame import SkipReason
from framesift.streams import StreamLost, StreamState
from framesift.streams.away_reasons import AwayReason
from framesift.streams.picture_names import name_order
from rigs.footage import draw_number, read_number
from rigs.hostile_pictures import black, chunk, png, turned, zeros
from rigs.jpegs import APP1, with_segment
from rigs.stream_reader import KilledReaders, RecordedStream, StepClock


def numbered(number: int, ending: str = ".jpg", size: tuple[int, int] = (320, 64)) -> bytes:
    """A picture file that shows its number. size: (width, height)."""
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    draw_number(pixels, number)
    return cv2.imencode(ending, pixels)[1].tobytes()


def fill(folder: Path, *names: str) -> Path:
    """Write a picture for each name, numbered from 0."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(numbered(number, Path(name).suffix.lower()))
    return folder


def seen(watched: RecordedStream) -> list[int]:
    return [read_number(frame.pixels) for frame in watched.stream.frames()]


def test_every_picture_comes_once_and_in_the_order_of_the_numbers_in_the_names(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "a2.jpg", "a10.jpg", "a10b.PNG", "b1.jpeg", "b1.tif", "c.bmp", "d.webp")
    for other in (".hidden.jpg", "notes.txt", "a3.jpg.part"):
        (folder / other).write_bytes(numbered(99))
    (folder / "below.jpg").mkdir()
    watched = RecordedStream(source=str(folder))
    found = [(frame.number, read_number(frame.pixels), frame.media_s) for frame in watched.stream.frames()]
    assert found == [(number, number, float(number)) for number in range(7)]
    assert watched.states == [StreamState.RUNNING, StreamState.ENDED]
    assert not watched.skipped


def test_names_with_the_same_numbers_have_an_order_too() -> None:
    ordered = ["01", "1", "a", "a01", "a1", "a1.5", "é2"]
    assert sorted(["a1", "é2", "1", "a1.5", "a01", "a", "01"], key=name_order) == ordered
    assert sorted(["x100", "x20", "x3"], key=name_order) == ["x3", "x20", "x100"]


def test_a_pattern_chooses_among_the_names(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "gate-1.jpg", "gate-2.jpg", "gate-3.png", "yard-1.jpg")
    assert seen(RecordedStream(source=str(folder / "gate-*.jpg"))) == [0, 1]
    assert seen(RecordedStream(source=f"{folder}/gate-[13].*")) == [0, 2]


def test_what_is_called_like_a_pattern_is_read_as_it_is(tmp_path: Path) -> None:
    folder = fill(tmp_path / "run [1]", "1.jpg", "2.jpg")
    assert seen(RecordedStream(source=str(folder))) == [0, 1]
    assert seen(RecordedStream(source=f"{folder}/*.jpg")) == [0, 1]


def test_fps_gives_the_pictures_their_times_and_leaves_none_out(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "1.jpg", "2.jpg", "3.jpg")
    watched = RecordedStream(source=str(folder), fps=4.0)
    assert [frame.media_s for frame in watched.stream.frames()] == [0.0, 0.25, 0.5]


def test_a_picture_is_turned_as_its_exif_says_and_then_as_the_settings_say(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "1.jpg")
    (folder / "1.jpg").write_bytes(turned(numbered(5)))
    (plain,) = [frame.pixels.copy() for frame in RecordedStream(source=str(folder)).stream.frames()]
    assert plain.shape == (320, 64, 3)
    assert read_number(np.rot90(plain)) == 5 or read_number(np.rot90(plain, -1)) == 5
    (more,) = [frame.pixels.copy() for frame in RecordedStream(source=str(folder), rotate=90).stream.frames()]
    assert np.array_equal(more, np.rot90(plain, -1))


def test_another_size_is_a_new_epoch(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "1.jpg", "2.jpg", "4.jpg")
    (folder / "3.jpg").write_bytes(numbered(7, size=(400, 80)))
    found = [
        (read_number(frame.pixels), frame.pixels.shape, frame.epoch)
        for frame in RecordedStream(source=str(folder)).stream.frames()
    ]
    assert found == [(0, (64, 320, 3), 0), (1, (64, 320, 3), 0), (7, (80, 400, 3), 1), (2, (64, 320, 3), 2)]


def _grey16() -> bytes:
    return cv2.imencode(".png", np.full((20, 30), 40_000, np.uint16))[1].tobytes()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "can't be decoded"),
        (b"this is no picture\n" * 10, "can't be decoded"),
        (numbered(9)[:-2], "its end is missing"),
        (numbered(9)[:700], "its end is missing"),
        (with_segment(numbered(9), APP1, b"Exif\0\0" + numbered(9))[:-700], "its end is missing"),
        (numbered(9)[:-200] + b"\xff\xd9", "its data end early, before its end marker"),
        (numbered(9, ".png")[:-30], "can't be decoded"),
        (numbered(9, ".webp")[:-30], "can't be decoded"),
        (numbered(9, ".bmp")[:-30], "can't be decoded"),
        (numbered(9, ".tif")[:-30], "can't be decoded"),
        (png(chunk(b"IDAT", zeros(1000)), width=20_000, height=20_000), "more than 100,000,000 pixels"),
        (black(1, 50), "its size is not a camera's"),
    ],
    ids=["empty", "text", "no end", "half", "end of a small one", "early", "png", "webp", "bmp", "tif", "huge", "thin"],
)
def test_a_broken_picture_is_unusable_and_named_and_the_others_come(tmp_path: Path, content: bytes, why: str) -> None:
    folder = fill(tmp_path / "pictures", "1.jpg", "2.jpg", "3.jpg")
    (folder / "2.jpg").write_bytes(content)
    watched = RecordedStream(source=str(folder))
    assert seen(watched) == [0, 2]
    assert watched.skipped == {SkipReason.UNUSABLE: 1}
    ((count, said),) = watched.unusable
    assert count == 1
    assert said.startswith("2.jpg: ")
    assert why in said


def test_sixteen_bits_and_grey_become_colour(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures")
    (folder / "1.png").write_bytes(_grey16())
    (frame,) = [frame.pixels.copy() for frame in RecordedStream(source=str(folder)).stream.frames()]
    assert frame.shape == (20, 30, 3)
    assert set(frame.ravel().tolist()) == {40_000 >> 8}


def test_a_file_that_may_not_be_read_or_is_too_large_is_unusable(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "1.jpg", "3.jpg")
    with (folder / "2.jpg").open("wb") as sparse:
        sparse.truncate((256 << 20) + 1)
    watched = RecordedStream(source=str(folder))
    assert seen(watched) == [0, 1]
    assert "2.jpg: a file of 268,435,457 bytes; at most 268,435,456 are read" in watched.unusable[0][1]


@pytest.mark.parametrize(
    ("source", "reason", "text"),
    [
        ("empty", AwayReason.NO_PICTURES, "no picture is in the folder"),
        ("empty/*.jpg", AwayReason.NO_PICTURES, "no picture is in the folder"),
        ("away/", AwayReason.NO_FILE, "no such folder"),
        ("away/*.jpg", AwayReason.NO_FILE, "no such folder"),
        ("file.txt/*.jpg", AwayReason.NO_FILE, "is no folder"),
    ],
)
def test_a_folder_without_pictures_is_told_from_one_that_is_not_there(
    tmp_path: Path, source: str, reason: AwayReason, text: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "clip.mp4").touch()
    (tmp_path / "file.txt").touch()
    with pytest.raises(StreamLost, match=text) as lost:
        seen(RecordedStream(source=f"{tmp_path}/{source}"))
    assert lost.value.reason is reason


def test_a_looped_folder_begins_again(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "1.jpg", "2.jpg")
    found = []
    for frame in RecordedStream(source=str(folder), loop=True).stream.frames():
        found.append((frame.number, read_number(frame.pixels)))
        if len(found) == 5:
            break
    assert found == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]


def test_a_reader_that_dies_costs_no_picture(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", *(f"{number}.jpg" for number in range(20)))
    watched = RecordedStream(source=str(folder), clock=StepClock())
    found = []
    for frame in watched.stream.frames():
        found.append(read_number(frame.pixels))
        if frame.number == 5:
            os.kill(watched.reader_pids()[0], signal.SIGKILL)
    assert found == list(range(20))
    assert watched.states.count(StreamState.LOST) == 1


def test_a_picture_that_ends_each_reader_is_left_out(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "1.jpg", "2.jpg", "3.jpg")
    watched = KilledReaders(3, folder)
    assert seen(watched) == [1, 2]
    assert watched.skipped == {SkipReason.UNUSABLE: 1}
    assert "killed by SIGKILL" in watched.unusable[0][1]


def test_a_folder_whose_readers_all_die_is_given_up(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", *(f"{number}.jpg" for number in range(9)))
    watched = KilledReaders(100, folder)
    with pytest.raises(StreamLost, match="killed by SIGKILL"):
        seen(watched)
    assert watched.skipped == {SkipReason.UNUSABLE: 3}
