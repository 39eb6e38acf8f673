"""Requests to the inference server, and what becomes of its answers."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from framesift import settings
from framesift.config.errors import ConfigError
from framesift.models import Model, ModelFailed, ModelSettings, ModelUnavailable, load
from framesift.prediction.masks import decode_mask, encode_mask
from framesift.prediction.prediction import Classification, Detection, Detections, MultiLabel, Stub, Task
from rigs.daemon import write_configuration
from rigs.inference import KEY, MODELS, Answer, Fault, InferenceServer, Received, Rectangle, painted
from rigs.networks import frame
from rigs.raw_http_server import answering, make_certificate, reserve_closed_port

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
ROUTES = ("v1", "legacy")
DETECTORS = {"boxes/1": "object-detection", "shapes/1": "instance-segmentation", "points/1": "keypoint-detection"}


def options(url: str, **fields: Any) -> ModelSettings:
    model_id = fields.get("model_id", "boxes/1")
    task = MODELS.get(model_id, "object-detection").removeprefix("multi-label-")
    whole = {"type": "inference_server", "url": url, "model_id": model_id, "task": task, "api_key": KEY, **fields}
    return OPTIONS.validate_json(json.dumps(whole))


def model(server: InferenceServer, **fields: Any) -> Model:
    return load(options(server.url, **fields))


def sent(received: Received) -> Any:
    """The picture of a request, decoded."""
    assert received.wanted is not None
    (image,) = received.wanted.images
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)


def only(prediction: object) -> Detection:
    assert isinstance(prediction, Detections)
    (found,) = prediction.objects
    return found


# Where things are

# A picture, and what max_image_size = [200, 300] makes of it: both factors differ, and no number is whole.
SIZES = {"wide": ((641, 359), (300, 168)), "tall": ((359, 641), (112, 200)), "flat": ((901, 49), (300, 16))}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("model_id", DETECTORS)
def test_what_was_found_in_the_smaller_picture_is_where_it_is_in_the_frame(
    model_id: str, name: str, route: str
) -> None:
    (width, height), (sent_width, sent_height) = SIZES[name]
    left, top, right, bottom = int(width * 0.4), int(height * 0.3), int(width * 0.9), int(height * 0.85)
    picture = painted(width, height, Rectangle("white", left, top, right, bottom))
    with InferenceServer(forbid_active_learning=True) as server:
        prediction = model(server, model_id=model_id, route=route, max_image_size=[200, 300]).predict(frame(picture))
        (received,) = server.asked
    assert sent(received).shape == (sent_height, sent_width, 3)
    assert (prediction.width, prediction.height, prediction.model_id) == (width, height, model_id)
    assert prediction.task == Task(DETECTORS[model_id])
    found = only(prediction)
    across, down = width / sent_width, height / sent_height
    # A picture element of what was sent is the finest that the server can tell.
    assert found.x - found.width / 2 == pytest.approx(left, abs=across)
    assert found.x + found.width / 2 == pytest.approx(right, abs=across)
    assert found.y - found.height / 2 == pytest.approx(top, abs=down)
    assert found.y + found.height / 2 == pytest.approx(bottom, abs=down)
    # Nothing of its answer is lost.
    (annotated,) = json.loads(received.answer)["predictions"]
    assert (found.x, found.y) == pytest.approx((annotated["x"] * across, annotated["y"] * down))
    assert (found.width, found.height) == pytest.approx((annotated["width"] * across, annotated["height"] * down))
    if model_id == "shapes/1":
        assert found.points is not None
        assert [p.x for p in found.points] == pytest.approx([p["x"] * across for p in annotated["points"]])
        assert [p.y for p in found.points] == pytest.approx([p["y"] * down for p in annotated["points"]])
    if model_id == "points/1":
        assert found.keypoints is not None
        first, last = found.keypoints
        assert [first.x, last.x] == pytest.approx([left, right], abs=across)
        assert [first.y, last.y] == pytest.approx([top, bottom], abs=down)


@pytest.mark.parametrize("route", ROUTES)
def test_a_picture_that_fits_is_sent_as_it_is(route: str) -> None:
    picture = painted(300, 200, Rectangle("white", 101, 51, 203, 150))
    with InferenceServer(forbid_active_learning=True) as server:
        found = only(model(server, route=route, max_image_size=[200, 300]).predict(frame(picture)))
        assert sent(server.asked[0]).shape == (200, 300, 3)
    assert (found.x, found.y, found.width, found.height) == (152, 100.5, 102, 99)
    assert (found.class_name, found.class_id) == ("white", 3)
    assert found.detection_id


def test_colours_are_sent_in_their_order() -> None:
    picture = painted(320, 240, Rectangle("red", 20, 20, 100, 100), Rectangle("blue", 200, 100, 300, 200, 0.5))
    with InferenceServer(forbid_active_learning=True) as server:
        prediction = model(server).predict(frame(picture))
    assert isinstance(prediction, Detections)
    assert [(d.class_name, d.x) for d in prediction.objects] == [("red", 60.0), ("blue", 250.0)]
    assert [d.confidence for d in prediction.objects] == pytest.approx([0.9, 0.5], abs=0.02)


def test_masks_grow_with_their_picture() -> None:
    picture = painted(640, 480, Rectangle("white", 200, 100, 400, 300))
    with InferenceServer(rle=True, forbid_active_learning=True) as server:
        found = only(model(server, model_id="shapes/1", max_image_size=[240, 320]).predict(frame(picture)))
    assert found.rle is not None
    assert (found.rle.height, found.rle.width) == (480, 640)


def test_reduced_masks_are_in_the_pixels_of_the_frame() -> None:
    grid, sent_size = {"width": 80, "height": 120}, {"width": 320, "height": 240}
    mask = np.zeros((120, 80), np.uint8)
    mask[50:100, 25:50] = 1
    masked = {**BOX, "rle": {"size": [120, 80], "counts": encode_mask(mask).counts}, "mask_format": "rle"}
    said = {"image": grid, "original_image": sent_size, "predictions": [masked]}
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Answer(said)))
        asked = model(server, model_id="shapes/1", max_image_size=[240, 320])
        found = only(asked.predict(frame(painted(640, 480))))
    assert found.rle is not None
    expected = np.zeros((480, 640), np.uint8)
    expected[200:400, 200:400] = 1
    assert (decode_mask(found.rle) == expected).all()
    assert (found.x, found.y) == (80.0, 80.0)


@pytest.mark.parametrize("route", ROUTES)
def test_a_classifier_gives_one_label_or_many(route: str) -> None:
    picture = painted(64, 48, Rectangle("green", 0, 0, 64, 40))
    with InferenceServer(forbid_active_learning=True) as server:
        one = model(server, model_id="labels/1", route=route, max_image_size=[24, 32]).predict(frame(picture))
        many = model(server, model_id="many/1", route=route).predict(frame(picture))
    assert isinstance(one, Classification)
    assert isinstance(many, MultiLabel)
    assert (one.top, one.width, one.height) == ("green", 64, 48)
    assert many.predicted == ("green",)
    assert {score.class_name for score in many.scores} == {"blue", "green", "red"}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("task", sorted(set(DETECTORS.values()) | {"classification"}))
def test_version_0_is_a_stub_whose_task_the_server_names(task: str, route: str) -> None:
    with InferenceServer(models={"yard/3": task}, forbid_active_learning=True) as server:
        stub = model(server, model_id="yard/0", route=route, max_image_size=[24, 32]).predict(frame(painted(64, 48)))
    assert isinstance(stub, Stub)
    assert (stub.task, stub.width, stub.height, stub.model_id) == (Task(task), 64, 48, "yard/0")


def test_a_stub_without_a_task_has_the_model_s() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Answer({"is_stub": True, "time": 0.1})))
        stub = model(server, model_id="points/0", task="keypoint-detection").predict(frame(painted(64, 48)))
    assert stub == Stub(
        task=Task.KEYPOINT_DETECTION, width=64, height=48, model_id="points/0", inference_id=None, time_s=0.1
    )


# What is asked


@pytest.mark.parametrize("route", ROUTES)
def test_a_request_carries_the_settings_and_switches_active_learning_off(route: str) -> None:
    body = {"confidence": 0.25, "overlap": 0.6, "max_detections": 7}
    with InferenceServer(forbid_active_learning=True) as server:
        for fields in (body, {}, dict.fromkeys(body)):
            model(server, route=route, **fields).predict(frame(painted(64, 48)))
        asked = [received.wanted for received in server.asked]
    assert all(wanted is not None and wanted.learning_disabled for wanted in asked)
    rest = {"disable_active_learning": True} if route == "v1" else {"disable_active_learning": "true", "format": "json"}
    assert [dict(wanted.options) for wanted in asked if wanted] == [
        {"confidence": 0.25, "iou_threshold": 0.6, "max_detections": 7, **rest},
        {"confidence": 0.1, **rest},
        rest,
    ]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("confidence", [1.0, 0.99])
def test_a_confidence_of_1_is_not_taken_for_a_percent(route: str, confidence: float) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        model(server, route=route, confidence=confidence, overlap=confidence).predict(frame(painted(64, 48)))
        wanted = server.asked[0].wanted
    assert wanted is not None
    assert (wanted.options["confidence"], wanted.options["iou_threshold"]) == (confidence, confidence)


@pytest.mark.parametrize("route", ROUTES)
def test_a_classifier_decides_on_its_labels_without_a_confidence_setting(route: str) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        for fields in ({}, {"confidence": 0.1}):
            model(server, model_id="many/1", route=route, **fields).predict(frame(painted(64, 48)))
        asked = [received.wanted.options.get("confidence") for received in server.asked if received.wanted]
    assert asked == [None, 0.1]


@pytest.mark.parametrize("route", ROUTES)
def test_the_key_goes_in_a_header_and_nowhere_else(route: str) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server, route=route)
        asked.predict(frame(painted(64, 48)))
        assert [(r.key_in, r.key_known, r.status) for r in server.asked] == [("header", True, 200)]
        assert KEY not in f"{asked.description} {asked!r} {asked.model_id} {options(server.url)!r}"
        assert server.url in asked.description
    with InferenceServer(key=None, forbid_active_learning=True) as server:
        model(server, route=route, api_key=None).predict(frame(painted(64, 48)))
        assert [r.key_in for r in server.asked] == [None]


def test_the_jpeg_is_as_good_as_asked() -> None:
    noise = np.random.default_rng(5).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    with InferenceServer(forbid_active_learning=True) as server:
        for quality in (95, 30):
            model(server, jpeg_quality=quality).predict(frame(noise))
        good, poor = server.asked
        assert np.abs(sent(good).astype(int) - noise).mean() < np.abs(sent(poor).astype(int) - noise).mean()
        assert good.size_bytes > 2 * poor.size_bytes


def test_a_connection_is_kept_for_each_thread() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server)
        both = threading.Barrier(2)

        def ask() -> None:
            for _ in range(5):
                both.wait(10)
                asked.predict(frame(painted(64, 48)))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (len(server.asked), server.connections) == (10, 2)
        assert all(received.status == 200 for received in server.asked)


def test_a_server_may_have_a_certificate_of_its_own(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with InferenceServer(certificate=certificate, forbid_active_learning=True) as server:
        given = options(server.url)
        assert isinstance(load(given, ca_file=certificate[0]).predict(frame(painted(64, 48))), Detections)
        with pytest.raises(ModelUnavailable, match="certificate can't be verified"):
            load(given).predict(frame(painted(64, 48)))


def test_the_proxy_is_for_servers_that_are_not_of_this_network() -> None:
    body = json.dumps({"image": {"width": 64, "height": 48}, "predictions": []}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with answering(answer) as proxy, InferenceServer(forbid_active_learning=True) as server:
        far = load(options("http://far.example.com", api_key=None), proxy=proxy.url)
        assert far.predict(frame(painted(64, 48))).width == 64
        assert proxy.asked[0].target == "http://far.example.com/infer/object_detection"
        load(options(server.url), proxy=proxy.url).predict(frame(painted(64, 48)))
        assert (len(proxy.asked), len(server.asked)) == (1, 1)


def test_a_path_in_the_address_stands_before_the_server_s_own() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        with pytest.raises(ModelUnavailable, match="does not have the model"):
            load(options(f"{server.url}/behind/")).predict(frame(painted(64, 48)))
        assert [received.path for received in server.asked] == ["/behind/infer/object_detection"]


def test_nothing_is_asked_before_the_first_frame() -> None:
    place, port = reserve_closed_port()
    with place:
        asked = load(options(f"http://127.0.0.1:{port}"))
        assert (asked.task, asked.class_names, asked.model_id) == (Task.OBJECT_DETECTION, None, "boxes/1")
        asked.close()
        with pytest.raises(ModelFailed, match="closed") as failure:
            asked.predict(frame(painted(64, 48)))
        assert not isinstance(failure.value, ModelUnavailable)


# What is answered

BOX = {"x": 10, "y": 20, "width": 4, "height": 6, "confidence": 0.5, "class": "cat", "class_id": 3}
SIZE = {"width": 64, "height": 48}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([{"image": SIZE, "predictions": []}], "JSON object, not list"),
        (None, "JSON object, not NoneType"),
        ({}, '"predictions" is missing'),
        ({"message": "all is well"}, '"predictions" is missing'),
        ({"image": SIZE, "predictions": "none"}, '"predictions" is missing'),
        (
            {"image": {"width": 48, "height": 64}, "predictions": [BOX]},
            "for a picture of 48 x 64 pixels, but one of 64",
        ),
        ({"image": {"width": 65, "height": 48}, "top": "cat", "confidence": 1.0}, "for a picture of 65 x 48"),
        ({"image": {"width": "64"}, "predictions": []}, "image.width: '64' is not a number of pixels"),
        (
            {"image": SIZE, "predictions": [], "top": "cat", "confidence": 0.5},
            "it has labels, but model.task is object",
        ),
        ({"image": SIZE, "predictions": {}, "predicted_classes": []}, "it has labels"),
        ({"is_stub": True, "task_type": "guessing"}, "task: 'guessing' is not one of"),
        ({"top": "x", "confidence": "y" * 100_000}, "y..."),
    ],
    ids=str,
)
def test_an_invalid_prediction_is_a_failure_of_this_frame(body: object, why: str) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server)
        server.orders.add(Fault("infer", Answer(body)))
        with pytest.raises(ModelFailed) as failure:
            asked.predict(frame(painted(64, 48)))
        assert not isinstance(failure.value, ModelUnavailable)
        assert f"the inference server {server.url} sent an invalid prediction: " in str(failure.value)
        assert why in str(failure.value)
        assert len(str(failure.value)) < 400
        assert isinstance(asked.predict(frame(painted(64, 48))), Detections)


def test_objects_where_a_label_is_expected_are_a_failure_too() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Answer({"image": SIZE, "predictions": [BOX]})))
        with pytest.raises(ModelFailed, match=r"it has objects, but model\.task is classification"):
            model(server, model_id="labels/1").predict(frame(painted(64, 48)))


def test_values_that_are_not_finite_are_dropped_and_counted() -> None:
    parts = [{**BOX, "confidence": float("nan")}, {**BOX, "x": float("inf")}, {**BOX, "class": ""}, BOX]
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Answer({"image": SIZE, "time": float("nan"), "predictions": parts})))
        prediction = model(server).predict(frame(painted(64, 48)))
    assert isinstance(prediction, Detections)
    assert (only(prediction).class_name, prediction.dropped) == ("cat", 3)
    assert prediction.time_s is not None
    assert 0 < prediction.time_s < 60  # as measured, since the server's is none


def test_keys_that_nobody_knows_are_kept_and_stay_as_they_are_where_boxes_grow() -> None:
    answer = {"image": {"width": 32, "height": 24}, "frame_id": 7, "predictions": [{**BOX, "track_quality": 0.7}]}
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Answer(answer)))
        found = model(server, max_image_size=(24, 32)).predict(frame(painted(64, 48)))
    assert isinstance(found, Detections)
    assert (only(found).x, only(found).y) == (20.0, 40.0)
    assert (only(found).extras, found.extras) == ((("track_quality", 0.7),), (("frame_id", 7),))


def test_the_server_s_own_time_and_id_are_kept() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        prediction = model(server).predict(frame(painted(64, 48)))
        annotated = json.loads(server.asked[0].answer)
    assert (prediction.time_s, prediction.inference_id) == (annotated["time"], annotated["inference_id"])


@pytest.mark.parametrize("shape", [(0, 64, 3), (48, 0, 3), (20, 66_000, 3)])
def test_a_picture_that_no_jpeg_can_hold_fails_and_is_not_sent(shape: tuple[int, int, int]) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        with pytest.raises(ModelFailed, match=f"a picture of {shape[1]} x {shape[0]}"):
            model(server).predict(frame(np.zeros(shape, np.uint8)))
        assert server.asked == ()


# What may be asked for


def messages(refusal: ValidationError) -> str:
    """Without what was refused, which the settings don't show either."""
    return str([error["msg"] for error in refusal.errors()])


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"url": "127.0.0.1:9001"}, "url is not the address of a server"),
        ({"url": "ftp://127.0.0.1"}, "url is not the address of a server"),
        ({"url": "http://:9001"}, "url is not the address of a server"),
        ({"url": "http://[::1"}, "url is not the address of a server"),
        ({"url": "http://a:99999"}, "url is not the address of a server"),
        ({"url": "http://a b"}, "url is not the address of a server"),
        ({"url": f"http://127.0.0.1?api_key={KEY}"}, "the key is api_key"),
        ({"url": f"http://me:{KEY}@127.0.0.1"}, "no credentials"),
        ({"api_key": ""}, "is a variable empty?"),
        ({"api_key": "a b"}, "without spaces"),
        ({"model_id": "no spaces"}, "match pattern"),
        ({"route": "legacy", "model_id": "rfdetr-base"}, "route legacy needs dataset/version, as parking/3"),
        ({"task": "semantic-segmentation"}, "'object-detection', 'instance-segmentation'"),
        ({"task": "classification", "overlap": 0.5}, "are for detectors"),
        ({"task": "classification", "max_detections": 5}, "are for detectors"),
        ({"confidence": 40}, "less than or equal to 1"),
        ({"max_detections": 0}, "greater than or equal to 1"),
        ({"max_image_size": [0, 640]}, "greater than or equal to 16"),
        ({"jpeg_quality": 101}, "less than or equal to 100"),
        ({"timeout_s": 30}, "less than or equal to 20"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_reason(fields: dict[str, Any], body: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        options(**{"url": "http://127.0.0.1:9001", **fields})
    text = messages(refusal.value)
    assert body in text
    assert KEY not in text


NEARBY = (
    "127.0.0.1",
    "localhost",
    "[::1]",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.1.5",
    "169.254.3.4",
    "[fe80::1]",
    "[fd00::7]",
    "inference",
    "jetson.local",
    "gpu.default.svc.internal",
)
FAR = (
    "8.8.8.8",
    "172.32.0.1",
    "100.64.0.1",
    "[2001:db8::1]",
    "detect.roboflow.com",
    "134744072",
    "0x08080808",
    "10.0.0.1.example.com",
)


@pytest.mark.parametrize("host", NEARBY)
def test_a_key_may_go_unencrypted_within_this_network(host: str) -> None:
    assert options(f"http://{host}:9001")


@pytest.mark.parametrize("host", FAR)
def test_a_key_may_not_go_unencrypted_any_further(host: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        options(f"http://{host}:9001")
    assert f"{host.strip('[]')} is not a private host" in messages(refusal.value)
    assert KEY not in messages(refusal.value)
    assert options(f"https://{host}")
    assert options(f"http://{host}:9001", api_key=None)


@pytest.mark.parametrize("url", ["http://8.8.8.8:9001", f"http://user:{KEY}@127.0.0.1", f"https://host/?key={KEY}"])
def test_the_settings_refuse_it_with_one_line_that_shows_no_secret(tmp_path: Path, url: str) -> None:
    given = {"type": "inference_server", "url": url, "model_id": "a/1", "task": "object-detection", "api_key": KEY}
    write_configuration(tmp_path, {"model": given, "streams": [{"name": "gate", "source": "rtsp://10.0.0.5/s"}]})
    with pytest.raises(ConfigError) as refused:
        settings.load(tmp_path / "framesift.yaml", {})
    (line,) = refused.value.problems
    assert "model" in line
    assert KEY not in line


def test_the_settings_know_the_key_as_a_secret(tmp_path: Path) -> None:
    given = {"type": "inference_server", "model_id": "a/1", "task": "object-detection", "api_key": "${SERVER}"}
    write_configuration(tmp_path, {"model": given, "streams": [{"name": "gate", "source": "rtsp://10.0.0.5/s"}]})
    known = settings.load(tmp_path / "framesift.yaml", {"SERVER": KEY})
    assert KEY in settings.secrets(known)
    assert KEY not in repr(known)
