"""Version 0 at the proxy, which is no model: what it is for, and what clients ask of the server's models before
they call it. Whatever else is asked there passes as it came."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from framesift.listeners.model_registry import MAX_STUBS
from framesift.policy import NoPolicyReason, ProjectPair
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Stub, Task
from framesift.sampling.intake import Intake
from rigs.inference import KEY, MODELS, Fault, InferenceServer, Status
from rigs.listeners import (
    RunningListener,
    in_base64,
    picture,
    prediction_json,
    raw_exchange,
    request_head,
    running_listener,
)
from rigs.raw_http_server import Peer, RawServer

TYPES = {"signs": Task.CLASSIFICATION, "cars": Task.OBJECT_DETECTION, "men": Task.KEYPOINT_DETECTION}
WITH_KEY = {"Authorization": f"Bearer {KEY}"}
ROUTES = {
    Task.CLASSIFICATION: "classification",
    Task.OBJECT_DETECTION: "object_detection",
    Task.KEYPOINT_DETECTION: "keypoints_detection",
}


@dataclass
class Platform:
    """What is known of the platform's projects; one policy is for all."""

    tasks: dict[str, Task] = field(default_factory=lambda: dict(TYPES))
    silent: threading.Event | None = None
    has_project_policies: bool = False

    def project_pair_of(self, *_: object) -> ProjectPair | NoPolicyReason | None:
        return None

    def accepts_labels(self, _stream: str) -> bool:
        return True

    def create(self, *_: object) -> Intake:
        raise NotImplementedError

    def task_of(self, project: str, _within_s: float) -> Task | None:
        if self.silent is not None:
            self.silent.wait(20.0)
        return self.tasks.get(project)


@contextmanager
def before(folder: Path, models: Platform | None = None) -> Iterator[tuple[InferenceServer, RunningListener]]:
    with (
        InferenceServer() as server,
        running_listener(folder, upstream=server.url, models=models or Platform()) as listener,
    ):
        yield server, listener


def listed(listener: RunningListener) -> list[dict[str, Any]]:
    answer = requests.get(f"{listener.url}/model/registry", headers=WITH_KEY, timeout=20)
    assert answer.status_code == 200
    return list(answer.json()["models"])


def about(listener: RunningListener, what: str, model_id: str) -> requests.Response:
    return requests.post(f"{listener.url}/model/{what}", json={"model_id": model_id, "api_key": KEY}, timeout=20)


def described(model_id: str) -> dict[str, str]:
    return {"model_id": model_id, "task_type": str(TYPES[model_id.partition("/")[0]])}


def infer(listener: RunningListener, model_id: str, task: Task, count: int | None = None) -> Any:
    image = {"type": "base64", "value": in_base64(picture())}
    body = {"api_key": KEY, "model_id": model_id, "image": image if count is None else [image] * count}
    return requests.post(f"{listener.url}/infer/{ROUTES[task]}", json=body, timeout=20).json()


def like_the_sdk(listener: RunningListener, model_id: str) -> Any:
    """infer() of API v1 of `inference-sdk` 1.8.3: the registry, the model where that hasn't got it, and the route of
    its task."""
    known = [one for one in listed(listener) if one["model_id"] == model_id]
    if not known:
        known = [one for one in about(listener, "add", model_id).json()["models"] if one["model_id"] == model_id]
    return infer(listener, model_id, Task(known[0]["task_type"]))


@pytest.mark.parametrize("server_is_there", [True, False])
@pytest.mark.parametrize("project", TYPES)
def test_version_0_is_found_loaded_and_answered_with_the_projects_task(
    tmp_path: Path, project: str, server_is_there: bool
) -> None:
    model_id, task = f"{project}/0", TYPES[project]
    stub = {"time": 0.0, "is_stub": True, "model_id": model_id, "task_type": str(task)}
    with before(tmp_path) as (server, listener):
        if not server_is_there:
            server.go_away()
        for _ in range(2):
            assert like_the_sdk(listener, model_id) == stub
        legacy = requests.post(f"{listener.url}/{model_id}", data=in_base64(picture()), headers=WITH_KEY, timeout=20)
        assert legacy.json() == stub
        assert infer(listener, model_id, Task.OBJECT_DETECTION, 2) == [stub, stub]  # whatever the route says
        assert listener.until(lambda: listener.count("offered") == 4)
        found = [wire.parse_prediction(json.loads(item.prediction)) for item in listener.items()]
        assert len(found) == 5
        assert all(isinstance(one, Stub) and one.task is task for one in found)
        assert all(one.path == "/model/registry" for one in server.asked)


