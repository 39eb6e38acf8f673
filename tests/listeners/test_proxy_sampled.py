"""What the proxy makes of what passed: pictures and predictions are sampled, and whatever becomes of that, every
request is answered."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from clocks import NOON_S, ManualClock
from framesift.listeners.body_copies import MAX_TOTAL_BYTES
from framesift.pictures.encoded_picture import BadPicture, EncodedPicture, LazyEncodedPicture, parse_picture
from framesift.policy.policy import Policy
from framesift.prediction import wire_format as wire
from framesift.prediction.masks import decode_mask
from framesift.prediction.prediction import Detections, Stub, Task
from framesift.sampling.intake import Intake
from framesift.spool import WhenFull
from framesift.telemetry import Condition
from rigs.hostile_pictures import spoilt, turned
from rigs.inference import KEY, MODELS, Fault, InferenceServer, Rectangle, Status, painted
from rigs.inference.requests import TASKS
from rigs.listeners import (
    ALL,
    RunningListener,
    in_base64,
    picture,
    pixels_of,
    policy,
    prediction_json,
    raw_exchange,
    request_head,
    running_listener,
)
from rigs.raw_http_server import Peer, RawServer

WITH_KEY = {"Authorization": f"Bearer {KEY}"}
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json"
ROUTES = {task: f"/infer/{name}" for name, task in TASKS.items()}
# The listener's own answer to a call that has nothing behind it.
STUB = {"time": 0.0, "is_stub": True, "model_id": "anything/0", "task_type": "object-detection"}


def scene(number: int = 0) -> bytes:
    """A JPEG in which the stand-in sees two things."""
    things = (Rectangle("red", 10, 8, 30, 28), Rectangle("white", 40, 10 + number % 20, 60, 44, confidence=0.8))
    return bytes(cv2.imencode(".jpg", painted(80, 60, *things), [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def v1(url: str, model_id: str, *images: bytes, **more: Any) -> requests.Response:
    listed = [{"type": "base64", "value": in_base64(image)} for image in images]
    task = MODELS.get(model_id, "object-detection").removeprefix("multi-label-")
    body = {"model_id": model_id, "image": listed if len(listed) > 1 else listed[0], **more}
    return requests.post(url + ROUTES[task], json=body, headers=WITH_KEY, timeout=20)


def legacy(url: str, model_id: str, image: bytes, query: str = "", **how: Any) -> requests.Response:
    headers = {**WITH_KEY, "Content-Type": "application/x-www-form-urlencoded"}
    how = how or {"data": in_base64(image), "headers": headers}
    return requests.post(f"{url}/{model_id}{query}", timeout=20, **{"headers": WITH_KEY, **how})


@contextmanager
def standing_before(
    folder: Path, what: Policy | None = None, **options: Any
) -> Iterator[tuple[InferenceServer, RunningListener]]:
    with InferenceServer() as server, running_listener(folder, what, upstream=server.url, **options) as listener:
        yield server, listener


def sampled(listener: RunningListener, count: int = 1, outcome: str = "offered") -> None:
    """Waits until so many requests have been dealt with."""
    assert listener.until(lambda: listener.count(outcome) >= count), listener.telemetry.report().listeners


# -- what is sampled


@pytest.mark.parametrize("route", ["v1", "legacy"])
@pytest.mark.parametrize("model_id", MODELS)
def test_picture_and_prediction_are_kept_for_every_task_and_by_either_route(
    tmp_path: Path, model_id: str, route: str
) -> None:
    image = scene()
    with standing_before(tmp_path) as (server, listener):
        answer = v1(listener.url, model_id, image) if route == "v1" else legacy(listener.url, model_id, image)
        assert answer.status_code == 200
        assert answer.content == server.asked[0].answer
        sampled(listener)
        (item,) = listener.items()
        assert (item.stream, item.width, item.height, item.captured_at_s) == ("listener", 80, 60, NOON_S)
        assert model_id.replace("/", "-") in item.tags
        seen, kept = answer.json(), json.loads(item.prediction)
        assert wire.parse_prediction(kept) == wire.parse_prediction({**seen, "model_id": ""})
        assert len(kept["predictions"]) >= 2
        assert np.abs(pixels_of(listener.spool.read_jpeg(item.id)).astype(int) - pixels_of(image)).mean() < 2


@pytest.mark.parametrize("form", ["polygon", "rle"])
@pytest.mark.parametrize("route", ["v1", "legacy"])
def test_reduced_masks_are_kept_in_the_pixels_of_the_picture(tmp_path: Path, route: str, form: str) -> None:
    query = f"?allow_reduced_mask_resolution=true&response_mask_format={form}"
    more = {"allow_reduced_mask_resolution": True, "response_mask_format": form}
    with standing_before(tmp_path) as (server, listener):
        if route == "v1":
            answer = v1(listener.url, "shapes/1", scene(), **more)
        else:
            answer = legacy(listener.url, "shapes/1", scene(), query)
        assert answer.content == server.asked[0].answer
        assert answer.json()["image"] == {"width": 20, "height": 20}
        sampled(listener)
        (item,) = listener.items()
    kept = wire.parse_prediction(json.loads(item.prediction))
    assert isinstance(kept, Detections)
    assert (kept.width, kept.height, kept.dropped_extras) == (80, 60, 0)
    red, white = kept.objects
    for found, (left, top, right, bottom) in ((red, (10, 8, 30, 28)), (white, (40, 10, 60, 44))):
        assert (found.x, found.y) == pytest.approx(((left + right) / 2, (top + bottom) / 2))
        assert (found.width, found.height) == pytest.approx((right - left, bottom - top))
        if form == "polygon":
            assert found.points is not None
            places = np.array([(p.x, p.y) for p in found.points])
            assert np.abs(places.min(axis=0) - (left, top)).max() <= 4  # an element of what was reduced
            assert np.abs(places.max(axis=0) - (right, bottom)).max() <= 4
        else:
            assert found.rle is not None
            rows, columns = np.nonzero(decode_mask(found.rle))
            extremes = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert np.abs(np.subtract(extremes, (left, top, right, bottom))).max() <= 4


def test_of_several_pictures_in_one_request_each_is_sampled_with_its_own_prediction(tmp_path: Path) -> None:
    with standing_before(tmp_path) as (_, listener):
        answer = v1(listener.url, "boxes/1", scene(1), scene(9), scene(15))
        sampled(listener)
        kept = [json.loads(item.prediction)["predictions"] for item in listener.items()]
        assert kept == [one["predictions"] for one in answer.json()]
        assert len({str(one) for one in kept}) == 3


def test_a_form_with_a_file_is_sampled_too(tmp_path: Path) -> None:
    with standing_before(tmp_path) as (_, listener):
        assert legacy(listener.url, "boxes/1", b"", files={"file": ("a.jpg", scene())}).status_code == 200
        sampled(listener)
        assert len(listener.items()) == 1


def test_a_packed_answer_is_sampled_too(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(prediction_json()).encode())
    head = f"{HEAD}\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}"

    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(f"{head}\r\n\r\n".encode() + packed)

    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url) as listener:
        assert legacy(listener.url, "boxes/1", picture()).json() == prediction_json()
        sampled(listener)
        assert len(listener.items()) == 1


def test_the_listener_has_a_stream_and_a_frame_is_as_old_as_its_request(tmp_path: Path) -> None:
    clock = ManualClock()
    with standing_before(tmp_path, clock=clock, stream="yard") as (_, listener):
        for number in range(3):
            legacy(listener.url, "boxes/1", scene(number))
            sampled(listener, number + 1)
            clock.advance(10.0)
        items = listener.items()
        assert [(item.stream, item.frame, item.captured_at_s - NOON_S) for item in items] == [
            ("yard", 0, 0.0),
            ("yard", 1, 10.0),
            ("yard", 2, 20.0),
        ]


def test_sampling_and_limits_are_those_of_any_stream(tmp_path: Path) -> None:
    crowd = {"name": "crowd", "type": "detections_number_based", "probability": 1.0, "more_than": 1}
    limited = {**crowd, "limits": [{"type": "hourly", "value": 1}]}
    with standing_before(tmp_path, policy(limited)) as (_, listener):
        legacy(listener.url, "boxes/1", scene())
        legacy(listener.url, "boxes/1", scene())
        legacy(listener.url, "boxes/1", scene(), "?confidence=85")  # of which only one is left
        sampled(listener, 3)
        assert listener.telemetry.report().refused == {"limit": 1, "no_match": 1}
        assert len(listener.items()) == 1


# -- what isn't


def test_what_disables_active_learning_is_not_parsed(tmp_path: Path) -> None:
    with standing_before(tmp_path) as (server, listener):
        v1(listener.url, "boxes/1", scene(), disable_active_learning=True)
        for value in ("true", "True", "1"):
            legacy(listener.url, "boxes/1", scene(), f"?disable_active_learning={value}")
        sampled(listener, 4, "not_wanted")
        assert listener.telemetry.report().frames_read == 0
        v1(listener.url, "boxes/1", scene(), disable_active_learning=False)
        legacy(listener.url, "boxes/1", scene(), "?disable_active_learning=False")
        sampled(listener, 2)
        assert len(listener.items()) == 2
        assert [one.status for one in server.asked] == [200] * 6


def test_what_holds_no_picture_or_no_prediction_passes_and_is_counted_by_name(tmp_path: Path) -> None:
    with standing_before(tmp_path) as (server, listener):
        page = requests.get(f"{listener.url}/model/registry", headers=WITH_KEY, timeout=20)
        assert len(page.json()["models"]) == len(MODELS)
        assert legacy(listener.url, "boxes/1", scene(), "?format=image").headers["Content-Type"] == "image/jpeg"
        assert legacy(listener.url, "nothing/1", scene()).status_code == 404
        sampled(listener, 3, "passed")
        assert legacy(listener.url, "boxes/1", scene(), "?image=http://127.0.0.1/a.jpg").status_code == 400
        sampled(listener, 4, "passed")
        server.orders.add(Fault("infer", Status(200, {"Content-Type": "application/json"}, b"no JSON"), times=1))
        legacy(listener.url, "boxes/1", scene())
        server.orders.add(
            Fault("infer", Status(200, {}, prediction_json(81, 60)), times=1)
        )  # of a picture of another size
        legacy(listener.url, "boxes/1", scene())
        sampled(listener, 2, "unreadable")
        assert listener.items() == ()


def test_pictures_that_are_named_by_an_address_are_not_fetched(tmp_path: Path) -> None:
    answer = {"image": {"width": 4, "height": 4}, "predictions": []}
    with standing_before(tmp_path) as (server, listener):
        server.orders.add(Fault("infer", Status(200, {}, answer), times=None))
        legacy(listener.url, "boxes/1", b"", f"?image={server.url}/a.jpg")
        image = {"type": "url", "value": f"{server.url}/a.jpg"}
        requests.post(f"{listener.url}/infer/object_detection", json={"model_id": "a/1", "image": image}, timeout=20)
        sampled(listener, 2, "elsewhere")
        assert len(server.asked) == 2
        assert listener.items() == ()


def test_bombs_and_rubbish_pass_as_they_would_without_a_listener(tmp_path: Path) -> None:
    deep = b'{"model_id": "a/1", "image": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = json.dumps(prediction_json(60_000, 60_000)).encode()

    def talk(peer: Peer) -> None:
        while peer.read() is not None:
            peer.send(f"{HEAD}\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)

    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url) as listener:
        for image in (b"", b"\xff\xd8\xff", picture()[:-9], b"GIF89a"):
            assert legacy(listener.url, "boxes/1", image).status_code == 200
        for body in (b"{", b"[]", b'{"model_id": "a/1"}', deep, b'{"model_id": "a/1", "image": NaN}', b"\xff\xfe"):
            assert requests.post(f"{listener.url}/infer/object_detection", data=body, timeout=20).status_code == 200
        assert listener.until(lambda: sum(listener.telemetry.report().listeners.values()) == 10)
        assert listener.items() == ()
        assert listener.count("failed") == 0


@pytest.mark.parametrize("line", ["Host: evil.example", "Origin: https://evil.example"])
def test_what_a_web_page_of_another_machine_sends_is_forwarded_and_not_sampled(tmp_path: Path, line: str) -> None:
    body = in_base64(scene()).encode()
    host, more = (line, ()) if line.startswith("Host") else ("Host: localhost", (line,))
    with standing_before(tmp_path) as (server, listener):
        head = request_head(
            *more,
            f"Authorization: Bearer {KEY}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            first="POST /boxes/1 HTTP/1.1",
            host=host,
        )
        assert b" 200 " in raw_exchange(listener.port, head + body)
        sampled(listener, 1, "foreign_host")
        assert listener.items() == ()
        assert len(server.asked) == 1


def test_what_is_larger_than_a_copy_may_be_is_forwarded_and_not_sampled(tmp_path: Path) -> None:
    image = in_base64(scene()) + "\n" * (25 << 20)
    with standing_before(tmp_path) as (server, listener):
        server.orders.add(Fault("infer", Status(200, {}, prediction_json(80, 60)), times=1))
        answer = legacy(listener.url, "boxes/1", b"", data=image, headers={"Content-Type": "text/plain"})
        assert answer.json() == prediction_json(80, 60)
        assert server.asked[0].size_bytes == len(image)
        sampled(listener, 1, "too_large")


# -- pictures are decoded where their pixels are needed

NOBODYS = {**ALL, "name": "nobodys", "traffic_percentage": 0.0}
ALIKE = {"threshold": 0.01}


def _pass_spoilt(server: InferenceServer, listener: RunningListener) -> None:
    """A picture that can't be decoded passes, of which the server says what it would of a good one."""
    server.orders.add(Fault("infer", Status(200, {}, prediction_json(80, 60)), times=1))
    assert legacy(listener.url, "boxes/1", spoilt(scene())).json() == prediction_json(80, 60)


