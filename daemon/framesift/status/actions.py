"""Actions: what an operator makes the running daemon do, by POST to the status server.

    POST /take               {"stream": "gate"}   take the next frame, whatever it shows
    POST /pause              {"stream": "gate", "for_s": 3600}    take no frames of a stream; null: of all, without end
    POST /resume             {"stream": "gate"}   take frames again; null: of all streams
    POST /datapoints/drop    {"ids": ["..."]}     remove datapoints before they are delivered
    POST /datapoints/retry   {"ids": ["..."]}     deliver datapoints that are buried, or wait for a retry, now

A body may also say who asks: `"by": "alice"`, for the log. The answer is a JSON object, or one line of text that says
why the request was refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import Field

from framesift.config.errors import ConfigError, validate
from framesift.config.schema import StrictModel, Text

MAX_BODY_BYTES = 64 << 10
MAX_PAUSE_S = 366 * 86_400.0
_MAX_IDS = 1000

DatapointId = Annotated[str, Field(min_length=1, max_length=64)]


class ActionRefused(Exception):
    """The action can't be done. str(error) is one line for the operator; status: of HTTP, 4xx or 503."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks. name: as they say, None if they don't. address: of their machine, "" if it is not known."""

    name: str | None
    address: str

    def __str__(self) -> str:
        return " at ".join(part for part in (self.name, self.address) if part)


class Hands(Protocol):
    """Does what an operator asks for. Thread-safe; every method may wait for seconds.

    All return the fields of the answer, and raise ActionRefused.
    """

    def take(self, stream: str, who: Operator) -> Mapping[str, object]:
        """Take the next frame of a stream."""
        ...

    def pause(self, stream: str | None, for_s: float | None, who: Operator) -> Mapping[str, object]:
        """Take no frames of a stream, or of any (None), for so many seconds, or until it is resumed (None)."""
        ...

    def resume(self, stream: str | None, who: Operator) -> Mapping[str, object]:
        """Take frames of a stream again, or of all (None)."""
        ...

    def drop(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        """Remove datapoints from the spool."""
        ...

    def retry(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        """Try datapoints again now."""
        ...


class _Request(StrictModel):
    by: Annotated[Text, Field(description="Who asks, for the log.")] | None = None


class _TakeRequest(_Request):
    stream: Annotated[str, Field(max_length=256, description="A stream's name.")]


class _ResumeRequest(_Request):
    stream: Annotated[str | None, Field(max_length=256, description="A stream's name; null: all streams.")]


class _PauseRequest(_ResumeRequest):
    for_s: Annotated[float, Field(gt=0, le=MAX_PAUSE_S, description="Null: until it is resumed.")] | None = None


class _DatapointsRequest(_Request):
    ids: Annotated[tuple[DatapointId, ...], Field(min_length=1, max_length=_MAX_IDS, description="Of datapoints.")]


@dataclass(frozen=True, slots=True)
class _Action:
    """The model of the body, and what is done with it."""

    request: type[_Request]
    run: Callable[[Hands, Any, Operator], Mapping[str, object]]


_ACTIONS = {
    "/take": _Action(_TakeRequest, lambda hands, asked, who: hands.take(asked.stream, who)),
    "/pause": _Action(_PauseRequest, lambda hands, asked, who: hands.pause(asked.stream, asked.for_s, who)),
    "/resume": _Action(_ResumeRequest, lambda hands, asked, who: hands.resume(asked.stream, who)),
    "/datapoints/drop": _Action(_DatapointsRequest, lambda hands, asked, who: hands.drop(asked.ids, who)),
    "/datapoints/retry": _Action(_DatapointsRequest, lambda hands, asked, who: hands.retry(asked.ids, who)),
}
ACTION_PATHS = frozenset(_ACTIONS)


def run_action(hands: Hands, path: str, body: bytes, address: str) -> Mapping[str, object]:
    """Do what a POST asks for, and return the fields of the answer. path: one of ACTION_PATHS. Raises ActionRefused.

    address: of the client.
    """
    action = _ACTIONS[path]
    try:
        asked = validate(action.request, json.loads(body), "the body")
    except ConfigError as error:
        raise ActionRefused("; ".join(error.problems), 400) from None
    except (ValueError, RecursionError):
        raise ActionRefused("the body is not a JSON object in UTF-8", 400) from None
    return action.run(hands, asked, Operator(asked.by, address))
