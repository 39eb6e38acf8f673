"""Any sequence of events, with crashes, against a small model of the spool."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from clocks import ManualClock
from exhaustive import examples
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, Window, window_start
from framesift.spool import Accepted, ClaimedDatapoint, FinalOutcome, Spool, State, admin
from rigs.spools import BATCH, make_spool, put

MOST_ATTEMPTS = 3
PER_MINUTE, PER_DAY, PER_BATCH = 3, 8, 12
SINK = (Limit(Window.MINUTELY, 2), Limit(Window.DAILY, 9))
QUOTAS = {
    "minute": Quota("minute", (Limit(Window.MINUTELY, PER_MINUTE),), BATCH, PER_BATCH),
    "day": Quota(
        "day", (Limit(Window.MINUTELY, PER_MINUTE), Limit(Window.DAILY, PER_DAY)), BATCH, PER_BATCH, scope="yard"
    ),
}


@dataclass
class Row:
    number: int
    rank: float
    strategy: str
    captured_s: float
    state: State = State.READY
    attempts: int = 0
    tried: int = 0
    next_s: float | None = None
    image_id: str | None = None

    def back(self) -> None:
        self.state = State.READY if self.image_id is None else State.REGISTERED


@dataclass
class Sent:
    """A claim that may have reached the sink, from at_s to until_s (None: it is on its way)."""

    id: str
    at_s: float
    until_s: float | None = None


class SpoolMachine(RuleBasedStateMachine):
    claimed = Bundle("claimed")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spool-machine-"))
        self.clock = ManualClock()
        self.spool = self.open(self.folder)
        self.rows: dict[str, Row] = {}
        self.charges: dict[str, tuple[str, float]] = {}
        self.sends: list[Sent] = []
        self.outcomes = dict.fromkeys(FinalOutcome, 0)
        self.accepted = 0
        self.puts = 0

    def open(self, folder: Path) -> Spool:
        spool = make_spool(folder, self.clock, max_attempts=MOST_ATTEMPTS)
        spool.open()
        return spool

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            shutil.rmtree(self.folder)

    # --- the model ----------------------------------------------------------------------------------------------------

    def now_s(self) -> float:
        return self.clock.now().wall_s

    def in_window(self, at_s: float, window: Window) -> bool:
        return window_start(window, at_s) == window_start(window, self.now_s())

    def may_arrive(self, sent: Sent, window: Window) -> bool:
        """Whether it is on its way at some time in the window that is open now."""
        return sent.until_s is None or self.in_window(sent.at_s, window) or self.in_window(sent.until_s, window)

    def unsend(self, id: str) -> None:
        last = next((n for n in reversed(range(len(self.sends))) if self.sends[n].id == id), None)
        if last is not None:
            del self.sends[last]

    def ended(self, id: str | None = None) -> None:
        for sent in self.sends:
            if sent.until_s is None and id in (None, sent.id):
                sent.until_s = self.now_s()

    def used(self, strategy: str, window: Window) -> int:
        return sum(s == strategy and self.in_window(at, window) for s, at in self.charges.values())

    def grants(self, strategies: list[str]) -> str | None:
        for strategy in strategies:
            room = all(self.used(strategy, limit.window) < limit.value for limit in QUOTAS[strategy].limits)
            if room and len(self.charges) < PER_BATCH:
                return strategy
        return None

    def next_items(self, count: int) -> list[str]:
        due = {id: row for id, row in self.rows.items() if row.next_s is None or row.next_s <= self.now_s()}
        registered = [id for id, row in due.items() if row.state is State.REGISTERED]
        ready = [id for id, row in due.items() if row.state is State.READY and id in self.charges]
        for ids in (registered, ready):
            ids.sort(key=lambda id: (-self.rows[id].rank, self.rows[id].number))
        room = min(limit.value - sum(self.may_arrive(sent, limit.window) for sent in self.sends) for limit in SINK)
        registered = [id for id in registered if id in self.charges][:count]
        return registered + ready[: max(0, min(room, count - len(registered)))]

    def leaves(self, id: str, outcome: FinalOutcome) -> None:
        del self.rows[id]
        self.outcomes[outcome] += 1

    # --- the camera side ----------------------------------------------------------------------------------------------

    @rule(
        strategies=st.sampled_from([["minute"], ["day"], ["minute", "day"], ["day", "minute"]]),
        score=st.sampled_from([None, 0.0, 0.5, 0.9]),
    )
    def put(self, strategies: list[str], score: float | None) -> None:
        expected = self.grants(strategies)
        quotas = [QUOTAS[s] for s in strategies]
        asked = self.spool.check_quota(quotas, self.clock.now())
        # Ids that are the same each time: what failed can then be replayed.
        self.puts += 1
        answer = put(self.spool, self.clock, quotas, score=score, jpeg=b"picture" * 1000, id=f"{self.puts:04}")
        if expected is None:
            assert isinstance(asked, QuotaRefused)
            assert not isinstance(answer, Accepted)
            return
        assert asked == QuotaGranted(expected)
        assert isinstance(answer, Accepted)
        assert answer.strategy == expected
        self.accepted += 1
        self.rows[answer.id] = Row(self.accepted, score or 0.0, expected, self.now_s())
        self.charges[answer.id] = (expected, self.now_s())

    # --- the sink's side ----------------------------------------------------------------------------------------------

    @rule(target=claimed, count=st.integers(1, 3))
    def claim(self, count: int) -> list[ClaimedDatapoint]:
        expected = self.next_items(count)
        claim = self.spool.claim(count, SINK)
        for row in self.rows.values():
            if row.next_s is not None and row.next_s <= self.now_s():
                row.next_s = None  # due, whether or not it was handed out
        assert [item.id for item in claim.items] == expected
        for item in claim.items:
            row = self.rows[item.id]
            if row.state is State.READY:
                self.sends.append(Sent(item.id, self.now_s()))
            row.state, row.next_s = State.SENDING, None
            row.attempts += 1
            row.tried += 1
            assert (item.attempts, item.tried, item.image_id) == (row.attempts, row.tried, row.image_id)
            assert (item.strategy, item.captured_at_s) == (row.strategy, row.captured_s)
            assert self.spool.read_jpeg(item.id) == b"picture" * 1000
        return list(claim.items)

    def mine(self, items: list[ClaimedDatapoint]) -> list[str]:
        """Those that are still being sent, each once: a crash or an operator may have removed them."""
        return [item.id for item in items if item.id in self.rows and self.rows[item.id].state is State.SENDING]

    @rule(items=consumes(claimed), outcome=st.sampled_from([FinalOutcome.DELIVERED, FinalOutcome.DUPLICATE]))
    def done(self, items: list[ClaimedDatapoint], outcome: FinalOutcome) -> None:
        mine = self.mine(items)
        for item in items:
            self.spool.complete(item.id, outcome)
        for id in mine:
            self.ended(id)
            by = FinalOutcome.DELIVERED if outcome is FinalOutcome.DUPLICATE and self.rows[id].tried > 1 else outcome
            if by is not FinalOutcome.DELIVERED:
                del self.charges[id]
            self.leaves(id, by)

    @rule(
        items=consumes(claimed), delay_s=st.sampled_from([None, 10.0, 90.0]), costs=st.booleans(), arrived=st.booleans()
    )
    def later(self, items: list[ClaimedDatapoint], delay_s: float | None, costs: bool, arrived: bool) -> None:
        for id in self.mine(items):
            row = self.rows[id]
            at_s = None if delay_s is None else self.now_s() + delay_s
            self.spool.retry_later(id, at_s, "not now", costs_attempt=costs, arrived=arrived)
            self.ended(id)
            if not arrived and row.image_id is None:
                self.unsend(id)
            row.tried -= 0 if arrived else 1
            if costs and row.attempts >= MOST_ATTEMPTS:
                row.state = State.BURIED
                continue
            row.back()
            row.next_s = at_s
            row.attempts -= 0 if costs else 1

    @rule(items=consumes(claimed))
    def registered(self, items: list[ClaimedDatapoint]) -> None:
        for id in self.mine(items):
            self.spool.mark_registered(id, "image")
            self.ended(id)
            self.rows[id].state, self.rows[id].image_id, self.rows[id].attempts = State.REGISTERED, "image", 0

    @rule(items=consumes(claimed), refund=st.booleans())
    def bury(self, items: list[ClaimedDatapoint], refund: bool) -> None:
        for id in self.mine(items):
            self.spool.bury(id, "why", refund=refund)
            self.ended(id)
            self.rows[id].state = State.BURIED
            if refund:
                del self.charges[id]

    @rule(items=consumes(claimed))
    def release(self, items: list[ClaimedDatapoint]) -> None:
        mine = self.mine(items)
        self.spool.release([item.id for item in items])
        for id in mine:
            self.rows[id].back()
            self.rows[id].attempts -= 1
            self.rows[id].tried -= 1
            if self.rows[id].image_id is None:
                self.unsend(id)

    # --- time, operators, crashes -------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 30.0, 60.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def retry_by_operator(self) -> None:
        expected = sorted(id for id, row in self.rows.items() if row.state is State.BURIED)
        assert sorted(admin.retry(self.spool.path, None, self.clock.now())) == expected
        for id in expected:
            row = self.rows[id]
            row.back()
            row.attempts = 0
            self.charges.setdefault(id, (row.strategy, self.now_s()))

    @rule(number=st.integers(0, 5))
    def drop_by_operator(self, number: int) -> None:
        ids = sorted(self.rows)[number : number + 1]
        kept = [id for id in ids if self.rows[id].state is State.SENDING]
        assert list(admin.drop(self.spool.path, ids)) == [id for id in ids if id not in kept]
        for id in ids:
            if id not in kept:
                self.leaves(id, FinalOutcome.DROPPED)

    @rule(power_cut=st.booleans())
    def restart(self, power_cut: bool) -> None:
        if power_cut:  # only what is on the disk at this instant remains
            before, self.folder = self.folder, Path(tempfile.mkdtemp(prefix="spool-machine-"))
            for name in ("spool.db", "spool.db-wal"):
                if (before / name).exists():
                    shutil.copy(before / name, self.folder / name)
            self.spool.close()
            shutil.rmtree(before)
        else:
            self.spool.close()
        self.spool = self.open(self.folder)
        self.ended()
        for row in self.rows.values():
            if row.state is State.SENDING:
                if row.attempts >= MOST_ATTEMPTS:
                    row.state = State.BURIED
                else:
                    row.back()

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def everything_accepted_is_in_exactly_one_place(self) -> None:
        if not hasattr(self, "spool"):
            return
        there = {row.id: row for row in self.spool.list_rows()}
        assert there.keys() == self.rows.keys()
        for id, row in self.rows.items():
            assert (there[id].state, there[id].attempts, there[id].next_at) == (row.state, row.attempts, row.next_s)
        assert self.spool.outcome_counts() == self.outcomes
        assert self.accepted == len(there) + sum(self.outcomes.values())
        counts = self.spool.counts()
        assert (counts.ready, counts.sending, counts.registered, counts.buried) == tuple(
            sum(row.state is state for row in self.rows.values()) for state in State
        )


SpoolMachine.TestCase.settings = settings(examples(30), stateful_step_count=40)
TestSpoolMachine = SpoolMachine.TestCase
