"""The gallery's pages: each datapoint of the spool and of the folder is on one, and no more is read than is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.page.pictures import PER_PAGE, GalleryPage, PageChoice, PagePictures, PagePlace
from framesift.sinks.folder import FolderSinkSettings
from rigs.spools import make_spool, prediction, put, quota

ROWS, LINES = PER_PAGE + 10, 150
NEWEST = PagePlace()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collected folder, and a spool whose rows are newer; every tenth row is of the strategy `rare`, with a bus."""
    made = tmp_path_factory.mktemp("gallery")
    (made / "collected").mkdir()
    with (made / "collected" / "metadata.jsonl").open("w") as file:
        for number in range(LINES):
            at = datetime.fromtimestamp(NOON_S - LINES + number, timezone.utc).isoformat()
            line = {"file_name": f"images/{number}.jpg", "id": f"line{number}", "captured_at": at, "stream": "yard"}
            file.write(json.dumps({**line, "strategy": "any", "score": number / LINES, "note": "x" * 1000}) + "\n")
    clock = ManualClock()
    spool = make_spool(made, clock)
    spool.open()
    for number in range(ROWS):
        clock.advance(1.0)
        rare = number % 10 == 0
        what = prediction("bus") if rare else prediction("car")
        put(spool, clock, [quota("rare" if rare else "any")], id=f"row{number}", what=what, frame=number)
    spool.close()
    return made


@pytest.fixture
def pictures(folder: Path) -> PagePictures:
    return PagePictures(folder / "spool.db", FolderSinkSettings(type="folder", path=folder / "collected"))


def pages(pictures: PagePictures, choice: PageChoice) -> Iterator[GalleryPage]:
    place: PagePlace | None = NEWEST
    while place is not None:
        page = pictures.page(choice, PagePlace.parse(str(place)))
        yield page
        place = page.older


def test_each_datapoint_is_on_one_page_the_newest_first(pictures: PagePictures) -> None:
    found = [[one.id for one in page.shown] for page in pages(pictures, PageChoice())]
    assert [len(ids) for ids in found] == [60, 60, 60, 40]
    every = [f"row{number}" for number in reversed(range(ROWS))]
    every += [f"line{number}" for number in reversed(range(LINES))]
    assert [id for ids in found for id in ids] == every


@pytest.mark.parametrize(
    ("choice", "number"),
    [
        (PageChoice(strategy="rare"), 7),
        (PageChoice(class_name="bus"), 7),
        (PageChoice(stream="gate"), ROWS),
        (PageChoice(stream="yard"), LINES),
        (PageChoice(state="delivered"), LINES),
        (PageChoice(state="ready", strategy="any"), ROWS - 7),
        (PageChoice(state="buried"), 0),
        (PageChoice(stream="yard", strategy="rare"), 0),
    ],
)
def test_filters_find_all_that_are_like_that(pictures: PagePictures, choice: PageChoice, number: int) -> None:
    found = [one for page in pages(pictures, choice) for one in page.shown]
    assert len({one.id for one in found}) == len(found) == number
    assert all(choice.includes(one) for one in found)


def test_the_best_are_one_page(pictures: PagePictures) -> None:
    (page,) = pages(pictures, PageChoice(by_score=True))
    assert [one.id for one in page.shown] == [f"line{LINES - 1 - place}" for place in range(PER_PAGE)]


def test_a_page_reads_no_further_than_it_shows(pictures: PagePictures, folder: Path) -> None:
    listing = folder / "collected" / "metadata.jsonl"
    whole = listing.read_bytes()
    try:
        listing.write_bytes(b"\xff" * (len(whole) - 130_000) + whole[-130_000:])
        first, second = (page for page, _ in zip(pages(pictures, PageChoice()), range(2), strict=False))
        assert len(first.shown) == len(second.shown) == PER_PAGE
    finally:
        listing.write_bytes(whole)


def test_one_view_looks_at_a_thousand_and_the_next_goes_on(tmp_path: Path) -> None:
    lines = [
        {"file_name": "images/a.jpg", "id": f"{n}", "captured_at": "2026-09-10", "stream": "yard"} for n in range(1001)
    ]
    lines[0]["stream"] = "gate"
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pictures = PagePictures(tmp_path / "spool.db", FolderSinkSettings(type="folder", path=tmp_path))
    found = [[one.id for one in page.shown] for page in pages(pictures, PageChoice(stream="gate"))]
    assert found == [[], ["0"]]


def test_a_datapoint_that_is_in_both_places_is_shown_once(folder: Path, tmp_path: Path) -> None:
    at = datetime.fromtimestamp(NOON_S + ROWS, timezone.utc).isoformat()
    line = {"file_name": "images/a.jpg", "id": f"row{ROWS - 1}", "captured_at": at, "stream": "gate"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    pictures = PagePictures(folder / "spool.db", FolderSinkSettings(type="folder", path=tmp_path))
    ids = [one.id for page in pages(pictures, PageChoice()) for one in page.shown]
    assert len(ids) == len(set(ids)) == ROWS


def test_one_datapoint_is_found_in_either_place(pictures: PagePictures) -> None:
    for id, state in (("row3", "ready"), ("line3", "delivered")):
        found = pictures.find(id)
        assert found is not None
        assert found.state == state
    assert pictures.find("elsewhere") is None
    assert pictures.class_names() == ["bus", "car"]


def test_without_spool_and_folder_there_is_nothing(tmp_path: Path) -> None:
    pictures = PagePictures(tmp_path / "spool.db", FolderSinkSettings(type="folder", path=tmp_path / "none"))
    assert pictures.page(PageChoice(), NEWEST).shown == ()
    assert pictures.class_names() == []


@pytest.mark.parametrize("text", ["", "12", "a.b", "-1.5", "1.2.3", "9" * 30 + ".1", "٣.1"])
def test_a_place_that_says_nothing_sensible_is_the_newest(text: str) -> None:
    assert PagePlace.parse(text) == NEWEST


def test_a_place_is_written_as_it_is_read() -> None:
    for text in (".", "812.", ".40960", "812.40960"):
        assert str(PagePlace.parse(text)) == text
