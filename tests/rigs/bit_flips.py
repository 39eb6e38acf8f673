"""Flip one bit in a spool's file or in its log, and see what becomes of all that the spool held.

`build` makes a spool with something of everything in it: datapoints that are ready, waiting for a date or for quota,
being sent, registered and buried, with charges, tallies and classes. `survive` flips one bit of a copy, runs the spool
and an uploader on it until nothing can leave any more, and compares what was delivered, buried and counted with what
was there.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from clocks import NOON_S, ManualClock
from framesift.datapoint import Candidate
from framesift.limits import Limit, Quota, QuotaPending, Window
from framesift.prediction.wire_format import to_wire
from framesift.sinks import Delivered, Delivery, DeliveryResult
from framesift.spool import FinalOutcome, NotAccepted, Spool
from framesift.upload.uploader import Uploader
from rigs.spools import BATCH, RecordedReports, accepted, datapoint, make_spool, prediction, retry_until_ok

SINK_LIMITS = (Limit(Window.MINUTELY, 500),)
SPARE = 2  # quota of the strategy with the small limit that is left
HEADER = "the file's header"
LOG = "the log"
ROWS_ON_A_PAGE = 30  # at most: what one page can take with it


class Damage(Protocol):
    """What is done to the files of a closed spool. most_rows: how many datapoints it may cost."""

    @property
    def most_rows(self) -> int: ...

    @property
    def tree(self) -> str: ...

    def into(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Flip:
    """One bit of a file. tree: the table or index whose page it is on, HEADER or LOG."""

    offset: int
    bit: int
    tree: str
    most_rows: int = ROWS_ON_A_PAGE

    def into(self, folder: Path) -> None:
        with (folder / ("spool.db-wal" if self.tree == LOG else "spool.db")).open("r+b") as file:
            file.seek(self.offset)
            (byte,) = file.read(1)
            file.seek(self.offset)
            file.write(bytes([byte ^ 1 << self.bit]))


@dataclass(frozen=True)
class Built:
    """A spool on the disk. pictures: of all datapoints that are in it, by id. facts: what else is known of each, as in
    `_facts`. buried: how many of them nobody delivers. used: charges of the strategy with a small limit. exits: the
    counted outcomes. has_checksums: whether its format has; without, a row may have got other facts that are valid."""

    folder: Path
    pictures: dict[str, bytes]
    facts: dict[str, tuple[object, ...]]
    buried: int
    used: int
    exits: dict[FinalOutcome, int]
    has_checksums: bool = True


@dataclass
class Survival:
    """What became of one damage. wrong: what should not have been. at_least: the loss is said to be the least one."""

    events: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    delivered: int = 0
    buried: int = 0
    lost: int = 0
    at_least: bool = False

    def kind(self) -> str:
        if self.wrong:
            return "wrong"
        if "spool_moved_aside" in self.events:
            return "a new file" + (", some lost" if self.lost else "")
        if "spool_repaired" in self.events:
            return "put right"
        return "buried" if "spool_damaged" in self.events else "nothing happened"


def build(folder: Path, number: int = 200, *, seed: int = 1, most_bytes: int = 6000, log: bool = False) -> Built:
    """log: as a power cut leaves it, with the log of all that was done last."""
    chance = random.Random(seed)
    clock = ManualClock(NOON_S - number)
    home = folder.with_name(f"{folder.name}-open")
    home.mkdir(parents=True)
    spool = make_spool(home, clock)
    spool.open()
    pictures: dict[str, bytes] = {}
    used = buried = 0
    for n in range(number):
        id = f"{chance.getrandbits(128):032x}"
        pictures[id] = b"\xff\xd8" + chance.randbytes(chance.randrange(200, most_bytes)) + b"\xff\xd9"
        is_scarce = n % 3 == 0
        quota = _quota("scarce" if is_scarce else "plenty", number if is_scarce else None, 10 * number)
        what = datapoint(clock, id=id, jpeg=pictures[id], what=prediction("car", chance.choice("abc")), frame=n)
        candidate = Candidate(quota.strategy, round(chance.random(), 3), ("north", "gate-7"), BATCH)
        waits = n % 10 == 4  # these are plenty
        accepted(spool.put(what, [candidate], [quota], QuotaPending((quota,)) if waits else None))
        used += is_scarce
        clock.advance(0.5)
    for n, item in enumerate(spool.claim(number // 4, SINK_LIMITS).items[: number // 5]):  # the others are being sent
        if n % 4 == 0:
            spool.complete(item.id)
            del pictures[item.id]
        elif n % 4 == 1:
            spool.retry_later(item.id, NOON_S + 600.0, "not now")
        elif n % 4 == 2:
            spool.mark_registered(item.id, f"image-{item.frame}")
        else:
            spool.bury(item.id, "refused")
            buried += 1
    exits = spool.outcome_counts()
    if not log:
        spool.close()
    folder.mkdir()
    for file in home.glob("spool.db*"):
        if file.name in ("spool.db", "spool.db-wal", "spool.db.lock"):  # a daemon leaves its lock for good
            shutil.copy(file, folder)
    if log:
        spool.close()
    with closing(sqlite3.connect(home / "spool.db")) as raw:
        facts = {row[0]: row for row in raw.execute(_FACTS)}
    shutil.rmtree(home)
    return Built(folder, pictures, facts, buried, used, exits)


_FACTS = (
    "SELECT id, device, stream, frame, captured_at_s, strategy, score, tags, project, batch, annotate, width, height,"
    " prediction FROM datapoint JOIN picture ON number = datapoint.seq"
)


def _facts(it: Delivery) -> tuple[object, ...]:
    said = json.dumps(to_wire(it.prediction), separators=(",", ":"))
    what = (it.id, it.device, it.stream, it.frame, it.captured_at_s, it.strategy, it.score, json.dumps(it.tags))
    return (*what, it.project, it.batch, int(it.annotate), it.width, it.height, said)


def _quota(strategy: str, daily: int | None, most: int = 10_000) -> Quota:
    return Quota(strategy, () if daily is None else (Limit(Window.DAILY, daily),), BATCH, most)


# --- where a bit may lie ----------------------------------------------------------------------------------------------


def trees(path: Path) -> dict[str, list[int]]:
    """Page numbers (from 0) of each table and index, overflow pages too.

    The format: https://www.sqlite.org/fileformat2.html#b_tree_pages
    """
    content = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        roots = connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall()
    return {name: sorted(_pages(content, root)) for name, root in [("sqlite_master", 1), *roots]}


def page_size(path: Path) -> int:
    """Bytes of a page of this file: those of older versions have larger ones."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(18)[16:], "big")


