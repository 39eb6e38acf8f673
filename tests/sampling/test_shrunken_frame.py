"""Thumbnails of nearly taken frames: from the intake of a stream to the files beside the record, masked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from clocks import ManualClock
from framesift.decisions import DecisionRecord, RecordFiles, ThumbnailedLines, ThumbnailFiles, read_thumbnail
from framesift.frame import AbsentPicture, Frame, Pixels
from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.privacy.privacy_settings import PrivacySettings
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.shrunken_frame import ShrunkenFrame
from rigs.paced_device import PacedDevice, PacedDevices, policy
from sampling_data import stub

HEIGHT, WIDTH = 720, 960
NEVER = {"name": "close", "type": "uncertainty", "aggregation": "max", "minimum_score": 0.5, "hours": ["00:00-01:00"]}
COVERED = (slice(50, 70), slice(30, 50))  # rows and columns of a thumbnail: inside the face
OPEN = (slice(50, 70), slice(120, 150))


def face(x: float = 240.0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Prediction:
    found = Detection(x, 360.0, 200.0, 200.0, 0.45, "face", 0)
    return Detections(task=Task.OBJECT_DETECTION, objects=(found,), width=size[0], height=size[1])


def covering(**fields: object) -> StreamPrivacy:
    settings = {"classes": ["face"], "style": "black", **fields}
    return StreamPrivacy(PrivacySettings.model_validate_json(json.dumps(settings)), is_video=True)


class Rig(PacedDevices):
    """A device none of whose frames is taken: each is nearly taken, out of hours."""

    def device(self, privacy: StreamPrivacy | None = None, *, thumbnails: bool = True) -> PacedDevice:
        folder = self.folder / "record"
        kept = ThumbnailedLines(ThumbnailFiles(folder, 1 << 20)) if thumbnails else None
        self.record = DecisionRecord(RecordFiles(folder, 1 << 20), self.clock, kept, on_problem=pytest.fail)
        return self.add(policy(NEVER), decisions=self.record, privacy=privacy)

    def offer(self, prediction: Prediction, *, number: int = 0, shade: int = 200) -> None:
        pixels = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
        self.devices[-1].intake().offer(Frame("gate", number, pixels, self.clock.now()), prediction)
        pixels[:] = 0  # the buffer of the camera gets the next frame

    def lines(self) -> list[dict[str, Any]]:
        return [line for line in self.record.lines() if line["type"] == "decision"]

    def shown(self) -> Pixels | None:
        """The thumbnail of the oldest line."""
        jpeg = read_thumbnail(self.folder / "record", self.lines()[-1].get("thumbnail", ""))
        return None if jpeg is None else np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path)) as rig:
        yield rig


def test_a_nearly_taken_frame_has_a_small_thumbnail(rig: Rig) -> None:
    rig.device()
    rig.offer(face())
    shown = rig.shown()
    assert shown is not None
    assert shown.shape == (120, 160, 3)
    assert abs(int(shown.mean()) - 200) < 3


def test_without_the_setting_nothing_is_written_but_lines(rig: Rig, tmp_path: Path) -> None:
    rig.device(thumbnails=False)
    rig.offer(face())
    assert "thumbnail" not in rig.lines()[0]
    assert sorted(path.name for path in (tmp_path / "record").iterdir()) == ["decisions.jsonl", "lock"]


def test_what_must_be_covered_is_black_also_where_only_the_next_frame_shows_it(rig: Rig) -> None:
    rig.device(covering(over_time_s=1.0))
    rig.offer(face(700.0), shade=180)
    assert rig.lines() == []  # the frame after it is not known yet
    rig.clock.advance(0.1)
    rig.offer(face(240.0), number=1)
    shown = rig.shown()
    assert rig.lines()[-1]["frame"] == 0
    assert shown is not None
    assert shown[COVERED].max() < 30
    assert shown[:15].min() > 150


def test_the_mask_of_the_frame_itself_counts_when_no_other_follows_in_time(rig: Rig) -> None:
    rig.device(covering(over_time_s=1.0))
    rig.offer(face())
    rig.clock.advance(0.9)
    assert rig.lines() == []
    rig.clock.advance(0.2)
    shown = rig.shown()
    assert shown is not None
    assert shown[COVERED].max() < 30
    assert shown[OPEN].min() > 170


def test_polygons_are_black(rig: Rig) -> None:
    rig.device(covering(classes=[], polygons=[[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]))
    rig.offer(face())
    shown = rig.shown()
    assert shown is not None
    assert shown[:, :75].max() < 30
    assert shown[OPEN].min() > 170


def test_a_frame_that_can_not_be_masked_has_a_line_and_no_thumbnail(rig: Rig) -> None:
    rig.device(covering(over_time_s=0))
    rig.offer(face(size=(WIDTH // 2, HEIGHT)))  # a prediction of another picture
    assert rig.shown() is None


def test_a_detector_is_asked_about_the_frame_as_it_was_and_nobody_is_told(rig: Rig) -> None:
    asked: list[int] = []

    def detect(frame: Frame) -> Prediction:
        asked.append(int(frame.pixels[0, 0, 0]))
        return face()

    class Told:
        def masked(self) -> None:
            pytest.fail("the frame was not kept")

        def unmasked(self, why: str) -> None:
            pytest.fail(why)

        def stream_ended(self) -> None:
            pytest.fail("it goes on")

    settings = PrivacySettings.model_validate_json('{"classes": ["face"], "style": "black", "require": "detector"}')
    rig.device(StreamPrivacy(settings, detect=detect, observer=Told()))
    rig.offer(face(700.0), shade=180)
    assert asked == []  # most frames that are nearly taken are never shown
    shown = rig.shown()
    assert asked == [180]
    assert shown is not None
    assert shown[COVERED].max() < 30


def test_a_frame_without_pixels_has_none() -> None:
    clock = ManualClock()
    absent = Frame("gate", 0, AbsentPicture(WIDTH, HEIGHT, "recorded without pixels"), clock.now())
    assert ShrunkenFrame.of(absent, stub(), None, clock) is None
    small = Frame("gate", 0, np.zeros((24, 32, 3), np.uint8), clock.now())
    kept = ShrunkenFrame.of(small, stub(), None, clock)
    assert kept is not None
    small.pixels[:] = 255
    jpeg = kept.jpeg()
    assert jpeg is not None
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).max() < 10
