"""What may go wrong in a soak: the kinds of faults, each with the part that it hits, and how it is mended."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rigs.daemon import children
from rigs.platform import Cut, Delay, Fault, Html, Platform, Status
from rigs.platform.faults import Action, BadJson
from rigs.soak.site import Site, policy_text

Mend = Callable[[], object]
Begin = Callable[[Site, random.Random], Mend]


@dataclass(frozen=True)
class FaultKind:
    """name: in the journal. part: what it hits; of a part one kind happens at a time. lasts_s: at least and at most.
    begin: begins it, and returns what ends it. ends_daemon: whether the process ends by it."""

    name: str
    part: str
    lasts_s: tuple[float, float]
    begin: Begin
    ends_daemon: bool = False


def _nothing() -> None:
    pass


def _pid(site: Site) -> int:
    assert site.daemon is not None
    return site.daemon.process.pid


# -- cameras


def _camera_away(site: Site, chance: random.Random) -> Mend:
    wires = chance.sample(site.wires, 3)
    for wire in wires:
        wire.unplug()

    def mend() -> None:
        for wire in wires:
            wire.plug()

    return mend


def _camera_stalls(site: Site, chance: random.Random) -> Mend:
    wire = chance.choice(site.wires)
    wire.stall()
    return wire.resume


def _camera_reboots(site: Site, chance: random.Random) -> Mend:
    house = chance.choice(site.houses)
    house.server.stop()
    return house.reboot_with_another_size


def _packets_damaged(site: Site, chance: random.Random) -> Mend:
    for faults in chance.sample(site.faults, 3):
        faults.lose(3)
        faults.corrupt(3)
    return _nothing


def _decoder_killed(site: Site, chance: random.Random) -> Mend:
    # The processes that decode are children of the one that was loaded once for all.
    readers = [reader for template in children(_pid(site)) for reader in children(template)]
    for reader in chance.sample(readers, min(2, len(readers))):
        os.kill(reader, signal.SIGKILL)
    return _nothing


# -- the shared ledger


def _redis_away(site: Site, _: random.Random) -> Mend:
    site.redis.stop()
    return site.redis.start


def _redis_emptied(site: Site, _: random.Random) -> Mend:
    """It is away, and comes back without what it knew."""
    site.redis.stop()

    def mend() -> None:
        site.redis.start()
        site.redis.client.flushall()

    return mend


def _redis_frozen(site: Site, _: random.Random) -> Mend:
    site.redis.freeze()
    return site.redis.thaw


def _answers_lost(site: Site, chance: random.Random) -> Mend:
    site.ledger_wire.mode = chance.choice(("swallow", "half", "cut"))

    def mend() -> None:
        site.ledger_wire.mode = "pass"

    return mend


# -- the platform


def _answering(*actions: Action, share: float) -> Begin:
    def begin(site: Site, _: random.Random) -> Mend:
        orders = site.platform.orders
        each = share / len(actions)
        left = 1.0
        for action in actions:  # the first that fits is applied: each gets the same part of all requests
            orders.add(Fault("any", action, times=None, share=each / left))
            left -= each
        return orders.clear

    return begin


def _of_platform(begin: Callable[[Platform], None], mend: Callable[[Platform], None]) -> Begin:
    def begin_now(site: Site, _: random.Random) -> Mend:
        begin(site.platform)
        return lambda: mend(site.platform)

    return begin_now


def _key_revoked(site: Site, _: random.Random) -> Mend:
    site.platform.revoke_key()

    def mend() -> None:  # by a person, who reloads
        site.platform.restore_key()
        os.kill(_pid(site), signal.SIGHUP)

    return mend


# -- the machine and the process


def _limited(limit: int, value: Callable[[int], int]) -> Begin:
    def begin(site: Site, _: random.Random) -> Mend:
        pid = _pid(site)
        before = resource.prlimit(pid, limit)
        resource.prlimit(pid, limit, (value(pid), before[1]))
        return lambda: resource.prlimit(pid, limit, before)

    return begin


def _held_up(site: Site, _: random.Random) -> Mend:
    pid = _pid(site)
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _killed(site: Site, _: random.Random) -> Mend:
    assert site.daemon is not None
    site.daemon.kill()
    return _nothing  # the soak starts it again


def _terminated(site: Site, _: random.Random) -> Mend:
    assert site.daemon is not None
    site.daemon.stop(30.0)
    return _nothing


# -- people


def _reload(site: Site, chance: random.Random) -> Mend:
    site.write_policy(policy_text(f"mark-{chance.randrange(1000)}"))
    os.kill(_pid(site), signal.SIGHUP)
    return _nothing


def _reload_garbage(site: Site, _: random.Random) -> Mend:
    site.write_policy('{"enabled": true, "sampling_strategies": [')
    os.kill(_pid(site), signal.SIGHUP)

    def mend() -> None:
        site.write_policy(policy_text("mended"))
        os.kill(_pid(site), signal.SIGHUP)

    return mend


def _garbage_from_clients(site: Site, chance: random.Random) -> Mend:
    site.clients.send_garbage(chance)
    return _nothing


KINDS = (
    FaultKind("camera away", "cameras", (20.0, 120.0), _camera_away),
    FaultKind("camera stalls", "cameras", (3.0, 60.0), _camera_stalls),
    FaultKind("camera reboots with another size", "cameras", (5.0, 60.0), _camera_reboots),
    FaultKind("packets damaged", "decoders", (1.0, 1.0), _packets_damaged),
    FaultKind("decoder killed", "decoders", (1.0, 1.0), _decoder_killed),
    FaultKind("Redis away", "ledger", (10.0, 120.0), _redis_away),
    FaultKind("Redis back empty", "ledger", (5.0, 30.0), _redis_emptied),
    FaultKind("Redis frozen", "ledger", (2.0, 60.0), _redis_frozen),
    FaultKind("Redis' answers lost", "ledger", (5.0, 60.0), _answers_lost),
    FaultKind("platform away", "platform", (30.0, 240.0),
              _of_platform(lambda platform: platform.go_away(), lambda platform: platform.come_back())),
    FaultKind("platform answers 5xx", "platform", (30.0, 120.0),
              _answering(Status(503), Status(500, stored=True), share=0.8)),
    FaultKind("platform answers 429", "platform", (30.0, 90.0),
              _answering(Status(429, {"Retry-After": "20"}), share=0.7)),
    FaultKind("platform slow", "platform", (30.0, 120.0), _answering(Delay(7.0), share=0.6)),
    FaultKind("platform's answers cut", "platform", (30.0, 120.0),
              _answering(Cut(), Cut(stored=True), Cut(stored=True, sent=0.5), BadJson(), share=0.6)),
    FaultKind("captive portal", "platform", (30.0, 90.0), _answering(Html(), share=1.0)),
    FaultKind("key revoked", "platform", (30.0, 90.0), _key_revoked),
    FaultKind("disk takes nothing", "machine", (5.0, 60.0), _limited(resource.RLIMIT_FSIZE, lambda _: 0)),
    FaultKind("no file descriptor", "machine", (5.0, 60.0), _limited(resource.RLIMIT_NOFILE, _open_files)),
    FaultKind("held up", "machine", (2.0, 8.0), _held_up),
    FaultKind("reload", "people", (1.0, 1.0), _reload),
    FaultKind("reload of garbage", "people", (10.0, 60.0), _reload_garbage),
    FaultKind("garbage from clients", "clients", (1.0, 1.0), _garbage_from_clients),
    FaultKind("kill -9", "process", (0.0, 0.0), _killed, ends_daemon=True),
    FaultKind("SIGTERM and start", "process", (0.0, 0.0), _terminated, ends_daemon=True),
)  # fmt: skip

FAULTS_A_ROUND = 4


@dataclass(frozen=True)
class Planned:
    """A fault of a round. begins_s: after the round's begin. lasts_s: until it is mended."""

    kind: FaultKind
    begins_s: float
    lasts_s: float


def plan_round(chance: random.Random, round_s: float, *, ends_daemon: bool) -> list[Planned]:
    """Four kinds of different parts, all mended when eight tenths of the round are over.

    ends_daemon: one of them does.
    """
    lasting = [kind for kind in KINDS if not kind.ends_daemon]
    parts = chance.sample(sorted({kind.part for kind in lasting}), FAULTS_A_ROUND - ends_daemon)
    kinds = [chance.choice([kind for kind in lasting if kind.part == part]) for part in parts]
    if ends_daemon:
        kinds.append(chance.choice([kind for kind in KINDS if kind.ends_daemon]))
    squeezed = round_s / 600.0  # as long as they are to be in ten minutes
    planned = []
    for kind in kinds:
        lasts_s = chance.uniform(*kind.lasts_s) * squeezed
        planned.append(Planned(kind, chance.uniform(0.02, 0.8 - lasts_s / round_s) * round_s, lasts_s))
    return sorted(planned, key=lambda one: one.begins_s)
