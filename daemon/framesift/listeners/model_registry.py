"""Registry: what clients ask of a server before they infer, which models it has, with version 0 of projects among them.

GET  /model/registry              the server's answer, as it came; with those of version 0, once there are any
POST /model/add, /model/remove    of a version 0 are answered here; of a model they pass
POST /model/clear                 passes, and forgets those of version 0
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

from framesift.listeners.forward import UpstreamUnreachable, connect_upstream
from framesift.listeners.http1 import BadHttp, Head, TruncatedMessage, framing_of_response, read_body, read_head
from framesift.listeners.inference_requests import NothingToSample, is_stub_id, parse_json_object
from framesift.listeners.listener_settings import ListenerSettings
from framesift.prediction.prediction import Task

MAX_STUBS = 64
MAX_REQUEST_BYTES = 64 << 10  # what names a model is short
_MOST_LISTED_BYTES = 1 << 20
_LISTED_WITHIN_S = 5.0


class RegistryCall(Enum):
    """What is asked of the registry."""

    LIST = ("GET", "/model/registry")
    ADD = ("POST", "/model/add")
    REMOVE = ("POST", "/model/remove")
    CLEAR = ("POST", "/model/clear")


def parse_registry_call(head: Head) -> RegistryCall | None:
    asked = head.start_line[0], head.start_line[1].partition("?")[0]
    return next((about for about in RegistryCall if about.value == asked), None)


def parse_stub_id(body: bytes) -> str | None:
    """The model that the body of ADD or REMOVE names, where it is a version 0."""
    try:
        model_id = parse_json_object(body).get("model_id")
    except NothingToSample:
        return None
    return str(model_id) if is_stub_id(model_id) else None


class StubRegistry:
    """Those of version 0 that clients have added: the last MOST_ADDED."""

    def __init__(self, options: ListenerSettings) -> None:
        self._options = options
        self._added: dict[str, Task] = {}

    @property
    def is_empty(self) -> bool:
        return not self._added

    def add(self, model_id: str, task: Task) -> None:
        self._added.pop(model_id, None)
        if len(self._added) >= MAX_STUBS:
            del self._added[next(iter(self._added))]
        self._added[model_id] = task

    def remove(self, model_id: str) -> None:
        self._added.pop(model_id, None)

    def clear(self) -> bool:
        """Whether there were any."""
        there = bool(self._added)
        self._added.clear()
        return there

    def own_models(self) -> dict[str, Any]:
        """What is said where there is no server to ask."""
        return {"models": [{"model_id": model_id, "task_type": str(task)} for model_id, task in self._added.items()]}

    async def all_models(self, head: Head) -> dict[str, Any]:
        """Those of the server, if it says so in time, and those that were added. head: of the client's request."""
        ours = self.own_models()["models"]
        try:
            said = await asyncio.wait_for(self._of_server(head), _LISTED_WITHIN_S)
        except (UpstreamUnreachable, BadHttp, TruncatedMessage, NothingToSample, OSError, asyncio.TimeoutError):
            said = {}
        theirs = said.get("models")
        return {**said, "models": [*(theirs if isinstance(theirs, list) else []), *ours]}

    async def _of_server(self, head: Head) -> dict[str, Any]:
        about = RegistryCall.LIST
        query = head.start_line[1].partition("?")[2] if parse_registry_call(head) is about else ""
        lines = [
            f"GET {about.value[1]}{'?' if query else ''}{query} HTTP/1.1",
            *(f"{name}: {value}" for name, value in head.fields if name in ("host", "authorization")),
            "accept: application/json",
            "connection: close",
        ]
        upstream = await connect_upstream(self._options.upstream_host, self._options.upstream_port)
        try:
            upstream.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            answered = await read_head(upstream.reader, is_response=True)
            if answered is None or answered.status != 200:
                return {}
            body = bytearray()
            async for piece in read_body(upstream.reader, framing_of_response(answered, "GET")):
                body += piece.content
                if len(body) > _MOST_LISTED_BYTES:
                    return {}
            return parse_json_object(bytes(body))
        finally:
            upstream.close()
