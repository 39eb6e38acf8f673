"""RoboflowSource: the policy of a project of the platform."""

from __future__ import annotations

from framesift.clock.clock import Clock
from framesift.policy.policy_settings import RoboflowPolicySettings
from framesift.policy.tolerant_parser import parse_fetched
from framesift.policy.types import PolicyUnavailable, ProjectPair, SourceAnswer
from framesift.prediction.prediction import Task
from framesift.roboflow import PlatformError, PlatformErrorKind, RoboflowClient

_NO_ACCESS = (PlatformErrorKind.NOT_FOUND, PlatformErrorKind.KEY_REJECTED)


class RoboflowSource:
    """The active-learning configuration of a project.

    It asks in the order of Roboflow's inference server: the key's workspace, the project's type, the model's type, the
    configuration. Where the types don't suit each other, or there is no configuration for this key, the answer is a
    disabled policy. Any other problem is PolicyUnavailable.
    """

    def __init__(
        self,
        settings: RoboflowPolicySettings,
        platform: RoboflowClient,
        clock: Clock,
        task: Task | None,
        pair: ProjectPair | None = None,
    ) -> None:
        """task: the local model's, None if it does not say. pair: for a model that a client has named.

        With a pair, a missing project is an answer too: a disabled policy.
        """
        self._project = settings.project
        self._model = "the local model" if settings.model_id is None else f"the model {settings.model_id}"
        self._trained_on = None if settings.model_id is None else settings.trained_on
        self._platform = platform
        self._clock = clock
        self._task = task
        self._is_pair = pair is not None
        self.display_name = str(settings)
        self.short_name = settings.project
        self.identity = f"roboflow {settings.project} {settings.model_id}"
        if pair is not None:
            self._model, self._trained_on = f"a model of {pair.trained_on}", pair.trained_on
            self.display_name = f"roboflow project {pair.project} ({self._model})"
            self.identity = f"roboflow {pair.project} of {pair.trained_on}"

    def fetch(self, within_s: float) -> SourceAnswer:
        """Fetches the configuration. See PolicySource.fetch."""
        try:
            return self._fetch(_Deadline(self._clock, within_s, self.display_name))
        except PlatformError as error:
            raise PolicyUnavailable(f"{self.display_name}: {error}", error.repeat_after_s) from None

    def _fetch(self, deadline: _Deadline) -> SourceAnswer:
        workspace = self._platform.fetch_workspace(within_s=deadline.left_s())
        try:
            return self._fetch_from(workspace, deadline)
        except PlatformError as error:
            if self._is_pair and error.kind in _NO_ACCESS:
                return self._disabled(workspace, str(error))
            raise

    def _fetch_from(self, workspace: str, deadline: _Deadline) -> SourceAnswer:
        platform, project = self._platform, self._project
        kind = platform.fetch_project_type(workspace, project, within_s=deadline.left_s())
        model_kind = None if self._task is None else str(self._task)
        if self._trained_on is not None:
            # A model has the type of the project on which it was trained.
            model_kind = kind
            if self._trained_on != project:
                model_kind = platform.fetch_project_type(workspace, self._trained_on, within_s=deadline.left_s())
        if _is_mismatch(model_kind, kind):
            return self._disabled(workspace, f"{self._model} does {model_kind}, the project {project} is for {kind}")
        try:
            document = platform.fetch_active_learning(workspace, project, within_s=deadline.left_s())
        except PlatformError as error:
            if error.kind is PlatformErrorKind.NOT_FOUND:
                return self._disabled(workspace, f"the project {project} has no active-learning configuration")
            if error.kind is PlatformErrorKind.KEY_REJECTED:
                return self._disabled(workspace, f"the key may not read the active-learning configuration of {project}")
            raise
        fetched = parse_fetched(document, self.display_name)
        found = fetched.policy
        workspace, target = found.target_workspace or workspace, found.target_project or project
        if target != project and found.enabled:
            target_kind = self._type_of_target(workspace, target, deadline)
            if _is_mismatch(kind, target_kind):
                why = f"the project {project} is for {kind}, its target_project {target} for {target_kind}"
                return self._disabled(workspace, why)
        return SourceAnswer(found, document, fetched.left_out, self._type_notes(kind), workspace, target)

    def _type_of_target(self, workspace: str, target: str, deadline: _Deadline) -> str | None:
        """The type of the target project, None if this key can't ask for it: delivering will show whether it works."""
        try:
            return self._platform.fetch_project_type(workspace, target, within_s=deadline.left_s())
        except PlatformError as error:
            if error.kind in _NO_ACCESS:
                return None
            raise

    def _disabled(self, workspace: str, why: str) -> SourceAnswer:
        policy = parse_fetched({"enabled": False}, self.display_name).policy
        notes = (f"{why}: nothing is collected",)
        return SourceAnswer(policy, {"enabled": False}, (), notes, workspace, self._project, has_no_policy=True)

    def _type_notes(self, kind: str) -> tuple[str, ...]:
        """A note where the labels may not be what the project expects; Roboflow's server collects in this case too."""
        if self._task is None or str(self._task) == kind or (_classifies(str(self._task)) and _classifies(kind)):
            return ()
        return (f"the local model does {self._task}, the project {self._project} is for {kind}",)


class _Deadline:
    """One deadline for all requests of one fetch."""

    def __init__(self, clock: Clock, within_s: float, name: str) -> None:
        self._clock = clock
        self._within_s = within_s
        self._until_s = clock.monotonic() + within_s
        self._name = name

    def left_s(self) -> float:
        """The seconds that are left. Raises PolicyUnavailable when there are none."""
        left_s = self._until_s - self._clock.monotonic()
        if left_s <= 0:
            raise PolicyUnavailable(f"{self._name}: the platform did not answer within {self._within_s:g} s")
        return left_s


def _is_mismatch(one: str | None, other: str | None) -> bool:
    """Whether labels of one type surely can't be labels of the other."""
    return one is not None and other is not None and _classifies(one) != _classifies(other)


def _classifies(kind: str) -> bool:
    return "classification" in kind
