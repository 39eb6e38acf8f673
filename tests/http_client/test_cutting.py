"""Cutting exchanges: whatever step a server hangs at, a thread that waits for it goes on at once."""

from __future__ import annotations

import threading
from typing import get_args

import pytest

from framesift.http_client import Exchanges, HttpClient, HttpRequest, NoResponse
from rigs.hanging_server import HangingServer, HangsAt
from rigs.raw_http_server import OK, RawServer, answering


def in_thread(client: HttpClient, request: HttpRequest) -> tuple[threading.Thread, list[object]]:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(client.exchange(request, within_s=300.0)), daemon=True)
    thread.start()
    return thread, answers


@pytest.mark.parametrize("hangs_at", get_args(HangsAt))
def test_an_exchange_that_hangs_ends_when_it_is_cut(hangs_at: HangsAt) -> None:
    exchanges = Exchanges()
    client = HttpClient(exchanges=exchanges)
    with HangingServer(hangs_at) as server:
        request = HttpRequest("POST", server.url, body=b"0" * (32 << 20))
        thread, answers = in_thread(client, request)
        server.wait_until_it_hangs()
        exchanges.cut()
        thread.join(30.0)
        assert not thread.is_alive()
    (answer,) = answers
    assert isinstance(answer, NoResponse)
    assert answer.why == "127.0.0.1: the request was cut, because the program is stopping"
    assert answer.may_have_arrived == (hangs_at not in ("connect", "tls"))


def test_after_the_cut_no_request_is_sent() -> None:
    exchanges = Exchanges()
    client = HttpClient(exchanges=exchanges)
    with answering(OK) as server:
        exchanges.cut()
        answer = client.exchange(HttpRequest("GET", server.url), within_s=30.0)
        assert isinstance(answer, NoResponse)
        assert not answer.may_have_arrived
        assert server.asked == []


def test_a_kept_connection_is_cut_too() -> None:
    exchanges = Exchanges()
    client = HttpClient(exchanges=exchanges)
    asked_twice = threading.Event()

    def talk(peer: object) -> None:
        peer.read()  # type: ignore[attr-defined]
        peer.send(OK)  # type: ignore[attr-defined]
        peer.read()  # type: ignore[attr-defined]
        asked_twice.set()
        peer.hold()  # type: ignore[attr-defined]

    with RawServer(talk) as server:
        answers: list[object] = []

        def twice() -> None:
            for _ in range(2):
                answers.append(client.exchange(HttpRequest("GET", server.url), within_s=300.0))

        thread = threading.Thread(target=twice, daemon=True)
        thread.start()
        assert asked_twice.wait(30.0)
        exchanges.cut()
        thread.join(30.0)
        assert not thread.is_alive()
        assert server.connections == 1
    assert isinstance(answers[1], NoResponse)
    assert answers[1].may_have_arrived


def test_exchanges_of_another_client_go_on() -> None:
    exchanges = Exchanges()
    HttpClient(exchanges=exchanges)
    other = HttpClient()
    with HangingServer("answer") as server:
        thread, answers = in_thread(other, HttpRequest("GET", server.url))
        server.wait_until_it_hangs()
        exchanges.cut()
        assert answers == []
        assert thread.is_alive()
