"""The proof of privacy: two figures walk through each other, an oracle says where they are, and something goes wrong at
every step. Whatever is kept is decoded, and has nothing of the figures' colour.

What the oracle misses is of the kind that privacy promises to cover: a figure in one frame between two in which it was
found, on a straight way. Everything else that goes wrong must end in a refusal.
"""

from __future__ import annotations

import io
import json
import math
import random
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from clocks import ManualClock
from framesift.clock.clock import SystemClock
from framesift.clock.moment import Moment
from framesift.datasets.contact_sheet import contact_sheet
from framesift.datasets.sheet_sources import collected_sheet_picture, read_collected
from framesift.frame import Frame, Pixels
from framesift.models import ModelFailed, ModelUnavailable
from framesift.policy.policy import parse
from framesift.prediction.prediction import Detection, Detections, Prediction, Stub, Task
from framesift.privacy.privacy_settings import CoverStyle, PrivacySettings
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.sampling.recorder import Recorder
from framesift.sinks import Sink
from framesift.spool import WhenFull
from framesift.streams.snapshots.ticket import (
    SkewMeasure,
    SnapshotMissed,
    SnapshotMissReason,
    SnapshotPicture,
    SnapshotTicket,
)
from framesift.telemetry import Telemetry
from rigs.figures import Box, background, coloured_pixels, draw
from rigs.spools import make_spool
from rigs.uploads import RunningUploader

Mode = Literal["model", "detector", "snapshots"]
WIDTH, HEIGHT = 320, 240
INTERVAL_S = 0.1
FIGURE = (24.0, 56.0)  # width and height
LANES = (70.0, 95.0)  # the top of each figure: they overlap
# Pixels from one frame to the next. A snapshot shows a figure between two frames, also where it has just turned round.
STEP = {"model": 30.0, "detector": 30.0, "snapshots": 14.0}
# What goes wrong, and how often in comparison.
_FAULTS = {"miss": 9, "away": 2, "wide": 2, "size": 1, "stub": 1, "nan": 1, "dropped": 1}
_DETECTOR_FAULTS = {"raises": 1, "unavailable": 1, "failed": 1}


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "error"


def _figures(mode: Mode, time: float) -> tuple[Box, Box]:
    """The figures at a time, counted in frames: they walk to and fro, in opposite directions."""
    way = WIDTH - FIGURE[0]
    found = []
    for index, top in enumerate(LANES):
        gone = (time * STEP[mode] * (1.0 + 0.13 * index) + index * way) % (2 * way)
        left = gone if gone <= way else 2 * way - gone
        found.append((left, top, left + FIGURE[0], top + FIGURE[1]))
    return found[0], found[1]


def _is_on_straight_way(mode: Mode, number: int, figure: int) -> bool:
    lefts = [_figures(mode, number + offset)[figure][0] for offset in range(-2, 3)]
    steps = np.diff(lefts)
    return bool((steps > 0).all() or (steps < 0).all())


