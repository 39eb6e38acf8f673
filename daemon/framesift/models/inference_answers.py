"""What an answer of the inference server means: a prediction to be read, a picture that it won't take, or a server that
can't be asked now.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framesift.http_client import HttpResponse, NoResponse, describe_status, quote_server_text

# An answer that is too large for this picture would be so again, and a file must not wait for another; the web tells it
# in words alone.
_TOO_LARGE = "the answer is too large"


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """JSON, whatever it says."""

    content: Any


@dataclass(frozen=True, slots=True)
class PictureRefused:
    """The server is there, and has no prediction for this picture. why: for the operator, without any secret."""

    why: str


@dataclass(frozen=True, slots=True)
class ServerUnavailable:
    """The server has no prediction for any picture. come_again_s: when it wants to be asked again, where it said so."""

    why: str
    retry_after_s: float | None = None


# status -> what it means of an inference server, where that is more than describe_status says
_MEANINGS = {403: "does not let the key use the model", 404: "does not have the model", 501: "can't run the model"}
# status -> what the operator can do; these statuses mean that the server has no prediction for any picture
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
    """host: who was asked. with_key: whether a key was sent. redacted: strikes it from what is told."""
    if isinstance(outcome, NoResponse):
        if outcome.status is not None and outcome.status < 300 and _TOO_LARGE in outcome.why:
            return PictureRefused(f"answers too much: {outcome.why.removeprefix(f'{host}: ')}")
        if outcome.status is None or outcome.status < 400:
            return ServerUnavailable(f"can't be asked: {outcome.why.removeprefix(f'{host}: ')}")
        return _failed(outcome.status, "", None, with_key)
    said = _said(outcome.body)
    if outcome.status >= 400:
        come_again_s = outcome.retry_after_s()
        return _failed(outcome.status, quote_server_text(_message(said), redact), come_again_s, with_key)
    if not 200 <= outcome.status < 300:
        return ServerUnavailable(
            f"sends elsewhere ({outcome.status}); check model.url, and whether a login page is on the way"
        )
    if said is None:
        kind = quote_server_text(outcome.headers.get("Content-Type", "something"), redact)
        return ServerUnavailable(
            f"is none: {kind} where JSON is expected; check model.url, and what is on the way to it"
        )
    return said


def _failed(
    status: int, message: str, come_again_s: float | None, with_key: bool
) -> PictureRefused | ServerUnavailable:
    told = f": {message}" if message else ""
    if status == 400 and not with_key and "api key" in message.lower():
        return ServerUnavailable(f"asks for a key ({status}){told}; set model.api_key")
    if status in _ADVICE or status >= 500:
        means, advice = _MEANINGS.get(status, describe_status(status)), _ADVICE.get(status, "see its log")
        return ServerUnavailable(f"{means} ({status}){told}" + (f"; {advice}" if advice else ""), come_again_s)
    return PictureRefused(f"refuses the request ({status}){told}")


def _said(body: bytes) -> JsonAnswer | None:
    try:
        return JsonAnswer(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _message(said: JsonAnswer | None) -> str:
    """{"message": "..."}, or the first of {"detail": [{"loc": [...], "msg": "..."}]}."""
    content = None if said is None else said.content
    told = content.get("message", content.get("detail")) if isinstance(content, dict) else None
    if isinstance(told, list) and told and isinstance(told[0], dict):
        place = told[0].get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        told = f"{where}: {told[0].get('msg')}"
    return told if isinstance(told, str) else ""
