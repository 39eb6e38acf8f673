"""Frames that have quota and wait for their pictures: a snapshot, the frame's own, and what is counted and recorded."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from clocks import ManualClock
from framesift.coverage import CoverageCounts
from framesift.frame import Frame, Pixels, RefusalReason
from framesift.pictures.encoded_picture import LazyEncodedPicture, parse_picture
from framesift.policy.policy import Policy, parse
from framesift.prediction.prediction import Detection, Detections, Task
from framesift.prediction.wire_format import parse_prediction
from framesift.privacy.privacy_settings import PrivacySettings
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.sampling.waiting_frames import MAX_WAITING
from framesift.streams.snapshots.ticket import (
    SkewMeasure,
    SnapshotMissed,
    SnapshotMissReason,
    SnapshotPicture,
    SnapshotTicket,
)
from framesift.telemetry import Telemetry
from rigs.spools import make_spool
from sampling_data import objects

SOON_S = 20.0


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


class Tickets:
    """Snapshots whose answers the test gives."""

    def __init__(self, clock: ManualClock) -> None:
        self.wait_s = 1.0
        self.given: list[SnapshotTicket] = []
        self._clock = clock

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:
        assert (frame.stream, deadline_s) == ("gate", self._clock.now().boottime_s + self.wait_s)
        self.given.append(SnapshotTicket(self._clock, deadline_s))
        return self.given[-1]

    def close(self) -> None:
        for ticket in self.given:
            ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY))


class Rig:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.spool = make_spool(folder, self.clock)
        self.spool.open()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, _Style(), out=self.out)
        self.tickets = Tickets(self.clock)
        self.failures: list[BaseException] = []
        self._settled = threading.Semaphore(0)
        self.intake = self.make_intake(policy())
        self.number = 0

    def make_intake(self, what: Policy, privacy: StreamPrivacy | None = None) -> Intake:
        return Intake(
            "gate",
            CollectionOrigin("gate-7", (), (), seed=0),
            policy=what,
            accepted=AcceptedFrames(),
            admission=Admission(self.spool, self.clock),
            telemetry=self.telemetry,
            on_accepted=self._settled.release,
            privacy=privacy,
            snapshots=self.tickets,
            on_failure=self.failures.append,
        )

    def offer(self, pixels: Pixels, prediction: Detections | None = None) -> Any:
        self.number += 1
        frame = Frame("gate", self.number, pixels, self.clock.now(), sent_s=5.0)
        return self.intake.offer(frame, objects(("car", 0.5)) if prediction is None else prediction)

    def snapshot(self, picture: Any, *, skew_s: float = 0.125) -> SnapshotPicture:
        now = self.clock.now()
        return SnapshotPicture(picture, skew_s=skew_s, measured_by=SkewMeasure.SENDER, sent_s=5.125, taken_at=now)

    def accepted(self, count: int = 1) -> None:
        """Wait until so many more were accepted."""
        for _ in range(count):
            assert self._settled.acquire(timeout=SOON_S)

    def stored(self) -> list[tuple[Any, Pixels]]:
        """All rows, with their pictures."""
        items = self.spool.claim(100).items
        return [
            (item, np.asarray(cv2.imdecode(np.frombuffer(self.spool.read_jpeg(item.id), np.uint8), cv2.IMREAD_COLOR)))
            for item in items
        ]

    @property
    def results(self) -> dict[str, int]:
        text = self.telemetry.metrics_text().decode()
        lines = (line for line in text.splitlines() if line.startswith("framesift_snapshots_total{"))
        return {line.split('result="')[1].split('"')[0]: int(float(line.rsplit(" ", 1)[1])) for line in lines}


def policy(*, most: int | None = None, near_duplicate: bool = False) -> Policy:
    strategy: dict[str, Any] = {"name": "all", "type": "random", "traffic_percentage": 1}
    if most is not None:
        strategy["limits"] = [{"type": "daily", "value": most}]
    if near_duplicate:
        strategy["near_duplicate"] = {"threshold": 0.01}
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [strategy],
    }
    return parse(json.dumps(whole), "policy.json")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.intake.end_stream()
    assert rig.failures == []
    rig.spool.close(5.0)
    rig.telemetry.close()


def grey(shade: int, width: int = 32, height: int = 24) -> Pixels:
    return np.full((height, width, 3), shade, np.uint8)


def facts_of(item: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(item.extra)
    return found


def test_the_snapshot_is_kept_with_the_prediction_in_its_pixels_and_both_sizes_are_recorded(rig: Rig) -> None:
    decision = rig.offer(grey(40))
    assert (decision.matched, decision.accepted, decision.refusal) == (("all",), None, None)
    assert rig.spool.counts().ready == 0
    rig.tickets.given[0].answer(rig.snapshot(grey(200, 320, 240)))
    rig.accepted()
    ((item, kept),) = rig.stored()
    assert (kept.shape, round(kept.mean())) == ((240, 320, 3), 200)
    read = parse_prediction(json.loads(item.prediction))
    assert isinstance(read, Detections)
    assert (read.width, read.height, read.objects[0].x, read.objects[0].width) == (320, 240, 100.0, 50.0)
    assert facts_of(item) == {
        "sent_s": 5.125,
        "source": "snapshot",
        "frame_width": 32,
        "frame_height": 24,
        "skew_s": 0.125,
        "skew_by": "sender",
    }
    assert "own-picture" not in item.tags
    assert rig.results == {"snapshot": 1}
    assert rig.telemetry.report().accepted == {"all": 1}


@pytest.mark.parametrize("reason", list(SnapshotMissReason))
def test_without_a_snapshot_the_frames_own_picture_is_kept_tagged_and_counted(
    rig: Rig, reason: SnapshotMissReason
) -> None:
    rig.offer(grey(40))
    rig.tickets.given[0].answer(SnapshotMissed(reason, "why not"))
    rig.accepted()
    ((item, kept),) = rig.stored()
    assert (kept.shape, round(kept.mean())) == ((24, 32, 3), 40)
    assert item.tags[-1] == "own-picture"
    assert facts_of(item) == {
        "sent_s": 5.0,
        "source": "own-picture",
        "missed": reason.value,
        "frame_width": 32,
        "frame_height": 24,
    }
    assert rig.results == {reason.value: 1}


def test_nothing_waits_longer_than_wait_s(rig: Rig) -> None:
    rig.offer(grey(40))
    rig.clock.advance(0.9)
    assert not rig.tickets.given[0].is_answered
    rig.clock.advance(0.2)
    rig.accepted()
    assert rig.results == {"no_picture": 1}


def test_the_frames_pixels_may_be_overwritten_while_it_waits(rig: Rig) -> None:
    slot = grey(40)
    rig.offer(slot)
    slot[:] = 250
    rig.tickets.given[0].answer(SnapshotMissed(SnapshotMissReason.AWAY))
    rig.accepted()
    ((_, kept),) = rig.stored()
    assert round(kept.mean()) == 40


def test_a_snapshot_that_comes_as_a_jpeg_is_kept_as_it_came(rig: Rig) -> None:
    jpeg = cv2.imencode(".jpg", grey(90, 64, 48), [cv2.IMWRITE_JPEG_QUALITY, 71])[1].tobytes()
    rig.offer(grey(40))
    rig.tickets.given[0].answer(rig.snapshot(LazyEncodedPicture(parse_picture(jpeg))))
    rig.accepted()
    (item,) = rig.spool.claim(1).items
    assert rig.spool.read_jpeg(item.id) == jpeg


def test_a_snapshot_that_can_not_be_decoded_gives_way_to_the_frames_own(rig: Rig) -> None:
    broken = rig.snapshot(grey(200))
    broken.release()  # as one whose memory is gone: reading its pixels raises
    rig.offer(grey(40))
    rig.tickets.given[0].answer(broken)
    rig.accepted()
    assert rig.results == {"decoder": 1}


def test_where_too_many_wait_the_oldest_keeps_its_own_picture(rig: Rig) -> None:
    for shade in range(MAX_WAITING):
        rig.offer(grey(40 + shade))
    assert not any(ticket.is_answered for ticket in rig.tickets.given)
    rig.offer(grey(99))
    rig.accepted()
    assert [ticket.is_answered for ticket in rig.tickets.given] == [True, False, False, False, False]
    ((item, kept),) = rig.stored()
    assert (round(kept.mean()), facts_of(item)["missed"]) == (40, "busy")


def test_a_frame_that_waits_is_a_near_duplicate_for_those_after_it_and_no_longer_once_it_is_refused(rig: Rig) -> None:
    rig.intake.set_policy(policy(near_duplicate=True, most=1))
    left, right = grey(40), grey(40)
    left[:, :16], right[:, 16:] = 200, 200
    assert rig.offer(left).refusal is None
    assert rig.offer(left).refusal is RefusalReason.NEAR_DUPLICATE
    assert rig.offer(right).refusal is None  # quota is there, until one of the two has it
    rig.tickets.given[0].answer(SnapshotMissed(SnapshotMissReason.AWAY))
    rig.accepted()
    rig.tickets.given[1].answer(SnapshotMissed(SnapshotMissReason.AWAY))
    assert rig.intake._waiting.close(SOON_S)
    assert rig.telemetry.report().refused == {"near_duplicate": 1, "limit": 1}
    assert rig.spool.counts().ready == 1
    # The one that was refused is not remembered; the one that was accepted is.
    assert [rig.offer(shown).refusal for shown in (right, left)] == [
        RefusalReason.LIMIT,
        RefusalReason.NEAR_DUPLICATE,
    ]


def test_coverage_counts_a_frame_that_waits_once_it_is_accepted_and_not_if_it_is_refused(rig: Rig) -> None:
    counts = rig.telemetry.coverage = CoverageCounts(0.0)
    rig.intake = rig.make_intake(policy(most=1))
    for shade in (20, 220):
        rig.offer(grey(shade))
    assert len(counts.snapshot(0.0, "UTC").pending) == 2
    for ticket in rig.tickets.given:
        ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY))
    rig.accepted()
    assert rig.intake._waiting.close(SOON_S)
    found = counts.snapshot(0.0, "UTC")
    (day,) = found.days
    assert (day.seen.brightness, day.collected.brightness) == ([1, 0, 0], [1, 0, 0])
    assert found.pending == {}


def test_a_new_policy_remembers_what_waits(rig: Rig) -> None:
    rig.intake.set_policy(policy(near_duplicate=True))
    left = grey(40)
    left[:, :16] = 200
    rig.offer(left)
    rig.intake.set_policy(policy(near_duplicate=True, most=50))
    assert rig.offer(left).refusal is RefusalReason.NEAR_DUPLICATE


def covering(rig: Rig) -> StreamPrivacy:
    """What makes the rig's intake cover cars, of a video whose frames come each 0.1 s."""
    settings = PrivacySettings(classes=("car",), style="black", margin=0.0)
    privacy = StreamPrivacy(settings, is_video=True)
    rig.intake = rig.make_intake(policy(), privacy)
    return privacy


