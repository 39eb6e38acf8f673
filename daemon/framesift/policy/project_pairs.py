"""ProjectPairs: the models that clients have named, with the sources of the policies that apply to them.

A pair is registered with its first image, at most MAX_PROJECT_PAIRS of them. A pair without a policy is removed when it
would be fetched again: so a client that invents names causes at most that many requests in a quarter of an hour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from framesift.policy.cache import scope_name
from framesift.policy.policy_settings import PolicySettings, RoboflowPolicySettings
from framesift.policy.source_state import SourceState
from framesift.policy.types import NoPolicyReason, PolicySource, ProjectPair

MAX_PROJECT_PAIRS = 64


class ProjectPairs:
    """Thread-safe."""

    def __init__(
        self,
        common_settings: PolicySettings,
        common: SourceState,
        own_scopes: Mapping[str, str],
        *,
        has_model_task: bool,
        create_source: Callable[[ProjectPair], PolicySource],
        on_new: Callable[[], None],
    ) -> None:
        """Registers nothing yet.

        common: the state of the settings' common source. own_scopes: the scopes of projects that are the own source of
        a stream. has_model_task: whether the local model's task is known, and so checked by the common source.
        on_new: called when a new pair is registered.
        """
        self._common = common
        self._create_source = create_source
        self._on_new = on_new
        self._lock = threading.Lock()
        self._states: dict[ProjectPair, SourceState] = {}
        self._scopes = dict(own_scopes)
        # The pair for which the common source already has the answer.
        self._common_pair: ProjectPair | None = None
        if isinstance(common_settings, RoboflowPolicySettings):
            self._scopes[common_settings.project] = common.scope
            if not has_model_task:
                self._common_pair = ProjectPair(common_settings.project, common_settings.trained_on)

    def register(self, pair: ProjectPair) -> NoPolicyReason | None:
        """Registers a pair, if it is new, and returns at once why it has no policy; None if it has one.

        The policy of a new pair is still to be fetched.
        """
        with self._lock:
            state = self._states.get(pair)
            if state is None:
                if len(self._states) >= MAX_PROJECT_PAIRS:
                    return NoPolicyReason.TOO_MANY
                state = self._common
                if pair != self._common_pair:
                    state = SourceState(self._create_source(pair), self.scope_of(pair.project), (), pair)
                    self._on_new()
                self._states[pair] = state
        if state.current is None:
            return NoPolicyReason.REQUESTED if state.problem is None else NoPolicyReason.UNAVAILABLE
        return NoPolicyReason.NONE if state.current.has_no_policy else None

    def known(self) -> tuple[ProjectPair, ...]:
        """The registered pairs."""
        with self._lock:
            return tuple(self._states)

    def state_of(self, pair: ProjectPair) -> SourceState | None:
        """The source of a registered pair; None for others."""
        with self._lock:
            return self._states.get(pair)

    def states(self) -> list[SourceState]:
        """The sources of all pairs, without the common one."""
        with self._lock:
            return [state for state in self._states.values() if state.project_pair is not None]

    def remove(self, state: SourceState) -> None:
        """Removes the pair of a source."""
        with self._lock:
            if state.project_pair is not None:
                self._states.pop(state.project_pair, None)

    def scope_of(self, project: str) -> str:
        """The scope of a project's policy: limits of a project are counted together, whichever model sees an image."""
        return self._scopes.get(project, scope_name(self._create_source(ProjectPair(project, project))))