def _pages(content: bytes, root: int) -> set[int]:
    found, page_bytes = {root - 1}, int.from_bytes(content[16:18], "big")
    page = content[(root - 1) * page_bytes : root * page_bytes]
    at = 100 if root == 1 else 0
    kind, cells = page[at], int.from_bytes(page[at + 3 : at + 5], "big")
    is_inner = kind in (0x02, 0x05)
    if is_inner:
        found |= _pages(content, int.from_bytes(page[at + 8 : at + 12], "big"))
    for n in range(cells):
        place = at + (12 if is_inner else 8) + 2 * n
        cell = page[int.from_bytes(page[place : place + 2], "big") :]
        if is_inner:
            found |= _pages(content, int.from_bytes(cell[:4], "big"))
            cell = cell[4:]
        if kind != 0x05:
            found |= _overflow(content, cell, is_table=kind == 0x0D)
    return found


def _overflow(content: bytes, cell: bytes, *, is_table: bool) -> set[int]:
    page_bytes = int.from_bytes(content[16:18], "big")
    size_bytes, at = _varint(cell, 0)
    if is_table:
        _, at = _varint(cell, at)
    most = page_bytes - 35 if is_table else (page_bytes - 12) * 64 // 255 - 23
    if size_bytes <= most:
        return set()
    least = (page_bytes - 12) * 32 // 255 - 23
    local = least + (size_bytes - least) % (page_bytes - 4)
    at += local if local <= most else least
    found: set[int] = set()
    number = int.from_bytes(cell[at : at + 4], "big")
    while number:
        found.add(number - 1)
        number = int.from_bytes(content[(number - 1) * page_bytes :][:4], "big")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(8):
        value = value << 7 | data[at + n] & 0x7F
        if data[at + n] < 0x80:
            return value, at + n + 1
    return value << 8 | data[at + 8], at + 9


