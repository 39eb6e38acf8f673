"""Policies: the current policy of every stream, loaded at the start and refreshed in the background.

    load_initial   reads the policy files strictly, and fetches the others at the same time. A source that does not
                   answer in time is replaced by its last answer from the cache; without one, its streams wait.
    afterwards     one thread fetches every source every 15 minutes, sooner after a failure; `reload` at once.

Clients of the proxy name models that the settings don't know: the policy of such a model's project is fetched when the
first image arrives, and is then refreshed like the others (see project_pairs.py).

Streams with the same source share it. An answer is validated before it replaces the old policy; an unchanged policy
stays the same object. All policies of a run have one time zone; a policy with another one is rejected.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from framesift.backoff import BackoffSchedule
from framesift.clock.clock import MonitoredThread
from framesift.config.errors import ConfigError
from framesift.config.factory import failure_text
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
from framesift.policy.initial_fetch import fetch_all
from framesift.policy.policy import Policy
from framesift.policy.policy_settings import PolicySettings, RoboflowPolicySettings
from framesift.policy.project_pairs import MAX_PROJECT_PAIRS, ProjectPairs
from framesift.policy.reload_answer import ReloadAnswer
from framesift.policy.source_state import SourceState, current_policy_from, policy_content
from framesift.policy.sources import DisabledSource, SourceContext, create_pair_source, create_source
from framesift.policy.time_zone import TimeZoneRule
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

REFRESH_EVERY_S = 900.0
# After a failure, whoever mends it must see within a minute that it is well.
_RETRY = BackoffSchedule(first_s=30.0, max_s=60.0)
# For the answer of one source; shorter than the time for which the watchdog allows a thread not to move.
_FETCH_WITHIN_S = 30.0
# An unchanged policy is saved again once a day, so that its file's date is useful; more often would wear flash memory.
_STORE_AGAIN_S = 86_400.0


class PolicyObserver(Protocol):
    """Whoever uses the policies."""

    def on_policy_event(self, event: PolicyEvent) -> None:
        """Something happened to a source. Called from any thread, with a lock held: it must not call `reload`."""

    def policy_problems(self, policy: Policy) -> Sequence[str]:
        """Why this run can't use a policy file, in sentences; empty if it can."""