@pytest.mark.parametrize(
    "strategy",
    [ALL, {**ALL, "near_duplicate": ALIKE}, {**NOBODYS, "near_duplicate": {}}],
    ids=["kept", "seen", "learnt"],
)
def test_a_picture_that_turns_out_to_be_broken_is_counted_as_such_and_nothing_else_is(
    tmp_path: Path, strategy: dict[str, Any]
) -> None:
    limited = {**strategy, "limits": [{"type": "hourly", "value": 1}]}
    with standing_before(tmp_path, policy(limited)) as (server, listener):
        _pass_spoilt(server, listener)
        sampled(listener, 1, "unreadable")
        seen = listener.telemetry.report()
        assert (seen.frames_read, seen.frames_accepted, seen.matched, seen.refused) == (0, 0, {}, {})
        assert [(one.condition, one.name) for one in seen.health if one.condition is not Condition.OK] == []
        legacy(listener.url, "boxes/1", scene())
        sampled(listener)
        assert listener.telemetry.report().listeners == {"unreadable": 1, "offered": 1}
        assert len(listener.items()) == (strategy["name"] == "all")  # its credit is still there


def test_a_picture_that_no_strategy_wants_is_not_decoded(tmp_path: Path) -> None:
    with standing_before(tmp_path, policy({**NOBODYS, "near_duplicate": ALIKE})) as (server, listener):
        _pass_spoilt(server, listener)
        sampled(listener)
        seen = listener.telemetry.report()
        assert (seen.frames_read, seen.refused) == (1, {"no_match": 1})