def draw(built: Built, number: int, seed: int) -> list[Flip]:
    """Half of them anywhere in the live pages, where nearly all are pictures; half spread evenly over the tables, the
    indexes and the header, where something is written: most pages of a small spool are half empty."""
    path = built.folder / "spool.db"
    chance, content, page_bytes = random.Random(seed), path.read_bytes(), page_size(path)
    by_tree = trees(path)
    everywhere = [(page, name) for name, pages in by_tree.items() for page in pages]
    found: list[Flip] = []
    for _ in range(number):
        if chance.random() < 0.5:
            page, name = chance.choice(everywhere)
            place = page * page_bytes + chance.randrange(page_bytes)
        else:
            name = chance.choice([*by_tree, HEADER])
            first = 0 if name == HEADER else chance.choice(by_tree[name]) * page_bytes
            size = 100 if name == HEADER else page_bytes
            place = first + chance.choice([at for at in range(size) if content[first + at]])
        found.append(Flip(place, chance.randrange(8), HEADER if place < 100 else name))
    return found


def draw_in_log(built: Built, number: int, seed: int) -> list[Flip]:
    """Half of them in what is neither a page nor the picture on it: the log's header, and those of its frames."""
    chance = random.Random(seed)
    size = (built.folder / "spool.db-wal").stat().st_size
    page_bytes = page_size(built.folder / "spool.db")
    frames = (size - 32) // (24 + page_bytes)
    found: list[Flip] = []
    for _ in range(number):
        heads = [32 + frame * (24 + page_bytes) + chance.randrange(24) for frame in range(frames)]
        place = chance.choice(
            [chance.randrange(size), chance.randrange(size), chance.randrange(32), chance.choice(heads)]
        )
        found.append(Flip(place, chance.randrange(8), LOG))
    return found


# --- what becomes of it -----------------------------------------------------------------------------------------------


