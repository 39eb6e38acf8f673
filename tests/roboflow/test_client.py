"""The platform's client: what goes over the wire for each call, and what is made of the answer."""

from __future__ import annotations

import email
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from canaries import KEY
from framesift import __version__
from framesift.http_client.client import HttpClient
from framesift.roboflow import (
    LabelingBatch,
    LabelingJob,
    PlatformError,
    PlatformErrorKind,
    RoboflowClient,
    UploadResult,
)
from rigs.platform import WORKSPACE, Platform
from rigs.raw_http_server import RawRequest, answering

WITHIN_S = 10.0


def answer(content: Any) -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def asked_by(call: Callable[[RoboflowClient], object], content: Any) -> tuple[RawRequest, object]:
    """What a call sent to a server that answers so, and what the call came to."""
    with answering(answer(content)) as server:
        came_to = call(RoboflowClient(HttpClient(), api_key=KEY, api_url=server.url))
    (asked,) = server.asked
    return asked, came_to


def upload(client: RoboflowClient, **changes: Any) -> UploadResult:
    values: dict[str, Any] = {
        "name": "a.jpg",
        "jpeg": b"\xff\xd8\0\r\n--",
        "batch": "cars",
        "tags": (),
        "within_s": WITHIN_S,
    }
    return client.upload("gate", **(values | changes))


def annotate(client: RoboflowClient, text: str = "car") -> None:
    client.annotate("gate", "img1", name="a.txt", text=text, within_s=WITHIN_S)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as platform:
        platform.add_project("gate", "instance-segmentation", models={3: "yolov8s-seg"})
        yield platform
    assert platform.bugs == []


@pytest.fixture
def client(platform: Platform) -> RoboflowClient:
    return RoboflowClient(HttpClient(), api_key=KEY, api_url=platform.url)


# What goes over the wire


@pytest.mark.parametrize(
    ("call", "content", "first_line"),
    [
        (lambda c: c.fetch_workspace(within_s=9), {"workspace": "yard"}, f"GET /?api_key={KEY}&nocache=true"),
        (
            lambda c: c.fetch_project_type("yard", "gate", within_s=9),
            {"project": {}},
            f"GET /yard/gate?api_key={KEY}&nocache=true",
        ),
        (
            lambda c: c.fetch_model_type("yard", "gate", "3", within_s=9),
            {"version": {"modelType": "x"}},
            f"GET /yard/gate/3?api_key={KEY}&nocache=true",
        ),
        (
            lambda c: c.fetch_active_learning("yard", "gate", within_s=9),
            {},
            f"GET /yard/gate/active_learning?api_key={KEY}",
        ),
        (
            lambda c: c.list_batches("yard", "gate", within_s=9),
            {"batches": []},
            f"GET /yard/gate/batches?api_key={KEY}",
        ),
        (lambda c: c.list_jobs("yard", "gate", within_s=9), {"jobs": []}, f"GET /yard/gate/jobs?api_key={KEY}"),
        (
            lambda c: c.set_active_learning("yard", "gate", {}, within_s=9),
            {},
            f"POST /yard/gate/active_learning?api_key={KEY}",
        ),
        (annotate, {"success": True}, f"POST /dataset/gate/annotate/img1?api_key={KEY}&name=a.txt&prediction=true"),
        (upload, {"success": True, "id": "i"}, f"POST /dataset/gate/upload?api_key={KEY}&batch=cars"),
        (
            lambda c: upload(c, batch="cars & more", tags=("x:1", "x:1", "day"), inference_id="ab"),
            {"success": True, "id": "i"},
            f"POST /dataset/gate/upload?api_key={KEY}&batch=cars+%26+more&inference_id=ab&tag=x%3A1&tag=x%3A1&tag=day",
        ),
        (
            lambda c: c.fetch_project_type("a/b", "../c?d", within_s=9),
            {"project": {}},
            f"GET /a%2Fb/..%2Fc%3Fd?api_key={KEY}&nocache=true",
        ),
    ],
)
def test_each_call_asks_exactly_so(call: Callable[[RoboflowClient], object], content: Any, first_line: str) -> None:
    asked, _ = asked_by(call, content)

    assert asked.head.split("\r\n")[0] == f"{first_line} HTTP/1.1"
    assert asked.header("User-Agent") == f"framesift/{__version__}"
    assert asked.header("Accept") == "application/json"
    assert asked.header("Authorization") is None