def test_the_registry_is_the_servers_with_those_of_version_0_that_were_added(tmp_path: Path) -> None:
    with before(tmp_path) as (server, listener):
        theirs = listed(listener)
        assert [one["model_id"] for one in theirs] == list(MODELS)
        for model_id in ("signs/0", "cars/0", "signs/0"):
            assert described(model_id) in about(listener, "add", model_id).json()["models"]
        assert listed(listener) == [*theirs, described("cars/0"), described("signs/0")]
        assert about(listener, "remove", "cars/0").json()["models"] == [*theirs, described("signs/0")]
        assert requests.post(f"{listener.url}/model/clear", timeout=20).json()["models"] == theirs
        assert listed(listener) == theirs
        assert {one.key_in for one in server.asked if one.path == "/model/registry"} <= {"header", None}


def test_while_there_is_no_server_the_registry_is_what_was_added_here(tmp_path: Path) -> None:
    with before(tmp_path) as (server, listener):
        server.go_away()
        assert listed(listener) == []
        assert about(listener, "add", "cars/0").json() == {"models": [described("cars/0")]}
        assert listed(listener) == [described("cars/0")]
        assert about(listener, "add", "cars/1").status_code == 502
        assert requests.get(f"{listener.url}/info", timeout=20).status_code == 502
        assert requests.post(f"{listener.url}/model/clear", timeout=20).json() == {"models": []}
        assert requests.post(f"{listener.url}/model/clear", timeout=20).status_code == 502  # none of ours is left


def test_the_body_of_a_request_that_the_listener_answers_is_not_taken_for_the_next_request(tmp_path: Path) -> None:
    with before(tmp_path) as (_, listener):
        about(listener, "add", "cars/0")
        hidden = request_head(first="GET /info HTTP/1.1")
        sent = request_head(f"Content-Length: {len(hidden)}", first="GET /model/registry HTTP/1.1") + hidden
        answered = raw_exchange(listener.port, sent)
        assert answered.count(b"HTTP/1.1 ") == 1
        assert b"cars/0" in answered


@pytest.mark.parametrize("answer", [Status(404), Status(500), Status(200, {}, "[]"), Status(200, {}, '{"models": 1}')])
def test_a_server_without_a_registry_does_not_keep_version_0_out_of_it(tmp_path: Path, answer: Status) -> None:
    with before(tmp_path) as (server, listener):
        server.orders.add(Fault("other", answer, times=None))
        assert about(listener, "add", "cars/0").json()["models"] == [described("cars/0")]
        assert listed(listener) == [described("cars/0")]


def test_other_registry_requests_are_forwarded_byte_for_byte(tmp_path: Path) -> None:
    def calls(port: int) -> list[bytes]:
        def post(path: str, body: bytes) -> bytes:
            return (
                request_head(f"Content-Length: {len(body)}", "Connection: close", first=f"POST {path} HTTP/1.1") + body
            )

        said = [
            request_head("Connection: close", first=f"GET /model/registry?api_key={KEY} HTTP/1.1"),
            *(
                post("/model/add", json.dumps({"model_id": one, "api_key": KEY}).encode())
                for one in ("boxes/1", "no/1")
            ),
            post("/model/remove", b'{"model_id": "boxes/1"}'),
            post("/model/add", b'{"model_id": "cars/0" '),
            post("/model/add", b'{"model_id": ["cars/0"]}'),
            post("/model/add", b'{"model_id": "cars/00/0"}'),
            post("/model/add", b'{"model_id": "a/0", "x": "' + b"x" * (100 << 10) + b'"}'),  # no name is as long
            post("/model/clear", b""),
        ]
        return [_without_date(raw_exchange(port, one)) for one in said]

    with before(tmp_path) as (server, listener):
        directly = calls(server.port)
        assert calls(listener.port) == directly
        seen = [(one.path, one.size_bytes, one.status) for one in server.asked]
        assert seen[: len(directly)] == seen[len(directly) :]