def test_a_picture_for_which_no_quota_is_left_is_not_decoded(tmp_path: Path) -> None:
    with standing_before(tmp_path, policy({**ALL, "limits": [{"type": "hourly", "value": 1}]})) as (server, listener):
        legacy(listener.url, "boxes/1", scene())
        _pass_spoilt(server, listener)
        sampled(listener, 2)
        assert listener.telemetry.report().refused == {"limit": 1}


def test_a_jpeg_that_is_turned_by_its_exif_is_one_of_its_turned_size(tmp_path: Path) -> None:
    with standing_before(tmp_path) as (server, listener):
        for width, height in ((80, 60), (60, 80)):
            server.orders.add(Fault("infer", Status(200, {}, prediction_json(width, height)), times=1))
            legacy(listener.url, "boxes/1", turned(scene()))
        legacy(listener.url, "anything/0", turned(scene()))
        sampled(listener, 2)
        assert listener.count("unreadable") == 1
        items = listener.items()
        assert [(item.width, item.height) for item in items] == [(60, 80)] * 2
        expected = cv2.rotate(pixels_of(scene()), cv2.ROTATE_90_CLOCKWISE)
        assert np.abs(pixels_of(listener.spool.read_jpeg(items[0].id)).astype(int) - expected).mean() < 2


