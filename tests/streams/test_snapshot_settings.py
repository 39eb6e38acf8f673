"""The block `snapshot` of a stream: what is allowed, its error messages, what it takes over, and what is not shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from framesift.streams import StreamSettings

SUB = "rtsp://10.0.0.5/sub"
MAIN = "rtsp://10.0.0.5/main"


def options(snapshot: dict[str, Any], **fields: Any) -> StreamSettings:
    return StreamSettings.model_validate_json(
        json.dumps({"name": "gate", "source": SUB, "snapshot": snapshot, **fields})
    )


@pytest.mark.parametrize(
    ("snapshot", "fields", "message"),
    [
        ({}, {}, "needs either source (the address of a main stream) or url (that of a JPEG)"),
        ({"source": MAIN, "url": "http://10.0.0.5/a.jpg"}, {}, "needs either source"),
        (
            {"source": "main.mp4"},
            {},
            "snapshot.source must begin with one of these: rtsp://, rtsps://, http://, https://",
        ),
        ({"url": MAIN}, {}, "snapshot.url must begin with one of these: http://, https://"),
        (
            {"source": "rtsp://10.0.0.5:77777/main"},
            {},
            "stream 'gate': snapshot: the source's address has no valid port",
        ),
        ({"source": "rtsp://[::1/main"}, {}, "stream 'gate': snapshot.source: the address can't be read"),
        ({"source": "rtsp://me:secretpw@10.0.0.5/m", "password": "secretpw"}, {}, "snapshot: credentials stand both"),
        ({"source": MAIN, "password": "secretpw"}, {}, "snapshot: a password needs a username"),
        ({"source": "rtsps://10.0.0.5/main"}, {"transport": "udp"}, "snapshot: rtsps:// goes over TCP only"),
        ({"source": MAIN}, {"source": "a.mp4"}, "snapshot is for cameras only, and not for files and folders"),
        ({"source": MAIN}, {"source": "pictures/"}, "snapshot is for cameras only, and not for files and folders"),
        ({"source": MAIN}, {"ca_file": "ca.pem"}, "for rtsps:// and https:// sources only"),
        ({"source": MAIN, "wait_s": 6}, {}, "less than or equal to 5"),
        ({"source": MAIN, "max_bytes": "1KiB"}, {}, "greater than or equal to 1048576"),
        ({"source": MAIN, "max_bytes": "large"}, {}, "is not a size"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_reason(
    snapshot: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        options(snapshot, **fields)
    assert message in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_it_is_read_as_the_stream_is() -> None:
    given = options(
        {"source": "rtsps://10.0.0.5/main"},
        ca_file="ca.pem",
        rotate=90,
        read_timeout_s=3.0,
        open_timeout_s=4.0,
        threads=2,
    )
    main = given.snapshot_stream()
    assert main.chosen_engine == "av"
    assert (main.ca_file, main.rotate, main.read_timeout_s, main.open_timeout_s, main.threads) == (
        Path("ca.pem"),
        90,
        3.0,
        4.0,
        2,
    )
    assert options({"source": MAIN}, transport="udp").snapshot_stream().transport == "udp"
    jpeg = options({"url": "https://10.0.0.5/a.jpg"}, transport="udp", verify=False).snapshot_stream()
    assert (jpeg.transport, jpeg.verify) == (None, False)


@pytest.mark.parametrize(
    ("snapshot", "fields", "address"),
    [
        ({"source": MAIN}, {"username": "me", "password": "secretpw"}, "rtsp://me:secretpw@10.0.0.5/main"),
        ({"source": MAIN}, {"source": "rtsp://me:secretpw@10.0.0.5/sub"}, "rtsp://me:secretpw@10.0.0.5/main"),
        ({"source": MAIN, "username": "other"}, {"username": "me", "password": "pw"}, "rtsp://other@10.0.0.5/main"),
        ({"source": "rtsp://you@10.0.0.5/m"}, {"username": "me", "password": "pw"}, "rtsp://you@10.0.0.5/m"),
        # Nobody else is told the camera's password.
        ({"url": "http://127.0.0.1:1984/a"}, {"username": "me", "password": "pw"}, "http://127.0.0.1:1984/a"),
    ],
)
def test_the_credentials_are_those_of_the_stream_where_it_has_none_and_the_host_is_the_same(
    snapshot: dict[str, Any], fields: dict[str, Any], address: str
) -> None:
    assert options(snapshot, **fields).snapshot_stream().address() == address


def test_neither_print_nor_a_message_shows_its_credentials() -> None:
    given = options({"source": "rtsp://viewer:secretpw@10.0.0.5/main?token=tokenword"})
    for shown in (repr(given), str(given), given.snapshot_stream().redacted_source):
        assert "secretpw" not in shown
        assert "tokenword" not in shown
        assert "10.0.0.5" in shown
    assert {"secretpw", "viewer", "token=tokenword"} <= set(given.secrets())
    beside = options({"source": MAIN, "username": "viewer", "password": "secretpw"})
    assert "secretpw" not in repr(beside)
    assert "secretpw" in set(beside.secrets())


def test_a_size_may_be_a_text() -> None:
    snapshot = options({"source": MAIN, "max_bytes": "8MiB"}).snapshot
    assert snapshot is not None
    assert snapshot.max_bytes == 8 << 20