class _Sink:
    """A sink that accepts everything at once."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.arrived: list[Delivery] = []
        self.last_s = clock.monotonic()

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:  # noqa: ARG002
        self.arrived.append(delivery)
        self.last_s = self._clock.monotonic()
        return Delivered()

    def check(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def survive(built: Built, flip: Damage, folder: Path, *, deliver: bool = True) -> Survival:
    """folder: for the copy; it must not be there yet."""
    shutil.copytree(built.folder, folder)
    flip.into(folder)
    reports, out = RecordedReports(), Survival()
    clock = ManualClock(waiters=int(deliver))
    spool = make_spool(folder, clock, report=reports)
    try:
        spool.open()
        try:
            new = _put_more(built, spool, clock, out)
            if deliver:
                sink = _deliver(spool, clock, out)
                if spool.health.fatal:
                    out.wrong.append(f"its health is {spool.health}")
                _account(built, new, flip, spool, sink, reports, out)
        finally:
            spool.close()
    except Exception as error:  # noqa: BLE001  # whatever a flipped bit may throw
        out.wrong.append(f"{type(error).__name__}: {error}")
    out.events = Counter(reports.names())
    if len(list(folder.glob("spool.db.corrupt-*"))) > 2:  # with its log
        out.wrong.append("it was moved aside more than once")
    shutil.rmtree(folder)
    return out


def _put_more(built: Built, spool: Spool, clock: ManualClock, out: Survival) -> int:
    """Put new datapoints, with limits of this device alone. Returns how many were accepted."""
    retry_until_ok(spool.shared_quota.grant_pending_locally)
    granted = sum(_put(spool, clock, _quota("scarce", built.used + SPARE)) for _ in range(SPARE + 2))
    if granted > SPARE:
        out.wrong.append(f"{granted} charges were granted where {SPARE} were left")
    if not _put(spool, clock, _quota("any", None, 100_000)) and "spool_moved_aside" not in out.events:
        out.wrong.append("it accepts nothing")
    return granted + 1


def _put(spool: Spool, clock: ManualClock, quota: Quota) -> bool:
    what = datapoint(clock, jpeg=b"new")
    candidate = Candidate(quota.strategy, 0.5, (), quota.batch)
    answer = retry_until_ok(lambda: spool.put(what, [candidate], [quota]))
    return not isinstance(answer, NotAccepted)


def _deliver(spool: Spool, clock: ManualClock, out: Survival) -> _Sink:
    """Until nothing is left that can leave, or nothing has left for two hours."""
    sink, failures = _Sink(clock), list[BaseException]()
    chance = random.Random(1)
    uploader = Uploader(
        spool, sink, workers=1, sink_limits=SINK_LIMITS, clock=clock, rng=chance, on_failure=failures.append
    )
    uploader.start()
    while not failures and not uploader.is_drained() and clock.monotonic() - sink.last_s < 7200.0:
        threading.Event().wait(0.02)
    assert uploader.stop(60)
    out.wrong += [f"the uploader ended: {type(error).__name__}: {error}" for error in failures]
    return sink


def _account(
    built: Built, new: int, flip: Damage, spool: Spool, sink: _Sink, reports: RecordedReports, out: Survival
) -> None:
    arrived = Counter(delivery.id for delivery in sink.arrived)
    if twice := [id for id, times in arrived.items() if times > 1]:
        out.wrong.append(f"delivered twice: {twice}")
    if any(delivery.jpeg != built.pictures.get(delivery.id, delivery.jpeg) for delivery in sink.arrived):
        out.wrong.append("delivered with another picture")
    changed = [it for it in sink.arrived if it.id in built.facts and built.facts[it.id] != _facts(it)]
    changed += [it for it in sink.arrived if it.id in built.facts and it.image_id not in (None, f"image-{it.frame}")]
    if changed and (built.has_checksums or flip.tree != "datapoint" or len({it.id for it in changed}) > 1):
        out.wrong.append(
            f"delivered with other facts or another image: {[(_facts(it), it.image_id) for it in changed]}"
        )
    with closing(sqlite3.connect(spool.path)) as raw:
        raw.text_factory = bytes
        states = Counter(state for (state,) in raw.execute("SELECT state FROM delivery NOT INDEXED"))
        (problem,) = raw.execute("PRAGMA integrity_check('datapoint')").fetchone()
    if problem != b"ok":
        out.wrong.append(f"left damaged: {problem.decode()}")
    out.delivered, out.buried = len(arrived), states.pop(b"buried", 0)
    if states:
        out.wrong.append(f"left behind: {dict(states)}")
    there = len(built.pictures) + new
    out.lost = spool.outcome_counts()[FinalOutcome.BURIED] - built.exits[FinalOutcome.BURIED]
    missing = there - out.delivered - out.buried
    said = [fields["lost"] for event, fields in reports.events if event == "spool_moved_aside"]
    is_least = any(str(lost).startswith("at least") for lost in said)
    is_counts = not built.has_checksums and flip.tree in ("tally", "sqlite_sequence")  # what they say is unknown
    if out.lost != missing and not (is_least and out.lost <= missing) and not (is_counts and out.lost > missing):
        out.wrong.append(f"{there} were there: {out.delivered} delivered, {out.buried} buried, {out.lost} counted lost")
    if there - built.buried - out.delivered > flip.most_rows:
        out.wrong.append(f"{there - built.buried - out.delivered} were not delivered")
    out.at_least = is_least
