"""`framesift sheet`: which pictures it draws, on how many pages, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from clocks import ManualClock
from deliveries import HEIGHT, WIDTH, deliver, delivery, folder_sink, jpeg
from framesift.cli.main import app
from framesift.datasets.contact_sheet import CAPTION_HEIGHT, GAP, MARGIN, TILE_WIDTH
from framesift.datasets.picture_choice import PictureChoice
from framesift.datasets.sheet_sources import open_sheet_source
from rigs.spools import make_spool, put, quota

TILE_HEIGHT = TILE_WIDTH * HEIGHT // WIDTH + CAPTION_HEIGHT
SHADE = 8  # from one picture to the next


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty pictures of two streams, by two strategies, each a shade brighter than the one before."""
    path = tmp_path / "collected"
    sink = folder_sink(path)
    for number in range(30):
        stream, strategy = ("yard" if number % 3 else "gate"), ("hard" if number % 2 else "unsure")
        deliver(sink, delivery(number, stream=stream, strategy=strategy, jpeg=jpeg(SHADE * number)))
    sink.close()
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["sheet", *map(str, words)])


def shades(path: Path) -> list[int]:
    """Which pictures are on the sheet, in its order, by their shades."""
    sheet = cv2.imread(str(path))
    assert sheet is not None
    rows = round((sheet.shape[0] - 100) / (TILE_HEIGHT + GAP))
    found: list[int] = []
    for row in range(rows):
        y = sheet.shape[0] - MARGIN - (rows - row) * (TILE_HEIGHT + GAP) + 30
        for column in range(4):
            x = MARGIN + column * (TILE_WIDTH + GAP) + 30
            blue, green, red = (int(c) for c in sheet[y, x])
            if abs(blue - red) <= 2:  # the paper is no grey
                found.append(round(green / SHADE))
    return found


def test_the_newest_pictures_come_first_in_pages(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.png"
    done = run(folder, "--out", out, "--limit", 26)
    assert done.exit_code == 0, done.stderr
    assert shades(out) == list(range(29, 5, -1))
    assert shades(tmp_path / "all-2.png") == [5, 4]
    assert done.stdout.splitlines() == [
        f"wrote {out}  24 pictures",
        f"wrote {tmp_path / 'all-2.png'}  2 pictures",
        "4 older ones are not on it: --limit 30 shows all",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all-2.png", "all.png", "collected"]


def test_one_is_no_plural(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.png"
    assert run(folder, "--out", out, "--limit", 1).stdout.splitlines()[0] == f"wrote {out}  1 picture"
    done = run(folder, "--out", out, "--limit", 29)
    assert done.stdout.splitlines()[-1] == "1 older one is not on it: --limit 30 shows all"


def test_of_a_spool_from_which_all_was_delivered_it_says_so(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, ManualClock())
    spool.open()
    spool.close(5.0)
    done = run(tmp_path / "spool.db", "--out", tmp_path / "none.png")
    assert done.exit_code == 2
    assert "spool.db: no picture waits in it; what was delivered is in the sink" in done.stderr


def test_a_stream_and_a_strategy_choose(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "some.png"
    assert run(folder, "--out", out, "--stream", "gate", "--strategy", "hard").exit_code == 0
    assert shades(out) == [27, 21, 15, 9, 3]


def test_a_jpeg_is_what_it_writes_without_another_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(folder, "--limit", 4).exit_code == 0
    assert (tmp_path / "sheet.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_picture_that_is_gone_leaves_its_place_empty(folder: Path, tmp_path: Path) -> None:
    next((folder / "images").glob(f"*_{29:032x}.jpg")).unlink()
    assert run(folder, "--out", tmp_path / "sheet.png", "--limit", 4).exit_code == 0
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def test_lines_that_are_no_pictures_are_left_out(folder: Path) -> None:
    with (folder / "metadata.jsonl").open("a") as file:
        file.write('[]\n{"file_name": "../../etc/hostname", "id": "x", "captured_at": "2027-01-01T00:00:00Z"}\n{"fil')
    source = open_sheet_source(folder, PictureChoice(), 3)
    assert (source.number, [one.frame for one in source.newest]) == (30, [29, 28, 27])


def test_the_pictures_of_a_spool_that_a_daemon_has_open(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    try:
        for number in range(3):
            clock.advance(1.0)
            put(spool, clock, [quota("hard" if number else "unsure")], frame=number, jpeg=jpeg(SHADE * number))
        out = tmp_path / "waiting.png"
        done = run(spool_file := tmp_path / "spool.db", "--out", out, "--strategy", "hard")
        assert done.exit_code == 0, done.stderr
        assert shades(out) == [2, 1]
        source = open_sheet_source(spool_file, PictureChoice(), 9)
        assert [(one.state, one.strategy, one.prediction is not None) for one in source.newest] == [
            ("ready", "hard", True),
            ("ready", "hard", True),
            ("ready", "unsure", True),
        ]
        (claimed,) = spool.claim(1).items
        spool.bury(claimed.id, "no reason")
        assert "buried" in [one.state for one in open_sheet_source(spool_file, PictureChoice(), 9).newest]
    finally:
        spool.close(5.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone"], "gone: does not exist: a folder sink's folder (sink.path) or a spool file (spool.path) is expected"),
        (["."], ".: no metadata.jsonl in it: the path of a folder sink is expected, or a spool file (spool.path)"),
        (["collected", "--out", "sheet.gif"], "--out sheet.gif: the name of a picture is expected, ending in .jpg or"),
        (["collected", "--out", "gone/sheet.jpg"], "--out gone/sheet.jpg: there is no folder gone"),
        (["collected", "--stream", "roof"], "--stream roof: collected has no picture of it, but of gate, yard"),
        (["collected", "--strategy", "x"], "--strategy x: collected has no picture of it, but of hard, unsure"),
        (
            ["photo.jpg"],
            "photo.jpg: is no spool and no folder: a folder sink's folder (sink.path) or a spool file (spool.path) is",
        ),
        (["empty"], "empty: there is no picture in it yet"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metadata.jsonl").touch()
    (tmp_path / "photo.jpg").write_bytes(jpeg() * 10)
    done = run(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["collected", "empty", "photo.jpg"]  # noqa: PTH208 - hidden ones, too


def test_a_combination_that_took_nothing_is_named(folder: Path, tmp_path: Path) -> None:
    sink = folder_sink(folder)
    deliver(sink, delivery(30, stream="roof", strategy="unsure"))
    sink.close()
    done = run(folder, "--stream", "roof", "--strategy", "hard", "--out", tmp_path / "sheet.png")
    assert (done.exit_code, "no picture of stream roof by strategy hard" in done.stderr) == (2, True)
