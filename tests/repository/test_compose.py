"""compose.yaml: what it gives the container is what the program reads, and each secret and volume is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from framesift.settings import load

ROOT = Path(__file__).parents[2]
SECRETS = "/run/secrets"


@pytest.fixture
def compose() -> dict[str, Any]:
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_the_environment_of_the_container_is_read_by_the_settings(compose: dict[str, Any], tmp_path: Path) -> None:
    daemon = compose["services"]["framesift"]
    for name in daemon["secrets"]:
        (tmp_path / name).write_text(f"{name}-0123456789\n")
    environment = {key: value.replace(SECRETS, str(tmp_path)) for key, value in daemon["environment"].items()}
    named = {Path(value).name for value in daemon["environment"].values() if value.startswith(SECRETS)}
    assert named == set(daemon["secrets"])
    stream = '{name: gate, source: "rtsp://10.0.0.5/1", username: viewer, password: "${GATE_PASSWORD}"}'
    (tmp_path / "framesift.yaml").write_text(
        f"streams: [{stream}]\npolicy: policy.json\nmodel: {{type: stub}}\nsink: {{type: folder, path: /var/lib/x}}\n"
    )
    settings = load(tmp_path / "framesift.yaml", environment)
    assert settings.status.bind == "0.0.0.0:9464"
    assert settings.status.token is not None
    assert settings.limits.redis is not None
    assert urlsplit(settings.limits.redis.url).hostname in compose["services"]
    assert settings.limits.redis.password is not None
    assert settings.streams[0].password is not None


def test_what_a_service_uses_is_declared(compose: dict[str, Any]) -> None:
    used_secrets, used_volumes = set(), set()
    for service in compose["services"].values():
        used_secrets |= set(service["secrets"])
        used_volumes |= {volume.split(":")[0] for volume in service["volumes"] if not volume.startswith(".")}
        assert service["restart"] == "unless-stopped"
    assert used_secrets == set(compose["secrets"])
    assert used_volumes == set(compose["volumes"])


def test_the_container_has_the_sandbox_and_the_time_to_stop_that_the_docs_name(compose: dict[str, Any]) -> None:
    daemon = compose["services"]["framesift"]
    assert daemon["read_only"] is True
    assert daemon["cap_drop"] == ["ALL"]
    assert daemon["stop_grace_period"] == "20s"
    assert all(port.startswith("127.0.0.1:") for port in daemon["ports"])


def test_redis_runs_as_the_fleet_needs_it_and_is_waited_for(compose: dict[str, Any]) -> None:
    words = compose["services"]["redis"]["command"][-1].split()
    assert words[words.index("--maxmemory-policy") + 1] == "noeviction"
    assert words[words.index("--save") + 1] == '""'
    assert "ping" in compose["services"]["redis"]["healthcheck"]["test"][1]
    assert compose["services"]["framesift"]["depends_on"] == {"redis": {"condition": "service_healthy"}}
