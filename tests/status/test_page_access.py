"""Who may see the page and its pictures, over real HTTP; and what a viewer is sent as it changes."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.settings import StatusSettings
from framesift.status import DaemonIdentity, StatusAnswer, StatusServer, key_file, page_answer, page_key
from framesift.telemetry import Telemetry

TOKEN = "0123456789abcdef"


class Style:
    format = "json"
    level = "error"


class WebPage:
    """Says what it was asked. views: how often what changes was asked for."""

    def __init__(self) -> None:
        self.views = 0

    def answer(self, path: str, query: Mapping[str, str], *, has_key: bool) -> StatusAnswer | None:
        if path == "/none":
            return None
        return page_answer(json.dumps([path, dict(query), has_key]).encode(), "text/html")

    def live(self) -> bytes:
        self.views += 1
        return json.dumps({"number": self.views}).encode()


class Served:
    def __init__(self, folder: Path, **options: object) -> None:
        self.spool = folder / "spool.db"
        self.page = WebPage()
        settings = StatusSettings.model_validate_json(json.dumps({"bind": "127.0.0.1:0", **options}))
        self.server = StatusServer(
            settings,
            Telemetry(ManualClock(), Style()),
            hung=dict,
            identity=DaemonIdentity("test", None, self.spool),
            page=self.page,
        )

    def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10.0)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def served(folder: Path, **options: object) -> Iterator[Served]:
    made = Served(folder, **options)
    made.server.start()
    try:
        yield made
    finally:
        made.server.stop()


def asked(answer: tuple[int, dict[str, str], str]) -> tuple[str, dict[str, str], bool]:
    status, _, body = answer
    assert status == 200, body
    path, query, has_key = json.loads(body)
    return path, query, has_key


def test_a_browser_gets_a_cookie_for_the_key_in_the_address_and_pictures_for_the_cookie(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        key = page_key(None, key_file(one.spool))
        assert asked(one.ask("/"))[2] is False
        status, fields, body = one.ask(f"/?key={key}")
        assert (status, fields["location"]) == (303, "/")
        assert key not in body
        cookie, *attributes = fields["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
        assert asked(one.ask("/gallery?stream=gate", Cookie=f"other=1; {cookie}")) == (
            "/gallery",
            {"stream": "gate"},
            True,
        )
        assert asked(one.ask("/", Cookie=f"{cookie}0"))[2] is False
        other_port = cookie.replace(str(one.server.port), "1")
        assert asked(one.ask("/", Cookie=other_port))[2] is False
        assert one.ask("/?key=wrong")[0] == 401


def test_the_key_lasts_over_restarts_and_is_nobody_elses(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        file = key_file(one.spool)
        first = file.read_text()
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    with served(tmp_path) as one:
        assert file.read_text() == first
        assert one.ask(f"/?key={first}")[0] == 303
    file.write_text("short")
    assert len(page_key(None, file)) == 64


def test_with_a_token_nothing_is_shown_without_it_or_the_key(tmp_path: Path) -> None:
    with served(tmp_path, token=TOKEN) as one:
        status, _, body = one.ask("/")
        assert status == 401
        assert "framesift status --open" in body
        assert one.ask("/live")[0] == 401
        assert asked(one.ask("/", Authorization=f"Bearer {TOKEN}"))[2] is True
        key = page_key(TOKEN, key_file(one.spool))
        assert TOKEN not in key
        cookie = one.ask(f"/?key={key}")[1]["set-cookie"].split(";")[0]
        assert asked(one.ask("/", Cookie=cookie))[2] is True
        assert one.ask("/status", Cookie=cookie)[0] == 200
        assert not key_file(one.spool).exists()


def test_a_name_that_is_not_this_servers_gets_neither_page_nor_cookie(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        key = page_key(None, key_file(one.spool))
        for path in ("/", f"/?key={key}", "/live"):
            assert one.ask(path, Host="evil.example")[0] == 421


def test_nothing_of_another_server_may_be_loaded(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        policy = one.ask("/")[1]["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert one.ask("/none")[0] == 404


def test_a_viewer_is_sent_what_changes_and_nothing_is_made_without_one(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        assert one.page.views == 0
        with socket.create_connection(("127.0.0.1", one.server.port), timeout=20.0) as connection:
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            received = b""
            while b'{"number": 2}' not in received:
                received += connection.recv(4096)
        head, _, events = received.partition(b"\r\n\r\n")
        assert b"text/event-stream" in head
        assert events.count(b'data: {"number": 1}\n\n') == 1
        # Another path is answered while somebody listens, and after they have gone.
        assert one.ask("/healthz")[0] == 200


@pytest.mark.parametrize("body", ["short", "0" * 64])
def test_a_key_file_that_can_t_be_written_does_not_keep_the_page_away(tmp_path: Path, body: str) -> None:
    missing = tmp_path / "gone" / body / "spool.db"
    assert len(page_key(None, key_file(missing))) == 64
