"""The settings of a listener: an element of `listeners` in framesift.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from framesift.config.network import Token, listen_address, require_token, split_address
from framesift.config.schema import Name, StrictModel, Tag


def _check_upstream(url: str) -> str:
    try:
        port = _split_upstream(url)[1]
    except ValueError:
        port = 0
    if not url.startswith("http://") or port == 0:
        # The URL may contain a user and a password, so the message does not repeat it.
        raise ValueError('upstream is the address of an inference server and no more, as "http://127.0.0.1:9002"')
    return url


def _split_upstream(url: str) -> tuple[str, int]:
    """Return the host and the port, 80 if the URL names none. Raises ValueError."""
    address = url.rstrip("/").partition("://")[2]
    try:
        return split_address(address)
    except ValueError:
        return split_address(f"{address}:80")


class ListenerSettings(StrictModel):
    """A server to which other programs send images and predictions, or a proxy in front of an inference server."""

    type: Annotated[
        Literal["ingest", "proxy"] | None,
        Field(
            description="ingest: takes POST /datapoints. proxy: stands in front of the inference server `upstream`. "
            "Without it: proxy if upstream is set, else ingest."
        ),
    ] = None
    listen: Annotated[
        str,
        Field(description="Address and port; port 0 takes any that is free. Any but the loopback needs a token."),
        listen_address("listen"),
    ] = "127.0.0.1:9470"
    upstream: Annotated[
        Annotated[str, AfterValidator(_check_upstream)] | None,
        Field(
            description="The inference server to which a proxy forwards everything; null for ingest.",
            examples=["http://127.0.0.1:9002"],
        ),
    ] = None
    token: Annotated[
        Token | None,
        Field(
            description="What clients must send as Authorization: Bearer, and to a proxy as X-Framesift-Token.",
            examples=["${CLIENT_TOKEN}"],
        ),
    ] = None
    stream: Annotated[
        Name, Field(description="The stream of everything that passes a proxy, and of datapoints that name none.")
    ] = "listener"
    tags: Annotated[
        tuple[Tag, ...], Field(max_length=64, description="Tags of everything that comes in here.", examples=[["hall"]])
    ] = ()

    @model_validator(mode="after")
    def _check_combination(self) -> ListenerSettings:
        require_token("listen", self.listen, self.token, "token of this listener")
        if self.type == "proxy" and self.upstream is None:
            raise ValueError("upstream: missing: a proxy needs the address of its inference server")
        if self.type == "ingest" and self.upstream is not None:
            raise ValueError("upstream: a listener of type ingest has none; the type with an upstream is proxy")
        if self.upstream is not None and (self.upstream_host, self.upstream_port) == (self.host, self.port):
            raise ValueError(f"upstream: {self.listen} is the address of the listener itself")
        return self

    @property
    def host(self) -> str:
        """The host of `listen`, without brackets."""
        return split_address(self.listen)[0]

    @property
    def port(self) -> int:
        """The port of `listen`; 0 takes any that is free."""
        return split_address(self.listen)[1]

    @property
    def upstream_host(self) -> str:
        """The host of `upstream`, without brackets. Only if `upstream` is set."""
        return _split_upstream(str(self.upstream))[0]

    @property
    def upstream_port(self) -> int:
        """The port of `upstream`, 80 if it names none. Only if `upstream` is set."""
        return _split_upstream(str(self.upstream))[1]
