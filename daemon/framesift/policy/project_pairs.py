"""Pairings: the models that clients have named, with the slots of the policies that hold for them.

A pairing is met with its first picture. There are MOST_PAIRINGS of them at most. One for which there is no policy is
forgotten when it would be asked for again: so whoever invents names costs so many questions in a quarter of an hour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from framesift.policy.cache import scope_name
from framesift.policy.policy_settings import PolicyOptions, RoboflowPolicy
from framesift.policy.source_state import Slot
from framesift.policy.types import NoPolicy, Pairing, Source
from framesift.prediction.prediction import Task

MOST_PAIRINGS = 64


class Pairings:
    """For any thread. common: the slot of the settings' own policy. own: by stream, of those that have their own, in
    the slots of by_stream. task: the local model's. source_of: makes a source. met: told of one that is new."""

    def __init__(
        self,
        options: PolicyOptions,
        common: Slot,
        own: Mapping[str, PolicyOptions],
        by_stream: Mapping[str, Slot],
        task: Task | None,
        source_of: Callable[[Pairing], Source],
        met: Callable[[], None],
    ) -> None:
        self._common = common
        self._source_of = source_of
        self._met = met
        self._lock = threading.Lock()
        self._slots: dict[Pairing, Slot] = {}
        self._suits_common: Pairing | None = None  # what it would be told is what the common source says
        self._scopes = {
            o.project: by_stream.get(stream, common).scope for stream, o in own.items() if isinstance(o, RoboflowPolicy)
        }
        if isinstance(options, RoboflowPolicy):
            self._scopes[options.project] = common.scope
            self._suits_common = None if task is not None else Pairing(options.project, options.trained_on)

    def meet(self, pairing: Pairing) -> NoPolicy | None:
        """Returns at once, with why nothing of it can be collected, or None: a policy holds. That of a new pairing is
        still to be asked for."""
        with self._lock:
            slot = self._slots.get(pairing)
            if slot is None:
                if len(self._slots) >= MOST_PAIRINGS:
                    return NoPolicy.TOO_MANY
                slot = self._common
                if pairing != self._suits_common:
                    slot = Slot(self._source_of(pairing), self.scope_of(pairing.project), (), pairing)
                    self._met()
                self._slots[pairing] = slot
        if slot.standing is None:
            return NoPolicy.ASKED if slot.trouble is None else NoPolicy.AWAY
        return NoPolicy.NONE if slot.standing.lacking else None

    def met(self) -> tuple[Pairing, ...]:
        with self._lock:
            return tuple(self._slots)

    def slot(self, pairing: Pairing) -> Slot | None:
        with self._lock:
            return self._slots.get(pairing)

    def slots(self) -> list[Slot]:
        """Without the common one."""
        with self._lock:
            return [slot for slot in self._slots.values() if slot.pairing is not None]

    def forget(self, slot: Slot) -> None:
        with self._lock:
            if slot.pairing is not None:
                self._slots.pop(slot.pairing, None)

    def scope_of(self, project: str) -> str:
        """All that a project's policy collects is counted together, whichever model has seen it."""
        return self._scopes.get(project, scope_name(self._source_of(Pairing(project, project))))
