"""The web: one HTTP exchange at a time, within a deadline that covers all of it.

An exchange gives back what was answered, or why nothing was and whether the request may have arrived. It raises nothing
that can be expected, follows no redirect, retries nothing, keeps no cookie, reads no variable of the environment, and
takes no answer larger than it was told. TLS is always verified. Connections are kept, one set for each thread.

What is secret in a request is in no text that comes out: no reason, no repr, no exception, no line of a log.

The deadline holds for connecting, the handshake, sending, and an answer that trickles in byte by byte; only the look-up
of a name can't be interrupted, and may take as long as the machine's resolver allows (some 10 to 30 s with no network).
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import certifi
import urllib3

from framesift.config.redact import redact_url
from framesift.http_client.connections import AWAITED, Phase, PlainHttpPool, TlsHttpPool, TlsSocket, current_exchange
from framesift.http_client.retry_after import retry_after_s

MAX_BYTES = 64 * 1024
_READ_BYTES = 16 * 1024
# Many servers close a connection that was idle for 5 s, and nobody knows how far a request got that crosses this on its
# way. Networks forget connections that are silent; those take a request and never answer.
MAX_IDLE_S = 4.0
# 2024-01-01. A clock that says less has never been set.
_EARLIEST_S = 1_704_067_200.0

# The library's loggers write whole addresses, at some levels of some events; nobody has asked for them.
for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(lambda _: False)


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest:
    """What is asked. The query is sent form-encoded, the secret part first; an address that carries user and password
    is asked with them (Basic authorization).
    """

    method: str
    url: str
    query: tuple[tuple[str, str], ...] = ()
    secret_query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None

    def __repr__(self) -> str:
        return f"Request({self.method} {redact_url(self.url)})"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer. headers: names in any case. body: decoded. at_s: Unix time at which it was here."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at_s: float

    def retry_after_s(self) -> float | None:
        """In how many seconds the server wants to be asked again, 1 to 3600, if it says so."""
        return retry_after_s(self.headers, self.received_at_s)


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No answer, or none that was whole. why: for the operator. arrived: False where the request surely had no effect.
    status: what the answer began with, where it got so far.
    """

    why: str
    may_have_arrived: bool
    status: int | None = None