def _without_date(answer: bytes) -> bytes:
    return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"Date: "))


@pytest.mark.parametrize("line", ["Host: evil.example", "Origin: https://evil.example"])
def test_a_web_page_of_another_machine_adds_no_stub(tmp_path: Path, line: str) -> None:
    body = json.dumps({"model_id": "cars/0"}).encode()
    host, more = (line, ()) if line.startswith("Host") else ("Host: localhost", (line,))
    with before(tmp_path) as (server, listener):
        head = request_head(
            *more,
            f"Content-Length: {len(body)}",
            "Connection: close",
            first="POST /model/add HTTP/1.1",
            host=host,
        )
        raw_exchange(listener.port, head + body)
        assert [one.path for one in server.asked] == ["/model/add"]
        assert described("cars/0") not in listed(listener)


def test_so_many_are_remembered_and_the_oldest_gives_way(tmp_path: Path) -> None:
    with before(tmp_path, Platform({})) as (server, listener):
        server.go_away()
        with requests.Session() as session:
            for number in range(MAX_STUBS + 2):
                session.post(f"{listener.url}/model/add", json={"model_id": f"p{number}/0"}, timeout=20)
        assert [one["model_id"] for one in listed(listener)] == [f"p{number}/0" for number in range(2, MAX_STUBS + 2)]


@pytest.mark.parametrize("make", [lambda: Platform({}), lambda: Platform(silent=threading.Event())])
def test_if_the_platform_does_not_tell_the_task_it_is_the_task_of_the_route(
    tmp_path: Path, make: Callable[[], Platform]
) -> None:
    models = make()
    with before(tmp_path, models) as (_, listener):
        try:
            assert infer(listener, "signs/0", Task.KEYPOINT_DETECTION)["task_type"] == "keypoint-detection"
            legacy = requests.post(f"{listener.url}/signs/0", data=in_base64(picture()), timeout=20)
            assert legacy.json()["task_type"] == "object-detection"
        finally:
            if models.silent is not None:
                models.silent.set()


def test_a_server_that_keeps_its_list_to_itself_keeps_nobody_waiting_for_ever(tmp_path: Path) -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.read()  # says nothing until the other side has gone

    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url, models=Platform()) as listener:
        assert about(listener, "add", "cars/0").json() == {"models": [described("cars/0")]}


def test_with_a_token_the_server_does_not_see_it_in_the_list_either(tmp_path: Path) -> None:
    with (
        InferenceServer() as server,
        running_listener(
            tmp_path, upstream=server.url, models=Platform(), token="a-token-of-this-listener"
        ) as listener,
    ):
        headers = {"X-Framesift-Token": "a-token-of-this-listener", "Authorization": f"Bearer {KEY}"}
        body = {"model_id": "cars/0"}
        assert requests.post(f"{listener.url}/model/add", json=body, timeout=20).status_code == 401
        answer = requests.post(f"{listener.url}/model/add", json=body, headers=headers, timeout=20)
        assert answer.json()["models"][-1] == described("cars/0")
        (asked,) = server.asked
        assert (asked.key_in, asked.key_known) == ("header", True)
        assert "x-framesift-token" not in asked.headers


def test_what_is_no_stub_is_not_answered_for_one(tmp_path: Path) -> None:
    with before(tmp_path) as (server, listener):
        server.orders.add(Fault("infer", Status(200, {}, prediction_json()), times=None))
        for model_id in ("cars/10", "cars/0/1", "0/cars"):
            image = {"type": "base64", "value": in_base64(picture())}
            body = {"model_id": model_id, "image": image, "note": "cars/0"}
            assert (
                requests.post(f"{listener.url}/infer/object_detection", json=body, timeout=20).json()
                == prediction_json()
            )
        assert len(server.asked) == 3