def test_pixels_come_once_and_only_in_the_size_that_was_promised() -> None:
    right = LazyEncodedPicture(parse_picture(picture(64, 48)))
    assert (right.width, right.height, right.pixels.shape) == (64, 48, (48, 64, 3))
    assert right.pixels is right.pixels
    for width, height in ((48, 64), (64, 47)):
        with pytest.raises(BadPicture, match="another size"):
            _ = LazyEncodedPicture(EncodedPicture(picture(64, 48), width, height)).pixels


# -- version 0


def test_the_version_0_of_anything_is_answered_without_a_server(tmp_path: Path) -> None:
    with standing_before(tmp_path) as (server, listener):
        server.go_away()
        assert legacy(listener.url, "anything/0", scene()).json() == STUB
        assert v1(listener.url, "anything/0", scene()).json() == STUB
        assert v1(listener.url, "anything/0", scene(), scene()).json() == [STUB, STUB]
        labels = {"model_id": "any/0", "image": {"type": "base64", "value": in_base64(scene())}}
        answer = requests.post(f"{listener.url}/infer/classification", json=labels, timeout=20)
        assert answer.json()["task_type"] == "classification"
        assert legacy(listener.url, "anything/1", scene()).status_code == 502
        sampled(listener, 4)
        items = listener.items()
        tasks = [wire.parse_prediction(json.loads(item.prediction)).task for item in items]
        assert tasks == [Task.OBJECT_DETECTION] * 4 + [Task.CLASSIFICATION]
        assert all(isinstance(wire.parse_prediction(json.loads(item.prediction)), Stub) for item in items)
        assert server.asked == ()


