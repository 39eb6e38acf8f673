"""Audit of a fleet: compares the charges in a ledger with the spools of all devices, and names every difference.

    counters == records of charges == rows of the spools with a shared charge        per project, account and window

Run it once all devices have settled. It reads keys and files itself, and uses nothing of the package but their format.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from urllib.parse import unquote

import redis

from framesift.limits import Limit, Window, window_start
from framesift.limits.shared.requests import MAX_PENDING_S
from rigs.redis_server import hash_of

_KINDS = (Window.MINUTELY, Window.HOURLY, Window.DAILY)
Start = Callable[[Window, float], int]


def _utc(kind: Window, at_s: float) -> int:
    return window_start(kind, at_s, timezone.utc)


@dataclass(frozen=True, slots=True)
class Opening:
    """One window of one account. start_s: Unix time at which it opens."""

    project: str
    account: str
    kind: Window
    start_s: int


@dataclass(frozen=True, slots=True)
class Charge:
    """The charge of one datapoint, as one side has it. windows: where the minute, the hour and the day begin."""

    project: str
    account: str
    batch: str
    at_s: float
    windows: tuple[int, int, int]

    def openings(self) -> list[Opening]:
        return [Opening(self.project, self.account, *one) for one in zip(_KINDS, self.windows, strict=True)]


@dataclass(frozen=True, slots=True)
class Audit:
    """charged: how many charges were compared. most: the fullest window of each account and kind."""

    differences: tuple[str, ...]
    charged: int
    used: Mapping[Opening, int]

    def most(self, account: str, kind: Window) -> int:
        return max((n for one, n in self.used.items() if (one.account, one.kind) == (account, kind)), default=0)


def audit(
    client: redis.Redis,
    spools: Sequence[Path],
    limits: Mapping[str, Sequence[Limit]],
    *,
    batches: Mapping[str, int] | None = None,
    prefix: str = "framesift",
    start: Start = _utc,
) -> Audit:
    """spools: the files of all devices that ever charged. limits: of each account, of all that may be charged. batches:
    how many datapoints each may hold that is bounded, and about which no platform was asked."""
    seconds, microseconds = client.time()
    # What is older may be pruned on either side.
    since_s = seconds + microseconds / 1e6 - MAX_PENDING_S + 3600.0
    found: list[str] = []
    here, devices = _of_spools(spools, since_s, start, found)
    there = _held(client, prefix, since_s, start, found)
    for device in sorted({device for device, _ in there} - set(devices)):
        found.append(f"the ledger knows a device {device} that none of the spools is")
    for key in sorted(here.keys() | there.keys()):
        if key not in there:
            found.append(f"{key[1]} of {devices[key[0]]} holds a charge, {here[key]}, that the ledger doesn't know")
        elif key not in here:
            found.append(f"{key[1]} of {devices.get(key[0], key[0])} is charged, {there[key]}, and not in its spool")
        elif here[key] != there[key]:
            found.append(f"{key[1]} of {devices[key[0]]}: {here[key]} in the spool, {there[key]} in the ledger")
    used = _counters(client, prefix, since_s)
    counted = Counter(opening for charge in there.values() for opening in charge.openings())
    for opening in sorted(used.keys() | counted.keys(), key=str):
        if used.get(opening, 0) != counted[opening]:
            found.append(f"{opening}: the counter says {used.get(opening, 0)}, {counted[opening]} are written down")
    for opening, count in used.items():
        for limit in limits.get(opening.account, ()):
            if limit.window is opening.kind and count > limit.value:
                found.append(f"{opening}: {count} are charged, the limit is {limit.value}")
        if opening.account not in limits:
            found.append(f"{opening}: nobody has that account")
    for batch, most in (batches or {}).items():
        found += _of_batch(client, prefix, batch, most, spools)
    return Audit(tuple(found), len(there), used)


def _of_batch(client: redis.Redis, prefix: str, batch: str, most: int, spools: Sequence[Path]) -> list[str]:
    """What is wrong with a batch."""
    here: Counter[str] = Counter()
    for path in spools:
        with closing(sqlite3.connect(path)) as file:
            (device,) = file.execute("SELECT id FROM identity").fetchone()
            for table, what in (("charge", "count(*)"), ("batch_past", "coalesce(sum(images), 0)")):
                here[device] += file.execute(f"SELECT {what} FROM {table} WHERE batch = ?", (batch,)).fetchone()[0]
    found = []
    for key in client.scan_iter(f"{prefix}:{{*}}:batch:{batch}", count=1000):
        batch_hash = hash_of(client, key)
        there = Counter({name[2:]: int(count) for name, count in batch_hash.items() if name.startswith("c:")})
        if +there != +here:
            found.append(f"{key}: the devices hold {dict(+here)}, the ledger says {dict(+there)}")
        if int(batch_hash["charged"]) != sum(there.values()):
            found.append(f"{key}: {batch_hash['charged']} are charged, by its devices {sum(there.values())}")
        if int(batch_hash["charged"]) > most:
            found.append(f"{key}: {batch_hash['charged']} are charged, it may hold {most}")
    return found


def _of_spools(
    spools: Sequence[Path], since_s: float, start: Start, found: list[str]
) -> tuple[dict[tuple[str, str], Charge], dict[str, str]]:
    """The charges by device and id, and the path of each device's spool."""
    charges: dict[tuple[str, str], Charge] = {}
    devices: dict[str, str] = {}
    for path in spools:
        with closing(sqlite3.connect(path)) as file:
            (device,) = file.execute("SELECT id FROM identity").fetchone()
            devices[device] = str(path)
            rows = file.execute("SELECT id, project, account, batch, shared_at_s, granted_by FROM charge").fetchall()
            for id, project, account, batch, at_s, granted_by in rows:
                if granted_by != "shared" or at_s is None:
                    found.append(f"{id} of {path} holds a charge of {granted_by}, dated {at_s}")
                    continue
                minute, hour, day = (start(kind, at_s) for kind in _KINDS)
                if day >= since_s:
                    charges[device, id] = Charge(project, account, batch, at_s, (minute, hour, day))
            without = "SELECT id FROM {} WHERE id NOT IN (SELECT id FROM {})"
            found += [f"{id} of {path} has no charge" for (id,) in file.execute(without.format("datapoint", "charge"))]
            found += [f"{id} of {path} still waits for its quota" for (id,) in file.execute("SELECT id FROM late")]
    return charges, devices


