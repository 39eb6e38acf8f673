"""Settings of what lies outside this machine: the platform's account, and the way to the network."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from framesift.config.schema import StrictModel

DEFAULT_API_URL = "https://api.roboflow.com"


def _split(url: str, what: str) -> SplitResult:
    """Raises ValueError that shows nothing of the address: it may hold credentials."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"{what} is no address of a server, such as https://host or http://127.0.0.1:9200")
    return parts


def is_loopback(host: str) -> bool:
    """Whether a host of an address is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _api_url(url: str) -> str:
    parts = _split(url, "api_url")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(str(parts.hostname))):
        raise ValueError(
            "api_url needs https:// (http:// only for this machine itself): the key goes with every request"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("api_url is a scheme, a host, and perhaps a port and a path: no credentials, no query")
    return url.rstrip("/")


def _gateway(url: str) -> str:
    url = url if "://" in url else f"http://{url}"
    parts = _split(url, "gateway")
    if parts.scheme not in ("http", "https") or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "gateway is http:// or https://, a host, and perhaps a port and a path: no credentials, no query"
        )
    return url.rstrip("/")


def _proxy(proxy: SecretStr) -> SecretStr:
    if _split(proxy.get_secret_value(), "proxy").scheme not in ("http", "https"):
        raise ValueError("proxy is an address that begins with http:// or https://")
    return proxy


def _api_key(key: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]{1,256}", key.get_secret_value()) is None:
        raise ValueError("api_key is 1 to 256 printable ASCII characters without spaces; is a variable empty?")
    return key


class AccountSettings(StrictModel):
    """The platform, and who we are there."""

    api_key: Annotated[SecretStr, AfterValidator(_api_key)] | None = Field(
        None, description="The workspace's private key; else ROBOFLOW_API_KEY."
    )
    api_url: Annotated[str, AfterValidator(_api_url), Field(description="Where the platform is.")] = DEFAULT_API_URL
    gateway: Annotated[str, AfterValidator(_gateway)] | None = Field(
        None, description="A secure gateway, through whose /proxy every request goes."
    )


class NetworkSettings(StrictModel):
    """The way out of this machine. The environment's proxy variables are not read."""

    ca_file: Path | None = Field(
        None, description="Certificates (PEM) that are trusted instead of the well-known authorities'."
    )
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = Field(
        None, description="An HTTP proxy for all that leaves, credentials included."
    )

    @property
    def proxy_address(self) -> str | None:
        """With its credentials."""
        return None if self.proxy is None else self.proxy.get_secret_value()

    def secrets(self) -> tuple[str, ...]:
        """What no line may show: the proxy's password, which messages may quote without the rest of its address."""
        password = None if self.proxy_address is None else urlsplit(self.proxy_address).password
        return () if password is None else (password,)
