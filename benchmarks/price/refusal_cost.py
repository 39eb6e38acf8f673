"""(e): a frame that the limits refuse: known to be exhausted (a cache), or found out by a query."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from framesift.clock.clock import SystemClock
from framesift.clock.moment import Moment
from framesift.limits import Limit, Quota, QuotaRefused, Window
from framesift.limits.local import LocalLimits
from framesift.spool import Spool, WhenFull
from price.figures import Benchmark, Figure
from price.measuring import cost_of_call, in_turn
from rigs import spools

_CALLS = 1000
_USED = 5


def _refuse(spool: Spool, quotas: list[Quota], captured: Moment) -> None:
    assert isinstance(spool.check_quota(quotas, captured), QuotaRefused)


def _refuse_anew(limits: LocalLimits, refuse: Callable[[], None]) -> None:
    limits.clear_cache()
    refuse()


def _refusals(runs: int) -> Iterator[Figure]:
    clock, limits = SystemClock(), LocalLimits()
    windows = (Limit(Window.MINUTELY, 1000), Limit(Window.HOURLY, 1000), Limit(Window.DAILY, _USED))
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(
            Path(folder) / "spool.db",
            max_bytes=2**28,
            min_free_bytes=0,
            when_full=WhenFull.REFUSE,
            clock=clock,
            limits=limits,
        )
        spool.open()
        for strategies in (1, 10):
            quotas = [Quota(f"strategy {n}", windows, spools.BATCH, 10_000) for n in range(strategies)]
            for quota in quotas:
                for _ in range(_USED):
                    spools.put(spool, clock, [quota])
            known = partial(_refuse, spool, quotas, clock.now())
            asked = partial(_refuse_anew, limits, known)
            costs = in_turn(
                5 * runs, known=partial(cost_of_call, known, _CALLS), asked=partial(cost_of_call, asked, _CALLS // 10)
            )
            us = {name: 1e6 * cost.processor_s for name, cost in costs.items()}
            few = strategies == 1
            what = f"refused for {strategies} {'strategy' if few else 'strategies'}"
            yield Figure(f"{what}, known", us["known"], "us", 5.0 if few else None)
            yield Figure(f"{what}, by a query", us["asked"], "us", 100.0 if few else None)
        spool.close()


BENCHMARKS = (Benchmark("e", "refusals by limit", _refusals),)
