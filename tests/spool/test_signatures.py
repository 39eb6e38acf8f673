"""Signatures of accepted frames in the spool: stored with the datapoint or not at all, and bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from clocks import ManualClock
from deliveries import detected, jpeg
from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Limit, Quota, Window
from framesift.spool import (
    Accepted,
    AcceptedSignature,
    NotAccepted,
    Spool,
    SpoolFull,
    StoredSignature,
    StoredSignatures,
    WhenFull,
    signatures,
)
from framesift.strategies.near_duplicate import RememberedFrame, distance, signature
from rigs.scenes import scene
from rigs.spools import accepted, make_spool, quota
from rigs.spools import put as put_datapoint
from rigs.uploads import name, open_spool

CONTENT = bytes(384)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = open_spool(tmp_path, clock)
    yield spool
    spool.close()


def content(number: int) -> bytes:
    return number.to_bytes(4, "little") + CONTENT[4:]


def stored(numbers: Iterable[int], threshold: float | None) -> StoredSignatures:
    return StoredSignatures(tuple(StoredSignature(name(n), content(n)) for n in numbers), threshold)


def contents(read: StoredSignatures) -> tuple[bytes, ...]:
    return tuple(one.content for one in read.frames)


def put(
    spool: Spool, number: int, captured: Moment, made: AcceptedSignature | None, quota: Quota | None = None
) -> Accepted | NotAccepted:
    datapoint = Datapoint(
        id=name(number),
        device="gate-7",
        stream="north",
        frame_number=number,
        captured=captured,
        width=200,
        height=100,
        jpeg=jpeg(number % 256),
        prediction=detected(),
    )
    quotas = [quota or Quota("all", (), "batch")]
    return spool.put(datapoint, [Candidate("all", None, (), "batch")], quotas, signature=made)


def test_a_signature_is_stored_with_its_datapoint_and_read_in_the_order_of_acceptance(
    tmp_path: Path, spool: Spool, clock: ManualClock
) -> None:
    for number in range(5):
        put(spool, number, clock.now(), AcceptedSignature("north", "", content(number), None))
    put(spool, 5, clock.now(), AcceptedSignature("north", "a/b", content(5), 0.5))
    spool.close()
    again = open_spool(tmp_path, clock)

    assert again.signatures("north", "", 4096) == stored(range(5), None)
    assert contents(again.signatures("north", "", 2)) == (content(3), content(4))
    assert again.signatures("north", "a/b", 4096) == stored([5], 0.5)
    assert again.signatures("south", "", 4096) == StoredSignatures()
    again.close()


def test_what_is_refused_or_has_no_signature_leaves_none(spool: Spool, clock: ManualClock) -> None:
    one_a_day = Quota("all", (Limit(Window.DAILY, 1),), "batch")
    put(spool, 0, clock.now(), None, one_a_day)
    refused = put(spool, 1, clock.now(), AcceptedSignature("north", "", content(1), None), one_a_day)

    assert isinstance(refused, NotAccepted)
    assert spool.signatures("north", "", 10) == StoredSignatures()


def test_a_datapoint_that_comes_twice_has_one_signature(spool: Spool, clock: ManualClock) -> None:
    for _ in range(2):
        put(spool, 0, clock.now(), AcceptedSignature("north", "", content(0), None))
    assert contents(spool.signatures("north", "", 10)) == (content(0),)


def test_the_last_4096_are_kept_and_few_more(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    with closing(_connect(tmp_path)) as connection:
        for number in range(4200):
            made = AcceptedSignature("north", "", content(number), None)
            signatures.insert(connection.cursor(), name(number), 0.0, made, 2**30)
        connection.execute("COMMIT")
    assert put(spool, 4200, clock.now(), AcceptedSignature("north", "", content(4200), None))

    kept = contents(spool.signatures("north", "", 9999))
    assert 4096 <= len(kept) <= 4096 + 61
    assert kept == tuple(content(n) for n in range(4201 - len(kept), 4201))


def test_the_threshold_that_was_measured_belongs_to_the_newest_signature(spool: Spool, clock: ManualClock) -> None:
    spool.record_thresholds("north", "", 0.25)  # of a memory that is empty: nothing to compare with
    assert spool.signatures("north", "", 9).threshold is None
    put(spool, 0, clock.now(), AcceptedSignature("north", "", content(0), None))
    spool.record_thresholds("north", "", 0.125)
    assert spool.signatures("north", "", 9) == stored([0], 0.125)
    put(spool, 1, clock.now(), AcceptedSignature("north", "", content(1), 0.0625))
    assert spool.signatures("north", "", 9).threshold == 0.0625


def test_a_damaged_signature_is_left_out_alone(tmp_path: Path, spool: Spool, clock: ManualClock) -> None:
    for number in range(3):
        put(spool, number, clock.now(), AcceptedSignature("north", "", content(number), None))
    with closing(_connect(tmp_path)) as connection:
        connection.execute("UPDATE signature SET bytes = ? WHERE number = 2", (content(77),))
        connection.execute("COMMIT")

    assert contents(spool.signatures("north", "", 9)) == (content(0), content(2))


def test_memories_that_are_not_used_any_more_make_room(tmp_path: Path, clock: ManualClock) -> None:
    open_spool(tmp_path, clock).close()
    with closing(_connect(tmp_path)) as connection:
        cursor = connection.cursor()
        for age, stream in enumerate(("new", "old", "oldest")):
            for number in range(100):
                made = AcceptedSignature(stream, "", content(number), None)
                signatures.insert(cursor, name(number), 1000.0 - age, made, 2**30)
        signatures.prune(cursor, 16 * 512 * 150)
        counts = dict(cursor.execute("SELECT stream, count(*) FROM signature GROUP BY stream").fetchall())
        newest = cursor.execute("SELECT min(number), max(number) FROM signature WHERE stream = 'old'").fetchone()
        connection.execute("COMMIT")
    assert counts == {"new": 100, "old": 50}
    assert newest == (151, 200)


def test_signatures_with_embeddings_have_no_larger_share_of_the_spool(tmp_path: Path, clock: ManualClock) -> None:
    open_spool(tmp_path, clock).close()
    most_bytes = 16 * 512 * 150
    with closing(_connect(tmp_path)) as connection:
        cursor = connection.cursor()
        for number in range(150):
            made = AcceptedSignature("north", "", content(number) + bytes(2560), None)
            signatures.insert(cursor, name(number), 0.0, made, 2**30)
        signatures.prune(cursor, most_bytes)
        rows, held_bytes = cursor.execute("SELECT count(*), sum(length(bytes)) FROM signature").fetchone()
        connection.execute("COMMIT")
    assert rows == 150 * 512 // (512 + 2560)
    assert held_bytes <= most_bytes // 16


def count(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "spool.db")) as reading:
        return int(reading.execute("SELECT count(*) FROM signature").fetchone()[0])


def test_too_many_are_forgotten_when_the_spool_is_opened(tmp_path: Path, clock: ManualClock) -> None:
    open_spool(tmp_path, clock).close()
    with closing(_connect(tmp_path)) as connection:
        cursor = connection.cursor()
        for stream in range(40):
            for number in range(4096 // 2):
                cursor.execute(
                    "INSERT INTO signature VALUES (NULL, ?, '', ?, ?, ?, '{}', x'')",
                    (f"s-{stream}", name(number), float(stream), CONTENT),
                )
        connection.execute("COMMIT")
    open_spool(tmp_path, clock).close()
    assert count(tmp_path) == 65_536


def tiny_spool(folder: Path, clock: ManualClock) -> Spool:
    spool = make_spool(folder, clock, max_bytes=2**20, when_full=WhenFull.REFUSE)
    spool.open()
    return spool


def test_the_signatures_of_what_was_delivered_do_not_fill_a_tiny_spool(tmp_path: Path, clock: ManualClock) -> None:
    spool = tiny_spool(tmp_path, clock)
    with closing(_connect(tmp_path)) as connection:  # until the next ones are pruned, there is room for 61 more
        for number in range(128):
            made = AcceptedSignature("north", "", content(number), None)
            signatures.insert(connection.cursor(), name(number), 0.0, made, 2**20)
        connection.execute("COMMIT")
    for number in range(128, 400):
        accepted(put(spool, number, clock.now(), AcceptedSignature("north", "", content(number), None)))
        [item] = spool.claim(1).items
        spool.complete(item.id)
    assert 128 <= count(tmp_path) <= 128 + 61
    assert contents(spool.signatures("north", "", 1)) == (content(399),)
    assert spool.health.problem is None
    spool.close()


def test_a_datapoint_that_finds_no_room_takes_the_place_of_signatures(tmp_path: Path, clock: ManualClock) -> None:
    spool = tiny_spool(tmp_path, clock)
    quotas = [quota("any", (Window.DAILY, 10**6))]
    with closing(_connect(tmp_path)) as connection:  # as another version may have left them; no room is left at all
        for number in range(1600):
            connection.execute(
                "INSERT INTO signature VALUES (NULL, 'north', '', ?, 0.0, ?, '{}', x'')", (name(number), CONTENT)
            )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    accepted(put_datapoint(spool, clock, quotas, jpeg=bytes(200_000)))
    assert 0 < count(tmp_path) < 1600, "no more go than it takes"
    before = count(tmp_path)
    accepted(put_datapoint(spool, clock, quotas, jpeg=bytes(200_000)))
    assert count(tmp_path) < before
    left = count(tmp_path)
    with pytest.raises(SpoolFull):
        put_datapoint(spool, clock, quotas, jpeg=bytes(400_000))
    assert count(tmp_path) == left, "what would not fit without them either leaves them alone"
    spool.close()


def test_a_stored_signature_is_the_same_as_one_made_anew_from_the_same_picture() -> None:
    for number in range(50):
        made = signature(scene(number, noise=0.0))
        read = RememberedFrame.from_bytes("a", RememberedFrame("", made).to_bytes())
        assert read is not None
        assert read.id == "a"
        assert read.signature is not None
        assert distance(made, read.signature) == 0.0
        assert np.array_equal(read.signature, made)
    assert RememberedFrame.from_bytes("a", b"123") is None


def _connect(folder: Path) -> sqlite3.Connection:
    from framesift.limits.row_checksums import register

    connection = sqlite3.connect(folder / "spool.db", isolation_level=None, timeout=30.0)
    register(connection)
    connection.execute("BEGIN IMMEDIATE")
    return connection
