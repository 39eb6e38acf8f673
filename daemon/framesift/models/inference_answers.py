"""What an answer of the inference server means: a prediction, a refused picture, or an unavailable server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framesift.http_client import HttpResponse, NoResponse, describe_status, quote_server_text

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


# HTTP status -> what an inference server does, where that is more precise than `describe_status`
_MEANINGS = {403: "does not let the key use the model", 404: "does not have the model", 501: "can't run the model"}
# HTTP status -> what the operator can do. With these statuses the server has no prediction for any picture.
_ADVICE = {
    401: "check model.api_key",
    402: "see the workspace's plan",
    403: "check the rights of model.api_key, and model.model_id",
    404: "check model.model_id, model.url, and whose model.api_key is",
    405: "check model.url and model.route",
    407: "check network.proxy",
    408: "",
    423: "see its plan and usage",
    429: "",
    503: "",
    504: "",
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
        retry_after_s = outcome.retry_after_s()
        return _failure(outcome.status, quote_server_text(_message(answer), redact), retry_after_s, with_key)
    if not 200 <= outcome.status < 300:
        return ServerUnavailable(
            f"redirects ({outcome.status}); check model.url, and whether a login page is in between"
        )
    if answer is None:
        content_type = quote_server_text(outcome.headers.get("Content-Type", "something"), redact)
        return ServerUnavailable(f"sent {content_type} instead of JSON; check model.url, and any proxy in between")
    return answer


def _failure(
    status: int, message: str, retry_after_s: float | None, with_key: bool
) -> PictureRefused | ServerUnavailable:
    message_text = f": {message}" if message else ""
    if status == 400 and not with_key and "api key" in message.lower():
        return ServerUnavailable(f"asks for a key ({status}){message_text}; set model.api_key")
    if status in _ADVICE or status >= 500:
        meaning, advice = _MEANINGS.get(status, describe_status(status)), _ADVICE.get(status, "see its log")
        return ServerUnavailable(
            f"{meaning} ({status}){message_text}" + (f"; {advice}" if advice else ""), retry_after_s
        )
    return PictureRefused(f"refuses the request ({status}){message_text}")


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