def car(x: float, *, width: int = 320, height: int = 240) -> Detections:
    part = Detection(x, 120.0, 20.0, 20.0, 0.9, "car", 0)
    return Detections(task=Task.OBJECT_DETECTION, objects=(part,), width=width, height=height)


def is_black(pixels: Pixels, x: float) -> bool:
    scale = pixels.shape[1] / 320
    return int(pixels[round(120 * scale), round(x * scale)].max()) < 10


def test_a_frame_waits_for_the_one_after_it_where_objects_are_covered_over_time(rig: Rig) -> None:
    covering(rig)
    rig.tickets.given.clear()
    rig.offer(grey(200, 320, 240), car(60))
    rig.clock.advance(0.1)
    rig.offer(grey(201, 320, 240), car(160))
    for ticket in rig.tickets.given:
        ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY))
    rig.accepted()
    ((_, kept),) = rig.stored()
    assert [is_black(kept, x) for x in (60, 160, 260)] == [True, True, False]


@pytest.mark.parametrize(("skew_s", "black"), [(0.05, (True, True, True)), (0.0, (True, True, False))])
def test_a_snapshot_is_masked_by_the_frames_around_its_own_time(
    rig: Rig, skew_s: float, black: tuple[bool, bool, bool]
) -> None:
    covering(rig)
    for x in (60, 160, 260):
        rig.offer(grey(200, 320, 240), car(x))
        rig.clock.advance(0.1)
    for ticket in rig.tickets.given:
        ticket.answer(rig.snapshot(grey(200, 640, 480), skew_s=skew_s))
    rig.accepted(2)
    first = rig.stored()[0][1]
    assert first.shape == (480, 640, 3)
    assert tuple(is_black(first, x) for x in (60, 160, 260)) == black


