"""Types of settings for the network: what is accepted, and that no message shows a secret."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import SecretStr

from framesift.config.errors import ConfigError, validate
from framesift.config.network import (
    ApiKey,
    Token,
    is_loopback,
    listen_address,
    require_token,
    split_address,
    split_server_url,
)
from framesift.config.schema import StrictModel


class Block(StrictModel):
    """A block with each of the types."""

    bind: Annotated[str, listen_address("bind")] = "127.0.0.1:1"
    token: Token | None = None
    api_key: ApiKey | None = None


def problem_of(**data: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        validate(Block, data, "block.yaml")
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:9464", "localhost:65535", "0.0.0.0:80"])
def test_an_address_is_an_ip_address_or_localhost_with_a_port(address: str) -> None:
    assert validate(Block, {"bind": address}, "block.yaml").bind == address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", "bind is an address and a port"),
        ("127.0.0.1:65536", "bind is an address and a port"),
        ("::1:80", "bind is an address and a port"),
        ("camera.local:80", "bind needs an IP address or localhost"),
        ("[127.0.0.1:80", "bind is an address and a port"),
    ],
)
def test_another_address_is_refused_with_an_example(address: str, expected: str) -> None:
    assert expected in problem_of(bind=address)


def test_an_address_is_split_into_its_host_without_brackets_and_its_port() -> None:
    assert split_address("[::1]:9464") == ("::1", 9464)
    assert split_address("localhost:0") == ("localhost", 0)


@pytest.mark.parametrize("token", ["x" * 15, "x" * 257, "0123456789 abcdef", "0123456789abcdé"])
def test_a_token_that_no_header_can_carry_or_that_is_too_short_is_refused_and_not_shown(token: str) -> None:
    assert token not in problem_of(token=token)


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 257])
def test_a_key_is_printable_ascii_without_spaces_and_not_shown(key: str) -> None:
    problem = problem_of(api_key=key)
    assert "api_key is 1 to 256 printable ASCII characters" in problem
    assert not key or key not in problem.replace("api_key is 1 to 256 printable ASCII characters without spaces", "")


def test_an_address_that_other_machines_reach_needs_a_token() -> None:
    require_token("bind", "127.0.0.1:9464", None, "status.token")
    require_token("bind", "0.0.0.0:9464", SecretStr("0123456789abcdef"), "status.token")
    with pytest.raises(ValueError, match=r"^bind: 0\.0\.0\.0:9464 can be reached .* set status\.token "):
        require_token("bind", "0.0.0.0:9464", None, "status.token")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("host", False)],
)
def test_loopback_is_this_machine_itself(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("url", ["http://", "http://user:geheim@", "http://h:0", "http://h:x", "http://h /geheim", "h"])
def test_a_url_without_a_server_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^is not the address of a server$"):
        split_server_url(url)


def test_a_url_of_a_server_is_split() -> None:
    parts = split_server_url("https://user:geheim@[::1]:8443/path?query=1")
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("https", "::1", 8443, "/path")
