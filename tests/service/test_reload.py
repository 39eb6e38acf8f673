"""SIGHUP: what of the settings changes in a run, what is named as needing a restart, and one answer for each reload."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from canaries import KEY
from framesift.service.reload import differences, with_reloadable
from framesift.settings import Settings, load
from rigs.daemon import POLICY, Daemon, collected, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.platform import Fault, Platform, Status

PERSON = {
    **POLICY,
    "sampling_strategies": [
        {
            "name": "people",
            "type": "detections_number_based",
            "probability": 1.0,
            "selected_class_names": ["persn"],
            "more_than": 0,
        }
    ],
}


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as platform:
        platform.add_project("parking", active_learning=POLICY)
        yield platform


def configure(folder: Path, **settings: Any) -> None:
    """A clip that begins again and again."""
    if not (folder / "clip.mp4").exists():
        numbered_clip(folder / "clip.mp4", frames=20)
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    whole = {
        "streams": [{"name": "gate", "source": "clip.mp4", "loop": True}],
        "model": unhurried(folder),
        "status": {"bind": bind},
        **settings,
    }
    write_configuration(folder, whole)


def change(folder: Path, **settings: Any) -> None:
    path = folder / "framesift.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def reload(daemon: Daemon, answer: str) -> dict[str, Any]:
    """Send SIGHUP and return its answer."""
    before = len(daemon.events)
    daemon.process.send_signal(signal.SIGHUP)
    return daemon.wait_for(answer, after=before)


def health(folder: Path) -> dict[str, tuple[str, str]]:
    """Each component that is not ok: its condition and the reason."""
    shown = json.loads(framesift(folder, "status", "--json").stdout)["health"]
    return {c["name"]: (c["condition"], c["why"]) for c in shown if c["condition"] != "ok"}


def until(daemon: Daemon, condition: Callable[[], bool]) -> None:
    assert daemon.until(condition, 30.0)


def test_tags_limits_and_the_logs_level_are_reloaded_and_the_rest_is_named(tmp_path: Path) -> None:
    configure(tmp_path, tags=["old"])
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        until(daemon, lambda: bool(collected(tmp_path)))
        assert "old" in collected(tmp_path)[0]["tags"]
        streams = [{"name": "gate", "source": "clip.mp4", "loop": True, "tags": ["north"]}]
        change(
            tmp_path,
            tags=["new"],
            streams=streams,
            sink={"type": "folder", "path": "collected", "limits": [{"type": "daily", "value": 1_000_000}]},
            upload={"workers": 3},
            spool={"path": "spool.db", "max_bytes": "32MiB", "min_free_bytes": "1MiB"},
        )
        answer = reload(daemon, "reloaded")
        assert answer["changed"] == "tags, streams.tags, sink.limits"
        assert answer["needs_restart"] == "spool.max_bytes, upload.workers"
        until(daemon, lambda: {"new", "north"} <= set(collected(tmp_path)[-1]["tags"]))
        assert "old" not in collected(tmp_path)[-1]["tags"]
        # Once said, it is still true at the next reload; what was applied is not.
        again = reload(daemon, "reloaded")
        assert "changed" not in again
        assert again["needs_restart"] == "spool.max_bytes, upload.workers"
        # A limit of the sink that is reached holds from now on.
        change(tmp_path, sink={"type": "folder", "path": "collected", "limits": [{"type": "daily", "value": 1}]})
        reload(daemon, "reloaded")
        delivered = len(collected(tmp_path))
        change(tmp_path, log={"format": "json", "level": "error"})
        before = len(daemon.events)
        daemon.process.send_signal(signal.SIGHUP)
        until(daemon, lambda: json.loads(framesift(tmp_path, "status", "--json").stdout)["queue"]["ready"] > 20)
        assert len(collected(tmp_path)) <= delivered + 3, "those that were on their way"
        assert not [e for e in daemon.events[before:] if e["level"] == "info"]
        assert daemon.stop() == 0


def test_settings_that_are_wrong_are_refused_and_in_the_status_until_they_are_mended(tmp_path: Path) -> None:
    configure(tmp_path)
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        good = (tmp_path / "framesift.yaml").read_text()
        change(tmp_path, spol={})
        for _ in range(2):  # each is answered, also within a minute
            assert "spol" in reload(daemon, "reload_refused")["reason"]
        condition, why = health(tmp_path)["settings"]
        assert condition == "degraded"
        assert "spol" in why
        (tmp_path / "framesift.yaml").write_text(good)
        reload(daemon, "reloaded")
        assert "settings" not in health(tmp_path)
        assert daemon.stop() == 0


def test_a_policy_file_that_was_refused_is_in_the_status_until_it_is_mended(tmp_path: Path) -> None:
    configure(tmp_path)
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        (tmp_path / "policy.json").write_text('{"enabled": tru}')
        for _ in range(2):
            assert "policy.json:1: column 13" in reload(daemon, "reload_refused")["reason"]
        condition, why = health(tmp_path)["policy"]
        assert condition == "degraded"
        assert "policy.json:1: column 13" in why
        (tmp_path / "policy.json").write_text(json.dumps({**POLICY, "jpeg_compression_level": 900}))
        reload(daemon, "reload_refused")
        assert "jpeg_compression_level" in health(tmp_path)["policy"][1]
        (tmp_path / "policy.json").write_text(json.dumps(POLICY))
        reload(daemon, "reloaded")
        assert "policy" not in health(tmp_path)
        assert daemon.stop() == 0


def test_a_policy_of_the_platform_is_read_before_the_reload_is_answered(tmp_path: Path, platform: Platform) -> None:
    configure(tmp_path, policy={"from": "roboflow", "project": "parking"}, roboflow={"api_url": platform.url})
    with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
        daemon.wait_for("ready")
        platform.add_project("parking", active_learning={**POLICY, "jpeg_compression_level": 900})
        for _ in range(2):
            assert "jpeg_compression_level" in reload(daemon, "reload_refused")["reason"]
        assert health(tmp_path)["policy"][0] == "degraded"
        platform.add_project("parking", active_learning={**POLICY, "tags": ["mended"]})
        before = len(daemon.events)
        reload(daemon, "reloaded")
        names = [event["event"] for event in daemon.events[before:]]
        assert names.index("policy") < names.index("reloaded"), names
        assert "policy" not in health(tmp_path)
        platform.go_away()
        assert "parking" in reload(daemon, "reload_refused")["reason"]
        assert daemon.stop() == 0


def test_a_key_that_is_accepted_again_is_used_for_batches_at_a_reload(tmp_path: Path, platform: Platform) -> None:
    batching = {**POLICY["batching_strategy"], "max_batch_images": 10}
    platform.add_project("parking", active_learning={**POLICY, "batching_strategy": batching})
    configure(
        tmp_path,
        policy={"from": "roboflow", "project": "parking"},
        sink={"type": "roboflow"},
        roboflow={"api_url": platform.url},
    )
    platform.orders.add(Fault("batches", Status(401), times=None))
    with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
        daemon.wait_for("ready")
        until(daemon, lambda: "401" in health(tmp_path)["batches"][1])
        platform.orders.clear()
        reload(daemon, "reloaded")
        daemon.wait_for("health", component="batches", state="ok")
        assert daemon.stop() == 0


def test_a_policy_that_can_never_match_has_failed_and_one_of_which_a_part_can_is_degraded(tmp_path: Path) -> None:
    model = tmp_path / "two_classes.py"
    model.write_text(
        "import threading\n"
        "def make():\n"
        "    def predict(pixels):\n"
        "        threading.Event().wait(0.05)\n"
        "        return {'predictions': []}\n"
        "    predict.class_names = ['person', 'car']\n"
        "    return predict\n"
    )
    model_settings = {"type": "python", "factory": "two_classes:make", "path": "."}
    configure(tmp_path, model=model_settings)
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        (tmp_path / "policy.json").write_text(json.dumps(PERSON))
        reload(daemon, "reloaded")
        condition, why = health(tmp_path)["policy"]
        assert condition == "failed"
        assert "persn" in why
        mixed = {**PERSON, "sampling_strategies": [*PERSON["sampling_strategies"], *POLICY["sampling_strategies"]]}
        (tmp_path / "policy.json").write_text(json.dumps(mixed))
        reload(daemon, "reloaded")
        assert health(tmp_path)["policy"][0] == "degraded"
        (tmp_path / "policy.json").write_text(json.dumps(POLICY))
        reload(daemon, "reloaded")
        assert "policy" not in health(tmp_path)
        assert daemon.stop() == 0


def settings(folder: Path, **changed: Any) -> Settings:
    write_configuration(folder, {"streams": [{"name": "gate", "source": "rtsp://127.0.0.1/x"}], **changed})
    return load(folder / "framesift.yaml", {})


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({}, []),
        ({"tags": ["a"], "quiet_after": "1h"}, ["tags", "quiet_after"]),
        ({"device": "other", "seed": 7}, ["device", "seed"]),
        ({"log": {"format": "json", "level": "debug"}}, ["log.level"]),
        ({"limits": {"local_ceiling": 0.5}}, ["limits.local_ceiling"]),
        ({"streams": [{"name": "gate", "source": "rtsp://127.0.0.1/x", "tags": ["a"]}]}, ["streams.tags"]),
        ({"streams": [{"name": "gate", "source": "rtsp://127.0.0.1/y", "tags": ["a"]}]}, ["streams"]),
        ({"sink": {"type": "folder", "path": "elsewhere"}}, ["sink.path"]),
        ({"privacy": {"classes": ["person"]}}, ["privacy"]),
        ({"streams": [{"name": "gate", "source": "rtsp://127.0.0.1/x", "privacy": False}]}, ["streams"]),
        ({"model": {"type": "stub", "task": "classification"}}, ["model.task"]),
        ({"roboflow": {"api_key": KEY}}, ["roboflow.api_key"]),
    ],
)
def test_what_differs_is_named_by_its_key(tmp_path: Path, changed: dict[str, Any], keys: list[str]) -> None:
    old, new = settings(tmp_path), settings(tmp_path, **changed)
    assert sorted(differences(old, new)) == sorted(keys)


def test_only_what_may_change_in_a_run_is_taken_over(tmp_path: Path) -> None:
    old = settings(tmp_path)
    new = settings(
        tmp_path,
        device="other",
        tags=["a"],
        quiet_after=None,
        log={"format": "text", "level": "debug"},
        sink={"type": "folder", "path": "elsewhere", "limits": [{"type": "daily", "value": 1}]},
        limits={"local_ceiling": 0.5, "pending_quota_h": 1.0},
    )
    mixed = with_reloadable(old, new)
    assert list(differences(mixed, new)) == ["device", "sink.path", "log.format"]
    assert sorted(differences(old, mixed)) == sorted(
        ["tags", "quiet_after", "sink.limits", "limits.local_ceiling", "limits.pending_quota_h", "log.level"]
    )
