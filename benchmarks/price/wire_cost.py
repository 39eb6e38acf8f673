"""(i): a prediction of 100 objects, from the JSON of an inference server to what strategies and the spool use."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from framesift.prediction.prediction import Detections
from framesift.prediction.wire_format import parse_prediction
from price.figures import Benchmark, Figure
from price.measuring import cost_of_call, in_turn

OBJECTS = 100
_CALLS = 300
_CLASSES = ("car", "person", "bicycle", "truck", "bus", "dog")


def wire_prediction(objects: int = OBJECTS, **more: object) -> dict[str, Any]:
    """An answer as an inference server sends it, decoded. more: further keys of each object."""
    rng = random.Random(objects)
    found = [
        {
            "x": rng.uniform(0, 1280),
            "y": rng.uniform(0, 720),
            "width": rng.uniform(8, 200),
            "height": rng.uniform(8, 200),
            "confidence": rng.random(),
            "class": rng.choice(_CLASSES),
            "class_id": rng.randrange(len(_CLASSES)),
            "detection_id": str(uuid.UUID(int=rng.getrandbits(128))),
            **more,
        }
        for _ in range(objects)
    ]
    return {"image": {"width": 1280, "height": 720}, "time": 0.04, "inference_id": "one", "predictions": found}


def _outlined() -> dict[str, Any]:
    rng = random.Random(7)
    outline = [{"x": rng.uniform(0, 1280), "y": rng.uniform(0, 720)} for _ in range(20)]
    return wire_prediction(points=outline)


def _with_objects(payload: dict[str, Any]) -> object:
    prediction = parse_prediction(payload)
    assert isinstance(prediction, Detections)
    return prediction.objects


def _reading(runs: int) -> Iterator[Figure]:
    payload = wire_prediction()
    text = json.dumps(payload)
    calls: dict[str, Callable[[], object]] = {
        "decoding": partial(json.loads, text),
        "reading": partial(parse_prediction, payload),
        "objects": partial(_with_objects, payload),
        "outlined": partial(parse_prediction, _outlined()),
        "none": partial(parse_prediction, wire_prediction(0)),
    }
    costs = in_turn(5 * runs, **{name: partial(cost_of_call, call, _CALLS) for name, call in calls.items()})
    us = {name: 1e6 * cost.processor_s for name, cost in costs.items()}
    size = f"{len(text) / 1000:.0f} kB of JSON"
    yield Figure(f"{OBJECTS} objects, from decoded JSON", us["reading"], "us", 100, "without json.loads")
    yield Figure(f"{OBJECTS} objects, json.loads alone", us["decoding"], "us", None, size)
    yield Figure(f"{OBJECTS} objects, and each as a Detection", us["objects"], "us")
    yield Figure(f"{OBJECTS} objects with polygons of 20 corners", us["outlined"], "us")
    yield Figure("no object", us["none"], "us")


BENCHMARKS = (Benchmark("i", "a prediction off the wire", _reading),)
