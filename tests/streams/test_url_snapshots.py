"""Snapshots that are fetched as a JPEG from an address, from a real HTTP server."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from framesift.clock.clock import SystemClock
from framesift.frame import Frame
from framesift.http_client import HttpClient
from framesift.streams import StreamEvent, StreamObserver, StreamSettings, StreamState
from framesift.streams.away_reasons import AwayReason
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason, SnapshotPicture
from framesift.streams.snapshots.url_snapshots import UrlSnapshots
from rigs.certificates import Authority
from rigs.web_camera import WebCamera, numbered_jpeg

SOON_S = 20.0
CLOCK = SystemClock()


class Observed(StreamObserver):
    def __init__(self) -> None:
        self.events: list[tuple[StreamState, AwayReason | None]] = []
        self.reasons: list[AwayReason | None] = []

    def on_event(self, event: StreamEvent) -> None:
        assert event.stream == "gate.snapshot"
        self.events.append((event.state, event.reason))

    def on_reason(self, event: StreamEvent) -> None:
        self.reasons.append(event.reason)


@contextmanager
def snapshots(
    url: str, *, observer: StreamObserver | None = None, verify: bool = True, **of: Any
) -> Iterator[UrlSnapshots]:
    stream = {key: of.pop(key) for key in ("rotate", "username", "password") if key in of}
    block = {"url": url, "max_skew_s": 10.0, **of}
    text = json.dumps({"name": "gate", "source": "rtsp://127.0.0.1/sub", "snapshot": block, **stream})
    settings = StreamSettings.model_validate_json(text)
    client = HttpClient(verify=verify)
    made = UrlSnapshots(settings, clock=CLOCK, client=client, observer=observer)
    made.start()
    yield made
    assert made.stop(SOON_S)
    client.close()


def ask(source: UrlSnapshots, *, within_s: float = SOON_S, age_s: float = 0.0) -> SnapshotPicture | SnapshotMissed:
    now = CLOCK.now()
    moment = type(now)(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id)
    frame = Frame("gate", 0, np.zeros((4, 4, 3), np.uint8), moment)
    return source.request(frame, deadline_s=now.boottime_s + within_s).wait()


def found(answer: SnapshotPicture | SnapshotMissed) -> SnapshotPicture:
    assert isinstance(answer, SnapshotPicture), answer
    return answer


def missed(answer: SnapshotPicture | SnapshotMissed) -> SnapshotMissed:
    assert isinstance(answer, SnapshotMissed)
    return answer


def test_the_bytes_come_as_they_are_and_the_skew_lies_between_question_and_answer() -> None:
    with WebCamera() as camera, snapshots(f"{camera.url}/snapshot.jpg?src=gate") as source:
        camera.pages["/snapshot.jpg"] = numbered_jpeg(7)
        before = CLOCK.now().boottime_s
        answer = found(ask(source, age_s=2.0))
        after = CLOCK.now().boottime_s
        assert not isinstance(answer.picture, np.ndarray)
        assert answer.picture.jpeg == numbered_jpeg(7)
        assert answer.skew_s - answer.uncertain_s >= 2.0
        assert answer.skew_s + answer.uncertain_s <= 2.0 + after - before
        assert before <= answer.taken_at.boottime_s <= after
        assert str(answer.measured_by) == "request"


@pytest.mark.parametrize("digest", [False, True])
def test_credentials_are_given_once_the_camera_asks_for_them(digest: bool) -> None:
    with WebCamera(credentials="viewer:se cret", digest=digest) as camera:
        camera.pages["/a.jpg"] = numbered_jpeg(1)
        with snapshots(f"{camera.url}/a.jpg", username="viewer", password="se cret") as source:
            for _ in range(5):
                found(ask(source))
        assert camera.authorizations[0] is None  # not in clear text to a camera that did not ask
        schemes = [str(header).partition(" ")[0] for header in camera.authorizations[1:]]
        # The nonce of Digest is used up once: it is asked for again.
        assert schemes == (["Digest"] * 6 if digest else ["Basic"] * 5)


@pytest.mark.parametrize("digest", [False, True])
def test_wrong_credentials_are_said_and_not_repeated_for_ever(digest: bool) -> None:
    watched = Observed()
    with WebCamera(credentials="viewer:right", digest=digest) as camera:
        with snapshots(f"{camera.url}/a.jpg", username="viewer", password="wrong", observer=watched) as source:
            assert missed(ask(source)).reason is SnapshotMissReason.AWAY
        assert len(camera.authorizations) == 2
    assert watched.events == [(StreamState.LOST, AwayReason.UNAUTHORIZED)]


def test_the_states_follow_what_the_camera_answers() -> None:
    watched = Observed()
    with WebCamera() as camera, snapshots(f"{camera.url}/a.jpg", observer=watched) as source:
        gone = missed(ask(source))
        assert (gone.reason, "404" in gone.detail) == (SnapshotMissReason.AWAY, True)
        camera.pages["/a.jpg"] = b"<html>log in</html>"
        assert missed(ask(source)).reason is SnapshotMissReason.DECODER
        camera.pages["/a.jpg"] = numbered_jpeg(3)
        found(ask(source))
        found(ask(source))
        camera.pages["/a.jpg"] = numbered_jpeg(3)[:-200]
        assert missed(ask(source)).reason is SnapshotMissReason.DECODER
    assert watched.events == [
        (StreamState.LOST, AwayReason.NOT_FOUND),
        (StreamState.RUNNING, None),
        (StreamState.LOST, AwayReason.DECODER),
    ]
    assert watched.reasons == [AwayReason.DECODER]  # the second answer, lost for another reason than the first


def test_a_camera_that_does_not_answer_holds_nobody_up_longer_than_the_deadline() -> None:
    with WebCamera() as camera, snapshots(f"{camera.url}/a.jpg") as source:
        camera.pages["/a.jpg"] = numbered_jpeg(3)
        camera.stalls.set()
        assert missed(ask(source, within_s=0.3)).reason is SnapshotMissReason.NO_PICTURE
        camera.stalls.clear()
        found(ask(source))


def test_nobody_there() -> None:
    with WebCamera() as camera:
        url = camera.url
    with snapshots(f"{url}/a.jpg") as source:
        assert missed(ask(source)).reason is SnapshotMissReason.AWAY


def test_a_picture_that_comes_too_late_is_not_used() -> None:
    with WebCamera() as camera, snapshots(f"{camera.url}/a.jpg", max_skew_s=0.5) as source:
        camera.pages["/a.jpg"] = numbered_jpeg(3)
        assert missed(ask(source, age_s=0.6)).reason is SnapshotMissReason.SKEW


def test_a_picture_is_turned_as_the_stream_is() -> None:
    with WebCamera() as camera, snapshots(f"{camera.url}/a.jpg", rotate=90) as source:
        camera.pages["/a.jpg"] = numbered_jpeg(5)
        answer = found(ask(source))
    upright = cv2.imdecode(np.frombuffer(numbered_jpeg(5), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(answer.pixels, cv2.rotate(upright, cv2.ROTATE_90_CLOCKWISE))


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")  # pytest shows what the client hides
def test_a_certificate_of_the_cameras_own_is_accepted_where_nothing_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("127.0.0.1"))
    with WebCamera(tls=tls) as camera:
        camera.pages["/a.jpg"] = numbered_jpeg(5)
        with snapshots(f"{camera.url}/a.jpg") as source:
            assert missed(ask(source)).reason is SnapshotMissReason.AWAY
        with snapshots(f"{camera.url}/a.jpg", verify=False) as source:
            found(ask(source))


def test_those_that_wait_are_answered_when_the_stream_ends() -> None:
    with WebCamera() as camera, snapshots(f"{camera.url}/a.jpg") as source:
        camera.stalls.set()
        now = CLOCK.now()
        frame = Frame("gate", 0, np.zeros((4, 4, 3), np.uint8), now)
        tickets = [source.request(frame, deadline_s=now.boottime_s + 2.0) for _ in range(3)]
        source.close()
        assert [missed(ticket.wait()).reason for ticket in tickets] == [SnapshotMissReason.AWAY] * 3
        assert missed(ask(source)).reason is SnapshotMissReason.AWAY
        camera.goes_on.set()
