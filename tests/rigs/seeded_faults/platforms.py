"""Faults of the platform and of the way to it, seeded under a running daemon."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rigs.certificates import Authority
from rigs.clocked_daemon import CLOCKED, set_wall
from rigs.daemon import POLICY, Daemon
from rigs.fault_proxy import fault_proxy
from rigs.platform import KEY, Fault, Html, Platform, Status
from rigs.platform.faults import Action, Delay
from rigs.seeded_faults.situation import Scenario, Situation, situation

_PROJECT = "parking"
_KEY = {"ROBOFLOW_API_KEY": KEY}


@contextmanager
def _delivering(
    folder: Path, seed: Callable[[Platform, Daemon], object], mend: Callable[[Platform, Daemon], object], **more: Any
) -> Iterator[Situation]:
    with Platform() as platform:
        platform.add_project(_PROJECT, "object-detection", active_learning=POLICY)
        with situation(
            folder,
            lambda daemon: seed(platform, daemon),
            lambda daemon: mend(platform, daemon),
            variables=_KEY,
            **{**platform.settings(_PROJECT), **more},
        ) as made:
            yield made


def answering(action: Action) -> Scenario:
    """Everything is answered so, instead of as it should be."""

    def scenario(folder: Path) -> AbstractContextManager[Situation]:
        return _delivering(
            folder,
            lambda platform, _: platform.orders.add(Fault("any", action, times=None)),
            lambda platform, _: platform.orders.clear(),
        )

    return scenario


captive_portal = answering(Html())
platform_hanging = answering(Delay(math.inf))


def platform_down(folder: Path) -> AbstractContextManager[Situation]:
    return _delivering(folder, lambda platform, _: platform.go_away(), lambda platform, _: platform.come_back())


def _after_a_reload(
    folder: Path, seed: Callable[[Platform], object], mend: Callable[[Platform], object]
) -> AbstractContextManager[Situation]:
    """What a person mends at the platform. Without the reload it is noticed within five minutes."""

    def mend_and_reload(platform: Platform, daemon: Daemon) -> None:
        mend(platform)
        daemon.process.send_signal(signal.SIGHUP)

    return _delivering(folder, lambda platform, _: seed(platform), mend_and_reload)


def key_revoked(folder: Path) -> AbstractContextManager[Situation]:
    return _after_a_reload(folder, lambda platform: platform.revoke_key(), lambda platform: platform.restore_key())


def payment_required(folder: Path) -> AbstractContextManager[Situation]:
    unpaid = Fault("any", Status(402), times=None)
    return _after_a_reload(
        folder, lambda platform: platform.orders.add(unpaid), lambda platform: platform.orders.clear()
    )


@contextmanager
def _over_tls(folder: Path, seed: Callable[[Authority, Any], None], **more: Any) -> Iterator[Situation]:
    """The platform behind TLS. seed: gives the proxy before it another certificate."""
    with ExitStack() as open_:
        platform = open_.enter_context(Platform())
        platform.add_project(_PROJECT, "object-detection", active_learning=POLICY)
        authority = Authority(folder)
        good = authority.issue("good")
        proxy = open_.enter_context(fault_proxy(platform.port, good))

        def seed_now(_: Daemon) -> None:
            seed(authority, proxy)
            proxy.cut()

        def mend(_: Daemon) -> None:
            proxy.use_certificate(good)
            proxy.cut()

        settings = platform.settings(_PROJECT)
        settings["roboflow"]["api_url"] = f"https://127.0.0.1:{proxy.port}"
        settings["network"] = {"ca_file": "authority.pem"}
        yield open_.enter_context(situation(folder, seed_now, mend, variables=_KEY, **{**settings, **more}))


def tls_self_signed(folder: Path) -> AbstractContextManager[Situation]:
    return _over_tls(folder, lambda authority, proxy: proxy.use_certificate(authority.self_signed("stranger")))


def tls_expired(folder: Path) -> AbstractContextManager[Situation]:
    return _over_tls(folder, lambda authority, proxy: proxy.use_certificate(authority.issue("old", "2019", "2020")))


_FIFTY_YEARS_S = 50 * 365.25 * 86_400.0


@contextmanager
def clock_unset(folder: Path) -> Iterator[Situation]:
    """The wall clock is set back to where machines without a battery begin. To a verifier whose clock says 1970 each
    certificate is one that is not valid yet: the proxy hands out one of the far future."""
    with ExitStack() as open_:
        made = open_.enter_context(_over_tls(folder, lambda _authority, _proxy: None, command=CLOCKED))
        yield Situation(
            made.folder,
            made.port,
            made.daemon,
            seed=lambda: set_wall(made.daemon, -_FIFTY_YEARS_S),
            mend=lambda: set_wall(made.daemon, _FIFTY_YEARS_S),
        )


def policy_garbage_at_platform(folder: Path) -> AbstractContextManager[Situation]:
    def say(platform: Platform, daemon: Daemon, policy: Any) -> None:
        platform.add_project(_PROJECT, "object-detection", active_learning=policy)
        daemon.process.send_signal(signal.SIGHUP)  # else it asks every 15 minutes

    return _delivering(
        folder,
        lambda platform, daemon: say(platform, daemon, {"enabled": True, "sampling_strategies": "all of them"}),
        lambda platform, daemon: say(platform, daemon, POLICY),
        policy={"from": "roboflow", "project": _PROJECT},
    )
