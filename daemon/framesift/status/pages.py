"""StatusPages: which requests are permitted, and what they are answered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hmac import compare_digest
from typing import Any
from urllib.parse import unquote

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
    """All pages. `answer` may be called by several threads."""

    def __init__(
        self,
        telemetry: Telemetry,
        hung: Callable[[], Mapping[str, str]],
        token: str | None,
        host: str,
        identity: DaemonIdentity,
    ) -> None:
        """hung: returns the threads that hang, name -> why; it must not wait. token: what a reader must send, or None.

        host: the address of the server, one of the names by which it may be called. identity: by which readers tell
        one daemon from another.
        """
        self._telemetry = telemetry
        self._hung = hung
        telemetry.set_alive_source(lambda: not hung())  # the metric says what /healthz says
        self._identity = identity.as_fields()
        self._identity_header = as_header(self._identity)
        self._authorization = None if token is None else f"Bearer {token}".encode()
        self._names = (*_LOCAL_NAMES, f"[{host}]" if ":" in host else host)
        self._pages = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }

    def refusal(self, method: bytes, fields: Iterable[tuple[bytes, bytes]]) -> StatusAnswer | None:
        """Return the answer to a request that is not permitted; None if it is.

        Refused are all methods but GET, a wrong token, and, without a token, a Host that is not a name of this server.
        fields: of the head, their names in lower case.
        """
        if method != b"GET":
            return text_answer("only GET is answered", 405, ("allow", "GET"))
        first = dict(reversed([*fields]))  # the first of each name
        if self._authorization is not None:
            if not compare_digest(first.get(b"authorization", b""), self._authorization):
                return text_answer("the token is missing or wrong", 401, ("www-authenticate", "Bearer"))
            return None
        host = first.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return None if name in self._names else text_answer("this server does not have the requested host name", 421)

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
        content = json.dumps({"alive": not self._hung(), **daemon, **_status_fields(self._telemetry.report())})
        return StatusAnswer(200, f"{content}\n".encode(), (*_ALWAYS, ("content-type", "application/json")))


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