class Policies:
    """The policies of one run.

    The queries (`current_for`, `scope_of`, `statuses`, `register`, `project_pairs`) return at once, for any thread.
    has_project_policies: whether a client's model uses the policy of its project. Only the platform has policies per
    project; a file or a URL is one policy for all models.
    """

    def __init__(
        self,
        common: PolicySettings,
        own: Mapping[str, PolicySettings],
        *,
        context: SourceContext,
        folder: Path,
        rng: random.Random,
        enabled: bool,
        observer: PolicyObserver,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Creates the sources; reads and fetches nothing yet.

        common: the source for all streams. own: by stream, the sources of streams that have their own. folder: of the
        cache. rng: spreads the fetches of many devices. enabled: False disables every policy, and nothing is fetched.
        on_failure: called with an unexpected error that ended the thread. Raises ConfigError where the platform is
        needed and there is no API key.
        """
        self._folder = folder
        self._task = PeriodicTask("policies", lambda: NextRun(self.refresh_due()), context.clock, on_failure=on_failure)
        self._clock = self._task.heartbeat
        self._context = replace(context, clock=self._clock)
        self._rng = rng
        self._enabled = enabled
        self._observer = observer
        self._lock = threading.RLock()  # held while an answer is applied, and while the observer is called
        self._time_zone = TimeZoneRule()
        self._reloads: tuple[ReloadAnswer, ...] = ()  # replaced, never changed
        self._common = self._create_state(common)
        by_source: dict[PolicySettings, tuple[str, ...]] = {}
        for stream, settings in own.items():
            if settings != common:
                by_source[settings] = (*by_source.get(settings, ()), stream)
        self._states = [
            self._common,
            *(self._create_state(settings, streams) for settings, streams in by_source.items()),
        ]
        self._by_stream = {stream: state for state in self._states for stream in state.streams}
        self._remote = [state for state in self._states if not state.is_local]
        self.has_project_policies = enabled and isinstance(common, RoboflowPolicySettings)
        self._pairs = ProjectPairs(
            common,
            self._common,
            {
                settings.project: self._by_stream.get(stream, self._common).scope
                for stream, settings in own.items()
                if isinstance(settings, RoboflowPolicySettings)
            },
            has_model_task=context.task is not None,
            create_source=lambda pair: create_pair_source(pair, self._context),
            on_new=self._task.wake,
        )

    def _create_state(self, settings: PolicySettings, streams: tuple[str, ...] = ()) -> SourceState:
        source: PolicySource
        if not self._enabled and not isinstance(settings, Path):
            source = DisabledSource(settings)
        else:
            source = create_source(settings, self._context)
        return SourceState(source, scope_name(source) if streams else "", streams)

    # -- queries

    @property
    def time_zone(self) -> str:
        """The time zone of the run (IANA name): that of the first enabled policy, UTC until there is one."""
        return self._time_zone.zone

    def current_for(self, subject: str | ProjectPair) -> CurrentPolicy | None:
        """The current policy of a stream, or of a registered project pair; None while there is none yet."""
        if isinstance(subject, str):
            return self._by_stream.get(subject, self._common).current
        state = self._pairs.state_of(subject)
        return None if state is None else state.current

    def scope_of(self, subject: str | ProjectPair) -> str:
        """The name under which a policy's limits are counted: "" for the common source, else a name of the source."""
        if isinstance(subject, str):
            return self._by_stream.get(subject, self._common).scope
        return self._pairs.scope_of(subject.project)

    def statuses(self) -> tuple[PolicySourceStatus, ...]:
        """All sources: those of the settings, and those of project pairs that have a policy, or may have one."""
        of_pairs = [state for state in self._pairs.states() if not state.is_finished]
        return tuple(state.status for state in (*self._states, *of_pairs))

    def register(self, pair: ProjectPair) -> NoPolicyReason | None:
        """Notes that a client has named such a model; see ProjectPairs.register."""
        return self._pairs.register(pair)

    def project_pairs(self) -> tuple[ProjectPair, ...]:
        """The registered project pairs."""
        return self._pairs.known()

    # -- the start

    def load_initial(self, within_s: float) -> None:
        """Reads the files, fetches the others, and uses the cache for those that don't answer.

        Raises ConfigError where a file is no policy, or where two files have different time zones. Problems of fetched
        policies are reported to the observer instead.
        """
        read = [(state, self._read(state)) for state in self._states if state.is_local]
        for state, answer in read:
            self._time_zone.check(answer.policy, state.source.display_name)
            state.current = current_policy_from(state.source, answer, None)
        answers = fetch_all(self._remote, self._clock, within_s)
        for state in self._remote:
            result = answers.get(state)
            if isinstance(result, SourceAnswer):
                self._apply(state, result, is_initial=True)
            if state.current is None:
                self._use_cache(state)
            if not isinstance(result, SourceAnswer):
                no_answer = PolicyUnavailable(f"{state.source.display_name}: no answer within {within_s:g} s")
                self._record_problem(state, no_answer if result is None else result)
        self._time_zone.started()

    def _use_cache(self, state: SourceState) -> bool:
        """Whether the cache had a policy that can be used."""
        cached: CachedPolicy | None = None
        try:
            cached = load_cached(self._folder_of(state), state.source)
        except PolicyCacheError as error:
            self._report(state, PolicyEventKind.NOT_CACHED, str(error))
        if cached is None:
            return False
        try:
            self._time_zone.check(cached.answer.policy, state.source.display_name)
        except ConfigError as error:
            self._report(state, PolicyEventKind.REJECTED, f"the policy from the cache: {error}")
            return False
        state.cached_at_s = cached.fetched_at_s
        current = current_policy_from(state.source, cached.answer, cached.fetched_at_s)
        state.current = replace(current, from_disk=True)
        return True

    # -- the component

    @property
    def name(self) -> str:
        """The component's name."""
        return self._task.name

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """The thread that refreshes, for the watchdog. It never starts where every policy is a file."""
        return self._task.threads

    def start(self) -> None:
        """Starts refreshing, if there is any source that is not a file."""
        if self._remote:
            self._task.start()

    def stop(self, within_s: float) -> bool:
        """Stops refreshing. Returns whether the thread has ended in time."""
        return self._task.stop(within_s)

    def idle_s(self) -> float:
        """The seconds since the thread last moved; 0 if it doesn't run."""
        return self._task.idle_s()

    def reload(self, on_read: Callable[[tuple[str, ...]], None] = lambda _problems: None) -> None:
        """Reads the files again, all or none, and lets the thread fetch the others now.

        on_read: called once when every source has been read, by any thread, with the reasons of those that were
        refused or did not answer; their policies stay as they are.
        """
        answer = ReloadAnswer(on_read)
        for state, error in self._read_files():
            self._record_problem(state, error)
            answer.add_problem(str(error))
        for state in self._remote:  # not for those of project pairs: clients name any number of projects
            answer.wait_for(state)
        with self._lock:  # before any fetch can begin
            self._reloads = (*(one for one in self._reloads if not one.is_finished), answer)
        answer.finish_if_read()
        for state in self._refreshed_states():
            if state.is_finished:
                self._pairs.remove(state)
            state.refresh_requested = True
        self._task.wake()

    def _read_files(self) -> list[tuple[SourceState, ConfigError]]:
        """Reads all files, and makes their policies the current ones if all are good. Returns the refused ones."""
        read: list[tuple[SourceState, SourceAnswer]] = []
        refused: list[tuple[SourceState, ConfigError]] = []
        for state in (state for state in self._states if state.is_local):
            try:
                read.append((state, self._read(state)))
            except ConfigError as error:
                refused.append((state, error))
        if refused:
            return refused
        with self._lock:
            refusal = self._time_zone.refusal([(answer.policy, state.source.display_name) for state, answer in read])
            if refusal is not None:
                return [(read[refusal[0]][0], refusal[1])]
            for state, answer in read:
                self._apply(state, answer)
        return []

    def refresh_due(self) -> float:
        """Fetches every source that is due. Returns the seconds until the next one is."""
        for state in self._refreshed_states():
            if self._task.is_stopping:
                break
            if not state.refresh_requested and state.due_at_s > self._clock.monotonic():
                continue
            if state.is_finished:
                self._pairs.remove(state)
                continue
            state.refresh_requested = False  # before the fetch: a reload during it fetches once more
            reloads = [reload for reload in self._reloads if reload.waits_for(state)]
            result = state.fetch(_FETCH_WITHIN_S)
            if isinstance(result, SourceAnswer):
                self._apply(state, result)
            else:
                if state.project_pair is not None and state.current is None and self._use_cache(state):
                    self._report(state, PolicyEventKind.CHANGED)
                self._record_problem(state, result)
            for reload in reloads:
                reload.was_read(state)
        waiting = self._refreshed_states()
        if any(state.refresh_requested for state in waiting):
            return 0.0
        due_at_s = min((state.due_at_s for state in waiting), default=float("inf"))
        return max(0.0, due_at_s - self._clock.monotonic())

    def _refreshed_states(self) -> list[SourceState]:
        """Every source that is not a file; the one that is due first comes first."""
        return sorted((*self._remote, *self._pairs.states()), key=lambda state: state.due_at_s)

    # -- answers

    def _read(self, state: SourceState) -> SourceAnswer:
        """Reads a local source. Raises ConfigError, whatever the code of others that a policy names raises."""
        try:
            answer = state.source.fetch(0.0)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{state.source.display_name}: {failure_text(error)}") from error
        if self._enabled and answer.policy.enabled:
            problems = self._observer.policy_problems(answer.policy)
            if problems:
                raise ConfigError(*(f"{state.source.display_name}: {problem}" for problem in problems))
        if self._enabled:
            return answer
        return replace(answer, policy=answer.policy.model_copy(update={"enabled": False}))

    def _apply(self, state: SourceState, answer: SourceAnswer, *, is_initial: bool = False) -> None:
        """Makes a valid answer the current policy. is_initial: a change is not reported, as there was none before."""
        now_s = self._clock.now().wall_s
        with self._lock:
            try:
                self._time_zone.check(answer.policy, state.source.display_name)
            except ConfigError as error:
                self._record_problem(state, error)
                return
            old = state.current
            new = current_policy_from(state.source, answer, None if state.is_local else now_s)
            if old is not None and old.hash == new.hash:
                new = replace(new, policy=old.policy)  # the same object: cheap to compare
            state.current = new
            changed = old is None or policy_content(old) != policy_content(new)
            state.failures = 0
            state.due_at_s = self._clock.monotonic() + REFRESH_EVERY_S * self._rng.uniform(0.9, 1.1)
            if state.problem is not None:
                state.problem = None
                self._report(state, PolicyEventKind.RECOVERED)
            if changed and not is_initial:
                self._report(state, PolicyEventKind.CHANGED)
        if not state.is_local and (changed or abs(now_s - (state.cached_at_s or 0.0)) > _STORE_AGAIN_S):
            self._store(state, answer, now_s)

    def _store(self, state: SourceState, answer: SourceAnswer, now_s: float) -> None:
        """Saves an answer in the cache, or removes it where the source has no policy any more."""
        problem = None
        try:
            folder = self._folder_of(state)
            if state.is_finished:
                remove_cached(folder, state.source)
            else:
                store_cached(folder, state.source, answer, now_s)
                state.cached_at_s = now_s
            if state.project_pair is not None:
                remove_oldest(folder, MAX_PROJECT_PAIRS)
        except PolicyCacheError as error:
            state.cached_at_s = None  # tried again with the next answer
            problem = str(error)
        if problem is not None and problem != state.cache_problem:
            self._report(state, PolicyEventKind.NOT_CACHED, problem)
        state.cache_problem = problem

    def _folder_of(self, state: SourceState) -> Path:
        return self._folder if state.project_pair is None else self._folder / "model-policies"

    def _record_problem(self, state: SourceState, error: PolicyUnavailable | ConfigError) -> None:
        """Keeps the current policy, plans the next fetch, and reports the problem if it is a new one."""
        with self._lock:
            state.failures += 1
            retry_after_s = error.retry_after_s if isinstance(error, PolicyUnavailable) else None
            pause_s = max(_RETRY.pause_s(state.failures, self._rng), retry_after_s or 0.0)
            state.due_at_s = self._clock.monotonic() + pause_s
            if state.problem != str(error):
                state.problem = str(error)
                is_away = isinstance(error, PolicyUnavailable)
                kind = PolicyEventKind.UNAVAILABLE if is_away else PolicyEventKind.REJECTED
                self._report(state, kind, state.problem)

    def _report(self, state: SourceState, kind: PolicyEventKind, why: str = "") -> None:
        event = PolicyEvent(kind, state.source.display_name, state.streams, why, state.current, state.project_pair)
        self._observer.on_policy_event(event)
