"""Intakes: what every frame of this machine has in common, wherever it comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from framesift.clock.clock import Clock
from framesift.policy import NoPolicyReason, ProjectPair
from framesift.policy.policy import NO_POLICY_YET
from framesift.prediction.prediction import Task
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.sampling.sampler import AcceptedClasses
from framesift.service.policy_subscriptions import PolicySubscriptions
from framesift.settings import Settings
from framesift.spool import Spool, SpoolBroken
from framesift.telemetry import Telemetry

if TYPE_CHECKING:
    from framesift.limits.shared.ledgers import SharedLedgers


class Intakes:
    """accepted: called after each frame that is in the spool, from any thread. fleet: who shares the limits, None for
    nobody.
    """

    def __init__(
        self,
        settings: Settings,
        steering: PolicySubscriptions,
        spool: Spool,
        telemetry: Telemetry,
        accepted: Callable[[], None],
        fleet: SharedLedgers | None = None,
    ) -> None:
        self._settings = settings
        self._steering = steering
        self._spool = spool
        self._telemetry = telemetry
        self._accepted = accepted
        self._fleet = fleet
        self._classes = _classes(spool)

    def create(self, stream: str, tags: tuple[str, ...], clock: Clock, pairing: ProjectPair | None = None) -> Intake:
        """A stream's intake, which follows the stream's policy, or that of a pairing that was met. tags: the stream's
        own. From any thread.
        """
        settings = self._settings
        subject = stream if pairing is None else pairing
        intake = Intake(
            stream,
            CollectionOrigin(
                settings.device,
                settings.tags,
                tags,
                settings.seed,
                settings.project_of(stream) if pairing is None else pairing.project,
                self._steering.policies.scope_of(subject),
            ),
            policy=NO_POLICY_YET,
            accepted_classes=self._classes,
            spool=self._spool,
            telemetry=self._telemetry,
            clock=clock,
            on_accepted=self._accepted,
            fleet=self._fleet,
        )
        self._steering.subscribe(subject, intake.set_policy)
        return intake

    @property
    def by_model(self) -> bool:
        """See Policies."""
        return self._steering.policies.has_project_policies

    def pairing_of(self, stream: str, model_id: str, dataset: str | None) -> ProjectPair | NoPolicyReason | None:
        """See Steering."""
        return self._steering.pairing_of(stream, model_id, dataset)

    def accepts_labels(self, stream: str) -> bool:
        """See Steering."""
        return self._steering.accepts_labels(stream)

    def task_of(self, project: str, within_s: float) -> Task | None:
        """See Steering."""
        return self._steering.task_of(project, within_s)


def _classes(spool: Spool) -> AcceptedClasses:
    try:
        return AcceptedClasses(spool.class_counts())
    except SpoolBroken:  # a disk that is full or read-only at the start: counted from nothing until the next start
        return AcceptedClasses({})
