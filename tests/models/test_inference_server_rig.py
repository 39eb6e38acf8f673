"""The stand-in for the inference server answers as the documented server does, to what its documented clients send."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from rigs.inference import Cut, Fault, Html, InferenceServer, Rectangle, Status, painted

BOX = Rectangle("red", 100, 50, 300, 250, confidence=0.8)
CENTRE = {"x": 200.0, "y": 150.0, "width": 200.0, "height": 200.0}
JPEG = cv2.imencode(".jpg", painted(640, 480, BOX), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
TEXT = base64.b64encode(JPEG).decode()
# No canary: the client of this test logs whole addresses.
KEY = "a-key-to-be-seen"
QUERY = {"api_key": KEY}


def v1(server: InferenceServer, path: str, **body: Any) -> requests.Response:
    whole = {"api_key": KEY, "image": {"type": "base64", "value": TEXT}, **body}
    return requests.post(f"{server.url}/infer/{path}", json=whole, timeout=10)


def legacy(server: InferenceServer, model_id: str, body: Any = TEXT, **query: Any) -> requests.Response:
    return requests.post(
        f"{server.url}/{model_id}",
        params={**QUERY, **query},
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )


@pytest.mark.parametrize(
    ("path", "model_id"),
    [("object_detection", "boxes/1"), ("instance_segmentation", "shapes/1"), ("keypoints_detection", "points/1")],
)
def test_a_detector_finds_the_coloured_rectangle(path: str, model_id: str) -> None:
    with InferenceServer(key=KEY) as server:
        first, second = v1(server, path, model_id=model_id), legacy(server, model_id)
        assert first.content == second.content  # whichever route, and however often
        assert first.json()["image"] == {"width": 640, "height": 480}
        (found,) = first.json()["predictions"]
        assert CENTRE.items() <= found.items()
        assert (found["class"], found["class_id"]) == ("red", 2)
        assert found["confidence"] == pytest.approx(0.8, abs=0.01)
        assert ("points" in found, "keypoints" in found) == (model_id == "shapes/1", model_id == "points/1")
        assert [(r.wanted.route, r.wanted.model_id) for r in server.asked if r.wanted] == [
            ("v1", model_id),
            ("legacy", model_id),
        ]
        assert [r.key_in for r in server.asked] == ["body", "query"]


def test_a_classifier_names_the_prevailing_colour() -> None:
    with InferenceServer(key=KEY) as server:
        one = v1(server, "classification", model_id="labels/1").json()
        many = v1(server, "classification", model_id="many/1", confidence=0.28).json()
        assert (one["top"], one["predictions"][0]["class"]) == ("red", "red")
        assert one["confidence"] == one["predictions"][0]["confidence"]
        assert v1(server, "classification", model_id="labels/1", confidence=0.9).json()["top"] == ""
        assert list(many["predictions"]) == ["blue", "green", "red"]
        assert many["predicted_classes"] == ["red"]


def test_a_list_is_answered_by_a_list() -> None:
    other = cv2.imencode(".png", painted(64, 48))[1].tobytes()
    pair = [{"type": "base64", "value": text} for text in (TEXT, base64.b64encode(other).decode())]
    with InferenceServer(key=KEY) as server:
        answers = v1(server, "object_detection", model_id="boxes/1", image=pair).json()
        assert [one["image"]["width"] for one in answers] == [640, 64]
        assert [len(one["predictions"]) for one in answers] == [1, 0]
        assert server.asked[0].wanted is not None
        assert server.asked[0].wanted.images == (JPEG, other)


def test_version_0_is_the_stub() -> None:
    with InferenceServer(key=KEY) as server:
        answers = {"is_stub": True, "model_id": "labels/0", "task_type": "classification"}
        assert answers.items() <= legacy(server, "labels/0").json().items()
        assert v1(server, "object_detection", model_id="anything/0").json()["task_type"] == "object-detection"


def test_the_legacy_route_takes_multipart_answers_pictures_and_counts_percents() -> None:
    with InferenceServer(key=KEY) as server:
        url = f"{server.url}/boxes/1"
        whole = requests.post(url, params=QUERY, files={"file": ("a.jpg", JPEG)}, timeout=10)
        assert CENTRE.items() <= whole.json()["predictions"][0].items()
        drawn = legacy(server, "boxes/1", format="image")
        assert drawn.headers["Content-Type"] == "image/jpeg"
        assert cv2.imdecode(np.frombuffer(drawn.content, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
        assert legacy(server, "boxes/1", confidence=90).json()["predictions"] == []


@pytest.mark.parametrize(
    ("status", "ask"),
    [
        (422, lambda s: v1(s, "object_detection")),
        (422, lambda s: v1(s, "object_detection", model_id="boxes/1", confidence="high")),
        (422, lambda s: requests.post(f"{s.url}/infer/classification", data="no JSON", timeout=10)),
        (400, lambda s: v1(s, "object_detection", model_id="boxes/1", image={"type": "base64", "value": "AAAA"})),
        (400, lambda s: v1(s, "object_detection", model_id="boxes/1", image={"type": "url", "value": "http://x"})),
        (400, lambda s: v1(s, "classification", model_id="boxes/1")),
        (400, lambda s: v1(s, "object_detection", model_id="boxes/1", api_key=None)),
        (401, lambda s: v1(s, "object_detection", model_id="boxes/1", api_key="another")),
        (404, lambda s: v1(s, "object_detection", model_id="boxes/7")),
        (400, lambda s: legacy(s, "boxes/1", body="not base64!")),
        (400, lambda s: legacy(s, "boxes/1", image="http://elsewhere/a.jpg")),
        (404, lambda s: requests.get(f"{s.url}/boxes", timeout=10)),
    ],
)
def test_a_refusal_shows_the_servers_message(status: int, ask: Any) -> None:
    with InferenceServer(key=KEY) as server:
        answer = ask(server)
        assert answer.status_code == status
        assert set(answer.json()) == ({"detail"} if status in (404, 422) and "detail" in answer.json() else {"message"})


def test_it_describes_itself() -> None:
    with InferenceServer(key=None) as server:
        answers = {
            path: requests.get(server.url + path, timeout=10).json() for path in ("/info", "/healthz", "/readiness")
        }
        assert set(answers["/info"]) == {"name", "version", "uuid"}
        assert answers["/healthz"] == {"status": "healthy"}
        listed = requests.get(f"{server.url}/model/registry", timeout=10).json()["models"]
        assert {"model_id": "boxes/1", "task_type": "object-detection"}.items() <= listed[0].items()
        added = requests.post(f"{server.url}/model/add", json={"model_id": "boxes/1"}, timeout=10)
        assert added.json() == {"models": listed}


def test_a_request_that_lets_the_server_learn_is_an_offence() -> None:
    with InferenceServer(key=KEY, forbid_active_learning=True) as server:
        assert v1(server, "object_detection", model_id="boxes/1").status_code == 500
        assert legacy(server, "boxes/1").status_code == 500
        assert v1(server, "object_detection", model_id="boxes/1", disable_active_learning=True).status_code == 200
        assert legacy(server, "boxes/1", disable_active_learning="true").status_code == 200
        server.orders.add(Fault("infer", Html()))
        assert v1(server, "object_detection", model_id="boxes/1").headers["Content-Type"].startswith("text/html")
        assert len(server.offences) == 3
        server.offences.clear()


def test_it_keeps_connections_misbehaves_on_order_stops_and_starts_again() -> None:
    with InferenceServer(key=KEY) as server, requests.Session() as session:
        for _ in range(3):
            session.post(f"{server.url}/boxes/1", params=QUERY, data=TEXT, headers={"Content-Type": "text/plain"})
        assert server.connections == 1
        server.orders.add(Fault("infer", Status(503, {"Retry-After": "2"})), Fault("infer", Cut()))
        busy = legacy(server, "boxes/1")
        assert (busy.status_code, busy.headers["Retry-After"], busy.json()) == (503, "2", {"message": "as ordered"})
        with pytest.raises(requests.ConnectionError):
            legacy(server, "boxes/1")
        server.go_away()
        with pytest.raises(requests.ConnectionError):
            legacy(server, "boxes/1")
        server.come_back()
        assert legacy(server, "boxes/1").status_code == 200
        assert [r.status for r in server.asked] == [200, 200, 200, 503, None, 200]


def test_it_can_be_started_by_hand() -> None:
    command = [sys.executable, "-m", "rigs.inference", "--port", "0"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[4].rstrip(";")
        try:
            assert requests.get(f"{url}/healthz", timeout=10).status_code == 200
        finally:
            process.terminate()
        assert process.wait(10) == 0
