"""The text of a pipeline of GStreamer: what it must end in, what of it is shown, and that a wheel's OpenCV has none.

That pictures come from one is tried with the system's OpenCV, in tests/torture/test_system_opencv.py.
"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from framesift.config.redact import Redactor
from framesift.streams import StreamSettings
from framesift.streams.gstreamer_pipeline import (
    PIPELINE_END,
    pipeline_problem,
    pipeline_secrets,
    redacted_pipeline,
)

END = f" ! videoconvert ! {PIPELINE_END}"


@pytest.mark.parametrize(
    "text",
    [
        "videotestsrc" + END,
        "videotestsrc ! videoconvert ! video/x-raw, format=(string)BGR ! appsink",
        'videotestsrc ! videoconvert ! video/x-raw, width=320, format="BGR", height=192 ! appsink name=out',
        "videotestsrc\n  ! videoconvert\n  ! video/x-raw,format=BGR ! appsink\n",
    ],
)
def test_a_pipeline_that_ends_in_bgr_for_the_application_is_accepted(text: str) -> None:
    assert pipeline_problem(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://cam/live",
        "videotestsrc ! appsink",
        "videotestsrc ! video/x-raw,format=NV12 ! appsink",  # OpenCV would give it out as a taller grey picture
        "videotestsrc ! video/x-raw,format=BGRx ! appsink",
        "videotestsrc ! video/x-raw,format=BGR ! videoconvert ! appsink",
        "videotestsrc ! video/x-raw,format=BGR ! fakesink",
        "video/x-raw,format=BGR ! appsink ! fakesink",
        "videotestsrc" + END + "\x1b[2J",
    ],
)
def test_a_pipeline_whose_pictures_would_be_wrong_is_refused(text: str) -> None:
    assert pipeline_problem(text)


SECRETS = [
    ("rtspsrc location=rtsp://viewer:wordofmine@cam/live latency=0", "rtspsrc location=rtsp://****@cam/live latency=0"),
    ('rtspsrc location="rtsp://viewer:wordofmine@cam/live"', "rtspsrc location=rtsp://****@cam/live"),
    ("rtspsrc user-id=viewer user-pw=wordofmine drop=true", "rtspsrc user-id=**** user-pw=**** drop=true"),
    ('rtspsrc user-pw="word of mine" latency=200', "rtspsrc user-pw=**** latency=200"),
    ("rtspsrc user-pw=word\\ of\\ mine latency=200", "rtspsrc user-pw=**** latency=200"),
    ('rtspsrc user-pw="a \\" wordofmine" latency=200', "rtspsrc user-pw=**** latency=200"),
    ("rtspsrc user-pw = wordofmine", "rtspsrc user-pw = ****"),
    ("rtspsrc user-pw=word/of&mine", "rtspsrc user-pw=****"),
    ("rtspsrc proxy-pw=wordofmine proxy-id=someone", "rtspsrc proxy-pw=**** proxy-id=****"),
    ("srtsrc passphrase=wordofmine", "srtsrc passphrase=****"),
    ('souphttpsrc extra-headers="headers,Authorization=wordofmine"', "souphttpsrc extra-headers=****"),
    ("souphttpsrc location=https://cam/live?token=wordofmine", "souphttpsrc location=https://cam/live?token=****"),
    ("v4l2src device=/dev/video0 ! video/x-raw,width=640", "v4l2src device=/dev/video0 ! video/x-raw,width=640"),
]


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_a_pipeline_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert redacted_pipeline(text) == shown
    line = Redactor(pipeline_secrets(text))(f"0:00:00.05 WARN rtspsrc: <rtspsrc0> {text} can't be opened")
    for secret in ("wordofmine", "word of mine", "word\\ of", "word/of", "of&mine", "someone"):
        assert secret not in line


def test_a_pipeline_with_an_opencv_without_gstreamer_is_an_error_that_says_what_to_take() -> None:
    with pytest.raises(ValidationError) as refusal:
        StreamSettings(
            name="gate", source="rtspsrc location=rtsp://viewer:wordofmine@cam/live" + END, engine="gstreamer"
        )
    message = str(refusal.value)
    assert "stream 'gate': engine is gstreamer, but OpenCV 4." in message
    assert "was built without GStreamer; use the system's own OpenCV" in message
    assert "wordofmine" not in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "rtsp://viewer:wordofmine@cam/live"}, "engine is gstreamer, so source is a pipeline that ends in"),
        ({"source": 0}, "engine is gstreamer, so source is a pipeline that ends in"),
        ({"username": "viewer", "password": "wordofmine"}, "username and password can't be given with engine gstream"),
        ({"pace": "realtime", "follow": True}, "follow and pace can't be given with engine gstreamer"),
        ({"loop": True}, "loop can't be given with engine gstreamer; say it in the pipeline"),
        ({"decode": "keyframes", "threads": 2}, "decode and threads can't be given with engine gstreamer"),
        ({"transport": "udp", "verify": False}, "transport and verify can't be given with engine gstreamer"),
    ],
)
def test_what_a_pipeline_says_itself_is_no_setting_beside_it(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        StreamSettings.model_validate({"name": "gate", "source": "videotestsrc" + END, "engine": "gstreamer", **fields})
    assert message in str(refusal.value)
    assert "wordofmine" not in str(refusal.value)
