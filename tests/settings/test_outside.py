"""The settings of what lies outside this machine: the platform's account, a gateway, certificates and a proxy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framesift.config.errors import ConfigError
from framesift.settings import Settings, load, load_account, secrets

KEY = "canary-key-5f1d9c2e7b"


def settings(folder: Path, environ: dict[str, str] | None = None, **blocks: Any) -> Settings:
    whole = {
        "streams": [{"name": "gate", "source": "gate.mp4"}],
        "model": {"type": "stub"},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
        **blocks,
    }
    path = folder / "framesift.yaml"
    path.write_text(json.dumps(whole, indent=1))
    return load(path, environ or {})


def key_of(settings: Settings) -> str | None:
    key = settings.roboflow.api_key
    return None if key is None else key.get_secret_value()


def test_the_key_comes_from_the_variable_that_roboflows_own_programs_read(tmp_path: Path) -> None:
    loaded = settings(tmp_path, {"ROBOFLOW_API_KEY": KEY})
    assert key_of(loaded) == KEY
    assert KEY in secrets(loaded)
    assert KEY not in repr(loaded)


def test_a_key_in_the_settings_comes_before_the_variable(tmp_path: Path) -> None:
    loaded = settings(tmp_path, {"ROBOFLOW_API_KEY": "another"}, roboflow={"api_key": KEY})
    assert key_of(loaded) == KEY


def test_the_key_may_lie_in_a_file_or_among_systemds_credentials(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    file = tmp_path / "credentials" / "ROBOFLOW_API_KEY"
    file.write_text(KEY + "\n")
    assert key_of(settings(tmp_path, {"ROBOFLOW_API_KEY_FILE": str(file)})) == KEY
    assert key_of(settings(tmp_path, {"CREDENTIALS_DIRECTORY": str(file.parent)})) == KEY


def test_an_empty_variable_is_no_key(tmp_path: Path) -> None:
    assert key_of(settings(tmp_path, {"ROBOFLOW_API_KEY": ""})) is None


def test_without_settings_the_account_comes_from_the_environment_alone() -> None:
    loaded = load_account({"ROBOFLOW_API_KEY": KEY}).api_key
    assert loaded is not None
    assert loaded.get_secret_value() == KEY
    assert load_account({}).api_key is None


def test_a_key_that_could_not_stand_in_an_address_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"ROBOFLOW_API_KEY: roboflow.api_key: api_key is 1 to 256 printable"
    ) as loaded:
        settings(tmp_path, {"ROBOFLOW_API_KEY": f"{KEY} {KEY}"})
    assert KEY not in str(loaded.value)


@pytest.mark.parametrize(
    "url", ["https://api.roboflow.com", "https://10.0.0.7:8443/v1", "http://127.0.0.1:9200", "http://[::1]:1"]
)
def test_the_platform_may_be_anywhere_behind_tls_or_on_this_machine(url: str, tmp_path: Path) -> None:
    assert settings(tmp_path, roboflow={"api_url": url + "/"}).roboflow.api_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.roboflow.com",
        "ftp://host",
        "https://",
        "https://user:pw@host",
        "https://host?a=b",
        "https://ho st",
        "host:80",
    ],
)
def test_the_key_never_goes_to_an_address_in_the_clear_or_of_another_kind(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"roboflow.api_url: api_url"):
        settings(tmp_path, roboflow={"api_url": url})


def test_a_gateway_without_a_scheme_is_spoken_to_in_plain_http(tmp_path: Path) -> None:
    assert settings(tmp_path, roboflow={"gateway": "10.0.0.9:8080"}).roboflow.gateway == "http://10.0.0.9:8080"
    assert settings(tmp_path, roboflow={"gateway": "https://gw/"}).roboflow.gateway == "https://gw"


@pytest.mark.parametrize("url", ["socks5://10.0.0.9", "user:pw@host", "http://user:pw@host", "http://"])
def test_a_gateway_is_a_server_without_credentials(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"roboflow.gateway: gateway") as loaded:
        settings(tmp_path, roboflow={"gateway": url})
    assert "pw" not in str(loaded.value)


def test_a_proxys_password_is_a_secret(tmp_path: Path) -> None:
    proxy = "http://user:canary-password-81@10.0.0.8:3128"
    loaded = settings(tmp_path, network={"proxy": proxy})
    assert {proxy, "canary-password-81"} <= set(secrets(loaded))
    assert "canary" not in repr(loaded)
    with pytest.raises(ConfigError, match=r"network.proxy: proxy is an address that begins with") as refused:
        settings(tmp_path, network={"proxy": proxy.replace("http", "socks5")})
    assert "canary" not in str(refused.value)


def test_the_certificates_file_counts_from_the_settings_folder(tmp_path: Path) -> None:
    assert settings(tmp_path, network={"ca_file": "ca.pem"}).network.ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("blocks", "whom"),
    [
        ({"sink": {"type": "roboflow", "project": "parking"}}, "the sink need"),
        ({"policy": {"from": "roboflow", "project": "parking"}}, "the policy need"),
        (
            {"sink": {"type": "roboflow"}, "policy": {"from": "roboflow", "project": "parking"}},
            "the sink and the policy need",
        ),
    ],
)
def test_a_missing_key_for_the_platform_is_reported_with_where_to_put_it(
    blocks: dict[str, Any], whom: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"roboflow.api_key is missing") as loaded:
        settings(tmp_path, **blocks)
    assert whom in str(loaded.value)
    assert "ROBOFLOW_API_KEY" in str(loaded.value)
    settings(tmp_path, {"ROBOFLOW_API_KEY": KEY}, **blocks)


def test_a_streams_own_policy_may_be_the_one_that_needs_the_key(tmp_path: Path) -> None:
    own = {"from": "roboflow", "project": "parking"}
    with pytest.raises(ConfigError, match=r"roboflow.api_key is missing, which the policy"):
        settings(tmp_path, streams=[{"name": "gate", "source": "gate.mp4", "policy": own}])


def test_the_project_is_the_sinks_else_that_of_the_streams_policy_else_that_of_all(tmp_path: Path) -> None:
    own, common = ({"from": "roboflow", "project": name} for name in ("own", "common"))
    streams = [{"name": "a", "source": "a.mp4", "policy": own}, {"name": "b", "source": "b.mp4"}]
    environ = {"ROBOFLOW_API_KEY": KEY}

    def projects(sink: dict[str, str], policy: Any = common) -> list[str | None]:
        loaded = settings(tmp_path, environ, streams=streams, policy=policy, sink=sink)
        return [loaded.project_of(stream.name) for stream in loaded.streams]

    assert projects({"type": "roboflow"}) == ["own", "common"]
    assert projects({"type": "roboflow", "project": "sink"}) == ["sink", "sink"]
    assert projects({"type": "roboflow"}, "policy.json") == ["own", None]
    assert projects({"type": "folder", "path": "collected"}) == [None, None]


def test_a_policys_address_keeps_its_password_and_its_token_to_itself(tmp_path: Path) -> None:
    loaded = settings(tmp_path, policy="https://me:geheimnis@example.com/policy.json?token=geheimes")
    assert {"geheimnis", "geheimes"} <= set(secrets(loaded))
    assert "geheim" not in f"{loaded!r} {loaded.policy}"


def test_a_variable_of_the_environment_says_where_redis_is_and_the_rest_may_be_said_elsewhere(tmp_path: Path) -> None:
    environ = {"REDIS_HOST": "10.0.0.7", "FRAMESIFT_LIMITS__REDIS__PASSWORD": KEY}
    for redis in ({}, {"username": "framesift"}):
        loaded = settings(tmp_path, environ, limits={"redis": redis}).limits.redis
        assert loaded is not None
        assert loaded.url == "redis://10.0.0.7:6379"
        assert loaded.server.password == KEY
        assert loaded.username == redis.get("username")
    own = settings(tmp_path, environ, limits={"redis": {"url": "redis://ledger"}}).limits.redis
    assert own is not None
    assert own.server.host == "ledger"
    assert settings(tmp_path, {"REDIS_HOST": "10.0.0.7"}, limits={"redis": None}).limits.redis is None
