"""StreamPrivacies: the privacy of each stream of a run, with its detector, and what log and health say of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from framesift.config.errors import ConfigError, format_value, nearest
from framesift.frame import Frame
from framesift.listeners import ListenerSettings
from framesift.models import Model, ModelUnavailable
from framesift.models.health import ModelBroken, ModelHealth
from framesift.prediction.prediction import DETECTION_TASKS, Prediction
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.service.run_context import RunContext
from framesift.service.stream_models import StreamModels
from framesift.settings import ListenerEntry, PrivacyEntry, StreamEntry
from framesift.telemetry import Condition, Telemetry

# How many streams the health lists, since clients of the listeners choose the streams' names.
MAX_UNMASKED_STREAMS = 50
_COMPONENT_PREFIX = "privacy of "
_NONE: Mapping[Model, Model] = MappingProxyType({})


class StreamPrivacies:
    """Makes the privacy of each stream. Thread-safe."""

    def __init__(self, run: RunContext, models: StreamModels) -> None:
        """Raises ConfigError if a class is to be covered that no model of the stream has."""
        self._settings = run.settings
        self._models = models
        self._telemetry = run.telemetry
        problems = [problem for stream in self._settings.streams for problem in self._unknown_classes(stream)]
        if problems:
            raise ConfigError(*problems)
        for stream in self._settings.streams:
            self._warn_if_nothing_is_kept(stream)

    def create(self, stream: str, owner: StreamEntry | ListenerSettings) -> StreamPrivacy | None:
        """Return what masks the pictures of a stream; None where nothing is covered. owner: its block."""
        if not isinstance(owner, StreamEntry | ListenerEntry):
            raise TypeError(f"{type(owner).__name__} is no entry of streams or listeners")
        settings = self._settings.privacy_of(owner)
        if settings is None:
            return None
        found = self._models.detector_of(settings)
        return StreamPrivacy(
            settings,
            detect=None if found is None else _Detector(*found).detect,
            is_video=is_video(owner),
            observer=_MaskReports(self._telemetry, stream),
        )

    def _warn_if_nothing_is_kept(self, stream: StreamEntry) -> None:
        settings = self._settings.privacy_of(stream)
        used = self._models.of_streams((stream.name,))
        if settings is None or not used:
            return
        why = never_masked(settings, used[0].model, is_stub=used[0].is_stub)
        if why is not None:
            self._telemetry.warning("nothing_can_be_masked", stream=stream.name, why=why)

    def problems(self, replaced: Model, by: Model) -> list[str]:
        """Why another model can't be put in the place of one: it lacks classes that are to be covered."""
        return [
            problem for stream in self._settings.streams for problem in self._unknown_classes(stream, {replaced: by})
        ]

    def _unknown_classes(self, stream: StreamEntry, instead: Mapping[Model, Model] = _NONE) -> Iterator[str]:
        """instead: models that are judged in the place of others."""
        settings = self._settings.privacy_of(stream)
        if settings is None:
            return
        detector = self._models.detector_of(settings)
        models = [self._models.of(stream.name)[0], *(() if detector is None else (detector[0],))]
        for problem in unknown_classes(settings, [instead.get(model, model) for model in models]):
            yield f"privacy of stream {stream.name}: {problem}"


def is_video(owner: StreamEntry | ListenerSettings) -> bool:
    """Whether each frame of a block's streams follows the one before; those of a folder or a client need not."""
    return isinstance(owner, StreamEntry) and not owner.is_pictures


def unknown_classes(settings: PrivacyEntry, models: list[Model]) -> Iterator[str]:
    """Yield for each class to be covered why none of these models can find it; nothing where one does not tell."""
    lists = [model.class_names for model in models]
    known = [name for names in lists if names is not None for name in names]
    if None in lists or not known:
        return
    for name in settings.classes:
        if name not in known:
            meant = nearest(name, known)
            hint = f"did you mean {meant}?" if meant else f"known are {', '.join(dict.fromkeys(known))}"
            yield f"classes: {format_value(name)} is no class of {_called(models)}; {hint}"


def never_masked(settings: PrivacyEntry, model: Model | None, *, is_stub: bool) -> str | None:
    """Return why no frame of a stream can be masked; None where one may be. model: the stream's, None if unknown."""
    if settings.detector is not None:
        return None
    if settings.require == "detector":
        return "a detector is required, and there is none: nothing is kept"
    if settings.classes and is_stub:
        return "the model is a stub, which finds no objects: nothing is kept"
    if settings.classes and model is not None and model.task is not None and model.task not in DETECTION_TASKS:
        return f"the model is for {model.task}, and tells no places of objects: nothing is kept"
    return None


def _called(models: list[Model]) -> str:
    return "the model" if len(models) == 1 else "the model or the detector"


class _Detector:
    """A detector as privacy asks it: each answer and each failure is recorded in its health."""

    def __init__(self, model: Model, health: ModelHealth) -> None:
        self._model = model
        self._health = health

    def detect(self, frame: Frame) -> Prediction:
        """Raises whatever the model raises."""
        try:
            with self._health.asking():
                prediction = self._model.predict(frame)
        except ModelUnavailable as error:
            self._health.record_unavailable(str(error))
            raise
        except Exception as error:
            with contextlib.suppress(ModelBroken):  # the health says so; the streams without privacy go on
                self._health.record_failure(frame.stream, str(error) or type(error).__name__)
            raise
        self._health.record_success(frame.stream)
        return prediction


class _MaskReports:
    """A MaskObserver for the log and the health: see there."""

    def __init__(self, telemetry: Telemetry, stream: str) -> None:
        self._telemetry = telemetry
        self._stream = stream
        self._component = _COMPONENT_PREFIX + stream
        self._lock = threading.Lock()  # of what follows
        self._is_listed = False
        self._has_ended = False

    def masked(self) -> None:
        with self._lock:
            if self._is_listed:
                self._telemetry.health.set_ok(self._component, forget=True)
                self._is_listed = False

    def unmasked(self, why: str) -> None:
        self._telemetry.warning("frame_unmasked", stream=self._stream, why=why)
        with self._lock:
            if not self._has_ended and (self._is_listed or self._health_has_room()):
                why = f"no frame could be masked since: {why}"
                self._telemetry.health.set(self._component, Condition.DEGRADED, why)
                self._is_listed = True

    def stream_ended(self) -> None:
        with self._lock:
            self._has_ended = True  # frames that wait may still come
            if self._is_listed:
                self._telemetry.health.remove(self._component)
                self._is_listed = False

    def _health_has_room(self) -> bool:
        names = (component.name for component in self._telemetry.health.components())
        return sum(name.startswith(_COMPONENT_PREFIX) for name in names) < MAX_UNMASKED_STREAMS
