"""(d): a datapoint of 1280x720 on its whole way: encoded, committed to the spool, uploaded and annotated over HTTP.

Beside it the work that nobody can avoid: the same pictures through the encoder, the same two requests on a connection
that stays open, and the same rows in as many commits of a database with the spool's pragmas. The platform is the
tests' stand-in in a process of its own. One datapoint after the other, with one worker.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from framesift.clock.clock import SystemClock
from framesift.datapoint import Candidate, encode_datapoint, new_datapoint_id
from framesift.frame import Frame, Pixels
from framesift.http_client.client import HttpClient
from framesift.limits import Limit, Quota, Window
from framesift.pictures.outgoing import NO_MASK
from framesift.prediction.prediction import Detections
from framesift.prediction.wire_format import parse_prediction, to_wire
from framesift.roboflow import RoboflowClient
from framesift.sinks.roboflow import RoboflowSink, RoboflowSinkSettings
from framesift.spool.database import WAL_BYTES
from framesift.spool.page_file import PAGE_BYTES
from framesift.upload.uploader import DeliveryAttempt, SinkProblem, Uploader
from price.figures import Benchmark, Figure
from price.measuring import Cost, in_turn
from price.wire_cost import wire_prediction
from rigs.uploads import open_spool

DATAPOINTS = 60
OBJECTS = 20
QUALITY = 95
COMMITS = 5  # accepted, claimed, registered, claimed again, delivered
_PROJECT, _KEY = "parking", "bench"
_PRAGMAS = (
    "synchronous = FULL",
    "secure_delete = OFF",
    "temp_store = MEMORY",
    f"wal_autocheckpoint = {WAL_BYTES // PAGE_BYTES}",
    f"journal_size_limit = {WAL_BYTES}",
)
_TESTS = Path(__file__).parents[2] / "tests"


def _pictures() -> list[Pixels]:
    """Pictures with the detail of a camera's, each another one: a JPEG of each has about 200 kB."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (45, 80, 3), np.uint8)
    scene = np.asarray(cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC), np.uint8)
    noise = rng.integers(0, 4, (720, 1280, 3), np.uint8)
    return [cv2.add(np.roll(scene, 3 * number, axis=1), noise) for number in range(DATAPOINTS)]  # type: ignore[misc]  # uint8 stays uint8


class _Arrivals:
    """Knows when all datapoints have had their two deliveries."""

    def __init__(self, deliveries: int) -> None:
        self._left = deliveries
        self.all = threading.Event()

    def delivery_attempted(self, attempt: DeliveryAttempt, /) -> None:
        assert type(attempt.outcome).__name__ in ("Registered", "Delivered"), attempt.outcome
        self._left -= 1
        if not self._left:
            self.all.set()

    def sink_changed(self, problem: SinkProblem | None, /) -> None:
        raise AssertionError(problem)


def _unexpected(error: BaseException) -> None:
    raise error


@contextlib.contextmanager
def _platform() -> Iterator[str]:
    """The address of a stand-in that forgets everything at the end."""
    words = [sys.executable, "-m", "rigs.platform", "--port", "0", "--key", _KEY, "--project", _PROJECT]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=_TESTS, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[4].removesuffix(",")
        # It says a line for each request; nobody may let it wait.
        reading = threading.Thread(target=lambda said=process.stdout: deque(said, maxlen=0))
        reading.start()
        try:
            yield url
        finally:
            process.terminate()
            reading.join()


@dataclass(frozen=True, slots=True)
class _Began:
    wall_s: float
    processor_s: float

    @classmethod
    def now(cls) -> _Began:
        return cls(time.perf_counter(), time.process_time())

    def cost(self) -> Cost:
        """Of one of the datapoints since then."""
        wall_s, processor_s = time.perf_counter() - self.wall_s, time.process_time() - self.processor_s
        return Cost(wall_s / DATAPOINTS, processor_s / DATAPOINTS)


def _prediction() -> Detections:
    found = parse_prediction(wire_prediction(OBJECTS))
    assert isinstance(found, Detections)
    return found


