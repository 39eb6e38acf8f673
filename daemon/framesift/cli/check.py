"""`framesift check`: everything that a run will need, tried once, each failure with what to do about it.

Beside a daemon that runs on the same settings, the daemon is asked for what it holds, and what can be measured without
it is measured. Its word is about the settings as they were when it started.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2

from framesift.cli.check_beside_daemon import SpoolHolder, folder_findings, inspect_running_daemon, stream_finding
from framesift.cli.disk_space import format_gib, free_bytes, nearest_existing, write_problem
from framesift.cli.probes import Finding, run_probe
from framesift.clock.clock import Clock
from framesift.clock.moment import CLOCK_SET_AFTER_S
from framesift.config.errors import ConfigError
from framesift.frame import Frame
from framesift.limits import LimitsUnavailable
from framesift.models import Model, ModelFailed, ModelLoadError, ModelNotes, ModelSettings, ModelUnavailable
from framesift.models import load as load_model
from framesift.policy import PolicySettings, PolicyUnavailable, SourceContext
from framesift.policy.sources import create_source
from framesift.service.connections import Connections, open_connections
from framesift.service.loop_monitor import HUNG_AFTER_S
from framesift.settings import NetworkSettings, RedisSettings, Settings
from framesift.sinks import open_sink
from framesift.strategies import class_name_problems, strategy_problems
from framesift.streams import Stream, StreamLost, StreamSettings
from framesift.streams.opencv_faults import OPENCV_ADVICE, known_fault

# How long a probe may take, whatever it waits for. A model is loaded within the time that systemd gives a start, and
# answers before the watchdog would end the process.
PROBE_WITHIN_S = 60.0
LOAD_WITHIN_S = 90.0
PREDICTION_WITHIN_S = HUNG_AFTER_S
FIRST_FRAME_WITHIN_S = 20.0
ANSWER_WITHIN_S = 10.0
LEDGER_WITHIN_S = 5.0
CLOCKS_APART_S = 60.0


def run_checks(settings: Settings, clock: Clock, within_s: float | None = None) -> Iterator[Finding]:
    """Tries everything in turn; each finding is told as soon as it is known. within_s: for each probe, instead of its
    own deadline.
    """
    model: Model | None = None
    frames: list[Frame] = []
    beside = SpoolHolder()
    busy = False  # the model: a probe that was late may have been left behind in it

    def probe(subject: str, found: Iterator[Finding], limit_s: float = PROBE_WITHIN_S) -> Iterator[Finding]:
        return run_probe(subject, found, clock, limit_s if within_s is None else within_s)

    def daemon() -> Iterator[Finding]:
        nonlocal beside
        beside, found = inspect_running_daemon(settings)
        yield from found

    def load(options: ModelSettings) -> Iterator[Finding]:
        nonlocal model
        model, finding = _model(options, settings.network)
        yield finding
        if model is not None:
            yield from _remarks(model.notes)

    def first_frame(options: StreamSettings) -> Iterator[Finding]:
        frame, finding = _first_frame(options, clock)
        if frame is not None:
            frames.append(frame)
        yield finding

    def predict(model: Model, frame: Frame) -> Iterator[Finding]:
        nonlocal busy
        busy = True
        yield _prediction(model, frame)
        busy = False

    def deliver() -> Iterator[Finding]:
        held = folder_findings(settings, beside)
        if held is None:
            yield _sink(settings, online, model)
        else:
            yield from held

    yield Finding(
        "configuration",
        True,
        f"device {settings.device}, {len(settings.streams)} stream(s), {len(settings.listeners)} listener(s)",
    )
    for deprecation in settings.deprecations:
        yield Finding("configuration", None, str(deprecation), "the old word still works in this version")
    yield _opencv()
    yield from probe("daemon", daemon())
    if settings.model is not None:
        yield from probe("model", load(settings.model), LOAD_WITHIN_S)
    online = open_connections(settings.roboflow, settings.network)
    yield from probe("policy", _policies(settings, online, clock, model))
    for options in settings.streams:
        word = stream_finding(options, beside.daemon)
        if word is not None:
            yield word
            continue
        yield from probe(f"stream {options.name}", first_frame(options))
        if frames and model is not None and not busy:
            yield from probe("prediction", predict(model, frames.pop()), PREDICTION_WITHIN_S)
    yield from probe(f"sink {settings.sink.type}", deliver())
    if settings.limits.redis is not None:
        yield from probe("limits", check_shared_limits(settings.limits.redis, clock))
    online.close()
    yield from probe("ports", _ports(settings, beside))
    yield from probe("spool", _disk(settings))
    if model is not None and not busy:
        yield from probe("model", _closing(model))


def _closing(model: Model) -> Iterator[Finding]:
    model.close()
    yield from ()


def _ports(settings: Settings, beside: SpoolHolder) -> Iterator[Finding]:
    """Whether a run could listen where it is to. Beside a daemon those that are taken are its own."""
    wanted = [("door", door.host, door.port) for door in settings.listeners]
    if settings.status.bind is not None:
        wanted.append(("status page", settings.status.host, settings.status.port))
    for what, host, port in wanted:
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            if beside.description is None:
                advice = "choose another address" + ("" if what == "door" else "; a run goes on without the page")
                good = False if what == "door" else None
                yield Finding(what, good, f"{host}:{port} can't be listened at: {error.strerror}", advice)


def _opencv() -> Finding:
    capture = [cv2.videoio_registry.getBackendName(b) for b in cv2.videoio_registry.getStreamBackends()]
    told = f"{cv2.__version__} with {', '.join(capture) or 'no capture backend'}"
    faulty = known_fault(cv2.__version__, cv2.getBuildInformation())
    if faulty is not None:
        return Finding("OpenCV", None, f"{told}: {faulty}", OPENCV_ADVICE)
    return Finding(
        "OpenCV",
        "FFMPEG" in capture or "GSTREAMER" in capture,
        told,
        "install opencv-python-headless, or a build with FFmpeg or GStreamer",
    )


def _policies(settings: Settings, online: Connections, clock: Clock, model: Model | None) -> Iterator[Finding]:
    own = [(f"policy of {stream.name}", stream.policy) for stream in settings.streams if stream.policy is not None]
    for subject, options in [("policy", settings.policy), *own]:
        yield from _policy(subject, options, settings, online, clock, model)


def _policy(
    subject: str, options: PolicySettings, settings: Settings, online: Connections, clock: Clock, model: Model | None
) -> Iterator[Finding]:
    stub = settings.model is not None and settings.model.type == "stub"
    task = None if model is None else model.task
    try:
        source = create_source(options, SourceContext(online.http, online.platform, clock, task))
        got = source.fetch(ANSWER_WITHIN_S)
    except ConfigError as error:
        yield Finding(subject, False, str(error), "correct it; framesift init writes a file that works")
        return
    except PolicyUnavailable as error:
        advice = "until it answers, a run takes the last one that it kept; is the network there, and the key right?"
        yield Finding(subject, False, str(error), advice)
        return
    names = ", ".join(strategy.name for strategy in got.policy.sampling_strategies)
    if got.policy.enabled:
        yield Finding(subject, True, f"{source.short_name}: {names}")
    else:
        yield Finding(subject, None, "enabled is false: nothing will be collected", 'set "enabled": true')
    for note in got.notes:
        yield Finding(subject, None, note, "see the README, Roboflow")
    for left_out in got.left_out:
        yield Finding(subject, None, left_out, "it was left out; the rest holds")
    if model is not None:
        strategies, unnamed = got.policy.sampling_strategies, model.notes.class_names_advice
        # A run refuses its own files for these, and takes from elsewhere, and at doors, what it can.
        ours = isinstance(options, Path) and not settings.listeners
        refused = class_name_problems(strategies, unnamed) if ours and got.policy.enabled else ()
        for problem in strategy_problems(
            strategies, model.task, model.class_names, stub=stub, class_names_advice=unnamed
        ):
            good = False if problem in refused else None
            yield Finding(subject, good, problem, "such a strategy collects nothing: correct it or leave it out")


def _model(options: ModelSettings, network: NetworkSettings) -> tuple[Model | None, Finding]:
    try:
        model = load_model(options, ca_file=network.ca_file, proxy=network.proxy_address)
    except ModelLoadError as error:
        return None, Finding("model", False, str(error), "correct the block `model` of the settings")
    return model, Finding("model", True, model.description)


def _remarks(remarks: ModelNotes) -> Iterator[Finding]:
    if remarks.preprocessing:
        yield Finding("pictures", True, f"given to the model as {remarks.preprocessing}")
    if remarks.guessed:
        yield Finding("pictures", None, remarks.guessed, "set them as in the model's training")
    if remarks.class_names_advice:
        yield Finding(
            "model", None, "its classes have no names: class_0, class_1, ... are made up", remarks.class_names_advice
        )


def _first_frame(options: StreamSettings, clock: Clock) -> tuple[Frame | None, Finding]:
    stream = Stream(
        options,
        clock=clock,
        stop=threading.Event(),
        rng=random.Random(0),
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
    except ModelUnavailable as error:
        return Finding("prediction", False, str(error), "bring it up, or correct the block `model` of the settings")
    except ModelFailed as error:
        return Finding("prediction", False, str(error), "the model fails on this stream's pictures: mend it first")
    if prediction.dropped_count:
        told = (
            f"{prediction.dropped_count} part(s) of the prediction are malformed: a number or name is missing or wrong"
        )
        return Finding(
            "prediction", False, f"{frame.stream}: {told}", "see the README, Models, for what an object needs"
        )
    objects = getattr(prediction, "objects", None)
    told = "answered" if objects is None else f"{len(objects)} object(s) in the first frame"
    return Finding("prediction", True, f"{frame.stream}: {told}")


def _sink(settings: Settings, online: Connections, model: Model | None) -> Finding:
    subject = f"sink {settings.sink.type}"
    class_names = None if model is None else model.class_names
    try:
        sink = open_sink(settings.sink, class_names=class_names, platform=online.platform)
    except ConfigError as error:
        return Finding(subject, False, str(error), "correct the block `sink` of the settings")
    try:
        problem = sink.check()
    finally:
        sink.close()
    if problem is not None:
        return Finding(subject, False, problem, settings.sink.check_advice)
    return Finding(subject, True, "ready")


def check_shared_limits(options: RedisSettings, clock: Clock) -> Iterator[Finding]:
    """Whether the fleet's ledger can be kept there, and what would make it forget."""
    from framesift.limits.shared.connection import LedgerConnection
    from framesift.limits.shared.ledger import Ledger

    link = LedgerConnection(options.server, LEDGER_WITHIN_S)
    try:
        link.connect()
        memory, server = link.server_info("memory"), link.server_info("server")
        # A ledger that nobody uses: whether this account may do all that the script does.
        Ledger(options.server, f"{options.prefix}:{{-check}}", "check", "here").connect(clock.now())
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
    wrong = write_problem(folder)
    if wrong is not None:
        yield Finding("spool", False, *wrong)
        return
    there_bytes = free_bytes(folder)
    wanted_bytes = settings.spool.max_bytes + settings.spool.min_free_bytes
    told = f"{format_gib(there_bytes)} free at {nearest_existing(folder)}"
    if there_bytes <= settings.spool.min_free_bytes:
        yield Finding("spool", False, told, "below spool.min_free_bytes: nothing can be accepted; make room")
    elif there_bytes < wanted_bytes:
        advice = "spool.max_bytes will not be reached before spool.min_free_bytes stops it"
        yield Finding("spool", None, told, advice)
    else:
        yield Finding("spool", True, told)
