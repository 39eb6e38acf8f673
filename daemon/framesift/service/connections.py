"""Online: the connections that the settings ask for. Opening one talks to nobody yet."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.http_client.client import Web
from framesift.roboflow import Roboflow
from framesift.settings import AccountOptions, NetworkOptions


@dataclass(frozen=True, slots=True)
class Online:
    """web: for any address. platform: None where there is no key for it."""

    web: Web
    platform: Roboflow | None

    def close(self) -> None:
        self.web.close()


def connect(account: AccountOptions, network: NetworkOptions) -> Online:
    web = Web(ca_file=network.ca_file, proxy=network.proxy_address)
    if account.api_key is None:
        return Online(web, None)
    key = account.api_key.get_secret_value()
    return Online(web, Roboflow(web, api_key=key, api_url=account.api_url, gateway=account.gateway))
