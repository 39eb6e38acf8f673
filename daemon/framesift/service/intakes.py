"""Intakes: creates the intake of each stream, with what all frames of this device have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from framesift.clock.clock import Clock
from framesift.listeners import ListenerSettings
from framesift.policy import NoPolicyReason, ProjectPair
from framesift.policy.policy import NO_POLICY_YET
from framesift.prediction.prediction import Task
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.frame_memories import FrameMemories
from framesift.sampling.intake import Intake
from framesift.sampling.waiting_frames import Snapshots
from framesift.service.policy_subscriptions import PolicySubscriptions
from framesift.service.stream_privacies import StreamPrivacies, is_video
from framesift.settings import Settings, StreamEntry
from framesift.spool import Spool, SpoolBroken
from framesift.strategies import AcceptedClasses
from framesift.telemetry import Telemetry


class Intakes:
    """Thread-safe. Also a `ModelPolicies` for the listeners: see there, and PolicySubscriptions."""

    def __init__(
        self,
        settings: Settings,
        subscriptions: PolicySubscriptions,
        admission: Admission,
        telemetry: Telemetry,
        privacies: StreamPrivacies,
        accepted: Callable[[], None],
        *,
        frames: AcceptedFrames,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """admission: of this device; its spool must be open.

        frames: what the streams that follow no project pair share, with each other and in part with the others.
        accepted: called after each frame that was accepted into the spool, from any thread. on_failure: an unexpected
        error in a thread of an intake.
        """
        self._settings = settings
        self._subscriptions = subscriptions
        self._admission = admission
        self._telemetry = telemetry
        self._privacies = privacies
        self._accepted = accepted
        self._on_failure = on_failure
        self._lock = threading.Lock()  # of the settings and what was created with them
        self._blocks = (*settings.streams, *settings.listeners)
        self._created: list[tuple[Intake, StreamEntry | ListenerSettings]] = []
        self._accepted_frames = {"": frames}  # by the origin's memory

    def create(
        self,
        stream: str,
        owner: StreamEntry | ListenerSettings,
        clock: Clock,
        pair: ProjectPair | None = None,
        *,
        snapshots: Snapshots | None = None,
    ) -> Intake:
        """Return a stream's intake, which follows the stream's policy, or that of a project pair.

        owner: the block of the settings whose tags it has. clock: of the thread that will use the intake. snapshots:
        of the stream.
        """
        settings = self._settings
        subject = stream if pair is None else pair
        origin = CollectionOrigin(
            settings.device,
            settings.tags,
            self._tags_of(owner, settings),
            settings.seed,
            settings.project_of(stream) if pair is None else pair.project,
            self._subscriptions.policies.scope_of(subject),
            "" if pair is None else f"{pair.project}/{pair.trained_on}",
            settings.model_id_of(stream) if pair is None else "",
        )
        intake = Intake(
            stream,
            origin,
            policy=NO_POLICY_YET,
            accepted=self._accepted_frames_of(origin.memory),
            admission=self._admission.for_thread(clock),
            telemetry=self._telemetry,
            on_accepted=self._accepted,
            privacy=self._privacies.create(stream, owner),
            snapshots=snapshots,
            is_video=is_video(owner),
            on_failure=self._on_failure,
        )
        self._subscriptions.subscribe(subject, intake.set_policy)
        self._admission.requests.add_stream(stream, lambda: intake.standing_refusal)
        with self._lock:
            self._created.append((intake, owner))
            if self._settings is not settings:  # replaced meanwhile
                intake.set_tags(self._settings.tags, self._tags_of(owner, self._settings))
        return intake

    def set_settings(self, settings: Settings) -> None:
        """Apply the tags of other settings, with the same streams and listeners, to present and later intakes."""
        with self._lock:
            self._settings = settings
            for intake, owner in self._created:
                intake.set_tags(settings.tags, self._tags_of(owner, settings))

    def _tags_of(self, owner: StreamEntry | ListenerSettings, settings: Settings) -> tuple[str, ...]:
        """The tags that a block of the settings of the start has now."""
        now = [*(stream.tags for stream in settings.streams), *(listener.tags for listener in settings.listeners)]
        return next((tags for before, tags in zip(self._blocks, now, strict=True) if before is owner), owner.tags)

    def _accepted_frames_of(self, memory: str) -> AcceptedFrames:
        """What the streams with such a memory share: what goes to another project is no near duplicate."""
        with self._lock:
            common = self._accepted_frames[""]
            return self._accepted_frames.setdefault(memory, replace(common, memories=FrameMemories()))

    @property
    def has_project_policies(self) -> bool:
        """See Policies."""
        return self._subscriptions.policies.has_project_policies

    def project_pair_of(self, stream: str, model_id: str, dataset: str | None) -> ProjectPair | NoPolicyReason | None:
        """See PolicySubscriptions."""
        return self._subscriptions.project_pair_of(stream, model_id, dataset)

    def accepts_labels(self, stream: str) -> bool:
        """See PolicySubscriptions."""
        return self._subscriptions.accepts_labels(stream)

    def task_of(self, project: str, within_s: float) -> Task | None:
        """See PolicySubscriptions."""
        return self._subscriptions.task_of(project, within_s)


def read_accepted_classes(spool: Spool) -> AcceptedClasses:
    """Return what was predicted in all frames that were ever accepted into the spool."""
    try:
        return AcceptedClasses(spool.class_counts())
    except SpoolBroken:  # a disk that is full or read-only now: counted from zero until the next start
        return AcceptedClasses({})
