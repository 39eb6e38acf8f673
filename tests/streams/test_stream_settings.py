"""The settings of a stream: what is allowed, the error messages, and that no password is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from framesift.streams import StreamSettings
from framesift.streams.stream_settings import webcam_index


def options(**fields: object) -> StreamSettings:
    return StreamSettings.model_validate_json(json.dumps({"name": "gate", **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "srt://10.0.0.5/stream"}, "not srt://"),
        ({"source": "file:a.mp4"}, "file://"),
        ({"source": "file://cam/a.mp4"}, "not file://"),
        ({"source": "http://cam/s", "transport": "udp"}, "transport is for rtsp:// and rtsps:// sources only"),
        ({"source": "a.mp4", "transport": "tcp"}, "transport is for rtsp:// and rtsps:// sources only"),
        ({"source": "rtsps://cam/s", "transport": "udp"}, "would not be encrypted"),
        ({"source": "rtsp://cam/s", "transport": "http"}, "'tcp' or 'udp'"),
        ({"source": "rtsp://cam/s", "ca_file": "ca.pem"}, "for rtsps:// and https:// sources only"),
        ({"source": "http://cam/s", "verify": False}, "for rtsps:// and https:// sources only"),
        ({"source": "https://cam/s", "verify": False, "ca_file": "ca.pem"}, "has no effect"),
        ({"source": "rtsp:///stream"}, "no valid host"),
        ({"source": "rtsp:/me:secretpw@cam"}, "begins with rtsp://"),
        ({"source": "rtsp:me:secretpw@cam/s"}, "begins with rtsp://"),
        ({"source": "rtsp:/cam/stream"}, "begins with rtsp://"),
        ({"source": "me:secretpw@cam/s"}, "begins with rtsp://"),
        ({"source": "rtsp//10.0.0.5/s"}, 'it begins with "rtsp//": write rtsp://'),
        ({"source": "rtsp//me:secretpw@cam/s"}, 'it begins with "rtsp//": write rtsp://'),
        ({"source": "rtsps//cam/s"}, 'it begins with "rtsps//": write rtsps://'),
        ({"source": "rtsp;//cam/s"}, 'it begins with "rtsp;//": write rtsp://'),
        ({"source": "rtsp : //cam/s"}, 'it begins with "rtsp://": write rtsp://'),
        ({"source": "rtsp:/cam/s"}, 'it begins with "rtsp:/": write rtsp://'),
        ({"source": "rtsp:\\\\cam\\s"}, "write rtsp://"),
        ({"source": "rtsp://cam\\s"}, "it has a backslash"),
        ({"source": "rstp//cam/s"}, 'it begins with "rstp//": write rtsp://'),
        ({"source": "rstp://me:secretpw@cam/s"}, 'it begins with "rstp://": did you mean rtsp://?'),
        ({"source": " rtsp://cam/s"}, "it begins or ends with a space"),
        ({"source": "rtsp://cam/s "}, "it begins or ends with a space"),
        ({"source": "rtsp://cam/the stream"}, "write %20"),
        ({"source": "10.0.0.5"}, "it is a host without the beginning of an address: write rtsp://"),
        ({"source": "10.0.0.5/stream1"}, "it is a host without the beginning of an address: write rtsp://"),
        ({"source": "cam.local:554/stream1"}, "it is a host without the beginning of an address: write rtsp://"),
        ({"source": "rtsp://cam:77777/s"}, "no valid port"),
        ({"source": "rtsp://me:pa/ss@cam/s"}, "percent-encode"),
        ({"source": "rtsp://[::1/s"}, "can't be read"),
        ({"source": "rtsp://cam/s\nx"}, "can't be printed"),
        ({"source": ""}, "at least 1 character"),
        ({"source": -1}, "greater than or equal to 0"),
        ({"source": True}, "valid"),
        ({"source": "rtsp://me:secretpw@cam/s", "username": "me"}, "give them once"),
        ({"source": "rtsp://me@cam/s", "password": "secretpw"}, "give them once"),
        ({"source": "rtsp://cam/s", "password": "secretpw"}, "a password needs a username"),
        ({"source": "rtsp://cam/s", "username": "me", "password": "secret\npw"}, "can't be printed"),
        ({"source": "a.mp4", "username": "me"}, "for rtsp, rtsps, http and https sources only"),
        ({"source": 0, "username": "me", "password": "secretpw"}, "for rtsp, rtsps, http and https sources only"),
        ({"source": "rtsp://cam/s", "loop": True}, "loop is for files only"),
        ({"source": 0, "loop": True}, "loop is for files only"),
        ({"source": "rtsp://cam/s", "watch": True}, "watch is for folders of pictures only"),
        ({"source": "rtsp://cam/s", "pace": "realtime"}, "pace is for video files only"),
        ({"source": "pictures/", "pace": "realtime"}, "pace is for video files only"),
        ({"source": "rtsp://cam/s", "follow": True}, "follow is for video files only"),
        ({"source": "pictures/", "follow": True}, "follow is for video files only; a folder has watch"),
        ({"source": "a.ts", "follow": True, "loop": True}, "follow has no effect with loop or pace"),
        ({"source": "a.ts", "follow": True, "engine": "opencv"}, "follow need the engine av"),
        ({"source": "a.mp4", "pace": "slow"}, "'model' or 'realtime'"),
        ({"source": "clips/*.mp4"}, "a pattern is for pictures, which end in .jpg, .jpeg, .png"),
        ({"source": "*/a.jpg"}, "may stand in the last part of source only"),
        ({"source": "gate-?/*.jpg"}, "may stand in the last part of source only"),
        ({"source": "pictures/", "watch": True, "loop": True}, "loop with watch can't be used with a folder"),
        ({"source": "pictures/", "watch": True, "fps": 2.0}, "fps with watch can't be used with a folder"),
        ({"source": "pictures/", "engine": "opencv", "threads": 2}, "engine and threads can't be used with a folder"),
        ({"source": "pictures/*", "decode": "keyframes"}, "decode can't be used with a folder of pictures"),
        ({"source": "a.mp4", "fps": 0}, "greater than 0"),
        ({"source": "a.mp4", "fps": 241}, "less than or equal to 240"),
        ({"source": "a.mp4", "fps": "5"}, "valid number"),
        ({"source": "a.mp4", "tags": ["no spaces"]}, "match pattern"),
        ({"source": "a.mp4", "open_timeout_s": 0.1}, "greater than or equal to 0.5"),
        ({"source": "a.mp4", "read_timeout_s": 601}, "less than or equal to 600"),
        ({"source": "a.mp4", "speed": 2}, "Extra inputs"),
        ({}, "Field required"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_reason(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        options(**fields)
    assert message in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "pa/ss" not in str(refusal.value)


@pytest.mark.parametrize(
    "source", ["clips//gate.mp4", "rtsp/gate.mp4", "tcp.mp4", "./10.0.0.5", "a clip.mp4", "12:30.mp4", "C:\\a.mp4"]
)
def test_an_ordinary_path_is_never_taken_for_a_misspelt_address(source: str) -> None:
    assert options(source=source).is_path


def test_a_password_may_have_a_space_or_a_backslash() -> None:
    assert options(source="rtsp://me:p s\\w@cam/s").address() == "rtsp://me:p%20s%5Cw@cam/s"


def test_a_refusal_about_credentials_names_the_stream() -> None:
    with pytest.raises(ValidationError, match="stream 'gate'"):
        options(source="rtsp://me:secretpw@cam/s", username="me")


def test_credentials_beside_the_address_are_encoded_into_it() -> None:
    given = options(source="rtsp://cam:8554/s?channel=1", username="the viewer", password="p@ss/w:rd%")
    assert given.address() == "rtsp://the%20viewer:p%40ss%2Fw%3Ard%25@cam:8554/s?channel=1"


def test_credentials_in_the_address_stay_what_they_are() -> None:
    assert options(source="rtsp://me:p%40ss@[::1]:554/s").address() == "rtsp://me:p%40ss@[::1]:554/s"


def test_credentials_in_the_address_may_be_raw_where_that_is_unambiguous() -> None:
    assert options(source="rtsp://me:p@ss@cam/s").address() == "rtsp://me:p%40ss@cam/s"


def test_a_username_alone_is_enough() -> None:
    assert options(source="rtsp://cam/s", username="me").address() == "rtsp://me@cam/s"


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "rtsp://viewer:secretpw@cam/s?token=tokenword"},
        {"source": "rtsp://cam/s?token=tokenword", "username": "viewer", "password": "secretpw"},
    ],
)
def test_neither_print_nor_source_shows_credentials(fields: dict[str, object]) -> None:
    given = options(**fields)
    for shown in (repr(given), str(given), given.redacted_source):
        assert "secretpw" not in shown
        assert "tokenword" not in shown
    assert {"secretpw", "viewer", "viewer:secretpw", "token=tokenword"} <= set(given.secrets())


@pytest.mark.parametrize(
    ("source", "is_path", "webcam"),
    [
        ("a.mp4", True, None),
        (2, False, "/dev/video2"),
        ("/dev/video3", False, "/dev/video3"),
        ("/dev/v4l/by-id/usb-cam-video-index0", False, "/dev/v4l/by-id/usb-cam-video-index0"),
        ("rtsps://cam/s", False, None),
    ],
)
def test_the_kind_of_source_is_recognised_by_its_form(source: str | int, is_path: bool, webcam: str | None) -> None:
    given = options(source=source)
    assert (given.is_path, given.is_live) == (is_path, not is_path)
    assert given.webcam == (None if webcam is None else Path(webcam))


@pytest.mark.parametrize(
    ("fields", "folder", "pattern"),
    [
        ({"source": "pictures/"}, "pictures", ""),
        ({"source": "file:///srv/the%20pictures/"}, "/srv/the pictures", ""),
        ({"source": "pictures/*.JPG"}, "pictures", "*.JPG"),
        ({"source": "gate-[0-9]?"}, ".", "gate-[0-9]?"),
        ({"source": "pictures/*.*"}, "pictures", "*.*"),
        ({"source": "pictures", "watch": True}, "pictures", ""),
        ({"source": ".", "tags": ["x"]}, ".", ""),
    ],
)
def test_a_folder_of_pictures_is_recognised(fields: dict[str, object], folder: str, pattern: str) -> None:
    given = options(**fields)
    assert (given.is_pictures, given.folder, given.pattern) == (True, Path(folder), pattern)
    assert given.chosen_engine == "opencv"


def test_a_fifo_is_a_camera(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "camera")
    given = options(source=str(tmp_path / "camera"))
    assert (given.is_camera, given.is_live, given.has_end) == (True, True, False)
    for fields in ({"loop": True}, {"follow": True}, {"pace": "realtime"}):
        with pytest.raises(ValidationError, match="loop, follow and pace are not for FIFOs"):
            options(source=str(tmp_path / "camera"), **fields)


def test_what_exists_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].jpg").touch()
    (tmp_path / "*.mp4").touch()
    (tmp_path / "pictures [1]").mkdir()
    assert not options(source=str(tmp_path / "a[1].jpg")).is_pictures
    assert not options(source=str(tmp_path / "*.mp4")).is_pictures
    folder = options(source=str(tmp_path / "pictures [1]"))
    assert (folder.is_pictures, folder.folder, folder.pattern) == (True, tmp_path / "pictures [1]", "")
    assert not options(source="clip[1].mp4").is_pictures


def test_a_link_to_a_webcam_has_the_index_of_its_device(tmp_path: Path) -> None:
    link, elsewhere = tmp_path / "usb-cam-video-index0", tmp_path / "usb-cam-audio"
    link.symlink_to("/dev/video63")
    elsewhere.symlink_to("/dev/null")
    found = [webcam_index(device) for device in (link, Path("/dev/video7"), elsewhere, tmp_path / "unplugged")]
    assert found == [63, 7, None, None]


@pytest.mark.parametrize(
    "source", ["file:///clips/a%20b.mp4", "file://localhost/clips/a%20b.mp4", "FILE:///clips/a%20b.mp4"]
)
def test_the_address_of_a_file_is_its_path(source: str) -> None:
    given = options(source=source)
    assert given.is_path
    assert given.address() == "/clips/a b.mp4"


def test_credentials_of_a_web_address_are_handled_as_those_of_rtsp() -> None:
    given = options(source="http://cam/video.mjpg?token=tokenword", username="viewer", password="secretpw")
    assert given.address() == "http://viewer:secretpw@cam/video.mjpg?token=tokenword"
    assert given.redacted_source == "http://cam/video.mjpg?token=****"
    assert {"secretpw", "viewer:secretpw", "token=tokenword"} <= set(given.secrets())


def test_a_token_in_the_path_is_never_shown_and_counts_as_a_secret() -> None:
    given = options(source="rtsps://cam:7441/4dLzFQ3cB5aXyZ12?enableSrtp")
    assert given.redacted_source == "rtsps://cam:7441/****?****"
    assert "4dLzFQ3c" not in repr(given)
    assert set(given.secrets()) == {"4dLzFQ3cB5aXyZ12", "enableSrtp"}


def test_a_file_whose_name_looks_like_credentials_is_named_with_its_folder() -> None:
    assert options(source="./me:noon@cam.mp4").is_path
