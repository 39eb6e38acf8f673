"""Server: where a ledger is kept. Apart from what speaks to it, which loads a library that few need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and who we are there. tls: certificates are always verified, against those of `ca_file` where it
    is named. The repr shows no password.
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
