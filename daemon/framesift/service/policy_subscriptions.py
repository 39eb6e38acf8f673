"""PolicySubscriptions: gives each stream its current policy, replaces it when it changes, and reports problems."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from zoneinfo import ZoneInfo

from framesift.clock.clock import MonitoredThread
from framesift.config.errors import ConfigError
from framesift.fleet.platform_batches import WatchedBatch
from framesift.limits import AccountLimit, Limit, Quota, Window
from framesift.limits.local import LocalLimits
from framesift.policy import (
    CurrentPolicy,
    NoPolicyReason,
    Policies,
    PolicyEvent,
    PolicyEventKind,
    PolicySourceStatus,
    ProjectPair,
    SourceContext,
)
from framesift.policy.baseline import NAME as BASELINE
from framesift.policy.manual import NAME as MANUAL
from framesift.policy.policy import NO_POLICY_YET, Policy
from framesift.prediction.prediction import Task
from framesift.sampling.candidates import batch_key, batch_name_at
from framesift.service.components import idle_s
from framesift.service.connections import Connections
from framesift.service.neighbour_problems import neighbour_problems
from framesift.service.project_tasks import ProjectTasks
from framesift.service.run_context import RunContext
from framesift.service.stream_models import StreamModels, UsedModel, never_matching, uncompared, unknown_class_names
from framesift.settings import StreamEntry
from framesift.telemetry import Condition, PolicyReport

# The start waits so long for policies that have to be fetched, before it uses those on the disk.
LOAD_WITHIN_S = 4.0
_ASK_TYPE_WITHIN_S = 2.0
_OF_MODELS = "policies of models"


class PolicySubscriptions:
    """Component of the policies. `start`, `stop` and `reload` belong to the main thread; all else is thread-safe."""

    name = "policies"

    def __init__(self, run: RunContext, models: StreamModels, connections: Connections, limits: LocalLimits) -> None:
        """limits: gets the time zone of the policies.

        Raises ConfigError if a policy has to be fetched from the platform and there is no API key.
        """
        settings = run.settings
        self._settings = settings
        self._models = models
        self._limits = limits
        self._telemetry = run.telemetry
        self._clock = run.clock
        self._subscribers: list[tuple[str | ProjectPair, Callable[[Policy], None]]] = []
        self._tasks = ProjectTasks(connections.platform, run.clock, enabled=settings.enabled)
        self._on_change: Callable[[], None] = lambda: None
        self._lock = threading.Lock()  # of the subscribers: nobody misses a policy that arrives while it subscribes
        self.policies = Policies(
            settings.policy,
            {stream.name: stream.policy for stream in settings.streams if stream.policy is not None},
            context=SourceContext(connections.http, connections.platform, run.clock, models.task),
            folder=settings.spool.path.parent,
            rng=random.Random(),  # only spreads the requests of many devices
            enabled=settings.enabled,
            observer=self,
            on_failure=run.on_failure,
        )

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """See Component."""
        return self.policies.threads

    def start(self) -> None:
        """Load the policies that can be had now, and start refreshing them. Raises ConfigError for a wrong file."""
        self.policies.load_initial(LOAD_WITHIN_S)
        self._apply_time_zone()
        self.judge()
        self._check_projects()
        self._telemetry.set_policy_source(self.policy_reports)
        self.policies.start()

    def judge(self) -> None:
        """Report what each policy can't do with the models of this moment. For any thread."""
        for status in self.policies.statuses():
            if status.current is not None:
                self._log_problems(status.current, status.project_pair, status.streams)
            self._report_health(status)

    def stop(self, within_s: float) -> bool:
        """Stop refreshing the policies; return whether that has ended in time."""
        return self.policies.stop(within_s)

    def idle_s(self) -> float:
        """See Component."""
        return idle_s(self.threads)

    @property
    def enabled(self) -> bool:
        """Whether any stream is collected from, as far as is known now."""
        return any(s.current is not None and s.current.policy.enabled for s in self.policies.statuses())

    def subscribe(self, subject: str | ProjectPair, apply: Callable[[Policy], None]) -> None:
        """Call `apply` with the policy of a stream or a project pair: now if there is one, and at every change."""
        with self._lock:
            self._subscribers.append((subject, apply))
            current = self.policies.current_for(subject)
            if current is not None:
                apply(current.policy)
        if isinstance(subject, ProjectPair):
            self._on_change()  # it collects for a project for which nothing may have been collected yet

    def project_pair_of(self, stream: str, model_id: str, dataset: str | None) -> ProjectPair | NoPolicyReason | None:
        """Return whose policy applies to what a client's model has seen; None for the stream's own. Never waits.

        dataset: the project to which the client wants the picture to go, None for the model's own. A policy that is the
        same for all is for the project that it or the settings name, and for no other.
        """
        if self.policies.has_project_policies:
            trained_on = model_id.partition("/")[0]
            pair = ProjectPair(dataset or trained_on, trained_on)
            return self.policies.register(pair) or pair
        if dataset is not None and self._project_of(stream) not in (None, dataset):
            return NoPolicyReason.NONE
        return None

    def accepts_labels(self, stream: str) -> bool:
        """Return whether labels of whole pictures suit the project to which a stream's pictures go.

        May wait two seconds for the platform; True if it does not answer.
        """
        project = self._project_of(stream)
        if project is None or not self._settings.sink.uses_platform:
            return True
        return self.task_of(project, _ASK_TYPE_WITHIN_S) in (None, Task.CLASSIFICATION)

    def task_of(self, project: str, within_s: float) -> Task | None:
        """Return what a project of the platform is for; None if the platform does not say so within the time."""
        return self._tasks.task_of(project, within_s)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Set what is called after every change of a policy, from any thread."""
        self._on_change = callback

    def reload(self, on_read: Callable[[tuple[str, ...]], None]) -> None:
        """Read policy files again now, and fetch the others soon. A bad one is reported; the old one stays in use.

        on_read: called once when all have been read, by any thread, with the reasons of those that were refused.
        """
        self.policies.reload(on_read)

    def policy_reports(self) -> tuple[PolicyReport, ...]:
        """Return the report of every policy, for the status answer."""
        shown = [s for s in self.policies.statuses() if s.project_pair is None or s.current is not None]
        return tuple(map(_policy_report, shown))

    def watched_batches(self) -> tuple[WatchedBatch, ...]:
        """Return the labelling batches that are being filled now and whose size a policy limits."""
        wall_s = self._clock.now().wall_s
        watched: dict[WatchedBatch, None] = {}
        for project, _, policy in self._collecting():
            if project and policy.batching_strategy.max_batch_images is not None:
                batch = batch_name_at(policy, wall_s)
                watched[WatchedBatch(policy.target_workspace, project, batch, batch_key(project, batch))] = None
        return tuple(watched)

    def projects(self) -> tuple[str, ...]:
        """Return the projects that are collected for; "" for what names no project."""
        return tuple(dict.fromkeys(project for project, _, _ in self._collecting()))

    def accounts(self) -> tuple[AccountLimit, ...]:
        """Return every limit of every strategy that collects here."""
        found: dict[AccountLimit, None] = {}
        for project, scope, policy in self._collecting():
            for strategy in policy.sampling_strategies:
                name = Quota(strategy.name, (), "", scope=scope).account
                for limit in policy.limits_of(strategy):
                    found[AccountLimit(project, name, Limit(Window(limit.type), limit.value))] = None
            name = Quota(MANUAL, (), "", scope=scope).account
            if all(strategy.name != MANUAL for strategy in policy.sampling_strategies):
                for limit in policy.manual.limits:
                    found[AccountLimit(project, name, Limit(Window(limit.type), limit.value), is_by_hand=True)] = None
            if policy.baseline_per_day:
                name = Quota(BASELINE, (), "", scope=scope).account
                found[AccountLimit(project, name, Limit(Window.DAILY, policy.baseline_per_day))] = None
        return tuple(found)

    def _project_of(self, stream: str) -> str | None:
        current = self.policies.current_for(stream)
        target = None if current is None else current.policy.target_project
        return target or self._settings.project_of(stream)

    def _collecting(self) -> Iterator[tuple[str, str, Policy]]:
        """Yield project, scope and policy of each stream and each project pair that is collected from."""
        for pair in self.policies.project_pairs():
            current = self.policies.current_for(pair)
            if current is not None and current.policy.enabled:
                project = current.policy.target_project or pair.project
                yield project, self.policies.scope_of(pair), current.policy
        for stream in self._settings.stream_names:
            current = self.policies.current_for(stream)
            if current is not None and current.policy.enabled:
                yield self._project_of(stream) or "", self.policies.scope_of(stream), current.policy

    def on_policy_event(self, event: PolicyEvent) -> None:
        """Apply a policy that has changed, and report what happened. Called by the thread that refreshes policies."""
        if event.kind is PolicyEventKind.CHANGED and event.current is not None:
            policy = event.current.policy
            self._apply_time_zone()
            with self._lock:
                for subject, apply in self._subscribers:
                    if self._uses(subject, policy):
                        apply(policy)
            names = [strategy.name for strategy in policy.sampling_strategies]
            self._telemetry.state_changed(
                "policy", source=event.source, hash=event.current.hash, enabled=policy.enabled, strategies=names
            )
            self._log_problems(event.current, event.project_pair, event.streams)
            self._on_change()
        if event.kind is PolicyEventKind.NOT_CACHED:
            self._telemetry.warning("policy_not_cached", source=event.source, why=event.why)
            return
        for status in self.policies.statuses():
            if status.project_pair == event.project_pair and status.streams == event.streams:
                self._report_health(status)

    def policy_problems(self, policy: Policy) -> Sequence[str]:
        """Return why this run can't use a policy file: its strategies name classes that the local model has not.

        What listeners receive has class names of its own, so with listeners there is no problem.
        """
        if self._settings.listeners:
            return ()
        return unknown_class_names(policy.sampling_strategies, self._models.of_streams(()))

    def _uses(self, subject: str | ProjectPair, policy: Policy) -> bool:
        current = self.policies.current_for(subject)
        return current is not None and current.policy is policy

    def _log_problems(self, current: CurrentPolicy, pair: ProjectPair | None, streams: tuple[str, ...]) -> None:
        """Log the notes of the source, what was left out, and what strategies can't do with the local model."""
        never = [problem for problems in self._never_matching(current, pair, streams) for problem in problems]
        never += uncompared(current.policy, self._judged_models(current, pair, streams))
        beside = self._neighbour_problems(current, pair, streams)
        for reason in (*current.notes, *current.left_out, *never, *beside):
            self._telemetry.warning("policy_problem", reason=reason)

    def _never_matching(
        self, current: CurrentPolicy, pair: ProjectPair | None, streams: tuple[str, ...]
    ) -> list[tuple[str, ...]]:
        """Return for each strategy why it can never match a model of the streams that follow the policy."""
        models = self._judged_models(current, pair, streams)
        return never_matching(current.policy.sampling_strategies, models) if models else []

    def _judged_models(
        self, current: CurrentPolicy, pair: ProjectPair | None, streams: tuple[str, ...]
    ) -> tuple[UsedModel, ...]:
        """Return the models of the streams that follow a policy, for which it is judged.

        Nothing is known about the model of a client (pair), so its strategies are not checked.
        """
        followers = [stream.name for stream in self._followers(streams)]
        return self._models.of_streams(followers) if pair is None and current.policy.enabled else ()

    def _neighbour_problems(
        self, current: CurrentPolicy, pair: ProjectPair | None, streams: tuple[str, ...]
    ) -> tuple[str, ...]:
        if pair is not None or not current.policy.enabled:
            return ()
        return tuple(neighbour_problems(current.policy.sampling_strategies, self._followers(streams)))

    def _followers(self, streams: tuple[str, ...]) -> list[StreamEntry]:
        """The streams that follow a policy. streams: those that have named it; () for those that name none."""
        return [
            stream
            for stream in self._settings.streams
            if (stream.name in streams if streams else stream.policy is None)
        ]

    def _report_health(self, status: PolicySourceStatus) -> None:
        """Set the health of one policy: whether it could be read, and whether it can collect anything."""
        health = self._telemetry.health
        if status.project_pair is not None:  # one component for all, since clients choose the names
            problem = next((s.problem for s in self.policies.statuses() if s.project_pair and s.problem), None)
            health.set(_OF_MODELS, Condition.OK if problem is None else Condition.DEGRADED, problem or "")
            return
        name = f"policy of {', '.join(status.streams)}" if status.streams else "policy"
        current = status.current
        never = [] if current is None else self._never_matching(current, None, status.streams)
        reasons = [status.problem] if status.problem else []
        if current is not None and current.has_no_policy:
            reasons += current.notes
        reasons += [problem for problems in never for problem in problems]
        collects_nothing = bool(never) and all(never) and not self._settings.listeners
        condition = Condition.FAILED if collects_nothing else Condition.DEGRADED if reasons else Condition.OK
        health.set(name, condition, "; ".join(reasons))

    def _apply_time_zone(self) -> None:
        # All policies that collect have the same zone, and it changes once at most: when the first of them arrives. One
        # that is disabled may name another, or none.
        self._limits.zone = ZoneInfo(self.policies.time_zone)

    def _check_projects(self) -> None:
        """Raises ConfigError if what is collected would have no project to go to."""
        if not self._settings.sink.uses_platform:
            return
        for stream in self._settings.stream_names:
            current = self.policies.current_for(stream)
            if current is None or not current.policy.enabled or current.policy.target_project is not None:
                continue
            if self._settings.project_of(stream) is None:
                raise ConfigError(
                    f"sink.project: missing, and neither the source of stream {stream}'s policy nor its "
                    "target_project names a project to deliver to"
                )


def _policy_report(status: PolicySourceStatus) -> PolicyReport:
    current = status.current
    policy = NO_POLICY_YET if current is None else current.policy
    return PolicyReport(
        name=status.scope,
        source=status.source,
        streams=status.streams,
        enabled=policy.enabled,
        hash=None if current is None else current.hash,
        fetched_at_s=None if current is None else current.fetched_at_s,
        from_disk=current is not None and current.from_disk,
        strategies=tuple(strategy.name for strategy in policy.sampling_strategies),
        left_out=() if current is None else current.left_out,
        notes=() if current is None else current.notes,
        problem=status.problem,
    )
