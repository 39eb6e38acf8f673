"""The blocks `roboflow` (the account on the platform) and `network` (certificates and the HTTP proxy)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from framesift.config.network import ApiKey, is_loopback, split_server_url
from framesift.config.paths import LocalPath
from framesift.config.schema import StrictModel

DEFAULT_API_URL = "https://api.roboflow.com"


def _split(url: str, key: str) -> SplitResult:
    """Raises ValueError; its message never shows the address, which may hold credentials."""
    try:
        return split_server_url(url)
    except ValueError as error:
        raise ValueError(f"{key} {error}, such as https://host or http://127.0.0.1:9200") from None


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


class AccountSettings(StrictModel):
    """The block `roboflow`: the account on the platform."""

    api_key: ApiKey | None = Field(
        None, description="The workspace's private key; default: ROBOFLOW_API_KEY.", examples=["${ROBOFLOW_API_KEY}"]
    )
    api_url: Annotated[str, AfterValidator(_api_url), Field(description="The address of the platform's API.")] = (
        DEFAULT_API_URL
    )
    gateway: Annotated[str, AfterValidator(_gateway)] | None = Field(
        None, description="A secure gateway: every request goes through its /proxy.", examples=["http://10.0.0.9"]
    )


class NetworkSettings(StrictModel):
    """The block `network`: for all outgoing HTTP. The environment's proxy variables are not read."""

    ca_file: LocalPath | None = Field(
        None,
        description="A file of certificates (PEM) that are trusted instead of the public authorities'.",
        examples=["ca.pem"],
    )
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = Field(
        None,
        description="The address of an HTTP proxy for all outgoing requests; may include credentials.",
        examples=["http://10.0.0.8:3128"],
    )

    @property
    def proxy_address(self) -> str | None:
        """The proxy's address with its credentials, None without a proxy. Secret."""
        return None if self.proxy is None else self.proxy.get_secret_value()

    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be printed: the proxy's password, which messages may show without its address."""
        password = None if self.proxy_address is None else urlsplit(self.proxy_address).password
        return () if password is None else (password,)
