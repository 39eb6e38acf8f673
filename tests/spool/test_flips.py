"""One flipped bit, wherever in the spool's file or in its log: the daemon starts and goes on, and only what can't be
read any more is buried and counted.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clocks import ManualClock
from exhaustive import some_of
from framesift.spool import SpoolTooNew, schema
from framesift.spool.page_file import PAGE_BYTES
from rigs import bit_flips as flips
from rigs.bit_flips import HEADER, LOG, Built, Flip
from rigs.daemon import NEW_PROCESS, Daemon, collected, write_configuration
from rigs.spools import RecordedReports, make_newer, make_spool


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: each flip costs a hundred commits."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def small(memory: Path) -> Built:
    return flips.build(memory / "small", 30, most_bytes=3000)


@pytest.fixture(scope="module")
def small_with_log(memory: Path) -> Built:
    return flips.build(memory / "small-log", 30, most_bytes=3000, log=True)


def survive_all(built: Built, drawn: list[Flip], folder: Path, every: int = 1) -> Counter[str]:
    """Delivers after each `every`-th. AssertionError for those after which anything was not as it should be."""
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    for number, flip in enumerate(drawn):
        out = flips.survive(built, flip, folder / f"flip-{number}", deliver=number % every == 0)
        kinds[out.kind()] += 1
        wrong += [f"{flip}: {what} {dict(out.events)}" for what in out.wrong]
    assert not wrong, "\n".join(wrong)
    return kinds


@pytest.mark.parametrize("seed", some_of(range(5), lambda seed: seed == 0))
def test_with_any_bit_of_its_pages_flipped_it_starts_and_delivers_all_that_can_be_read(
    small: Built, memory: Path, seed: int
) -> None:
    survive_all(small, flips.draw(small, 30, seed), memory / f"few-{seed}", every=2)


@pytest.mark.exhaustive
def test_a_flipped_bit_of_the_log_loses_nothing_that_was_committed(small_with_log: Built, memory: Path) -> None:
    drawn = flips.draw_in_log(small_with_log, 24, 1)
    kinds = survive_all(small_with_log, drawn, memory / "log", every=2)
    assert kinds["put right"] > 0
    assert set(kinds) <= {"put right", "nothing happened"}


@pytest.mark.parametrize("bit", some_of(range(8), lambda bit: bit == 2))
def test_no_byte_of_the_header_costs_a_single_row(small: Built, memory: Path, bit: int) -> None:
    before = rows_of(small.folder)
    for offset in range(bit % 4, 100, 4):  # each byte is tried with two of its bits
        folder = flipped(small, Flip(offset, bit, HEADER), memory / f"header-{offset}")
        reports = RecordedReports()
        spool = make_spool(folder, ManualClock(), report=reports)
        spool.open()
        assert {row.id for row in spool.list_rows(limit=1000)} == before, (offset, reports.events)
        spool.close()
        shutil.rmtree(folder)


def test_no_bit_of_the_list_of_tables_costs_a_single_row(small: Built, memory: Path) -> None:
    before = rows_of(small.folder)
    content = (small.folder / "spool.db").read_bytes()
    pages = flips.trees(small.folder / "spool.db")["sqlite_master"]
    places = [page * PAGE_BYTES + at for page in pages for at in range(100 * (page == 0), PAGE_BYTES)]
    for number, place in enumerate([place for place in places if content[place]][::127]):
        folder = flipped(small, Flip(place, number % 8, "sqlite_master"), memory / f"list-{number}")
        spool = make_spool(folder, ManualClock())
        spool.open()
        assert {row.id for row in spool.list_rows(limit=1000)} == before, place
        spool.close()
        shutil.rmtree(folder)


def test_pictures_that_no_search_finds_are_delivered(small: Built, memory: Path) -> None:
    content = (small.folder / "spool.db").read_bytes()
    with closing(sqlite3.connect(small.folder / "spool.db")) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'picture'").fetchone()[0] - 1
    page = content[root * PAGE_BYTES : (root + 1) * PAGE_BYTES]
    assert page[0] == 0x05  # whose cells say up to which number each child goes
    for number in range(int.from_bytes(page[3:5], "big")):
        key = root * PAGE_BYTES + int.from_bytes(page[12 + 2 * number : 14 + 2 * number], "big") + 4
        out = flips.survive(small, Flip(key, 3, "image"), memory / f"key-{number}")
        assert (out.wrong, out.buried, out.lost) == ([], small.buried, 0), key


def test_a_newer_programs_file_is_refused_and_not_changed(small: Built, tmp_path: Path) -> None:
    folder = shutil.copytree(small.folder, tmp_path / "newer")
    with closing(sqlite3.connect(folder / "spool.db")) as newer:
        newer.execute("ALTER TABLE picture ADD COLUMN checksum INTEGER")
    make_newer(folder / "spool.db", schema.VERSION + 1)
    before = (folder / "spool.db").read_bytes()
    with pytest.raises(SpoolTooNew):
        make_spool(folder, ManualClock()).open()
    assert (folder / "spool.db").read_bytes() == before


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(6))
def test_three_thousand_flipped_bits(memory: Path, part: int) -> None:
    built = flips.build(memory / f"two-hundred-{part}")
    kinds = survive_all(built, flips.draw(built, 500, 1000 + part), memory / f"many-{part}")
    shutil.rmtree(built.folder)
    print(f"500 flips, seed {1000 + part}: started 100 %, lost = counted lost; {dict(kinds)}")  # noqa: T201


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_three_hundred_flipped_bits_of_the_log(memory: Path) -> None:
    built = flips.build(memory / "two-hundred-log", log=True)
    kinds = survive_all(built, flips.draw_in_log(built, 300, 1), memory / "many-log")
    print(f"300 flips of the log: {dict(kinds)}")  # noqa: T201


@pytest.mark.torture
@pytest.mark.parametrize("tree", [HEADER, "sqlite_master", "datapoint", "delivery_to_claim", "charge", "picture", LOG])
def test_a_daemon_starts_and_delivers_whichever_tree_the_bit_is_in(tmp_path: Path, tree: str) -> None:
    built = flips.build(tmp_path / "daemon", 40, log=tree == LOG)
    with socket.create_server(("127.0.0.1", 0)) as place:
        listen = f"127.0.0.1:{place.getsockname()[1]}"
    write_configuration(built.folder, {"model": None, "listeners": [{"listen": listen}]})
    drawn = flips.draw_in_log(built, 8, 3) if tree == LOG else flips.draw(built, 400, 3)
    next(flip for flip in drawn if flip.tree == tree).into(built.folder)
    with Daemon(built.folder, command=NEW_PROCESS) as daemon:
        daemon.wait_for("ready")
        there = len(built.pictures) - built.buried
        assert daemon.until(lambda: len(collected(built.folder)) >= there - 1, 60), daemon.events
        assert daemon.stop() == 0


def flipped(built: Built, flip: Flip, folder: Path) -> Path:
    shutil.copytree(built.folder, folder)
    flip.into(folder)
    return folder


def rows_of(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "spool.db")) as connection:
        return {id for (id,) in connection.execute("SELECT id FROM datapoint")}
