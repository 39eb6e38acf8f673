"""The policy of a project of the platform."""

from __future__ import annotations

from framesift.clock.clock import Clock
from framesift.policy.policy_settings import RoboflowPolicySettings
from framesift.policy.tolerant_parser import parse_fetched
from framesift.policy.types import PolicyUnavailable, ProjectPair, SourceAnswer
from framesift.prediction.prediction import Task
from framesift.roboflow import PlatformError, PlatformErrorKind, RoboflowClient

_NOT_FOR_US = (PlatformErrorKind.NOT_FOUND, PlatformErrorKind.KEY_REJECTED)


class RoboflowSource:
    """A project's configuration, asked for in the order of the reference: the key's workspace, the project's type, the
    model's type. Where the types don't fit, nothing is collected; then the configuration, where "not for this key" and
    "there is none" mean that nothing is collected as well. Any other trouble is no answer.
    """

    def __init__(
        self,
        options: RoboflowPolicySettings,
        platform: RoboflowClient,
        clock: Clock,
        task: Task | None,
        pairing: ProjectPair | None = None,
    ) -> None:
        """task: the local model's, None where it does not say. pairing: of a model that a client has named; then a
        project that is not there is an answer as well.
        """
        self._project = options.project
        self._model = "the local model" if options.model_id is None else f"the model {options.model_id}"
        self._trained_on = None if options.model_id is None else options.trained_on
        self._platform = platform
        self._clock = clock
        self._task = task
        self._met = pairing is not None
        self.display_name = str(options)
        self.short_name = options.project
        self.identity = f"roboflow {options.project} {options.model_id}"
        if pairing is not None:
            self._model, self._trained_on = f"a model of {pairing.trained_on}", pairing.trained_on
            self.display_name = f"roboflow project {pairing.project} ({self._model})"
            self.identity = f"roboflow {pairing.project} of {pairing.trained_on}"

    def fetch(self, within_s: float) -> SourceAnswer:
        try:
            return self._ask(_Deadline(self._clock, within_s, self.display_name))
        except PlatformError as trouble:
            raise PolicyUnavailable(f"{self.display_name}: {trouble}", trouble.retry_after_s) from None

    def _ask(self, deadline: _Deadline) -> SourceAnswer:
        workspace = self._platform.fetch_workspace(within_s=deadline.left_s())
        try:
            return self._ask_of(workspace, deadline)
        except PlatformError as trouble:
            if self._met and trouble.kind in _NOT_FOR_US:
                return self._off(workspace, str(trouble))
            raise

    def _ask_of(self, workspace: str, deadline: _Deadline) -> SourceAnswer:
        platform, project = self._platform, self._project
        kind = platform.fetch_project_type(workspace, project, within_s=deadline.left_s())
        model_kind = None if self._task is None else str(self._task)
        if self._trained_on is not None:
            # Its type is that of the project on which it was trained.
            model_kind = kind
            if self._trained_on != project:
                model_kind = platform.fetch_project_type(workspace, self._trained_on, within_s=deadline.left_s())
        if _misfit(model_kind, kind):
            return self._off(workspace, f"{self._model} does {model_kind}, the project {project} is for {kind}")
        try:
            document = platform.fetch_active_learning(workspace, project, within_s=deadline.left_s())
        except PlatformError as trouble:
            if trouble.kind is PlatformErrorKind.NOT_FOUND:
                return self._off(workspace, f"the project {project} has no active-learning configuration")
            if trouble.kind is PlatformErrorKind.KEY_REJECTED:
                return self._off(workspace, f"the key may not read the active-learning configuration of {project}")
            raise
        fetched = parse_fetched(document, self.display_name)
        found = fetched.policy
        workspace, target = found.target_workspace or workspace, found.target_project or project
        if target != project and found.enabled:
            target_kind = self._kind_of_target(workspace, target, deadline)
            if _misfit(kind, target_kind):
                why = f"the project {project} is for {kind}, its target_project {target} for {target_kind}"
                return self._off(workspace, why)
        return SourceAnswer(found, document, fetched.left_out, self._misfits(kind), workspace, target)

    def _kind_of_target(self, workspace: str, target: str, deadline: _Deadline) -> str | None:
        """None where it can't be known: the platform will say when something is delivered there."""
        try:
            return self._platform.fetch_project_type(workspace, target, within_s=deadline.left_s())
        except PlatformError as trouble:
            if trouble.kind in _NOT_FOR_US:
                return None
            raise

    def _off(self, workspace: str, why: str) -> SourceAnswer:
        off = parse_fetched({"enabled": False}, self.display_name).policy
        told = (f"{why}: nothing is collected",)
        return SourceAnswer(off, {"enabled": False}, (), told, workspace, self._project, has_no_policy=True)

    def _misfits(self, kind: str) -> tuple[str, ...]:
        """What the reference collects all the same, though the labels may not be what the project expects."""
        if self._task is None or str(self._task) == kind or (_classifies(str(self._task)) and _classifies(kind)):
            return ()
        return (f"the local model does {self._task}, the project {self._project} is for {kind}",)


class _Deadline:
    """One for all the calls of an answer."""

    def __init__(self, clock: Clock, within_s: float, told: str) -> None:
        self._clock = clock
        self._within_s = within_s
        self._until_s = clock.monotonic() + within_s
        self._told = told

    def left_s(self) -> float:
        left_s = self._until_s - self._clock.monotonic()
        if left_s <= 0:
            raise PolicyUnavailable(f"{self._told}: the platform did not answer within {self._within_s:g} s")
        return left_s


def _misfit(one: str | None, other: str | None) -> bool:
    """Whether labels of the one are surely none of the other."""
    return one is not None and other is not None and _classifies(one) != _classifies(other)


def _classifies(kind: str) -> bool:
    return "classification" in kind