class Proof:
    """A stream of figures, from its intake to a sink. refused: counted by reason. seen: pictures that were found."""

    def __init__(
        self, folder: Path, sink: Sink, mode: Mode = "model", *, seed: int, style: CoverStyle = "blur", **policy: object
    ) -> None:
        """policy: keys in addition to those that all strategies need."""
        self.faults: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.seen = 0
        self.wait_s = 1.0  # as Snapshots
        self._mode = mode
        self._folder = folder
        self._rng = random.Random(seed)
        self._background = background(WIDTH, HEIGHT, seed)
        self._sink = sink
        self._clock = ManualClock()
        self._spool = make_spool(folder, SystemClock(), max_bytes=1 << 20, when_full=WhenFull.REFUSE)
        self._spool.open()
        self._telemetry = Telemetry(self._clock, _Style(), out=io.StringIO())
        self._recorder = Recorder(folder / "recorded.jsonl", lambda _: None)
        self._detector_fault = ""
        self._detected: dict[int, Prediction] = {}
        # On a busy machine the next frame may be late: it is waited for, by the machine's clock.
        settings = PrivacySettings(classes=("person",), style=style, margin=0.0, over_time_s=10.0)
        self._privacy = StreamPrivacy(settings, detect=self._detect if mode == "detector" else None, is_video=True)
        whole = {
            "enabled": True,
            "persist_predictions": True,
            "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
            "sampling_strategies": [{"name": "all", "type": "random", "traffic_percentage": 1}],
            **policy,
        }
        self._intake = Intake(
            "gate",
            CollectionOrigin("gate-7", (), (), seed=0),
            policy=parse(json.dumps(whole), "policy.json"),
            accepted=AcceptedFrames(),
            admission=Admission(self._spool, self._clock),
            telemetry=self._telemetry,
            on_accepted=lambda: None,
            privacy=self._privacy,
            snapshots=self if mode == "snapshots" else None,
        )

    def run(self, frames: int, *, drain_every: int = 80) -> None:
        """Offer so many frames, and look at all that was kept.

        drain_every: after so many frames what lies in the spool is delivered; it takes about 25 large pictures.
        """
        faults = self._faults(frames, drain_every)
        self.faults.update(faults)
        for number, fault in enumerate(faults):
            self._offer(number, fault)
            if number % drain_every == drain_every - 1:
                self._drain()
        self._intake.end_stream()
        self._drain()
        self.refused.update(self._telemetry.stream_counts()[0].refused)
        self._telemetry.close()
        self._spool.close(5.0)
        recorded = (self._folder / "recorded.jsonl").read_bytes()
        assert b"/9j/" not in recorded, "a recording holds no picture"
        assert b"iVBOR" not in recorded

    def look_at_folder(self, folder: Path) -> None:
        """Decode every picture of a folder sink, and of the contact sheet of it."""
        self._look(path.read_bytes() for path in sorted((folder / "images").rglob("*.jpg")))
        others = [path for path in folder.rglob("*") if path.is_file() and folder / "images" not in path.parents]
        assert not [path for path in others if b"\xff\xd8\xff" in path.read_bytes()], "pictures lie elsewhere too"
        collected = [collected_sheet_picture(folder, one) for one in read_collected(folder)[:200]]
        assert not [one for one in collected if one.jpeg is None]
        self._assert_clean(contact_sheet(collected, "all", columns=8), "the sheet")

    def look_at(self, pictures: Iterable[bytes]) -> None:
        """Decode pictures that lie elsewhere."""
        self._look(pictures)

    # -- as Snapshots

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:
        """See Snapshots: pictures of twice the size, up to one and a half frames earlier or later, or none."""
        ticket = SnapshotTicket(self._clock, deadline_s)
        if self._rng.random() < 0.1:
            ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY))
            return ticket
        skew = self._rng.uniform(-1.5, 1.5)
        pixels = cv2.resize(self._background, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        boxes = [tuple(2 * value for value in box) for box in _figures(self._mode, frame.number + skew)]
        draw(pixels, ((x1, y1, x2, y2) for x1, y1, x2, y2 in boxes))
        ticket.answer(
            SnapshotPicture(
                pixels,
                skew_s=skew * INTERVAL_S,
                measured_by=SkewMeasure.SENDER,
                sent_s=None,
                taken_at=frame.captured,
            )
        )
        return ticket

    def close(self) -> None:
        """See Snapshots."""

    # -- each step

    def _faults(self, frames: int, drain_every: int) -> list[str]:
        """What goes wrong with each frame. A figure is hidden only in one frame between two of the same size."""
        kinds = _FAULTS | (_DETECTOR_FAULTS if self._mode == "detector" else {})
        drawn = self._rng.choices(["none", *kinds], [27, *kinds.values()], k=frames)
        faults = list(drawn)
        # A snapshot may show a moment beside a frame of another size, which tells nothing of where figures are.
        hiding = {"miss", "away"} | ({"wide"} if self._mode == "snapshots" else set())
        for number, fault in enumerate(drawn):
            if fault not in hiding:
                continue
            is_straight = all(_is_on_straight_way(self._mode, number, figure) for figure in (0, 1))
            beside = {*faults[max(0, number - 4) : number], *drawn[number + 1 : number + 3]} & {"miss", "away", "wide"}
            goes_on = 3 < number < frames - 3 and number % drain_every < drain_every - 3
            if not is_straight or not goes_on or beside:
                faults[number] = "none"
        return faults

    def _offer(self, number: int, fault: str) -> None:
        self._clock.advance(INTERVAL_S)
        moment = Moment(1_800_000_000.0 + number * INTERVAL_S, 5_000.0 + number * INTERVAL_S, "boot-1")
        figures = _figures(self._mode, number)
        pixels = draw(self._background.copy(), figures)
        if fault == "wide":
            pixels = np.zeros((2, 70_000, 3), np.uint8)
        frame = Frame("gate", number, pixels, moment)
        said = self._oracle(figures, fault, frame)
        if fault == "away":  # no prediction, so the frame isn't offered
            return
        if self._mode == "detector":
            self._detected[number] = said
            self._detected.pop(number - 10, None)
            self._detector_fault = fault
            said = Stub(task=Task.OBJECT_DETECTION, width=frame.width, height=frame.height)
        if fault != "nan":  # JSON has no such number, so it can't get this far
            self._recorder.record(frame, said)
        self._intake.offer(frame, said)
        pixels[:] = (0, 255, 0)  # they belong to the stream again

    def _oracle(self, figures: Iterable[Box], fault: str, frame: Frame) -> Prediction:
        boxes = list(figures) if frame.height == HEIGHT else []
        if fault == "miss":
            del boxes[self._rng.randrange(2)]
        found = [
            Detection((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0.9, "person", 0) for x1, y1, x2, y2 in boxes
        ]
        if fault == "nan":
            found[0] = replace(found[0], x=self._rng.choice((math.nan, math.inf)))
        if fault == "stub":
            return Stub(task=Task.OBJECT_DETECTION, width=frame.width, height=frame.height)
        if fault == "dropped":
            found.pop()
        return Detections(
            task=Task.OBJECT_DETECTION,
            objects=tuple(found),
            width=frame.width + (fault == "size"),
            height=frame.height,
            dropped=int(fault == "dropped"),
        )

    def _detect(self, frame: Frame) -> Prediction:
        if self._rng.random() < 0.02:
            raise self._rng.choice((RuntimeError("crash"), ModelUnavailable("away"), ModelFailed("no"), KeyError()))
        if self._detector_fault in _DETECTOR_FAULTS:
            raise {"raises": RuntimeError, "unavailable": ModelUnavailable, "failed": ModelFailed}[
                self._detector_fault
            ]("x")
        return self._detected[frame.number]

    def _drain(self) -> None:
        """Look at what lies in the spool, then deliver all of it."""
        with closing(sqlite3.connect(f"file:{self._folder / 'spool.db'}?mode=ro", uri=True)) as database:
            self._look(row[0] for row in database.execute("SELECT bytes FROM picture"))
        uploads = RunningUploader(self._spool, self._sink, SystemClock(), 2, ())
        uploads.uploader.start()
        uploads.until_drained()
        assert uploads.uploader.stop(30)

    def _look(self, pictures: Iterable[bytes]) -> None:
        for content in pictures:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            self._assert_clean(pixels.astype(np.uint8), "a picture")
            self.seen += 1

    def _assert_clean(self, pixels: Pixels, what: str) -> None:
        left = coloured_pixels(pixels)
        assert left == 0, f"{what} of {pixels.shape[1]} x {pixels.shape[0]} shows {left} pixels of a figure"
