"""Online: the connections that the settings ask for. Opening one talks to nobody yet."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.http_client.client import HttpClient
from framesift.roboflow import RoboflowClient
from framesift.settings import AccountSettings, NetworkSettings


@dataclass(frozen=True, slots=True)
class Connections:
    """web: for any address. platform: None where there is no key for it."""

    http: HttpClient
    platform: RoboflowClient | None

    def close(self) -> None:
        self.http.close()


def open_connections(account: AccountSettings, network: NetworkSettings) -> Connections:
    web = HttpClient(ca_file=network.ca_file, proxy=network.proxy_address)
    if account.api_key is None:
        return Connections(web, None)
    key = account.api_key.get_secret_value()
    return Connections(web, RoboflowClient(web, api_key=key, api_url=account.api_url, gateway=account.gateway))
