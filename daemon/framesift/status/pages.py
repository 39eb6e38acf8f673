"""StatusPages: which requests are permitted, and what they are answered.

What changes something is a POST with a body of type application/json, which no form of a web page can send, and which
no script of another origin can send without asking before: the server permits none. A browser also says in
Sec-Fetch-Site or Origin where a request comes from; it must be a page of this server.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qsl, unquote

from framesift.status.actions import ACTION_PATHS, MAX_BODY_BYTES, ActionRefused, Hands, run_action
from framesift.status.answers import ALWAYS, StatusAnswer, text_answer
from framesift.status.identity import DaemonIdentity, as_header
from framesift.status.page_access import PageAccess
from framesift.telemetry import METRICS_CONTENT_TYPE, Condition, StatusReport, Telemetry

LIVE_PATH = "/live"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Fields of /status that are sent under their old names too, in version 0.2; 0.3 sends only the new ones. Old -> new.
_OLD_FIELDS = {"exits": "outcomes", "doors": "listeners", "credits": "quota"}
_OLD_QUEUE_FIELDS = {"exits": "outcomes"}
_OLD_QUOTA_FIELDS = {"waiting": "pending", "asked_at_s": "checked_at_s"}
_OLD_POLICY_FIELDS = {"trouble": "problem"}


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """A permitted GET. query: without "?". has_key: whether pictures may be seen. for_browser: one of the web page."""

    path: str
    query: str = ""
    has_key: bool = False
    for_browser: bool = False


def path_of(target: bytes) -> str:
    """Return the path of a request's target, decoded, without its query."""
    return unquote(target.partition(b"?")[0].decode("latin-1"))


