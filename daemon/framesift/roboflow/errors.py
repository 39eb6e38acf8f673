"""Meaning of the platform's answers. A status alone is never success: the answer must contain what was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum
from typing import Any
from urllib.parse import urljoin, urlsplit

from framesift.backoff import MENDED_BY_HAND_RETRY_S
from framesift.http_client import HttpResponse, NoResponse, describe_status, quote_server_text


class PlatformErrorKind(Enum):
    """Why the platform did not do what it was asked."""

    UNREACHABLE = "away"  # no answer
    BUSY = "busy"  # it asks for a later request
    KEY_REJECTED = "key"  # the key is not valid, or not for this
    ACCOUNT_PAUSED = "paused"  # the account is paused or needs payment
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # the platform has it already
    REJECTED = "refused"  # the request itself is not accepted
    SERVER_ERROR = "failing"  # the platform failed
    UNEXPECTED_ANSWER = "strange"  # the answer can't be read; perhaps it is not from the platform


class PlatformError(Exception):
    """The platform did not do what a call asked for.

    str(): a sentence for the operator, without secrets. status: the HTTP status, None without an answer. retry_after_s:
    how long the platform asks to wait, 1 to 3600 s, None if it does not say. may_have_arrived: False if the request
    certainly changed nothing on the platform.
    """

    def __init__(
        self,
        sentence: str,
        kind: PlatformErrorKind,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        may_have_arrived: bool = True,
    ) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.may_have_arrived = may_have_arrived

    @property
    def is_mended_by_hand(self) -> bool:
        """Whether a person has to mend the key or the account before any request succeeds."""
        return self.kind in (PlatformErrorKind.KEY_REJECTED, PlatformErrorKind.ACCOUNT_PAUSED)

    @property
    def repeat_after_s(self) -> float | None:
        """When to repeat the request at the earliest, unless an operator asks for it; None if nothing is known."""
        return max(MENDED_BY_HAND_RETRY_S, self.retry_after_s or 0.0) if self.is_mended_by_hand else self.retry_after_s


# status -> kind, and advice for the operator
_BY_STATUS = {
    401: (PlatformErrorKind.KEY_REJECTED, "check roboflow.api_key or ROBOFLOW_API_KEY"),
    402: (PlatformErrorKind.ACCOUNT_PAUSED, "see the workspace's plan"),
    403: (PlatformErrorKind.KEY_REJECTED, "check the rights of roboflow.api_key"),
    404: (PlatformErrorKind.NOT_FOUND, "check the project, and that the key belongs to its workspace"),
    407: (PlatformErrorKind.UNREACHABLE, "check network.proxy"),
    408: (PlatformErrorKind.SERVER_ERROR, ""),
    409: (PlatformErrorKind.CONFLICT, ""),
    423: (PlatformErrorKind.ACCOUNT_PAUSED, "see its plan and usage"),
    429: (PlatformErrorKind.BUSY, ""),
}
# What a network with a captive portal does, as in a hotel or on a mobile contract that has run out.
_LOGIN_PAGE = "is there a login page in between? Open any page in a browser on this network"


def parse_response(
    what: str,
    response: HttpResponse | NoResponse,
    *,
    url: str,
    redact: Callable[[str], str],
    missing: frozenset[int] = frozenset({404}),
) -> dict[str, Any] | PlatformError:
    """Return the answer's JSON object, or the error.

    It is returned, not raised, so that no exception refers to another one that holds the answer.

    what: what the call asks for, to begin the error's sentence. url: the request's URL without a query. redact:
    replaces secrets in a text. missing: the statuses that mean NOT_FOUND.
    """
    if isinstance(response, NoResponse):
        if response.status is None:
            return PlatformError(
                redact(f"{what}: {response.why}"),
                PlatformErrorKind.UNREACHABLE,
                may_have_arrived=response.may_have_arrived,
            )
        if response.status < 400:
            return PlatformError(
                redact(f"{what}: {response.why}"), PlatformErrorKind.UNEXPECTED_ANSWER, status=response.status
            )
        return _by_status(what, response.status, "", None, missing)
    content = _object(response.body)
    message = _message(content, redact)
    if response.status >= 400:
        wait_s = response.retry_after_s()
        return _by_status(what, response.status, message, wait_s, missing)
    if not 200 <= response.status < 300:
        why = f"redirected ({response.status}, to {_redirect_host(response, url)}); {_LOGIN_PAGE}"
    elif content is None:
        kind = quote_server_text(response.headers.get("Content-Type", "something"), redact)
        why = f"the answer is not from the platform: {kind} instead of a JSON object"
        why += f"; {_LOGIN_PAGE}" if "html" in kind.lower() else ""
    elif content.get("error"):
        why = f"the platform answered {response.status}, but with an error: {message or 'no message'}"
    else:
        return content
    return PlatformError(f"{what}: {why}", PlatformErrorKind.UNEXPECTED_ANSWER, status=response.status)


def _by_status(what: str, status: int, message: str, wait_s: float | None, missing: frozenset[int]) -> PlatformError:
    known_status = 404 if status in missing else status
    if known_status == 503 and wait_s is not None:
        kind, advice = PlatformErrorKind.BUSY, ""
    elif known_status >= 500:
        kind, advice = PlatformErrorKind.SERVER_ERROR, ""
    else:
        kind, advice = _BY_STATUS.get(known_status, (PlatformErrorKind.REJECTED, ""))
    sentence = f"{what}: the platform {describe_status(known_status)} ({status})"
    sentence += (f": {message}" if message else "") + (f"; {advice}" if advice else "")
    may_have_arrived = status >= 500 or status == 408
    return PlatformError(sentence, kind, status=status, retry_after_s=wait_s, may_have_arrived=may_have_arrived)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _message(content: dict[str, Any] | None, redact: Callable[[str], str]) -> str:
    """Return the platform's own error message, fit to be printed; "" without one."""
    error = (content or {}).get("error") or content
    message = error.get("message") if isinstance(error, dict) else error
    return quote_server_text(message, redact) if isinstance(message, str) else ""


def _redirect_host(response: HttpResponse, url: str) -> str:
    try:
        host = urlsplit(urljoin(url, response.headers.get("Location", ""))).hostname or ""
    except ValueError:
        host = ""
    return host if re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host) else "an address that can't be read"
