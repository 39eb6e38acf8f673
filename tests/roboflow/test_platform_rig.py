"""The stand-in for the platform does what the platform's wire documentation says, and fails as it is told."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from rigs.platform import (
    Answer,
    BadJson,
    Cut,
    Delay,
    Fault,
    Html,
    Oversized,
    Platform,
    Redirect,
    SayDuplicate,
    Status,
    Trickle,
)

TESTS = Path(__file__).parents[1]
KEY = "the-key-of-these-tests"  # not the canary: plain `requests` logs and raises with the whole address


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform(key=KEY) as started:
        started.add_project("parking", "instance-segmentation", models={3: "yolov8s-seg"})
        yield started


def get(platform: Platform, path: str, key: str = KEY, **more: Any) -> requests.Response:
    return requests.get(f"{platform.url}{path}", params={"api_key": key}, timeout=20, **more)


def upload(
    platform: Platform,
    content: bytes,
    *,
    tags: tuple[str, ...] = (),
    inference_id: str = "",
    name: str = "one.jpg",
    **more: Any,
) -> requests.Response:
    query = [("api_key", KEY), ("batch", "al batch_2026"), *([("inference_id", inference_id)] if inference_id else [])]
    return requests.post(
        f"{platform.url}/dataset/parking/upload",
        params=[*query, *(("tag", tag) for tag in tags)],
        files=[("name", (None, name)), ("file", ("imageToUpload", content, "image/jpeg"))],
        timeout=20,
        **more,
    )


def annotate(
    platform: Platform, image_id: str, text: str = "{}", name: str = "one.json", **more: Any
) -> requests.Response:
    return requests.post(
        f"{platform.url}/dataset/parking/annotate/{image_id}",
        params={"api_key": KEY, "name": name, "prediction": more.pop("prediction", "true")},
        data=text,
        headers=more.pop("headers", {"Content-Type": "text/plain"}),
        timeout=20,
    )


def test_a_key_tells_its_workspace_and_another_key_is_not_authorized(platform: Platform) -> None:
    assert get(platform, "/").json()["workspace"] == "yard"
    assert get(platform, "/", key="other").status_code == 401
    platform.revoke_key()
    assert get(platform, "/yard/parking").status_code == 401
    platform.restore_key()
    assert get(platform, "/yard/parking").status_code == 200


def test_a_project_tells_its_type_and_the_type_of_its_models(platform: Platform) -> None:
    assert get(platform, "/yard/parking").json()["project"]["type"] == "instance-segmentation"
    assert get(platform, "/yard/parking/3").json() == {"version": {"modelType": "yolov8s-seg"}}
    platform.add_project("untyped", None)
    assert "type" not in get(platform, "/yard/untyped").json()["project"]


@pytest.mark.parametrize(
    "path", ["/yard/nowhere", "/other/parking", "/yard/parking/9", "/yard/parking/active_learning"]
)
def test_what_is_not_there_is_not_found(platform: Platform, path: str) -> None:
    assert get(platform, path).status_code == 404


def test_an_upload_is_stored_with_all_that_came_with_it(platform: Platform) -> None:
    content = bytes(range(256)) * 4 + b"\r\n--\r\n"
    answer = upload(platform, content, tags=("b", "a", "b"), inference_id="i-1").json()
    (image,) = platform.images
    assert answer == {"success": True, "id": image.id}
    assert (image.jpeg, image.name, image.batch) == (content, "one.jpg", "al batch_2026")
    assert (image.tags, image.inference_id, image.project) == (("b", "a", "b"), "i-1", "parking")


def test_the_same_bytes_again_are_a_duplicate_of_the_first(platform: Platform) -> None:
    first = upload(platform, b"one").json()["id"]
    assert upload(platform, b"one").json() == {"duplicate": True, "id": first}
    assert upload(platform, b"two").json()["id"] != first
    assert [image.uploads for image in platform.images] == [2, 1]
    theirs = platform.add_image("parking", b"three")
    assert upload(platform, b"three").json() == {"duplicate": True, "id": theirs.id}


@pytest.mark.parametrize(
    "files",
    [
        {"file": ("imageToUpload", b"x", "image/jpeg")},
        {"name": (None, "one.jpg")},
        {"name": (None, "one.jpg"), "file": (None, b"x")},
        {"name": (None, "one.jpg"), "file": ("imageToUpload", b"x")},
    ],
)
def test_an_upload_without_its_two_parts_is_refused(platform: Platform, files: dict[str, Any]) -> None:
    query = {"api_key": KEY, "batch": "b"}
    answer = requests.post(f"{platform.url}/dataset/parking/upload", params=query, files=files, timeout=20)
    assert answer.status_code == 400
    assert not platform.images


def test_an_upload_that_is_no_multipart_or_has_no_end_or_no_batch_is_refused(platform: Platform) -> None:
    url = f"{platform.url}/dataset/parking/upload?api_key={KEY}"
    bodies = {
        "image/jpeg": b"x",
        "multipart/form-data; boundary=b": b'--b\r\nContent-Disposition: form-data; name="name"',
    }
    for content_type, body in bodies.items():
        answer = requests.post(f"{url}&batch=b", data=body, headers={"Content-Type": content_type}, timeout=20)
        assert answer.status_code == 400
    files: Any = {"name": (None, "one.jpg"), "file": ("imageToUpload", b"x", "image/jpeg")}
    assert requests.post(url, files=files, timeout=20).status_code == 400


def test_an_annotation_is_stored_once(platform: Platform) -> None:
    image_id = upload(platform, b"one").json()["id"]
    assert annotate(platform, image_id, '{"predictions": []}').json() == {"success": True}
    (stored,) = platform.annotations_of(image_id)
    assert (stored.name, stored.content_type, stored.prediction) == ("one.json", "text/plain", True)
    assert stored.json() == {"predictions": []}
    assert annotate(platform, image_id).status_code == 409
    assert annotate(platform, "nobody").status_code == 404
    assert len(platform.annotations) == 1


def test_an_annotation_that_the_documented_client_would_not_send_is_refused(platform: Platform) -> None:
    image_id = upload(platform, b"one").json()["id"]
    assert annotate(platform, image_id, prediction="True").status_code == 400
    assert annotate(platform, image_id, name="one").status_code == 400
    assert annotate(platform, image_id, headers={"Content-Type": "application/json"}).status_code == 400
    bearer = {"Content-Type": "text/plain", "Authorization": f"Bearer {KEY}"}
    assert annotate(platform, image_id, headers=bearer).status_code == 400
    assert annotate(platform, image_id, text="no json").status_code == 400
    assert not platform.annotations
    assert annotate(platform, image_id, text="", name="one.txt").status_code == 200


def test_batches_grow_with_what_is_uploaded_and_jobs_are_as_declared(platform: Platform) -> None:
    for content in (b"one", b"two", b"two"):
        upload(platform, content)
    (batch,) = get(platform, "/yard/parking/batches").json()["batches"]
    assert batch == {
        "id": platform.batch("parking", "al batch_2026").id,
        "name": "al batch_2026",
        "images": 2,
        "numJobs": 0,
    }
    assert get(platform, "/yard/parking/jobs").json() == {"jobs": []}
    platform.set_batch("parking", "al batch_2026", images=1, jobs=(4, 2))
    (batch,) = get(platform, "/yard/parking/batches").json()["batches"]
    assert (batch["images"], batch["numJobs"]) == (1, 2)
    said = [{"sourceBatch": batch["id"], "numImages": 4}, {"sourceBatch": batch["id"], "numImages": 2}]
    assert get(platform, "/yard/parking/jobs").json() == {"jobs": said}


def test_a_gateway_on_the_way_is_followed_to_the_url_that_it_is_given(platform: Platform) -> None:
    inner = f"https://api.roboflow.com/yard/parking?api_key={KEY}&nocache=true"
    answer = requests.get(f"{platform.url}/proxy?url={quote(inner, safe='')}", timeout=20)
    assert answer.json()["project"]["type"] == "instance-segmentation"
    (received,) = platform.requests
    assert (received.call, received.by_gateway, received.query) == ("project", True, (("nocache", "true"),))


def test_requests_are_remembered_in_order_and_without_the_key(platform: Platform) -> None:
    get(platform, "/")
    upload(platform, b"one", tags=("t",))
    get(platform, "/yard/parking", key="other")
    calls = [(received.call, received.status, received.key_known) for received in platform.requests]
    assert calls == [("workspace", 200, True), ("upload", 200, True), ("project", 401, False)]
    assert platform.requests[1].query == (("batch", "al batch_2026"), ("tag", "t"))
    assert KEY not in repr(platform.requests)


def test_one_connection_carries_many_requests(platform: Platform) -> None:
    with socket.create_connection(("127.0.0.1", platform.port)) as raw:
        for _ in range(3):
            raw.sendall(f"GET /?api_key={KEY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b"yard" in raw.recv(4096)


def test_orders_are_carried_out_as_often_as_they_say(platform: Platform) -> None:
    platform.orders.add(Fault("project", Status(503), times=2, skip=1))
    assert [get(platform, "/yard/parking").status_code for _ in range(4)] == [200, 503, 503, 200]
    assert [get(platform, "/").status_code] == [200]
    platform.orders.add(Fault("any", Status(500), times=None))
    assert [get(platform, path).status_code for path in ("/", "/yard/parking", "/x/y/z")] == [500, 500, 500]
    platform.orders.clear()
    assert get(platform, "/").status_code == 200


def test_an_order_can_mean_a_share_of_the_requests(platform: Platform) -> None:
    platform.orders.add(Fault("workspace", Status(500), times=None, share=0.5))
    with requests.Session() as session:
        answers = [session.get(f"{platform.url}/?api_key={KEY}", timeout=20).status_code for _ in range(200)]
    assert 60 < answers.count(500) < 140


def test_a_status_comes_with_its_headers_and_body(platform: Platform) -> None:
    platform.orders.add(
        Fault("project", Status(429, {"Retry-After": "7"})), Fault("project", Status(500, body="<oops>", stored=False))
    )
    busy = get(platform, "/yard/parking")
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    assert "message" in busy.json()["error"]
    assert get(platform, "/yard/parking").text == "<oops>"


@pytest.mark.parametrize(("action", "stored"), [(Cut(), 0), (Cut(stored=True), 1), (Cut(reset=True), 0)])
def test_a_cut_connection_gives_no_answer_whether_the_image_was_stored_or_not(
    platform: Platform, action: Cut, stored: int
) -> None:
    platform.orders.add(Fault("upload", action))
    with pytest.raises(requests.ConnectionError):
        upload(platform, b"one")
    assert len(platform.images) == stored
    assert platform.requests[-1].status is None
    assert upload(platform, b"one").status_code == 200


def test_an_answer_can_be_cut_in_its_middle(platform: Platform) -> None:
    platform.orders.add(Fault("upload", Cut(stored=True, sent=0.5)))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        upload(platform, b"one")
    assert len(platform.images) == 1


def test_wrong_answers_of_every_kind(platform: Platform) -> None:
    platform.orders.add(Fault("upload", Html()), Fault("upload", BadJson()), Fault("upload", Oversized(100_000)))
    page = upload(platform, b"one")
    assert (page.status_code, page.headers["Content-Type"], len(platform.images)) == (200, "text/html", 0)
    with pytest.raises(ValueError):
        upload(platform, b"one").json()
    assert len(upload(platform, b"two").content) > 100_000
    platform.orders.add(Fault("upload", SayDuplicate()), Fault("upload", Answer({"error": "no"})))
    assert upload(platform, b"three").json()["duplicate"] is True
    assert upload(platform, b"three").json() == {"error": "no"}
    assert [image.jpeg for image in platform.images] == [b"one", b"two"]
    platform.orders.add(Fault("upload", Redirect("http://127.0.0.1:9/portal")))
    sent_on = upload(platform, b"four", allow_redirects=False)
    assert (sent_on.status_code, sent_on.headers["Location"]) == (302, "http://127.0.0.1:9/portal")


def test_an_answer_can_come_late_never_or_byte_for_byte(platform: Platform) -> None:
    platform.orders.add(Fault("workspace", Delay(0.05)), Fault("workspace", Trickle(2000.0)))
    assert get(platform, "/").elapsed.total_seconds() >= 0.05
    assert get(platform, "/").json()["workspace"] == "yard"
    platform.orders.add(Fault("workspace", Delay(math.inf)))
    with socket.create_connection(("127.0.0.1", platform.port)) as raw:
        raw.sendall(f"GET /?api_key={KEY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert platform.until(lambda: len(platform.requests) == 3)
        platform.go_away()
        assert raw.recv(10) == b""


def test_while_it_is_away_connections_are_refused_and_afterwards_it_knows_what_it_knew(platform: Platform) -> None:
    upload(platform, b"one")
    with socket.create_connection(("127.0.0.1", platform.port)) as idle:
        idle.sendall(f"GET /?api_key={KEY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert idle.recv(4096)
        platform.go_away()
        assert idle.recv(10) == b""
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", platform.port))
    platform.come_back()
    assert upload(platform, b"one").json()["duplicate"] is True


def test_it_speaks_tls_with_a_certificate(tmp_path: Path) -> None:
    pem, key = tmp_path / "c.pem", tmp_path / "k.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stand-in"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(words, check=True, capture_output=True)
    with Platform(key=KEY, certificate=(pem, key)) as platform:
        assert platform.url.startswith("https://")
        assert get(platform, "/", verify=str(pem)).json()["workspace"] == "yard"
        with pytest.raises(requests.exceptions.SSLError):
            get(platform, "/")


def test_what_it_gets_is_written_to_its_folder(tmp_path: Path) -> None:
    with Platform(key=KEY, folder=tmp_path / "got") as platform:
        platform.add_project("parking")
        image_id = upload(platform, b"one", tags=("t",)).json()["id"]
        annotate(platform, image_id, '{"predictions": []}')
    written = {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()}
    assert written[f"{image_id}.jpg"] == b"one"
    assert json.loads(written[f"{image_id}.json"])["tags"] == ["t"]
    assert written[f"{image_id}.annotation.json"] == b'{"predictions": []}'
    assert all(KEY.encode() not in content for content in written.values())


def test_it_knows_its_folder_again_and_counts_on(tmp_path: Path) -> None:
    with Platform(key=KEY, folder=tmp_path) as platform:
        platform.add_project("parking")
        first = upload(platform, b"one", tags=("t",)).json()["id"]
        annotate(platform, first, '{"predictions": []}')
        image = platform.images[0]
    (tmp_path / "image000009.jpg").write_bytes(b"it was killed before it wrote what this is")
    with Platform(key=KEY, folder=tmp_path) as platform:
        platform.add_project("parking")
        assert platform.images == (image,)
        assert [annotation.text for annotation in platform.annotations_of(first)] == ['{"predictions": []}']
        assert annotate(platform, first, '{"predictions": []}').status_code == 409
        assert upload(platform, b"one").json() == {"duplicate": True, "id": first}
        assert upload(platform, b"two").json()["id"] != first


def test_equal_bytes_are_one_image_or_one_for_each_name(platform: Platform, tmp_path: Path) -> None:
    assert "duplicate" not in upload(platform, b"one", name="a.jpg").json()
    assert upload(platform, b"one", name="b.jpg").json()["duplicate"] is True
    with Platform(key=KEY, folder=tmp_path, one_of="name") as by_name:
        by_name.add_project("parking")
        first = upload(by_name, b"one", name="a.jpg").json()["id"]
        assert upload(by_name, b"one", name="b.jpg").json()["id"] != first
        assert upload(by_name, b"one", name="a.jpg").json() == {"duplicate": True, "id": first}


def test_the_page_shows_every_picture_with_its_tags_and_what_is_annotated_and_trusts_none_of_it(
    platform: Platform,
) -> None:
    image_id = upload(platform, b"one", tags=("<script>",)).json()["id"]
    box = {"x": 5, "y": 6, "width": 4, "height": 2, "class": "car<", "confidence": 0.5}
    annotate(platform, image_id, json.dumps({"image": {"width": 20, "height": 10}, "predictions": [box, 7, {}]}))
    other = upload(platform, b"two").json()["id"]
    annotate(platform, other, "cat", name="one.txt")
    page = requests.get(f"{platform.url}/stand-in", timeout=20).text
    assert 'viewBox="0 0 20 10"' in page
    assert '<rect class=box x="3.0" y="5.0" width="4.0" height="2.0"/>' in page
    assert "car&lt; 0.50" in page
    assert "annotation: cat" in page
    assert "<script>" not in page
    assert requests.get(f"{platform.url}/stand-in/{image_id}.jpg", timeout=20).content == b"one"
    assert len(platform.asked("upload")) == len(platform.requests) - 2


def test_many_clients_at_once_are_all_served(platform: Platform) -> None:
    def work(number: int) -> None:
        upload(platform, str(number).encode())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    assert platform.until(lambda: len(platform.images) == 20)
    for thread in threads:
        thread.join()
    assert platform.batch("parking", "al batch_2026").images == 20


def test_by_hand_it_says_how_to_point_framesift_at_it_and_what_it_gets(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "rigs.platform", "--port", "0", "--folder", str(tmp_path / "got")]
    words += ["--key", KEY, "--project", "parking:classification"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    try:
        url = next(line.split()[1] for line in process.stdout if line.strip().startswith("api_url:"))
        told = requests.get(f"{url}/yard/parking", params={"api_key": KEY}, timeout=20).json()
        assert told["project"]["type"] == "classification"
        line = next(line for line in process.stdout if line.startswith("200"))
        assert "GET /yard/parking" in line
        assert KEY not in line
        words[4] = url.rpartition(":")[2]
        second = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=20, check=False)
        assert second.returncode == 2
        assert "is taken" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
