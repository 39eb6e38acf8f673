"""A row that can't be read, for any reason, is buried and counted, and no other row waits for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.datapoint import Candidate
from framesift.limits import Limit, Quota, QuotaAnswer, QuotaPending, Window
from framesift.limits.local import LocalLimits
from framesift.spool import FinalOutcome, NotAccepted, Spool, State, admin
from framesift.spool.page_file import PAGE_BYTES
from rigs.spools import BATCH, RecordedReports, accepted, datapoint, make_spool, put, quota, retry_until_ok
from rigs.uploads import RecordingSink, running, until

NOT_UTF_8 = "CAST(x'ff61' AS TEXT)"
DAMAGES = {
    "device": [NOT_UTF_8, "x'00'"],
    "stream": [NOT_UTF_8, "x'00'"],
    "frame": ["'7'||'x'", "-1", "1e300"],
    "captured_at_s": ["'now'", "1e300", "9e999", "x'00'"],
    "strategy": [NOT_UTF_8, "x'00'"],
    "score": ["'high'", "9e999", "x'00'"],
    "tags": ["'[\"north'", "'{}'", "'[1]'", "'null'", NOT_UTF_8, "x'00'"],
    "project": [NOT_UTF_8, "x'00'"],
    "batch": [NOT_UTF_8, "x'00'"],
    "annotate": ["3", "'yes'"],
    "width": ["0", "-5", "70000", "'wide'", "1.5"],
    "height": ["0", "-5", "70000", "'high'", "1.5"],
    "size_bytes": ["-1", "'big'"],
    "attempts": ["-2", "'often'", "x'00'"],
    "tried": ["-2", "'often'"],
    "refusals": ["-2", "'often'"],
    "image_id": ["x'00'", NOT_UTF_8],
}
STATE = ("attempts", "tried", "refusals", "image_id", "next_at_s", "why", "rank", "extra")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def damage(path: Path, sql: str) -> None:
    """Writes values that a spool never writes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(sql).rowcount == 1, sql


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param(column, value, marks=[pytest.mark.exhaustive] if number > 0 else [])
        for column, values in DAMAGES.items()
        for number, value in enumerate(values)
    ],
)
def test_a_row_with_a_damaged_column_is_buried_and_the_others_are_delivered(
    tmp_path: Path, column: str, value: str
) -> None:
    clock = ManualClock(waiters=1)
    reports = RecordedReports()
    spool = make_spool(tmp_path, clock, report=reports)
    spool.open()
    ids = [accepted(put(spool, clock, score=score)) for score in (0.1, 0.9, 0.5)]
    table = "delivery" if column in STATE else "datapoint"
    damage(spool.path, f"UPDATE {table} SET {column} = {value} WHERE seq = 2")  # the row that is claimed first
    sink = RecordingSink(clock)
    with running(spool, sink, clock) as rig:
        rig.until_drained()
    assert rig.failures == []
    assert [delivery.id for delivery in sink.deliveries] == [ids[2], ids[0]]
    (buried,) = spool.list_rows()
    assert buried.state is State.BURIED
    assert reports.names() == ["spool_damaged"]
    accepted(put(spool, clock))
    assert spool.health.problem is None
    spool.close()
    # The next start works, with or without a salvage.
    with closing(sqlite3.connect(spool.path)) as connection:
        connection.execute("DELETE FROM datapoint WHERE seq <> 2")
        connection.execute("DELETE FROM delivery WHERE seq <> 2")
        connection.commit()
    spool = make_spool(tmp_path, clock)
    spool.open()
    assert spool.counts().buried + spool.outcome_counts()[FinalOutcome.BURIED] == 1
    spool.close()


