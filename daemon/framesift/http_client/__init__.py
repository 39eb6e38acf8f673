"""HTTP client for all requests to other servers. Each request has one deadline over all of its steps."""

from __future__ import annotations

from framesift.http_client.client import MAX_BYTES, HttpClient, HttpRequest, HttpResponse, NoResponse
from framesift.http_client.connections import Exchanges
from framesift.http_client.messages import describe_status, quote_server_text

__all__ = [
    "MAX_BYTES",
    "Exchanges",
    "HttpClient",
    "HttpRequest",
    "HttpResponse",
    "NoResponse",
    "describe_status",
    "quote_server_text",
]
