"""`framesift run` with policies from elsewhere: real processes, and the stand-in for the platform."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canaries import KEY
from rigs.daemon import POLICY, Daemon, collected, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.platform import Platform
from rigs.platform.faults import Fault, Status

OFF = {"enabled": False}
LIMITED = {
    **POLICY,
    "sampling_strategies": [
        {"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 3}]}
    ],
}


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as platform:
        platform.add_project("parking", active_learning=POLICY)
        yield platform


def configure(folder: Path, platform: Platform, *, frames: int = 10, loop: bool = False, **settings: Any) -> None:
    numbered_clip(folder / "clip.mp4", frames=frames)
    whole = {
        "streams": [{"name": "gate", "source": "clip.mp4", "loop": loop}],
        **({"model": unhurried(folder)} if loop else {}),
        "policy": {"from": "roboflow", "project": "parking"},
        "roboflow": {"api_url": platform.url},
        **settings,
    }
    write_configuration(folder, whole)


def test_the_projects_policy_is_fetched_and_its_images_go_to_the_project(tmp_path: Path, platform: Platform) -> None:
    configure(tmp_path, platform, sink={"type": "roboflow"})
    done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Counter((image.project, image.batch) for image in platform.images) == {("parking", "test"): 10}


def test_the_policy_says_where_else_the_images_go(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("curated")
    platform.add_project("parking", active_learning={**POLICY, "target_project": "curated"})
    configure(tmp_path, platform, sink={"type": "roboflow", "project": "parking"})
    assert framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY).returncode == 0
    assert {image.project for image in platform.images} == {"curated"}


def test_a_reload_asks_the_platform_at_once_and_what_is_bad_there_changes_nothing(
    tmp_path: Path, platform: Platform
) -> None:
    platform.add_project("parking", active_learning=OFF)
    configure(tmp_path, platform, loop=True)
    with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
        assert daemon.wait_for("ready")["enabled"] is False
        platform.add_project("parking", active_learning={**POLICY, "jpeg_compression_level": 900})
        daemon.process.send_signal(signal.SIGHUP)
        told = daemon.wait_for("health", component="policy", state="degraded")
        assert "jpeg_compression_level: 900 is not allowed; it must be a whole number from 1 to 100" in told["why"]
        assert not collected(tmp_path)
        platform.add_project("parking", active_learning=POLICY)
        daemon.process.send_signal(signal.SIGHUP)
        told = daemon.wait_for("policy", enabled=True)
        assert told["strategies"] == ["all"]
        daemon.wait_for("health", component="policy", state="ok")
        assert daemon.until(lambda: len(collected(tmp_path)) >= 3, 30.0)
        assert daemon.stop() == 0


def test_without_network_and_without_a_cached_policy_the_stream_waits_and_no_frame_is_lost(
    tmp_path: Path, platform: Platform
) -> None:
    configure(tmp_path, platform)
    platform.go_away()
    with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
        daemon.wait_for("ready")
        daemon.wait_for("health", component="policy", state="degraded")
        platform.come_back()
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.wait(30.0) == 0
    assert len(collected(tmp_path)) == 10
    assert next(told for told in daemon.events if told["event"] == "stopped")["refused"] == {}


def test_a_stop_does_not_wait_for_a_policy(tmp_path: Path, platform: Platform) -> None:
    configure(tmp_path, platform)
    platform.go_away()
    with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
        daemon.wait_for("ready")
        assert daemon.stop() == 0
    assert not collected(tmp_path)


def test_without_network_the_cached_policy_is_used(tmp_path: Path, platform: Platform) -> None:
    configure(tmp_path, platform)
    assert framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY).returncode == 0
    platform.go_away()
    done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
    assert done.returncode == 0, done.stdout
    assert '"component": "policy", "state": "degraded"' in done.stdout
    assert len(collected(tmp_path)) == 20


def test_a_policy_that_is_disabled_here_is_not_fetched(tmp_path: Path, platform: Platform) -> None:
    configure(tmp_path, platform)
    done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY, ACTIVE_LEARNING_ENABLED="false")
    assert done.returncode == 0
    assert '"refused": {"disabled": 10}' in done.stdout
    assert not platform.requests


def test_a_model_of_another_kind_than_the_project_collects_nothing_and_is_logged(
    tmp_path: Path, platform: Platform
) -> None:
    platform.add_project("parking", "classification", active_learning=POLICY)
    configure(tmp_path, platform)
    done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
    assert done.returncode == 0
    assert '"refused": {"disabled": 10}' in done.stdout
    (told,) = [json.loads(line) for line in done.stdout.splitlines() if "policy_problem" in line]
    assert "classification" in told["reason"]
    assert "object-detection" in told["reason"]


def test_a_stream_may_have_a_policy_and_limits_of_its_own(tmp_path: Path, platform: Platform) -> None:
    numbered_clip(tmp_path / "other.mp4", frames=10)
    (tmp_path / "own.json").write_text(json.dumps(LIMITED))
    streams = [
        {"name": "gate", "source": "clip.mp4"},
        {"name": "yard", "source": "other.mp4", "policy": "own.json"},
    ]
    platform.add_project("parking", active_learning=LIMITED)
    configure(tmp_path, platform, streams=streams)
    assert framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY).returncode == 0
    # Both call their strategy "all", and each has three credits a day.
    assert Counter(row["stream"] for row in collected(tmp_path)) == {"gate": 3, "yard": 3}


def test_a_batch_that_others_have_nearly_filled_takes_only_what_fits(tmp_path: Path, platform: Platform) -> None:
    batching = {"batches_name_prefix": "test", "recreation_interval": "never", "max_batch_images": 10}
    platform.add_project("parking", active_learning={**POLICY, "batching_strategy": batching})
    platform.set_batch("parking", "test", images=2, jobs=(3, 1))
    configure(tmp_path, platform, sink={"type": "roboflow"})
    done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
    assert '"refused": {"batch_full": 6}, "accepted": 4' in done.stdout
    assert len(platform.images) == 4


def test_somebody_elses_images_are_counted_at_the_end(tmp_path: Path, platform: Platform) -> None:
    configure(tmp_path, platform, sink={"type": "roboflow"})
    assert framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY).returncode == 0
    (tmp_path / "spool.db").unlink()
    done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
    assert '"delivered": 0, "other_outcomes": {"duplicate": 10}' in done.stdout


def test_what_has_no_project_to_go_to_is_refused_at_the_start(tmp_path: Path, platform: Platform) -> None:
    configure(tmp_path, platform, policy="policy.json", sink={"type": "roboflow"})
    done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
    assert done.returncode == 2
    assert "sink.project: missing" in done.stderr


def test_check_asks_the_platform_and_prints_its_answer(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("parking", active_learning={**POLICY, "novelty": 1})
    configure(tmp_path, platform, sink={"type": "roboflow"})
    done = framesift(tmp_path, "check", ROBOFLOW_API_KEY=KEY, COLUMNS="300")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "parking: all" in done.stdout
    assert "novelty" in done.stdout
    done = framesift(tmp_path, "check", ROBOFLOW_API_KEY="another-key", COLUMNS="300")
    assert done.returncode == 1
    assert done.stdout.count("401") == 2  # the policy's and the sink's


@pytest.mark.parametrize("sink", [{"type": "roboflow"}, {"type": "roboflow", "project": "parking"}])
def test_check_fails_where_the_account_must_pay_before_it_may_upload(
    tmp_path: Path, platform: Platform, sink: dict[str, Any]
) -> None:
    configure(tmp_path, platform, sink=sink)
    assert framesift(tmp_path, "check", ROBOFLOW_API_KEY=KEY, COLUMNS="300").returncode == 0
    platform.orders.add(Fault("upload", Status(402), times=None))
    done = framesift(tmp_path, "check", ROBOFLOW_API_KEY=KEY, COLUMNS="300")
    assert done.returncode == 1, done.stdout
    (failed,) = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert "(402)" in failed
    assert not platform.images


def test_the_status_shows_the_policy_its_hash_and_what_was_left_out_of_it(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("parking", active_learning={**POLICY, "novelty": 1, "tags": ["good", "no good"]})
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    configure(tmp_path, platform, loop=True, status={"bind": bind})
    with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
        daemon.wait_for("ready")
        told = json.loads(framesift(tmp_path, "status", "--json").stdout)
        (policy,) = told["policies"]
        assert (policy["enabled"], policy["strategies"]) == (True, ["all"])
        assert len(policy["hash"]) == 12
        assert len(policy["left_out"]) == 2
        shown = framesift(tmp_path, "status").stdout
        assert f"policy {policy['hash']} (roboflow project parking): all" in shown
        assert "novelty" in shown
        assert daemon.stop() == 0
