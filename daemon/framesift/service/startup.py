"""Startup: creates the components of one run, and starts them in the order in which they need each other.

    connections, model, recorder, policies, model files, sink, spool, alike counts, signals, decision record, coverage,
    summary, shared limits, upload, retention, batches, status page, known pictures, hold queues, streams, listeners
    (and, from the main loop: monitor)

They stop in the reverse order: what accepts frames and what delivers them end first, at the same time, and the spool
outlives both. The threads of the streams begin last, since a listener that can't start must not end a run that collects
already.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

from framesift.atomic_files import GroupUnusable, share_with_group
from framesift.clock.clock import HeartbeatClock
from framesift.clock.media_clock import MediaClock, decision_clock
from framesift.collect import Collector
from framesift.config.errors import ConfigError
from framesift.fleet.platform_batches import BatchWatcher
from framesift.fleet.shared_limits import SharedLimits
from framesift.http_client import HttpClient
from framesift.known.known_pictures import KnownPictures
from framesift.limits.local import LocalLimits
from framesift.listeners import ListenerSettings, create_listener
from framesift.models.predictor import Predictor
from framesift.periodic import PeriodicTask
from framesift.roboflow import RoboflowClient
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.hold_queues import HoldQueues
from framesift.sampling.operator_requests import OperatorRequests
from framesift.sampling.pacing import Pacing
from framesift.service import reports
from framesift.service.alike_recorder import AlikeRecorder
from framesift.service.components import ComponentList, Resource
from framesift.service.connections import open_connections
from framesift.service.coverage_recorder import CoverageRecorder
from framesift.service.decision_record import create_decision_record
from framesift.service.intakes import Intakes, read_accepted_classes
from framesift.service.known_pictures_reader import KnownPicturesReader
from framesift.service.loop_monitor import LoopMonitor
from framesift.service.model_files import ModelFiles
from framesift.service.operator_hands import OperatorHands, open_requests
from framesift.service.policy_subscriptions import LOAD_WITHIN_S, PolicySubscriptions
from framesift.service.recording import open_recorder
from framesift.service.retention_passes import RetentionPasses
from framesift.service.run_context import RunContext, sink_limits
from framesift.service.run_summary import RunSummary
from framesift.service.spool_access import open_when_free, used_by_window
from framesift.service.status_page import StatusPage, create_web_page
from framesift.service.stream_models import StreamModels
from framesift.service.stream_privacies import StreamPrivacies
from framesift.service.stream_thread import StreamThread, StreamThreads
from framesift.settings import StreamEntry
from framesift.sinks import Sink, open_sink
from framesift.spool import Spool
from framesift.status import DaemonIdentity, StatusServer
from framesift.streams import MediaTimedStream, Stream, StreamLost
from framesift.streams.snapshots.snapshot_source import SnapshotSource
from framesift.streams.snapshots.url_snapshots import UrlSnapshots
from framesift.upload.uploader import Uploader

# When each must have ended, in seconds after the beginning of a stop: a hung model, client or sink must leave the spool
# its time. What has the same deadline is stopped at the same time. The network is cut a little before the first.
_PIPELINE_STOPS_BY_S = 3.5
_HOLD_QUEUES_STOP_BY_S = 4.2
_SHARED_LIMITS_STOP_BY_S = 4.5
_SPOOL_STOPS_BY_S = 6.0


class Startup:
    """Creates and starts everything; afterwards its attributes are what the main loop works with.

    status_page: None where there is none. lost_streams: the names of the streams that could not continue.
    """

    uploader: Uploader
    upload_reports: reports.UploadReports
    streams: StreamThreads
    spool: Spool
    subscriptions: PolicySubscriptions
    shared_limits: SharedLimits
    intakes: Intakes
    alike: AlikeRecorder
    requests: OperatorRequests

    def __init__(
        self,
        run: RunContext,
        components: ComponentList,
        monitor: LoopMonitor,
        *,
        stop: threading.Event,
        wake: threading.Event,
    ) -> None:
        """stop: ends all streams. wake: is set when the main loop should run before its time."""
        self._run = run
        self._settings = run.settings
        self._clock = run.clock
        self._decision_clock = decision_clock(run.clock)
        self._telemetry = run.telemetry
        self._components = components
        self._monitor = monitor
        self._stop = stop
        self._wake = wake
        self.models: StreamModels | None = None
        self._ledgers_shared = False
        self.summary = RunSummary(run.telemetry)
        self.streams = StreamThreads((), run.clock)
        self.status_page: StatusPage | None = None
        self._batch_watcher: BatchWatcher | None = None
        self.lost_streams: list[str] = []

    @property
    def model_description(self) -> str | None:
        """The models in words, for the log; None without a model."""
        return None if self.models is None else self.models.description

    @property
    def limits_mode(self) -> str:
        """Who counts the limits: "shared" or "local"."""
        return "shared" if self._ledgers_shared else "local"

    def start(
        self, record: Path | None, *, own_signals: Callable[[], None], waits_for_spool: Callable[[str], bool]
    ) -> None:
        """Create and start all components, in the order of the module's docstring.

        record: the file for predictions, or None. own_signals: installs the signal handlers; called when the spool is
        open. waits_for_spool: called with the reason, in words, while another process holds the spool: returns whether
        to try again. Raises ConfigError, ModelLoadError, ListenerUnavailable and the spool's own errors; the components
        that were started before are then in the list, for its `stop`.
        """
        settings, telemetry = self._settings, self._telemetry
        start = self._components.start

        try:
            share_with_group(settings.group)
        except GroupUnusable as error:
            raise ConfigError(str(error)) from None

        connections = open_connections(settings.roboflow, settings.network, self._run.exchanges)
        start(Resource("connections", stop=lambda _: connections.close()))
        models = self.models = StreamModels(self._run)
        if len(models):
            start(Resource("model", stop=models.closer(lambda: self.streams.any_alive())))
        privacies = StreamPrivacies(self._run, models)
        recorder = None if record is None else open_recorder(record, settings, telemetry)
        if recorder is not None:
            start(Resource("recorder", stop=lambda _: recorder.close()))
        limits = LocalLimits()
        self.subscriptions = PolicySubscriptions(self._run, models, connections, limits)
        start(self.subscriptions)
        self.model_files = start(ModelFiles(self._run, models, privacies, self.subscriptions.judge))
        sink = open_sink(settings.sink, class_names=models.class_names, platform=connections.platform)
        start(Resource("sink", stop=lambda _: sink.close()))
        shared = self.shared_limits = SharedLimits(settings.limits, limits, self.subscriptions, telemetry, self._clock)
        self._ledgers_shared = shared.ledgers is not None
        spool = self.spool = self._create_spool(limits, shared)
        start(
            Resource("spool", start=lambda: open_when_free(spool, waits_for_spool), stop=spool.close),
            stop_by_s=_SPOOL_STOPS_BY_S,
        )
        known = KnownPictures(settings.spool.path.with_name(f"{settings.spool.path.name}.known"))
        frames = AcceptedFrames(read_accepted_classes(spool), known=known)
        self.requests = open_requests(settings, self._clock, telemetry)
        self.alike = start(AlikeRecorder(frames.alike, spool, self._clock))
        # Not before: until the spool is open nothing is accepted, and a signal may simply end the process.
        start(Resource("signals", start=own_signals))
        telemetry.set_spool_source(lambda: reports.spool_numbers(spool))
        self.decisions = start(create_decision_record(settings, telemetry, self._clock))
        self.coverage = start(CoverageRecorder(settings, telemetry, self._clock, lambda: limits.zone))
        start(self.summary)
        self.upload_reports = reports.UploadReports(telemetry, settings.sink.type)
        uploader = self.uploader = self._create_uploader(sink)
        shared.attach(spool, on_granted=uploader.wake, on_failure=self._run.on_failure)
        start(shared, stop_by_s=_SHARED_LIMITS_STOP_BY_S)
        start(uploader, stop_by_s=_PIPELINE_STOPS_BY_S)
        self._start_retention(sink)
        if settings.sink.watches_batches and connections.platform is not None:
            self._start_batch_watcher(connections.platform, shared)
        if settings.status.bind is not None:
            self.status_page = self._start_status_page(limits)
        self._start_known_pictures(frames.known)
        pacing = Pacing(lambda account: used_by_window(spool, account))
        admission = Admission(spool, self._decision_clock, shared.ledgers, pacing, self.requests)
        self._start_hold_queues(admission)
        intakes = self.intakes = Intakes(
            settings,
            self.subscriptions,
            admission,
            telemetry,
            privacies,
            self.uploader.wake,
            frames=frames,
            on_failure=self._run.on_failure,
        )
        record_prediction = None if recorder is None else recorder.record
        threads = [self._create_stream(stream, models, intakes, record_prediction) for stream in settings.streams]
        self.streams = StreamThreads(threads, self._clock)
        start(
            Resource(self.streams.name, stop=self.streams.stop, threads=self.streams.threads),
            stop_by_s=_PIPELINE_STOPS_BY_S,
        )
        for listener in settings.listeners:
            self._start_listener(listener, intakes)
        self.streams.start()
        self._monitor.add(*self._components.threads)

    def probe_now(self) -> None:
        """Test at once whether the sink accepts deliveries again, and ask for the sizes of the batches."""
        self.uploader.probe_now()
        if self._batch_watcher is not None:
            self._batch_watcher.task.wake()

    # -- each component

    def _create_spool(self, limits: LocalLimits, shared: SharedLimits) -> Spool:
        settings = self._settings.spool
        return Spool(
            settings.path,
            max_bytes=settings.max_bytes,
            min_free_bytes=settings.min_free_bytes,
            when_full=settings.when_full,
            clock=self._clock,
            limits_clock=self._decision_clock,
            limits=limits,
            report=lambda name, fields: self._telemetry.warning(name, **fields),
            on_refund=shared.request_audit,
        )

    def _create_uploader(self, sink: Sink) -> Uploader:
        return Uploader(
            self.spool,
            sink,
            workers=self._settings.upload.workers,
            sink_limits=sink_limits(self._settings),
            probe_at_most_s=self._settings.sink.probe_at_most_s,
            clock=self._clock,
            rng=random.Random(),  # only spreads retries: nothing that is collected depends on it
            observer=self.upload_reports,
            on_failure=self._run.on_failure,
        )

    def _start_retention(self, sink: Sink) -> None:
        retention = self._settings.sink.retention(sink)
        if retention is not None:
            passes = RetentionPasses(retention, self._telemetry, self._clock)
            self._components.start(
                PeriodicTask("retention", passes.run, self._clock, on_failure=self._run.on_failure),
                stop_by_s=_PIPELINE_STOPS_BY_S,
            )

    def _start_hold_queues(self, admission: Admission) -> None:
        """Start what gives held frames their turns. It ends after the streams, which hold frames until their end."""
        queues = HoldQueues(
            admission,
            self._telemetry,
            self._clock,
            seed=self._settings.seed,
            on_accepted=self.uploader.wake,
            on_failure=self._run.on_failure,
            has_thread=not isinstance(self._clock, MediaClock),
        )
        if isinstance(self._clock, MediaClock):
            self._clock.follow(queues)
        admission.pacing.holds = queues
        self._telemetry.set_held_source(queues.counts)
        self._components.start(queues, stop_by_s=_HOLD_QUEUES_STOP_BY_S)

    def _start_batch_watcher(self, platform: RoboflowClient, shared: SharedLimits) -> None:
        watcher = self._batch_watcher = BatchWatcher(
            platform,
            shared.batch_counts(self.spool),
            self.subscriptions,
            self._clock,
            on_problem=lambda problem: reports.report_batches(self._telemetry, problem),
            on_failure=self._run.on_failure,
        )
        self.subscriptions.on_change(watcher.task.wake)
        self._components.start(watcher.task, stop_by_s=_PIPELINE_STOPS_BY_S)
        watcher.task.wait_for_first_run(LOAD_WITHIN_S)

    def _start_known_pictures(self, known: KnownPictures) -> None:
        """Start what reads the pictures that policies name as known; frames of files by their own time wait for it."""
        reader = KnownPicturesReader(
            known,
            self._telemetry,
            self._clock,
            stop=self._stop,
            on_failure=self._run.on_failure,
            waits=isinstance(self._clock, MediaClock),
        )
        self._components.start(reader, stop_by_s=_PIPELINE_STOPS_BY_S)
        for stream in self._settings.stream_names:
            self.subscriptions.subscribe(stream, reader.want)

    def _start_status_page(self, limits: LocalLimits) -> StatusPage:
        settings = self._settings
        identity = DaemonIdentity(settings.device, settings.file, settings.spool.path)
        hands = OperatorHands(self.requests, self.spool, self._telemetry, self.uploader.wake)
        web_page = create_web_page(
            settings,
            self._telemetry,
            self.decisions,
            self.coverage.counts,
            lambda: limits.zone,
            self.requests.thumbnails,
        )
        server = StatusServer(
            settings.status,
            self._telemetry,
            hung=self._monitor.hung,
            identity=identity,
            hands=hands,
            page=web_page,
        )
        page = StatusPage(server, self._telemetry, self._clock)
        return self._components.start(page, stop_by_s=_PIPELINE_STOPS_BY_S)

    def _start_listener(self, settings: ListenerSettings, intakes: Intakes) -> None:
        listener = create_listener(
            settings,
            intake_of=lambda stream: intakes.create(stream, settings, self._clock),
            clock=self._clock,
            telemetry=self._telemetry,
            on_failure=self._run.on_failure,
            model_policies=intakes,
        )
        self._components.start(listener, stop_by_s=_PIPELINE_STOPS_BY_S)

    def _start_snapshots(self, settings: StreamEntry) -> SnapshotSource | UrlSnapshots | None:
        """Start what gives the snapshots of a stream, None where it has none. It ends with the streams."""
        if settings.snapshot is None:
            return None
        observer = reports.SnapshotReports(self._telemetry, settings.name)
        snapshots: SnapshotSource | UrlSnapshots
        if settings.snapshot.url is not None:
            client = HttpClient(ca_file=settings.ca_file, exchanges=self._run.exchanges, verify=settings.verify)
            snapshots = UrlSnapshots(settings, clock=self._clock, client=client, observer=observer)
        else:
            rng = random.Random(repr((self._settings.seed, settings.name, "snapshot backoff")))
            snapshots = SnapshotSource(settings, clock=self._clock, rng=rng, observer=observer)
        return self._components.start(snapshots, stop_by_s=_PIPELINE_STOPS_BY_S)

    def _create_stream(
        self, settings: StreamEntry, models: StreamModels, intakes: Intakes, on_prediction: Callable[..., None] | None
    ) -> StreamThread:
        name, telemetry = settings.name, self._telemetry
        clock = HeartbeatClock(self._clock)
        observer = reports.StreamReports(telemetry, name)
        stream = Stream(
            settings,
            clock=clock,
            stop=self._stop,
            rng=random.Random(repr((self._settings.seed, name, "backoff"))),
            observer=observer,
            taken_file=_watched_file(self._settings.spool.path, name) if settings.watch else None,
        )
        model, health = models.of(name)
        predictor = Predictor(
            model,
            health,
            telemetry=telemetry,
            clock=clock,
            stop=self._stop,
            on_prediction=on_prediction,
        )
        frames: Stream | MediaTimedStream = stream
        if isinstance(self._clock, MediaClock):
            frames = MediaTimedStream(stream, self._clock, clock=clock, stop=self._stop)
        snapshots = self._start_snapshots(settings)
        intake = intakes.create(name, settings, clock, snapshots=snapshots)
        collector = Collector(frames, intake, predictor, telemetry)

        def on_end(lost: StreamLost | None) -> None:
            if lost is not None:
                self.lost_streams.append(name)
                observer.stream_lost(lost)
            self._wake.set()

        return StreamThread(
            name, stream, collector, clock, stop=self._stop, on_end=on_end, on_failure=self._run.on_failure
        )


def _watched_file(spool_path: Path, stream: str) -> Path:
    """Return the file that remembers which pictures of a watched folder were read."""
    return spool_path.with_name(f"{spool_path.name}.watched-{stream}")
