"""A fleet of real processes on a real server: limits are exact, whatever dies."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from framesift.clock.clock import SystemClock
from framesift.fleet.reconcile import RECONCILE_INTERVAL_S, RESTORING
from framesift.limits import Limit, Window
from rigs.auditor import Audit, audit
from rigs.fault_proxy import FaultProxy, fault_proxy
from rigs.fleet import FleetDevice
from rigs.fleet_device import PREFIX, PROJECT, DeviceProcess
from rigs.redis_server import RedisServer, redis_server

pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]

KEY = f"{PREFIX}:{{{PROJECT}}}"
LOSING = ("swallow", "half", "cut")  # what becomes of an answer, see Between

Limits = dict[str, list[tuple[str, int]]]


@contextmanager
def devices(folder: Path, number: int, **options: Any) -> Iterator[list[DeviceProcess]]:
    made = [DeviceProcess(folder / f"device-{n}", seed=n, **options) for n in range(number)]
    try:
        yield made
    finally:
        for device in made:
            device.kill()


def audited(
    server: RedisServer, all_devices: Sequence[DeviceProcess], limits: Limits, batches: dict[str, int] | None = None
) -> Audit:
    """Both sides agree."""
    made = audit(
        server.client,
        [device.spool for device in all_devices],
        {name: [Limit(Window(kind), value) for kind, value in each] for name, each in limits.items()},
        batches={f"of-{name}": most for name, most in (batches or {}).items()},
        prefix=PREFIX,
    )
    assert made.differences == ()
    return made


def show(what: str, took_s: Sequence[float]) -> None:
    middle_s, p99_s = statistics.median(took_s), statistics.quantiles(took_s, n=100)[98]
    figures = f"median {1000 * middle_s:.2f} ms, p99 {1000 * p99_s:.2f} ms, worst {1000 * max(took_s):.2f} ms"
    sys.stdout.write(f"\n{what}: {len(took_s)}, {figures}\n")


def rest(seconds: float) -> None:
    """Real time passes."""
    threading.Event().wait(seconds)


def test_four_processes_share_a_hundred_a_minute_over_two_minute_boundaries(tmp_path: Path) -> None:
    limits: Limits = {"all": [("minutely", 100)]}
    with (
        redis_server(tmp_path) as server,
        devices(tmp_path, 4, port=server.port, limits=limits, threads=2, pause_s=0.002, delivers=True) as fleet,
    ):
        server.wait_until_stored(KEY)
        for device in fleet:
            device.start()
        for device in fleet:
            device.wait_for_line("ready")
        began_s = time.time()
        rest(60.0 - began_s % 60.0 + 62.0)
        for device in fleet:
            device.stop()
        made = audited(server, fleet, limits)
        minutes = sorted(
            (opening.start_s, count) for opening, count in made.used.items() if opening.kind is Window.MINUTELY
        )
        assert [count for _, count in minutes] == [100, 100, 100]
        assert minutes[0][0] == began_s // 60 * 60
        assert made.charged == 300
        # Each of the four had its share of some minute: they did hammer at the same time.
        assert all(device.ids("+") for device in fleet)


def test_a_decision_is_one_round_trip(tmp_path: Path) -> None:
    limits: Limits = {"all": [("minutely", 10**6), ("hourly", 10**6), ("daily", 10**6)]}
    with redis_server(tmp_path) as server, devices(tmp_path, 4, port=server.port, limits=limits) as fleet:
        server.wait_until_stored(KEY)
        for device in fleet:
            device.start().wait_for_line("ready")
        server.client.config_resetstat()
        began_s = time.monotonic()
        for device in fleet:
            device.send("make", 500)
        made = [json.loads(device.wait_for_line("done", 60.0)[1]) for device in fleet]
        calls = Counter({name: stats["calls"] for name, stats in server.client.info("commandstats").items()})
        granted, waiting = (sum(one[name] for one in made) for name in ("granted", "waiting"))
        assert granted + waiting == 2000
        assert waiting <= 100, (
            "a machine may be so busy that an answer comes too late: that costs one more reconciliation"
        )
        reconciliations = len(fleet) * (
            1 + (time.monotonic() - began_s) // RECONCILE_INTERVAL_S
        )  # of the side that may wait
        assert granted <= calls["cmdstat_evalsha"] <= 2000 + reconciliations + 10 * waiting
        assert calls["cmdstat_eval"] == calls["cmdstat_script|load"] == 0
        show("a decision, four processes at once", [took_s for one in made for took_s in one["took_s"]])
        for device in fleet:
            device.settle()
            device.stop()
        assert audited(server, fleet, limits).charged == 2000


@pytest.mark.parametrize("what", ["frozen", *LOSING])
def test_the_frame_path_waits_a_tenth_of_a_second_once(tmp_path: Path, what: str) -> None:
    limits: Limits = {"all": [("hourly", 10**6)]}
    options: dict[str, Any] = {"limits": limits, "threads": 3, "pause_s": 0.005}
    with (
        redis_server(tmp_path) as server,
        fault_proxy(server.port) as wire,
        devices(tmp_path, 1, port=wire.port, **options) as fleet,
    ):
        (device,) = fleet
        server.wait_until_stored(KEY)
        device.start().wait_for_line("ready")
        rest(0.5)
        assert device.ids("+")
        began_s = time.monotonic()
        if what == "frozen":
            server.freeze()
        else:
            wire.mode = what
        device.wait_for_line("problem", 5.0)
        rest(3.0)
        accepted = len(device.ids("~"))
        assert accepted > 10, "frames go on"
        ended_s = time.monotonic()
        if what == "frozen":
            server.thaw()
        else:
            assert wire.swallowed >= 2
            wire.mode = "pass"
        device.wait_for_line("ready", 10.0)
        device.stop()
        waits = [
            (thread, float(took_s))
            for sign, thread, took_s, at_s in (words for words in device.lines if words[0] == "w")
            if began_s - 0.2 <= float(at_s) <= ended_s
        ]
        sys.stdout.write(f"\n{what}: waits over 50 ms {[f'{thread}: {took_s:.3f} s' for thread, took_s in waits]}\n")
        assert max((took_s for _, took_s in waits), default=0.0) < 0.25
        long = Counter(thread for thread, took_s in waits if took_s > 0.09)
        assert max(long.values(), default=0) <= 1
        # Those that waited have their quota now, each charged once.
        device.start(threads=0)
        device.settle()
        device.stop()
        assert audited(server, fleet, limits).charged >= len(device.ids("+")) + accepted


def nothing_is_lost(device: DeviceProcess) -> None:
    """What was accepted with quota is there, or left for the sink; and only what had quota left."""
    with closing(sqlite3.connect(device.spool)) as file:
        there = {id for (id,) in file.execute("SELECT id FROM datapoint")}
        credited = {id for (id,) in file.execute("SELECT id FROM charge WHERE granted_by = 'shared'")}
    delivered, returned = set(device.ids("-")), set(device.ids("x"))
    assert set(device.ids("+")) <= there | delivered | returned
    assert delivered - returned <= credited


class Chaos:
    """What can happen to a server and its devices."""

    def __init__(
        self, server: RedisServer, wire: FaultProxy, fleet: Sequence[DeviceProcess], chance: random.Random
    ) -> None:
        self.server = server
        self.wire = wire
        self.fleet = fleet
        self.chance = chance
        self.kills = 0

    def kill(self) -> None:
        device = self.chance.choice(self.fleet)
        device.kill()
        self.kills += 1
        device.start()

    def freeze(self) -> None:
        self.server.freeze()
        rest(self.chance.uniform(1.0, 3.0))
        self.kill()
        self.server.thaw()

    def flush_scripts(self) -> None:
        self.server.client.script_flush()

    def lose_answers(self) -> None:
        for _ in range(12):
            before = self.wire.swallowed
            self.wire.mode = self.chance.choice(LOSING)
            while self.wire.swallowed == before:
                rest(0.005)
            self.wire.mode = "pass"
            rest(self.chance.uniform(0.1, 0.6))
        self.kill()

    def read_only(self) -> None:
        self.server.client.replicaof("127.0.0.1", 1)
        rest(2.0)
        self.server.client.replicaof("NO", "ONE")

    def out_of_memory(self) -> None:
        self.server.client.config_set("maxmemory", 1)
        rest(2.0)
        self.kill()
        self.server.client.config_set("maxmemory", 0)

    def empty(self) -> None:
        before = [len(device.lines) for device in self.fleet]
        self.server.stop()
        rest(2.0)
        self.server.start()
        rest(self.chance.uniform(0.0, 2.0))
        self.kill()
        self.wait_for_reports(before)

    def flush_all(self) -> None:
        before = [len(device.lines) for device in self.fleet]
        self.server.client.flushall()
        self.wait_for_reports(before)

    def wait_for_reports(self, before: Sequence[int]) -> None:
        """Wait until the reset server grants again: every device has reported its charges, and reconciled once more.

        before: how many lines each had printed. (A fixed time would be too short on a busy machine.)
        """
        for device, lines in zip(self.fleet, before, strict=True):
            device.until(lambda words: words == ["problem", *RESTORING.split()], lines)
        rest(RECONCILE_INTERVAL_S + 1.0)
        self.server.client.hset(KEY, "born", 0)
        for device in self.fleet:
            device.wait_for_line("ready", 60.0)


def test_whatever_dies_both_books_agree_in_the_end(tmp_path: Path) -> None:
    chance = random.Random(5)
    limits: Limits = {
        "few": [("minutely", 40), ("daily", 1000)],
        "some": [("minutely", 100), ("hourly", 150)],
        "more": [("hourly", 160), ("daily", 300)],
        "bounded": [("daily", 100_000)],
        "rest": [("daily", 100_000)],
    }
    batches = {"few": 75, "bounded": 700}
    options: dict[str, Any] = {
        "limits": limits,
        "batches": batches,
        "restore_s": 600.0,
        "threads": 2,
        "pause_s": 0.05,
        "delivers": True,
        "duplicates": 0.1,
    }
    with redis_server(tmp_path) as server, fault_proxy(server.port) as wire:
        server.wait_until_stored(KEY)
        with devices(tmp_path, 2, port=wire.port, **options) as wired, ExitStack() as rest_of:
            fleet = [*wired]
            for number in range(2):
                fleet.append(
                    DeviceProcess(tmp_path / f"direct-{number}", port=server.port, seed=10 + number, **options)
                )
                rest_of.callback(fleet[-1].kill)
            for device in fleet:
                device.start()
            chaos = Chaos(server, wire, fleet, chance)
            everything = [
                chaos.lose_answers,
                chaos.freeze,
                chaos.flush_scripts,
                chaos.read_only,
                chaos.out_of_memory,
            ]
            for forget in (chaos.empty, chaos.flush_all):
                for happens in chance.sample(everything, len(everything)):
                    happens()
                    rest(chance.uniform(1.0, 3.0))
                    chaos.kill()
                forget()
            for _ in range(6):
                rest(chance.uniform(0.0, 1.0))
                chaos.kill()
            for device in fleet:
                device.kill()
            for device in fleet:
                device.start(threads=0, delivers=False)
            for device in fleet:
                device.settle(90.0)
            for device in fleet:
                device.stop()
        made = audited(server, fleet, limits, batches)
        for device in fleet:
            nothing_is_lost(device)
        credited, late = (sum(len(device.ids(sign)) for device in fleet) for sign in "+~")
        waits = sorted(float(words[2]) for device in fleet for words in device.lines if words[0] == "w")
        problems = Counter(" ".join(words[1:]) for device in fleet for words in device.lines if words[0] == "problem")
        sys.stdout.write(
            f"\n{chaos.kills} kills, {wire.swallowed} answers lost, {credited} accepted with quota, {late} without,"
            f" {made.charged} charged; {len(waits)} waits over 50 ms, the longest {waits[-5:]} s\n"
            f"problems: {problems}\n"
        )
        # All were reached; what was given back at the very end may be missing.
        full = [("few", Window.MINUTELY, 40), ("some", Window.MINUTELY, 100), ("more", Window.HOURLY, 160)]
        for account, kind, count in [*full, ("bounded", Window.DAILY, 700)]:
            assert made.most(account, kind) >= 0.9 * count
        assert credited > 300
        assert late > 300
        assert wire.swallowed >= 8
        # A thread may be given no processor for long on a busy machine; the next test is strict.
        assert statistics.quantiles(waits, n=20)[18] < 0.25


YEAR_S = 365 * 86400.0


def test_wrong_clocks_change_nothing(tmp_path: Path) -> None:
    limits: Limits = {"few": [("minutely", 60), ("daily", 10_000)], "rest": [("hourly", 10_000)]}
    options: dict[str, Any] = {"limits": limits, "delivers": True, "restore_s": 3.0}
    with redis_server(tmp_path) as server, devices(tmp_path, 5, port=server.port, **options) as fleet:
        server.wait_until_stored(KEY)
        ahead, behind, unset, steps, right = fleet
        ahead.start(wall_offset_s=YEAR_S)
        behind.start(wall_offset_s=-YEAR_S)
        unset.start(wall_s=30.0)
        steps.start()
        right.start()
        for device in fleet:
            device.wait_for_line("ready")
        began_s = time.time()
        for step_s in (YEAR_S, -2 * YEAR_S, YEAR_S):
            for device in fleet:
                assert device.make(20)["granted"] == 20
            steps.send("step", step_s)
        for device in fleet:
            assert device.make(10)["granted"] == 10
        made = audited(server, fleet, limits)
        assert made.charged == 350
        assert {opening.start_s for opening in made.used if opening.kind is Window.MINUTELY} <= {
            began_s // 60 * 60,
            time.time() // 60 * 60,
        }
        assert made.most("few", Window.MINUTELY) == 60

        # The clocks are set; then the server loses everything, and gets all of it reported again.
        ahead.send("step", -YEAR_S)
        behind.send("step", YEAR_S)
        unset.send("step", time.time() - 30.0)
        server.client.flushall()
        for device in fleet:
            device.send("make", 1)
        for device in fleet:
            device.wait_for_line("done")
        for device in fleet:
            device.settle()
        assert audited(server, fleet, limits).charged >= 350
        for device in fleet:
            device.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("call", "decisions"), [("sendto", 12), ("recvfrom", 12), ("pwrite64", 2), ("fdatasync", 6)])
def test_killed_at_every_step_between_charge_and_spool(tmp_path: Path, call: str, decisions: int) -> None:
    """strace counts the calls of each thread for itself; so many decisions that the one which decides, or writes, comes
    to a number that no other thread reaches before it."""
    limits: Limits = {"all": [("minutely", 10_000)]}
    with redis_server(tmp_path) as server, devices(tmp_path, 1, port=server.port, limits=limits) as fleet:
        (device,) = fleet
        server.wait_until_stored(KEY)
        device.start().wait_for_line("ready")
        device.make(1)
        device.stop()
        between = 0
        for number in range(1, 200):
            how = [f"--trace={call}", f"--inject={call}:signal=SIGKILL:when={number}", "-o", str(tmp_path / "trace")]
            device.start("strace", "-f", *how)
            device.send("wait")
            device.send("make", decisions)
            device.send("stop")
            code = device.wait()
            assert code in (0, -signal.SIGKILL)
            books = audit(server.client, [device.spool], {"all": []}, prefix=PREFIX)
            between += bool(books.differences)
            # The next start settles it.
            with FleetDevice(device.folder, server.server, SystemClock()) as again:
                again.recover()
            audited(server, fleet, limits)
            nothing_is_lost(device)
            if code == 0:
                break
        sys.stdout.write(f"\n{call}: {number} runs, the books differed after {between}\n")
        assert code == 0, "every step was reached"
        assert number > 5
        # Before the request is sent nothing is charged; and what is written, though not flushed, survives a kill.
        assert (between > 0) == (call in ("recvfrom", "pwrite64"))
