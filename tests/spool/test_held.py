"""Held frames in the spool: they survive a kill, leave when they are accepted, and never cost a datapoint its room."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clocks import ManualClock
from deliveries import detected, jpeg
from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Limit, Quota, Turns, Window
from framesift.spool import Accepted, HeldContent, HeldRow, NotAccepted, Spool, SpoolFull
from rigs.spools import make_spool
from rigs.spools import put as put_datapoint
from rigs.uploads import name, open_spool

MIB = 2**20


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = open_spool(tmp_path, clock)
    yield spool
    spool.close()


def row(clock: ManualClock, number: int, score: float = 0.5, signature: bytes | None = None) -> HeldRow:
    facts = json.dumps({"frame": number})
    return HeldRow(name(number), "north", "best", score, clock.now(), facts, signature)


def content(number: int, size_bytes: int = 0) -> HeldContent:
    return HeldContent('{"predictions": []}', jpeg(number % 256) + bytes(size_bytes))


def accept(spool: Spool, clock: ManualClock, number: int, quota: Quota) -> Accepted | NotAccepted:
    datapoint = Datapoint(
        id=name(number),
        device="gate-7",
        stream="north",
        frame_number=number,
        captured=clock.now(),
        width=200,
        height=100,
        jpeg=content(number).jpeg,
        prediction=detected(),
    )
    return spool.put(datapoint, [Candidate("best", 0.5, (), "batch")], [quota], was_held=True)


def held(spool: Spool) -> list[str]:
    return [one.id for one in spool.held.rows()]


def test_what_is_held_is_there_after_a_restart(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    stored = [row(clock, 1, 0.25, bytes(384)), row(clock, 2, -1.5)]
    for number, one in enumerate(stored, 1):
        spool.held.add(one, content(number))
    spool.close()
    again = open_spool(tmp_path, clock)
    assert again.held.rows() == stored
    assert again.held.content(name(2)) == content(2)
    assert again.counts().ready == 0  # it is no datapoint
    again.close()


def test_a_better_frame_and_those_that_it_displaces_change_places_at_once(spool: Spool, clock: ManualClock) -> None:
    for number in (1, 2):
        spool.held.add(row(clock, number), content(number))
    spool.held.add(row(clock, 3), content(3), drop=[name(1), name(9)])
    assert held(spool) == [name(2), name(3)]
    spool.held.drop([name(2), name(9)])
    assert held(spool) == [name(3)]


def test_an_accepted_frame_is_held_no_more_and_one_that_is_refused_still_is(spool: Spool, clock: ManualClock) -> None:
    turns = Turns(Limit(Window.HOURLY, 1))
    spool.held.add(row(clock, 1), content(1))
    quota = Quota("best", (turns.limit,), "batch", turns=turns)
    assert isinstance(accept(spool, clock, 1, quota), NotAccepted)
    assert held(spool) == [name(1)]
    assert isinstance(accept(spool, clock, 1, Quota("best", (), "batch")), Accepted)
    assert held(spool) == []
    assert spool.counts().ready == 1


def test_a_frame_that_is_gone_or_damaged_has_no_content(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    for number in (1, 2, 3):
        spool.held.add(row(clock, number), content(number))
    with closing(sqlite3.connect(tmp_path / "spool.db")) as connection, connection:
        connection.execute("UPDATE held SET bytes = x'00' WHERE id = ?", (name(1),))
        connection.execute("UPDATE held SET score = 99 WHERE id = ?", (name(2),))
    assert spool.held.content(name(1)) is None
    assert spool.held.content(name(4)) is None
    assert held(spool) == [name(1), name(3)]
    assert spool.held.drop_damaged() == 1
    assert spool.held.drop_damaged() == 0


def test_no_datapoint_is_evicted_for_a_held_frame(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock, max_bytes=MIB)
    spool.open()
    for _ in range(9):
        put_datapoint(spool, clock, jpeg=bytes(100_000), score=0.0)
    before = spool.counts().ready
    with pytest.raises(SpoolFull) as refusal:
        spool.held.add(row(clock, 1, 99.0), content(1, 100_000))
    assert refusal.value.only_this
    assert (spool.counts().ready, held(spool)) == (before, [])
    assert spool.health.problem is None  # there is room for datapoints
    spool.close()


def test_a_datapoint_gets_the_room_of_the_lowest_held_frames(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock, max_bytes=MIB)
    spool.open()
    for number, score in ((1, 0.9), (2, 0.1), (3, 0.5)):
        spool.held.add(row(clock, number, score), content(number, 100_000))
    kept = [held(spool)]
    while len(kept) < 30 and kept[-1]:
        put_datapoint(spool, clock, jpeg=bytes(100_000), score=0.0)
        if held(spool) != kept[-1]:
            kept.append(held(spool))
    assert [name(2) in ids for ids in kept].index(False) < [name(3) in ids for ids in kept].index(False)
    assert [name(3) in ids for ids in kept].index(False) <= [name(1) in ids for ids in kept].index(False)
    assert kept[-1] == []
    spool.close()
