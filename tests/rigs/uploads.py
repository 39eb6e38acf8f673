"""Upload workers under observation: a sink whose answers the test sets, and all that the uploader reports."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from deliveries import HEIGHT, WIDTH, detected, detection, jpeg
from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Limit, Quota
from framesift.limits.local import LocalLimits
from framesift.sinks import Delivered, Delivery, DeliveryResult, Sink
from framesift.spool import FinalOutcome, Spool, WhenFull
from framesift.upload.uploader import DeliveryAttempt, SinkProblem, Uploader

T = TypeVar("T")
Answer = Callable[[Delivery, int], DeliveryResult]


class RecordingSink:
    """Records what arrives and when. answer: gives the result for the n-th attempt (from 1) of an id."""

    def __init__(self, clock: Clock, answer: Answer = lambda _delivery, _time: Delivered()) -> None:
        self._clock = clock
        self._answer = answer
        self._lock = threading.Lock()
        self._times = Counter[str]()
        self._inside = 0
        self.most_inside = 0
        self.arrived: list[tuple[str, float]] = []
        self.deliveries: list[Delivery] = []

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:
        assert now_s <= self._clock.now().wall_s
        assert within_s == 45.0
        with self._lock:
            self._inside += 1
            self.most_inside = max(self.most_inside, self._inside)
            self.arrived.append((delivery.id, self._clock.now().wall_s))
            self.deliveries.append(delivery)
            self._times[delivery.id] += 1
            time = self._times[delivery.id]
        try:
            return self._answer(delivery, time)
        finally:
            with self._lock:
                self._inside -= 1

    def times_of(self, number: int) -> list[float]:
        return [at_s for id, at_s in self.arrived if id == name(number)]

    def delivered_since(self, since_s: float) -> int:
        with self._lock:
            return sum(at_s >= since_s for _, at_s in self.arrived)

    def check(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def name(number: int) -> str:
    return f"{number:032x}"


def open_spool(path: Path, clock: Clock) -> Spool:
    spool = Spool(
        path / "spool.db",
        max_bytes=2**30,
        min_free_bytes=0,
        when_full=WhenFull.REFUSE,
        clock=clock,
        limits=LocalLimits(),
    )
    spool.open()
    return spool


def outcomes(spool: Spool) -> dict[FinalOutcome, int]:
    return {exit: number for exit, number in spool.outcome_counts().items() if number}


def put(
    spool: Spool,
    numbers: range,
    captured: Moment,
    picture: bytes | None = None,
    quota: Quota = Quota("all", (), "batch"),  # noqa: B008  # frozen
    score: Callable[[int], float | None] = lambda _: None,
    threads: int = 16,
) -> None:
    """In threads, so that they share their commits."""

    def work(part: list[int]) -> None:
        for number in part:
            datapoint = Datapoint(
                id=name(number),
                device="gate-7",
                stream="north",
                frame_number=number,
                captured=captured,
                width=WIDTH,
                height=HEIGHT,
                jpeg=picture or jpeg(number % 256),
                prediction=detected(detection("car", x=float(number % WIDTH))),
            )
            candidate = Candidate("all", score(number), ("gate-7",), "batch")
            spool.put(datapoint, [candidate], [quota])

    workers = [threading.Thread(target=work, args=(list(numbers)[n::threads],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)


class RunningUploader:
    """A spool, a running uploader, and all that it reported."""

    def __init__(self, spool: Spool, sink: Sink, clock: Clock, workers: int, limits: tuple[Limit, ...]) -> None:
        self.spool = spool
        self.failures: list[BaseException] = []
        self.attempts: list[DeliveryAttempt] = []
        self.pauses: list[SinkProblem | None] = []
        self._changed = threading.Condition()
        self.uploader = Uploader(
            spool,
            sink,
            workers=workers,
            sink_limits=limits,
            clock=clock,
            rng=random.Random(1),
            observer=self,
            on_failure=lambda error: self._record(self.failures, error),
        )

    def delivery_attempted(self, attempt: DeliveryAttempt, /) -> None:
        self._record(self.attempts, attempt)

    def sink_changed(self, problem: SinkProblem | None, /) -> None:
        self._record(self.pauses, problem)

    def _record(self, records: list[T], what: T) -> None:
        with self._changed:
            records.append(what)
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool], within_s: float = 60) -> None:
        """Waits, in real time, until the uploader has come so far."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.failures) or condition(), within_s), "it took too long"
        if self.failures:
            raise self.failures[0]

    def until_drained(self) -> None:
        """The last outcome is stored a moment after it was reported. To ask costs the spool a query."""
        for _ in range(1200):
            if self.failures:
                raise self.failures[0]
            if self.uploader.is_drained():
                return
            threading.Event().wait(0.05)
        raise AssertionError("it took too long")


@contextmanager
def running(
    spool: Spool, sink: Sink, clock: Clock, *, workers: int = 1, limits: tuple[Limit, ...] = ()
) -> Iterator[RunningUploader]:
    rig = RunningUploader(spool, sink, clock, workers, limits)
    rig.uploader.start()
    try:
        yield rig
    finally:
        assert rig.uploader.stop(30)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it took too long")
