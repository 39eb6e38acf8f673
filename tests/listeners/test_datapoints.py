"""POST /datapoints: what is handed in goes the way of a stream's frame, and the answer is the decision."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from clocks import NOON_S, ManualClock
from framesift.listeners.datapoint_requests import MAX_ITEMS
from framesift.listeners.ingest import IngestBounds
from framesift.listeners.stream_intakes import MAX_STREAMS
from framesift.policy.policy import NO_POLICY_YET
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Stub, Task
from framesift.sampling.intake import Intake
from framesift.spool import WhenFull
from framesift.telemetry import Condition
from rigs.hostile_pictures import spoilt, turned
from rigs.listeners import (
    ALL,
    RunningListener,
    in_base64,
    picture,
    pixels_of,
    policy,
    prediction_json,
    read_all,
    request_head,
    running_listener,
)

TOKEN = "a-token-of-this-listener"
UNSURE = {"name": "unsure", "type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.1, "probability": 1.0}


def content(**more: Any) -> dict[str, Any]:
    """One datapoint as JSON."""
    return {"image": in_base64(picture()), "prediction": prediction_json(), **more}


def form(**more: Any) -> dict[str, Any]:
    """One datapoint as a form, for `requests`."""
    parts = {"image": ("a.jpg", picture()), "prediction": (None, json.dumps(prediction_json()))}
    return {"files": {**parts, **{name: (None, value) for name, value in more.items()}}}


# -- what is accepted


@pytest.mark.parametrize("way", ["json", "form"])
@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_a_picture_with_its_prediction_is_in_the_spool_when_the_answer_says_so(
    tmp_path: Path, kind: str, way: str
) -> None:
    sent = picture(kind=kind)
    with running_listener(tmp_path) as listener:
        if way == "json":
            answer = listener.post(content(image=in_base64(sent)))
        else:
            parts = {
                "image": ("frame", sent, "application/octet-stream"),
                "prediction": (None, json.dumps(prediction_json())),
            }
            answer = listener.post(files=parts)
        assert answer.status_code == 200
        (item,) = listener.items()
        decision = {"matched": ["all"], "strategy": "all", "charged": "all", "reason": None, "id": item.id}
        assert answer.json() == decision
        assert (item.stream, item.device, item.strategy) == ("listener", "gate-7", "all")
        assert (item.width, item.height) == (64, 48)
        assert item.captured_at_s == NOON_S
        assert wire.parse_prediction(json.loads(item.prediction)) == wire.parse_prediction(prediction_json())
        assert np.abs(pixels_of(listener.spool.read_jpeg(item.id)).astype(int) - pixels_of(sent)).max() <= 8
        assert listener.count("offered") == 1


def test_a_data_url_and_base64_with_line_ends_are_read_as_the_picture_that_they_are(tmp_path: Path) -> None:
    text = in_base64(picture())
    broken = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    with running_listener(tmp_path) as listener:
        for image in (f"data:image/jpeg;base64,{text}", broken):
            assert listener.post(content(image=image)).json()["strategy"] == "all"


@pytest.mark.parametrize(
    ("prediction", "task"),
    [
        (
            prediction_json(points=[{"x": 1.0, "y": 1.0}, {"x": 9.0, "y": 1.0}, {"x": 9.0, "y": 9.0}]),
            Task.INSTANCE_SEGMENTATION,
        ),
        (prediction_json(keypoints=[{"x": 1.0, "y": 2.0, "confidence": 0.5, "class": "nose", "class_id": 0}]), None),
        (prediction_json(colour="red", track_quality=0.7, plate=None), None),
        ({"predictions": [], "top": "", "confidence": 0.0}, None),
        ({"predictions": {"cat": {"confidence": 0.5, "class_id": 0}}, "predicted_classes": ["cat"]}, None),
        ({"is_stub": True, "model_id": "a/0", "task_type": "classification", "time": 0.1}, None),
    ],
    ids=["polygon", "keypoints", "unknown keys", "one label", "labels", "stub"],
)
def test_predictions_of_every_kind_come_out_as_they_went_in(
    tmp_path: Path, prediction: dict[str, Any], task: Task | None
) -> None:
    with running_listener(tmp_path) as listener:
        more = {} if task is None else {"task": str(task)}
        assert listener.post(content(prediction=prediction, **more)).json()["strategy"] == "all"
        (item,) = listener.items()
        expected = wire.parse_prediction(prediction, width=64, height=48, task=task)
        assert wire.parse_prediction(json.loads(item.prediction), width=64, height=48, task=task) == expected


def test_a_prediction_with_reduced_masks_is_kept_in_the_pixels_of_the_picture(tmp_path: Path) -> None:
    reduced = {**prediction_json(32, 24, x=16.0, y=12.0), "original_image": {"width": 64, "height": 48}}
    with running_listener(tmp_path) as listener:
        assert listener.post(content(prediction=reduced)).json()["strategy"] == "all"
        (item,) = listener.items()
        kept = json.loads(item.prediction)
        assert kept["image"] == {"width": 64, "height": 48}
        assert (kept["predictions"][0]["x"], kept["predictions"][0]["y"]) == (32.0, 24.0)
        wrong = {**reduced, "original_image": {"width": 64, "height": 64}}
        assert listener.post(content(prediction=wrong)).json()["where"] == "prediction.image"


def test_an_unknown_key_that_can_not_be_kept_costs_nothing_else(tmp_path: Path) -> None:
    with running_listener(tmp_path) as listener:
        strange = prediction_json(colour="red", attributes={"colour": "red"})
        assert listener.post(content(prediction=strange)).json()["strategy"] == "all"
        (item,) = listener.items()
        (found,) = json.loads(item.prediction)["predictions"]
        assert found["colour"] == "red"
        assert "attributes" not in found


def test_a_picture_without_a_prediction_is_one_that_no_model_has_seen(tmp_path: Path) -> None:
    with running_listener(tmp_path) as listener:
        assert listener.post(files={"image": picture()}).json()["strategy"] == "all"
        (item,) = listener.items()
        assert wire.parse_prediction(json.loads(item.prediction)) == Stub(task=Task.OBJECT_DETECTION, width=0, height=0)


def test_a_jpeg_is_turned_as_its_exif_says_and_the_prediction_is_of_the_turned_picture(tmp_path: Path) -> None:
    upright = picture(48, 64)
    lying = turned(upright)
    with running_listener(tmp_path) as listener:
        assert listener.post(content(image=in_base64(lying), prediction=prediction_json(48, 64))).status_code == 422
        assert (
            listener.post(content(image=in_base64(lying), prediction=prediction_json(64, 48))).json()["strategy"]
            == "all"
        )
        (item,) = listener.items()
        expected = cv2.rotate(pixels_of(upright), cv2.ROTATE_90_CLOCKWISE)
        assert np.abs(pixels_of(listener.spool.read_jpeg(item.id)).astype(int) - expected).max() <= 8


def test_a_picture_that_can_not_be_decoded_is_an_error_even_if_no_strategy_wants_it(tmp_path: Path) -> None:
    with running_listener(tmp_path, policy({**ALL, "traffic_percentage": 0.0})) as listener:
        answer = listener.post(content(image=in_base64(spoilt(picture()))))
        assert (answer.status_code, answer.json()["where"]) == (422, "image")
        assert listener.telemetry.report().frames_read == 0


def test_a_datapoint_names_its_stream_and_the_listener_has_one_for_those_that_do_not(tmp_path: Path) -> None:
    with running_listener(tmp_path, stream="yard") as listener:
        listener.post(content())
        listener.post(content(stream="gate.2"))
        listener.post(**form(stream="gate.3"))
        assert [item.stream for item in listener.items()] == ["yard", "gate.2", "gate.3"]


# -- batches


def test_a_batch_is_judged_one_by_one_and_its_decisions_come_in_its_order(tmp_path: Path) -> None:
    sure = prediction_json(confidence=0.95)
    with running_listener(tmp_path, policy(UNSURE)) as listener:
        batch = [content(), content(prediction=sure), content(stream="gate")]
        answer = listener.post({"datapoints": batch})
        assert answer.status_code == 200
        decisions = answer.json()["datapoints"]
        assert [v["strategy"] for v in decisions] == ["unsure", None, "unsure"]
        assert [v["reason"] for v in decisions] == [None, "no_match", None]
        assert {v["id"] for v in decisions} - {None} == {item.id for item in listener.items()}


def test_a_form_may_hold_a_batch_each_image_before_its_prediction(tmp_path: Path) -> None:
    parts: list[tuple[str, Any]] = [("stream", (None, "gate"))]  # before the first image: it holds for all
    for confidence in (0.5, 0.95, 0.55):
        parts += [
            ("image", ("a.jpg", picture())),
            ("prediction", (None, json.dumps(prediction_json(confidence=confidence)))),
        ]
    with running_listener(tmp_path, policy(UNSURE)) as listener:
        decisions = listener.post(files=parts).json()["datapoints"]
        assert [v["reason"] for v in decisions] == [None, "no_match", None]
        assert [item.stream for item in listener.items()] == ["gate", "gate"]


def test_one_bad_datapoint_of_a_batch_is_named_and_the_others_are_taken(tmp_path: Path) -> None:
    bad: list[Any] = [content(image="!"), 7, content(prediction=prediction_json(x=None)), content(streem="gate")]
    with running_listener(tmp_path) as listener:
        answer = listener.post({"datapoints": [content(), *bad, content()]})
        assert answer.status_code == 200
        first, *faults, last = answer.json()["datapoints"]
        assert first["strategy"] == last["strategy"] == "all"
        assert [fault["where"] for fault in faults] == [
            "datapoints[1].image",
            "datapoints[2]",
            "datapoints[3].prediction.predictions[0].x",
            "datapoints[4]",
        ]
        assert len(listener.items()) == 2
        assert (listener.count("offered"), listener.count("refused")) == (2, len(bad))


def test_a_batch_has_a_largest_number_of_datapoints(tmp_path: Path) -> None:
    with running_listener(tmp_path) as listener:
        answer = listener.post({"datapoints": [content()] * (MAX_ITEMS + 1)})
        assert (answer.status_code, answer.json()["where"]) == (413, "datapoints")
        assert len(listener.post({"datapoints": [content()] * MAX_ITEMS}).json()["datapoints"]) == MAX_ITEMS
        assert len(listener.items()) == MAX_ITEMS


# -- the same sampling, the same limits


def test_the_decision_names_all_strategies_that_matched_and_the_one_that_was_charged(tmp_path: Path) -> None:
    scarce = {**UNSURE, "name": "scarce", "limits": [{"type": "daily", "value": 1}]}
    with running_listener(tmp_path, policy(scarce, UNSURE)) as listener:
        charged = [listener.post(content()).json() for _ in range(2)]
        assert [v["matched"] for v in charged] == [["scarce", "unsure"]] * 2
        assert [v["strategy"] for v in charged] == ["scarce", "unsure"]
        sure = listener.post(content(prediction=prediction_json(confidence=0.95))).json()
        assert sure == {"matched": [], "strategy": None, "charged": None, "reason": "no_match", "id": None}


def test_limits_hold_over_all_streams_of_the_listener_and_open_again_with_their_window(tmp_path: Path) -> None:
    clock = ManualClock()
    two_a_minute = {**ALL, "limits": [{"type": "minutely", "value": 2}]}
    with running_listener(tmp_path, policy(two_a_minute), clock=clock) as listener:
        reasons = [listener.post(content(stream=name)).json()["reason"] for name in ("a", "b", "c", "a")]
        assert reasons == [None, None, "limit", "limit"]
        refused = listener.post(content())
        assert refused.status_code == 200  # asking again is no use
        assert refused.json() == {"matched": ["all"], "strategy": None, "charged": None, "reason": "limit", "id": None}
        clock.advance(60.0)
        assert listener.post(content()).json()["reason"] is None


@pytest.mark.parametrize("written", [NOON_S - 3600, str(NOON_S - 3600), "2026-09-10T11:00:00Z"])
def test_a_datapoint_is_charged_to_the_hour_in_which_its_picture_was_taken(tmp_path: Path, written: Any) -> None:
    one_an_hour = {**ALL, "limits": [{"type": "hourly", "value": 1}]}
    with running_listener(tmp_path, policy(one_an_hour)) as listener:
        assert listener.post(content()).json()["reason"] is None
        assert listener.post(content()).json()["reason"] == "limit"
        assert listener.post(content(captured_at=written)).json()["reason"] is None
        assert listener.post(content(captured_at=written)).json()["reason"] == "limit"
        assert [item.captured_at_s for item in listener.items()] == [NOON_S, NOON_S - 3600]


def test_a_picture_like_one_that_was_accepted_is_a_near_duplicate(tmp_path: Path) -> None:
    with running_listener(tmp_path, policy(near_duplicate={"threshold": "auto", "memory": 8})) as listener:
        reasons = [listener.post(content(stream=name)).json()["reason"] for name in ("a", "a", "b")]
        assert reasons == [None, "near_duplicate", None]


def test_a_policy_that_is_off_refuses_by_name(tmp_path: Path) -> None:
    with running_listener(tmp_path, policy(enabled=False)) as listener:
        answer = listener.post(content())
        assert (answer.status_code, answer.json()["reason"]) == (200, "disabled")
        assert listener.items() == ()


def test_a_paused_stream_refuses_by_name_until_it_is_resumed_and_a_wrong_picture_is_still_an_error(
    tmp_path: Path,
) -> None:
    with running_listener(tmp_path) as listener:
        assert listener.post(content(stream="gate")).json()["reason"] is None
        pauses = listener.intakes["gate"].requests.pauses
        pauses.pause("gate", None, "alice")
        answer = listener.post(content(stream="gate"))
        assert (answer.status_code, answer.json()["reason"], answer.json()["matched"]) == (200, "paused", [])
        assert "Retry-After" not in answer.headers
        assert listener.post(content(stream="gate", image="bm8gcGljdHVyZQ==")).status_code == 422
        assert listener.post(content(stream="yard")).json()["reason"] is None
        pauses.resume("gate", "alice")
        assert listener.post(content(stream="gate")).json()["reason"] is None
        assert listener.telemetry.report().refused == {"paused": 1}


def test_frames_and_refusals_are_counted_as_those_of_any_stream(tmp_path: Path) -> None:
    with running_listener(tmp_path, policy(UNSURE)) as listener:
        listener.post(content(stream="gate"))
        listener.post(content(stream="gate", prediction=prediction_json(confidence=0.95)))
        seen = listener.telemetry.report()
        assert (seen.frames_read, seen.frames_accepted) == (2, 1)
        assert seen.refused == {"no_match": 1}


def test_there_are_only_so_many_streams(tmp_path: Path) -> None:
    with running_listener(tmp_path, policy(enabled=False)) as listener, requests.Session() as session:
        for number in range(MAX_STREAMS):
            sent = session.post(f"{listener.url}/datapoints", json=content(stream=f"s{number}"), timeout=20)
            assert sent.status_code == 200
        answer = listener.post(content(stream="one-more"))
        assert (answer.status_code, answer.json()["where"]) == (400, "stream")
        assert listener.post(content(stream="s7")).status_code == 200


# -- back-pressure


def test_a_full_spool_is_a_503_that_says_when_to_try_again_and_ends_when_there_is_room(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (400, 400, 3), np.uint8)
    large = in_base64(bytes(cv2.imencode(".png", noise)[1]))
    whole = {"image": large, "prediction": prediction_json(400, 400)}
    with running_listener(tmp_path, spool={"max_bytes": 2**20, "when_full": WhenFull.REFUSE}) as listener:
        answers = [listener.post(whole) for _ in range(8)]
        taken = [answer for answer in answers if answer.status_code == 200]
        refused = answers[len(taken) :]
        assert taken
        assert [answer.status_code for answer in refused] == [503] * (8 - len(taken))
        assert {answer.headers["Retry-After"] for answer in refused} == {"60"}
        full = {"matched": ["all"], "strategy": None, "charged": None, "reason": "spool_full", "id": None}
        assert all(answer.json() == full for answer in refused)
        batch = listener.post({"datapoints": [whole, whole]})
        assert (batch.status_code, batch.headers["Retry-After"]) == (503, "60")
        assert batch.json()["datapoints"] == [full, full]
        items = listener.items()
        assert [item.id for item in items] == [answer.json()["id"] for answer in taken]
        for item in items:
            listener.spool.complete(item.id)
        assert listener.post(whole).json()["strategy"] == "all"


def test_a_batch_of_which_a_part_was_taken_is_no_503_since_all_of_it_would_come_again(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (400, 400, 3), np.uint8)
    whole = {"image": in_base64(bytes(cv2.imencode(".png", noise)[1])), "prediction": prediction_json(400, 400)}
    with running_listener(tmp_path, spool={"max_bytes": 2**20, "when_full": WhenFull.REFUSE}) as listener:
        answer = listener.post({"datapoints": [whole] * 8})
        assert answer.status_code == 200
        assert {decision["reason"] for decision in answer.json()["datapoints"]} == {None, "spool_full"}


def test_before_the_policy_is_known_clients_are_told_when_to_try_again(tmp_path: Path) -> None:
    with running_listener(tmp_path, NO_POLICY_YET) as listener:
        answer = listener.post(content())
        assert (answer.status_code, answer.json()["reason"]) == (503, "no_policy_yet")
        assert answer.headers["Retry-After"] == "5"
        listener.intakes["listener"].set_policy(policy())
        assert listener.post(content()).json()["strategy"] == "all"


def test_more_clients_at_once_than_are_served_are_told_when_to_try_again(tmp_path: Path) -> None:
    with running_listener(tmp_path, bounds=IngestBounds(max_concurrent=1)) as listener:
        head = request_head("Expect: 100-continue", "Content-Length: 2")
        with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as first:
            first.sendall(head)
            assert first.recv(1000).startswith(b"HTTP/1.1 100")  # it has the seat now
            answer = listener.post(content())
            assert (answer.status_code, answer.json()["reason"]) == (503, "door_busy")
            assert answer.headers["Retry-After"] == "1"
            assert listener.items() == ()
            first.sendall(b"{}")
            assert b"400" in first.recv(1000)
        assert listener.post(content()).json()["strategy"] == "all"
        assert listener.count("door_busy") == 1


def test_many_clients_at_once_get_each_their_own_decision(tmp_path: Path) -> None:
    taken: list[str] = []
    with running_listener(tmp_path, bounds=IngestBounds(max_concurrent=8)) as listener:

        def client(name: str) -> None:
            with requests.Session() as session:
                for _ in range(10):
                    got = session.post(f"{listener.url}/datapoints", json=content(stream=name), timeout=20).json()
                    taken.append(f"{name} {got['id']}")

        threads = [threading.Thread(target=client, args=(f"s{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        items = listener.items()
        assert sorted(taken) == sorted(f"{item.stream} {item.id}" for item in items)
        for name in ("s0", "s5"):  # the frames of a stream are counted without a gap
            assert sorted(item.frame for item in items if item.stream == name) == list(range(10))


# -- who asks


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong-token-of-this-listener", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_without_the_token_nothing_comes_in(tmp_path: Path, authorization: str | None) -> None:
    with running_listener(tmp_path, token=TOKEN) as listener:
        headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
        for answer in (
            listener.post(content(), headers=headers),
            requests.get(listener.url, headers=headers, timeout=20),
        ):
            assert (answer.status_code, answer.json()["where"]) == (401, "Authorization")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert listener.items() == ()
        assert TOKEN not in listener.out.getvalue()


def test_with_the_token_it_does_by_whatever_name_the_machine_is_called(tmp_path: Path) -> None:
    with running_listener(tmp_path, token=TOKEN) as listener:
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "gate-7.example"}
        assert listener.post(content(), headers=headers).json()["strategy"] == "all"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST:9470", "[::1]:9470"])
def test_without_a_token_the_machine_is_called_by_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    with running_listener(tmp_path) as listener:
        assert listener.post(content(), headers={"Host": name}).status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "evil.example:9470", "localhost.evil.example", "127.0.0.1.evil", ""])
def test_a_foreign_name_is_refused_as_that_of_a_page_that_points_its_own_name_here(tmp_path: Path, name: str) -> None:
    with running_listener(tmp_path) as listener:
        answer = listener.post(content(), headers={"Host": name})
        assert (answer.status_code, answer.json()["where"]) == (421, "Host")
        assert listener.items() == ()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example:9470", "null"])
def test_a_web_page_of_another_machine_can_not_send_datapoints_though_browsers_let_it_send_forms(
    tmp_path: Path, origin: str
) -> None:
    with running_listener(tmp_path) as listener:
        answer = listener.post(**form(), headers={"Origin": origin})
        assert (answer.status_code, answer.json()["where"]) == (403, "Origin")
        assert listener.post(**form(), headers={"Origin": "http://localhost:8080"}).status_code == 200
        assert len(listener.items()) == 1


# -- the rest of HTTP


def test_a_get_of_the_root_path_explains_what_this_is(tmp_path: Path) -> None:
    with running_listener(tmp_path) as listener:
        answer = requests.get(listener.url, timeout=20)
        assert answer.status_code == 200
        assert "POST /datapoints" in answer.text
        head = requests.head(listener.url, timeout=20)
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(answer.content)))


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "where"),
    [
        ("POST", "/datapoint", {}, 404, "path"),
        ("GET", "/datapoints", {}, 405, "method"),
        ("PUT", "/datapoints", {}, 405, "method"),
        ("POST", "/datapoints", {"Content-Type": "text/plain"}, 415, "Content-Type"),
        ("POST", "/datapoints", {"Content-Type": "multipart/form-data"}, 400, ""),
    ],
)
def test_what_is_not_a_datapoint_gets_an_error_that_says_what_is_allowed(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], status: int, where: str
) -> None:
    with running_listener(tmp_path) as listener:
        answer = requests.request(method, listener.url + path, data=b"{}", headers=headers, timeout=20)
        assert (answer.status_code, answer.json()["where"]) == (status, where)
        assert answer.headers.get("Allow") == ("POST" if status == 405 else None)


def test_one_connection_carries_many_datapoints_also_when_they_are_sent_without_waiting(tmp_path: Path) -> None:
    body = json.dumps(content()).encode()
    length = f"Content-Length: {len(body)}"
    with (
        running_listener(tmp_path) as listener,
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as connection,
    ):
        heads = [request_head(length), request_head(length), request_head(length, "Connection: close")]
        connection.sendall(b"".join(head + body for head in heads))
        got = read_all(connection)
        assert got.count(b"HTTP/1.1 200 OK") == 3
        assert len(listener.items()) == 3


def test_a_body_may_come_in_chunks(tmp_path: Path) -> None:
    body = json.dumps(content()).encode()
    with running_listener(tmp_path) as listener:
        pieces = iter([body[:100], body[100:101], body[101:]])
        headers = {"Content-Type": "application/json"}
        assert listener.post(data=pieces, headers=headers).json()["strategy"] == "all"


def test_a_bug_in_sampling_is_reported_counted_and_over_with_the_next_datapoint(tmp_path: Path) -> None:
    listeners: list[RunningListener] = []

    def intake_of(stream: str) -> Intake:
        if stream == "bad":
            raise LookupError("a bug")
        return listeners[0].intake_of(stream)

    with running_listener(tmp_path, intake_of=intake_of) as listener:
        listeners.append(listener)
        answer = listener.post({"datapoints": [content(stream="bad"), content()]})
        assert answer.status_code == 200
        failed, good = answer.json()["datapoints"]
        assert failed["where"] == "datapoints[0]"
        assert good["strategy"] == "all"
        assert listener.post(content(stream="bad")).status_code == 500
        name = listener.telemetry.report().health[0]
        assert (name.condition, "LookupError" in name.why) == (Condition.DEGRADED, True)
        listener.post(content())
        assert listener.telemetry.report().health[0].condition is Condition.OK
        assert listener.count("failed") == 2


def test_an_open_listener_ends_with_the_answer_that_is_under_way(tmp_path: Path) -> None:
    body = json.dumps(content()).encode()
    head = request_head("Expect: 100-continue", f"Content-Length: {len(body)}")
    with (
        running_listener(tmp_path) as listener,
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as connection,
    ):
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        ending = threading.Thread(target=listener.listener.stop, args=(10.0,))
        ending.start()
        connection.sendall(body)
        got = read_all(connection)
        ending.join(10)
        assert b"200 OK" in got
        assert b"Connection: close" in got
        assert len(listener.items()) == 1
