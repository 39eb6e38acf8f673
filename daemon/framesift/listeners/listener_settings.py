"""The settings of a door."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from framesift.config.network import Token, listen_address, require_token, split_address
from framesift.config.schema import Name, StrictModel, Tag


def _upstream(url: str) -> str:
    try:
        port = _upstream_parts(url)[1]
    except ValueError:
        port = 0
    if not url.startswith("http://") or port == 0:
        # A user and a password in it would be shown: the address is not repeated.
        raise ValueError('upstream is the address of an inference server and no more, as "http://127.0.0.1:9002"')
    return url


def _upstream_parts(url: str) -> tuple[str, int]:
    """The host and the port, 80 where the address names none. Raises ValueError."""
    address = url.rstrip("/").partition("://")[2]
    try:
        return split_address(address)
    except ValueError:
        return split_address(f"{address}:80")


class ListenerSettings(StrictModel):
    """Where others hand pictures in, with what their own model said of them."""

    listen: Annotated[
        str,
        Field(description="Address and port; port 0 takes any that is free. Any but the loopback needs a token."),
        listen_address("listen"),
    ] = "127.0.0.1:9470"
    upstream: Annotated[
        Annotated[str, AfterValidator(_upstream)] | None,
        Field(description="The inference server to which all is passed; null for a door that takes POST /datapoints."),
    ] = None
    token: Annotated[
        Token | None,
        Field(description="What clients must send as Authorization: Bearer; with an upstream, as X-Framesift-Token."),
    ] = None
    stream: Annotated[
        Name, Field(description="The stream of what passes through, and of datapoints whose client names none.")
    ] = "listener"
    tags: Annotated[tuple[Tag, ...], Field(max_length=64, description="Of everything that comes in here.")] = ()

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> ListenerSettings:
        require_token("listen", self.listen, self.token)
        if self.upstream is not None and (self.upstream_host, self.upstream_port) == (self.host, self.port):
            raise ValueError(f"upstream: {self.listen} is the listener itself")
        return self

    @property
    def host(self) -> str:
        """Of `listen`, without brackets."""
        return split_address(self.listen)[0]

    @property
    def port(self) -> int:
        """Of `listen`; 0 takes any that is free."""
        return split_address(self.listen)[1]

    @property
    def upstream_host(self) -> str:
        """Of `upstream`, without brackets. Only where there is one."""
        return _upstream_parts(str(self.upstream))[0]

    @property
    def upstream_port(self) -> int:
        """Of `upstream`, 80 where it names none. Only where there is one."""
        return _upstream_parts(str(self.upstream))[1]
