"""What a delivery to a folder costs that brings a class name which is new, by how many names there are already.

    .venv/bin/python benchmarks/class_names.py [--names 21000]

Printed are the median seconds of a delivery among 20 names and among many, with a new class and with a known one, each
with all of its fsyncs, and what many names cost over few: about 1 is right.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from framesift.prediction.prediction import Detection, Detections, Task
from framesift.sinks import Delivered, Delivery, FolderSink, FolderSinkSettings

DELIVERIES = 15


def delivery(number: int, class_name: str) -> Delivery:
    """A delivery with one object."""
    found = Detection(x=50.0, y=50.0, width=10.0, height=10.0, confidence=0.5, class_name=class_name, class_id=0)
    return Delivery(
        id=f"{number:032x}",
        device="bench",
        stream="street",
        frame=number,
        captured_at_s=1_789_041_600.0 + number,
        strategy="some",
        score=None,
        tags=(),
        project=None,
        batch="bench",
        annotate=True,
        width=100,
        height=100,
        prediction=Detections(task=Task.OBJECT_DETECTION, objects=(found,), width=100, height=100),
        jpeg=b"\xff\xd8" * 30_000,
        attempt_number=1,
        image_id=None,
    )


def median_s(names: int, *, are_new: bool) -> float:
    """The median seconds of a delivery to a folder that has so many names."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        model_names = tuple(f"class-{number}" for number in range(names))
        sink = FolderSink(FolderSinkSettings(type="folder", path=Path(folder)), class_names=model_names)
        took_s = []
        for number in range(DELIVERIES):
            class_name = f"new-{number}" if are_new and number else "class-1"
            began_s = time.perf_counter()
            answer = sink.deliver(delivery(number, class_name), now_s=1_789_045_000.0, within_s=45.0)
            took_s.append(time.perf_counter() - began_s)
            assert answer == Delivered(), answer
        sink.close()
        return statistics.median(took_s[1:])  # the first one makes the files


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=21_000)
    many = parser.parse_args().names
    for what, are_new in (("a new class", True), ("a known class", False)):
        few_s, many_s = median_s(20, are_new=are_new), median_s(many, are_new=are_new)
        print(f"{what}: {few_s:.4f} s among 20 names, {many_s:.4f} s among {many}: {many_s / few_s:.2f} times")


if __name__ == "__main__":
    main()
