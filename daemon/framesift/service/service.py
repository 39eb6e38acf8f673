"""The service: builds the rooms, starts the threads, owns signals, notices to systemd, and the order of stopping.

    start:  model -> policies -> sink -> spool -> workers -> status page -> streams -> READY
    stop:   one event tells every loop; then streams -> workers -> status page -> spool -> sink -> policies -> model

The order of stopping is that of the river: what accepts ends before what delivers, and the spool outlives both. All of
it shares one deadline, shorter than systemd's. Losing a camera, a network or a disk never ends the service; a bug, a
model that fails on everything, or a spool that can't be opened does, and the service manager starts it again.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.collect import Collector
from framesift.config.errors import ConfigError
from framesift.fleet.platform_batches import BatchCounts, BatchWatcher
from framesift.fleet.shared_limits import SharedLimits
from framesift.limits import Limit, Window
from framesift.limits.local import LocalLimits
from framesift.listeners import ListenerSettings, create_listener
from framesift.models import Model, Recorder
from framesift.models import load as load_model
from framesift.models.health import ModelBroken, ModelHealth
from framesift.roboflow import RoboflowClient
from framesift.service import reports as tell
from framesift.service.connections import Connections, open_connections
from framesift.service.intakes import Intakes
from framesift.service.loop_monitor import LoopMonitor
from framesift.service.policy_subscriptions import LOAD_WITHIN_S, PolicySubscriptions
from framesift.service.stream_thread import StreamThread
from framesift.service.systemd import Notifier
from framesift.settings import Settings, StreamEntry
from framesift.sinks import Sink, open_sink
from framesift.spool import Spool
from framesift.status import StatusServer, StatusUnavailable
from framesift.streams import Stream
from framesift.telemetry import Condition, StatusReport, Telemetry
from framesift.upload.uploader import Uploader

STOP_WITHIN_S = 9.0
RESERVED_FOR_SPOOL_S = 4.0  # of these: a model that hangs must not take the workers' and the spool's time
MAIN_LOOP_EVERY_S = 1.0
STATUS_EVERY_S = 10.0


class Service:
    """One run of the daemon. `stop` and `reload` may be called from any thread, but not from signal handlers."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        telemetry: Telemetry,
        notifier: Notifier,
        record: Path | None = None,
        progress: Callable[[], None] | None = None,
    ) -> None:
        """record: write every prediction to this file. progress: called about once a second while it runs."""
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._notifier = notifier
        self._record = record
        self._progress = progress
        self._stop = threading.Event()
        self._wake = threading.Event()  # there is something that the main loop should look at before its time
        self._reload = False
        self._told_to_stop = False  # by a signal
        self._failure: BaseException | None = None
        self._gone: list[str] = []  # streams that can't go on, as they said themselves
        self._watches: list[StreamThread] = []
        self._stopping_at_s: float | None = None
        self._exits_before: Mapping[str, int] = {}
        self._last_seen: StatusReport | None = None
        self._loops = LoopMonitor(telemetry, clock, failed=self._fail)
        self._model_health = ModelHealth(telemetry.health, clock)

    def stop(self) -> None:
        """Ends the run: no more frames, deliveries in flight end or are cut, nothing accepted is lost."""
        self._stop.set()
        self._wake.set()

    def reload(self) -> None:
        """Asks for the policies again, and the sink whether it takes things again; what is bad is refused."""
        self._reload = True
        self._wake.set()

    def _own_signals(self) -> None:
        # Not before the spool is open: until then nothing is accepted, and a signal may simply end the process.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, _frame: object) -> None:
        # Only notes it, for the main loop to see within a second: an event's lock may be held by the very code that the
        # signal interrupts, and would never be given back.
        if number == signal.SIGHUP:
            self._reload = True
        else:
            self._told_to_stop = True

    def run(self) -> int:
        """Runs until it is told to stop, or until every stream has ended and the spool is drained.

        Returns 0, or 1 after a failure or where a stream could not go on. Raises ConfigError, ModelLoadError and the
        spool's own errors where it can't even start.
        """
        telemetry = self._telemetry
        if self._settings.streams:
            tell.report_faulty_opencv(telemetry)
        with ExitStack() as house:
            online = open_connections(self._settings.roboflow, self._settings.network)
            house.callback(online.close)
            model = self._model(house)
            record = None if self._record is None else self._recording(self._record, house)
            limits = LocalLimits()
            steering = self._steering = self._steer(model, online, limits)
            house.callback(lambda: steering.policies.stop(self._left_s()))
            sink = open_sink(
                self._settings.sink, class_names=None if model is None else model.class_names, platform=online.platform
            )
            house.callback(sink.close)
            sharing = SharedLimits(self._settings.limits, limits, steering, telemetry, self._clock)
            spool = self._spool(limits, refunded=sharing.request_audit)
            spool.open()
            self._own_signals()
            house.callback(lambda: spool.close(self._left_s()))
            telemetry.set_spool_source(lambda: tell.spool_numbers(spool))
            self._exits_before = telemetry.report().exits
            house.callback(self._look_back)
            uploader = self._uploader(spool, sink)
            uploader.start()
            house.callback(lambda: uploader.stop(self._left_s()))
            self._loops.add(*uploader.loops, steering.policies.loop)
            crediting = sharing.start(
                spool, house, on_granted=uploader.wake, on_failure=self._fail, left_s=self._left_s
            )
            if crediting is not None:
                self._loops.add(crediting)
            if self._settings.sink.watches_batches and online.platform is not None:
                self._watch_batches(online.platform, sharing.batch_counts(spool), house)
            if self._settings.status.bind is not None:
                self._open_window(house)
            intakes = Intakes(self._settings, steering, spool, telemetry, uploader.wake, sharing.ledgers)
            if model is not None:
                self._watches += [self._watch(stream, model, intakes, record) for stream in self._settings.streams]
            self._loops.add(*(watch.loop for watch in self._watches))
            house.callback(self._end_streams)
            for door in self._settings.listeners:
                self._open_door(door, intakes, house)
            steering.policies.start()
            for watch in self._watches:
                watch.start()
            self._notifier.ready()
            telemetry.info(
                "ready",
                device=self._settings.device,
                streams=len(self._watches),
                model=None if model is None else model.description,
                doors=[door.listen for door in self._settings.listeners],
                policy=str(self._settings.policy),
                enabled=steering.enabled,
                limits="local" if sharing.ledgers is None else "shared",
                status=self._settings.status.bind,
            )
            try:
                self._look_around(spool, uploader)
            finally:
                self._stopping_at_s = self._clock.monotonic()
                self.stop()
                self._loops.stop()
                self._notifier.stopping()
        return self._farewell()

    def _model(self, house: ExitStack) -> Model | None:
        if self._settings.model is None:
            return None
        network = self._settings.network
        model = load_model(self._settings.model, ca_file=network.ca_file, proxy=network.proxy_address)
        # A model that hangs can't be asked to close either.
        house.callback(lambda: None if any(watch.is_alive() for watch in self._watches) else model.close())
        return model

    def _open_door(self, options: ListenerSettings, intakes: Intakes, house: ExitStack) -> None:
        door = create_listener(
            options,
            intake_of=lambda stream: intakes.create(stream, options.tags, self._clock),
            clock=self._clock,
            telemetry=self._telemetry,
            on_failure=self._fail,
            model_policies=intakes,
        )
        door.start()
        house.callback(lambda: door.stop(max(0.0, self._left_s() - RESERVED_FOR_SPOOL_S)))
        self._loops.add(*door.loops)

    def _nothing_more_comes(self) -> bool:
        return not self._settings.listeners and not any(watch.is_alive() for watch in self._watches)

    def _recording(self, path: Path, house: ExitStack) -> Callable[..., None]:
        options = self._settings.model
        replayed = options.path if options is not None and options.type == "recorded" else None
        if replayed is not None and path.exists() and path.samefile(replayed):
            raise ConfigError(f"--record {path}: the model replays this file")
        try:
            recorder = Recorder(path, lambda error: self._telemetry.error("record_failed", path=path, why=str(error)))
        except OSError as error:
            raise ConfigError(f"--record {path}: {error.strerror}") from None
        house.callback(recorder.close)
        return recorder.record

    def _open_window(self, house: ExitStack) -> None:
        """The status page. A port that is taken is a pity and no reason to collect nothing."""
        settings = self._settings
        page = StatusServer(settings.status, self._telemetry, silent=self._loops.hung_loops, spool=settings.spool.path)
        try:
            page.start()
        except StatusUnavailable as error:
            self._telemetry.health.set("status page", Condition.DEGRADED, str(error))
        else:
            house.callback(page.stop)

    # -- while it runs

    def _look_around(self, spool: Spool, uploader: Uploader) -> None:
        told_s = float("-inf")
        pulse = HeartbeatClock(self._clock)
        self._loops.add(MonitoredThread("main", threading.current_thread(), pulse))
        self._loops.start()
        while not self._stop.is_set() and not self._told_to_stop and self._failure is None:
            pulse.wait(self._wake, MAIN_LOOP_EVERY_S)
            self._wake.clear()
            if self._reload:
                self._reload = False
                self._ask_again(uploader)
            self._telemetry.tick()
            tell.report_file_descriptors(self._telemetry)
            self._tell_health(spool)
            if not self._loops.hung_loops():
                self._notifier.watchdog()
            if self._clock.monotonic() - told_s >= STATUS_EVERY_S:
                told_s = self._clock.monotonic()
                self._notifier.status(tell.summary_line(self._telemetry.report(), len(self._watches)))
            if self._progress is not None:
                self._progress()
            if self._nothing_more_comes() and uploader.is_drained():
                if (words := self._model_health.failed_run_reason()) is not None:
                    self._fail(ModelBroken(f"the model gave not one prediction: {words}"))
                return

    def _ask_again(self, uploader: Uploader) -> None:
        self._notifier.reloading(self._clock.monotonic())
        self._steering.reload()
        uploader.probe_now()
        self._notifier.ready()

    def _tell_health(self, spool: Spool) -> None:
        problem = spool.health.problem
        if spool.health.fatal:
            self._fail(RuntimeError(f"the spool is broken: {problem}"))
        self._telemetry.health.set("spool", Condition.OK if problem is None else Condition.DEGRADED, problem or "")

    def _fail(self, error: BaseException) -> None:
        """A loop can't go on: the first reason is kept, and the process ends."""
        if self._failure is None:
            self._failure = error
        self._wake.set()

    # -- at the start

    def _steer(self, model: Model | None, online: Connections, limits: LocalLimits) -> PolicySubscriptions:
        steering = PolicySubscriptions(
            self._settings,
            model=model,
            online=online,
            limits=limits,
            telemetry=self._telemetry,
            clock=self._clock,
            failed=self._fail,
        )
        steering.load()
        self._telemetry.set_policy_source(steering.policy_reports)
        return steering

    def _spool(self, limits: LocalLimits, refunded: Callable[[], None]) -> Spool:
        options = self._settings.spool
        return Spool(
            options.path,
            max_bytes=options.max_bytes,
            min_free_bytes=options.min_free_bytes,
            when_full=options.when_full,
            clock=self._clock,
            limits=limits,
            report=lambda name, fields: self._telemetry.warning(name, **fields),
            on_refund=refunded,
        )

    def _watch_batches(self, platform: RoboflowClient, counts: BatchCounts, house: ExitStack) -> None:
        watcher = BatchWatcher(
            platform,
            counts,
            self._clock,
            watched=self._steering.watched_batches,
            on_problem=lambda why: tell.report_batches(self._telemetry, why),
            on_failure=self._fail,
        )
        self._steering.on_change(changed=watcher.task.wake)
        house.callback(lambda: watcher.task.stop(self._left_s()))
        watcher.task.start()
        watcher.task.wait_for_first_run(LOAD_WITHIN_S)
        self._loops.add(watcher.task.loop)

    def _uploader(self, spool: Spool, sink: Sink) -> Uploader:
        return Uploader(
            spool,
            sink,
            workers=self._settings.upload.workers,
            sink_limits=tuple(Limit(Window(limit.type), limit.value) for limit in self._settings.sink.limits),
            clock=self._clock,
            rng=random.Random(),  # only spreads retries: nothing that is collected depends on it
            failed=self._fail,
            attempted=lambda attempted: tell.report_delivery(self._telemetry, self._settings.sink.type, attempted),
            paused=lambda why: tell.report_sink_state(self._telemetry, why),
        )

    def _watch(
        self, options: StreamEntry, model: Model, intakes: Intakes, record: Callable[..., None] | None
    ) -> StreamThread:
        name, telemetry = options.name, self._telemetry
        pulse = HeartbeatClock(self._clock)
        stream = Stream(
            options,
            clock=pulse,
            stop=self._stop,
            on_event=lambda event: tell.report_stream_event(telemetry, event),
            count_skipped=lambda why, count: telemetry.count_skipped(name, why, count),
            rng=random.Random(repr((self._settings.seed, name, "backoff"))),
            on_unusable=lambda count, why: tell.report_unusable_pictures(telemetry, name, count, why),
        )
        intake = intakes.create(name, options.tags, pulse)
        collector = Collector(
            stream,
            intake,
            model=model,
            health=self._model_health,
            telemetry=telemetry,
            clock=pulse,
            stop=self._stop,
            on_prediction=record,
        )

        def lost(why: str) -> None:
            self._gone.append(name)
            tell.report_stream_lost(telemetry, name, why)

        return StreamThread(
            name, stream, collector, pulse, stop=self._stop, lost=lost, failed=self._fail, over=self._wake.set
        )

    # -- at the end

    def _left_s(self) -> float:
        """What is left of the one deadline that all of stopping shares."""
        if self._stopping_at_s is None:
            self._stopping_at_s = self._clock.monotonic()
        return max(0.0, self._stopping_at_s + STOP_WITHIN_S - self._clock.monotonic())

    def _look_back(self) -> None:
        """The last numbers, when all that delivers has ended and the spool can still be asked."""
        self._last_seen = self._telemetry.report()

    def _end_streams(self) -> None:
        for watch in self._watches:
            watch.close()
        for watch in self._watches:
            watch.join(max(0.0, self._left_s() - RESERVED_FOR_SPOOL_S))

    def _farewell(self) -> int:
        telemetry = self._telemetry
        if self._failure is not None:
            telemetry.error("failed", cause=self._failure)
        telemetry.close()
        seen = self._last_seen
        if seen is not None:
            left = {name: count - self._exits_before.get(name, 0) for name, count in seen.exits.items()}
            telemetry.state_changed(
                "stopped",
                frames=seen.frames_read,
                refused=dict(seen.refused),
                accepted=seen.frames_accepted,
                delivered=left.pop("delivered", 0),
                other_exits={name: count for name, count in left.items() if count},
                waiting=0 if seen.queue is None else seen.queue.ready + seen.queue.registered + seen.queue.sending,
            )
        return 1 if self._failure is not None or self._gone else 0
