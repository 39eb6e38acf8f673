"""No secret gets out: addresses by parsing, and known secrets in every spelling that a text could give them."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest

from framesift.config.redact import MASK, Redactor, redact_url

PASSWORD = 'p@ß/w:"rd %'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam/stream1", "rtsp://cam/stream1"),
        ("rtsp://viewer:secret@cam:554/stream1", "rtsp://****@cam:554/stream1"),
        ("rtsp://viewer@cam/stream1", "rtsp://****@cam/stream1"),
        ("rtsp://:secret@cam/stream1", "rtsp://****@cam/stream1"),
        ("rtsp://me:p@ss@cam/s", "rtsp://****@cam/s"),
        ("rtsp://me:secret@[::1]:554/s", "rtsp://****@[::1]:554/s"),
        ("rtsp://cam/s?user=me&password=secret", "rtsp://cam/s?user=****&password=****"),
        ("rtsp://cam/s?secret", "rtsp://cam/s?****"),
        ("rtsp://cam:554/user=me_password=secret_channel=1.sdp", "rtsp://cam:554/user=****"),
        ("https://cam/s#secret", "https://cam/s"),
        # Without a scheme, or with too few or too many slashes: whoever mistypes an address shows no password either.
        ("rtsp:/me:secret@cam", "rtsp:/****@cam"),
        ("rtsp:me:secret@cam/s", "rtsp:****@cam/s"),
        ("RTSPS:/me:secret@cam:554/s", "RTSPS:/****@cam:554/s"),
        ("rtsp:///me:secret@cam/s", "****@cam/s"),
        ("http:/cam/s?token=secret", "http:/cam/s?token=****"),
        ("me:secret@cam/s", "****@cam/s"),
        ("me:p@ss@cam/s", "****@cam/s"),
        ("me:secret@cam/s?password=secret", "****@cam/s?password=****"),
        ("//me:secret@cam/s", "****@cam/s"),
        ("cam/s?user=me&password=secret", "cam/s?user=****&password=****"),
        # A token in the path.
        ("rtsps://cam:7441/4dLzFQ3cB5aXyZ12?enableSrtp", "rtsps://cam:7441/****?****"),
        ("rtsp://cam/live/550e8400-e29b-41d4-a716-446655440000", "rtsp://cam/live/****"),
        ("rtsp://cam/8f3a9c0b2d/live.sdp", "rtsp://cam/****/live.sdp"),
        ("rtsp://cam/live/my-secret", "rtsp://cam/live/****"),
        ("https://host/raw/0a1b2c3d4e5f60718293/policy.json", "https://host/raw/****/policy.json"),
        # What cameras call their streams, and files.
        ("rtsp://cam/Streaming/Channels/101", "rtsp://cam/Streaming/Channels/101"),
        ("rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main"),
        ("rtsp://cam/axis-media/media.amp", "rtsp://cam/axis-media/media.amp"),
        ("rtsp://cam/cam/realmonitor", "rtsp://cam/cam/realmonitor"),
        ("rtsp://cam/clip.mp4/play_count_0", "rtsp://cam/clip.mp4/play_count_0"),
        ("videos/gate.mp4", "videos/gate.mp4"),
        ("videos/gate@noon.mp4", "videos/gate@noon.mp4"),
        ("/data/camera=1/8f3a9c0b2d.mp4", "/data/camera=1/8f3a9c0b2d.mp4"),
        ("/dev/video0", "/dev/video0"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://me:pa/ss@cam/s",  # the port can't be read
        "rtsp://me:12/34@cam/s",  # the port can be read, and is half of the password
        "rtsp://me:12?34@cam/s",
        "rtsp://me:12#34@cam/s",
        "rtsp://[::1/s",
        "rtsp://cam:99999/s",
    ],
)
def test_an_address_that_could_be_read_in_two_ways_is_not_shown_at_all(url: str) -> None:
    assert redact_url(url) == MASK


@pytest.mark.parametrize(
    "spelling",
    [
        PASSWORD,
        quote(PASSWORD),
        quote(PASSWORD, safe=""),
        quote_plus(PASSWORD),
        quote(PASSWORD, safe="")
        .replace("%C3", "%c3")
        .replace("%9F", "%9f")
        .replace("%2F", "%2f")
        .replace("%3A", "%3a"),
        json.dumps(PASSWORD)[1:-1],
        json.dumps(PASSWORD, ensure_ascii=False)[1:-1],
        repr(PASSWORD)[1:-1],
        b64encode(PASSWORD.encode()).decode(),
    ],
)
def test_a_secret_is_struck_in_every_spelling(spelling: str) -> None:
    assert Redactor([PASSWORD])(f"401 for <{spelling}>!") == f"401 for <{MASK}>!"


def test_a_secret_that_is_given_in_its_encoded_form_is_masked_in_its_plain_one() -> None:
    assert Redactor(["p%40ssword"])("is p@ssword right?") == f"is {MASK} right?"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("can't open 'rtsp://me:secret@cam/s': 401", "can't open 'rtsp://****@cam/s': 401"),
        ("(http://me:secret@cam:80/a), again", "(http://****@cam:80/a), again"),
        ("it said me:secret@cam.", "it said ****@cam."),
        ("http://127.0.0.1:9002: connection refused", "http://127.0.0.1:9002: connection refused"),
        ("at 12:30 write to me@example.org", "at 12:30 write to me@example.org"),
        ("cam/live?user=me&password=secret: no such file", "cam/live?user=****&password=**** no such file"),
    ],
)
def test_addresses_in_a_text_lose_their_secrets_though_nobody_gave_them(text: str, shown: str) -> None:
    assert Redactor()(text) == shown


@pytest.mark.parametrize(
    "quoted",
    ['{"url": "rtsp://me:secret@cam/s", "x": 1}', 'rtsp://me:se"cret@cam/s', "<me:secret@cam>", '"://me:secret@cam"'],
)
def test_whatever_is_around_an_address_its_secret_is_masked(quoted: str) -> None:
    assert "cret" not in Redactor()(quoted)


@pytest.mark.parametrize("part", ["y", "key", "a:", "@", "://", "a://", "x@y:", "="])
def test_a_long_text_of_anything_is_looked_through_in_one_go(part: str) -> None:
    # Any way that looks at what is behind each place again would take minutes: the test's own time runs out.
    Redactor()(part * (1_000_000 // len(part)) + ":@")


def test_a_secret_that_contains_another_leaves_no_tail_behind() -> None:
    assert Redactor(["abcd", "abcd-efgh"])("abcd-efgh abcd") == f"{MASK} {MASK}"


def test_several_occurrences_are_all_struck() -> None:
    assert Redactor(["geheim"])("geheim, geheim") == f"{MASK}, {MASK}"


def test_what_is_too_short_to_be_a_secret_shreds_no_words() -> None:
    assert Redactor(["", "a", "abc"])("abc is as easy as 123") == "abc is as easy as 123"


def test_a_redactor_does_not_show_what_it_knows() -> None:
    assert "geheim" not in repr(Redactor(["geheim"]))


def test_a_secret_with_a_lone_surrogate_does_not_break_it() -> None:
    assert Redactor(["bad\udcffsecret"])("x bad\udcffsecret y") == f"x {MASK} y"
