"""Policies: one for all streams, or some streams' own; the last good one of each source holds until a better one comes.

    begin   files are read, strictly; the others are asked at once, all at the same time; who does not answer in time
            is stood in for by what it said before, from disk, or by nobody: the stream waits
    then    one thread asks again every 15 minutes, sooner after a failure; reload() at once

Models that clients name are met later: the policy of their project is asked for when the first picture comes, and then
is one like the others (see Pairings).

Streams with the same source share it. What is fetched is validated before it replaces the old policy; an unchanged one
is the same object as before. The time zone is that of the whole run: a policy of another one is refused.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from framesift.clock.clock import Clock, MonitoredThread
from framesift.config.errors import ConfigError
from framesift.periodic import NextRun, PeriodicTask
from framesift.policy.cache import (
    CachedPolicy,
    PolicyCacheError,
    load_cached,
    remove_cached,
    remove_oldest,
    scope_name,
    store_cached,
)
from framesift.policy.policy import Policy
from framesift.policy.policy_settings import PolicySettings, RoboflowPolicySettings
from framesift.policy.project_pairs import MAX_PROJECT_PAIRS, ProjectPairs
from framesift.policy.source_state import SourceState, current_policy_from, policy_content
from framesift.policy.sources import DisabledSource, create_pair_source, create_source
from framesift.policy.types import (
    CurrentPolicy,
    NoPolicyReason,
    PolicyEvent,
    PolicyEventKind,
    PolicySource,
    PolicySourceStatus,
    PolicyUnavailable,
    ProjectPair,
    SourceAnswer,
)
from framesift.prediction.prediction import Task

if TYPE_CHECKING:
    from framesift.http_client.client import HttpClient
    from framesift.roboflow import RoboflowClient

REFRESH_EVERY_S = 900.0
_FIRST_RETRY_S = 30.0
# Of one source's answer; shorter than the longest silence that the watchdog allows a loop.
_ASK_WITHIN_S = 30.0
# A kept policy that was confirmed since is written again, so that its date means something, but not every time: flash
# wears.
_KEEP_AGAIN_S = 86_400.0
_AT_ONCE = 8  # sources asked at the same time at the start


class Policies:
    """`of`, `scope_of`, `standings`, `meet` and `pairings` are cheap, and for any thread.

    by_model: whether what a client's model has seen follows the policy of a project. Only the platform has one for
    each; a file, or an address, is one for all.
    """

    def __init__(
        self,
        common: PolicySettings,
        own: Mapping[str, PolicySettings],
        *,
        platform: RoboflowClient | None,
        web: HttpClient,
        folder: Path,
        clock: Clock,
        chance: random.Random,
        enabled: bool,
        task: Task | None,
        on_event: Callable[[PolicyEvent], None],
        on_failure: Callable[[BaseException], None],
        problems_of: Callable[[Policy], Sequence[str]] = lambda _policy: (),
    ) -> None:
        """own: by stream, of those that have their own. folder: where the last good policies are kept. enabled: False
        switches every policy off, and nothing is fetched. task: the local model's. told: hears what happens, from any
        thread, and must not call back. failed: told of a bug that ended the thread.
        refused: why a file's policy is none for this run, nothing where it is one.

        Raises ConfigError where the platform is needed and there is no key.
        """
        self._folder = folder
        self._platform = platform
        self._rounds = PeriodicTask("policies", lambda: NextRun(self.refresh_due()), clock, on_failure=on_failure)
        self._clock = self._rounds.heartbeat
        self._chance = chance
        self._enabled = enabled
        self._told = on_event
        self._refused = problems_of
        self._lock = threading.RLock()  # what is taken is also refused, and told, under it
        self._zone: str | None = None
        self._zone_said_by = ""
        self._begun = False

        def slot(options: PolicySettings, streams: tuple[str, ...] = ()) -> SourceState:
            if not enabled and not isinstance(options, Path):
                source: PolicySource = DisabledSource(options)
            else:
                source = create_source(options, platform=platform, web=web, clock=self._clock, task=task)
            return SourceState(source, scope_name(source) if streams else "", streams)

        self._common = slot(common)
        by_options: dict[PolicySettings, tuple[str, ...]] = {}
        for stream, options in own.items():
            if options != common:
                by_options[options] = (*by_options.get(options, ()), stream)
        self._slots = [self._common, *(slot(options, streams) for options, streams in by_options.items())]
        self._by_stream = {stream: slot for slot in self._slots for stream in slot.streams}
        self._remote = [slot for slot in self._slots if not slot.is_local]
        self.has_project_policies = enabled and isinstance(common, RoboflowPolicySettings)
        self._pairings = ProjectPairs(
            common, self._common, own, self._by_stream, task, self._source_of, on_new=lambda: self._rounds.wake()
        )

    # -- what holds

    @property
    def time_zone(self) -> str:
        """Of the whole run: that of the first policy that collects something, UTC as long as none does."""
        return self._zone or "UTC"

    def current_for(self, subject: str | ProjectPair) -> CurrentPolicy | None:
        """What holds for a stream, or for a pairing that was met; None while there is no policy yet."""
        if isinstance(subject, str):
            return self._by_stream.get(subject, self._common).current
        slot = self._pairings.state_of(subject)
        return None if slot is None else slot.current

    def scope_of(self, subject: str | ProjectPair) -> str:
        """Under which name the limits of a policy are counted: "" for the common one, else its source's."""
        if isinstance(subject, str):
            return self._by_stream.get(subject, self._common).scope
        return self._pairings.scope_of(subject.project)

    def statuses(self) -> tuple[PolicySourceStatus, ...]:
        """Those of the settings, and those of pairings that have one, or may have."""
        paired = [slot for slot in self._pairings.states() if not slot.is_finished]
        return tuple(
            PolicySourceStatus(s.source.display_name, s.scope, s.streams, s.current, s.problem, s.project_pair)
            for s in (*self._slots, *paired)
        )

    def register(self, pairing: ProjectPair) -> NoPolicyReason | None:
        """A client has named such a model: see Pairings. The thread that refreshes them all asks for its policy."""
        return self._pairings.register(pairing)

    def project_pairs(self) -> tuple[ProjectPair, ...]:
        """Those that were met."""
        return self._pairings.known()

    def _source_of(self, pairing: ProjectPair) -> PolicySource:
        assert self._platform is not None  # or the common policy was not the platform's
        return create_pair_source(pairing, self._platform, self._clock)

    # -- the start

    def load_initial(self, within_s: float) -> None:
        """Reads the files, asks the others, and falls back on what was kept of them. Raises ConfigError where a file is
        no policy, or where two of them keep different time zones; what others wrote is told, not raised.
        """
        files = [(slot, self._read(slot)) for slot in self._slots if slot.is_local]
        for slot, got in files:
            self._refuse_zone(slot, got)
            slot.current = current_policy_from(slot.source, got, None)
        answers = self._answers(within_s)
        for slot in self._remote:
            answer = answers.get(slot)
            if isinstance(answer, SourceAnswer):
                self._take(slot, answer, quietly=True)
            if slot.current is None:
                self._fall_back(slot)
            if not isinstance(answer, SourceAnswer):
                no_answer = PolicyUnavailable(f"{slot.source.display_name}: no answer within {within_s:g} s")
                self._note_trouble(slot, no_answer if answer is None else answer)
        self._begun = True

    def _answers(self, within_s: float) -> dict[SourceState, SourceAnswer | PolicyUnavailable | ConfigError]:
        """What the sources say, those that said something within the time; asked by a few threads, which nobody waits
        for longer: a name that isn't found may hold one up.
        """
        waiting = iter(self._remote)  # of a list: threads may share it
        found: dict[SourceState, SourceAnswer | PolicyUnavailable | ConfigError] = {}
        bugs: list[BaseException] = []
        all_said = threading.Event()
        until_s = self._clock.monotonic() + within_s

        def ask() -> None:
            try:
                for slot in waiting:
                    left_s = until_s - self._clock.monotonic()
                    if left_s > 0:
                        found[slot] = slot.fetch(left_s)
            except BaseException as error:  # noqa: BLE001  # raised below, in the thread that started this one
                bugs.append(error)
            if len(found) == len(self._remote) or bugs:
                all_said.set()

        for number in range(min(_AT_ONCE, len(self._remote))):
            threading.Thread(target=ask, name=f"policy-{number}", daemon=True).start()
        while self._remote and not all_said.is_set() and self._clock.monotonic() < until_s + 0.5:
            self._clock.wait(all_said, until_s + 0.5 - self._clock.monotonic())
        if bugs:
            raise bugs[0]
        return dict(found)

    def _fall_back(self, slot: SourceState) -> bool:
        """Says whether something was kept that can be used."""
        kept: CachedPolicy | None = None
        try:
            kept = load_cached(self._folder_of(slot), slot.source)
        except PolicyCacheError as error:
            self._tell(slot, PolicyEventKind.NOT_CACHED, str(error))
        if kept is None:
            return False
        try:
            self._refuse_zone(slot, kept.answer)
        except ConfigError as error:
            self._tell(slot, PolicyEventKind.REJECTED, f"what it said before the start: {error}")
            return False
        slot.cached_at_s = kept.fetched_at_s
        slot.current = replace(current_policy_from(slot.source, kept.answer, kept.fetched_at_s), from_disk=True)
        return True

    # -- as time passes

    def start(self) -> None:
        """Begins to refresh, if there is anything that isn't a file."""
        if self._remote:
            self._rounds.start()

    def stop(self, within_s: float) -> bool:
        """Tells whether nothing is refreshed any more."""
        return self._rounds.stop(within_s)

    @property
    def loop(self) -> MonitoredThread:
        """The thread that refreshes, for the watchdog; it never begins where every policy is a file."""
        return self._rounds.monitored

    def reload(self) -> None:
        """Reads the files again, all or none, and asks the others again soon. Raises ConfigError, and then all is as it
        was.
        """
        files = [(slot, self._read(slot)) for slot in self._slots if slot.is_local]
        with self._lock:
            zone = self._zone
            try:
                for slot, got in files:
                    self._refuse_zone(slot, got)
            except ConfigError:
                self._zone = zone
                raise
            for slot, got in files:
                self._take(slot, got)
        for slot in self._elsewhere():
            if slot.is_finished:
                self._pairings.remove(slot)
            slot.refresh_requested = True
        self._rounds.wake()

    def refresh_due(self) -> float:
        """Asks every source that is due; returns the seconds until the next one is."""
        for slot in self._elsewhere():
            if self._rounds.is_stopping:
                break
            if not slot.refresh_requested and slot.due_s > self._clock.monotonic():
                continue
            if slot.is_finished:
                self._pairings.remove(slot)
                continue
            slot.refresh_requested = False  # before it is asked: a reload meanwhile asks once more
            answer = slot.fetch(_ASK_WITHIN_S)
            if isinstance(answer, SourceAnswer):
                self._take(slot, answer)
                continue
            if slot.project_pair is not None and slot.current is None and self._fall_back(slot):
                self._tell(slot, PolicyEventKind.CHANGED)
            self._note_trouble(slot, answer)
        waiting = self._elsewhere()
        if any(slot.refresh_requested for slot in waiting):
            return 0.0
        due_s = min((slot.due_s for slot in waiting), default=float("inf"))
        return max(0.0, due_s - self._clock.monotonic())

    def _elsewhere(self) -> list[SourceState]:
        """Every source that isn't on this machine, the one first that has been due for longest."""
        return sorted((*self._remote, *self._pairings.states()), key=lambda slot: slot.due_s)

    # -- an answer

    def _read(self, slot: SourceState) -> SourceAnswer:
        got = slot.source.fetch(0.0)
        if self._enabled and got.policy.enabled:
            why = self._refused(got.policy)
            if why:
                raise ConfigError(*(f"{slot.source.display_name}: {reason}" for reason in why))
        return got if self._enabled else replace(got, policy=got.policy.model_copy(update={"enabled": False}))

    def _refuse_zone(self, slot: SourceState, got: SourceAnswer) -> None:
        """Raises ConfigError for a policy whose days begin elsewhere. The first that collects something says where."""
        zone = got.policy.time_zone
        if not got.policy.enabled or zone == self._zone:
            return
        if self._zone is None:
            self._zone, self._zone_said_by = zone, slot.source.display_name
        elif self._begun:
            raise ConfigError(f"time_zone: changing {self._zone} to {zone} needs a restart")
        else:
            raise ConfigError(
                f"{slot.source.display_name}: time_zone: {zone} is not {self._zone}, as {self._zone_said_by} says: all "
                "policies of one run must have the same"
            )

    def _take(self, slot: SourceState, got: SourceAnswer, *, quietly: bool = False) -> None:
        """A good answer holds from now on. quietly: where a change is no news, at the start."""
        now_s = self._clock.now().wall_s
        with self._lock:
            try:
                self._refuse_zone(slot, got)
            except ConfigError as error:
                self._note_trouble(slot, error)
                return
            old = slot.current
            new = current_policy_from(slot.source, got, None if slot.is_local else now_s)
            if old is not None and old.hash == new.hash:
                new = replace(new, policy=old.policy)  # who compares policies sees that it is the same
            slot.current = new
            changed = old is None or policy_content(old) != policy_content(new)
            slot.failures = 0
            slot.due_s = self._clock.monotonic() + REFRESH_EVERY_S * self._chance.uniform(0.9, 1.1)
            if slot.problem is not None:
                slot.problem = None
                self._tell(slot, PolicyEventKind.RECOVERED)
            if changed and not quietly:
                self._tell(slot, PolicyEventKind.CHANGED)
        if not slot.is_local and (changed or abs(now_s - (slot.cached_at_s or 0.0)) > _KEEP_AGAIN_S):
            self._keep(slot, got, now_s)

    def _keep(self, slot: SourceState, got: SourceAnswer, now_s: float) -> None:
        problem = None
        try:
            folder = self._folder_of(slot)
            if slot.is_finished:
                remove_cached(folder, slot.source)
            else:
                store_cached(folder, slot.source, got, now_s)
                slot.cached_at_s = now_s
            if slot.project_pair is not None:
                remove_oldest(folder, MAX_PROJECT_PAIRS)
        except PolicyCacheError as error:
            slot.cached_at_s = None  # tried again with the next answer
            problem = str(error)
        if problem is not None and problem != slot.cache_problem:
            self._tell(slot, PolicyEventKind.NOT_CACHED, problem)
        slot.cache_problem = problem

    def _folder_of(self, slot: SourceState) -> Path:
        return self._folder if slot.project_pair is None else self._folder / "model-policies"

    def _note_trouble(self, slot: SourceState, error: PolicyUnavailable | ConfigError) -> None:
        """What holds stays; when to ask again, and a word of it if it is news."""
        with self._lock:
            if isinstance(error, PolicyUnavailable):
                slot.failures += 1
                longest_s = min(REFRESH_EVERY_S, _FIRST_RETRY_S * 2.0 ** min(slot.failures - 1, 10))
                wait_s = max(longest_s * self._chance.uniform(0.5, 1.0), error.retry_after_s or 0.0)
            else:  # somebody has to mend it
                wait_s = REFRESH_EVERY_S * self._chance.uniform(0.9, 1.1)
            slot.due_s = self._clock.monotonic() + wait_s
            if slot.problem != str(error):
                slot.problem = str(error)
                news = PolicyEventKind.UNAVAILABLE if isinstance(error, PolicyUnavailable) else PolicyEventKind.REJECTED
                self._tell(slot, news, slot.problem)

    def _tell(self, slot: SourceState, news: PolicyEventKind, why: str = "") -> None:
        self._told(PolicyEvent(news, slot.source.display_name, slot.streams, why, slot.current, slot.project_pair))


def fetch_once(
    options: PolicySettings,
    *,
    platform: RoboflowClient | None,
    web: HttpClient,
    clock: Clock,
    task: Task | None,
    within_s: float,
) -> CurrentPolicy:
    """What one source says now. Raises PolicyUnavailable, and ConfigError where that is no policy."""
    source = create_source(options, platform=platform, web=web, clock=clock, task=task)
    got = source.fetch(within_s)
    return current_policy_from(source, got, None if isinstance(options, Path) else clock.now().wall_s)
