"""Damage to a file of an older format, met at its upgrade: all that can be read is delivered, the rest is counted."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from clocks import ManualClock
from exhaustive import some_of
from framesift.spool.recover import SpoolPlace, recover
from rigs import bit_flips as flips
from rigs.bit_flips import Built, Damage
from rigs.file_damage import FLIPPED, RANDOM, ZEROED, CutOff, HeaderByte, Pages, every_header_byte, some_pages
from rigs.older_flips import build_downgraded, build_older
from rigs.spools import RecordedReports, make_spool


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: each damage costs a hundred commits."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module", params=some_of([2, 1], lambda format: format == 2))
def older(memory: Path, request: pytest.FixtureRequest) -> Built:
    return build_older(memory / f"format-{request.param}", request.param, 30)


@pytest.fixture(scope="module")
def format_2(memory: Path) -> Built:
    return build_older(memory / "format-2-alone", 2, 30)


def survive_all(built: Built, drawn: Sequence[Damage], folder: Path, every: int = 1) -> Counter[str]:
    """Delivers after each `every`-th. AssertionError for those after which anything was not as it should be."""
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    for number, damage in enumerate(drawn):
        out = flips.survive(built, damage, folder / f"{number}", deliver=number % every == 0)
        kinds[out.kind()] += 1
        wrong += [f"{damage}: {what} {dict(out.events)}" for what in out.wrong]
    assert not wrong, "\n".join(wrong)
    return kinds


@pytest.mark.exhaustive
def test_after_a_flipped_bit_an_older_file_is_upgraded_with_all_that_can_be_read(older: Built, memory: Path) -> None:
    survive_all(older, flips.draw(older, 30, 1), memory / f"{older.folder.name}-flips")


@pytest.mark.exhaustive
def test_after_more_flipped_bits_a_file_of_format_2_starts(format_2: Built, memory: Path) -> None:
    survive_all(format_2, flips.draw(format_2, 30, 2), memory / "more", every=2)


def test_a_flipped_bit_in_a_file_that_was_made_an_older_one_costs_no_more(memory: Path) -> None:
    built = build_downgraded(memory / "downgraded", 30)
    survive_all(built, flips.draw(built, 12, 3), memory / "downgraded-flips")


def survive_header(older: Built, damages: Iterable[HeaderByte], folder: Path) -> None:
    """AssertionError for one that costs a row."""
    for damage in damages:
        shutil.copytree(older.folder, folder)
        damage.into(folder)
        reports = RecordedReports()
        spool = make_spool(folder, ManualClock(), report=reports)
        spool.open()
        assert {row.id for row in spool.list_rows(limit=1000)} == older.pictures.keys(), (damage, reports.events)
        spool.close()
        shutil.rmtree(folder)


@pytest.mark.exhaustive
def test_no_byte_of_an_older_header_costs_a_row(older: Built, memory: Path) -> None:
    flipped, drawn = every_header_byte(FLIPPED), every_header_byte(RANDOM)
    survive_header(older, flipped[::2] + drawn[1::2], memory / f"{older.folder.name}-header")


@pytest.mark.torture
@pytest.mark.parametrize("how", [FLIPPED, RANDOM])
def test_no_byte_of_an_older_header_costs_a_row_however_it_is_damaged(older: Built, memory: Path, how: str) -> None:
    survive_header(older, every_header_byte(how), memory / f"{older.folder.name}-{how}")


def test_after_pages_of_an_older_file_are_lost_or_swapped_the_rest_is_delivered(older: Built, memory: Path) -> None:
    drawn = list(some_pages(flips.trees(older.folder / "spool.db"), 8, 1))
    survive_all(older, drawn, memory / f"{older.folder.name}-pages")


def test_an_older_file_without_its_first_page_loses_no_row(older: Built, memory: Path) -> None:
    out = flips.survive(older, Pages(ZEROED, 1, 1, "sqlite_master", most_rows=0), memory / f"{older.folder.name}-one")
    assert (out.wrong, out.lost) == ([], 0)


def test_an_older_file_that_was_cut_off_starts_and_counts_what_is_lost(older: Built, memory: Path) -> None:
    size = (older.folder / "spool.db").stat().st_size
    chance = random.Random(1)
    drawn = [CutOff(size - 4096), *(CutOff(chance.randrange(size)) for _ in range(3))]
    survive_all(older, drawn, memory / f"{older.folder.name}-cut")


def test_a_file_of_an_older_format_that_was_set_aside_gives_its_datapoints_back(older: Built, tmp_path: Path) -> None:
    aside = tmp_path / "spool.db.corrupt-1"
    shutil.copy(older.folder / "spool.db", aside)
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    assert recover(SpoolPlace(spool.path, 2**28, 0), aside, clock.now()).taken == len(older.pictures)
    assert all(spool.read_jpeg(id) == jpeg for id, jpeg in older.pictures.items())
    spool.close()


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("format", "number"), [(2, 500), (1, 100)])
def test_hundreds_of_flipped_bits_in_older_files(memory: Path, format: int, number: int) -> None:
    built = build_older(memory / f"many-{format}", format, 200, most_bytes=6000)
    kinds = survive_all(built, flips.draw(built, number, 1000), memory / f"many-flips-{format}")
    print(f"{number} flips of format {format}: started 100 %, lost = counted lost; {dict(kinds)}")  # noqa: T201


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_damaged_pages_of_a_file_of_format_2(memory: Path) -> None:
    built = build_older(memory / "many-pages", 2, 200, most_bytes=6000)
    drawn = list(some_pages(flips.trees(built.folder / "spool.db"), 100, 1))
    print(f"100 damaged pages of format 2: {dict(survive_all(built, drawn, memory / 'pages'))}")  # noqa: T201
