"""An inference server that is away, slow, busy, or something else: the messages, the time it takes, and when it is
asked again. And whether a refusal concerns the picture or the server."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from typing import Any

import pytest
from pydantic import TypeAdapter

from clocks import ManualClock
from framesift.models import ModelFailed, ModelSettings, ModelUnavailable
from framesift.models.inference_server import InferenceServerModel
from framesift.prediction.prediction import Detections
from rigs.inference import (
    KEY,
    Answer,
    BadJson,
    Cut,
    Delay,
    Fault,
    Html,
    InferenceServer,
    Oversized,
    Redirect,
    Status,
    Trickle,
    painted,
)
from rigs.networks import frame
from rigs.raw_http_server import answering

OPTIONS: TypeAdapter[Any] = TypeAdapter(ModelSettings)
PICTURE = frame(painted(64, 48))


def model(url: str, clock: ManualClock | None = None, **fields: Any) -> InferenceServerModel:
    whole = {"type": "inference_server", "url": url, "model_id": "boxes/1", "task": "object-detection", "api_key": KEY}
    options = OPTIONS.validate_json(json.dumps({**whole, **fields}))
    return InferenceServerModel(options, now_s=(clock or ManualClock()).monotonic, rng=random.Random(7))


def away(asked: InferenceServerModel) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as failure:
        asked.predict(PICTURE)
    assert KEY not in str(failure.value)
    return failure.value


def refused(asked: InferenceServerModel) -> str:
    with pytest.raises(ModelFailed) as failure:
        asked.predict(PICTURE)
    assert not isinstance(failure.value, ModelUnavailable)
    return str(failure.value)


def message(text: str) -> dict[str, str]:
    return {"message": text}


# What is reported


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Status(401, body=message("Unauthorized")), "does not accept the key (401): Unauthorized; check model.api_key"),
        (Status(402), "asks for payment (402)"),
        (Status(403), "does not let the key use the model (403): as ordered; check the rights of model.api_key"),
        (Status(404), "does not have the model (404): as ordered; check model.model_id, model.url"),
        (
            Status(405, body={"detail": "Method Not Allowed"}),
            "has no such route (405): Method Not Allowed; check model",
        ),
        (Status(408), "waited too long for the request (408)"),
        (Status(423), "has paused the workspace (423)"),
        (Status(429), "asks for fewer requests (429)"),
        (Status(500, body=message("Internal error.")), "fails (500): Internal error.; see its log"),
        (Status(501), "can't run the model (501)"),
        (Status(502, body="<html>nginx</html>"), "got no good answer from the server behind it (502); see its log"),
        (Status(503), "is busy, or not ready (503): as ordered"),
        (Status(504), "got no answer in time from the server behind it (504)"),
        (Status(507), "is out of memory or disk space (507)"),
        (Status(599, body=[]), "fails (599); see its log"),
        (Html(), "sent text/html instead of JSON; check model.url"),
        (Html(503), "is busy, or not ready (503)"),
        (Status(200, body=b""), "sent something instead of JSON"),
        (Status(204, body=b""), "sent something instead of JSON"),
        (Redirect("https://portal.example.com/login"), "redirects (302); check model.url"),
        (BadJson(), "sent application/json instead of JSON"),
        (Cut(), "can't be asked: the connection was closed without an answer"),
        (Cut(stored=True, sent=0.5), "can't be asked: the answer is cut off or damaged"),
        (Cut(stored=True, sent=0.5, reset=True), "can't be asked: "),
        (Delay(math.inf), "can't be asked: no whole answer in time"),
        (Trickle(200), "can't be asked: no whole answer in time"),
    ],
    ids=str,
)
def test_a_server_without_a_prediction_for_any_picture_is_unavailable(order: Any, message: str) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", order))
        slow = isinstance(order, Delay | Trickle)
        asked = model(server.url, timeout_s=1.0 if slow else 20.0)
        began_s = time.monotonic()
        failure = away(asked)
        assert time.monotonic() - began_s < 10.0
        assert f"the inference server {server.url} {message}" in str(failure)
        assert failure.retry_after_s == 0.5
        asked = model(server.url)
        assert isinstance(asked.predict(PICTURE), Detections)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Status(400, body=message("Could not load input image.")), "(400): Could not load input image."),
        (Status(413, body="Request Entity Too Large"), "refuses the request (413)"),
        (Status(415), "refuses the request (415): as ordered"),
        (Status(418, body={"detail": []}), "refuses the request (418)"),
        (
            Status(422, body={"detail": [{"loc": ["body", "image", 0], "msg": "Field required"}]}),
            "(422): body.image.0: Field required",
        ),
        (Status(422, body={"detail": [{"msg": "x" * 5000}]}), "xxx..."),
        (Status(400, body=message("two\nlines\x07")), "(400): two lines"),
        (Status(400, body=message("Required Roboflow API key is missing.")), "(400): Required Roboflow API key"),
    ],
    ids=str,
)
def test_a_server_that_refuses_one_picture_is_available(order: Any, message: str) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server.url)
        for _ in range(5):  # however often: the next one may please it
            server.orders.add(Fault("infer", order))
            messages = refused(asked)
            assert f"the inference server {server.url} refuses the request" in messages
            assert message in messages
            assert messages.isprintable()
            assert len(messages) < 320
        assert isinstance(asked.predict(PICTURE), Detections)


def test_an_answer_that_is_too_large_is_refused_and_not_asked_for_again() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Oversized(17 << 20)))
        messages = refused(model(server.url, timeout_s=20.0))
        assert messages == (
            f"the inference server {server.url} sent too much: the answer is too large: more than 16777216 bytes"
        )


def test_answers_of_the_legacy_route_are_classified_alike() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(*(Fault("infer", what) for what in (Status(503), Html(), Status(400))))
        asked = model(server.url, route="legacy")
        assert "is busy, or not ready (503)" in str(away(asked))
        assert "sent text/html" in str(away(asked))
        assert "refuses the request (400)" in refused(asked)
        assert isinstance(asked.predict(PICTURE), Detections)


def test_a_server_that_needs_a_key_is_reported() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        for route in ("v1", "legacy"):
            messages = str(away(model(server.url, api_key=None, route=route)))
            assert "asks for a key (400): Required Roboflow API key is missing.; set model.api_key" in messages


def test_a_wrong_key_a_wrong_model_and_a_wrong_task_are_reported() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        assert "does not accept the key" in str(away(model(server.url, api_key="another")))
        assert "does not have the model" in str(away(model(server.url, model_id="boxes/9")))
        assert "boxes/1 does object-detection, not classification" in refused(model(server.url, task="classification"))


@pytest.mark.parametrize(
    "order",
    [
        Status(401, body=message(f"the key {KEY} is not known")),
        Status(400, body=message(f"the key {KEY}")),
        Status(422, body={"detail": [{"loc": [KEY], "msg": KEY}]}),
        Status(400, body=message("x" * 190 + KEY)),  # where the message is cut
        Status(200, {"Content-Type": f"text/{KEY}"}, body=b"<html>"),
        Redirect(f"https://elsewhere.example.com/?api_key={KEY}"),
        Answer({"is_stub": True, "task_type": f"Bearer {KEY}"}),
        Answer({"top": "cat", "confidence": KEY}),
    ],
    ids=range(8),
)
def test_a_key_that_is_echoed_goes_no_further(order: Any) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", order))
        with pytest.raises(ModelFailed) as failure:
            model(server.url).predict(PICTURE)
        assert KEY[:12] not in str(failure.value)


# When it is asked


def test_after_three_failures_nobody_waits_until_the_server_is_back() -> None:
    clock = ManualClock()
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server.url, clock)
        asked.predict(PICTURE)
        server.go_away()
        messages = [away(asked) for _ in range(3)]
        assert all("Connection refused" in str(failure) for failure in messages)
        assert str(away(asked)) == str(messages[-1])  # at once: it is told without asking, so
        server.come_back()
        failure = away(asked)
        assert failure.retry_after_s == pytest.approx(messages[-1].retry_after_s)
        clock.advance(failure.retry_after_s or 0.0)
        assert isinstance(asked.predict(PICTURE), Detections)
        assert [received.status for received in server.asked] == [200, 200]


def test_a_slow_server_costs_three_deadlines_and_then_none() -> None:
    clock = ManualClock()
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Delay(math.inf), times=None))
        asked = model(server.url, clock, timeout_s=0.5)
        for _ in range(3):
            away(asked)
        for _ in range(200):
            away(asked)
        server.orders.clear()
        clock.advance(0.5)
        asked.predict(PICTURE)
        server.until(lambda: len(server.asked) >= 4)  # it may read a request after it was given up
        assert len(server.asked) == 4


def test_a_server_that_names_a_time_is_not_asked_before() -> None:
    clock = ManualClock()
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Status(429, {"Retry-After": "7"})))
        asked = model(server.url, clock)
        assert away(asked).retry_after_s == 7.0
        clock.advance(6.9)
        assert away(asked).retry_after_s == pytest.approx(0.1)
        assert len(server.asked) == 1
        clock.advance(0.1)
        asked.predict(PICTURE)


@pytest.mark.parametrize(
    ("message", "waited_s"), [("100000", 60.0), ("-3", 1.0), ("Fri, 13 Nov 2099 00:00:00 GMT", 60.0), ("soon", 0.5)]
)
def test_no_server_can_put_us_off_for_more_than_a_minute(message: str, waited_s: float) -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Status(503, {"Retry-After": message})))
        assert away(model(server.url)).retry_after_s == waited_s


def test_all_streams_share_what_one_has_found_out() -> None:
    clock = ManualClock()
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server.url, clock, timeout_s=20.0)
        server.orders.add(Fault("infer", Status(500), times=3))
        for _ in range(3):
            away(asked)
        clock.advance(0.5)
        server.orders.add(Fault("infer", Delay(math.inf)))  # until the server goes
        prober = threading.Thread(target=lambda: away(asked))
        prober.start()
        assert server.until(lambda: len(server.asked) == 4)
        others = [threading.Thread(target=lambda: away(asked)) for _ in range(4)]
        for thread in others:
            thread.start()
        for thread in others:
            thread.join(10.0)
            assert not thread.is_alive()
        assert len(server.asked) == 4
        server.go_away()
        prober.join(10.0)
        assert not prober.is_alive()


def test_refusing_a_picture_proves_that_the_server_is_there() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server.url)
        for _ in range(3):
            server.orders.add(Fault("infer", Status(500), times=2), Fault("infer", Status(422)))
            away(asked)
            away(asked)
            refused(asked)
        assert len(server.asked) == 9


def test_a_connection_that_the_server_has_closed_meanwhile_costs_nothing() -> None:
    with InferenceServer(forbid_active_learning=True) as server:
        asked = model(server.url)
        asked.predict(PICTURE)
        server.go_away()  # and tells its clients
        server.come_back()
        asked.predict(PICTURE)
        assert server.connections == 2


def test_preliminary_answers_are_no_answers() -> None:
    message = b'{"image": {"width": 64, "height": 48}, "predictions": []}'
    whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(message), message)
    with answering(whole) as server:
        assert isinstance(model(server.url).predict(PICTURE), Detections)


def test_an_answer_that_is_not_http_means_unavailable() -> None:
    with answering(b"220 mail.example.com ESMTP\r\n") as server:
        assert "the server does not speak HTTP" in str(away(model(server.url)))
