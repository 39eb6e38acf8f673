"""`framesift run` with shared limits: real daemons, a real server, and what the operator sees."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import canaries
from clocks import ManualClock
from framesift.cli.check_shared_limits import check_shared_limits
from framesift.config.errors import ConfigError
from framesift.settings import RedisSettings, load
from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.fault_proxy import fault_proxy
from rigs.footage import numbered_clip
from rigs.redis_server import RedisServer, free_port, redis_server

KEY = "framesift:{-}"  # of what has no project


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as server:
        server.wait_until_stored(KEY)
        yield server


def device(folder: Path, port: int, *, frames: int = 60, daily: int = 20, **settings: Any) -> Path:
    """A folder in which `framesift run` reads a clip, and shares a limit a day."""
    folder.mkdir(exist_ok=True)
    numbered_clip(folder / "clip.mp4", frames=frames)
    limits = [{"type": "daily", "value": daily}, {"type": "hourly", "value": 1000}]
    policy = {
        **POLICY,
        "sampling_strategies": [{"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": limits}],
    }
    shared = {"redis": {"url": f"redis://127.0.0.1:{port}"}}
    write_configuration(
        folder, {"streams": [{"name": "gate", "source": "clip.mp4"}], "limits": shared, **settings}, policy
    )
    return folder


def status(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as answer:
        answered: dict[str, Any] = json.load(answer)
    return answered


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_two_daemons_together_collect_what_the_limit_allows(tmp_path: Path, redis: RedisServer) -> None:
    folders = [device(tmp_path / name, redis.port) for name in ("a", "b")]
    running = [Daemon(folder) for folder in folders]
    assert [daemon.wait(60) for daemon in running] == [0, 0]
    assert sum(len(collected(folder)) for folder in folders) == 20
    for daemon in running:
        daemon.__exit__(None, None, None)
        assert daemon.wait_for("ready")["limits"] == "shared"


def test_a_second_run_finds_the_windows_as_the_first_left_them(tmp_path: Path, redis: RedisServer) -> None:
    folder = device(tmp_path / "a", redis.port)
    for _ in range(2):
        assert framesift(folder, "run").returncode == 0
    assert len(collected(folder)) == 20


def test_the_operator_sees_who_grants_quota_and_how_much_is_used_and_left(tmp_path: Path, redis: RedisServer) -> None:
    port = free_port()
    folder = device(tmp_path / "a", redis.port, daily=100, status={"bind": f"127.0.0.1:{port}"}, listeners=[listener()])
    with Daemon(folder) as daemon:
        daemon.wait_for("stream", state="ended")
        assert daemon.until(lambda: len(collected(folder)) == 60, 20)
        assert daemon.until(lambda: bool(status(port)["quota"]["used"]), 20)
        assert daemon.until(lambda: status(port)["quota"]["used"][0]["used"] == 60, 20)
        quota = status(port)["quota"]
        assert (quota["granted_by"], quota["why"], quota["pending"]) == ("shared", "", 0)
        assert quota["used"] == [
            {"project": "", "strategy": "all", "window": "daily", "limit": 100, "used": 60, "left": 40},
            {"project": "", "strategy": "all", "window": "hourly", "limit": 1000, "used": 60, "left": 940},
        ]
        output = framesift(folder, "status").stdout
        assert "quota is granted by: shared" in output
        assert "all, daily: 60 of 100 used" in output
        seen = metrics(port)
        assert seen['framesift_credits_granted_by{by="shared"}'] == 1
        assert seen['framesift_credits_granted_by{by="away"}'] == 0
        assert seen['framesift_credits_left{project="",strategy="all",window="daily"}'] == 40
        assert seen["framesift_credits_waiting"] == 0
        assert daemon.stop() == 0


def test_a_device_that_counts_alone_reports_the_same(tmp_path: Path) -> None:
    port = free_port()
    folder = device(
        tmp_path / "a", 1, daily=100, limits={}, status={"bind": f"127.0.0.1:{port}"}, listeners=[listener()], frames=10
    )
    with Daemon(folder) as daemon:
        assert daemon.wait_for("ready")["limits"] == "local"
        assert daemon.until(lambda: len(collected(folder)) == 10, 20)
        quota = status(port)["quota"]
        assert (quota["granted_by"], quota["pending"]) == ("local", 0)
        assert [(use["window"], use["used"], use["left"]) for use in quota["used"]] == [
            ("daily", 10, 90),
            ("hourly", 10, 990),
        ]


def listener() -> dict[str, Any]:
    """Keeps a run from ending with its file."""
    return {"listen": f"127.0.0.1:{free_port()}"}


def test_a_server_that_is_away_at_the_start_delays_nothing_and_accepted_frames_leave_later(
    tmp_path: Path, redis: RedisServer
) -> None:
    port = free_port()
    with fault_proxy(redis.port) as wire:
        wire.mode = "swallow"
        folder = device(tmp_path / "a", wire.port, status={"bind": f"127.0.0.1:{port}"})
        with Daemon(folder) as daemon:
            daemon.wait_for("ready", timeout_s=15)
            daemon.wait_for("stream", state="ended")
            quota = status(port)["quota"]
            assert (quota["granted_by"], quota["pending"]) == ("away", 20)
            lost = daemon.wait_for("health", component="limits")
            assert lost["state"] == "degraded"
            assert f":{wire.port}: " in lost["why"]
            assert metrics(port)["framesift_credits_waiting"] == 20
            assert collected(folder) == []
            wire.mode = "pass"
            assert daemon.wait(90) == 0
            assert len(collected(folder)) == 20


def test_a_stop_does_not_wait_for_a_server_that_hangs(tmp_path: Path, redis: RedisServer) -> None:
    folder = device(tmp_path / "a", redis.port, listeners=[listener()])
    with Daemon(folder) as daemon:
        daemon.wait_for("stream", state="ended")
        redis.freeze()
        try:
            assert daemon.stop() == 0
        finally:
            redis.thaw()


def test_after_a_kill_spool_and_ledger_agree_again_at_the_next_start(tmp_path: Path, redis: RedisServer) -> None:
    folder = device(tmp_path / "a", redis.port, frames=300, daily=50)
    with Daemon(folder) as daemon:
        assert daemon.until(lambda: len(collected(folder)) > 3, 30)
        daemon.kill()
    assert framesift(folder, "run").returncode == 0
    assert len(collected(folder)) == len({line["file_name"] for line in collected(folder)}) == 50
    (held,) = redis.client.scan_iter(f"{KEY}:held:*")
    assert redis.client.hlen(held) == 50


def test_the_password_is_used_and_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis", requirepass=canaries.PASSWORD) as server:
        server.wait_until_stored(KEY)
        folder = device(tmp_path / "a", server.port)
        limits = {"redis": {"url": f"redis://127.0.0.1:{server.port}", "password": "${REDIS_SECRET}"}}
        device(folder, server.port, limits=limits)
        ended = framesift(folder, "run", REDIS_SECRET=canaries.PASSWORD)
        assert ended.returncode == 0, ended.stdout
        assert len(collected(folder)) == 20
        wrong = framesift(folder, "check", REDIS_SECRET="wrong", COLUMNS="300")
        assert "invalid username-password pair" in wrong.stdout
        assert wrong.returncode == 1


def test_environment_variables_name_the_server(tmp_path: Path, redis: RedisServer) -> None:
    folder = device(tmp_path / "a", 1, limits={})
    ended = framesift(folder, "run", REDIS_HOST="127.0.0.1", REDIS_PORT=str(redis.port))
    assert ended.returncode == 0
    assert '"limits": "shared"' in ended.stdout
    assert redis.client.exists(KEY)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"requirepass": "geheim", "maxmemory_policy": "noeviction"}, []),
        ({"requirepass": "geheim", "maxmemory_policy": "allkeys-lru"}, ["evicts keys when its memory is full"]),
        ({}, ["answers without a password"]),
    ],
)
def test_check_reports_how_the_server_may_lose_charges_and_who_may_write_there(
    tmp_path: Path, options: dict[str, str], expected: list[str]
) -> None:
    with redis_server(tmp_path, **options) as server:
        first, *others = check_shared_limits(_options(server, options.get("requirepass")), ManualClock(time.time()))
        assert first.ok
        assert "its devices share the limits" in first.message
        assert len(others) == len(expected)
        assert all(one.ok is None and what in one.message for one, what in zip(others, expected, strict=True))
        assert not list(server.client.scan_iter(f"{KEY}*"))


def test_check_reports_whose_clock_is_not_set(tmp_path: Path) -> None:
    with redis_server(tmp_path, requirepass="geheim") as server:
        _, clock, apart = check_shared_limits(_options(server, "geheim"), ManualClock(3600.0))
        assert clock.message == "the clock of this machine isn't set"
        assert "apart" in apart.message


def test_check_reports_what_the_account_may_not_do(tmp_path: Path) -> None:
    with redis_server(tmp_path, requirepass="geheim") as server:
        server.command("ACL", "SETUSER", "gate", "on", ">word", "~framesift:*", "+info", "+evalsha")
        (finding,) = check_shared_limits(_options(server, "word", username="gate"), ManualClock(time.time()))
        assert finding.ok is False
        assert "permission" in finding.message
        assert "docs/fleet.md" in finding.advice


def _options(server: RedisServer, password: str | None, **more: str) -> RedisSettings:
    fields = {"url": f"redis://127.0.0.1:{server.port}", "password": password, **more}
    return RedisSettings.model_validate_json(json.dumps(fields))


def test_check_reports_that_no_server_answers(tmp_path: Path) -> None:
    ended = framesift(device(tmp_path / "a", free_port(), frames=2), "check", COLUMNS="300")
    assert ended.returncode == 1
    assert "Connection refused" in ended.stdout


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"redis": {"url": "http://127.0.0.1"}}, "url is redis://host"),
        (
            {"redis": {"url": "redis+sentinel://127.0.0.1:26379/primary"}},
            "url names Redis Sentinel, which is not asked",
        ),
        ({"redis": {"url": "redis://:geheim@127.0.0.1"}}, "username and password are settings of their own"),
        ({"redis": {"url": "redis://127.0.0.1/x"}}, "the number of a database"),
        ({"redis": {"url": "redis://127.0.0.1", "passwort": "x"}}, "password"),
        ({"local_ceiling": 1.5}, "local_ceiling"),
        ({"pending_quota_h": 49}, "pending_quota_h"),
    ],
)
def test_a_wrong_setting_is_reported_with_its_place(tmp_path: Path, limits: dict[str, Any], expected: str) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "limits": limits})
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "framesift.yaml", {})
    assert expected in str(error.value)
    assert "limits" in str(error.value)
    assert "geheim" not in str(error.value)
