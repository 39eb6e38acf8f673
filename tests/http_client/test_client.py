"""One HTTP exchange against servers that are slow, cut off, too large, or no servers at all."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
import tracemalloc
import zlib

import pytest

from canaries import KEY
from framesift.http_client.client import HttpClient, HttpRequest, HttpResponse, NoResponse
from rigs.raw_http_server import OK, Peer, RawServer, answering, reserve_closed_port

SOON_S = 0.8
# Where something else must have happened before, on a machine that may be busy.
LATER_S = 1.0
# A deadline that is not kept shows as much more.
SLACK_S = 5.0


def ask(
    url: str, *, within_s: float = 10.0, most_bytes: int = 65536, web: HttpClient | None = None
) -> HttpResponse | NoResponse:
    """Asks with a secret in the query; what comes out must not show it."""
    request = HttpRequest("GET", f"{url}/x", secret_query=(("api_key", KEY),))
    outcome = (web or HttpClient()).exchange(request, within_s=within_s, max_bytes=most_bytes)
    assert KEY not in f"{request!r} {outcome!r} {web!r}"
    return outcome


def answer(head: str, body: bytes = b"{}") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def took_s(began_s: float) -> float:
    return time.monotonic() - began_s


def test_an_answer_has_its_status_headers_and_body() -> None:
    with answering(answer("404 Not Found\r\nX-Word: yes", b'{"no": 1}')) as server:
        outcome = ask(server.url)

    assert isinstance(outcome, HttpResponse)
    assert (outcome.status, outcome.headers["x-word"], outcome.body) == (404, "yes", b'{"no": 1}')
    assert abs(outcome.received_at_s - time.time()) < 60


def test_the_secret_part_of_the_query_comes_first_and_is_form_encoded() -> None:
    with answering(OK) as server:
        HttpClient().exchange(
            HttpRequest(
                "GET", f"{server.url}/a", query=(("b", "x y"), ("tag", "ä&"), ("tag", "2")), secret_query=(("k", "+"),)
            ),
            within_s=10,
        )

    assert server.asked[0].target == "/a?k=%2B&b=x+y&tag=%C3%A4%26&tag=2"


def test_an_address_keeps_its_own_query_and_its_credentials_become_a_header() -> None:
    with answering(OK) as server:
        url = server.url.replace("//", "//me:p%40ss@") + "/a?b=1"
        request = HttpRequest("GET", url, query=(("c", "2"),))
        HttpClient().exchange(request, within_s=10)

    assert "p%40ss" not in repr(request)
    assert server.asked[0].target == "/a?b=1&c=2"
    assert server.asked[0].header("Authorization") == "Basic bWU6cEBzcw=="
    assert server.asked[0].header("Host") == f"127.0.0.1:{server.port}"


def test_a_body_goes_with_its_length_and_type_and_headers_as_given() -> None:
    with answering(OK) as server:
        HttpClient().exchange(
            HttpRequest("POST", server.url, body=b"abc", content_type="text/plain", headers={"User-Agent": "me/1"}),
            within_s=10,
        )

    (asked,) = server.asked
    assert asked.body == b"abc"
    assert [asked.header(name) for name in ("Content-Length", "Content-Type", "User-Agent")] == [
        "3",
        "text/plain",
        "me/1",
    ]


def test_a_connection_is_kept_by_its_thread_and_not_shared_with_another() -> None:
    with answering(OK, OK, OK) as server:
        web = HttpClient()
        for _ in range(3):
            ask(server.url, web=web)
        assert server.connections == 1

        other = threading.Thread(target=ask, args=(server.url,), kwargs={"web": web})
        other.start()
        other.join()
        assert server.connections == 2


def test_a_connection_that_was_idle_for_too_long_is_not_used_again() -> None:
    with answering(OK, OK) as server:
        web = HttpClient(max_idle_s=0.0)
        ask(server.url, web=web)
        assert isinstance(ask(server.url, web=web), HttpResponse)

        assert server.connections == 2


def test_closing_ends_idle_connections_and_a_later_exchange_opens_another() -> None:
    gone = threading.Event()

    def talk(peer: Peer) -> None:
        while peer.read() is not None:
            peer.send(OK)
        gone.set()

    with RawServer(talk) as server:
        web = HttpClient()
        ask(server.url, web=web)
        web.close()
        assert gone.wait(10)

        assert isinstance(ask(server.url, web=web), HttpResponse)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    closed = threading.Event()

    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(OK)
        peer.reset()
        closed.set()

    with RawServer(talk) as server:
        web = HttpClient()
        assert isinstance(ask(server.url, web=web), HttpResponse)
        assert closed.wait(10)
        assert isinstance(ask(server.url, web=web), HttpResponse)
        assert server.connections == 2


def test_connection_close_is_obeyed() -> None:
    with answering(answer("200 OK\r\nConnection: close")) as server:
        web = HttpClient()
        assert isinstance(ask(server.url, web=web), HttpResponse)
        assert isinstance(ask(server.url, web=web), HttpResponse)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n{}") as server:
        outcome = ask(server.url)

    assert isinstance(outcome, HttpResponse)
    assert outcome.body == b"{}"


def test_a_body_in_chunks_is_put_together() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n") as server:
        outcome = ask(server.url)

    assert isinstance(outcome, HttpResponse)
    assert outcome.body == b"{}"


@pytest.mark.parametrize("early", ["100 Continue", "102 Processing", "103 Early Hints\r\nLink: </x>; rel=preload"])
def test_what_comes_before_the_answer_is_skipped(early: str) -> None:
    preliminary = f"HTTP/1.1 {early}\r\n\r\n".encode()
    with answering(preliminary * 2 + answer("201 Created", b"1"), answer("202 Accepted", b"2")) as server:
        web = HttpClient()
        outcomes = [ask(server.url, web=web), ask(server.url, web=web)]

    assert [outcome.status for outcome in outcomes] == [201, 202]
    assert server.connections == 1


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with answering(OK) as other, answering(answer(f"302 Found\r\nLocation: {other.url}/")) as server:
        outcome = ask(server.url)

    assert isinstance(outcome, HttpResponse)
    assert (outcome.status, outcome.headers["Location"], other.connections) == (302, f"{other.url}/", 0)


def test_a_cookie_is_not_kept() -> None:
    with answering(answer("200 OK\r\nSet-Cookie: a=b"), OK) as server:
        web = HttpClient()
        ask(server.url, web=web)
        ask(server.url, web=web)

    assert server.asked[1].header("Cookie") is None


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n" + gzip.compress(b"{}", mtime=0)[:12],
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_body_that_is_cut_or_damaged_is_no_answer(cut: bytes) -> None:
    with answering(cut) as server:
        outcome = ask(server.url)

    assert outcome == NoResponse("127.0.0.1: the answer is cut off or damaged", may_have_arrived=True, status=200)


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the server does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "the server does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "the server does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "the answer is cut off or damaged"),
    ],
)
def test_what_is_not_a_response_may_have_arrived(garbage: bytes, why: str) -> None:
    with answering(garbage) as server:
        outcome = ask(server.url)

    assert isinstance(outcome, NoResponse)
    assert (outcome.why, outcome.may_have_arrived) == (f"127.0.0.1: {why}", True)


def test_a_reset_after_the_request_may_have_arrived() -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.reset()

    with RawServer(talk) as server:
        outcome = ask(server.url)

    assert isinstance(outcome, NoResponse)
    assert outcome.may_have_arrived
    assert "Connection reset by peer" in outcome.why


def test_a_line_that_is_no_header_hides_nothing_and_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("urllib3", "urllib3.connection", "urllib3.connectionpool"):
        caplog.set_level(logging.DEBUG, logger=name)
    with answering(answer("200 OK\r\nA: b\r\nno header\r\nC: d")) as server:
        outcome = ask(server.url)

    assert isinstance(outcome, HttpResponse)
    assert caplog.records == []


def test_an_answer_larger_than_asked_is_refused_and_its_connection_closed() -> None:
    gone = threading.Event()

    def talk(peer: Peer) -> None:
        peer.read()
        try:
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                peer.send(b" " * 65536)
        except OSError:
            gone.set()

    with RawServer(talk) as server:
        outcome = ask(server.url, most_bytes=100_000)

        assert outcome == NoResponse(
            "127.0.0.1: the answer is too large: more than 100000 bytes", may_have_arrived=True, status=200
        )
        assert gone.wait(10)


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
@pytest.mark.parametrize("packed", [False, True])
def test_the_most_bytes_are_counted_as_the_body_is_in_the_end(size: int, fits: bool, packed: bool) -> None:
    body = b" " * size
    if packed:
        body = gzip.compress(body)
    with answering(answer("200 OK" + ("\r\nContent-Encoding: gzip" if packed else ""), body)) as server:
        outcome = ask(server.url, most_bytes=1000)

    assert isinstance(outcome, HttpResponse) == fits


def test_a_packed_bomb_is_refused_before_it_is_unpacked() -> None:
    packing = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packing.compress(b"\0" * (1 << 20)) for _ in range(48)) + packing.flush()
    with answering(answer("200 OK\r\nContent-Encoding: gzip", bomb)) as server:
        tracemalloc.start()
        outcome = ask(server.url)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert isinstance(outcome, NoResponse)
    assert "too large" in outcome.why
    assert most < 4_000_000


def test_no_answer_within_the_deadline() -> None:
    with RawServer(Peer.hold) as server:
        began_s = time.monotonic()
        outcome = ask(server.url, within_s=SOON_S)

        assert outcome == NoResponse("127.0.0.1: no whole answer in time", may_have_arrived=True)
        assert SOON_S <= took_s(began_s) < SOON_S + SLACK_S


@pytest.mark.parametrize(
    "content",
    [
        OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000,
    ],
)
def test_the_deadline_covers_an_answer_that_trickles(content: bytes) -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.trickle(content, every_s=0.05)

    with RawServer(talk) as server:
        began_s = time.monotonic()
        outcome = ask(server.url, within_s=SOON_S)

        assert isinstance(outcome, NoResponse)
        assert outcome.why == "127.0.0.1: no whole answer in time"
        assert took_s(began_s) < SOON_S + SLACK_S


def test_the_deadline_covers_a_body_that_trickles() -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        peer.trickle(b" " * 1000, every_s=0.05)

    with RawServer(talk) as server:
        began_s = time.monotonic()
        outcome = ask(server.url, within_s=LATER_S)

        assert outcome == NoResponse("127.0.0.1: no whole answer in time", may_have_arrived=True, status=200)
        assert took_s(began_s) < LATER_S + SLACK_S


def test_the_deadline_covers_a_request_that_nobody_reads() -> None:
    with RawServer(lambda _: server.over.wait(10)) as server:
        began_s = time.monotonic()
        outcome = HttpClient().exchange(HttpRequest("POST", server.url, body=bytes(20_000_000)), within_s=LATER_S)

        assert outcome == NoResponse("127.0.0.1: no whole answer in time", may_have_arrived=True)
        assert took_s(began_s) < LATER_S + SLACK_S


def test_a_connection_on_which_an_exchange_failed_is_not_used_again() -> None:
    def talk(peer: Peer) -> None:
        asked = peer.read()
        if asked is not None and "late" in asked.target:
            server.over.wait(2 * SOON_S)
        peer.send(OK)
        peer.hold()

    with RawServer(talk) as server:
        web = HttpClient()
        assert isinstance(ask(f"{server.url}/late", web=web, within_s=SOON_S), NoResponse)
        assert isinstance(ask(server.url, web=web), HttpResponse)
        assert server.connections == 2


def test_an_answer_given_before_the_body_was_read_is_read() -> None:
    def talk(peer: Peer) -> None:
        peer.send(answer("413 Content Too Large"))
        peer.hold()

    with RawServer(talk) as server:
        outcome = HttpClient().exchange(HttpRequest("POST", server.url, body=bytes(10_000_000)), within_s=10)

    assert isinstance(outcome, HttpResponse)
    assert outcome.status == 413


def test_nothing_arrived_where_the_connection_is_refused() -> None:
    place, port = reserve_closed_port()
    with place:
        outcome = ask(f"http://127.0.0.1:{port}")

    assert outcome == NoResponse("127.0.0.1: Connection refused (while connecting)", may_have_arrived=False)


def test_nothing_arrived_where_the_name_is_not_known() -> None:
    outcome = ask("http://nowhere.invalid")

    assert isinstance(outcome, NoResponse)
    assert not outcome.may_have_arrived
    assert outcome.why.startswith("nowhere.invalid: its name can't be looked up (")


def test_nothing_arrived_where_the_connection_is_not_taken_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # A queue that is full leaves further connections without an answer.
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        began_s = time.monotonic()
        outcome = ask(f"http://127.0.0.1:{port}", within_s=SOON_S)
        for one in waiting:
            one.close()

    assert outcome == NoResponse("127.0.0.1: no connection in time", may_have_arrived=False)
    assert took_s(began_s) < SOON_S + SLACK_S


@pytest.mark.parametrize(
    "url", ["", "nothing", "ftp://127.0.0.1/x", "http://", "http://[::1", "http://127.0.0.1:99999"]
)
def test_what_is_not_an_address_is_reported_and_nothing_arrived(url: str) -> None:
    outcome = ask(url)

    assert isinstance(outcome, NoResponse)
    assert not outcome.may_have_arrived


def test_a_proxy_gets_the_whole_address_and_its_own_credentials() -> None:
    with answering(OK) as proxy:
        web = HttpClient(proxy=proxy.url.replace("//", "//me:secret%21@"))
        outcome = ask("http://you:there@somewhere.invalid", web=web)

    assert isinstance(outcome, HttpResponse)
    assert proxy.asked[0].target == f"http://somewhere.invalid/x?api_key={KEY}"
    assert proxy.asked[0].header("Proxy-Authorization") == "Basic bWU6c2VjcmV0IQ=="


def test_the_proxys_variables_of_the_environment_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(OK) as proxy, answering(OK) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        ask(server.url)

    assert (proxy.connections, server.connections) == (0, 1)
