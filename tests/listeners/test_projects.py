"""Which project the pictures of a proxy land in: a real process, with stand-ins for the platform and the server.
Each model's go to its own project, under that project's policy, or to none."""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
import requests

from listeners.test_run_with_listeners import WITH_KEY, free_ports
from rigs.daemon import POLICY, Daemon, write_configuration
from rigs.inference import KEY, MODELS, InferenceServer, Rectangle, painted
from rigs.listeners import in_base64
from rigs.platform import Delay, Fault, Platform

ROUTES = {
    "object-detection": "object_detection",
    "instance-segmentation": "instance_segmentation",
    "keypoint-detection": "keypoints_detection",
    "classification": "classification",
}
CLASSIFICATION = "single-label-classification"


def policy(prefix: str, **more: Any) -> dict[str, Any]:
    return {**POLICY, "batching_strategy": {"batches_name_prefix": prefix, "recreation_interval": "never"}, **more}


def scene(number: int) -> str:
    """Another picture for each number, in base64."""
    things = (Rectangle("red", 10, 8, 30, 28), Rectangle("white", 40, 10 + number % 30, 60, 44, confidence=0.8))
    return in_base64(bytes(cv2.imencode(".png", painted(80, 60, *things))[1]))


class Site:
    """A daemon with a proxy, and both sides of it."""

    def __init__(self, platform: Platform, server: InferenceServer, daemon: Daemon, ports: list[int]) -> None:
        self.platform = platform
        self.server = server
        self.daemon = daemon
        self.url, self.status = (f"http://127.0.0.1:{port}" for port in ports)
        self.sent = 0

    def legacy(self, model_id: str, dataset: str | None = None) -> Any:
        self.sent += 1
        query = {} if dataset is None else {"active_learning_target_dataset": dataset}
        url = f"{self.url}/{model_id}"
        answer = requests.post(url, params=query, data=scene(self.sent), headers=WITH_KEY, timeout=20)
        assert answer.status_code == 200
        return answer.json()

    def v1(self, model_id: str, dataset: str | None = None) -> Any:
        self.sent += 1
        task = MODELS.get(model_id, "object-detection").removeprefix("multi-label-")
        image = {"type": "base64", "value": scene(self.sent)}
        body = {"model_id": model_id, "image": image, "active_learning_target_dataset": dataset}
        headers = {"Authorization": WITH_KEY["Authorization"]}
        answer = requests.post(f"{self.url}/infer/{ROUTES[task]}", json=body, headers=headers, timeout=20)
        assert answer.status_code == 200
        return answer.json()

    def outcomes(self) -> Counter[str]:
        text = requests.get(f"{self.status}/metrics", timeout=20).text
        found = re.findall(r'^framesift_door_requests_total\{outcome="(\w+)",.*\} (\d+)', text, re.MULTILINE)
        return Counter({outcome: int(count) for outcome, count in found})

    def until_dealt_with(self, **outcomes: int) -> None:
        """Waits until everything that was sent has been dealt with, so."""
        assert self.daemon.until(lambda: sum(self.outcomes().values()) >= self.sent, 30.0), self.outcomes()
        assert self.outcomes() == outcomes

    def landed(self, count: int) -> Counter[tuple[str, str, str]]:
        """Project, batch and model of every picture on the platform."""
        self.platform.until(lambda: len(self.platform.images) >= count)
        models = {name.replace("/", "-") for name in MODELS} | {f"{name.partition('/')[0]}-0" for name in MODELS}
        return Counter(
            (image.project, image.batch, next(iter(models & set(image.tags)), "")) for image in self.platform.images
        )


@pytest.fixture
def platform() -> Iterator[Platform]:
    """Projects of the models' names, as far as the test adds them; and one in the settings."""
    with Platform() as found:
        found.add_project("parking", active_learning=policy("p"))
        yield found


