"""The settings of a door."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from framesift.config.schema import Name, StrictModel, Tag

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")


def _listen(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f'listen is an address and a port, as "127.0.0.1:9470" or "[::1]:9470", not {address[:100]!r}')
    try:
        ipaddress.ip_address(found["six"] or found["name"])
    except ValueError:
        if found["name"] != "localhost":
            raise ValueError(f"listen needs an IP address or localhost, not {address[:100]!r}") from None
    return address


def _upstream(url: str) -> str:
    scheme, _, rest = url.rstrip("/").partition("://")
    found = _ADDRESS.fullmatch(rest if _ADDRESS.fullmatch(rest) else f"{rest}:80")
    if scheme != "http" or found is None or not 1 <= int(found["port"]) <= 65535:
        # A user and a password in it would be shown: the address is not repeated.
        raise ValueError('upstream is the address of an inference server and no more, as "http://127.0.0.1:9002"')
    return url


def _token(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]+", token.get_secret_value()) is None:
        raise ValueError("token has characters that an HTTP header can't carry; use printable ASCII without spaces")
    return token


class ListenerSettings(StrictModel):
    """Where others hand pictures in, with what their own model said of them."""

    listen: Annotated[
        str,
        Field(description="Address and port; port 0 takes any that is free. Any but the loopback needs a token."),
        AfterValidator(_listen),
    ] = "127.0.0.1:9470"
    upstream: Annotated[
        Annotated[str, AfterValidator(_upstream)] | None,
        Field(description="The inference server to which all is passed; null for a door that takes POST /datapoints."),
    ] = None
    token: Annotated[
        Annotated[SecretStr, Field(min_length=16, max_length=256), AfterValidator(_token)] | None,
        Field(description="What clients must send as Authorization: Bearer; with an upstream, as X-Framesift-Token."),
    ] = None
    stream: Annotated[
        Name, Field(description="The stream of what passes through, and of datapoints whose client names none.")
    ] = "door"
    tags: Annotated[tuple[Tag, ...], Field(max_length=64, description="Of everything that comes in here.")] = ()

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> ListenerSettings:
        if self.token is None and not self.is_loopback:
            raise ValueError(f"listen: {self.listen} can be reached from outside this machine: that needs a token")
        if self.upstream is not None and (self.upstream_host, self.upstream_port) == (self.host, self.port):
            raise ValueError(f"upstream: {self.listen} is the door itself")
        return self

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def host(self) -> str:
        """Of `listen`, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Of `listen`; 0 takes any that is free."""
        return int(self.listen.rpartition(":")[2])

    @property
    def upstream_host(self) -> str:
        """Of `upstream`, without brackets. Only where there is one."""
        return self._upstream_parts()[0]

    @property
    def upstream_port(self) -> int:
        """Of `upstream`, 80 where it names none. Only where there is one."""
        return self._upstream_parts()[1]

    def _upstream_parts(self) -> tuple[str, int]:
        address = str(self.upstream).rstrip("/").partition("://")[2]
        host, colon, port = address.rpartition(":")
        if not colon or address.endswith("]"):
            return address.strip("[]"), 80
        return host.strip("[]"), int(port)