def _held(
    client: redis.Redis, prefix: str, since_s: float, start: Start, found: list[str]
) -> dict[tuple[str, str], Charge]:
    held: dict[tuple[str, str], Charge] = {}
    for key, project, words in _keys(client, prefix, "held"):
        day, device = int(words[0]), words[1]
        if client.ttl(key) < 0:
            found.append(f"{key} is kept for ever")
        for id, written in hash_of(client, key).items():
            account, batch, at_s, minute, hour = json.loads(written)
            charge = Charge(project, account, batch, at_s, (minute, hour, day))
            if charge.windows != tuple(start(kind, at_s) for kind in _KINDS):
                found.append(f"{id} in {key}: {charge} is in windows that it doesn't belong to")
            if (device, id) in held:
                found.append(f"{id} of {device} is charged on two days: {held[device, id]} and {charge}")
            if day >= since_s:
                held[device, id] = charge
    return held


def _counters(client: redis.Redis, prefix: str, since_s: float) -> dict[Opening, int]:
    used: dict[Opening, int] = {}
    for key, project, words in _keys(client, prefix, "day"):
        if int(words[0]) < since_s:
            continue
        for name, count in hash_of(client, key).items():
            number, start_s, account = name.split("|", 2)
            used[Opening(project, account, _KINDS[int(number) - 1], int(start_s))] = int(count)
    return used


def _keys(client: redis.Redis, prefix: str, what: str) -> list[tuple[str, str, list[str]]]:
    """Every key of a kind, with its project and the words after the kind."""
    keys = []
    for key in client.scan_iter(f"{prefix}:{{*}}:{what}:*", count=1000):
        project, _, rest = key.removeprefix(prefix + ":{").partition("}:")
        keys.append((key, unquote(project), rest.split(":")[1:]))
    return keys