def test_a_buried_row_can_be_listed_retried_without_success_and_dropped(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    for column in ("device", "stream", "tags", "captured_at_s"):
        id = accepted(put(spool, clock))
        damage(spool.path, f"UPDATE datapoint SET {column} = x'ff' WHERE id = '{id}'")
    assert spool.claim(9).items == ()
    listed = admin.list_rows(spool.path)
    assert [row.state for row in listed] == [State.BURIED] * 4
    assert [row.why for row in listed] == [
        f"it can't be read: its {column} is damaged" for column in ("device", "stream", "tags", "captured_at_s")
    ]
    assert len(admin.retry(spool.path, None, clock.now())) == 4
    assert spool.claim(9).items == ()
    assert spool.counts().buried == 4
    assert len(admin.drop(spool.path, None)) == 4
    assert spool.list_rows() == []
    spool.close()


def test_a_row_missing_in_an_index_is_found_at_the_next_start(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    ids = [accepted(put(spool, clock)) for _ in range(3)]
    spool.close()
    lose_in_index(spool.path, 2)
    reports = RecordedReports()
    spool = make_spool(tmp_path, clock, report=reports)
    spool.open()
    assert [item.id for item in spool.claim(9).items] == ids
    ((name, fields),) = reports.events
    assert (name, fields["lost"], fields["open_windows"]) == ("spool_moved_aside", 0, "as charged")
    spool.close()


def lose_in_index(path: Path, seq: int) -> None:
    """The index says of row `seq` another state than the row: no query for those that are ready finds it."""
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'delivery_to_claim'").fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page = path.read_bytes()[(root - 1) * PAGE_BYTES : root * PAGE_BYTES]
    cells = [int.from_bytes(page[8 + 2 * n : 10 + 2 * n], "big") for n in range(int.from_bytes(page[3:5], "big"))]
    at = (root - 1) * PAGE_BYTES + page.index(b"ready", sorted(cells)[-seq])
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"r%ady")


def test_a_row_that_an_index_loses_while_running_is_found_within_an_hour(tmp_path: Path, clock: ManualClock) -> None:
    reports = RecordedReports()
    spool = make_spool(tmp_path, clock, report=reports)
    spool.open()
    ids = [accepted(put(spool, clock)) for _ in range(3)]
    damage(spool.path, "UPDATE class_count SET class = 'moves the log into the file'")
    lose_in_index(spool.path, 2)
    with closing(sqlite3.connect(spool.path)) as other:  # so that the writer reads the file again
        other.execute("UPDATE class_count SET class = 'car'")
        other.commit()
    found = [item.id for item in spool.claim(9).items]
    assert ids[1] not in found
    clock.advance(3600.0)
    last = accepted(retry_until_ok(lambda: put(spool, clock)))  # then it verifies the file
    until(lambda: "spool_moved_aside" in reports.names())
    found += [item.id for item in retry_until_ok(lambda: spool.claim(9)).items]
    assert sorted(found) == sorted([*ids, last])
    spool.close()


def test_a_row_that_could_never_be_claimed_is_found_at_the_next_start(tmp_path: Path, clock: ManualClock) -> None:
    spool = make_spool(tmp_path, clock)
    spool.open()
    ids = [accepted(put(spool, clock)) for _ in range(3)]
    spool.close()
    damage(spool.path, f"UPDATE datapoint SET id = {NOT_UTF_8} WHERE id = '{ids[0]}'")
    damage(spool.path, f"UPDATE datapoint SET id = 'another' WHERE id = '{ids[1]}'")
    spool = make_spool(tmp_path, clock)
    spool.open()
    assert [item.id for item in spool.claim(9).items] == [ids[2]]
    assert spool.counts().buried == 2
    spool.close()


def test_an_unreadable_request_for_quota_is_buried_and_the_others_are_sent(tmp_path: Path, clock: ManualClock) -> None:
    reports = RecordedReports()
    spool = make_spool(tmp_path, clock, report=reports)
    spool.open()
    wanted = Quota("a", (Limit(Window.DAILY, 9),), BATCH)
    ids = [wait(spool, clock, wanted) for _ in range(6)]
    damages = (
        "quotas = '[{'",
        "quotas = replace(quotas, 'strategy', 'strauegy')",
        "quotas = replace(quotas, '9', '-9')",
        "candidates = '{}'",
        "candidates = replace(candidates, '0.5', '\"x\"')",
    )
    for id, what in zip(ids, damages, strict=False):
        damage(spool.path, f"UPDATE late SET {what} WHERE id = '{id}'")
    assert [one.id for one in spool.shared_quota.pending("", 9)] == [ids[5]]
    assert {row.id for row in spool.list_rows(State.BURIED)} == set(ids[:5])
    assert reports.names() == ["spool_damaged"] * 5
    assert spool.counts().pending_quota == 1
    spool.close()


def wait(spool: Spool, clock: ManualClock, wanted: Quota) -> str:
    what = datapoint(clock)
    candidate = Candidate(wanted.strategy, 0.5, (), BATCH)
    return accepted(spool.put(what, [candidate], [wanted], QuotaPending((wanted,))))


class BrokenLimits(LocalLimits):
    """With a bug in it."""

    def charge(self, *what: object, **how: object) -> QuotaAnswer:  # noqa: ARG002
        raise TypeError("a bug")


def test_a_bug_moves_no_file_aside(tmp_path: Path, clock: ManualClock) -> None:
    reports = RecordedReports()
    spool = make_spool(tmp_path, clock, limits=BrokenLimits(), report=reports)
    spool.open()
    with pytest.raises(TypeError, match="a bug"):
        put(spool, clock)
    assert reports.events == []
    assert not list(tmp_path.glob("*corrupt*"))
    spool.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE seen SET wall_s = 1e300",
        "UPDATE seen SET wall_s = 'noon'",
        "UPDATE carried SET amount = -5",
        "UPDATE tally SET exit = 'eelivered'",
        "UPDATE class_count SET number = 'many'",
        "UPDATE identity SET id = 'short' WHERE number = 1",
        "UPDATE charge SET at_s = 'noon'",
        "UPDATE charge SET granted_by = 'mobody'",
        "UPDATE send SET until_s = 'late'",
        "UPDATE batch_there SET mark = -5",
        f"UPDATE class_count SET class = {NOT_UTF_8}",
    ],
)
@pytest.mark.parametrize("restarted", [True, False])
def test_invalid_values_of_small_tables_are_left_out(
    tmp_path: Path, clock: ManualClock, sql: str, restarted: bool
) -> None:
    reports = RecordedReports()
    spool = make_spool(tmp_path, clock, report=reports)
    spool.open()
    id = accepted(put(spool, clock, [quota("a", (Window.DAILY, 2))]))
    assert spool.claim(1, [Limit(Window.DAILY, 9)]).items[0].id == id
    spool.complete(id)
    spool.record_batch_size(BATCH, 5, spool.batch_left_spool(BATCH))
    id = accepted(put(spool, clock, [quota("b", (Window.DAILY, 2))]))
    with closing(sqlite3.connect(spool.path)) as connection:
        connection.execute(
            "INSERT INTO carried (account, window, at_s, amount) VALUES ('strategy a', 'daily', ?, 1)", (NOON_S,)
        )
        connection.execute("DELETE FROM charge WHERE account = 'a'")
        connection.commit()
    if restarted:
        spool.close()
    damage(spool.path, sql)
    if restarted:
        spool = make_spool(tmp_path, clock, report=reports)
        spool.open()
    for look in (spool.class_counts, spool.quota_usage, spool.outcome_counts, spool.shared_quota.device_id):
        retry_until_ok(look)
    scarce = [quota("b", (Window.DAILY, 2))]
    granted = [retry_until_ok(lambda: put(spool, clock, scarce)) for _ in range(3)]
    if restarted:  # of two charges one counted; a change from outside is found within an hour
        assert sum(not isinstance(answer, NotAccepted) for answer in granted) <= 1
    clock.advance(86400.0)
    accepted(retry_until_ok(lambda: put(spool, clock, scarce)))
    until(lambda: spool.health.problem is None)
    assert id in [item.id for item in retry_until_ok(lambda: spool.claim(9)).items]
    spool.close()