def _whole(pictures: Sequence[Pixels]) -> Cost:
    """All datapoints into the spool, then all of them out of it."""
    clock = SystemClock()
    limits = (Limit(Window.HOURLY, 10_000), Limit(Window.DAILY, 10_000))
    quota, candidate = Quota("hard", limits, "batch"), Candidate("hard", 0.5, ("gate-7", "north"), "batch")
    prediction = _prediction()
    with tempfile.TemporaryDirectory() as folder, _platform() as url, contextlib.closing(HttpClient()) as http_client:
        spool = open_spool(Path(folder), clock)
        settings = RoboflowSinkSettings(type="roboflow", project=_PROJECT)
        sink = RoboflowSink(settings, RoboflowClient(http_client, api_key=_KEY, api_url=url))
        assert sink.check() is None  # it loads the certificates
        arrivals = _Arrivals(2 * DATAPOINTS)
        uploader = Uploader(
            spool,
            sink,
            workers=1,
            sink_limits=(),
            clock=clock,
            rng=random.Random(5),
            observer=arrivals,
            on_failure=_unexpected,
        )
        began = _Began.now()
        for number, pixels in enumerate(pictures):
            frame = Frame("gate", number, pixels, clock.now())
            id = new_datapoint_id()
            made = encode_datapoint(
                frame, prediction, id=id, device="bench", mask=NO_MASK, max_size=None, jpeg_quality=QUALITY
            )
            spool.put(made, [candidate], [quota])
        uploader.start()
        assert arrivals.all.wait(120)
        cost = began.cost()
        assert uploader.stop(10.0)
        assert sum(spool.outcome_counts().values()) == DATAPOINTS
        spool.close()
    return cost


def _encoder(pictures: Sequence[Pixels]) -> Cost:
    began = _Began.now()
    for pixels in pictures:
        cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return began.cost()


def _posts(jpegs: Sequence[bytes]) -> Cost:
    """Both requests for each datapoint on one connection."""
    annotation = json.dumps(to_wire(_prediction())).encode()
    edge = "0123456789abcdef"
    part = '--{}\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    head = part.format(edge, "name", "") + "gate.jpg\r\n"
    head += part.format(edge, "file", '; filename="imageToUpload"\r\nContent-Type: image/jpeg')
    content_type = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    with _platform() as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        began = _Began.now()
        for jpeg in jpegs:
            body = b"".join((head.encode(), jpeg, f"\r\n--{edge}--\r\n".encode()))
            path = f"/dataset/{_PROJECT}/upload?api_key={_KEY}&batch=batch"
            connection.request("POST", path, body, content_type)
            image = json.loads(connection.getresponse().read())["id"]
            path = f"/dataset/{_PROJECT}/annotate/{image}?api_key={_KEY}&name=gate.json&prediction=true"
            connection.request("POST", path, annotation, {"Content-Type": "text/plain"})
            assert json.loads(connection.getresponse().read())["success"]
        cost = began.cost()
        connection.close()
    return cost


def _commits(jpegs: Sequence[bytes]) -> Cost:
    """As many commits as a datapoint has, with its picture in the first: rows without indexes or checksums."""
    annotation = json.dumps(to_wire(_prediction()))
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        with contextlib.closing(database):
            for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = WAL", *_PRAGMAS):
                database.execute(f"PRAGMA {pragma}")
            database.execute("CREATE TABLE picture (number INTEGER PRIMARY KEY, prediction TEXT, bytes BLOB)")
            database.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, id TEXT, state INTEGER)")
            began = _Began.now()
            for number, jpeg in enumerate(jpegs):
                database.execute("BEGIN IMMEDIATE")
                database.execute("INSERT INTO row VALUES (?, ?, 0)", (number, new_datapoint_id()))
                database.execute("INSERT INTO picture VALUES (?, ?, ?)", (number, annotation, jpeg))
                database.execute("COMMIT")
            for number in range(len(jpegs)):
                for state in range(1, COMMITS - 1):
                    database.execute("BEGIN IMMEDIATE")
                    database.execute("UPDATE row SET state = ? WHERE number = ?", (state, number))
                    database.execute("COMMIT")
                database.execute("BEGIN IMMEDIATE")
                database.execute("DELETE FROM picture WHERE number = ?", (number,))
                database.execute("DELETE FROM row WHERE number = ?", (number,))
                database.execute("COMMIT")
            return began.cost()


def _datapoint(runs: int) -> Iterator[Figure]:
    pictures = _pictures()
    jpegs = [cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes() for p in pictures]
    costs = in_turn(
        runs,
        whole=lambda: _whole(pictures),
        encoder=lambda: _encoder(pictures),
        posts=lambda: _posts(jpegs),
        commits=lambda: _commits(jpegs),
    )
    for kind in ("wall", "processor"):
        ms = {name: 1000 * (cost.wall_s if kind == "wall" else cost.processor_s) for name, cost in costs.items()}
        beside = ", ".join(f"{name} {value:.2f}" for name, value in ms.items())
        more = ms["whole"] - ms["encoder"] - ms["posts"]
        yield Figure(f"over encoder and two bare requests: {kind}", more, "ms", 4.5, beside)
        yield Figure(f"over {COMMITS} bare commits, too: {kind}", more - ms["commits"], "ms", 2.5)
    size = sum(map(len, jpegs)) / len(jpegs) / 1000
    yield Figure("size of a JPEG", size, "kB")


BENCHMARKS = (Benchmark("d", "a datapoint: encoded, spooled, uploaded and annotated", _datapoint),)
