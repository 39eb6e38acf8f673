"""What bounds of a collected folder cost: a delivery to a full folder of 100,000 pictures, against one without bounds.

    .venv/bin/python benchmarks/retention.py [pictures] [bytes of a picture] [folder]

Prints, side by side on this machine: seconds for a tenth of the folder's number of deliveries, and bytes written for
each byte of a picture (the process's write calls), with a bound that the folder has reached and without one; the
longest single delivery; what a start needs to measure the folder; memory for each picture. folder: where it is made;
filling 100,000 pictures with all fsyncs takes an hour on many disks, and a minute in /dev/shm.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from framesift.prediction.prediction import Detection, Detections, Task
from framesift.sinks import Delivered, Delivery, FolderSink, FolderSinkSettings

BEGIN_S = 1_789_041_600.0
OBJECTS = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """Of some deliveries: seconds, the longest one, and bytes written for each byte of the pictures."""

    seconds: float
    longest_s: float
    written: float


def sink_of(folder: Path, max_bytes: int | None) -> FolderSink:
    """A sink whose bound may be smaller than settings allow."""
    options = FolderSinkSettings.model_construct(type="folder", path=folder, max_bytes=max_bytes, max_age_days=None)
    return FolderSink(options, class_names=("car",))


def delivery(number: int, picture: bytes) -> Delivery:
    """A datapoint with ten objects."""
    objects = tuple(Detection(100.0 + n, 50.0, 20.0, 10.0, 0.123456, "car", 0) for n in range(OBJECTS))
    return Delivery(
        id=f"{number:032x}",
        device="gate-7",
        stream="north",
        frame=number,
        captured_at_s=BEGIN_S + number,
        strategy="unsure",
        score=0.25,
        tags=("gate-7",),
        batch="cars",
        annotate=True,
        width=1280,
        height=720,
        prediction=Detections(task=Task.OBJECT_DETECTION, objects=objects, width=1280, height=720),
        jpeg=picture,
    )


def written_bytes() -> int:
    """Bytes that this process gave to write calls."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar:")))


def deliver(sink: FolderSink, numbers: range, picture: bytes) -> Cost:
    """Delivers pictures one after the other."""
    begin_s, before, longest_s = time.perf_counter(), written_bytes(), 0.0
    for number in numbers:
        one_s = time.perf_counter()
        assert sink.deliver(delivery(number, picture), now_s=BEGIN_S, within_s=45.0) == Delivered()
        longest_s = max(longest_s, time.perf_counter() - one_s)
    seconds = time.perf_counter() - begin_s
    return Cost(seconds, longest_s, (written_bytes() - before) / (len(numbers) * len(picture)))


def main() -> None:
    """Fills a folder, and measures."""
    pictures = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    picture = random.Random(0).randbytes(size)
    more = max(1, pictures // 10)
    with tempfile.TemporaryDirectory(dir=sys.argv[3] if len(sys.argv) > 3 else None) as name:
        folder = Path(name) / "collected"
        filling = sink_of(folder, None)
        deliver(filling, range(pictures), picture)
        free = deliver(filling, range(pictures, pictures + more), picture)
        filling.close()
        held = sum(path.stat().st_size for part in ("images", "labels") for path in (folder / part).iterdir())
        held += (folder / "metadata.jsonl").stat().st_size
        memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        bounded = sink_of(folder, held)
        begin_s = time.perf_counter()
        measured = bounded.retention_report(measured=True)
        measure_s = time.perf_counter() - begin_s
        full = deliver(bounded, range(pictures + more, pictures + 2 * more), picture)
        removed = bounded.retention_report().removed["size"]
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib
    print(f"{measured.pictures} pictures of {size} bytes, listing of {OBJECTS} objects a line; {removed} removed")
    print(f"a start measures them in {measure_s:.1f} s; {grown_kib * 1024 / pictures:.0f} bytes of memory a picture")
    print(f"{more} deliveries without a bound: {free.seconds:.1f} s, {free.written:.2f} bytes written for each byte")
    print(f"{more} deliveries at the bound:    {full.seconds:.1f} s, {full.written:.2f} bytes written for each byte")
    print(f"ratio: {full.seconds / free.seconds:.2f} of the time; the longest delivery {full.longest_s:.2f} s")


if __name__ == "__main__":
    main()
