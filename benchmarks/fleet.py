"""What a fleet's limits cost its server: many devices, only their decisions, and the reference's way beside them.

    .venv/bin/python benchmarks/fleet.py [--devices 2000] [--charges 6] [--processes 4] [--turns 3]

A few processes play all devices, one decision after the other each, on one real server. Every device asks in its own
name for quota of three strategies, each of which has a limit per minute, hour and day; every decision is one round
trip. By turns with them the same processes decide as the reference does: a lock that all share, polled every 100 ms,
and twelve round trips for a datapoint that is accepted. Whatever was granted is compared with the server's counters and
with the limits. Memory is the server's `used_memory`, with nobody connected but the one who asks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import LockError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from framesift.clock.clock import SystemClock
from framesift.limits import Limit, Quota, QuotaGranted, Window
from framesift.limits.shared.connection import LedgerConnection
from framesift.limits.shared.requests import UTC_CALENDAR, ChargeRequest, LedgerProtocol, LedgerRefused, LedgerRequest
from framesift.limits.shared.server import RedisAddress
from rigs.redis_server import RedisServer, hash_of, redis_server

KEY = "framesift:{gates}"
STRATEGIES = ("hard", "rare", "rest")
REFERENCE_S = 4.0  # how long each turn of the reference lasts
LATE = 100  # pending quota in one request of a device that was away


@dataclass(frozen=True, slots=True)
class Turn:
    """What one process did. took_s: of each decision. granted: by strategy. failed: the lock was not to be had."""

    took_s: list[float]
    granted: dict[str, int]
    refused: int
    failed: int
    wall_s: float


def main() -> None:
    """Let the devices decide, by turns with the reference's way, and print what both cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--charges", type=int, default=6, help="each device's, in all turns together, at most")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        _work(json.loads(given.work))
        return
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        server.wait_until_stored(KEY)
        _show(given, server)


