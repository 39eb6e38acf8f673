"""The policy of a project of the platform."""

from __future__ import annotations

from framesift.clock import Clock
from framesift.policy_source.fetched import read_fetched
from framesift.policy_source.nouns import Got, PolicyUnavailable
from framesift.policy_source.options import RoboflowPolicy
from framesift.prediction import Task
from framesift.roboflow import PlatformTrouble, Roboflow, Trouble


class RoboflowSource:
    """A project's configuration, asked for in the order of the reference: the key's workspace, the project's type, the
    model's type. Where the types don't fit, nothing is collected; then the configuration, where "not for this key" and
    "there is none" mean that nothing is collected as well. Any other trouble is no answer."""

    def __init__(self, options: RoboflowPolicy, platform: Roboflow, clock: Clock, task: Task | None) -> None:
        """task: the local model's, None where it does not say."""
        self._project = options.project
        self._model_id = options.model_id
        self._platform = platform
        self._clock = clock
        self._task = task
        self.told = str(options)
        self.name = options.project
        self.identity = f"roboflow {options.project} {options.model_id}"

    def ask(self, within_s: float) -> Got:
        try:
            return self._ask(_Deadline(self._clock, within_s, self.told))
        except PlatformTrouble as trouble:
            raise PolicyUnavailable(f"{self.told}: {trouble}", trouble.retry_after_s) from None

    def _ask(self, deadline: _Deadline) -> Got:
        platform, project = self._platform, self._project
        workspace = platform.workspace(within_s=deadline.left_s())
        kind = platform.project_type(workspace, project, within_s=deadline.left_s())
        model, model_kind = "the local model", None if self._task is None else str(self._task)
        if self._model_id is not None:
            model = f"the model {self._model_id}"
            trained_on = self._model_id.partition("/")[0]
            # Its type is that of the project on which it was trained.
            model_kind = kind if trained_on == project else None
            if model_kind is None:
                model_kind = platform.project_type(workspace, trained_on, within_s=deadline.left_s())
        if model_kind is not None and _classifies(model_kind) != _classifies(kind):
            return self._off(workspace, f"{model} does {model_kind}, the project {project} is for {kind}")
        try:
            document = platform.active_learning(workspace, project, within_s=deadline.left_s())
        except PlatformTrouble as trouble:
            if trouble.trouble is Trouble.NOT_FOUND:
                return self._off(workspace, f"the project {project} has no active-learning configuration")
            if trouble.trouble is Trouble.KEY:
                return self._off(workspace, f"the key may not read the active-learning configuration of {project}")
            raise
        fetched = read_fetched(document, self.told)
        found = fetched.policy
        workspace = found.target_workspace or workspace
        return Got(
            found, document, fetched.left_out, self._misfits(kind), workspace, found.target_project or self._project
        )

    def _off(self, workspace: str, why: str) -> Got:
        off = read_fetched({"enabled": False}, self.told).policy
        return Got(off, {"enabled": False}, (), (f"{why}: nothing is collected",), workspace, self._project)

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


def _classifies(kind: str) -> bool:
    return "classification" in kind
