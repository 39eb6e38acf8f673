"""No secret gets out: addresses by parsing, and known secrets in every spelling that a text could give them."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest

from framesift.redact import MASK, Redactor, redacted_url

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
        ("rtsp://cam/s?secret", "rtsp://cam/s?secret=****"),
        ("rtsp://cam:554/user=me_password=secret_channel=1.sdp", "rtsp://cam:554/user=****"),
        ("https://cam/s#secret", "https://cam/s"),
        ("videos/gate.mp4", "videos/gate.mp4"),
        ("/dev/video0", "/dev/video0"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


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
    assert redacted_url(url) == MASK


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


def test_a_secret_that_was_told_in_its_encoded_form_is_struck_in_its_plain_one() -> None:
    assert Redactor(["p%40ssword"])("is p@ssword right?") == f"is {MASK} right?"


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
