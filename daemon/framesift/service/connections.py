"""Connections: the HTTP client and the platform client that the settings ask for. Opening them sends nothing yet."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.http_client import Exchanges, HttpClient
from framesift.roboflow import RoboflowClient
from framesift.settings import AccountSettings, NetworkSettings


@dataclass(frozen=True, slots=True)
class Connections:
    """http: for any address. platform: None without an API key."""

    http: HttpClient
    platform: RoboflowClient | None

    def close(self) -> None:
        """Close all idle connections."""
        self.http.close()


def open_connections(
    account: AccountSettings, network: NetworkSettings, exchanges: Exchanges | None = None
) -> Connections:
    """Return the clients for these settings. Nothing is sent before they are used. exchanges: cuts what they do."""
    http = HttpClient(ca_file=network.ca_file, proxy=network.proxy_address, exchanges=exchanges)
    if account.api_key is None:
        return Connections(http, None)
    key = account.api_key.get_secret_value()
    return Connections(http, RoboflowClient(http, api_key=key, api_url=account.api_url, gateway=account.gateway))
