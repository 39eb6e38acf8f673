"""TLS: always verified, within the deadline, through a proxy as well; and what the operator is told when it fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from canaries import KEY
from framesift.http_client.client import HttpClient, HttpRequest, HttpResponse, NoResponse
from rigs.certificates import Authority
from rigs.raw_http_server import OK, Peer, RawServer, answering, make_certificate

SOON_S = 0.8
# Where a handshake must have happened before, on a machine that may be busy.
LATER_S = 1.0
SLACK_S = 5.0

Certificate = tuple[Path, Path]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def ask(web: HttpClient, url: str, within_s: float = 10.0, body: bytes | None = None) -> HttpResponse | NoResponse:
    request = HttpRequest("POST" if body else "GET", url, secret_query=(("api_key", KEY),), body=body)
    began_s = time.monotonic()
    outcome = web.exchange(request, within_s=within_s)
    assert time.monotonic() - began_s < within_s + SLACK_S
    assert KEY not in repr(outcome)
    return outcome


def test_a_server_with_a_certificate_of_the_named_authority_is_asked_and_the_connection_kept(
    certificate: Certificate,
) -> None:
    with answering(OK, OK, certificate=certificate) as server:
        web = HttpClient(ca_file=certificate[0])
        outcomes = [ask(web, server.url), ask(web, server.url.replace("127.0.0.1", "LOCALHOST"))]
        again = ask(web, server.url)

    assert all(isinstance(outcome, HttpResponse) for outcome in (*outcomes, again))
    assert server.connections == 2


def test_a_server_with_an_unknown_certificate_gets_no_request(certificate: Certificate) -> None:
    with answering(OK, certificate=certificate) as server:
        outcome = ask(HttpClient(), server.url)

    assert server.asked == []
    assert isinstance(outcome, NoResponse)
    assert not outcome.may_have_arrived
    assert outcome.why == (
        "127.0.0.1: its certificate can't be verified (self-signed certificate); "
        "check the address, what is on the way to it, and whether network.ca_file is needed here"
    )


def test_a_server_with_a_certificate_of_another_host_gets_no_request(tmp_path: Path) -> None:
    theirs = make_certificate(tmp_path, names="DNS:elsewhere.example")
    with answering(OK, certificate=theirs) as server:
        outcome = ask(HttpClient(ca_file=theirs[0]), server.url)

    assert server.asked == []
    assert isinstance(outcome, NoResponse)
    assert not outcome.may_have_arrived
    assert "IP address mismatch" in outcome.why
    assert outcome.why.endswith("; it is another host's: check the address")


@pytest.mark.parametrize(
    ("since", "until", "reason", "advice"),
    [
        ("2019", "2020", "(certificate has expired)", "whoever runs the server has to renew it, if this machine's"),
        ("2090", "2100", "(certificate is not yet valid)", "its time has not come: check this machine's clock"),
    ],
)
def test_a_certificate_out_of_its_time_is_reported_with_the_day_that_this_machine_has(
    tmp_path: Path, since: str, until: str, reason: str, advice: str
) -> None:
    authority = Authority(tmp_path)
    with answering(OK, certificate=authority.issue("theirs", since, until)) as server:
        outcome = ask(HttpClient(ca_file=authority.certificate), server.url)

    assert server.asked == []
    assert isinstance(outcome, NoResponse)
    assert reason in outcome.why
    assert advice in outcome.why
    assert outcome.why.endswith(time.strftime("which says %Y-%m-%d", time.gmtime()))


def test_a_clock_that_was_never_set_is_named_as_the_reason(certificate: Certificate) -> None:
    with answering(OK, certificate=certificate) as server:
        outcome = ask(HttpClient(now_s=lambda: 86_400.0), server.url)

    assert isinstance(outcome, NoResponse)
    assert outcome.why.endswith("; this machine's clock is not set, it says 1970-01-02")


def test_a_server_that_does_not_speak_tls_gets_no_request() -> None:
    with RawServer(lambda peer: peer.send(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        outcome = ask(HttpClient(), server.url.replace("http", "https"))

    assert isinstance(outcome, NoResponse)
    assert not outcome.may_have_arrived
    assert outcome.why.startswith("127.0.0.1: TLS failed (")


def test_a_handshake_that_is_broken_off_sends_nothing() -> None:
    with RawServer(Peer.reset) as server:
        outcome = ask(HttpClient(), server.url.replace("http", "https"))

    assert isinstance(outcome, NoResponse)
    assert not outcome.may_have_arrived


def test_the_deadline_covers_a_handshake_that_is_never_answered() -> None:
    with RawServer(Peer.hold) as server:
        outcome = ask(HttpClient(), server.url.replace("http", "https"), within_s=SOON_S)

    assert outcome == NoResponse("127.0.0.1: no secured connection in time", may_have_arrived=False)


def test_the_deadline_covers_a_handshake_that_trickles() -> None:
    # The beginning of a record that a server may send first, byte by byte and far too long.
    with RawServer(lambda peer: peer.trickle(b"\x16\x03\x03\x40\x00" + bytes(1000), every_s=0.05)) as server:
        outcome = ask(HttpClient(), server.url.replace("http", "https"), within_s=SOON_S)

    assert outcome == NoResponse("127.0.0.1: no secured connection in time", may_have_arrived=False)


def test_the_deadline_covers_an_answer_that_trickles(certificate: Certificate) -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.trickle(OK, every_s=0.05)

    with RawServer(talk, certificate) as server:
        outcome = ask(HttpClient(ca_file=certificate[0]), server.url, within_s=LATER_S)

    assert outcome == NoResponse("127.0.0.1: no whole answer in time", may_have_arrived=True)


def test_the_deadline_covers_a_request_that_nobody_reads(certificate: Certificate) -> None:
    with RawServer(lambda _: server.over.wait(10), certificate) as server:
        outcome = ask(HttpClient(ca_file=certificate[0]), server.url, within_s=LATER_S, body=bytes(20_000_000))

    assert outcome == NoResponse("127.0.0.1: no whole answer in time", may_have_arrived=True)


def test_certificates_that_are_missing_are_named_and_read_once_they_are_there(
    certificate: Certificate, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    web = HttpClient(ca_file=ca_file)
    with answering(OK, certificate=certificate) as server:
        missing = ask(web, server.url)
        ca_file.write_bytes(b"nothing of the kind")
        empty = ask(web, server.url)
        ca_file.write_bytes(certificate[0].read_bytes())
        there = ask(web, server.url)

    assert missing == NoResponse(
        f"{ca_file}: the certificates to trust can't be read (No such file or directory)", may_have_arrived=False
    )
    assert empty == NoResponse(
        f"{ca_file}: the certificates to trust can't be read (no certificate in it)", may_have_arrived=False
    )
    assert isinstance(there, HttpResponse)


def test_the_keys_of_a_connection_are_written_nowhere(
    certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with answering(OK, certificate=certificate) as server:
        assert isinstance(ask(HttpClient(ca_file=certificate[0]), server.url), HttpResponse)

    assert list(tmp_path.iterdir()) == []


def test_a_proxy_is_asked_for_a_tunnel_and_sees_nothing_of_what_goes_through(certificate: Certificate) -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.join(server.port)

    with answering(OK, certificate=certificate) as server, RawServer(talk) as proxy:
        web = HttpClient(ca_file=certificate[0], proxy=proxy.url.replace("//", "//me:secret@"))
        outcome = ask(web, server.url)

    assert isinstance(outcome, HttpResponse)
    assert proxy.asked[0].target == f"127.0.0.1:{server.port}"
    assert proxy.asked[0].header("Proxy-Authorization") == "Basic bWU6c2VjcmV0"
    assert KEY in server.asked[0].target
    assert server.asked[0].header("Proxy-Authorization") is None


def test_through_a_proxy_that_refuses_the_connection_nothing_arrives() -> None:
    with answering(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n") as proxy:
        outcome = ask(HttpClient(proxy=proxy.url), "https://somewhere.invalid")

    assert outcome == NoResponse(
        "somewhere.invalid (through the proxy 127.0.0.1): the proxy refuses the connection (407)",
        may_have_arrived=False,
    )


def test_the_deadline_covers_a_proxy_that_trickles() -> None:
    with RawServer(lambda peer: peer.trickle(b"HTTP/1.1 200 OK\r\nX: " + bytes(1000), every_s=0.05)) as proxy:
        outcome = ask(HttpClient(proxy=proxy.url), "https://somewhere.invalid", within_s=SOON_S)

    assert outcome == NoResponse(
        "somewhere.invalid (through the proxy 127.0.0.1): no secured connection in time", may_have_arrived=False
    )
