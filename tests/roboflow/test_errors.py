"""What the platform's client makes of refusals, failures, strange answers and none; and that it tells no secret."""

from __future__ import annotations

import json
import traceback
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

import pytest

from canaries import KEY
from framesift.http_client.client import HttpClient
from framesift.roboflow import PlatformError, PlatformErrorKind, RoboflowClient
from rigs.platform import Cut, Delay, Html, Oversized, Platform, Redirect, Status, Trickle
from rigs.platform.faults import Fault
from rigs.raw_http_server import answering, reserve_closed_port

NOW_S = 1_790_000_000.0


def trouble_with(url: str, *, within_s: float = 10.0, key: str = KEY, gateway: str | None = None) -> PlatformError:
    """The trouble of an upload; nothing of it may show the key."""
    client = RoboflowClient(HttpClient(now_s=lambda: NOW_S), api_key=key, api_url=url, gateway=gateway)
    with pytest.raises(PlatformError) as caught:
        client.upload("gate", name="a.jpg", jpeg=b"jpeg", batch="cars", tags=(), within_s=within_s)
    trouble = caught.value
    assert trouble.__cause__ is None
    assert trouble.__context__ is None
    told = f"{trouble!r} {trouble.args} {client!r} " + "".join(traceback.format_exception(trouble))
    for spelling in {key, quote(key), quote(key, safe="")}:
        assert spelling not in told
    return trouble


def troubled(status: str, content: Any = None, headers: str = "", **how: Any) -> PlatformError:
    """The trouble with a server that answers so."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    with answering(head.encode() + body) as server:
        return trouble_with(server.url, **how)


@pytest.mark.parametrize(
    ("status", "trouble", "arrived"),
    [
        (400, PlatformErrorKind.REJECTED, False),
        (401, PlatformErrorKind.KEY_REJECTED, False),
        (402, PlatformErrorKind.ACCOUNT_PAUSED, False),
        (403, PlatformErrorKind.KEY_REJECTED, False),
        (404, PlatformErrorKind.NOT_FOUND, False),
        (405, PlatformErrorKind.REJECTED, False),
        (407, PlatformErrorKind.UNREACHABLE, False),
        (408, PlatformErrorKind.SERVER_ERROR, True),
        (409, PlatformErrorKind.CONFLICT, False),
        (413, PlatformErrorKind.REJECTED, False),
        (415, PlatformErrorKind.REJECTED, False),
        (422, PlatformErrorKind.REJECTED, False),
        (423, PlatformErrorKind.ACCOUNT_PAUSED, False),
        (429, PlatformErrorKind.BUSY, False),
        (451, PlatformErrorKind.REJECTED, False),
        (500, PlatformErrorKind.SERVER_ERROR, True),
        (502, PlatformErrorKind.SERVER_ERROR, True),
        (503, PlatformErrorKind.SERVER_ERROR, True),
        (504, PlatformErrorKind.SERVER_ERROR, True),
        (599, PlatformErrorKind.SERVER_ERROR, True),
        (101, PlatformErrorKind.UNEXPECTED_ANSWER, True),
        (204, PlatformErrorKind.UNEXPECTED_ANSWER, True),
        (304, PlatformErrorKind.UNEXPECTED_ANSWER, True),
    ],
)
def test_each_status_is_one_kind_of_error(status: int, trouble: PlatformErrorKind, arrived: bool) -> None:
    found = troubled(f"{status} So", b"")

    assert (found.kind, found.status, found.may_have_arrived) == (trouble, status, arrived)
    assert str(found).startswith("uploading to project gate: ")
    assert str(status) in str(found) or trouble is PlatformErrorKind.UNEXPECTED_ANSWER


def test_unavailable_until_later_is_busy() -> None:
    found = troubled("503 So", headers="Retry-After: 7\r\n")

    assert (found.kind, found.retry_after_s, found.may_have_arrived) == (PlatformErrorKind.BUSY, 7.0, True)


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("7", 7.0),
        (" 7.5 ", 7.5),
        ("0", 1.0),
        ("0.2", 1.0),
        ("-5", 1.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("9" * 500, 3600.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("٧", None),
        ("5, 7", None),
        (formatdate(NOW_S + 90, usegmt=True), 90.0),
        (formatdate(NOW_S - 90, usegmt=True), 1.0),
        (formatdate(NOW_S + 90_000, usegmt=True), 3600.0),
        ("Mon, 31 Feb 2026 10:00:00 GMT", None),
        ("Fri, 31 Dec 999999999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(said: str, wait_s: float | None) -> None:
    found = troubled("429 Slow", headers=f"Retry-After: {said}\r\n".encode().decode("latin-1"))

    assert (found.kind, found.retry_after_s) == (PlatformErrorKind.BUSY, wait_s)


def test_a_date_to_retry_at_counts_from_the_date_of_the_answer() -> None:
    """The machine's clock may be wrong by years."""
    sent, until = formatdate(86_400, usegmt=True), formatdate(86_400 + 45, usegmt=True)

    assert troubled("429 Slow", headers=f"Date: {sent}\r\nRetry-After: {until}\r\n").retry_after_s == 45.0
    assert troubled("429 Slow", headers=f"Date: never\r\nRetry-After: {until}\r\n").retry_after_s == 1.0