def _show(given: argparse.Namespace, server: RedisServer) -> None:
    limits = _limits(given.devices * given.charges)
    before = server.client.info("memory")["used_memory"]
    ours: list[list[Turn]] = []
    reference: list[list[Turn]] = []
    commands = 0
    each = given.devices // given.processes
    for turn in range(given.turns):
        rounds = range(turn * given.charges // given.turns, (turn + 1) * given.charges // given.turns)
        shares = [[n * each, (n + 1) * each] for n in range(given.processes)]
        ours.append(
            _together(
                server, [{"port": server.port, "devices": own, "rounds": [*rounds], "limits": limits} for own in shares]
            )
        )
        commands += server.client.info("commandstats")["cmdstat_evalsha"]["calls"]
        reference.append(_together(server, [{"port": server.port, "reference_s": REFERENCE_S}] * given.processes))
    server.client.delete(*server.client.scan_iter("active_learning:*"))
    memory = server.client.info("memory")["used_memory"] - before
    counters = _counters(server.client)
    turns = [one for together in ours for one in together]
    granted = sum((Counter(turn.granted) for turn in turns), Counter[str]())
    decisions = sum(len(turn.took_s) for turn in turns)

    strategies = f"{len(STRATEGIES)} strategies with three limits each"
    print(f"{each * given.processes} devices, {strategies}, {given.processes} processes, {given.turns} turns")
    _line("one script", ours)
    _line("the reference's way", reference)
    ratio = _rate(ours) / _rate(reference)
    worst = _at(reference, 0.99) / _at(ours, 0.99)
    print(f"ratio: {ratio:.0f} times the decisions; its p99 is {worst:.0f} times ours")
    print(f"round trips: {commands / decisions:.3f} a decision (EVALSHA, counted on the server)")
    charges = sum(granted.values())
    shared = each * given.processes * len(STRATEGIES)
    print(f"memory: {memory} bytes for {charges} charges: {memory / shared:.0f} for each device and strategy")
    print(f"        {memory / charges:.0f} for each charge, which are kept for four days")
    exceeded = [one for one, count in counters.items() if count > dict(limits[one[1]])[one[0]]]
    days = Counter({account: count for (kind, account, _), count in counters.items() if kind == "daily"})
    refused = sum(turn.refused for turn in turns)
    print(f"granted: {dict(granted)}, refused {refused}; limits exceeded: {len(exceeded)}")
    print(f"what devices were granted is what the server counts: {granted == days}")
    print(f"{LATE} pending requests in one call hold the server for {_late(server, limits):.1f} ms")


def _limits(most: int) -> dict[str, list[tuple[str, int]]]:
    """Less than what is asked for."""
    return {
        "hard": [("minutely", most // 16), ("hourly", most // 8), ("daily", most // 4)],
        "rare": [("minutely", most // 8), ("hourly", most // 6), ("daily", most // 4)],
        "rest": [("minutely", most * 5 // 8), ("hourly", most * 5 // 8), ("daily", most * 5 // 8)],
    }


def _counters(client: redis.Redis) -> dict[tuple[str, str, str], int]:
    """Of all windows: kind, account, and when it begins."""
    kinds = ("minutely", "hourly", "daily")
    found: dict[tuple[str, str, str], int] = {}
    for key in client.scan_iter(f"{KEY}:day:*"):
        for name, count in hash_of(client, key).items():
            number, start, account = name.split("|", 2)
            found[kinds[int(number) - 1], account, start] = int(count)
    return found


def _line(way: str, side: list[list[Turn]]) -> None:
    turns = [one for together in side for one in together]
    middle_s, p99_s, worst_s = _at(side, 0.5), _at(side, 0.99), max(max(turn.took_s) for turn in turns)
    failed = sum(turn.failed for turn in turns)
    print(
        f"{way}: {sum(len(turn.took_s) for turn in turns)} decisions, {_rate(side):.0f}/s, median"
        f" {1000 * middle_s:.2f} ms, p99 {1000 * p99_s:.2f} ms ({p99_s / middle_s:.1f} x), worst {1000 * worst_s:.1f}"
        f" ms{f', {failed} got no lock' if failed else ''}"
    )


def _rate(side: list[list[Turn]]) -> float:
    """Decisions per second of all processes together."""
    return statistics.mean(sum(len(one.took_s) / one.wall_s for one in together) for together in side)


def _at(side: list[list[Turn]], share: float) -> float:
    took_s = [took_s for together in side for one in together for took_s in one.took_s]
    return statistics.quantiles(took_s, n=1000, method="inclusive")[round(share * 1000) - 1]


def _late(server: RedisServer, limits: dict[str, list[tuple[str, int]]]) -> float:
    """Milliseconds of the server for what a device asks that was away, at the median."""
    clock = SystemClock()
    link = LedgerConnection(server.server, 5.0)
    link.connect()
    language = LedgerProtocol("away", "", UTC_CALENDAR, 60.0)
    took_ms: list[float] = []
    for turn in range(9):
        now = clock.now()
        wanted = [ChargeRequest(f"late-{turn}-{n}", tuple(_quotas(limits, 0)), now) for n in range(LATE)]
        server.client.config_resetstat()
        link.run_script(KEY, _request(language, LedgerRequest(charge=wanted), clock), 5.0)
        took_ms.append(server.client.info("commandstats")["cmdstat_evalsha"]["usec"] / 1000)
    link.close()
    return statistics.median(took_ms)


def _together(server: RedisServer, works: list[dict[str, Any]]) -> list[Turn]:
    """What all did, who began at the same moment; the server counts from there."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", json.dumps(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for work in works
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    server.client.config_resetstat()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [Turn(**json.loads(process.communicate(timeout=600)[0])) for process in processes]


# -- one process


def _work(work: dict[str, Any]) -> None:
    decide = _reference(work) if "reference_s" in work else _ours(work)
    print("ready", flush=True)
    sys.stdin.readline()
    took_s: list[float] = []
    became: Counter[str] = Counter()
    began_s = time.perf_counter()
    for one in decide:
        started_s = time.perf_counter()
        became[one()] += 1
        took_s.append(time.perf_counter() - started_s)
    wall_s = time.perf_counter() - began_s
    granted = {name: became[name] for name in STRATEGIES}
    print(
        json.dumps(
            {
                "took_s": took_s,
                "granted": granted,
                "refused": became["refused"],
                "failed": became["failed"],
                "wall_s": wall_s,
            }
        )
    )


def _ours(work: dict[str, Any]) -> Iterator[Callable[[], str]]:
    """Each device once in every round, with the strategies in another order."""
    clock = SystemClock()
    link = LedgerConnection(RedisAddress("127.0.0.1", work["port"]), 5.0)
    link.connect()
    link.run_script(KEY, _request(LedgerProtocol("first", "", UTC_CALENDAR, 60.0), LedgerRequest(), clock), 5.0)
    languages = [LedgerProtocol(f"{number:032x}", "", UTC_CALENDAR, 60.0) for number in range(*work["devices"])]

    def decide(language: LedgerProtocol, turn: int, quotas: tuple[Quota, ...]) -> str:
        wanted = ChargeRequest(f"{turn:08x}{language.device[-24:]}", quotas, clock.now())
        asked = LedgerRequest(charge=[wanted])
        decision = language.decode(link.run_script(KEY, _request(language, asked, clock), 5.0), asked).decisions[0]
        if isinstance(decision, QuotaGranted):
            return decision.strategy
        assert isinstance(decision, LedgerRefused), decision
        return "refused"

    def every() -> Iterator[Callable[[], str]]:
        for turn in work["rounds"]:
            quotas = tuple(_quotas(work["limits"], turn))
            for language in languages:
                yield partial(decide, language, turn, quotas)

    return every()


def _quotas(limits: dict[str, list[tuple[str, int]]], turn: int) -> list[Quota]:
    names = [STRATEGIES[(turn + n) % len(STRATEGIES)] for n in range(len(STRATEGIES))]
    return [
        Quota(name, tuple(Limit(Window(kind), value) for kind, value in limits[name]), "batch", project="gates")
        for name in names
    ]


def _request(language: LedgerProtocol, asked: LedgerRequest, clock: SystemClock) -> bytes:
    now = clock.now()
    return language.encode(asked, generation="long-known", new_generation="new", now=now, now_s=now.wall_s)


def _reference(work: dict[str, Any]) -> Iterator[Callable[[], str]]:
    """Lock, extension, three looks, three times read and write, release: twelve round trips."""
    client = redis.Redis(port=work["port"])
    client.ping()
    prefix = "active_learning:usage:shop:gates"

    def decide() -> str:
        now = datetime.now(timezone.utc)
        windows = [
            (f"{prefix}:hard:minute_{now.minute}", 120),
            (f"{prefix}:hard:hour_{now.hour}", 7200),
            (f"{prefix}:hard:day_{now:%Y_%m_%d}", 90_000),
        ]
        lock = client.lock(f"{prefix}:usage:lock", timeout=5, sleep=0.1, blocking_timeout=5)
        if not lock.acquire():
            return "failed"
        try:
            lock.extend(5)
            for key, _ in windows:
                client.get(key)
            for key, kept_s in windows:
                value = client.get(key)
                usage = json.loads(value)["usage"] if value else 0
                client.set(key, json.dumps({"usage": usage + 1}), ex=kept_s)
        finally:
            try:
                lock.release()
            except LockError:
                return "failed"
        return "hard"

    def every() -> Iterator[Callable[[], str]]:
        end_s = time.monotonic() + work["reference_s"]
        while time.monotonic() < end_s:
            yield decide

    return every()


if __name__ == "__main__":
    main()
