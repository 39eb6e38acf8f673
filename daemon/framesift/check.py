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

from framesift.clock import Clock
from framesift.config_errors import ConfigError
from framesift.frame import Frame
from framesift.limits import LimitsUnavailable
from framesift.models import Model, ModelAway, ModelFailed, ModelOptions, ModelUnusable, Remarks
from framesift.models import load as load_model
from framesift.moment import CLOCK_SET_AFTER_S
from framesift.online import Online, connect
from framesift.policy_source import PolicyOptions, PolicyUnavailable, source_of
from framesift.settings import NetworkOptions, RedisOptions, Settings
from framesift.sinks import open_sink
from framesift.strategies import nameless, problems
from framesift.streams import Stream, StreamLost, StreamOptions
from framesift.streams.opencv import ADVICE, fault

FIRST_FRAME_WITHIN_S = 20.0
ANSWER_WITHIN_S = 10.0
LEDGER_WITHIN_S = 5.0
CLOCKS_APART_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. good: None for something to know that hinders nothing. advice: what to do about it."""

    subject: str
    good: bool | None
    told: str
    advice: str = ""


def findings(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Tries everything in turn; each finding is told as soon as it is known."""
    yield Finding(
        "configuration",
        True,
        f"device {settings.device}, {len(settings.streams)} stream(s), {len(settings.doors)} door(s)",
    )
    yield _opencv()
    model: Model | None = None
    if settings.model is not None:
        model, finding = _model(settings.model, settings.network)
        yield finding
        if model is not None:
            yield from _remarks(model.remarks)
    online = connect(settings.roboflow, settings.network)
    yield from _policies(settings, online, clock, model)
    for options in settings.streams:
        frame, finding = _first_frame(options, clock)
        yield finding
        if frame is not None and model is not None:
            yield _prediction(model, frame)
    yield _sink(settings, online, model)
    if settings.limits.redis is not None:
        yield from ledger(settings.limits.redis, clock)
    online.close()
    yield from _disk(settings)
    if model is not None:
        model.close()


def _opencv() -> Finding:
    capture = [cv2.videoio_registry.getBackendName(b) for b in cv2.videoio_registry.getStreamBackends()]
    told = f"{cv2.__version__} with {', '.join(capture) or 'no capture backend'}"
    faulty = fault(cv2.__version__, cv2.getBuildInformation())
    if faulty is not None:
        return Finding("OpenCV", None, f"{told}: {faulty}", ADVICE)
    return Finding(
        "OpenCV",
        "FFMPEG" in capture or "GSTREAMER" in capture,
        told,
        "install opencv-python-headless, or a build with FFmpeg or GStreamer",
    )


def _policies(settings: Settings, online: Online, clock: Clock, model: Model | None) -> Iterator[Finding]:
    own = [(f"policy of {stream.name}", stream.policy) for stream in settings.streams if stream.policy is not None]
    for subject, options in [("policy", settings.policy), *own]:
        yield from _policy(
            subject, options, online, clock, model, stub=settings.model is not None and settings.model.type == "stub"
        )


def _policy(
    subject: str, options: PolicyOptions, online: Online, clock: Clock, model: Model | None, *, stub: bool
) -> Iterator[Finding]:
    task = None if model is None else model.task
    try:
        source = source_of(options, platform=online.platform, web=online.web, clock=clock, task=task)
        got = source.ask(ANSWER_WITHIN_S)
    except ConfigError as error:
        yield Finding(subject, False, str(error), "correct it; framesift init writes a file that works")
        return
    except PolicyUnavailable as error:
        advice = "until it answers, a run takes the last one that it kept; is the network there, and the key right?"
        yield Finding(subject, False, str(error), advice)
        return
    names = ", ".join(strategy.name for strategy in got.policy.sampling_strategies)
    if got.policy.enabled:
        yield Finding(subject, True, f"{source.name}: {names}")
    else:
        yield Finding(subject, None, "enabled is false: nothing will be collected", 'set "enabled": true')
    for note in got.notes:
        yield Finding(subject, None, note, "see the README, Roboflow")
    for left_out in got.left_out:
        yield Finding(subject, None, left_out, "it was left out; the rest holds")
    if model is not None:
        strategies, unnamed = got.policy.sampling_strategies, model.remarks.unnamed
        # A run refuses its own files for these, and takes from elsewhere what it can.
        refused = nameless(strategies, unnamed) if isinstance(options, Path) and got.policy.enabled else ()
        for problem in problems(strategies, model.task, model.class_names, stub=stub, unnamed=unnamed):
            good = False if problem in refused else None
            yield Finding(subject, good, problem, "such a strategy collects nothing: correct it or leave it out")