def test_without_a_retry_after_no_time_is_made_up() -> None:
    assert troubled("429 Slow").retry_after_s is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"error": {"message": "too dark", "status": 400}}, ": too dark"),
        ({"error": "too dark"}, ": too dark"),
        ({"message": "too dark"}, ": too dark"),
        ({"error": None, "message": "too dark"}, ": too dark"),
        ({"error": {"code": 7}}, ""),
        ({"error": ["too dark"]}, ""),
        ({"message": {"more": 1}}, ""),
        ({}, ""),
        (["too dark"], ""),
    ],
)
def test_the_platforms_own_message_is_quoted(content: Any, told: str) -> None:
    assert str(troubled("400 So", content)) == f"uploading to project gate: the platform refuses it (400){told}"


def test_the_platforms_message_is_limited_printable_and_without_the_key() -> None:
    message = f"no\x00\x1b[31m \u2028{KEY} " + "x" * 1000

    sentence = str(troubled("400 So", {"error": {"message": message}}))

    assert sentence.isprintable()
    assert "no  [31m  **** xxx" in sentence
    assert len(sentence) < 300


@pytest.mark.parametrize("padding", range(180, 201))
def test_a_key_at_the_end_of_what_is_shown_is_not_shown_by_half(padding: int) -> None:
    sentence = str(troubled("400 So", {"message": "x" * padding + KEY}))

    assert KEY[:4] not in sentence


def test_a_key_with_signs_is_struck_in_every_spelling() -> None:
    key = "k/ey+with%signs&more"

    sentence = str(troubled("400 So", {"message": f"{key} {quote(key)} {quote(key, safe='')}"}, key=key))

    assert sentence.endswith(": **** **** ****")


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (
            b"<html>",
            "text/html; charset=utf-8",
            "text/html; charset=utf-8 instead of a JSON object; is there a login page",
        ),
        (b"", "application/json", "application/json instead of a JSON object"),
        (b'{"success": true, "id": "i', "application/json", "application/json instead"),
        (b"[" * 60_000, "application/json", "application/json instead"),
        (b"\xff\xfe\x00", "application/json", "application/json instead"),
        (b"[]", "a" * 1000, "a..."),
        (b"9" * 10_000, "", " instead of a JSON object"),
    ],
)
def test_what_is_not_a_json_object_is_unexpected(body: bytes, kind: str, told: str) -> None:
    found = troubled("200 OK", body, headers=f"Content-Type: {kind}\r\n")

    assert (found.kind, found.status, found.may_have_arrived) == (PlatformErrorKind.UNEXPECTED_ANSWER, 200, True)
    assert told in str(found)
    assert ("login page" in str(found)) == ("html" in kind)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("https://login.hotel.example:8443/?from=%s", "to login.hotel.example)"),
        ("/elsewhere", "to 127.0.0.1)"),
        ("", "to 127.0.0.1)"),
        ("http://[::1", "to an address that can't be read)"),
        ("http://a\x1bb/", "to an address that can't be read)"),
    ],
)
def test_a_redirect_is_reported_with_the_other_host_alone_and_not_followed(to: str, told: str) -> None:
    found = troubled("302 Found", b"", headers=f"Location: {to.replace('%s', KEY)}\r\n")

    assert (found.kind, found.status) == (PlatformErrorKind.UNEXPECTED_ANSWER, 302)
    assert told in str(found)


