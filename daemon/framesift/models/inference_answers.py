"""What an answer of the inference server means: a prediction, a refused picture, or an unavailable server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framesift.http_client import HttpResponse, NoResponse

_MAX_MESSAGE_CHARACTERS = 200
# Asking again would not make the answer to this picture smaller, so a frame of a file must not wait for it. The HTTP
# client reports it by its text alone.
_TOO_LARGE = "the answer is too large"


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """An answer in JSON, not yet checked."""

    content: Any


@dataclass(frozen=True, slots=True)
class PictureRefused:
    """The server works, but has no prediction for this picture. why: for the operator, without secrets."""

    why: str


@dataclass(frozen=True, slots=True)
class ServerUnavailable:
    """The server has no prediction for any picture now.

    why: for the operator, without secrets. retry_after_s: when the server wants to be asked again; None if it did not
    say.
    """

    why: str
    retry_after_s: float | None = None


# HTTP status -> what it says about the server, and what to do
_UNAVAILABLE = {
    401: ("does not accept the key", "check model.api_key"),
    402: ("asks for payment", "see the workspace's plan"),
    403: ("does not let the key use the model", "check the rights of model.api_key, and model.model_id"),
    404: ("does not have the model", "check model.model_id, model.url, and whose model.api_key is"),
    405: ("has no such route", "check model.url and model.route"),
    407: ("can't be reached: the proxy asks for credentials", "check network.proxy"),
    408: ("waited too long for the picture", ""),
    423: ("says that the workspace is paused", "see its plan and usage"),
    429: ("asks for fewer requests", ""),
    501: ("can't run the model", "see its log"),
    502: ("got no valid answer from the platform", "see its log"),
    503: ("is busy, or not ready", ""),
    504: ("got no answer from the platform in time", ""),
    507: ("is out of memory", "see its log"),
}


def classify_answer(
    outcome: HttpResponse | NoResponse, *, host: str, with_key: bool, redact: Callable[[str], str]
) -> JsonAnswer | PictureRefused | ServerUnavailable:
    """Decides what the outcome of a request means.

    host: of the server. with_key: whether a key was sent. redact: removes it from the server's texts.
    """
    if isinstance(outcome, NoResponse):
        if outcome.status is not None and outcome.status < 300 and _TOO_LARGE in outcome.why:
            return PictureRefused(f"sent too much: {outcome.why.removeprefix(f'{host}: ')}")
        if outcome.status is None or outcome.status < 400:
            return ServerUnavailable(f"can't be asked: {outcome.why.removeprefix(f'{host}: ')}")
        return _failure(outcome.status, "", None, with_key)
    answer = _json_answer(outcome.body)
    if outcome.status >= 400:
        come_again_s = outcome.retry_after_s()
        return _failure(outcome.status, printable(_message(answer), redact), come_again_s, with_key)
    if not 200 <= outcome.status < 300:
        return ServerUnavailable(
            f"redirects ({outcome.status}); check model.url, and whether a login page is in between"
        )
    if answer is None:
        content_type = printable(outcome.headers.get("Content-Type", "something"), redact)
        return ServerUnavailable(f"sent {content_type} instead of JSON; check model.url, and any proxy in between")
    return answer


def _failure(
    status: int, message: str, come_again_s: float | None, with_key: bool
) -> PictureRefused | ServerUnavailable:
    message_text = f": {message}" if message else ""
    if status == 400 and not with_key and "api key" in message.lower():
        return ServerUnavailable(f"asks for a key ({status}){message_text}; set model.api_key")
    if status in _UNAVAILABLE or status >= 500:
        meaning, advice = _UNAVAILABLE.get(status, ("fails", "see its log"))
        return ServerUnavailable(
            f"{meaning} ({status}){message_text}" + (f"; {advice}" if advice else ""), come_again_s
        )
    return PictureRefused(f"refuses the request ({status}){message_text}")


def printable(text: str, redacted: Callable[[str], str]) -> str:
    """The server's text as it may be shown. It is redacted before it is cut, since half a secret would not be found."""
    printable = redacted("".join(c if c.isprintable() else " " for c in text)).strip()
    return printable if len(printable) <= _MAX_MESSAGE_CHARACTERS else f"{printable[:_MAX_MESSAGE_CHARACTERS]}..."


def _json_answer(body: bytes) -> JsonAnswer | None:
    try:
        return JsonAnswer(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _message(answer: JsonAnswer | None) -> str:
    """The text in {"message": "..."}, or in the first item of {"detail": [{"loc": [...], "msg": "..."}]}."""
    content = None if answer is None else answer.content
    message_text = content.get("message", content.get("detail")) if isinstance(content, dict) else None
    if isinstance(message_text, list) and message_text and isinstance(message_text[0], dict):
        location = message_text[0].get("loc")
        field = ".".join(map(str, location)) if isinstance(location, list) else ""
        message_text = f"{field}: {message_text[0].get('msg')}"
    return message_text if isinstance(message_text, str) else ""
