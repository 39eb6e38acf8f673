"""A process that accepts and delivers pictures through a real spool, and prints how many bytes it wrote for them.

python -m rigs.wear_child FOLDER PICTURES BURST SMALLEST LARGEST [MAX_BYTES]

BURST pictures are accepted by four streams, then delivered by four workers, then the next ones. With a BURST of 1 each
is delivered before the next one comes, and each step is a transaction of its own, as at one picture every few seconds.
SMALLEST, LARGEST: sizes of the pictures, in bytes. With PICTURES 0 a day passes in which nothing is accepted, while
workers look for rows every 20 s. MAX_BYTES: they are delivered to a folder that keeps so much; else they only leave.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clocks import ManualClock
from deliveries import detected, detection
from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Limit, Quota, Window
from framesift.sinks import Delivered, Delivery, DeliveryResult, FolderSink, FolderSinkSettings
from framesift.spool import AcceptedSignature, Spool
from framesift.spool.writer import MAINTENANCE_INTERVAL_S
from rigs.uploads import name, open_spool, running

QUOTA = Quota(
    "unsure", (Limit(Window.MINUTELY, 10**6), Limit(Window.DAILY, 10**6)), "batch", scope="", project="parking"
)


def bytes_written() -> dict[str, int]:
    """asked: by the system calls of this process. dirtied: in files, in whole pages, as the kernel counts them."""
    counted = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return {"asked": int(counted["wchar"]), "dirtied": int(counted["write_bytes"])}


class Sink:
    """Takes everything at once."""

    def deliver(self, _delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:  # noqa: ARG002
        return Delivered()

    def check(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class Pictures:
    """Puts pictures of a camera's size into the spool. Thread-safe. accepted_bytes: of all so far."""

    def __init__(self, spool: Spool, clock: ManualClock, smallest: int, largest: int) -> None:
        self._spool = spool
        self._clock = clock
        self._sizes = smallest, largest
        self._rng = random.Random(1)
        self._lock = threading.Lock()
        self.accepted_bytes = 0

    def put(self, number: int) -> None:
        with self._lock:
            jpeg = self._rng.randbytes(self._rng.randint(*self._sizes))
            id, score, content = name(self._rng.getrandbits(128)), self._rng.random(), self._rng.randbytes(384)
            self.accepted_bytes += len(jpeg)
        stream = f"north-{number % 4}"
        datapoint = Datapoint(
            id=id,
            device="gate-7",
            stream=stream,
            frame_number=number,
            captured=self._clock.now(),
            width=1280,
            height=720,
            jpeg=jpeg,
            prediction=detected(*(detection(f"class-{n % 9}", x=10.0 + n, y=20.0 + n) for n in range(6))),
        )
        candidate = Candidate("unsure", score, ("gate-7", "night"), "batch", project="parking")
        self._spool.put(datapoint, [candidate], [QUOTA], signature=AcceptedSignature(stream, "", content, 0.01))


def collecting(folder: Path, max_bytes: int) -> FolderSink:
    """A folder with a bound that settings would refuse as too small."""
    options = FolderSinkSettings.model_construct(type="folder", path=folder, max_bytes=max_bytes, max_age_days=None)
    return FolderSink(options, class_names=None)


def spend_a_day(spool: Spool, clock: ManualClock) -> None:
    for _ in range(int(86_400 / MAINTENANCE_INTERVAL_S)):
        clock.advance(MAINTENANCE_INTERVAL_S + 0.001)
        assert not spool.claim(1).items
        spool.check_quota([QUOTA], clock.now())


def main() -> None:
    folder, count, burst, smallest, largest, *bound = Path(sys.argv[1]), *map(int, sys.argv[2:])
    sink = collecting(folder / "collected", bound[0]) if bound else Sink()
    clock = ManualClock()
    spool = open_spool(folder, clock)
    pictures = Pictures(spool, clock, smallest, largest)
    before = bytes_written()
    if not count:
        spend_a_day(spool, clock)
    for first in range(0, count, burst):
        if burst == 1:
            pictures.put(first)
        else:
            with ThreadPoolExecutor(4) as streams:
                list(streams.map(pictures.put, range(first, first + burst)))
        with running(spool, sink, clock, workers=min(4, burst)) as rig:
            rig.until_drained()
        clock.advance(5.0 * burst)
    spool.close()
    written = {how: total - before[how] for how, total in bytes_written().items()}
    sys.stdout.write(json.dumps({"accepted": pictures.accepted_bytes, **written}))


if __name__ == "__main__":
    main()