class HttpClient:
    """For several threads at once.

    ca_file: the certificates (PEM) to trust instead of the well-known authorities'. proxy: the address of an HTTP
    proxy, with its credentials. now_s: the Unix time. longest_idle_s: how long a connection may have been unused.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        now_s: Callable[[], float] = time.time,
        max_idle_s: float = MAX_IDLE_S,
    ) -> None:
        self._ca_file = ca_file
        self._proxy = proxy
        self._now_s = now_s
        self._longest_idle_s = max_idle_s
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._mine = threading.local()
        self._all: weakref.WeakSet[urllib3.PoolManager] = weakref.WeakSet()

    def exchange(
        self, request: HttpRequest, *, within_s: float, max_bytes: int = MAX_BYTES
    ) -> HttpResponse | NoResponse:
        """Asks once. most_bytes: of the answer's body; a larger one is no answer."""
        current_exchange.begin(within_s)
        status = response = None
        try:
            response = self._send(request)
            status = response.status
            body = _body(response, max_bytes)
            return HttpResponse(status, response.headers, body, self._now_s())
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError, zlib.error) as error:
            why = self._why(error, request.url)
        finally:
            if response is not None:
                response.close()
            self._mine.used_s = time.monotonic()
        return NoResponse(why, current_exchange.phase is Phase.SENT, status)

    def close(self) -> None:
        """Closes the connections that are idle. An exchange that comes later opens new ones."""
        with self._lock:
            for pools in self._all:
                pools.clear()

    def _send(self, request: HttpRequest) -> urllib3.BaseHTTPResponse:
        parts = urlsplit(request.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _NoAddress
        query = "&".join(part for part in (parts.query, urlencode(request.secret_query + request.query)) if part)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query, fragment="").geturl()
        headers = {"Accept-Encoding": "gzip", **urllib3.make_headers(basic_auth=_credentials(parts)), **request.headers}
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
        return self._pools().urlopen(
            request.method,
            url,
            body=request.body,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=None,  # the sockets know the deadline
        )

    def _pools(self) -> urllib3.PoolManager:
        """This thread's connections."""
        pools: urllib3.PoolManager | None = getattr(self._mine, "pools", None)
        if pools is None:
            pools = self._mine.pools = self._new_pools()
            with self._lock:
                self._all.add(pools)
        elif time.monotonic() - self._mine.used_s > self._longest_idle_s:
            pools.clear()
        return pools

    def _new_pools(self) -> urllib3.PoolManager:
        tls = self._trusting()
        pools = urllib3.PoolManager(ssl_context=tls)
        if self._proxy is not None:
            credentials = urllib3.make_headers(proxy_basic_auth=_credentials(urlsplit(self._proxy)))
            pools = urllib3.ProxyManager(self._proxy, ssl_context=tls, proxy_ssl_context=tls, proxy_headers=credentials)
        pools.pool_classes_by_scheme = {"http": PlainHttpPool, "https": TlsHttpPool}
        return pools

    def _trusting(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                # Not the library's own, nor create_default_context: those look for SSLKEYLOGFILE.
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                tls.minimum_version = ssl.TLSVersion.TLSv1_2
                tls.sslsocket_class = TlsSocket
                tls.load_verify_locations(self._ca_file or certifi.where())
                self._tls = tls
            return self._tls

    def _why(self, error: Exception, url: str) -> str:
        """For the operator: what went wrong, with whom. Made of what is known to be harmless; never of the error's own
        text, which may hold the whole address.
        """
        cause = _innermost(error)
        if current_exchange.phase is Phase.BEFORE and isinstance(cause, OSError):  # nothing else is opened before
            reason = "no certificate in it" if isinstance(cause, ssl.SSLError) else cause.strerror
            return f"{self._ca_file or certifi.where()}: the certificates to trust can't be read ({reason})"
        host = _host(url)
        if self._proxy is not None:
            host = f"{host} (through the proxy {_host(self._proxy)})"
        told = _told(cause)
        if isinstance(cause, ssl.SSLError) and self._now_s() < _EARLIEST_S:
            day = time.strftime("%Y-%m-%d", time.gmtime(self._now_s()))
            told += f"; this machine's clock is not set, it says {day}"
        elif isinstance(cause, ssl.SSLCertVerificationError):
            told += "; check the address, this machine's clock, and whether network.ca_file is needed here"
        return f"{host}: {told}"


class _NoAddress(ValueError):
    pass


class _TooLarge(ValueError):
    pass


class _Cut(ValueError):
    pass


def _credentials(parts: SplitResult) -> str | None:
    if parts.username is None and parts.password is None:
        return None
    return f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"


def _body(response: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes:
    """The whole body, never much more than `most_bytes` in memory, however well it was packed."""
    parts: list[bytes] = []
    size_bytes = 0
    while part := response.read(_READ_BYTES):
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > most_bytes:
            raise _TooLarge(f"more than {most_bytes} bytes")
    body = b"".join(parts)
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if not body or coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise _Cut("packed in a way that was not asked for")
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    unpacked = unpacking.decompress(body, most_bytes + 1)
    if len(unpacked) > most_bytes:
        raise _TooLarge(f"more than {most_bytes} bytes")
    if not unpacking.eof:
        raise _Cut("cut off")
    return unpacked


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "an address without a host"
    except ValueError:
        return "an address that can't be read"


def _innermost(error: BaseException) -> BaseException:
    while True:
        inner = next((e for e in (error.__cause__, *error.args) if isinstance(e, BaseException)), None)
        if inner is None:
            return error
        error = inner


def _told(cause: BaseException) -> str:
    """What went wrong, in words of ours and of the operating system's alone."""
    if isinstance(cause, socket.gaierror):
        return f"its name can't be looked up ({cause.strerror}); check the network and the name servers"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate can't be verified ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed ({cause.reason or type(cause).__name__}); check the address, and what is on the way to it"
    if isinstance(cause, TimeoutError):
        return f"no {AWAITED[current_exchange.phase]} in time"
    if isinstance(cause, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(cause, http.client.IncompleteRead | _Cut | zlib.error):
        return "the answer is cut off or damaged"
    if isinstance(cause, _TooLarge):
        return f"the answer is too large: {cause}"
    if isinstance(cause, OSError) and cause.strerror:
        while_doing = "waiting for the answer" if current_exchange.phase is Phase.SENT else "connecting"
        return f"{cause.strerror} (while {while_doing})"
    if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed: "):
        return f"the proxy lets nothing through ({str(cause).removeprefix('Tunnel connection failed: ')[:3]})"
    if isinstance(cause, http.client.HTTPException):
        return "what answers is no HTTP"
    if isinstance(cause, _NoAddress):
        return "not an address that begins with https:// or http:// and names a host"
    return f"the exchange failed ({type(cause).__name__})"