def test_a_client_that_asks_before_it_sends_to_version_0_is_told_to_go_on(tmp_path: Path) -> None:
    body = in_base64(scene()).encode()
    with standing_before(tmp_path) as (_, listener):
        first = "POST /anything/0 HTTP/1.1"
        head = request_head("Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close", first=first)
        got = raw_exchange(listener.port, head, body)
        assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert json.loads(got.rpartition(b"\r\n\r\n")[2]) == STUB


# -- the documented client


def _sdk(first: str, port: int, body: bytes) -> bytes:
    """A request as `inference-sdk` 1.8.3 sends it, line by line."""
    lines = [
        first,
        f"Host: 127.0.0.1:{port}",
        "User-Agent: python-requests/2.34.2",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join((*lines, "", "")).encode() + body


def test_the_documented_client_is_answered_as_by_the_server_and_its_pictures_are_sampled(tmp_path: Path) -> None:
    image = in_base64(scene())
    says = {
        "api_key": KEY,
        "model_id": "boxes/1",
        "visualize_predictions": False,
        "disable_active_learning": False,
        "image": {"type": "base64", "value": image},
    }
    query = f"api_key={KEY}&allow_reduced_mask_resolution=False&disable_active_learning=False"
    calls = [  # infer(image, model_id="boxes/1") of API v0, then of v1, which asks for the model's task first
        (f"POST /boxes/1?{query} HTTP/1.1", image.encode()),
        (f"GET /model/registry?api_key={KEY} HTTP/1.1", b""),
        ("POST /infer/object_detection HTTP/1.1", json.dumps(says).encode()),
    ]
    with standing_before(tmp_path) as (server, listener):
        for first, body in calls:
            session = [_sdk(first, port, body) for port in (server.port, listener.port)]
            ends = request_head("Connection: close", first="GET /healthz HTTP/1.1")
            directly, through = (
                raw_exchange(port, asked, ends)
                for port, asked in zip((server.port, listener.port), session, strict=True)
            )
            assert [line for line in directly.split(b"\r\n") if not line.startswith(b"Date: ")] == [
                line for line in through.split(b"\r\n") if not line.startswith(b"Date: ")
            ]
            assert through.startswith(b"HTTP/1.1 200 ")
        sampled(listener, 2)
        kept = [json.loads(item.prediction)["predictions"] for item in listener.items()]
        assert kept[0] == kept[1]
        assert [one["class"] for one in kept[0]] == ["red", "white"]


# -- whatever becomes of sampling


CLIENTS, EACH = 8, 13  # a few hundred requests over all


def _answered_exactly(server: InferenceServer, listener: RunningListener) -> None:
    """Eight clients at once, each with its own connection and pictures: every answer is the one that the server gives
    to that picture."""
    images = [scene(number) for number in range(CLIENTS)]
    bodies = [in_base64(image) for image in images]
    headers = {**WITH_KEY, "Content-Type": "application/x-www-form-urlencoded"}
    expected = [
        requests.post(f"{server.url}/boxes/1", data=body, headers=headers, timeout=20).content for body in bodies
    ]
    before = len(server.asked)
    wrong: list[str] = []

    def client(number: int) -> None:
        with requests.Session() as session:
            for turn in range(EACH):
                which = (number + turn) % CLIENTS
                got = session.post(f"{listener.url}/boxes/1", data=bodies[which], headers=headers, timeout=20)
                if (got.status_code, got.content) != (200, expected[which]):
                    wrong.append(f"{got.status_code} {got.text[:100]}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(server.asked) - before == CLIENTS * EACH


def test_eight_clients_are_answered_byte_for_byte_while_all_is_kept(tmp_path: Path) -> None:
    with standing_before(tmp_path, most_waiting=1000) as (server, listener):
        _answered_exactly(server, listener)
        sampled(listener, CLIENTS * EACH)
        assert len(listener.items()) == CLIENTS * EACH


def test_eight_clients_are_answered_byte_for_byte_while_the_spool_is_full_and_nobody_empties_it(tmp_path: Path) -> None:
    full = {"max_bytes": 2**20, "when_full": WhenFull.REFUSE}
    with standing_before(tmp_path, spool=full, most_waiting=1000) as (server, listener):
        noise = np.random.default_rng(1).integers(0, 255, (300, 300, 3), np.uint8)
        large = bytes(cv2.imencode(".png", noise)[1])
        server.orders.add(Fault("infer", Status(200, {}, prediction_json(300, 300)), times=10))
        for _ in range(10):
            legacy(listener.url, "boxes/1", large)
        assert listener.until(lambda: "spool_full" in listener.telemetry.report().refused)
        server.orders.clear()
        _answered_exactly(server, listener)


def test_eight_clients_are_answered_byte_for_byte_while_the_policy_is_off(tmp_path: Path) -> None:
    with standing_before(tmp_path, policy(enabled=False), most_waiting=1000) as (server, listener):
        _answered_exactly(server, listener)
        sampled(listener, CLIENTS * EACH)
        assert listener.telemetry.report().refused == {"disabled": CLIENTS * EACH}
        assert listener.items() == ()


def test_while_its_stream_is_paused_the_proxy_forwards_and_takes_nothing(tmp_path: Path) -> None:
    with standing_before(tmp_path) as (_, listener):
        assert legacy(listener.url, "boxes/1", picture()).status_code == 200
        sampled(listener, 1)
        assert len(listener.items()) == 1
        (intake,) = listener.intakes.values()
        intake.requests.pauses.pause(None, None, "alice")
        assert legacy(listener.url, "boxes/1", picture()).status_code == 200
        sampled(listener, 2)
        assert listener.telemetry.report().refused == {"paused": 1}
        assert listener.items() == ()


def test_eight_clients_are_answered_byte_for_byte_while_sampling_has_a_bug(tmp_path: Path) -> None:
    def intake_of(stream: str) -> Intake:
        raise LookupError(f"a bug in {stream} and {KEY}")

    with standing_before(tmp_path, intake_of=intake_of, most_waiting=1000) as (server, listener):
        _answered_exactly(server, listener)
        sampled(listener, CLIENTS * EACH, "failed")
        (health,) = [one for one in listener.telemetry.report().health if "sampling" in one.name]
        assert (health.condition, "LookupError" in health.why) == (Condition.DEGRADED, True)
        assert KEY not in listener.out.getvalue()  # what an error says may be a part of a request


def test_eight_clients_are_answered_byte_for_byte_while_sampling_hangs(tmp_path: Path) -> None:
    going_on = threading.Event()
    listeners: list[RunningListener] = []

    def intake_of(stream: str) -> Intake:
        assert going_on.wait(60)
        return listeners[0].intake_of(stream)

    with standing_before(tmp_path, intake_of=intake_of, most_waiting=3) as (server, listener):
        listeners.append(listener)
        _answered_exactly(server, listener)
        assert listener.until(lambda: listener.count("door_busy") >= CLIENTS * EACH - 4)
        assert listener.items() == ()
        going_on.set()
        assert listener.until(lambda: listener.count("offered") + listener.count("door_busy") == CLIENTS * EACH)


def test_what_waits_to_be_sampled_is_bounded_altogether_and_the_rest_passes_without_a_copy(tmp_path: Path) -> None:
    going_on = threading.Event()
    listeners: list[RunningListener] = []

    def intake_of(stream: str) -> Intake:
        assert going_on.wait(60)
        return listeners[0].intake_of(stream)

    answer = json.dumps(prediction_json()).encode()
    large = (in_base64(picture()) + "\n" * (10 << 20)).encode()

    def talk(peer: Peer) -> None:
        while peer.read() is not None:
            peer.send(f"{HEAD}\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)

    with RawServer(talk) as raw, running_listener(tmp_path, upstream=raw.url, intake_of=intake_of) as listener:
        listeners.append(listener)
        with requests.Session() as session:
            for _ in range(16):
                assert session.post(f"{listener.url}/boxes/1", data=large, timeout=20).content == answer
            raw.asked.clear()
            fit = MAX_TOTAL_BYTES // len(large)
            assert listener.until(lambda: listener.count("too_large") == 16 - fit)
            going_on.set()
            sampled(listener, fit)
            assert session.post(f"{listener.url}/boxes/1", data=large, timeout=20).content == answer
        sampled(listener, fit + 1)  # what was kept was let go
        assert len(listener.items()) == fit + 1
