"""The records of the stand-in for the platform: requests, images, annotations, projects, and one answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

# Every endpoint by the name that faults use. "unknown" is a path that the documentation doesn't have.
Call = Literal[
    "workspace",
    "project",
    "model",
    "active_learning",
    "set_active_learning",
    "upload",
    "annotate",
    "batches",
    "jobs",
    "unknown",
]
# The same for the stand-in for the inference server, which uses faults as well.
InferenceCall = Literal["infer", "other"]


@dataclass(frozen=True)
class PlatformRequest:
    """A request as it came. query: all pairs in their order, the key among them. headers: lower-case names."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: bytes
    by_gateway: bool = False

    def values(self, name: str) -> tuple[str, ...]:
        return tuple(value for key, value in self.query if key == name)

    def value(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)


@dataclass(frozen=True)
class Received:
    """A request as it is remembered: without the key. at_s: Unix time. status: None until it was answered, and for ever
    where the connection was cut before a status line. ordered: the order that was carried out on it, if any."""

    at_s: float
    call: Call
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    size_bytes: int
    key_known: bool
    by_gateway: bool
    status: int | None = None
    ordered: str | None = None


@dataclass(frozen=True)
class StoredImage:
    """id: the stand-in's own. name: as the client called it. uploads: how often a client sent these bytes; 0 for an
    image that somebody else put there."""

    id: str
    project: str
    name: str
    batch: str
    tags: tuple[str, ...]
    inference_id: str | None
    jpeg: bytes = field(repr=False)
    uploads: int = 1


@dataclass(frozen=True)
class StoredAnnotation:
    """An annotation as the platform keeps it."""

    image_id: str
    project: str
    name: str
    content_type: str
    text: str
    prediction: bool

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class StoredBatch:
    """images: those that are in no job yet. jobs: how many images each of its jobs has."""

    id: str
    name: str
    images: int = 0
    jobs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Project:
    """active_learning: the configuration object, None where nobody has set one. models: version -> model type."""

    workspace: str
    name: str
    type: str | None
    active_learning: Any = None
    models: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """An answer, and how it is sent. sent: the share of its bytes after which the connection is cut (1: all of them,
    and it isn't). reset: cut by a reset instead of an orderly end. bytes_per_s: None for at once."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    sent: float = 1.0
    reset: bool = False
    bytes_per_s: float | None = None

    def cut(self, sent: float, reset: bool) -> Reply:
        return replace(self, sent=sent, reset=reset)


def reply(status: int, content: Any) -> Reply:
    return Reply(status, json.dumps(content).encode())


def refusal(status: int, message: str) -> Reply:
    return reply(status, {"error": {"message": message, "status": status}})
