"""`framesift check`: tries once everything that a run needs, and says for each failure what to do about it.

If a daemon already runs with the same settings, `check` asks it about what only it can use (the spool, the cameras),
and measures the rest. The daemon's answers are about the settings with which it started.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2

from framesift.cli.check_advice import policy_advice
from framesift.cli.check_beside_daemon import (
    SpoolHolder,
    folder_findings,
    inspect_running_daemon,
    stream_finding,
    unverified_finding,
)
from framesift.cli.check_group import group_findings
from framesift.cli.check_ports import port_findings
from framesift.cli.check_privacy import detector_finding, privacy_findings
from framesift.cli.check_shared_limits import check_shared_limits
from framesift.cli.check_snapshots import snapshot_findings
from framesift.cli.check_spool import decision_findings, spool_findings
from framesift.cli.collected_text import collected_text
from framesift.cli.console import counted, noun
from framesift.cli.probes import Finding, run_probe
from framesift.clock.clock import Clock
from framesift.config.errors import ConfigError
from framesift.frame import Frame
from framesift.models import Model, ModelFailed, ModelLoadError, ModelNotes, ModelUnavailable
from framesift.models import load as load_model
from framesift.policy import PolicySettings, PolicyUnavailable, SourceContext
from framesift.policy.policy import Policy
from framesift.policy.sources import create_source
from framesift.service.connections import Connections, open_connections
from framesift.service.loop_monitor import HUNG_AFTER_S
from framesift.service.neighbour_problems import neighbour_problems
from framesift.service.stream_models import UsedModel, class_names_of, never_matching, uncompared, unknown_class_names
from framesift.settings import ModelUse, NetworkSettings, Settings, StreamEntry
from framesift.sinks import CommonSinkSettings, RetentionFailed, open_sink
from framesift.strategies import evaluation_failures
from framesift.streams import Stream, StreamLost, StreamSettings
from framesift.streams.away_reasons import AwayReason
from framesift.streams.engines.availability import has_pyav
from framesift.streams.opencv_faults import OPENCV_ADVICE, known_fault

# The deadlines of the probes. A model must load within the time that systemd allows for a start, and must answer before
# the watchdog would end the process.
PROBE_WITHIN_S = 60.0
LOAD_WITHIN_S = 90.0
PREDICTION_WITHIN_S = HUNG_AFTER_S
FIRST_FRAME_WITHIN_S = 20.0
ANSWER_WITHIN_S = 10.0


def run_checks(settings: Settings, clock: Clock, within_s: float | None = None) -> Iterator[Finding]:
    """Tries everything in order, and yields each finding as soon as it is known.

    within_s: the deadline of every probe, instead of its own.
    """
    models: list[UsedModel] = []
    detectors: list[UsedModel] = []
    frames: list[Frame] = []
    holder = SpoolHolder()
    policies: dict[str, Policy] = {}  # those that are not evaluated yet
    busy = False  # whether a probe that was late may still be inside the model

    def probe(subject: str, findings: Iterator[Finding], limit_s: float = PROBE_WITHIN_S) -> Iterator[Finding]:
        return run_probe(subject, findings, clock, limit_s if within_s is None else within_s)

    def daemon() -> Iterator[Finding]:
        nonlocal holder
        holder, found = inspect_running_daemon(settings)
        yield from found

    def load(use: ModelUse, loaded: list[UsedModel]) -> Iterator[Finding]:
        model, finding = _model(use, settings.network)
        yield finding
        if model is not None:
            loaded.append(UsedModel(use, model))
            yield from _model_notes(use.name, model.notes, model.class_names or ())

    def first_frame(stream_settings: StreamSettings) -> Iterator[Finding]:
        frame, finding = _first_frame(stream_settings, clock)
        if frame is not None:
            frames.append(frame)
        yield finding

    def predict(model: Model, frame: Frame, policy_subject: str) -> Iterator[Finding]:
        nonlocal busy
        busy = True
        yield from _prediction(model, frame, policy_subject, policies.pop(policy_subject, None))
        for detector in detectors:
            if frame.stream in detector.use.streams:
                yield detector_finding(detector, frame)
        busy = False

    def deliver() -> Iterator[Finding]:
        findings = folder_findings(settings, holder)
        if findings is None:
            for sink_settings in _sinks(settings, targets):
                yield _sink(f"sink {settings.sink.type}", sink_settings, connections, class_names_of(models), clock)
        else:
            yield from findings

    yield Finding(
        "configuration",
        True,
        f"device {settings.device}, {counted(len(settings.streams), 'stream')}, "
        f"{counted(len(settings.listeners), 'listener')}",
    )
    for deprecation in settings.deprecations:
        yield Finding("configuration", None, str(deprecation), "the old word still works in this version")
    yield from group_findings(settings)
    yield from _engines(settings)
    yield from probe("daemon", daemon())
    for use in settings.model_uses:
        yield from probe(use.name, load(use, models), LOAD_WITHIN_S)
    for use in settings.detector_uses:
        yield from probe(use.name, load(use, detectors), LOAD_WITHIN_S)
    yield from privacy_findings(settings, models, detectors)
    connections = open_connections(settings.roboflow, settings.network)
    yield from probe("network", _trust(settings.network, connections))
    yield from probe("policy", _policies(settings, connections, clock, models, policies))
    targets = [policy.target_project for policy in policies.values()]
    for stream_settings in settings.streams:
        if not stream_settings.verify:
            yield unverified_finding(stream_settings)
        known = stream_finding(stream_settings, holder.daemon)
        if known is not None:
            yield known
            continue
        yield from probe(f"stream {stream_settings.name}", first_frame(stream_settings))
        if stream_settings.snapshot is not None:
            found = snapshot_findings(stream_settings, clock, within_s=FIRST_FRAME_WITHIN_S)
            yield from probe(f"snapshots of {stream_settings.name}", found)
        own = next((used.model for used in models if stream_settings.name in used.use.streams), None)
        if frames and own is not None and not busy:
            subject = _policy_subject(stream_settings)
            yield from probe("prediction", predict(own, frames.pop(), subject), PREDICTION_WITHIN_S)
    yield from probe(f"sink {settings.sink.type}", deliver())
    if settings.limits.redis is not None:
        yield from probe("limits", check_shared_limits(settings.limits.redis, clock))
    connections.close()
    yield from probe("ports", port_findings(settings, holder))
    yield from probe("spool", spool_findings(settings, holder))
    yield from probe("decisions", decision_findings(settings))
    for used in () if busy else (*models, *detectors):
        yield from probe(used.use.name, _close(used.model))


def _close(model: Model) -> Iterator[Finding]:
    model.close()
    yield from ()


def _engines(settings: Settings) -> Iterator[Finding]:
    """What reads the streams, with versions."""
    chosen = {stream.chosen_engine for stream in settings.streams}
    yield _opencv(reads_streams="opencv" in chosen)
    if has_pyav():
        try:
            import av  # only here: the daemon itself decodes nothing
        except ImportError as error:
            yield Finding(
                "PyAV", "av" not in chosen, f"can't be loaded: {error}", "install it again, or engine: opencv"
            )
        else:
            yield Finding("PyAV", True, f"{av.__version__} with FFmpeg {av.ffmpeg_version_info}")
    elif any(s.engine == "auto" and s.webcam is None and not s.is_pictures for s in settings.streams):
        what = "is not installed: OpenCV reads the streams, and shows damaged pictures too"
        yield Finding("PyAV", None, what, "pip install 'framesift[av]'; or say engine: opencv, if that is meant")


def _opencv(*, reads_streams: bool) -> Finding:
    registry = cv2.videoio_registry
    # A wheel also lists backends whose plugins it does not bring.
    capture = [registry.getBackendName(b) for b in registry.getStreamBackends() if registry.hasBackend(b)]
    text = f"{cv2.__version__} with {', '.join(capture) or 'no capture backend'}"
    faulty = known_fault(cv2.__version__, cv2.getBuildInformation())
    if faulty is not None and reads_streams:
        return Finding("OpenCV", None, f"{text}: {faulty}", OPENCV_ADVICE)
    return Finding(
        "OpenCV",
        "FFMPEG" in capture or "GSTREAMER" in capture,
        text,
        "install opencv-python-headless, or a build with FFmpeg or GStreamer",
    )


def _trust(settings: NetworkSettings, connections: Connections) -> Iterator[Finding]:
    """Whether the certificates of `network.ca_file` can be read, also where nothing else would ask for them now."""
    if settings.ca_file is not None:
        problem = connections.http.trust_problem()
        what = problem or f"the certificates in {settings.ca_file} are trusted"
        yield Finding("network", problem is None, what, "correct network.ca_file: a file of certificates (PEM)")


def _policies(
    settings: Settings,
    connections: Connections,
    clock: Clock,
    models: Sequence[UsedModel],
    policies: dict[str, Policy],
) -> Iterator[Finding]:
    """Checks all policies, and puts those that collect into `policies`."""
    own = [(stream, stream.policy) for stream in settings.streams if stream.policy is not None]
    followers = {stream.name for stream in settings.streams if stream.policy is None}
    common = [used for used in models if not followers or followers & set(used.use.streams)]
    yield from _policy("policy", settings.policy, settings, connections, clock, common, policies)
    for stream, policy_settings in own:
        theirs = [used for used in models if stream.name in used.use.streams]
        subject = _policy_subject(stream)
        yield from _policy(subject, policy_settings, settings, connections, clock, theirs, policies)
    for stream in settings.streams:
        if (policy := policies.get(_policy_subject(stream))) is not None:
            for problem in neighbour_problems(policy.sampling_strategies, (stream,)):
                yield Finding(_policy_subject(stream), None, problem, "docs/policy.md, neighbours, says more")


def _policy_subject(stream: StreamEntry) -> str:
    return "policy" if stream.policy is None else f"policy of {stream.name}"


def _policy(
    subject: str,
    policy_settings: PolicySettings,
    settings: Settings,
    connections: Connections,
    clock: Clock,
    models: Sequence[UsedModel],
    policies: dict[str, Policy],
) -> Iterator[Finding]:
    tasks = {used.model.task for used in models}
    task = tasks.pop() if len(tasks) == 1 else None
    try:
        source = create_source(policy_settings, SourceContext(connections.http, connections.platform, clock, task))
        answer = source.fetch(ANSWER_WITHIN_S)
    except ConfigError as error:
        yield Finding(subject, False, str(error), policy_advice(policy_settings))
        return
    except PolicyUnavailable as error:
        advice = "a run uses the cached policy, if there is one; check the network and the key"
        yield Finding(subject, False, str(error), advice)
        return
    names = ", ".join(strategy.name for strategy in answer.policy.sampling_strategies)
    if answer.policy.enabled:
        policies[subject] = answer.policy
        yield Finding(subject, True, f"{source.short_name}: {names}")
    else:
        yield Finding(subject, None, "enabled is false: nothing will be collected", 'set "enabled": true')
    for note in answer.notes:
        yield Finding(subject, None, note, "see docs/roboflow.md")
    for left_out in answer.left_out:
        yield Finding(subject, None, left_out, "it is ignored; the rest of the policy is used")
    if models:
        strategies = answer.policy.sampling_strategies
        # For these problems a run refuses a policy file. It accepts a fetched policy, and any policy with listeners.
        ours = isinstance(policy_settings, Path) and not settings.listeners
        fatal = unknown_class_names(strategies, models) if ours and answer.policy.enabled else ()
        for problem in itertools.chain.from_iterable(never_matching(strategies, models)):
            good = False if problem in fatal else None
            yield Finding(subject, good, problem, "such a strategy collects nothing: correct it or leave it out")
        for problem in uncompared(answer.policy, models) if answer.policy.enabled else ():
            yield Finding(subject, None, problem, "set `embedding` of the model, or signature: picture")


def _model(use: ModelUse, network: NetworkSettings) -> tuple[Model | None, Finding]:
    try:
        model = load_model(use.settings, ca_file=network.ca_file, proxy=network.proxy_address)
    except ModelLoadError as error:
        return None, Finding(use.name, False, str(error), "correct the block `model` of the settings")
    return model, Finding(use.name, True, model.description)


def _model_notes(subject: str, notes: ModelNotes, class_names: Sequence[str]) -> Iterator[Finding]:
    if notes.preprocessing:
        yield Finding("pictures", True, f"given to the model as {notes.preprocessing}")
    if notes.guessed:
        yield Finding("pictures", None, notes.guessed, "set them as in the model's training")
    if notes.class_names_advice:
        yield Finding(
            subject, None, "its classes have no names: class_0, class_1, ... are made up", notes.class_names_advice
        )
    if repeated := [repr(name) for name, count in Counter(class_names).items() if count > 1]:
        what = f"several of its classes are called {', '.join(repeated[:5])}"
        yield Finding(
            subject, None, what, "give each a name of its own: policies and datasets tell classes by their names"
        )


def _first_frame(settings: StreamSettings, clock: Clock) -> tuple[Frame | None, Finding]:
    stream = Stream(
        settings,
        clock=clock,
        stop=threading.Event(),
        rng=random.Random(0),
    )
    try:
        frame = stream.first_frame(FIRST_FRAME_WITHIN_S)
    except StreamLost as error:
        if settings.watch and error.reason is AwayReason.SILENT:
            return None, Finding(f"stream {settings.name}", True, "the folder is there; no picture has come meanwhile")
        return None, Finding(f"stream {settings.name}", False, str(error), error.reason.advice)
    finally:
        stream.close()
    return frame, Finding(f"stream {settings.name}", True, f"first frame {frame.width} x {frame.height}")


def _prediction(model: Model, frame: Frame, policy_subject: str, policy: Policy | None) -> Iterator[Finding]:
    """Predicts for the stream's first frame, and evaluates the strategies of its policy on that, as a run does."""
    try:
        prediction = model.predict(frame)
    except ModelUnavailable as error:
        yield Finding("prediction", False, str(error), "start it, or correct the block `model` of the settings")
        return
    except ModelFailed as error:
        yield Finding(
            "prediction", False, str(error), "the model fails on this stream's images: correct the model first"
        )
        return
    if prediction.dropped:
        is_are = noun(prediction.dropped, "is", "are")
        dropped = f"{counted(prediction.dropped, 'part')} of the prediction {is_are} malformed"
        text = f"{dropped}: a number (a confidence is 0 to 1) or name is missing or wrong"
        yield Finding("prediction", False, f"{frame.stream}: {text}", "see docs/models.md for what an object needs")
    else:
        objects = getattr(prediction, "objects", None)
        text = "answered" if objects is None else f"{counted(len(objects), 'object')} in the first frame"
        yield Finding("prediction", True, f"{frame.stream}: {text}")
    if (
        policy is not None
        and policy.compares_embeddings
        and prediction.embedding is None
        and model.gives_embeddings is not False
    ):
        what = f"{frame.stream}: the policy compares embeddings, and the model gave none for the first frame"
        yield Finding(policy_subject, None, what, "let the model answer with a pair: see docs/models.md")
    strategies = () if policy is None else policy.sampling_strategies
    for failure in evaluation_failures(strategies, frame, prediction):
        advice = "correct the code of this strategy: a run counts each failure as no match"
        yield Finding(policy_subject, False, str(failure), advice)


def _sinks(settings: Settings, targets: Sequence[str | None]) -> list[CommonSinkSettings]:
    """The sink's settings, once for each project that datapoints would go to. targets: those that policies name."""
    projects = [settings.sink.default_project, *targets, *map(settings.project_of, settings.stream_names)]
    named = dict.fromkeys(project for project in projects if project is not None)
    if not settings.sink.uses_platform or not named:
        return [settings.sink]
    return [settings.sink.for_project(project) for project in named]


def _sink(
    subject: str,
    settings: CommonSinkSettings,
    connections: Connections,
    class_names: tuple[str, ...] | None,
    clock: Clock,
) -> Finding:
    try:
        sink = open_sink(settings, class_names=class_names, platform=connections.platform)
    except ConfigError as error:
        return Finding(subject, False, str(error), "correct the block `sink` of the settings")
    text = "ready"
    try:
        problem = sink.check()
        retention = settings.retention(sink)
        if problem is None and retention is not None:
            text += f"; {collected_text(asdict(retention.retention_report(measured=True)), clock.now().wall_s)}"
    except RetentionFailed as error:
        problem = str(error)
    finally:
        sink.close()
    if problem is not None:
        return Finding(subject, False, problem, settings.check_advice)
    return Finding(subject, True, text)