class StatusPages:
    """All pages and actions. `answer` and `act` may be called by several threads."""

    def __init__(
        self,
        telemetry: Telemetry,
        hung: Callable[[], Mapping[str, str]],
        token: str | None,
        host: str,
        identity: DaemonIdentity,
        hands: Hands | None = None,
        access: PageAccess | None = None,
    ) -> None:
        """hung: returns the threads that hang, name -> why; it must not wait. token: what a reader must send, or None.

        host: the address of the server, one of the names by which it may be called. identity: by which readers tell
        one daemon from another. hands: does what operators ask for; None: there are no actions. access: to the page for
        browsers; None: there is none.
        """
        self._telemetry = telemetry
        self._hung = hung
        telemetry.set_alive_source(lambda: not hung())  # the metric says what /healthz says
        self._identity = identity.as_fields()
        self._identity_header = as_header(self._identity)
        self._authorization = None if token is None else f"Bearer {token}".encode()
        self._names = (*_LOCAL_NAMES, f"[{host}]" if ":" in host else host)
        self._hands = hands
        self._access = access
        self._pages = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }

    def refusal(self, method: bytes, target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> StatusAnswer | None:
        """Return the answer to a request that is not permitted, from its head alone; None if it is.

        Refused are other methods than the path has, a wrong token, and, without a token, a Host that is not a name of
        this server; of a POST also another type than JSON, and a page of another origin. fields: of the head, their
        names in lower case. A browser that has the key in its address is given its cookie here, too.
        """
        path, query = path_of(target), target.partition(b"?")[2]
        is_action = self._hands is not None and path in ACTION_PATHS
        allowed = "POST" if is_action else "GET"
        if method != allowed.encode():
            return text_answer(f"only {allowed} is answered", 405, ("allow", allowed))
        first = _first(fields)
        host = _host(first)
        if self._authorization is not None:
            opened = None if self._access is None else self._access.opened(path, query, host)
            if opened is not None:
                return opened
            if not self._is_authorized(first, host):
                why = "the token is missing or wrong; framesift status --open opens the page with a key"
                return text_answer(why, 401, ("www-authenticate", "Bearer"))
        elif (host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host) not in self._names:
            return text_answer("this server does not have the requested host name", 421)
        if is_action:
            return _refusal_of_post(first, host)
        return None if self._access is None else self._access.opened(path, query, host)

    def request(self, target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> StatusRequest:
        """Return the request of a permitted GET."""
        path, first = path_of(target), _first(fields)
        if self._access is None or path in self._pages:  # asked differently, it is the same page
            return StatusRequest(path)
        has_key = self._is_authorized(first, _host(first))
        return StatusRequest(path, target.partition(b"?")[2].decode("latin-1"), has_key, for_browser=True)

    def _is_authorized(self, first: Mapping[bytes, bytes], host: str) -> bool:
        """Whether a request has the token, or the key of the page."""
        if self._authorization is not None and compare_digest(first.get(b"authorization", b""), self._authorization):
            return True
        return self._access is not None and self._access.has_key(first, host)

    def is_live(self, path: str) -> bool:
        """Return whether the answer goes on for as long as the client listens."""
        return self._access is not None and path == LIVE_PATH

    def live(self) -> bytes:
        """Return what is sent to all who listen, now."""
        assert self._access is not None  # or nobody may listen
        try:
            return b"data: " + self._access.page.live() + b"\n\n"
        except Exception as error:  # noqa: BLE001  # as in `answer`
            self._telemetry.error("status_page_failed", cause=error)
            return b": this failed\n\n"

    def is_slow(self, path: str) -> bool:
        """Return whether the answer may have to wait for the spool's disk, or for the log."""
        return path != "/healthz" and (self._access is not None or path in self._pages)

    def answer(self, request: StatusRequest) -> StatusAnswer:
        """Return the answer to a permitted request."""
        page = self._pages.get(request.path)
        try:
            if page is not None:
                return page()
            answer = None
            if self._access is not None:
                query = dict(parse_qsl(request.query))
                answer = self._access.page.answer(request.path, query, has_key=request.has_key)
            return text_answer("Not Found", 404) if answer is None else answer
        except Exception as error:  # noqa: BLE001  # whatever it is: the log gets all of it, the reader nothing
            self._telemetry.error("status_page_failed", cause=error)
            return text_answer("this page failed; the log says why", 500)

    def act(self, path: str, body: bytes, address: str) -> StatusAnswer:
        """Do what a permitted POST asks for, and return its answer. It may wait for seconds.

        address: of the client.
        """
        assert self._hands is not None  # or no POST is permitted
        try:
            fields = run_action(self._hands, path, body, address)
        except ActionRefused as refused:
            return text_answer(self._telemetry.redact(str(refused)), refused.status)
        except Exception as error:  # noqa: BLE001  # as in `answer`
            self._telemetry.error("action_failed", path=path, cause=error)
            return text_answer("this failed; the log says why", 500)
        return _json_answer(fields)

    def _healthz(self) -> StatusAnswer:
        hung = self._hung()
        header = self._identity_header
        return text_answer(_lines(hung), 503, *header) if hung else text_answer("alive", 200, *header)

    def _readyz(self) -> StatusAnswer:
        components = self._telemetry.health.components()
        failed = {c.name: self._telemetry.redact(c.why) for c in components if c.condition is Condition.FAILED}
        failed.update(self._hung())
        if self._telemetry.not_ready:
            failed["framesift"] = self._telemetry.not_ready
        return text_answer(_lines(failed), 503) if failed else text_answer("ready")

    def _metrics(self) -> StatusAnswer:
        fields = (*ALWAYS, ("content-type", METRICS_CONTENT_TYPE))
        return StatusAnswer(200, self._telemetry.metrics_text(), fields)

    def _status(self) -> StatusAnswer:
        daemon = {"pid": os.getpid(), **self._identity}
        return _json_answer({"alive": not self._hung(), **daemon, **_status_fields(self._telemetry.report())})


def _first(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The first of each name."""
    return dict(reversed([*fields]))


def _host(first: Mapping[bytes, bytes]) -> str:
    return first.get(b"host", b"").decode("latin-1").lower()


def _json_answer(fields: Mapping[str, object]) -> StatusAnswer:
    return StatusAnswer(200, f"{json.dumps(fields)}\n".encode(), (*ALWAYS, ("content-type", "application/json")))


def _refusal_of_post(first: Mapping[bytes, bytes], host: str) -> StatusAnswer | None:
    """Why a POST is not permitted, by its head. first: the first field of each name. host: of the request."""
    if first.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        return text_answer("send a JSON object, with Content-Type: application/json", 415)
    site, origin = first.get(b"sec-fetch-site"), first.get(b"origin", b"").decode("latin-1").lower()
    # The first is decided by the browser, and not by names that a proxy before this server may have changed.
    is_own = site == b"same-origin" if site is not None else not origin or origin.partition("://")[2] == host
    if not is_own:
        return text_answer("a web page of another origin can't do this", 403)
    size = first.get(b"content-length", b"0")
    if size.isdigit() and (len(size) > 9 or int(size) > MAX_BODY_BYTES):
        return body_too_large()
    return None


def body_too_large() -> StatusAnswer:
    """Return the answer to a POST with more bytes than are read."""
    return text_answer(f"the body has more than {MAX_BODY_BYTES} bytes", 413)


def _status_fields(report: StatusReport) -> dict[str, Any]:
    """Return the report's fields, and beside them those that have old names."""
    fields = asdict(report)
    _add_old_names(fields["queue"], _OLD_QUEUE_FIELDS)
    _add_old_names(fields["quota"], _OLD_QUOTA_FIELDS)
    for policy in fields["policies"]:
        _add_old_names(policy, _OLD_POLICY_FIELDS)
    _add_old_names(fields, _OLD_FIELDS)
    return fields


def _add_old_names(fields: dict[str, Any] | None, names: Mapping[str, str]) -> None:
    if fields is not None:
        fields.update({old: fields[new] for old, new in names.items()})


def _lines(reasons: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {why}" for name, why in reasons.items())
