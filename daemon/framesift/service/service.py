"""Service: one run of the daemon. Starts the components, runs the main loop, and stops them again.

Losing a camera, a network or a disk never ends the service. An unexpected error, a model that fails on everything, or a
spool that can't be opened does, and the service manager starts it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.http_client import Exchanges
from framesift.models.health import ModelBroken
from framesift.service import reports
from framesift.service.components import ComponentList
from framesift.service.loop_monitor import LoopMonitor
from framesift.service.quiet_streams import QuietStreams
from framesift.service.reload import Reload
from framesift.service.run_context import RunContext
from framesift.service.signals import Signals
from framesift.service.startup import Startup
from framesift.service.systemd import Notifier
from framesift.settings import Settings
from framesift.telemetry import Condition, Telemetry

# All components together. With what comes before and after (the last log lines, the end of the interpreter), also on
# busy cores, the process ends within 9 s; systemd's TimeoutStopSec is longer.
STOP_WITHIN_S = 6.5
# What still waits for the network after so long is cut: deliveries and requests under way may end until then.
CUT_AFTER_S = 3.0
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
        read_settings: Callable[[], Settings] | None = None,
    ) -> None:
        """record: write every prediction to this file. progress: called about once a second while it runs.

        read_settings: reads the settings again, for a reload; it raises ConfigError. None: they never change.
        """
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._notifier = notifier
        self._record = record
        self._progress = progress
        names = (stream.name for stream in settings.streams)
        self._quiet_streams = QuietStreams(telemetry, clock, names, settings.quiet_after)
        self._reloading = Reload(settings, read_settings, telemetry, self._quiet_streams)
        self._stop = threading.Event()
        self._wake = threading.Event()  # the main loop should run before its time
        self._reload = False
        self._stopping_since_s: float | None = None
        self._exchanges = Exchanges()
        self._components = ComponentList(clock, telemetry, stop_within_s=STOP_WITHIN_S, on_failure=self._wake.set)
        self._monitor = LoopMonitor(telemetry, clock, on_failure=self._components.fail)
        self._signals = Signals(
            clock, self._exchanges, on_stop=self.stop, on_reload=self.reload, cut_after_s=CUT_AFTER_S
        )

    @property
    def component_names(self) -> tuple[str, ...]:
        """The names of the running components, in the order of their start."""
        return self._components.names

    @property
    def has_left_behind(self) -> bool:
        """Whether something still runs after `run`, because it did not end in time: the interpreter must not wait."""
        return self._components.has_left_behind

    def stop(self) -> None:
        """End the run: no more frames; deliveries in progress end or are cut; nothing accepted is lost."""
        self._stopping_since_s = self._stopping_since_s or self._clock.monotonic()
        self._stop.set()
        self._wake.set()

    def reload(self) -> None:
        """Read settings and policies again, and test whether the sink accepts deliveries again. See reload.py."""
        self._reload = True
        self._wake.set()

    def run(self) -> int:
        """Run until it is stopped, or until every stream has ended and everything is delivered.

        Returns 0, or 1 after a failure or if a stream could not continue. Raises ConfigError, ModelLoadError,
        ListenerUnavailable and the spool's own errors if it can't start. Belongs to the main thread.
        """
        reports.report_build(self._telemetry)
        if any(stream.chosen_engine == "opencv" for stream in self._settings.streams):
            reports.report_faulty_opencv(self._telemetry)
        run = RunContext(self._settings, self._clock, self._telemetry, self._exchanges, self._components.fail)
        startup = Startup(run, self._components, self._monitor, stop=self._stop, wake=self._wake)
        self._telemetry.not_ready = "it starts"
        try:
            startup.start(self._record, own_signals=self._signals.start, waits_for_spool=self._waits_for_spool)
            self._report_health(startup)  # whoever asks a ready daemon is told of every component
            self._telemetry.not_ready = ""
            self._notifier.ready()
            self._log_ready(startup)
            self._main_loop(startup)
        finally:
            self.stop()
            self._telemetry.not_ready = "it stops"
            self._signals.begin_stop()
            self._notifier.stopping()
            self._components.stop()
            self._signals.end()
            if self._components.failure is not None:  # also beside the error that ends this call
                failure = self._components.failure
                why = f"{type(failure).__name__}: {failure}"
                self._telemetry.error("failed", why=why, exit_status=1, cause=failure)
        return self._finish(startup)

    def _waits_for_spool(self, why: str) -> bool:
        """Report that another process holds the spool, and return whether to go on waiting.

        Under a service manager the wait ends with the manager's own time-out, after which it starts the service again:
        a process that hangs in a dead disk can't be killed, and may end hours later. Exit status 2 would leave the
        service down then, since the unit takes it as a configuration that nobody has mended.
        """
        waits = self._notifier.status(f"waiting for the spool: {why}")
        if waits:
            self._telemetry.warning("spool_in_use", why=why)
        return waits

    # -- the main loop

    def _main_loop(self, startup: Startup) -> None:
        status_sent_s = float("-inf")
        heartbeat = HeartbeatClock(self._clock)
        self._telemetry.set_idle_source(self._components.idle_s)
        self._monitor.add(MonitoredThread("main", threading.current_thread(), heartbeat))
        self._components.start(self._monitor)
        while not self._stop.is_set() and self._components.failure is None:
            heartbeat.wait(self._wake, MAIN_LOOP_EVERY_S)
            self._wake.clear()
            if self._reload:
                self._reload = False
                self._reload_now(startup)
            self._telemetry.tick()
            self._report_health(startup)
            startup.alike.check()
            startup.requests.pauses.end_due()
            if startup.status_page is not None:
                startup.status_page.retry()
            if not self._monitor.hung():
                self._notifier.watchdog()
            if self._clock.monotonic() - status_sent_s >= STATUS_EVERY_S:
                status_sent_s = self._clock.monotonic()
                self._notifier.status(reports.summary_line(self._telemetry.report(), len(startup.streams)))
            if self._progress is not None:
                self._progress()
            if self._nothing_more_comes(startup) and startup.uploader.is_drained():
                reason = None if startup.models is None else startup.models.failed_run_reason()
                if reason is not None:
                    self._components.fail(ModelBroken(f"the model gave not one prediction: {reason}"))
                return

    def _nothing_more_comes(self, startup: Startup) -> bool:
        return not self._settings.listeners and not startup.streams.any_alive()

    def _reload_now(self, startup: Startup) -> None:
        self._notifier.reloading(self._clock.monotonic())
        self._reloading.run(startup)
        self._notifier.ready()

    def _report_health(self, startup: Startup) -> None:
        reports.report_file_descriptors(self._telemetry)
        self._report_spool_health(startup)
        self._quiet_streams.check()
        reports.report_clock(self._telemetry, self._clock.now())
        startup.upload_reports.report_silence(startup.uploader.sink_silent_s)
        if startup.models is not None:
            startup.models.check()

    def _report_spool_health(self, startup: Startup) -> None:
        health = startup.spool.health
        if health.fatal:
            self._components.fail(RuntimeError(f"the spool is broken: {health.problem}"))
        condition = Condition.OK if health.problem is None else Condition.DEGRADED
        if health.refuses_all:
            condition = Condition.FAILED
        self._telemetry.health.set("spool", condition, health.problem or "")

    # -- log lines of the whole run

    def _log_ready(self, startup: Startup) -> None:
        settings = self._settings
        self._telemetry.info(
            "ready",
            device=settings.device,
            streams=len(startup.streams),
            model=startup.model_description,
            listeners=[listener.listen for listener in settings.listeners],
            policy=str(settings.policy),
            enabled=startup.subscriptions.enabled,
            limits=startup.limits_mode,
            status=settings.status.bind,
        )

    def _finish(self, startup: Startup) -> int:
        self._telemetry.close()
        status = 1 if self._components.failure is not None or startup.lost_streams else 0
        startup.summary.log(self._clock.monotonic() - (self._stopping_since_s or 0.0), status)
        return status
