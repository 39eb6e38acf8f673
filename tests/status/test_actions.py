"""What operators make the daemon do by POST, over real HTTP: who may, what is refused, and in which words."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clocks import ManualClock
from framesift.settings import StatusSettings
from framesift.status import ActionRefused, DaemonIdentity, Operator, StatusServer
from framesift.telemetry import Telemetry
from status.test_status import TOKEN, Answer, Style

JSON = {"Content-Type": "application/json"}
DROP = b'{"ids": ["a", "b"]}'


class Notes:
    """Hands that write down what they are asked for. on_drop: called first."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.waits_for: threading.Event | None = None
        self.began = threading.Semaphore(0)
        self.error: Exception | None = None

    def drop(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        self.asked.append(("drop", ids, str(who)))
        self.began.release()
        if self.waits_for is not None:
            assert self.waits_for.wait(30.0)
        if self.error is not None:
            raise self.error
        return {"dropped": ids}

    def take(self, stream: str, who: Operator) -> Mapping[str, object]:
        self.asked.append(("take", stream, str(who)))
        return {"stream": stream, "id": None}

    def pause(self, stream: str | None, for_s: float | None, who: Operator) -> Mapping[str, object]:
        self.asked.append(("pause", stream, for_s, str(who)))
        return {"stream": stream}

    def resume(self, stream: str | None, who: Operator) -> Mapping[str, object]:
        self.asked.append(("resume", stream, str(who)))
        return {"stream": stream}

    def retry(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        self.asked.append(("retry", ids, str(who)))
        return {"retried": ids}


class Served:
    """A status server with hands, on a free port."""

    def __init__(self, options: Mapping[str, object], hands: Notes | None) -> None:
        self.out = io.StringIO()
        self.telemetry = Telemetry(ManualClock(), Style(), secrets=("geheim",), out=self.out)
        self.server = StatusServer(
            StatusSettings.model_validate_json(json.dumps({"bind": "127.0.0.1:0", **options})),
            self.telemetry,
            hung=dict,
            identity=DaemonIdentity("test", None, Path("spool.db")),
            hands=hands,
        )

    def post(
        self,
        path: str = "/datapoints/drop",
        body: bytes = DROP,
        *,
        method: str = "POST",
        host: str | None = None,
        fields: Mapping[str, str] = JSON,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30.0)
        try:
            named = f"127.0.0.1:{self.server.port}" if host is None else host
            connection.request(method, path, body, {"Host": named, **fields})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()


@contextmanager
def served(hands: Notes | None, **options: object) -> Iterator[Served]:
    made = Served(options, hands)
    made.server.start()
    try:
        yield made
    finally:
        made.server.stop()


def test_what_is_asked_for_is_done_and_answered_as_json() -> None:
    hands = Notes()
    with served(hands) as daemon:
        answer = daemon.post()
        again = daemon.post("/datapoints/retry", b'{"ids": ["c"], "by": "alice"}')
        for path, body in (
            ("/take", {"stream": "gate"}),
            ("/pause", {"stream": "gate", "for_s": 60}),
            ("/pause", {"stream": None, "for_s": None}),
            ("/resume", {"stream": None}),
        ):
            assert daemon.post(path, json.dumps(body).encode()).code == 200
    assert (answer.code, json.loads(answer.body)) == (200, {"dropped": ["a", "b"]})
    assert (again.code, json.loads(again.body)) == (200, {"retried": ["c"]})
    assert hands.asked == [
        ("drop", ("a", "b"), "127.0.0.1"),
        ("retry", ("c",), "alice at 127.0.0.1"),
        ("take", "gate", "127.0.0.1"),
        ("pause", "gate", 60.0, "127.0.0.1"),
        ("pause", None, None, "127.0.0.1"),
        ("resume", None, "127.0.0.1"),
    ]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_an_action_is_a_post_and_a_page_is_a_get() -> None:
    hands = Notes()
    with served(hands) as daemon:
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            answer = daemon.post(method=method)
            assert (answer.code, answer.headers["allow"]) == (405, "POST")
        for path in ("/status", "/datapoints", "/none"):
            answer = daemon.post(path)
            assert (answer.code, answer.headers["allow"]) == (405, "GET")
    with served(None) as daemon:
        assert daemon.post().code == 405
    assert hands.asked == []


# What a browser says of a page that posts, and the server's answer.
PAGES: dict[str, tuple[dict[str, str], int]] = {
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "a form that writes JSON": ({"Content-Type": "text/plain"}, 415),
    "a form with a file": ({"Content-Type": "multipart/form-data; boundary=application/json"}, 415),
    "no type": ({"Content-Type": ""}, 415),
    "a script elsewhere": ({**JSON, "Origin": "https://evil.example"}, 403),
    "a script elsewhere, by the browser": ({**JSON, "Sec-Fetch-Site": "cross-site"}, 403),
    "another program on this machine": ({**JSON, "Origin": "http://127.0.0.1:1"}, 403),
    "the same, by the browser": ({**JSON, "Sec-Fetch-Site": "same-site"}, 403),
    "a sandbox": ({**JSON, "Origin": "null"}, 403),
    "a file": ({**JSON, "Origin": "file://"}, 403),
    "a script elsewhere that says it is ours": (
        {**JSON, "Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:PORT"},
        403,
    ),
    "our own page": ({**JSON, "Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:PORT"}, 200),
    "our own page in an old browser": ({**JSON, "Origin": "http://127.0.0.1:PORT"}, 200),
    "our own page, with a charset": ({"Content-Type": "application/JSON; charset=utf-8"}, 200),
}


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(("fields", "code"), PAGES.values(), ids=PAGES)
def test_no_web_page_but_our_own_can_post(fields: dict[str, str], code: int, token: str | None) -> None:
    hands = Notes()
    with served(hands, token=token) as daemon:
        sent = {name: text.replace("PORT", str(daemon.server.port)) for name, text in fields.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        assert daemon.post(fields=sent).code == code
    assert len(hands.asked) == (code == 200)


def test_our_own_page_behind_a_proxy_with_another_name_can_post() -> None:
    hands = Notes()
    fields = {
        **JSON,
        "Authorization": f"Bearer {TOKEN}",
        "Origin": "https://gate.example",
        "Sec-Fetch-Site": "same-origin",
    }
    with served(hands, token=TOKEN) as daemon:
        assert daemon.post(fields=fields).code == 200


def test_a_page_whose_own_name_resolves_to_us_can_not_post() -> None:
    hands = Notes()
    fields = {**JSON, "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}
    with served(hands) as daemon:
        assert daemon.post(host="evil.example", fields=fields).code == 421
    assert hands.asked == []


def test_without_the_token_nothing_is_done_and_no_body_is_read() -> None:
    hands = Notes()
    with served(hands, token=TOKEN) as daemon:
        for fields in (JSON, {**JSON, "Authorization": "Bearer wrong"}):
            assert daemon.post(fields=fields).code == 401
        head = "POST /datapoints/drop HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        with socket.create_connection(("127.0.0.1", daemon.server.port), timeout=10.0) as wire:
            wire.sendall(head.encode())
            assert wire.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert hands.asked == []


BODIES = {
    "no body": (b"", "the body is not a JSON object in UTF-8"),
    "no JSON": (b"ids=a", "the body is not a JSON object in UTF-8"),
    "no UTF-8": (b'"\xff"', "the body is not a JSON object in UTF-8"),
    "too deep": (b'{"ids": ' + b"[" * 30_000, "the body is not a JSON object in UTF-8"),
    "another shape": (b"[]", "the body: an empty list is not allowed; it must be an object"),
    "a wrong key": (b'{"id": ["a"]}', "did you mean ids?"),
    "no ids": (b'{"ids": []}', "it must be a list of 1 to 1000 elements"),
    "an id that is none": (b'{"ids": [7]}', "ids[0]: 7 is not allowed"),
    "a name that is none": (b'{"ids": ["a"], "by": "\\u001b[2J"}', "without control characters"),
    "a number that is none": (b'{"ids": [NaN]}', "not JSON compliant"),
}


@pytest.mark.parametrize(("body", "why"), BODIES.values(), ids=BODIES)
def test_a_wrong_body_is_refused_in_one_line_that_says_what_is_allowed(body: bytes, why: str) -> None:
    hands = Notes()
    with served(hands) as daemon:
        answer = daemon.post(body=body)
    assert (answer.code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert why in answer.body
    assert answer.body.count("\n") == 1
    assert hands.asked == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"for_s": 60}, "stream: is missing; it must be a text"),
        ({"stream": "gate", "for_s": 0}, "for_s: 0 is not allowed; it must be a number above 0"),
        ({"stream": "gate", "for_s": 10**9}, "at most 31622400"),
        ({"stream": "gate", "for_s": "2h"}, 'for_s: "2h" is not allowed'),
        ({"stream": 3}, "stream: 3 is not allowed"),
    ],
)
def test_a_pause_names_its_stream_or_null_and_lasts_a_year_at_most(body: dict[str, object], why: str) -> None:
    with served(Notes()) as daemon:
        answer = daemon.post("/pause", json.dumps(body).encode())
    assert answer.code == 400
    assert why in answer.body


@pytest.mark.parametrize("says_its_size", [True, False])
def test_a_body_that_is_too_large_is_refused_before_all_of_it_has_come(says_its_size: bool) -> None:
    hands = Notes()
    size = f"Content-Length: {10**30}"[:36] if says_its_size else "Transfer-Encoding: chunked"
    head = f"POST /datapoints/drop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{size}\r\n\r\n"
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    with served(hands) as daemon, socket.create_connection(("127.0.0.1", daemon.server.port), timeout=10.0) as wire:
        wire.sendall(head.encode() + (b"" if says_its_size else 3 * chunk))
        assert wire.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert hands.asked == []


def test_a_body_may_come_in_pieces_after_the_server_has_agreed_and_another_request_may_follow() -> None:
    hands = Notes()
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(DROP)}\r\n"
    head = f"POST /datapoints/drop HTTP/1.1\r\n{fields}Expect: 100-continue\r\n\r\n"
    with served(hands) as daemon, socket.create_connection(("127.0.0.1", daemon.server.port), timeout=10.0) as wire:
        wire.sendall(head.encode())
        assert wire.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(DROP[:5])
        wire.sendall(DROP[5:] + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = b""
        while part := wire.recv(65536):
            got += part
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.endswith(b"alive\n")
    assert [asked[0] for asked in hands.asked] == ["drop"]


def test_half_a_body_does_nothing() -> None:
    hands = Notes()
    fields = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 99"
    head = f"POST /datapoints/drop HTTP/1.1\r\n{fields}\r\n\r\n"
    with served(hands) as daemon, socket.create_connection(("127.0.0.1", daemon.server.port), timeout=10.0) as wire:
        wire.sendall(head.encode() + DROP)
        wire.shutdown(socket.SHUT_WR)
        assert wire.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert hands.asked == []


def test_what_can_not_be_done_is_said_in_one_line_and_a_failure_is_only_logged() -> None:
    hands = Notes()
    with served(hands) as daemon:
        hands.error = ActionRefused("the spool, says geheim, is full", 503)
        refused = daemon.post()
        hands.error = RuntimeError("geheim and worse")
        failed = daemon.post()
        assert daemon.post(method="GET", path="/healthz").code == 200
    assert (refused.code, refused.body) == (503, "the spool, says ****, is full\n")
    assert failed.code == 500
    assert "worse" not in failed.body
    (line,) = (json.loads(line) for line in daemon.out.getvalue().splitlines())
    assert (line["event"], line["path"], line["cause"]) == (
        "action_failed",
        "/datapoints/drop",
        "RuntimeError: **** and worse",
    )


def test_actions_that_wait_hold_up_no_page_and_too_many_are_refused() -> None:
    hands = Notes()
    hands.waits_for = threading.Event()
    with served(hands) as daemon:
        answers: list[int] = []
        waiting = [threading.Thread(target=lambda: answers.append(daemon.post().code)) for _ in range(8)]
        for thread in waiting:
            thread.start()
        try:
            for _ in waiting:
                assert hands.began.acquire(timeout=10.0)
            busy = daemon.post()
            assert daemon.post(method="GET", path="/healthz").code == 200
        finally:
            hands.waits_for.set()
        for thread in waiting:
            thread.join(10.0)
        assert daemon.post().code == 200
    assert (busy.code, busy.headers["retry-after"]) == (503, "5")
    assert answers == [200] * 8
