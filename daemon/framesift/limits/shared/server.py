"""The address of a Redis server. In a file of its own, because the Redis library is loaded only where it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """The address of a Redis server and the account to use.

    tls: certificates are always verified, against the authorities in `ca_file` if it is given. The repr contains no
    password.
    """

    host: str
    port: int = 6379
    tls: bool = False
    username: str | None = None
    password: str | None = None
    db: int = 0
    ca_file: Path | None = None

    def __repr__(self) -> str:
        return f"Server({'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.db})"