def test_an_image_goes_as_two_parts_with_its_name_in_the_first() -> None:
    asked, came_to = asked_by(upload, {"success": True, "id": "abc"})

    content_type = asked.header("Content-Type") or ""
    message = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + asked.body)
    name, file = (part for part in message.walk() if not part.is_multipart())
    assert content_type.startswith("multipart/form-data; boundary=")
    assert name["Content-Disposition"] == 'form-data; name="name"'
    assert name.get_payload(decode=True) == b"a.jpg"
    assert file["Content-Disposition"] == 'form-data; name="file"; filename="imageToUpload"'
    assert file["Content-Type"] == "image/jpeg"
    assert file.get_payload(decode=True) == b"\xff\xd8\0\r\n--"
    assert came_to == UploadResult("abc", duplicate=False)


def test_an_annotation_is_the_bare_text() -> None:
    asked, _ = asked_by(lambda client: annotate(client, "ähm"), {"success": True})

    assert (asked.header("Content-Type"), asked.body) == ("text/plain", "ähm".encode())


def test_an_empty_annotation_has_a_length_of_nothing() -> None:
    asked, _ = asked_by(lambda client: annotate(client, ""), {"success": True})

    assert (asked.header("Content-Length"), asked.body) == ("0", b"")


def test_a_configuration_is_set_as_json() -> None:
    asked, _ = asked_by(lambda c: c.set_active_learning("yard", "gate", {"enabled": True}, within_s=9), {"ok": 1})

    assert asked.header("Content-Type") == "application/json"
    assert json.loads(asked.body) == {"config": {"enabled": True}}


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_gateway_is_asked_for_the_whole_address(scheme: str) -> None:
    with answering(answer({"success": True, "id": "i"})) as gateway:
        client = RoboflowClient(HttpClient(), api_key=KEY, gateway=f"{scheme}127.0.0.1:{gateway.port}/")
        upload(client, tags=("a/b",))

    (asked,) = gateway.asked
    wanted = (
        f"https%3A%2F%2Fapi.roboflow.com%2Fdataset%2Fgate%2Fupload%3Fapi_key%3D{KEY}%26batch%3Dcars%26tag%3Da%252Fb"
    )
    assert asked.target == f"/proxy?url={wanted}"


def test_the_stand_in_behind_a_gateway_understands_us(platform: Platform) -> None:
    client = RoboflowClient(HttpClient(), api_key=KEY, gateway=platform.url)

    assert client.fetch_workspace(within_s=WITHIN_S) == WORKSPACE
    assert platform.requests[0].by_gateway


# What is made of the answer


def test_the_whole_way_of_an_image(client: RoboflowClient, platform: Platform) -> None:
    assert client.fetch_workspace(within_s=WITHIN_S) == WORKSPACE
    assert client.fetch_project_type(WORKSPACE, "gate", within_s=WITHIN_S) == "instance-segmentation"
    assert client.fetch_model_type(WORKSPACE, "gate", "3", within_s=WITHIN_S) == "yolov8s-seg"

    uploaded = upload(client, jpeg=b"one", tags=("b", "a"), inference_id="x")
    assert not uploaded.duplicate
    assert upload(client, jpeg=b"one") == UploadResult(uploaded.image_id, duplicate=True)
    client.annotate("gate", uploaded.image_id, name="a.json", text='{"predictions": []}', within_s=WITHIN_S)

    (image,) = platform.images
    assert (image.name, image.jpeg, image.batch, image.tags, image.inference_id) == (
        "a.jpg",
        b"one",
        "cars",
        ("b", "a"),
        "x",
    )
    (annotation,) = platform.annotations
    assert (annotation.name, annotation.json(), annotation.prediction) == ("a.json", {"predictions": []}, True)


def test_a_configuration_that_was_set_comes_back(client: RoboflowClient) -> None:
    config = {"enabled": True, "sampling_strategies": [{"name": "a", "type": "random", "traffic_percentage": 0.5}]}

    client.set_active_learning(WORKSPACE, "gate", config, within_s=WITHIN_S)

    assert client.fetch_active_learning(WORKSPACE, "gate", within_s=WITHIN_S) == config


def test_batches_and_jobs_are_counted(client: RoboflowClient, platform: Platform) -> None:
    platform.set_batch("gate", "cars", images=5, jobs=(3, 4))
    batch_id = platform.batch("gate", "cars").id

    assert client.list_batches(WORKSPACE, "gate", within_s=WITHIN_S) == (
        LabelingBatch(batch_id, "cars", images=5, jobs=2),
    )
    assert client.list_jobs(WORKSPACE, "gate", within_s=WITHIN_S) == (
        LabelingJob((batch_id,), 3),
        LabelingJob((batch_id,), 4),
    )


@pytest.mark.parametrize("project", [{}, {"type": None}, {"type": ""}])
def test_a_project_without_a_type_detects_objects(project: dict[str, Any]) -> None:
    _, found = asked_by(lambda client: client.fetch_project_type("yard", "gate", within_s=9), {"project": project})

    assert found == "object-detection"


