"""Pages: what is answered to whom, as an ASGI application."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hmac import compare_digest
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from framesift.telemetry import EXPOSITION_TYPE, Condition, Telemetry

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def application(
    telemetry: Telemetry, silent: Callable[[], Mapping[str, str]], token: str | None, host: str, spool: Path
) -> ASGIApp:
    """silent: the loops that do not move, component -> why. token: what a reader must send, or None. host: the address
    that is listened at, one of the names it goes by. spool: the absolute path of the daemon's."""

    # Plain functions: they run in threads of their own, so that a slow disk under the spool holds up no other answer.
    def healthz(_request: Request) -> Response:
        hung = silent()
        return _text(_lines(hung), 503) if hung else _text("alive")

    def readyz(_request: Request) -> Response:
        failed = {c.name: c.why for c in telemetry.snapshot().health if c.condition is Condition.FAILED}
        failed.update(silent())
        return _text(_lines(failed), 503) if failed else _text("ready")

    def metrics(_request: Request) -> Response:
        return Response(telemetry.exposition(), headers={**_ALWAYS, "Content-Type": EXPOSITION_TYPE})

    def status(_request: Request) -> Response:
        who = {"pid": os.getpid(), "spool": str(spool)}
        body = json.dumps({"alive": not silent(), **who, **asdict(telemetry.snapshot())})
        return Response(body + "\n", media_type="application/json", headers=_ALWAYS)

    def failed(_request: Request, error: Exception) -> Response:
        telemetry.error("status_page_failed", cause=error)
        return _text("this page failed; the log says why", 500)

    routes = [Route(f"/{page.__name__}", page, methods=["GET"]) for page in (healthz, readyz, metrics, status)]
    # Starlette re-raises what its last handler has answered, which the guard swallows: it is told already.
    pages = Starlette(routes=routes, exception_handlers={Exception: failed})
    pages.router.redirect_slashes = False
    return _Guard(pages, token, (*_LOCAL_NAMES, f"[{host}]" if ":" in host else host))


class _Guard:
    """Turns away what is not a GET, has the wrong token, or calls us by a name that isn't ours."""

    def __init__(self, pages: ASGIApp, token: str | None, names: tuple[str, ...]) -> None:
        self._pages = pages
        self._token = token
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(Request(scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            await self._pages(scope, receive, send)
        except Exception:  # noqa: BLE001  # answered and told by the application's own handler
            return

    def _refusal(self, request: Request) -> Response | None:
        if request.method != "GET":
            return _text("only GET is answered", 405, {"Allow": "GET"})
        if self._token is not None:
            said = request.headers.get("Authorization", "")
            if not compare_digest(said.encode(), f"Bearer {self._token}".encode()):
                return _text("the token is missing or wrong", 401, {"WWW-Authenticate": "Bearer"})
            return None
        host = request.headers.get("Host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name not in self._names:
            return _text("this server is not called so", 421)
        return None


def _lines(failed: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {why}" for name, why in failed.items())


def _text(text: str, code: int = 200, more: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", code, headers={**_ALWAYS, **(more or {})})
