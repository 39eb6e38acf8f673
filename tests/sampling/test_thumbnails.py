"""Thumbnails: made only when somebody asks, from the next frame, and masked like every picture."""

from __future__ import annotations

import json
import threading

import cv2
import numpy as np
import pytest

from clocks import ManualClock
from framesift.clock.clock import SystemClock
from framesift.frame import Frame, Pixels
from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.privacy.privacy_settings import PrivacySettings
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.thumbnails import FRESH_S, WITHIN_S, Thumbnails
from sampling_data import stub

HEIGHT, WIDTH = 720, 960
PRIVACY = {"classes": ["face"], "style": "black"}


def frame(number: int, shade: int = 200) -> Frame:
    now = SystemClock().now()
    return Frame("gate", number, np.full((HEIGHT, WIDTH, 3), shade, np.uint8), now)


def face(x: float = 240.0) -> Prediction:
    found = Detection(x, 360.0, 200.0, 200.0, 0.9, "face", 0)
    return Detections(task=Task.OBJECT_DETECTION, objects=(found,), width=WIDTH, height=HEIGHT)


def privacy(**fields: object) -> StreamPrivacy:
    settings = PrivacySettings.model_validate_json(json.dumps({**PRIVACY, **fields}))
    return StreamPrivacy(settings, is_video=True)


def pixels(jpeg: bytes | None) -> Pixels:
    assert jpeg is not None
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    return np.asarray(shown, np.uint8)


class Showing(ManualClock):
    """A clock by which somebody waits for a thumbnail. Meanwhile the stream shows two frames: a mask waits for one."""

    def __init__(self, prediction: Prediction, covered: StreamPrivacy | None = None) -> None:
        super().__init__()
        self.thumbnails = Thumbnails(self)
        self._prediction = prediction
        self._covered = covered

    def wait(self, event: threading.Event, _timeout_s: float) -> bool:
        for number in (0, 1):
            shown = frame(number)
            if self._covered is not None:
                self._covered.observe(shown, self._prediction)
            self.thumbnails.offer(shown, self._prediction, self._covered)
        return event.is_set()

    def ask(self) -> bytes | None:
        return self.thumbnails.get("gate")


def test_the_next_frame_is_shown_small() -> None:
    shown = pixels(Showing(stub()).ask())
    assert shown.shape == (360, 480, 3)
    assert abs(int(shown.mean()) - 200) < 3


def test_what_must_be_covered_is_covered() -> None:
    shown = pixels(Showing(face(), privacy()).ask())
    assert shown[160:200, 100:140].max() < 30
    assert shown[160:200, 400:440].min() > 170


def test_a_frame_that_can_not_be_masked_is_not_shown() -> None:
    # Nothing says where faces are: a stub predicts nothing.
    assert Showing(stub(), privacy()).ask() is None


def test_nothing_is_copied_while_nobody_asks() -> None:
    class Unread:
        width, height, jpeg = WIDTH, HEIGHT, None

        @property
        def pixels(self) -> Pixels:
            raise AssertionError("nobody has asked")

        def overview(self, width: int = 1, height: int = 1) -> Pixels:  # noqa: ARG002
            return self.pixels

    Thumbnails(SystemClock()).offer(Frame("gate", 0, Unread(), SystemClock().now()), stub(), None)


def test_a_stream_without_frames_has_none_after_some_seconds() -> None:
    clock = ManualClock(waiters=1)
    began_s = clock.monotonic()
    assert Thumbnails(clock).get("gate") is None
    assert clock.monotonic() - began_s == pytest.approx(WITHIN_S)


def test_the_same_one_is_given_to_others_for_a_moment() -> None:
    clock = Showing(stub())
    made = clock.ask()
    assert made is not None
    assert clock.ask() is made
    clock.advance(FRESH_S)
    assert clock.ask() is not made
