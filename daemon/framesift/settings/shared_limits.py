"""The block `limits`: whether the devices of a fleet share their limits, and on which Redis server."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from framesift.config.network import split_server_url
from framesift.config.paths import LocalPath
from framesift.config.schema import Fraction, Name, StrictModel
from framesift.limits.shared.server import RedisAddress

_PORT = 6379


def _url(url: str) -> str:
    """Raises ValueError; its message never shows the address, which may hold credentials."""
    try:
        parts = split_server_url(url)
    except ValueError:
        parts = urlsplit("")
    if "sentinel" in url.partition(":")[0].lower():
        raise ValueError("url names Redis Sentinel, which is not asked: give the primary itself, redis://host:6379/0")
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("url is redis://host, redis://host:6379/0, or rediss://host for TLS")
    if parts.username or parts.password:
        raise ValueError("url has credentials in it: username and password are settings of their own")
    if parts.query or parts.fragment or not re.fullmatch(r"(/([0-9]{1,5})?)?", parts.path):
        raise ValueError("url ends with the host, its port, or the number of a database (/0)")
    return url


class RedisSettings(StrictModel):
    """The block `limits.redis`: a server with the Redis protocol, which keeps the fleet's ledger."""

    url: Annotated[
        str,
        AfterValidator(_url),
        Field(
            description="redis://host:6379/0, or rediss://host:6379/0 for TLS.", examples=["redis://10.0.0.7:6379/0"]
        ),
    ]
    username: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="The user of the server's ACL; null: the default user.", examples=["gate"]
    )
    password: Annotated[SecretStr, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="The password. Use rediss:// unless the server is on this machine or in a trusted network.",
        examples=["${REDIS_PASSWORD}"],
    )
    ca_file: LocalPath | None = Field(
        None,
        description="A file of certificates (PEM) that are trusted instead of the public authorities'.",
        examples=["redis.pem"],
    )
    prefix: Name = Field(
        "framesift", description="The prefix of all keys; give each fleet that shares nothing with others its own."
    )

    @property
    def server(self) -> RedisAddress:
        """The server's address, credentials and TLS settings, for the client."""
        parts = urlsplit(self.url)
        return RedisAddress(
            str(parts.hostname),
            parts.port or _PORT,
            tls=parts.scheme == "rediss",
            username=self.username,
            password=None if self.password is None else self.password.get_secret_value(),
            db=int(parts.path.strip("/") or 0),
            ca_file=self.ca_file,
        )


class LimitsSettings(StrictModel):
    """The block `limits`: who counts the policy's limits, this device alone or all devices of a fleet together."""

    redis: RedisSettings | None = Field(
        None,
        description="The server that keeps the shared ledger; null: this device counts alone.",
        examples=[{"url": "redis://10.0.0.7:6379/0"}],
    )
    local_ceiling: Annotated[
        Fraction,
        Field(
            description="The share of each limit that this device may accept without quota while Redis is unavailable."
        ),
    ] = 1.0
    pending_quota_h: Annotated[
        float,
        Field(ge=0, le=48, description="How many hours after its capture a datapoint may still be granted quota."),
    ] = 48.0
