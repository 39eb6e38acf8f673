"""HTTP client: one request and its response at a time, with one deadline over all steps.

`HttpClient.exchange` returns the response, or the reason why there is none and whether the request may have arrived. It
raises no network error, follows no redirect, retries nothing, keeps no cookie, reads no environment variable, and stops
reading a response that is larger than allowed. TLS certificates are verified, but for cameras where the settings say
otherwise. Connections are kept open and reused, one set per thread.

Secrets of a request appear in no text that comes out: no reason, no repr, no exception, no log line.

The deadline covers connecting, the TLS handshake, sending, and a response that arrives byte by byte. Only the look-up
of a host name can't be interrupted: it takes as long as the machine's resolver allows (10 to 30 s without network).
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
from framesift.http_client.connections import (
    AWAITED,
    Exchanges,
    Phase,
    PlainHttpPool,
    TlsHttpPool,
    TlsSocket,
    current_exchange,
)
from framesift.http_client.retry_after import retry_after_s

MAX_BYTES = 64 * 1024
_READ_BYTES = 16 * 1024
# Many servers close a connection after 5 s without a request. A request that is sent at that moment may or may not have
# arrived. Routers also forget idle connections: a request sent on one gets no response. So connections expire earlier.
MAX_IDLE_S = 4.0
# 2024-01-01. A clock before this date has never been set.
_EARLIEST_S = 1_704_067_200.0

# What to do about a certificate, by OpenSSL's code for what is wrong with it.
_NOT_THE_HOST = "it is another host's: check the address"
_CERTIFICATE_ADVICE = {
    9: "its time has not come: check this machine's clock, which says {day}",
    10: "whoever runs the server has to renew it, if this machine's clock is right, which says {day}",
    62: _NOT_THE_HOST,
    64: _NOT_THE_HOST,
}
_UNKNOWN_AUTHORITY = "check the address, what is on the way to it, and whether network.ca_file is needed here"

# urllib3's loggers write whole addresses, with secrets in the query. They are silenced.
for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(lambda _: False)
# Whoever switches the verification off knows it.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest:
    """A request to send.

    The query parameters are sent form-encoded, secret_query first. A user and password in the URL become Basic
    authorization. The repr shows neither query nor password.
    """

    method: str
    url: str
    query: tuple[tuple[str, str], ...] = ()
    secret_query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {redact_url(self.url)})"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response with any status.

    headers: look-up ignores case. body: after decompression. received_at_s: Unix time when it was complete.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at_s: float

    def retry_after_s(self) -> float | None:
        """Return the seconds to wait that the Retry-After header asks for, 1 to 3600; None without that header."""
        return retry_after_s(self.headers, self.received_at_s)


@dataclass(frozen=True, slots=True)
class NoResponse:
    """There was no complete response.

    why: a text for the operator, without secrets. may_have_arrived: False if the request certainly had no effect.
    status: the status of the response that was cut off, None if not even its head arrived.
    """

    why: str
    may_have_arrived: bool
    status: int | None = None


class HttpClient:
    """Sends requests. Thread-safe: each thread has its own connections.

    ca_file: certificates (PEM) to trust instead of the public authorities. proxy: the URL of an HTTP proxy, with its
    credentials. now_s: returns Unix time. max_idle_s: connections that were unused for longer are not reused.
    exchanges: cuts what this client does, and what other clients do that were given the same. verify: False accepts any
    certificate, as cameras have them.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        now_s: Callable[[], float] = time.time,
        max_idle_s: float = MAX_IDLE_S,
        exchanges: Exchanges | None = None,
        verify: bool = True,
    ) -> None:
        self._ca_file = ca_file
        self._verify = verify
        self._proxy = proxy
        self._now_s = now_s
        self._longest_idle_s = max_idle_s
        self._exchanges = exchanges or Exchanges()
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._thread_local = threading.local()
        self._all_pools: weakref.WeakSet[urllib3.PoolManager] = weakref.WeakSet()

    def exchange(
        self, request: HttpRequest, *, within_s: float, max_bytes: int = MAX_BYTES
    ) -> HttpResponse | NoResponse:
        """Send the request once and return the response, or why there is none.

        within_s: the deadline for everything, in seconds. max_bytes: the maximum size of the response's body, packed
        and unpacked; a larger response counts as none.
        """
        current_exchange.begin(within_s, self._exchanges)
        status = response = None
        try:
            response = self._send(request)
            status = response.status
            body = _body(response, max_bytes)
            return HttpResponse(status, response.headers, body, self._now_s())
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError, zlib.error) as error:
            why = self._explain(error, request.url)
        finally:
            if response is not None:
                response.close()
            self._exchanges.end()
            self._thread_local.used_s = time.monotonic()
        return NoResponse(why, current_exchange.phase is Phase.SENT, status)

    def close(self) -> None:
        """Close the idle connections. A later `exchange` opens new ones."""
        with self._lock:
            for pools in self._all_pools:
                pools.clear()

    def _send(self, request: HttpRequest) -> urllib3.BaseHTTPResponse:
        parts = urlsplit(request.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _NotHttpUrl
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
            timeout=None,  # the sockets apply the deadline, see connections.py
        )

    def _pools(self) -> urllib3.PoolManager:
        """Return the connections of the calling thread."""
        pools: urllib3.PoolManager | None = getattr(self._thread_local, "pools", None)
        if pools is None:
            pools = self._thread_local.pools = self._new_pools()
            with self._lock:
                self._all_pools.add(pools)
        elif time.monotonic() - self._thread_local.used_s > self._longest_idle_s:
            pools.clear()
        return pools

    def _new_pools(self) -> urllib3.PoolManager:
        tls = self._tls_context()
        pools = urllib3.PoolManager(ssl_context=tls)
        if self._proxy is not None:
            credentials = urllib3.make_headers(proxy_basic_auth=_credentials(urlsplit(self._proxy)))
            pools = urllib3.ProxyManager(self._proxy, ssl_context=tls, proxy_ssl_context=tls, proxy_headers=credentials)
        pools.pool_classes_by_scheme = {"http": PlainHttpPool, "https": TlsHttpPool}
        return pools

    def trust_problem(self) -> str | None:
        """Why the certificates to trust can't be read, for the operator; None if they can."""
        try:
            self._tls_context()
        except OSError as error:
            return self._unreadable(error)
        return None

    def _unreadable(self, error: OSError) -> str:
        reason = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        return f"{self._ca_file or certifi.where()}: the certificates to trust can't be read ({reason})"

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                # Neither urllib3's context nor create_default_context: those read the variable SSLKEYLOGFILE.
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                tls.minimum_version = ssl.TLSVersion.TLSv1_2
                tls.sslsocket_class = TlsSocket
                if self._verify:
                    tls.load_verify_locations(self._ca_file or certifi.where())
                else:
                    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
                self._tls = tls
            return self._tls

    def _explain(self, error: Exception, url: str) -> str:
        """Return for the operator which host failed and why.

        The error's own text is not used: it may hold the whole URL, secrets included.
        """
        if self._exchanges.is_cut:
            return f"{_host(url)}: the request was cut, because the program is stopping"
        cause = _innermost(error)
        if current_exchange.phase is Phase.BEFORE and isinstance(cause, OSError):  # nothing else is opened before
            return self._unreadable(cause)
        host = _host(url)
        if self._proxy is not None:
            host = f"{host} (through the proxy {_host(self._proxy)})"
        text = _describe(cause)
        day = time.strftime("%Y-%m-%d", time.gmtime(self._now_s()))
        if isinstance(cause, ssl.SSLError) and self._now_s() < _EARLIEST_S:
            text += f"; this machine's clock is not set, it says {day}"
        elif isinstance(cause, ssl.SSLCertVerificationError):
            text += f"; {_CERTIFICATE_ADVICE.get(cause.verify_code, _UNKNOWN_AUTHORITY).format(day=day)}"
        return f"{host}: {text}"


