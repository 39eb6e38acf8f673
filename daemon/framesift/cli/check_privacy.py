"""What `check` says of privacy: what is covered on each stream's pictures, by what, and who sees them unmasked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framesift.cli.console import counted
from framesift.cli.probes import Finding
from framesift.frame import Frame
from framesift.models import REMOTE_MODELS, ModelFailed
from framesift.prediction.prediction import Detections
from framesift.service.stream_models import UsedModel
from framesift.service.stream_privacies import never_masked, unknown_classes
from framesift.settings import ListenerEntry, PrivacyEntry, Settings, StreamEntry

_ADVICE = "correct the block `privacy` of the settings (docs/privacy.md)"


def privacy_findings(
    settings: Settings, models: Sequence[UsedModel], detectors: Sequence[UsedModel]
) -> Iterator[Finding]:
    """models, detectors: those that could be loaded."""
    owners: list[StreamEntry | ListenerEntry] = [*settings.streams, *settings.listeners]
    if not any(settings.privacy_of(owner) for owner in owners):
        return
    for owner in owners:
        is_stream = isinstance(owner, StreamEntry)
        name = owner.name if isinstance(owner, StreamEntry) else owner.stream
        subject = f"privacy of {name}" if is_stream else f"privacy of listener {name}"
        privacy = settings.privacy_of(owner)
        if privacy is None:
            yield Finding(subject, None, "nothing is covered on its pictures", "leave out `privacy: false` there")
            continue
        own = next((used for used in models if is_stream and name in used.use.streams), None)
        detector = next((used for used in detectors if used.use.settings == privacy.detector), None)
        yield from _of_one(subject, privacy, own, detector, is_stream=is_stream)
        if isinstance(owner, ListenerEntry) and owner.upstream is not None:
            yield _seen_by(subject, "the inference server behind it, and the program that asks it,")
    for used in (*models, *detectors):
        if used.use.settings.type in REMOTE_MODELS:
            yield _seen_by("privacy", f"the inference server of the {used.use.name}")


def detector_finding(detector: UsedModel, frame: Frame) -> Finding:
    """Ask a detector about the first frame of a stream."""
    subject = detector.use.name
    try:
        prediction = detector.model.predict(frame)
    except ModelFailed as error:
        return Finding(subject, False, f"{frame.stream}: {error}", "every frame would be unmasked: correct it first")
    if not isinstance(prediction, Detections):
        text = f"{frame.stream}: it answered without boxes of objects"
        return Finding(subject, False, text, "every frame would be unmasked: name a model that finds objects")
    return Finding(subject, True, f"{frame.stream}: {counted(len(prediction.columns), 'object')} in the first frame")


def _of_one(
    subject: str, privacy: PrivacyEntry, own: UsedModel | None, detector: UsedModel | None, *, is_stream: bool
) -> Iterator[Finding]:
    problem = never_masked(privacy, own.model if own else None, is_stub=own is not None and own.is_stub)
    if problem is not None:
        yield Finding(subject, False, problem, _ADVICE)
        return
    known = [used.model for used in (own, detector) if used is not None]
    unknown = list(unknown_classes(privacy, known)) if is_stream and known else []
    for problem in unknown:
        yield Finding(subject, False, problem, _ADVICE)
    if not unknown:
        yield Finding(subject, True, _covered(privacy, "the model" if is_stream else "the client's prediction"))


def _covered(privacy: PrivacyEntry, by: str) -> str:
    parts = []
    if privacy.classes:
        by = by if privacy.detector is None else f"the detector and {by}"
        parts.append(f"{', '.join(privacy.classes)} ({privacy.style}), found by {by}")
    if privacy.polygons:
        parts.append(f"{counted(len(privacy.polygons), 'polygon')}, black")
    return f"covered: {'; '.join(parts)}"


def _seen_by(subject: str, who: str) -> Finding:
    return Finding(subject, None, f"{who} sees the pictures unmasked", "let it run where they may be seen")
