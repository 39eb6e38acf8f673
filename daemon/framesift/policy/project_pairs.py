"""Pairings: the models that clients have named, with the slots of the policies that hold for them.

A pairing is met with its first picture. There are MOST_PAIRINGS of them at most. One for which there is no policy is
forgotten when it would be asked for again: so whoever invents names costs so many questions in a quarter of an hour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from framesift.policy.cache import scope_name
from framesift.policy.policy_settings import PolicySettings, RoboflowPolicySettings
from framesift.policy.source_state import SourceState
from framesift.policy.types import NoPolicyReason, PolicySource, ProjectPair
from framesift.prediction.prediction import Task

MAX_PROJECT_PAIRS = 64


class ProjectPairs:
    """For any thread. common: the slot of the settings' own policy. own: by stream, of those that have their own, in
    the slots of by_stream. task: the local model's. source_of: makes a source. met: told of one that is new.
    """

    def __init__(
        self,
        options: PolicySettings,
        common: SourceState,
        own: Mapping[str, PolicySettings],
        by_stream: Mapping[str, SourceState],
        task: Task | None,
        source_of: Callable[[ProjectPair], PolicySource],
        on_new: Callable[[], None],
    ) -> None:
        self._common = common
        self._source_of = source_of
        self._met = on_new
        self._lock = threading.Lock()
        self._slots: dict[ProjectPair, SourceState] = {}
        self._suits_common: ProjectPair | None = None  # what it would be told is what the common source says
        self._scopes = {
            o.project: by_stream.get(stream, common).scope
            for stream, o in own.items()
            if isinstance(o, RoboflowPolicySettings)
        }
        if isinstance(options, RoboflowPolicySettings):
            self._scopes[options.project] = common.scope
            self._suits_common = None if task is not None else ProjectPair(options.project, options.trained_on)

    def register(self, pairing: ProjectPair) -> NoPolicyReason | None:
        """Returns at once, with why nothing of it can be collected, or None: a policy holds. That of a new pairing is
        still to be asked for.
        """
        with self._lock:
            slot = self._slots.get(pairing)
            if slot is None:
                if len(self._slots) >= MAX_PROJECT_PAIRS:
                    return NoPolicyReason.TOO_MANY
                slot = self._common
                if pairing != self._suits_common:
                    slot = SourceState(self._source_of(pairing), self.scope_of(pairing.project), (), pairing)
                    self._met()
                self._slots[pairing] = slot
        if slot.current is None:
            return NoPolicyReason.REQUESTED if slot.problem is None else NoPolicyReason.UNAVAILABLE
        return NoPolicyReason.NONE if slot.current.has_no_policy else None

    def known(self) -> tuple[ProjectPair, ...]:
        with self._lock:
            return tuple(self._slots)

    def state_of(self, pairing: ProjectPair) -> SourceState | None:
        with self._lock:
            return self._slots.get(pairing)

    def states(self) -> list[SourceState]:
        """Without the common one."""
        with self._lock:
            return [slot for slot in self._slots.values() if slot.project_pair is not None]

    def remove(self, slot: SourceState) -> None:
        with self._lock:
            if slot.project_pair is not None:
                self._slots.pop(slot.project_pair, None)

    def scope_of(self, project: str) -> str:
        """All that a project's policy collects is counted together, whichever model has seen it."""
        return self._scopes.get(project, scope_name(self._source_of(ProjectPair(project, project))))
