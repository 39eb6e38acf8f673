"""Steering: which policy each stream follows, from its first one on, and what the operator is told of it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

from framesift.clock.clock import Clock
from framesift.config.errors import ConfigError
from framesift.fleet.platform_batches import WatchedBatch
from framesift.limits import AccountLimit, Limit, Quota, Window
from framesift.limits.local import LocalLimits
from framesift.models import Model
from framesift.policy import (
    CurrentPolicy,
    NoPolicyReason,
    Policies,
    PolicyEvent,
    PolicyEventKind,
    PolicySourceStatus,
    ProjectPair,
)
from framesift.policy.policy import NO_POLICY_YET, Policy
from framesift.prediction.prediction import Task
from framesift.roboflow import PlatformError, ProjectTypes, task_of_project_type
from framesift.sampling.candidates import batch_key, batch_name_at
from framesift.service.connections import Connections
from framesift.settings import Settings
from framesift.strategies import class_name_problems, strategy_problems
from framesift.telemetry import Condition, PolicyReport, Telemetry

# Where a policy is to be fetched, the start waits so long for it before it takes the one on the disk.
LOAD_WITHIN_S = 4.0
# While the platform doesn't say what a project is for, nobody asks for so long.
PROJECT_TYPES_RETRY_S = 30.0
_ASK_TYPE_WITHIN_S = 2.0
# What a stream has while its policy was never heard of: it waits for one.


class PolicySubscriptions:
    """`told` is called from the thread that refreshes the policies, everything else from the service's own."""

    def __init__(
        self,
        settings: Settings,
        *,
        model: Model | None,
        online: Connections,
        limits: LocalLimits,
        telemetry: Telemetry,
        clock: Clock,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._model = model
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock
        self._followers: list[tuple[str | ProjectPair, Callable[[Policy], None]]] = []
        self._types = None if online.platform is None else ProjectTypes(online.platform)
        self._types_from_s = 0.0  # when the platform may be asked for them
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()  # of who follows: nobody misses a policy that comes while he begins
        self.policies = Policies(
            settings.policy,
            {stream.name: stream.policy for stream in settings.streams if stream.policy is not None},
            platform=online.platform,
            web=online.http,
            folder=settings.spool.path.parent,
            clock=clock,
            chance=random.Random(),  # only spreads the questions of a fleet
            enabled=settings.enabled,
            task=None if model is None else model.task,
            on_event=self._told,
            on_failure=failed,
            # What comes in at doors has names of its own, whatever the local model lacks.
            problems_of=lambda policy: (
                () if settings.listeners else class_name_problems(policy.sampling_strategies, self._unnamed)
            ),
        )

    def load(self) -> None:
        """The policies, as far as they can be had now. Raises ConfigError."""
        self.policies.load_initial(LOAD_WITHIN_S)
        self._take_zone()
        for held in self.policies.statuses():
            if held.current is not None:
                self._tell_problems(held.current, held.project_pair)
        self._refuse_homeless()

    @property
    def enabled(self) -> bool:
        """Whether any stream is collected from, as far as is known."""
        return any(held.current is not None and held.current.policy.enabled for held in self.policies.statuses())

    def subscribe(self, subject: str | ProjectPair, apply: Callable[[Policy], None]) -> None:
        """`take` is handed the policy of a stream or a pairing, now if there is one, and each that comes after it. From
        any thread.
        """
        with self._lock:
            self._followers.append((subject, apply))
            standing = self.policies.current_for(subject)
            if standing is not None:
                apply(standing.policy)
        if isinstance(subject, ProjectPair):
            self._changed()  # it collects for a project for which nobody may have collected yet

    def pairing_of(self, stream: str, model_id: str, dataset: str | None) -> ProjectPair | NoPolicyReason | None:
        """Whose policy holds for what a client's model has seen, None for that of the stream. dataset: the project that
        the client wants it to go to, None for the model's own. From any thread; waits for nobody.

        A policy that is one for all is for the project that it or the settings name, and for no other.
        """
        if self.policies.has_project_policies:
            trained_on = model_id.partition("/")[0]
            pairing = ProjectPair(dataset or trained_on, trained_on)
            return self.policies.register(pairing) or pairing
        if dataset is not None and self._project_of(stream) not in (None, dataset):
            return NoPolicyReason.NONE
        return None

    def accepts_labels(self, stream: str) -> bool:
        """Whether labels of whole pictures suit the project where the stream's pictures go, as far as the platform says
        so within a moment. From any thread.
        """
        project = self._project_of(stream)
        if project is None or not self._settings.sink.uses_platform:
            return True
        return self.task_of(project, _ASK_TYPE_WITHIN_S) in (None, Task.CLASSIFICATION)

    def task_of(self, project: str, within_s: float) -> Task | None:
        """What a project of the platform is for; None where nobody says within the time. From any thread."""
        now_s = self._clock.monotonic()
        if self._types is None or not self._settings.enabled or now_s < self._types_from_s:
            return None
        try:
            kind = self._types.get(project, now_s=now_s, within_s=within_s)
        except PlatformError as trouble:  # nobody else need wait for it soon
            self._types_from_s = now_s + max(PROJECT_TYPES_RETRY_S, trouble.retry_after_s or 0.0)
            return None
        return None if kind is None else task_of_project_type(kind)

    def _project_of(self, stream: str) -> str | None:
        standing = self.policies.current_for(stream)
        target = None if standing is None else standing.policy.target_project
        return target or self._settings.project_of(stream)

    def on_change(self, changed: Callable[[], None]) -> None:
        """changed: called after each change of a policy, from the thread that refreshes them."""
        self._changed = changed

    def reload(self) -> None:
        """Files are read again now, and what lies elsewhere is asked for soon; where one is bad, the old one stays."""
        try:
            self.policies.reload()
        except ConfigError as error:
            self._telemetry.error("reload_refused", reason=str(error))  # another reason is another line
        else:
            self._telemetry.state_changed("reloaded")

    def policy_reports(self) -> tuple[PolicyReport, ...]:
        """Every policy, for those who read the status."""
        named = [held for held in self.policies.statuses() if held.project_pair is None or held.current is not None]
        return tuple(map(_told_of, named))

    def watched_batches(self) -> tuple[WatchedBatch, ...]:
        """The labelling batches that are being filled, as far as a policy bounds them."""
        wall_s = self._clock.now().wall_s
        wanted: dict[WatchedBatch, None] = {}
        for project, _, policy in self._collecting():
            if project and policy.batching_strategy.max_batch_images is not None:
                batch = batch_name_at(policy, wall_s)
                wanted[WatchedBatch(policy.target_workspace, project, batch, batch_key(project, batch))] = None
        return tuple(wanted)

    def projects(self) -> tuple[str, ...]:
        """Those whose limits matter here; "" where none is named."""
        return tuple(dict.fromkeys(project for project, _, _ in self._collecting()))

    def accounts(self) -> tuple[AccountLimit, ...]:
        """Every limit of every strategy that collects here."""
        found: dict[AccountLimit, None] = {}
        for project, scope, policy in self._collecting():
            for strategy in policy.sampling_strategies:
                name = Quota(strategy.name, (), "", scope=scope).account
                for limit in strategy.limits:
                    found[AccountLimit(project, name, Limit(Window(limit.type), limit.value))] = None
        return tuple(found)

    def _collecting(self) -> Iterator[tuple[str, str, Policy]]:
        """Project, scope and policy of each stream that is collected from, and of each pairing."""
        for pairing in self.policies.project_pairs():
            standing = self.policies.current_for(pairing)
            if standing is not None and standing.policy.enabled:
                yield (
                    standing.policy.target_project or pairing.project,
                    self.policies.scope_of(pairing),
                    standing.policy,
                )
        for stream in self._settings.stream_names:
            standing = self.policies.current_for(stream)
            if standing is not None and standing.policy.enabled:
                project = standing.policy.target_project or self._settings.project_of(stream)
                yield project or "", self.policies.scope_of(stream), standing.policy

    def _told(self, told: PolicyEvent) -> None:
        if told.kind is PolicyEventKind.CHANGED and told.current is not None:
            policy = told.current.policy
            self._take_zone()
            with self._lock:
                for subject, take in self._followers:
                    if self._follows(subject, policy):
                        take(policy)
            names = [strategy.name for strategy in policy.sampling_strategies]
            self._telemetry.state_changed(
                "policy", source=told.source, hash=told.current.hash, enabled=policy.enabled, strategies=names
            )
            self._tell_problems(told.current, told.project_pair)
            self._changed()
        if told.kind is PolicyEventKind.NOT_CACHED:
            self._telemetry.warning("policy_not_kept", source=told.source, why=told.why)
        elif told.kind in (PolicyEventKind.REJECTED, PolicyEventKind.UNAVAILABLE):
            self._telemetry.health.set(_component(told), Condition.DEGRADED, told.why)
        elif told.project_pair is None or all(
            held.project_pair is None or not held.problem for held in self.policies.statuses()
        ):
            self._telemetry.health.set_ok(_component(told))

    def _follows(self, subject: str | ProjectPair, policy: Policy) -> bool:
        standing = self.policies.current_for(subject)
        return standing is not None and standing.policy is policy

    def _tell_problems(self, standing: CurrentPolicy, pairing: ProjectPair | None) -> None:
        """What the policy's source had to say, what was left out of it, and what in it can never match here: of the
        local model, since of a client's nothing is known.
        """
        never: tuple[str, ...] = ()
        if pairing is None and self._model is not None and self._settings.model is not None:
            stub = self._settings.model.type == "stub"
            strategies = standing.policy.sampling_strategies
            names, unnamed = self._model.class_names, self._unnamed
            never = tuple(strategy_problems(strategies, self._model.task, names, stub=stub, class_names_advice=unnamed))
        for reason in (*standing.notes, *standing.left_out, *never):
            self._telemetry.warning("policy_problem", reason=reason)

    @property
    def _unnamed(self) -> str:
        return "" if self._model is None else self._model.notes.class_names_advice

    def _take_zone(self) -> None:
        # All policies that collect have the same, and it changes once at most: when the first of them arrives. One that
        # is switched off may say another, or none.
        self._limits.zone = ZoneInfo(self.policies.time_zone)

    def _refuse_homeless(self) -> None:
        """Raises ConfigError where what is collected would have no project to go to."""
        if not self._settings.sink.uses_platform:
            return
        for stream in self._settings.stream_names:
            standing = self.policies.current_for(stream)
            if standing is None or not standing.policy.enabled or standing.policy.target_project is not None:
                continue
            if self._settings.project_of(stream) is None:
                raise ConfigError(
                    f"sink.project: missing, and neither the source of stream {stream}'s policy nor its "
                    "target_project names a project to deliver to"
                )


def _told_of(held: PolicySourceStatus) -> PolicyReport:
    standing = held.current
    policy = NO_POLICY_YET if standing is None else standing.policy
    return PolicyReport(
        name=held.scope,
        source=held.source,
        streams=held.streams,
        enabled=policy.enabled,
        hash=None if standing is None else standing.hash,
        fetched_at_s=None if standing is None else standing.fetched_at_s,
        from_disk=standing is not None and standing.from_disk,
        strategies=tuple(strategy.name for strategy in policy.sampling_strategies),
        left_out=() if standing is None else standing.left_out,
        notes=() if standing is None else standing.notes,
        trouble=held.problem,
    )


def _component(told: PolicyEvent) -> str:
    if told.project_pair is not None:
        return "policies of models"  # one for all: clients name them
    return "policy" if not told.streams else f"policy of {', '.join(told.streams)}"
