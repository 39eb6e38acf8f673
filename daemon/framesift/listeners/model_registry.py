"""The inference server's model registry, extended by version 0 of projects (stubs), which the proxy answers itself.

Clients ask the registry which models the server has before they call one:

GET  /model/registry              the server's response unchanged; with the stubs added if there are any
POST /model/add, /model/remove    answered by the proxy for a stub, forwarded for a model
POST /model/clear                 forwarded; the proxy forgets its stubs
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
MAX_REQUEST_BYTES = 64 << 10  # a request that names a model is short
_MAX_LIST_BYTES = 1 << 20
_LIST_WITHIN_S = 5.0


class RegistryCall(Enum):
    """A request to the registry: its method and path."""

    LIST = ("GET", "/model/registry")
    ADD = ("POST", "/model/add")
    REMOVE = ("POST", "/model/remove")
    CLEAR = ("POST", "/model/clear")


def parse_registry_call(head: Head) -> RegistryCall | None:
    """Return which registry call a request is, None for any other request."""
    method_and_path = head.start_line[0], head.start_line[1].partition("?")[0]
    return next((call for call in RegistryCall if call.value == method_and_path), None)


def parse_stub_id(body: bytes) -> str | None:
    """Return the model that the body of ADD or REMOVE names if it is a stub, else None."""
    try:
        model_id = parse_json_object(body).get("model_id")
    except NothingToSample:
        return None
    return str(model_id) if is_stub_id(model_id) else None


class StubRegistry:
    """The last MAX_STUBS stubs that clients have added. Belongs to one event loop."""

    def __init__(self, settings: ListenerSettings) -> None:
        self._settings = settings
        self._stubs: dict[str, Task] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there are no stubs."""
        return not self._stubs

    def add(self, model_id: str, task: Task) -> None:
        """Add a stub; if there are too many, forget the oldest."""
        self._stubs.pop(model_id, None)
        if len(self._stubs) >= MAX_STUBS:
            del self._stubs[next(iter(self._stubs))]
        self._stubs[model_id] = task

    def remove(self, model_id: str) -> None:
        """Forget a stub, if it is there."""
        self._stubs.pop(model_id, None)

    def clear(self) -> bool:
        """Forget all stubs. Return whether there were any."""
        had_stubs = bool(self._stubs)
        self._stubs.clear()
        return had_stubs

    def own_models(self) -> dict[str, Any]:
        """Return the response's content with the stubs alone, for the case that the server can't be asked."""
        return {"models": [{"model_id": model_id, "task_type": str(task)} for model_id, task in self._stubs.items()]}

    async def all_models(self, head: Head) -> dict[str, Any]:
        """Return the response's content with the server's models, if it responds in time, and the stubs.

        head: of the client's request; its Host and Authorization go to the server.
        """
        stubs = self.own_models()["models"]
        try:
            content = await asyncio.wait_for(self._ask_server(head), _LIST_WITHIN_S)
        except (UpstreamUnreachable, BadHttp, TruncatedMessage, NothingToSample, OSError, asyncio.TimeoutError):
            content = {}
        models = content.get("models")
        return {**content, "models": [*(models if isinstance(models, list) else []), *stubs]}

    async def _ask_server(self, head: Head) -> dict[str, Any]:
        list_call = RegistryCall.LIST
        query = head.start_line[1].partition("?")[2] if parse_registry_call(head) is list_call else ""
        lines = [
            f"GET {list_call.value[1]}{'?' if query else ''}{query} HTTP/1.1",
            *(f"{name}: {value}" for name, value in head.fields if name in ("host", "authorization")),
            "accept: application/json",
            "connection: close",
        ]
        upstream = await connect_upstream(self._settings.upstream_host, self._settings.upstream_port)
        try:
            upstream.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            response = await read_head(upstream.reader, is_response=True)
            if response is None or response.status != 200:
                return {}
            body = bytearray()
            async for piece in read_body(upstream.reader, framing_of_response(response, "GET")):
                body += piece.content
                if len(body) > _MAX_LIST_BYTES:
                    return {}
            return parse_json_object(bytes(body))
        finally:
            upstream.close()