def test_entries_of_another_shape_are_left_out() -> None:
    good = {"id": "b1", "name": "cars", "images": 2, "numJobs": 1}
    others: list[Any] = [
        None, 7, "x", [], {}, {**good, "id": 7}, {**good, "id": ""}, {**good, "name": None}, {**good, "images": "2"},
        {**good, "images": -1}, {**good, "images": True}, {**good, "images": 1.5}, {**good, "numJobs": None},
    ]  # fmt: skip
    content = {"batches": [*others, good, {"id": "b2", "name": "", "images": 0, "more": []}]}

    _, found = asked_by(lambda client: client.list_batches("yard", "gate", within_s=9), content)

    assert found == (LabelingBatch("b1", "cars", 2, 1), LabelingBatch("b2", "", 0, 0))


def test_jobs_of_another_shape_are_left_out_and_one_of_several_batches_counts_for_each() -> None:
    good = {"sourceBatch": "b1", "numImages": 2}
    others = [None, {}, {**good, "sourceBatch": ""}, {**good, "sourceBatch": 7}, {**good, "numImages": "2"}]
    content = {"jobs": [*others, good, {"sourceBatch": ["b1", 7, "b2"], "numImages": 3}]}

    _, found = asked_by(lambda client: client.list_jobs("yard", "gate", within_s=9), content)

    assert found == (LabelingJob(("b1",), 2), LabelingJob(("b1", "b2"), 3))
    assert [
        sum(job.images for job in found if job.is_made_from(LabelingBatch(id, "", 0, 1))) for id in ("b1", "b2")
    ] == [5, 3]


def test_lists_may_be_large_and_other_answers_may_not() -> None:
    many = [{"id": f"{i:0200}", "name": "cars", "images": 1} for i in range(1000)]
    _, found = asked_by(lambda client: client.list_batches("yard", "gate", within_s=9), {"batches": many})
    assert isinstance(found, tuple)
    assert len(found) == 1000

    with pytest.raises(PlatformError, match="too large") as caught:
        asked_by(upload, {"success": True, "id": "i", "more": many})
    assert (caught.value.kind, caught.value.status) == (PlatformErrorKind.UNEXPECTED_ANSWER, 200)


@pytest.mark.parametrize("id", ["img1", None])
def test_a_duplicate_needs_no_id(id: str | None) -> None:
    _, uploaded = asked_by(upload, {"duplicate": True, "id": id})

    assert uploaded == UploadResult(id or "", duplicate=True)


@pytest.mark.parametrize(
    ("call", "content"),
    [
        (lambda c: c.fetch_workspace(within_s=9), {}),
        (lambda c: c.fetch_workspace(within_s=9), {"workspace": None}),
        (lambda c: c.fetch_workspace(within_s=9), {"workspace": "a b"}),
        (lambda c: c.fetch_workspace(within_s=9), {"workspace": "../x"}),
        (lambda c: c.fetch_project_type("yard", "gate", within_s=9), {}),
        (lambda c: c.fetch_project_type("yard", "gate", within_s=9), {"project": []}),
        (lambda c: c.fetch_project_type("yard", "gate", within_s=9), {"project": {"type": 7}}),
        (lambda c: c.fetch_model_type("yard", "gate", "3", within_s=9), {"version": {}}),
        (lambda c: c.fetch_active_learning("yard", "gate", within_s=9), []),
        (lambda c: c.fetch_active_learning("yard", "gate", within_s=9), {"error": {"message": "gone"}}),
        (lambda c: c.set_active_learning("yard", "gate", {}, within_s=9), {"error": "no"}),
        (lambda c: c.list_batches("yard", "gate", within_s=9), {}),
        (lambda c: c.list_batches("yard", "gate", within_s=9), {"batches": {}}),
        (lambda c: c.list_jobs("yard", "gate", within_s=9), {"jobs": None}),
        (annotate, {}),
        (annotate, {"success": False}),
        (annotate, {"success": "yes"}),
        (annotate, {"success": True, "error": "unknown format"}),
        (upload, {}),
        (upload, {"id": "i"}),
        (upload, {"success": True}),
        (upload, {"success": True, "id": ""}),
        (upload, {"success": True, "id": 7}),
        (upload, {"success": True, "id": ".."}),
        (upload, {"success": True, "id": "a/b"}),
        (upload, {"success": "true", "id": "i"}),
        (upload, {"success": True, "id": "i", "error": "no room"}),
        (upload, {"duplicate": "yes", "id": "i"}),
        (upload, "ok"),
        (upload, None),
    ],
)
def test_an_answer_that_does_not_contain_what_was_asked_for_is_unexpected(
    call: Callable[[RoboflowClient], object], content: Any
) -> None:
    with pytest.raises(PlatformError) as caught:
        asked_by(call, content)

    assert (caught.value.kind, caught.value.may_have_arrived) == (PlatformErrorKind.UNEXPECTED_ANSWER, True)
