"""`framesift check`: everything that a run will need, tried once, each failure with what to do about it."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from framesift import policy as policies
from framesift.clock import Clock
from framesift.config_errors import ConfigError
from framesift.frame import Frame
from framesift.models import Model, ModelFailed, ModelUnusable
from framesift.models import load as load_model
from framesift.policy import Policy
from framesift.settings import Settings
from framesift.sinks import open_sink
from framesift.strategies import problems
from framesift.streams import Stream, StreamLost, StreamOptions

FIRST_FRAME_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. good: None for something to know that hinders nothing. advice: what to do about it."""

    subject: str
    good: bool | None
    told: str
    advice: str = ""


def findings(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Tries everything in turn; each finding is told as soon as it is known."""
    yield Finding("configuration", True, f"device {settings.device}, {len(settings.streams)} stream(s)")
    yield _opencv()
    policy, finding = _policy(settings)
    yield finding
    model, finding = _model(settings)
    yield finding
    if policy is not None and model is not None:
        for problem in problems(
            policy.sampling_strategies, model.task, model.class_names, stub=settings.model.type == "stub"
        ):
            yield Finding("policy", None, problem, "such a strategy collects nothing: correct it or leave it out")
    for options in settings.streams:
        frame, finding = _first_frame(options, clock)
        yield finding
        if frame is not None and model is not None:
            yield _prediction(model, frame)
    yield _sink(settings, model)
    yield from _disk(settings)
    if model is not None:
        model.close()


def _opencv() -> Finding:
    capture = [cv2.videoio_registry.getBackendName(b) for b in cv2.videoio_registry.getStreamBackends()]
    return Finding(
        "OpenCV",
        "FFMPEG" in capture or "GSTREAMER" in capture,
        f"{cv2.__version__} with {', '.join(capture) or 'no capture backend'}",
        "install opencv-python-headless, or a build with FFmpeg or GStreamer",
    )


def _policy(settings: Settings) -> tuple[Policy | None, Finding]:
    try:
        policy = policies.load(settings.policy)
    except ConfigError as error:
        return None, Finding("policy", False, str(error), "correct the file; framesift init writes one that works")
    if not policy.enabled:
        return policy, Finding("policy", None, "enabled is false: nothing will be collected", 'set "enabled": true')
    names = ", ".join(s.name for s in policy.sampling_strategies)
    return policy, Finding("policy", True, f"{settings.policy.name}: {names}")


def _model(settings: Settings) -> tuple[Model | None, Finding]:
    try:
        model = load_model(settings.model)
    except ModelUnusable as error:
        return None, Finding("model", False, str(error), "correct the block `model` of the settings")
    return model, Finding("model", True, model.description)


def _first_frame(options: StreamOptions, clock: Clock) -> tuple[Frame | None, Finding]:
    stream = Stream(
        options,
        clock=clock,
        stop=threading.Event(),
        notify=lambda _event: None,
        count_skipped=lambda _skip, _count: None,
        chance=random.Random(0),
    )
    try:
        frame = stream.first_frame(FIRST_FRAME_WITHIN_S)
    except StreamLost as error:
        advice = (
            "is it there, readable for this user, and a video?"
            if options.is_file
            else "is the address right, the camera on, and the user name and password as the camera knows them?"
        )
        return None, Finding(f"stream {options.name}", False, str(error), advice)
    finally:
        stream.close()
    return frame, Finding(f"stream {options.name}", True, f"first frame {frame.width} x {frame.height}")


def _prediction(model: Model, frame: Frame) -> Finding:
    try:
        prediction = model.predict(frame)
    except ModelFailed as error:
        return Finding("prediction", False, str(error), "the model fails on this stream's pictures: mend it first")
    if prediction.dropped:
        told = f"{prediction.dropped} part(s) of the prediction are malformed: a number or a name is missing or wrong"
        return Finding(
            "prediction", False, f"{frame.stream}: {told}", "see the README, Models, for what an object needs"
        )
    objects = getattr(prediction, "objects", None)
    told = "answered" if objects is None else f"{len(objects)} object(s) in the first frame"
    return Finding("prediction", True, f"{frame.stream}: {told}")


def _sink(settings: Settings, model: Model | None) -> Finding:
    subject = f"sink {settings.sink.type}"
    try:
        sink = open_sink(settings.sink, class_names=None if model is None else model.class_names)
    except (OSError, ValueError) as error:
        return Finding(subject, False, str(error), "another daemon may be writing there; or choose another path")
    try:
        problem = sink.check()
    finally:
        sink.close()
    if problem is not None:
        return Finding(subject, False, problem, "make it writable for this user, or choose another path")
    return Finding(subject, True, "ready")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.spool.path.parent
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        told = f"{existing} is not writable for uid {os.getuid()}"
        yield Finding("spool", False, told, "change its owner, or choose another spool.path")
        return
    free_bytes = shutil.disk_usage(existing).free
    wanted_bytes = settings.spool.max_bytes + settings.spool.min_free_bytes
    told = f"{_gib(free_bytes)} free at {_short(existing)}"
    if free_bytes <= settings.spool.min_free_bytes:
        yield Finding("spool", False, told, "below spool.min_free_bytes: nothing can be accepted; make room")
    elif free_bytes < wanted_bytes:
        advice = "spool.max_bytes will not be reached before spool.min_free_bytes stops it"
        yield Finding("spool", None, told, advice)
    else:
        yield Finding("spool", True, told)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _short(path: Path) -> str:
    return str(path) if path.is_absolute() else f"./{path}"
