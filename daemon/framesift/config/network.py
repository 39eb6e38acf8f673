"""Types of settings that name a place in the network or prove who asks: listen addresses, tokens and API keys.

    bind: Annotated[str, listen_address("bind")] = "127.0.0.1:9464"
    token: Token | None = None
    api_key: ApiKey | None = None

All messages are safe to print: they never show a token or a key.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr

_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")


def is_loopback(host: str) -> bool:
    """Whether a host (a name or an IP address, without brackets) is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(address: str) -> tuple[str, int]:
    """The host (without brackets) and the port of an address. Raises ValueError where it is not host:port."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"{address[:100]!r} is not an address and a port")
    return found["ipv6"] or found["name"], int(found["port"])


def split_server_url(url: str) -> SplitResult:
    """The parts of a server's URL, which has a host and no port 0. Raises ValueError that shows nothing of the URL."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_valid = False
    if not is_valid or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("is not the address of a server")
    return parts


def listen_address(key: str) -> AfterValidator:
    """Checks that a text is an IP address or localhost, with a port; 0 takes any free port. key: for messages."""

    def check(address: str) -> str:
        try:
            host, _port = split_address(address)
        except ValueError:
            raise ValueError(
                f'{key} is an address and a port, as "127.0.0.1:9464" or "[::1]:9464", not {address[:100]!r}'
            ) from None
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if host != "localhost":
                raise ValueError(f"{key} needs an IP address or localhost, not {address[:100]!r}") from None
        return address

    return AfterValidator(check)


def require_token(key: str, address: str, token: SecretStr | None, token_key: str) -> None:
    """Raises ValueError where other machines can reach a listen address and no token is set.

    key, token_key: of the address and of the token, for messages.
    """
    if token is None and not is_loopback(split_address(address)[0]):
        raise ValueError(
            f"{key}: {address} can be reached from outside this machine: that needs a token; set {token_key} "
            "(16 to 256 characters), or listen at 127.0.0.1"
        )


def _check_token(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]+", token.get_secret_value()) is None:
        raise ValueError("token has characters that an HTTP header can't carry; use printable ASCII without spaces")
    return token


def _check_api_key(key: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]{1,256}", key.get_secret_value()) is None:
        raise ValueError("api_key is 1 to 256 printable ASCII characters without spaces; is a variable empty?")
    return key


# What a client sends in the header `Authorization: Bearer`.
Token = Annotated[SecretStr, Field(min_length=16, max_length=256), AfterValidator(_check_token)]
ApiKey = Annotated[SecretStr, AfterValidator(_check_api_key)]