@pytest.mark.parametrize(("size", "skew_s"), [((640, 400), 0.0), ((640, 480), 0.9)])
def test_a_snapshot_that_can_not_be_masked_gives_way_to_the_frames_own(
    rig: Rig, size: tuple[int, int], skew_s: float
) -> None:
    covering(rig)
    rig.offer(grey(200, 320, 240), car(60))
    rig.clock.advance(0.1)
    rig.offer(grey(200, 320, 240), car(60))
    rig.tickets.given[0].answer(rig.snapshot(grey(200, *size), skew_s=skew_s))
    rig.intake.end_stream()  # no frame comes any more that could show what is on it
    item, kept = rig.stored()[0]
    assert (kept.shape, is_black(kept, 60)) == ((240, 320, 3), True)
    assert facts_of(item)["missed"] == "unmasked"


def test_a_frame_that_can_not_be_masked_after_all_is_refused_and_counted(rig: Rig) -> None:
    covering(rig)
    rig.offer(grey(200, 320, 240), car(60))
    rig.offer(grey(200, 320, 240), car(60, width=64))  # no mask without what is in the frame after
    rig.intake.end_stream()
    assert rig.spool.counts().ready == 0
    assert rig.telemetry.report().refused == {"unmasked": 2}


def test_the_end_of_the_stream_stores_all_that_wait(rig: Rig) -> None:
    for shade in range(3):
        rig.offer(grey(40 + shade))
    rig.intake.end_stream()
    assert rig.spool.counts().ready == 3
    assert rig.results == {"away": 3}


def test_an_unexpected_error_ends_the_service_and_not_the_stream(rig: Rig) -> None:
    rig.offer(grey(40))
    impossible = SnapshotMissed(cast(SnapshotMissReason, None))
    rig.tickets.given[0].answer(impossible)
    assert rig.intake._waiting.close(SOON_S)
    assert [type(error) for error in rig.failures] == [AttributeError]
    rig.offer(grey(41))  # must not wait for ever
    rig.failures.clear()
