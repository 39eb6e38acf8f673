"""The status pages, over real HTTP: what they show, who may read them, and that they delay nothing else."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clocks import ManualClock
from framesift.frame import RefusalReason
from framesift.settings import StatusSettings
from framesift.status import DaemonIdentity, StatusServer, StatusUnavailable
from framesift.telemetry import Condition, PolicyReport, QuotaReport, QuotaUse, SpoolNumbers, Telemetry

TOKEN = "0123456789abcdef"


@dataclass(frozen=True)
class Answer:
    code: int
    headers: dict[str, str]
    body: str


class Style:
    format = "json"
    level = "info"


class Page:
    """A status server on a free port, and what stands behind it."""

    def __init__(self, options: dict[str, object], secrets: tuple[str, ...] = ("geheim",)) -> None:
        self.out = io.StringIO()
        self.telemetry = Telemetry(ManualClock(), Style(), secrets=secrets, out=self.out)
        self.hung: dict[str, str] = {}
        window = StatusSettings.model_validate_json(json.dumps({"bind": "127.0.0.1:0", **options}))
        self.server = StatusServer(
            window, self.telemetry, hung=lambda: self.hung, identity=DaemonIdentity("test", None, Path("spool.db"))
        )

    def ask(self, path: str, method: str = "GET", host: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10.0)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", f"127.0.0.1:{self.server.port}" if host is None else host)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()


@contextmanager
def page(secrets: tuple[str, ...] = ("geheim",), **options: object) -> Iterator[Page]:
    served = Page(options, secrets)
    served.server.start()
    try:
        yield served
    finally:
        served.server.stop()


def test_alive_means_that_every_thread_moves() -> None:
    with page() as served:
        assert (served.ask("/healthz").code, served.ask("/healthz").body) == (200, "alive\n")
        served.hung = {"loop stream gate": "it has not moved for 51 s"}
        hung = served.ask("/healthz")
        assert (hung.code, hung.body) == (503, "loop stream gate: it has not moved for 51 s\n")


def test_the_metric_alive_is_1_while_healthz_says_so_and_0_otherwise() -> None:
    with page() as served:
        said = []
        for hung in ({}, {"main": "it has not moved for 51 s"}, {}):
            served.hung = hung
            [line] = [line for line in served.ask("/metrics").body.splitlines() if line.startswith("framesift_alive")]
            said.append((served.ask("/healthz").code, line))
    alive, dead = (200, "framesift_alive 1.0"), (503, "framesift_alive 0.0")
    assert said == [alive, dead, alive]


def test_a_program_that_starts_or_stops_is_alive_and_not_ready() -> None:
    with page() as served:
        served.telemetry.not_ready = "it starts"
        assert (served.ask("/readyz").code, served.ask("/readyz").body) == (503, "framesift: it starts\n")
        assert served.ask("/healthz").code == 200
        served.telemetry.not_ready = ""
        assert served.ask("/readyz").code == 200


def test_ready_means_that_nothing_has_failed_and_a_lost_camera_is_no_failure() -> None:
    with page() as served:
        assert served.ask("/readyz").code == 200
        served.telemetry.health.set("stream gate", Condition.DEGRADED, "lost")
        assert served.ask("/readyz").code == 200
        served.telemetry.health.set("sink", Condition.FAILED, "no such folder")
        assert (served.ask("/readyz").code, served.ask("/readyz").body) == (503, "sink: no such folder\n")
        assert served.ask("/healthz").code == 200
        served.telemetry.health.set_ok("sink")
        served.hung = {"loop stream gate": "it has not moved for 51 s"}
        # The health has it already: it is shown once.
        served.telemetry.health.set("loop stream gate", Condition.FAILED, "it has not moved for 50 s")
        hung = served.ask("/readyz")
        assert (hung.code, hung.body) == (503, "loop stream gate: it has not moved for 51 s\n")


def test_metrics_are_what_prometheus_reads() -> None:
    with page() as served:
        served.telemetry.count_refused("gate", RefusalReason.LIMIT)
        answer = served.ask("/metrics")
        assert answer.code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        (family,) = (f for f in text_string_to_metric_families(answer.body) if f.name == "framesift_frames_refused")
        assert [(s.labels, s.value) for s in family.samples] == [({"reason": "limit", "stream": "gate"}, 1.0)]


def test_the_status_is_every_number_and_every_component_as_json() -> None:
    with page() as served:
        served.telemetry.count_read("gate")
        served.telemetry.count_accepted("gate", "night")
        served.telemetry.count_snapshot("gate", "snapshot")
        served.telemetry.count_snapshot("gate", "away")
        served.telemetry.record_prediction("gate", 0.5)
        served.telemetry.set_spool_source(lambda: SpoolNumbers(1, 2, 3, 4, 500, {"delivered": 9}))
        served.telemetry.health.set("spool", Condition.DEGRADED, "disk full, says geheim")
        answer = served.ask("/status")
        status = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert (status["alive"], status["frames_read"], status["frames_accepted"]) == (True, 1, 1)
    assert (status["pid"], status["spool"]) == (os.getpid(), str(Path("spool.db").absolute()))
    assert status["queue"]["ready"] == 1
    assert status["outcomes"] == status["queue"]["outcomes"] == {"delivered": 9}
    assert status["streams"][0]["accepted"] == {"night": 1}
    assert status["streams"][0]["snapshots"] == {"snapshot": 1, "away": 1}
    assert status["model"] == {"count": 1, "total_s": 0.5}
    assert status["health"][0]["condition"] == "degraded"
    assert status["health"][0]["why"] == "disk full, says ****"


def test_fields_with_new_names_are_sent_under_their_old_names_too() -> None:
    use = QuotaUse("traffic", "night", "hourly", 10, 4, 6)
    policy = PolicyReport("", "policy.json", ("gate",), True, "1a2b", None, False, (), (), (), "it can't be read")
    with page() as served:
        served.telemetry.set_spool_source(lambda: SpoolNumbers(1, 2, 3, 4, 500, {"delivered": 9}))
        served.telemetry.set_quota_source(lambda: QuotaReport("shared", "", 3, 1_700_000_000.0, (use,)))
        served.telemetry.set_policy_source(lambda: (policy,))
        served.telemetry.count_request("gate", "accepted")
        status = json.loads(served.ask("/status").body)
    assert status["exits"] == status["outcomes"] == {"delivered": 9}
    assert status["queue"]["exits"] == status["queue"]["outcomes"] == {"delivered": 9}
    assert status["doors"] == status["listeners"] == {"accepted": 1}
    assert status["credits"] == status["quota"]
    assert status["quota"]["waiting"] == status["quota"]["pending"] == 3
    assert status["quota"]["asked_at_s"] == status["quota"]["checked_at_s"] == 1_700_000_000.0
    assert status["quota"]["used"][0]["left"] == 6
    assert status["policies"][0]["trouble"] == status["policies"][0]["problem"] == "it can't be read"


def test_the_status_says_for_how_long_each_component_has_not_moved() -> None:
    with page() as served:
        served.telemetry.set_idle_source(lambda: {"upload": 1.26, "spool": 0.0})
        assert json.loads(served.ask("/status").body)["idle_s"] == {"upload": 1.3, "spool": 0.0}


def test_a_secret_that_looks_like_a_number_does_not_break_the_json() -> None:
    with page(secrets=("12345",)) as served:
        served.telemetry.set_spool_source(lambda: SpoolNumbers(0, 0, 0, 0, 12345678, {}))
        assert json.loads(served.ask("/status").body)["queue"]["size_bytes"] == 12345678


def test_no_proxy_between_may_cache_an_answer() -> None:
    with page() as served:
        for path in ("/healthz", "/readyz", "/metrics", "/status"):
            headers = served.ask(path).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_only_get_is_answered(method: str) -> None:
    with page() as served:
        answer = served.ask("/status", method)
        assert answer.code == 405
        assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("host", ["localhost", "localhost:9464", "LOCALHOST", "127.0.0.1", "127.0.0.1:1", "[::1]:9464"])
def test_local_names_are_ours(host: str) -> None:
    with page() as served:
        assert served.ask("/healthz", host=host).code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "", "localhost.evil", "::1", "127.0.0.2"]
)
def test_a_web_page_whose_own_name_resolves_to_us_is_refused(host: str) -> None:
    with page() as served:
        for path in ("/healthz", "/readyz", "/metrics", "/status", "/none"):
            answer = served.ask(path, host=host)
            assert answer.code == 421
            assert "framesift" not in answer.body


def test_the_address_that_is_listened_at_is_a_name_of_ours() -> None:
    with page(bind="127.0.0.2:0") as served:
        connection = http.client.HTTPConnection("127.0.0.2", served.server.port, timeout=10.0)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_request_without_any_host_is_refused() -> None:
    with page() as served, socket.create_connection(("127.0.0.1", served.server.port), timeout=10.0) as wire:
        wire.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        assert b" 421 " in wire.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", "Bearer wrong", f"bearer {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"]
)
def test_without_the_token_nothing_is_answered(sent: str | None) -> None:
    with page(token=TOKEN) as served:
        headers = {} if sent is None else {"Authorization": sent}
        for path in ("/healthz", "/readyz", "/metrics", "/status", "/none"):
            answer = served.ask(path, **headers)
            assert (answer.code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert TOKEN not in answer.body


def test_with_the_token_any_name_will_do() -> None:
    with page(token=TOKEN) as served:
        assert served.ask("/status", host="gate-7.local:9464", Authorization=f"Bearer {TOKEN}").code == 200


@pytest.mark.parametrize("path", ["/", "/none", "/status/", "/../status", "/healthz/x"])
def test_there_is_nothing_else(path: str) -> None:
    with page() as served:
        assert served.ask(path).code == 404


def test_a_page_that_fails_is_logged_and_not_shown_to_the_reader() -> None:
    with page() as served:

        def broken() -> dict[str, str]:
            raise RuntimeError("geheim and worse")

        served.server.stop()
        window = StatusSettings.model_validate_json('{"bind": "127.0.0.1:0"}')
        served.server = StatusServer(
            window, served.telemetry, hung=broken, identity=DaemonIdentity("test", None, Path("spool.db"))
        )
        served.server.start()
        answer = served.ask("/healthz")
        assert answer.code == 500
        assert "worse" not in answer.body
        assert served.ask("/metrics").code == 200
    (line,) = (json.loads(line) for line in served.out.getvalue().splitlines())
    assert (line["event"], line["cause"]) == ("status_page_failed", "RuntimeError: **** and worse")


def test_a_slow_disk_under_one_page_holds_up_no_other() -> None:
    asked, release = threading.Event(), threading.Event()

    def slow() -> SpoolNumbers:
        asked.set()
        release.wait(30.0)
        return SpoolNumbers(0, 0, 0, 0, 0, {})

    with page() as served:
        served.telemetry.set_spool_source(slow)
        waiting = threading.Thread(target=served.ask, args=("/status",))
        waiting.start()
        try:
            assert asked.wait(10.0)
            assert served.ask("/healthz").code == 200
        finally:
            release.set()
            waiting.join(10.0)


def test_garbage_breaks_nothing_and_logs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with page() as served:
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\xfc",
            b"GET /status\r\n\r\n",
            b"\x00" * 100_000,
            b"GET " + b"x" * 100_000,
        ):
            with socket.create_connection(("127.0.0.1", served.server.port), timeout=10.0) as wire:
                try:
                    wire.sendall(garbage)
                    wire.shutdown(socket.SHUT_WR)
                    while wire.recv(4096):
                        pass
                except OSError:
                    pass
        assert served.ask("/healthz").code == 200
    assert capfd.readouterr().err == ""
    assert served.out.getvalue() == ""


def test_an_address_in_use_is_named_at_the_start() -> None:
    with page() as first:
        second = Page({"bind": f"127.0.0.1:{first.server.port}"})
        with pytest.raises(
            StatusUnavailable, match=rf"can't listen on 127\.0\.0\.1:{first.server.port}: Address already in use"
        ):
            second.server.start()
        second.server.stop()


def test_after_the_stop_nobody_answers_and_the_address_is_free_again() -> None:
    with page() as served:
        port = served.server.port
        with socket.create_connection(("127.0.0.1", port), timeout=10.0) as idle:
            served.server.stop()
            with contextlib.suppress(ConnectionResetError):
                assert idle.recv(10) == b""
        with pytest.raises(ConnectionRefusedError):
            served.ask("/healthz")
        again = Page({"bind": f"127.0.0.1:{port}"})
        again.server.start()
        assert again.ask("/healthz").code == 200
        again.server.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "status"]


def test_a_server_that_never_started_can_be_stopped() -> None:
    Page({}).server.stop()
