"""Faults of the shared limits, of the policy, of the model, and of other daemons."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rigs.clocked_daemon import CLOCKED
from rigs.daemon import POLICY, Daemon
from rigs.redis_server import RedisServer, redis_server
from rigs.seeded_faults.situation import Situation, situation

_LEDGER = "framesift:{-}"  # of what has no project


def _policy(*, limits: list[dict[str, Any]] | None = None, **strategy: Any) -> dict[str, Any]:
    first = {"name": "all", "type": "random", "traffic_percentage": 1.0, **strategy}
    return {**POLICY, "sampling_strategies": [first | ({} if limits is None else {"limits": limits})]}


# -- shared limits


@contextmanager
def _sharing(
    folder: Path, seed: Callable[[RedisServer], object], mend: Callable[[RedisServer], object]
) -> Iterator[Situation]:
    (folder / "redis").mkdir()
    with redis_server(folder / "redis") as server:
        server.wait_until_stored(_LEDGER)
        with situation(
            folder,
            lambda _: seed(server),
            lambda _: mend(server),
            rules=_policy(limits=[{"type": "daily", "value": 10_000}]),
            limits={"redis": {"url": f"redis://127.0.0.1:{server.port}"}},
        ) as made:
            yield made


def redis_away(folder: Path) -> AbstractContextManager[Situation]:
    def mend(server: RedisServer) -> None:
        server.start()
        server.wait_until_stored(_LEDGER)

    return _sharing(folder, lambda server: server.stop(), mend)


def redis_frozen(folder: Path) -> AbstractContextManager[Situation]:
    return _sharing(folder, lambda server: server.freeze(), lambda server: server.thaw())


def redis_emptied(folder: Path) -> AbstractContextManager[Situation]:
    """Whoever emptied it restores it: else the ledger is a new one, which grants nothing for its first minute."""
    return _sharing(folder, lambda server: server.client.flushall(), lambda server: server.wait_until_stored(_LEDGER))


# -- policy


@contextmanager
def _reloading(folder: Path, bad: str) -> Iterator[Situation]:
    def write(daemon: Daemon, text: str) -> None:
        (folder / "policy.json").write_text(text)
        daemon.process.send_signal(signal.SIGHUP)

    with situation(folder, lambda daemon: write(daemon, bad), lambda daemon: write(daemon, json.dumps(POLICY))) as made:
        yield made


def misspelt_class(folder: Path) -> AbstractContextManager[Situation]:
    rule = {"type": "detections_number_based", "probability": 1.0, "more_than": 0,
            "selected_class_names": ["persn"]}  # fmt: skip
    bad = _policy()
    bad["sampling_strategies"] = [{"name": "people", **rule}]
    return _reloading(folder, json.dumps(bad))


def policy_garbage(folder: Path) -> AbstractContextManager[Situation]:
    return _reloading(folder, '{"enabled": true, "sampling_strategies": [')


# -- model


@contextmanager
def _while_there_is(folder: Path, name: str, **how: Any) -> Iterator[Situation]:
    """The model does something else as long as a file of that name is beside it."""
    file = folder / name
    with situation(folder, lambda _: file.touch(), lambda _: file.unlink(), **how) as made:
        yield made


def model_raises(folder: Path) -> AbstractContextManager[Situation]:
    return _while_there_is(folder, "raises")


def model_hangs(folder: Path) -> AbstractContextManager[Situation]:
    return _while_there_is(folder, "hangs", command=CLOCKED)


# -- limits


@contextmanager
def limits_exhausted(folder: Path) -> Iterator[Situation]:
    """The first minutes of a day use all of its quota, until somebody allows more."""

    def write(daemon: Daemon, value: int) -> None:
        (folder / "policy.json").write_text(json.dumps(_policy(limits=[{"type": "daily", "value": value}])))
        daemon.process.send_signal(signal.SIGHUP)

    with situation(folder, lambda daemon: write(daemon, 1), lambda daemon: write(daemon, 10_000)) as made:
        yield made
