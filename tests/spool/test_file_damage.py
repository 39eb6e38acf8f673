"""Larger damage to the spool's file than a bit: it always starts, and what it loses is counted."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from clocks import ManualClock
from exhaustive import some_of
from framesift.spool import SpoolTooNew, SpoolUnusable
from framesift.spool.damaged_file import DamagedFile
from framesift.spool.page_file import PAGE_BYTES
from rigs import bit_flips as flips
from rigs.bit_flips import Built, Damage
from rigs.file_damage import FLIPPED, FULL, RANDOM, ZEROED, CutOff, Garbage, Pages, every_header_byte, some_pages
from rigs.spools import RecordedReports, make_newer, make_spool


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: each damage costs a hundred commits."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def small(memory: Path) -> Built:
    return flips.build(memory / "small", 40, most_bytes=3000)


def survive_all(built: Built, drawn: Sequence[Damage], folder: Path) -> Counter[str]:
    """AssertionError for those after which anything was not as it should be."""
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    for number, damage in enumerate(drawn):
        out = flips.survive(built, damage, folder / f"{number}")
        kinds[out.kind()] += 1
        wrong += [f"{damage}: {what} {dict(out.events)}" for what in out.wrong]
    assert not wrong, "\n".join(wrong)
    return kinds


def damaged(built: Built, damage: Damage, folder: Path) -> Path:
    shutil.copytree(built.folder, folder)
    damage.into(folder)
    return folder


@pytest.mark.parametrize("how", some_of([FLIPPED, ZEROED, FULL, RANDOM], lambda how: how == RANDOM))
def test_whatever_a_byte_of_the_header_becomes_all_rows_are_there(small: Built, memory: Path, how: str) -> None:
    for damage in every_header_byte(how):
        folder = damaged(small, damage, memory / f"{how}-{damage.offset}")
        reports = RecordedReports()
        spool = make_spool(folder, ManualClock(), report=reports)
        spool.open()
        assert {row.id for row in spool.list_rows(limit=1000)} == small.pictures.keys(), (damage, reports.events)
        spool.close()
        shutil.rmtree(folder)


def test_a_whole_header_that_is_gone_is_written_anew_in_its_place(small: Built, tmp_path: Path) -> None:
    for content in (bytes(100), b"\xff" * 100, random.Random(1).randbytes(100)):
        folder = shutil.copytree(small.folder, tmp_path / content[:4].hex())
        with (folder / "spool.db").open("r+b") as file:
            file.write(content)
        reports = RecordedReports()
        spool = make_spool(folder, ManualClock(), report=reports)
        spool.open()
        assert {row.id for row in spool.list_rows(limit=1000)} == small.pictures.keys()
        assert "spool_repaired" in reports.names()
        spool.close()


@pytest.mark.parametrize("part", some_of(range(4), lambda part: part == 0))
def test_with_pages_zeroed_swapped_or_there_twice_the_rest_is_delivered(small: Built, memory: Path, part: int) -> None:
    trees = flips.trees(small.folder / "spool.db")
    survive_all(small, list(some_pages(trees, 12, part)), memory / f"pages-{part}")


@pytest.mark.parametrize("table", ["datapoint", "picture", "delivery", "sqlite_master", "charge"])
def test_a_tables_lost_root_costs_no_row_that_is_on_another_page(memory: Path, table: str) -> None:
    built = flips.build(memory / f"root-{table}", 150, most_bytes=2500)
    with closing(sqlite3.connect(built.folder / "spool.db")) as raw:
        row = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    root = 1 if row is None else int(row[0])
    assert len(flips.trees(built.folder / "spool.db")[table]) > 1
    out = flips.survive(built, Pages(ZEROED, root, root, table, most_rows=0), memory / f"root-{table}-lost")
    assert (out.wrong, out.lost) == ([], 0)


def test_a_first_page_that_is_lost_costs_no_row_of_a_file_that_has_free_pages(memory: Path) -> None:
    built = flips.build(memory / "first", 100, most_bytes=2500)
    out = flips.survive(built, Pages(RANDOM, 1, 1, "sqlite_master", most_rows=0), memory / "first-lost")
    assert (out.wrong, out.lost, out.delivered + out.buried >= len(built.pictures)) == ([], 0, True)


def test_a_file_that_was_cut_off_anywhere_starts_and_counts_what_is_lost(small: Built, memory: Path) -> None:
    size = (small.folder / "spool.db").stat().st_size
    chance = random.Random(1)
    sizes = [0, 1, 99, 100, 101, 512, 4095, 4096, 4097, size - 5000, size - 4096, size - 1]
    drawn = [CutOff(length) for length in (*sizes, *(chance.randrange(size) for _ in range(12)))]
    survive_all(small, drawn, memory / "cut")


@pytest.mark.exhaustive
def test_garbage_in_place_of_the_log_and_its_index_costs_nothing(small: Built, memory: Path) -> None:
    drawn = [Garbage(end, size, seed) for end in ("-wal", "-shm") for size in (1, 33, 40_000) for seed in (0, 1)]
    assert survive_all(small, drawn, memory / "garbage") == {"nothing happened": len(drawn)}


@pytest.mark.exhaustive
def test_a_damaged_row_of_every_table_is_found_and_costs_at_most_its_datapoint(small: Built, memory: Path) -> None:
    trees = flips.trees(small.folder / "spool.db")
    content = (small.folder / "spool.db").read_bytes()
    chance = random.Random(7)
    drawn = []
    for name in ("datapoint", "delivery", "charge", "late", "seen", "tally", "sqlite_sequence", "send", "identity"):
        places = [page * PAGE_BYTES + at for page in trees[name] for at in range(PAGE_BYTES)]
        used = [place for place in places if content[place]]
        drawn += [flips.Flip(chance.choice(used), chance.randrange(8), name) for _ in range(3)]
    survive_all(small, drawn, memory / "tables")


# --- what decides whether a file is ours ------------------------------------------------------------------------------


def test_only_where_header_and_identity_both_say_newer_is_a_file_refused(small: Built, tmp_path: Path) -> None:
    for header, known in ((4, 3), (3, 4), (0, 3), (99, 3)):
        folder = shutil.copytree(small.folder, tmp_path / f"{header}-{known}")
        make_newer(folder / "spool.db", known)
        with closing(sqlite3.connect(folder / "spool.db")) as raw:
            raw.execute(f"PRAGMA user_version = {header}")
        spool = make_spool(folder, ManualClock())
        spool.open()
        assert {row.id for row in spool.list_rows(limit=1000)} == small.pictures.keys(), (header, known)
        spool.close()
    folder = shutil.copytree(small.folder, tmp_path / "newer")
    make_newer(folder / "spool.db", 4)
    before = (folder / "spool.db").read_bytes()
    with pytest.raises(SpoolTooNew, match="format 4"):
        make_spool(folder, ManualClock()).open()
    assert (folder / "spool.db").read_bytes() == before


def test_one_whole_copy_of_the_identity_is_enough(small: Built, tmp_path: Path) -> None:
    trees = flips.trees(small.folder / "spool.db")
    for name in ("identity", "identity_copy"):
        folder = damaged(small, Pages(ZEROED, trees[name][0] + 1, 1, name), tmp_path / name)
        Pages(ZEROED, 1, 1, "sqlite_master").into(folder)
        spool = make_spool(folder, ManualClock())
        spool.open()
        assert {row.id for row in spool.list_rows(limit=1000)} == small.pictures.keys()
        spool.close()


def test_another_programs_database_is_refused_whatever_its_header_says_of_its_version(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.execute("PRAGMA user_version = 3")
    before = (tmp_path / "spool.db").read_bytes()
    with pytest.raises(SpoolUnusable, match="no spool of framesift"):
        make_spool(tmp_path, ManualClock()).open()
    assert (tmp_path / "spool.db").read_bytes() == before


def test_a_row_that_was_deleted_does_not_come_back_from_a_free_page(memory: Path) -> None:
    built = flips.build(memory / "free", 60, most_bytes=2500)
    spool = make_spool(built.folder, ManualClock())
    spool.open()
    for item in spool.claim(30).items:
        spool.complete(item.id)
    left = {row.id for row in spool.list_rows(limit=1000)}
    spool.close()
    Pages(ZEROED, 1, 1, "sqlite_master").into(built.folder)
    with closing(DamagedFile(built.folder / "spool.db")) as found:
        assert {values[1] for values, is_whole in found.rows("datapoint") if is_whole} == left


# --- the long campaign ------------------------------------------------------------------------------------------------


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_every_byte_of_the_header_in_four_ways_and_all_is_delivered(memory: Path) -> None:
    built = flips.build(memory / "header", 40, most_bytes=3000)
    drawn = every_header_byte(FLIPPED, ZEROED, FULL, RANDOM)
    kinds = survive_all(built, drawn, memory / "every-byte")
    print(f"{len(drawn)} bytes of the header: started 100 %, lost = counted lost; {dict(kinds)}")  # noqa: T201


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_five_hundred_damaged_pages_and_a_hundred_files_cut_off(memory: Path) -> None:
    built = flips.build(memory / "many-pages")
    trees = flips.trees(built.folder / "spool.db")
    kinds = survive_all(built, list(some_pages(trees, 500, 1)), memory / "many-pages-damaged")
    print(f"500 damaged pages: started 100 %, lost = counted lost; {dict(kinds)}")  # noqa: T201
    chance, size = random.Random(2), (built.folder / "spool.db").stat().st_size
    kinds = survive_all(built, [CutOff(chance.randrange(size)) for _ in range(100)], memory / "many-cut")
    print(f"100 files cut off: started 100 %, lost = counted lost; {dict(kinds)}")  # noqa: T201