def test_a_refusal_that_is_cut_off_is_a_refusal_all_the_same() -> None:
    with answering(b"HTTP/1.1 413 Too Large\r\nContent-Length: 100\r\n\r\n<html>") as server:
        found = trouble_with(server.url)

    assert (found.kind, found.status, found.may_have_arrived) == (PlatformErrorKind.REJECTED, 413, False)


def test_an_answer_that_is_cut_off_is_unexpected() -> None:
    with answering(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"success": true, "id": "i"}') as server:
        found = trouble_with(server.url)

    assert (found.kind, found.status, found.may_have_arrived) == (PlatformErrorKind.UNEXPECTED_ANSWER, 200, True)


def test_without_a_server_the_platform_is_unreachable_and_nothing_arrived() -> None:
    place, port = reserve_closed_port()
    with place:
        found = trouble_with(f"http://127.0.0.1:{port}")

    assert (found.kind, found.status, found.may_have_arrived) == (PlatformErrorKind.UNREACHABLE, None, False)
    assert str(found) == "uploading to project gate: 127.0.0.1: Connection refused (while connecting)"


@pytest.mark.parametrize(
    ("order", "trouble"),
    [
        (Cut(stored=True), PlatformErrorKind.UNREACHABLE),
        (Cut(stored=False, reset=True), PlatformErrorKind.UNREACHABLE),
        (Cut(stored=True, sent=0.5), PlatformErrorKind.UNEXPECTED_ANSWER),
        (Html(), PlatformErrorKind.UNEXPECTED_ANSWER),
        (Html(code=511), PlatformErrorKind.SERVER_ERROR),
        (Redirect("https://login.example"), PlatformErrorKind.UNEXPECTED_ANSWER),
        (Oversized(), PlatformErrorKind.UNEXPECTED_ANSWER),
        (Trickle(bytes_per_s=5), PlatformErrorKind.UNREACHABLE),
        (Delay(60), PlatformErrorKind.UNREACHABLE),
        (Status(429, {"Retry-After": "3"}), PlatformErrorKind.BUSY),
        (Status(500), PlatformErrorKind.SERVER_ERROR),
    ],
    ids=str,
)
def test_what_the_stand_in_does_wrong_is_understood(order: Any, trouble: PlatformErrorKind) -> None:
    with Platform() as platform:
        platform.add_project("gate")
        platform.orders.add(Fault("upload", order))
        found = trouble_with(platform.url, within_s=1.0 if isinstance(order, Delay | Trickle) else 10.0)

    assert found.kind is trouble
    assert found.may_have_arrived == (trouble is not PlatformErrorKind.BUSY)


def test_a_revoked_key_is_reported_with_what_to_do() -> None:
    with Platform() as platform:
        platform.add_project("gate")
        platform.revoke_key()
        found = trouble_with(platform.url)

    assert found.kind is PlatformErrorKind.KEY_REJECTED
    assert str(found).startswith("uploading to project gate: the platform does not accept the key (401): ")
    assert str(found).endswith("; check roboflow.api_key or ROBOFLOW_API_KEY")


@pytest.mark.parametrize(
    ("status", "trouble"),
    [(500, PlatformErrorKind.NOT_FOUND), (404, PlatformErrorKind.NOT_FOUND), (502, PlatformErrorKind.SERVER_ERROR)],
)
def test_a_version_without_a_model_is_not_found(status: int, trouble: PlatformErrorKind) -> None:
    with Platform() as platform:
        platform.orders.add(Fault("model", Status(status)))
        client = RoboflowClient(HttpClient(), api_key=KEY, api_url=platform.url)
        with pytest.raises(PlatformError) as caught:
            client.fetch_model_type("yard", "gate", "3", within_s=10)

    assert caught.value.kind is trouble


def test_through_a_gateway_the_key_is_told_no_more_than_without() -> None:
    content = {"message": f"cannot fetch https://api.roboflow.com/?api_key={KEY}"}
    body = json.dumps(content).encode()
    with answering(b"HTTP/1.1 502 Bad\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as gateway:
        found = trouble_with("https://api.roboflow.com", gateway=gateway.url)

    assert str(found).endswith("(502): cannot fetch https://api.roboflow.com/?api_key=****")