@contextmanager
def site(folder: Path, platform: Platform, **settings: Any) -> Iterator[Site]:
    ports = free_ports(2)
    with InferenceServer() as server:
        whole = {
            "model": None,
            "listeners": [{"listen": f"127.0.0.1:{ports[0]}", "upstream": server.url}],
            "policy": {"from": "roboflow", "project": "parking"},
            "sink": {"type": "roboflow"},
            "roboflow": {"api_url": platform.url},
            "status": {"bind": f"127.0.0.1:{ports[1]}"},
            **settings,
        }
        write_configuration(folder, whole, policy("file"))
        with Daemon(folder, ROBOFLOW_API_KEY=KEY) as daemon:
            daemon.wait_for("ready")
            yield Site(platform, server, daemon, ports)
            assert daemon.stop() == 0


@pytest.mark.parametrize("sink", [{"type": "roboflow"}, {"type": "roboflow", "project": "parking"}])
def test_each_models_pictures_go_to_its_own_project_under_that_projects_policy(
    tmp_path: Path, platform: Platform, sink: dict[str, str]
) -> None:
    platform.add_project("boxes", active_learning=policy("b"))
    half = {"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 2}]}
    platform.add_project("labels", CLASSIFICATION, active_learning=policy("l", sampling_strategies=[half]))
    platform.add_project("points", "keypoint-detection", active_learning={"enabled": False})
    with site(tmp_path, platform, sink=sink) as here:
        for _ in range(3):
            for model_id in ("boxes/1", "labels/1", "points/1"):
                here.legacy(model_id)
        here.v1("boxes/1")
        here.until_dealt_with(offered=10)
        assert here.landed(6) == {("boxes", "b", "boxes-1"): 4, ("labels", "l", "labels-1"): 2}


def test_active_learning_target_dataset_says_which_project_instead_if_it_suits_the_model(
    tmp_path: Path, platform: Platform
) -> None:
    for name, kind in (("boxes", "object-detection"), ("labels", CLASSIFICATION), ("many", CLASSIFICATION)):
        platform.add_project(name, kind, active_learning=policy(name[0]))
    with site(tmp_path, platform) as here:
        for send in (here.legacy, here.v1):
            send("boxes/1", "parking")
            send("many/1", "labels")
            send("labels/1", "parking")  # a classifier's, for a project where boxes are drawn
            send("boxes/1", "labels")
            send("boxes/1", "nowhere")
            send("boxes/1", "../parking")
        here.until_dealt_with(offered=4, no_policy=8)
        assert here.landed(4) == {("parking", "p", "boxes-1"): 2, ("labels", "l", "many-1"): 2}
        told = [event["reason"] for event in here.daemon.events if event["event"] == "policy_problem"]
        assert len(told) == 3
        for one, other in (("labels", "parking"), ("boxes", "labels")):
            assert any(f"a model of {one} does" in why and f"the project {other} is for" in why for why in told)


def test_what_has_no_policy_is_not_collected(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("labels", CLASSIFICATION)
    with site(tmp_path, platform) as here:
        for model_id in ("boxes/1", "labels/1", "boxes/1", "boxes/0"):
            here.legacy(model_id)
        here.until_dealt_with(no_policy=4)
        assert here.landed(0) == {}
        platform.add_project("boxes", active_learning=policy("b"))
        here.daemon.process.send_signal(signal.SIGHUP)
        here.daemon.wait_for("reloaded")
        here.legacy("boxes/1")
        here.until_dealt_with(no_policy=4, offered=1)
        assert here.landed(1) == {("boxes", "b", "boxes-1"): 1}


def test_a_client_never_waits_for_a_policy_and_what_comes_meanwhile_waits_for_it(
    tmp_path: Path, platform: Platform
) -> None:
    platform.add_project("boxes", active_learning=policy("b"))
    with site(tmp_path, platform) as here:
        platform.orders.add(Fault("project", Delay(8.0), times=1))
        here.legacy("boxes/1")
        assert not any("boxes" in asked.path for asked in platform.asked("active_learning"))
        here.legacy("boxes/1")
        here.legacy("boxes/1")
        here.until_dealt_with(offered=3)
        assert here.landed(3) == {("boxes", "b", "boxes-1"): 3}


def test_while_the_platform_is_away_nothing_is_collected_of_a_model_that_is_new(
    tmp_path: Path, platform: Platform
) -> None:
    with site(tmp_path, platform) as here:
        platform.go_away()
        here.legacy("boxes/1")
        here.until_dealt_with(no_policy_yet=1)
        here.daemon.wait_for("health", component="policies of models", state="degraded")
        here.legacy("boxes/1")
        here.until_dealt_with(no_policy_yet=2)
        platform.add_project("boxes", active_learning=policy("b"))
        platform.come_back()
        here.daemon.process.send_signal(signal.SIGHUP)
        here.daemon.wait_for("health", component="policies of models", state="ok")
        here.legacy("boxes/1")
        assert here.landed(1) == {("boxes", "b", "boxes-1"): 1}


def test_version_0_is_collected_into_its_own_project_and_says_what_that_is_for(
    tmp_path: Path, platform: Platform
) -> None:
    platform.add_project("boxes", active_learning=policy("b"))
    platform.add_project("labels", CLASSIFICATION, active_learning=policy("l"))
    with site(tmp_path, platform) as here:
        here.server.go_away()
        assert here.legacy("labels/0")["task_type"] == "classification"
        assert here.v1("labels/0")["task_type"] == "classification"
        assert here.legacy("boxes/0")["task_type"] == "object-detection"
        here.until_dealt_with(offered=3)
        assert here.landed(3) == {("labels", "l", "labels-0"): 2, ("boxes", "b", "boxes-0"): 1}
        assert [asked.path for asked in platform.asked("project") if "labels" in asked.path] == ["/yard/labels"] * 2


def test_a_file_is_one_policy_for_all_models_and_for_the_one_project_that_the_settings_name(
    tmp_path: Path, platform: Platform
) -> None:
    sink = {"type": "roboflow", "project": "parking"}
    with site(tmp_path, platform, policy="policy.json", sink=sink) as here:
        here.legacy("boxes/1")
        here.v1("shapes/1", "parking")
        here.legacy("boxes/1", "elsewhere")
        here.legacy("labels/1")
        here.v1("many/1")
        here.until_dealt_with(offered=2, no_policy=3)
        assert here.landed(2) == {("parking", "file", "boxes-1"): 1, ("parking", "file", "shapes-1"): 1}
        assert platform.asked("active_learning") == ()


def test_where_labels_may_go_a_file_is_one_policy_for_classifiers_too(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("kinds", "multi-label-classification")
    sink = {"type": "roboflow", "project": "kinds"}
    with site(tmp_path, platform, policy="policy.json", sink=sink) as here:
        here.legacy("labels/1")
        here.v1("many/1")
        here.until_dealt_with(offered=2)
        assert here.landed(2) == {("kinds", "file", "labels-1"): 1, ("kinds", "file", "many-1"): 1}


def test_what_is_found_out_after_it_was_accepted_waits_in_the_spool_and_holds_up_nobody(
    tmp_path: Path, platform: Platform
) -> None:
    with site(tmp_path, platform, policy="policy.json", sink={"type": "roboflow", "project": "parking"}) as here:
        platform.go_away()
        for _ in range(6):
            here.legacy("labels/1")
        here.until_dealt_with(offered=6)
        platform.come_back()
        here.legacy("boxes/1")
        assert here.landed(1) == {("parking", "file", "boxes-1"): 1}
        assert here.daemon.until(lambda: _waiting(tmp_path) == 6, 20.0)


def _waiting(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "spool.db")) as spool:
        why = "project parking is for object-detection, and this is a prediction of classification"
        ((count,),) = spool.execute("SELECT count(*) FROM delivery WHERE why = ?", (why,))
    return int(count)