def _model(options: ModelOptions, network: NetworkOptions) -> tuple[Model | None, Finding]:
    try:
        model = load_model(options, ca_file=network.ca_file, proxy=network.proxy_address)
    except ModelUnusable as error:
        return None, Finding("model", False, str(error), "correct the block `model` of the settings")
    return model, Finding("model", True, model.description)


def _remarks(remarks: Remarks) -> Iterator[Finding]:
    if remarks.preparation:
        yield Finding("pictures", True, f"given to the model as {remarks.preparation}")
    if remarks.left_open:
        yield Finding("pictures", None, remarks.left_open, "set them as in the model's training")
    if remarks.unnamed:
        yield Finding("model", None, "its classes have no names: class_0, class_1, ... are made up", remarks.unnamed)


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
    except ModelAway as error:
        return Finding("prediction", False, str(error), "bring it up, or correct the block `model` of the settings")
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


def _sink(settings: Settings, online: Online, model: Model | None) -> Finding:
    subject = f"sink {settings.sink.type}"
    class_names = None if model is None else model.class_names
    try:
        sink = open_sink(settings.sink, class_names=class_names, platform=online.platform)
    except (OSError, ValueError) as error:
        return Finding(subject, False, str(error), "another daemon may be writing there; or choose another path")
    try:
        problem = sink.check()
    finally:
        sink.close()
    if problem is not None:
        folder = settings.sink.type == "folder"
        advice = "make it writable for this user, or choose another path" if folder else "is the network there?"
        return Finding(subject, False, problem, advice)
    return Finding(subject, True, "ready")


def ledger(options: RedisOptions, clock: Clock) -> Iterator[Finding]:
    """Whether the fleet's ledger can be kept there, and what would make it forget."""
    from framesift.limits.ledger import Ledger
    from framesift.limits.link import Link

    link = Link(options.server, LEDGER_WITHIN_S)
    try:
        link.connect()
        memory, server = link.info("memory"), link.info("server")
        # A ledger that nobody uses: whether this account may do all that the script does.
        Ledger(options.server, f"{options.prefix}:{{-check}}", "check", "here").open(clock.now())
    except LimitsUnavailable as error:
        advice = "is it there, the password right, and may this account do what docs/fleet.md lists?"
        yield Finding("limits", False, f"{options.url}: {error}", advice)
        return
    finally:
        link.close()
    name = "valkey" if "valkey_version" in server else "redis"
    version = server.get(f"{name}_version", "of an unknown version")
    yield Finding("limits", True, f"{options.url}: {name} {version}; its devices share the limits")
    eviction = memory.get("maxmemory_policy", "noeviction")
    if eviction != "noeviction":
        told = f"{options.url} evicts keys when its memory is full ({eviction}): limits would be forgotten"
        yield Finding("limits", None, told, "set maxmemory-policy noeviction")
    if options.password is None:
        told = f"{options.url} answers without a password"
        yield Finding("limits", None, told, "set one, and limits.redis.password; docs/fleet.md has an ACL")
    now = clock.now()
    server_s = int(server.get("server_time_usec", 0)) / 1e6 or now.wall_s
    for whose, wall_s in (("this machine", now.wall_s), (options.url, server_s)):
        if wall_s < CLOCK_SET_AFTER_S:
            yield Finding("limits", None, f"the clock of {whose} isn't set", "is time synchronised there?")
    if abs(server_s - now.wall_s) > CLOCKS_APART_S:
        told = f"the clocks of this machine and {options.url} are {abs(server_s - now.wall_s):.0f} s apart"
        yield Finding("limits", None, told, "windows follow the server's clock, batch dates this machine's")


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
