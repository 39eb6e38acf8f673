"""For how many refused frames an accepted one stands: kept beside its signature."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.datapoint import Candidate
from framesift.limits import Quota
from framesift.spool import AcceptedSignature, Spool, admin
from framesift.spool.alike import AlikeFrames
from rigs.spools import accepted, datapoint
from rigs.uploads import open_spool


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = open_spool(tmp_path, clock)
    yield spool
    spool.close()


def accept(spool: Spool, clock: ManualClock, stream: str = "north", threshold: float | None = None) -> str:
    signature = AcceptedSignature(stream, "", bytes(384), threshold)
    quotas = [Quota("all", (), "batch")]
    return accepted(spool.put(datapoint(clock), [Candidate("all", None, (), "batch")], quotas, signature=signature))


def numbers(folder: Path) -> list[tuple[str, int]]:
    return [(one.id, one.alike) for one in admin.list_alike(folder / "spool.db")]


def test_numbers_add_up_and_the_largest_come_first(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    one, other, third = (accept(spool, clock, stream) for stream in ("north", "south", "north"))
    spool.add_alike({one: 2, other: 1000, "gone": 5})
    spool.add_alike({one: 3})
    spool.close()
    assert numbers(tmp_path) == [(other, 1000), (one, 5)]
    assert third not in dict(numbers(tmp_path))
    (first,) = admin.list_alike(tmp_path / "spool.db", 1)
    assert first == AlikeFrames(other, "south", clock.now().wall_s, 1000)


def test_more_ids_than_a_statement_takes_are_all_added(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    ids = [accept(spool, clock) for _ in range(3)]
    spool.add_alike({**{f"gone {n}": 1 for n in range(1200)}, **dict.fromkeys(ids, 7)})
    spool.close()
    assert sorted(numbers(tmp_path)) == sorted((id, 7) for id in ids)


def test_a_number_outlives_delivery_restarts_and_a_new_threshold(tmp_path: Path, clock: ManualClock) -> None:
    spool = open_spool(tmp_path, clock)
    id = accept(spool, clock, threshold=0.25)
    spool.add_alike({id: 4})
    spool.record_thresholds("north", "", 0.125, None)
    spool.add_alike({id: 1})
    [item] = spool.claim(1).items
    spool.complete(item.id)
    spool.close()
    spool = open_spool(tmp_path, clock)
    assert spool.signatures("north", "", 9).threshold == 0.125
    spool.close()
    assert numbers(tmp_path) == [(id, 5)]


def test_a_damaged_signature_stands_for_nothing(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    one, other = accept(spool, clock), accept(spool, clock)
    spool.add_alike({one: 1, other: 1})
    spool.close()
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("UPDATE signature SET bytes = x'00' WHERE id = ?", (one,))
    assert numbers(tmp_path) == [(other, 1)]
