"""What the platform's answers mean. A status alone is never success: an answer must say what it was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum
from typing import Any
from urllib.parse import urljoin, urlsplit

from framesift.http_client.client import Answered, Unanswered

_LONGEST_MESSAGE = 200


class Trouble(Enum):
    """Why the platform did not do what it was asked."""

    AWAY = "away"  # no answer
    BUSY = "busy"  # it asks to be asked later
    KEY = "key"  # it does not accept the key, or not for this
    PAUSED = "paused"  # the account, for a matter of payment
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # it has that already
    REFUSED = "refused"  # it does not want this request
    FAILING = "failing"  # it could not, for reasons of its own
    STRANGE = "strange"  # what answered can't be understood; perhaps it is not the platform


class PlatformTrouble(Exception):
    """str(): a sentence for the operator, without any secret. status: HTTP's, where there was one. retry_after_s: when
    it wants to be asked again, 1 to 3600 s, where it said so. arrived: False where the request surely changed
    nothing there."""

    def __init__(
        self,
        sentence: str,
        trouble: Trouble,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        arrived: bool = True,
    ) -> None:
        super().__init__(sentence)
        self.trouble = trouble
        self.status = status
        self.retry_after_s = retry_after_s
        self.arrived = arrived


_BY_STATUS = {
    401: (Trouble.KEY, "the platform does not accept the key", "check roboflow.api_key or ROBOFLOW_API_KEY"),
    402: (Trouble.PAUSED, "the platform asks for payment", "see the workspace's plan"),
    403: (Trouble.KEY, "the key may not do this", "check the rights of roboflow.api_key"),
    404: (Trouble.NOT_FOUND, "the platform does not have it", "check the project and whose key it is"),
    407: (Trouble.AWAY, "the proxy asks for credentials", "check network.proxy"),
    408: (Trouble.FAILING, "the platform has waited too long for it", ""),
    409: (Trouble.CONFLICT, "the platform has it already", ""),
    423: (Trouble.PAUSED, "the platform has paused the workspace", "see its plan and usage"),
    429: (Trouble.BUSY, "the platform asks for fewer requests", ""),
}


def judged(
    what: str,
    outcome: Answered | Unanswered,
    *,
    url: str,
    redacted: Callable[[str], str],
    missing: frozenset[int] = frozenset({404}),
) -> dict[str, Any] | PlatformTrouble:
    """The answer's object, or what is wrong. Returned, not raised, so that no error holds another one with the answer.

    what: what was asked, for the sentence. url: where, without a query. missing: the statuses that say "not found".
    """
    if isinstance(outcome, Unanswered):
        if outcome.status is None:
            return PlatformTrouble(redacted(f"{what}: {outcome.why}"), Trouble.AWAY, arrived=outcome.arrived)
        if outcome.status < 400:
            return PlatformTrouble(redacted(f"{what}: {outcome.why}"), Trouble.STRANGE, status=outcome.status)
        return _by_status(what, outcome.status, "", None, missing)
    content = _object(outcome.body)
    message = _message(content, redacted)
    if outcome.status >= 400:
        wait_s = outcome.retry_after_s()
        return _by_status(what, outcome.status, message, wait_s, missing)
    if not 200 <= outcome.status < 300:
        strange = f"sent elsewhere ({outcome.status}, to {_other_host(outcome, url)}); is a login page on the way?"
    elif content is None:
        kind = _shown(outcome.headers.get("Content-Type", "something"), redacted)
        strange = f"what answers is not the platform: {kind} where a JSON object is expected"
    elif content.get("error"):
        strange = f"the platform answered {outcome.status}, but with an error: {message or 'no message'}"
    else:
        return content
    return PlatformTrouble(f"{what}: {strange}", Trouble.STRANGE, status=outcome.status)


def _by_status(what: str, status: int, message: str, wait_s: float | None, missing: frozenset[int]) -> PlatformTrouble:
    if status in missing:
        trouble, reason, advice = _BY_STATUS[404]
    elif status == 503 and wait_s is not None:
        trouble, reason, advice = Trouble.BUSY, "the platform is busy", ""
    elif status >= 500:
        trouble, reason, advice = Trouble.FAILING, "the platform fails", ""
    else:
        trouble, reason, advice = _BY_STATUS.get(status, (Trouble.REFUSED, "the platform refuses it", ""))
    sentence = f"{what}: {reason} ({status})" + (f": {message}" if message else "") + (f"; {advice}" if advice else "")
    arrived = status >= 500 or status == 408
    return PlatformTrouble(sentence, trouble, status=status, retry_after_s=wait_s, arrived=arrived)


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


def _other_host(answer: Answered, url: str) -> str:
    try:
        host = urlsplit(urljoin(url, answer.headers.get("Location", ""))).hostname or ""
    except ValueError:
        host = ""
    return host if re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host) else "an address that can't be read"
