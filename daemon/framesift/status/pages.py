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
from urllib.parse import unquote

from framesift.status.actions import ACTION_PATHS, MAX_BODY_BYTES, ActionRefused, Hands, run_action
from framesift.status.identity import DaemonIdentity, as_header
from framesift.telemetry import METRICS_CONTENT_TYPE, Condition, StatusReport, Telemetry

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_ALWAYS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
_TEXT = "text/plain; charset=utf-8"
# Fields of /status that are sent under their old names too, in version 0.2; 0.3 sends only the new ones. Old -> new.
_OLD_FIELDS = {"exits": "outcomes", "doors": "listeners", "credits": "quota"}
_OLD_QUEUE_FIELDS = {"exits": "outcomes"}
_OLD_QUOTA_FIELDS = {"waiting": "pending", "asked_at_s": "checked_at_s"}
_OLD_POLICY_FIELDS = {"trouble": "problem"}


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """An answer. status: of HTTP. fields: of the head, their names in lower case."""

    status: int
    body: bytes
    fields: tuple[tuple[str, str], ...]


def text_answer(line: str, status: int = 200, *more: tuple[str, str]) -> StatusAnswer:
    """Return an answer of plain text. more: further fields of the head."""
    return StatusAnswer(status, f"{line}\n".encode(), (*_ALWAYS, *more, ("content-type", _TEXT)))


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
    ) -> None:
        """hung: returns the threads that hang, name -> why; it must not wait. token: what a reader must send, or None.

        host: the address of the server, one of the names by which it may be called. identity: by which readers tell
        one daemon from another. hands: does what operators ask for; None: there are no actions.
        """
        self._telemetry = telemetry
        self._hung = hung
        telemetry.set_alive_source(lambda: not hung())  # the metric says what /healthz says
        self._identity = identity.as_fields()
        self._identity_header = as_header(self._identity)
        self._authorization = None if token is None else f"Bearer {token}".encode()
        self._names = (*_LOCAL_NAMES, f"[{host}]" if ":" in host else host)
        self._hands = hands
        self._pages = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }

    def refusal(self, method: bytes, path: str, fields: Iterable[tuple[bytes, bytes]]) -> StatusAnswer | None:
        """Return the answer to a request that is not permitted, from its head alone; None if it is.

        Refused are other methods than the path has, a wrong token, and, without a token, a Host that is not a name of
        this server; of a POST also another type than JSON, and a page of another origin. fields: of the head, their
        names in lower case.
        """
        is_action = self._hands is not None and path in ACTION_PATHS
        allowed = "POST" if is_action else "GET"
        if method != allowed.encode():
            return text_answer(f"only {allowed} is answered", 405, ("allow", allowed))
        first = dict(reversed([*fields]))  # the first of each name
        host = first.get(b"host", b"").decode("latin-1").lower()
        if self._authorization is not None:
            if not compare_digest(first.get(b"authorization", b""), self._authorization):
                return text_answer("the token is missing or wrong", 401, ("www-authenticate", "Bearer"))
        elif (host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host) not in self._names:
            return text_answer("this server does not have the requested host name", 421)
        return _refusal_of_post(first, host) if is_action else None

    def is_slow(self, path: str) -> bool:
        """Return whether the answer may have to wait for the spool's disk, or for the log."""
        return path in self._pages.keys() - {"/healthz"}

    def answer(self, path: str) -> StatusAnswer:
        """Return the answer to a permitted request."""
        page = self._pages.get(path)
        if page is None:
            return text_answer("Not Found", 404)
        try:
            return page()
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
        fields = (*_ALWAYS, ("content-type", METRICS_CONTENT_TYPE))
        return StatusAnswer(200, self._telemetry.metrics_text(), fields)

    def _status(self) -> StatusAnswer:
        daemon = {"pid": os.getpid(), **self._identity}
        return _json_answer({"alive": not self._hung(), **daemon, **_status_fields(self._telemetry.report())})


def _json_answer(fields: Mapping[str, object]) -> StatusAnswer:
    return StatusAnswer(200, f"{json.dumps(fields)}\n".encode(), (*_ALWAYS, ("content-type", "application/json")))


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