class _NotHttpUrl(ValueError):
    pass


class _TooLarge(ValueError):
    pass


class _DamagedBody(ValueError):
    pass


def _credentials(parts: SplitResult) -> str | None:
    if parts.username is None and parts.password is None:
        return None
    return f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"


def _body(response: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes:
    """Read the whole body. At most about `max_bytes` are in memory at any time, also while it is unpacked."""
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
        raise _DamagedBody("a Content-Encoding that was not requested")
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    unpacked = unpacking.decompress(body, most_bytes + 1)
    if len(unpacked) > most_bytes:
        raise _TooLarge(f"more than {most_bytes} bytes")
    if not unpacking.eof:
        raise _DamagedBody("cut off")
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


def _describe(cause: BaseException) -> str:
    """Say what went wrong, with texts of this module and of the operating system only."""
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
    if isinstance(cause, http.client.IncompleteRead | _DamagedBody | zlib.error):
        return "the answer is cut off or damaged"
    if isinstance(cause, _TooLarge):
        return f"the answer is too large: {cause}"
    if isinstance(cause, OSError) and cause.strerror:
        while_doing = "waiting for the answer" if current_exchange.phase is Phase.SENT else "connecting"
        return f"{cause.strerror} (while {while_doing})"
    if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed: "):
        return f"the proxy refuses the connection ({str(cause).removeprefix('Tunnel connection failed: ')[:3]})"
    if isinstance(cause, http.client.HTTPException):
        return "the server does not speak HTTP"
    if isinstance(cause, _NotHttpUrl):
        return "not an address that begins with https:// or http:// and names a host"
    return f"the exchange failed ({type(cause).__name__})"
