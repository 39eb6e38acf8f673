"""Fetches policies outside the refreshing thread: of several sources at once for a start, or of one for a command."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from framesift.clock.clock import Clock
from framesift.config.errors import ConfigError
from framesift.policy.policy_settings import PolicySettings
from framesift.policy.source_state import SourceState, current_policy_from
from framesift.policy.sources import SourceContext, create_source
from framesift.policy.types import CurrentPolicy, PolicyUnavailable, SourceAnswer

_MAX_THREADS = 8
_GRACE_S = 0.5


def fetch_all(
    sources: Sequence[SourceState], clock: Clock, within_s: float
) -> dict[SourceState, SourceAnswer | PolicyUnavailable | ConfigError]:
    """The answers that arrive within the time, by source. A source that does not answer is missing.

    Raises what a source raised unexpectedly. Threads that are late are left behind: a name lookup can't be stopped.
    """
    waiting = iter(sources)  # of a list: threads may share it
    found: dict[SourceState, SourceAnswer | PolicyUnavailable | ConfigError] = {}
    bugs: list[BaseException] = []
    all_done = threading.Event()
    until_s = clock.monotonic() + within_s

    def fetch() -> None:
        try:
            for state in waiting:
                left_s = until_s - clock.monotonic()
                if left_s > 0:
                    found[state] = state.fetch(left_s)
        except BaseException as error:  # noqa: BLE001  # raised below, in the thread that started this one
            bugs.append(error)
        if len(found) == len(sources) or bugs:
            all_done.set()

    for number in range(min(_MAX_THREADS, len(sources))):
        threading.Thread(target=fetch, name=f"policy-{number}", daemon=True).start()
    while sources and not all_done.is_set() and clock.monotonic() < until_s + _GRACE_S:
        clock.wait(all_done, until_s + _GRACE_S - clock.monotonic())
    if bugs:
        raise bugs[0]
    return dict(found)


def fetch_once(settings: PolicySettings, context: SourceContext, *, within_s: float) -> CurrentPolicy:
    """The policy of one source, fetched now. Raises PolicyUnavailable; ConfigError where the answer is no policy."""
    source = create_source(settings, context)
    answer = source.fetch(within_s)
    return current_policy_from(source, answer, None if isinstance(settings, Path) else context.clock.now().wall_s)
