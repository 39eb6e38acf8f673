"""What the platform's answers mean. A status alone is never success: an answer must say what it was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum
from typing import Any
from urllib.parse import urljoin, urlsplit

from framesift.http_client.client import HttpResponse, NoResponse

_LONGEST_MESSAGE = 200


class PlatformErrorKind(Enum):
    """Why the platform did not do what it was asked."""

    UNREACHABLE = "away"  # no answer
    BUSY = "busy"  # it asks to be asked later
    KEY_REJECTED = "key"  # it does not accept the key, or not for this
    ACCOUNT_PAUSED = "paused"  # the account, for a matter of payment
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # it has that already
    REJECTED = "refused"  # it does not want this request
    SERVER_ERROR = "failing"  # it could not, for reasons of its own
    UNEXPECTED_ANSWER = "strange"  # what answered can't be understood; perhaps it is not the platform


class PlatformError(Exception):
    """str(): a sentence for the operator, without any secret. status: HTTP's, where there was one. retry_after_s: when
    it wants to be asked again, 1 to 3600 s, where it said so. arrived: False where the request surely changed
    nothing there.
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


_BY_STATUS = {
    401: (
        PlatformErrorKind.KEY_REJECTED,
        "the platform does not accept the key",
        "check roboflow.api_key or ROBOFLOW_API_KEY",
    ),
    402: (PlatformErrorKind.ACCOUNT_PAUSED, "the platform asks for payment", "see the workspace's plan"),
    403: (PlatformErrorKind.KEY_REJECTED, "the key may not do this", "check the rights of roboflow.api_key"),
    404: (PlatformErrorKind.NOT_FOUND, "the platform does not have it", "check the project and whose key it is"),
    407: (PlatformErrorKind.UNREACHABLE, "the proxy asks for credentials", "check network.proxy"),
    408: (PlatformErrorKind.SERVER_ERROR, "the platform has waited too long for it", ""),
    409: (PlatformErrorKind.CONFLICT, "the platform has it already", ""),
    423: (PlatformErrorKind.ACCOUNT_PAUSED, "the platform has paused the workspace", "see its plan and usage"),
    429: (PlatformErrorKind.BUSY, "the platform asks for fewer requests", ""),
}


def parse_response(
    what: str,
    response: HttpResponse | NoResponse,
    *,
    url: str,
    redact: Callable[[str], str],
    missing: frozenset[int] = frozenset({404}),
) -> dict[str, Any] | PlatformError:
    """The answer's object, or what is wrong. Returned, not raised, so that no error holds another one with the answer.

    what: what was asked, for the sentence. url: where, without a query. missing: the statuses that say "not found".
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
        strange = f"sent elsewhere ({response.status}, to {_other_host(response, url)}); is a login page on the way?"
    elif content is None:
        kind = _shown(response.headers.get("Content-Type", "something"), redact)
        strange = f"what answers is not the platform: {kind} where a JSON object is expected"
    elif content.get("error"):
        strange = f"the platform answered {response.status}, but with an error: {message or 'no message'}"
    else:
        return content
    return PlatformError(f"{what}: {strange}", PlatformErrorKind.UNEXPECTED_ANSWER, status=response.status)


def _by_status(what: str, status: int, message: str, wait_s: float | None, missing: frozenset[int]) -> PlatformError:
    if status in missing:
        trouble, reason, advice = _BY_STATUS[404]
    elif status == 503 and wait_s is not None:
        trouble, reason, advice = PlatformErrorKind.BUSY, "the platform is busy", ""
    elif status >= 500:
        trouble, reason, advice = PlatformErrorKind.SERVER_ERROR, "the platform fails", ""
    else:
        trouble, reason, advice = _BY_STATUS.get(status, (PlatformErrorKind.REJECTED, "the platform refuses it", ""))
    sentence = f"{what}: {reason} ({status})" + (f": {message}" if message else "") + (f"; {advice}" if advice else "")
    arrived = status >= 500 or status == 408
    return PlatformError(sentence, trouble, status=status, retry_after_s=wait_s, may_have_arrived=arrived)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _message(content: dict[str, Any] | None, redacted: Callable[[str], str]) -> str:
    """The platform's own words, as far as they can be shown."""
    error = (content or {}).get("error") or content
    told = error.get("message") if isinstance(error, dict) else error
    return _shown(told, redacted) if isinstance(told, str) else ""


def _shown(text: str, redacted: Callable[[str], str]) -> str:
    # Struck before it is cut: half a secret would not be found.
    printable = redacted("".join(c if c.isprintable() else " " for c in text)).strip()
    return printable if len(printable) <= _LONGEST_MESSAGE else f"{printable[:_LONGEST_MESSAGE]}..."


def _other_host(answer: HttpResponse, url: str) -> str:
    try:
        host = urlsplit(urljoin(url, answer.headers.get("Location", ""))).hostname or ""
    except ValueError:
        host = ""
    return host if re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host) else "an address that can't be read"
