"""Pages: what is answered to whom."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hmac import compare_digest
from pathlib import Path
from urllib.parse import unquote

from framesift.telemetry import METRICS_CONTENT_TYPE, Condition, Telemetry

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_ALWAYS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """status: of HTTP. fields: of the head, their names in lower case."""

    status: int
    body: bytes
    fields: tuple[tuple[str, str], ...]


def text_answer(said: str, status: int = 200, *more: tuple[str, str]) -> StatusAnswer:
    return StatusAnswer(status, f"{said}\n".encode(), (*_ALWAYS, *more, ("content-type", _TEXT)))


def path_of(target: bytes) -> str:
    return unquote(target.partition(b"?")[0].decode("latin-1"))


class StatusPages:
    """silent: the loops that do not move, component -> why; it must not wait for anything. token: what a reader must
    send, or None. host: the address that is listened at, one of the names it goes by. spool: the absolute path of the
    daemon's. `answer` may be called by several threads.
    """

    def __init__(
        self, telemetry: Telemetry, silent: Callable[[], Mapping[str, str]], token: str | None, host: str, spool: Path
    ) -> None:
        self._telemetry = telemetry
        self._silent = silent
        self._spool = spool
        self._authorization = None if token is None else f"Bearer {token}".encode()
        self._names = (*_LOCAL_NAMES, f"[{host}]" if ":" in host else host)
        self._pages = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }

    def refusal(self, method: bytes, fields: Iterable[tuple[bytes, bytes]]) -> StatusAnswer | None:
        """What is not a GET, has the wrong token, or calls us by a name that isn't ours; None for a request to answer.
        fields: of the head, their names in lower case.
        """
        if method != b"GET":
            return text_answer("only GET is answered", 405, ("allow", "GET"))
        said = dict(reversed([*fields]))  # the first of each name
        if self._authorization is not None:
            if not compare_digest(said.get(b"authorization", b""), self._authorization):
                return text_answer("the token is missing or wrong", 401, ("www-authenticate", "Bearer"))
            return None
        host = said.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return None if name in self._names else text_answer("this server is not called so", 421)

    def is_slow(self, path: str) -> bool:
        """Whether the answer may have to wait for the disk under the spool, or for the log."""
        return path in self._pages.keys() - {"/healthz"}

    def answer(self, path: str) -> StatusAnswer:
        page = self._pages.get(path)
        if page is None:
            return text_answer("Not Found", 404)
        try:
            return page()
        except Exception as error:  # noqa: BLE001  # whatever it is: the reader learns nothing of it, the log all
            self._telemetry.error("status_page_failed", cause=error)
            return text_answer("this page failed; the log says why", 500)

    def _healthz(self) -> StatusAnswer:
        hung = self._silent()
        return text_answer(_lines(hung), 503) if hung else text_answer("alive")

    def _readyz(self) -> StatusAnswer:
        components = self._telemetry.health.components()
        failed = {c.name: self._telemetry.redact(c.why) for c in components if c.condition is Condition.FAILED}
        failed.update(self._silent())
        return text_answer(_lines(failed), 503) if failed else text_answer("ready")

    def _metrics(self) -> StatusAnswer:
        return StatusAnswer(200, self._telemetry.metrics_text(), (*_ALWAYS, ("content-type", METRICS_CONTENT_TYPE)))

    def _status(self) -> StatusAnswer:
        who = {"pid": os.getpid(), "spool": str(self._spool)}
        told = json.dumps({"alive": not self._silent(), **who, **asdict(self._telemetry.report())})
        return StatusAnswer(200, f"{told}\n".encode(), (*_ALWAYS, ("content-type", "application/json")))


def _lines(failed: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {why}" for name, why in failed.items())
