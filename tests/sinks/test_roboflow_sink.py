"""The Roboflow sink: two steps, of which each is repeated alone, and what is made of every trouble."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from canaries import KEY
from deliveries import CAPTURED_S, HEIGHT, WIDTH, delivery, detected, detection
from framesift.config.types import ConfigError
from framesift.http_client.client import HttpClient
from framesift.prediction.masks import Rle
from framesift.prediction.prediction import (
    Classification,
    ClassScore,
    Keypoint,
    MultiLabel,
    Point,
    Prediction,
    Stub,
    Task,
)
from framesift.prediction.wire_format import to_wire
from framesift.roboflow import RoboflowClient
from framesift.sinks import (
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    FolderSinkSettings,
    Registered,
    Rejected,
    RetryLater,
    RoboflowSink,
    RoboflowSinkSettings,
    SinkSettings,
    open_sink,
)
from rigs.platform import Answer, Cut, Html, Oversized, Platform, Redirect, SayDuplicate, Status, Trickle
from rigs.platform.faults import Action, Fault
from rigs.raw_http_server import reserve_closed_port

NOW_S = CAPTURED_S + 3600.0
SIZE: dict[str, Any] = {"width": WIDTH, "height": HEIGHT}

CAT = Classification(
    top="cat",
    confidence=0.9,
    scores=(ClassScore("cat", 0, 0.9), ClassScore("dog", 1, 0.1)),
    width=WIDTH,
    height=HEIGHT,
)
SCORES = (ClassScore("cat", 0, 0.9), ClassScore("wet", 1, 0.8), ClassScore("dog", 2, 0.1))


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as platform:
        platform.add_project("gate")
        platform.add_project("yard")
        platform.add_project("kinds", "single-label-classification")
        platform.add_project("labels", "multi-label-classification")
        yield platform
    assert platform.bugs == []


def sink_on(url: str, project: str | None = "gate") -> RoboflowSink:
    return RoboflowSink(
        RoboflowSinkSettings(type="roboflow", project=project), RoboflowClient(HttpClient(), api_key=KEY, api_url=url)
    )


def sink_for(platform: Platform, prediction: Prediction) -> RoboflowSink:
    """On a project where such predictions are labels."""
    classifies = isinstance(prediction, Classification | MultiLabel)
    return sink_on(platform.url, "kinds" if classifies else "gate")


def deliver(sink: RoboflowSink, what: Delivery, within_s: float = 10.0) -> DeliveryResult:
    outcome = sink.deliver(what, now_s=NOW_S, within_s=within_s)
    assert KEY not in repr(outcome)
    return outcome


def registered(sink: RoboflowSink, what: Delivery) -> str:
    outcome = deliver(sink, what)
    assert isinstance(outcome, Registered)
    return outcome.image_id


def troubled(platform: Platform, action: Action, what: Delivery, call: str = "upload") -> DeliveryResult:
    platform.orders.add(Fault(call, action))  # type: ignore[arg-type]  # the name of a call
    return deliver(sink_on(platform.url), what)


# The two steps


def test_an_image_is_registered_and_then_annotated(platform: Platform) -> None:
    sink = sink_on(platform.url)
    what = delivery(1)

    image_id = registered(sink, what)
    assert platform.annotations == ()
    assert deliver(sink, delivery(1, attempt_number=2, image_id=image_id)) == Delivered()

    (image,) = platform.images
    assert (image.id, image.project, image.batch, image.tags) == (
        image_id,
        "gate",
        "cars_2026_09_10",
        ("gate-7", "night"),
    )
    assert image.jpeg == what.jpeg
    (annotation,) = platform.annotations_of(image_id)
    assert annotation.json() == to_wire(what.prediction)
    assert (annotation.prediction, annotation.content_type) == (True, "text/plain")


def test_the_prediction_goes_out_as_it_was_written_when_it_was_accepted(platform: Platform) -> None:
    written = json.dumps(to_wire(delivery(1).prediction), separators=(",", ":"))
    what = delivery(1, prediction_json=written)
    sink = sink_on(platform.url)
    registered = deliver(sink, what)
    assert isinstance(registered, Registered)
    assert deliver(sink, replace(what, image_id=registered.image_id)) == Delivered()
    assert platform.annotations[0].text == written


def test_the_name_says_device_stream_time_and_id_and_is_the_same_for_both(platform: Platform) -> None:
    sink = sink_on(platform.url)

    image_id = registered(sink, delivery(1))
    deliver(sink, delivery(1, image_id=image_id))

    assert platform.images[0].name == "gate-7_north_20260910T120001125_00000000.jpg"
    assert platform.annotations[0].name == "gate-7_north_20260910T120001125_00000000.json"


def test_a_name_is_made_of_safe_letters_and_is_bounded(platform: Platform) -> None:
    what = delivery(1, device="tor & söhne/1" + "x" * 100, stream='"\r\n_a..b', id="ab/cd_ef0123", captured_at_s=0.0005)

    registered(sink_on(platform.url), what)

    name = platform.images[0].name
    assert name == f"tor---s-hne-1{'x' * 51}_----a--b_19700101T000000000_ab-cd-ef.jpg"
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.jpg", name)


def test_the_project_of_the_datapoint_goes_before_the_sinks_own(platform: Platform) -> None:
    registered(sink_on(platform.url, "gate"), delivery(1, project="yard"))
    registered(sink_on(platform.url, None), delivery(2, project="yard"))
    registered(sink_on(platform.url, "gate"), delivery(3))

    assert [image.project for image in platform.images] == ["yard", "yard", "gate"]


def test_without_any_project_the_reason_names_both_places_for_one(platform: Platform) -> None:
    outcome = deliver(sink_on(platform.url, None), delivery(1))

    assert outcome == RetryLater(
        None,
        "neither sink.project nor the policy names the project that it goes to",
        FailureScope.ITEM,
        may_have_arrived=False,
    )
    assert platform.requests == ()


def test_the_predictions_inference_id_goes_with_the_image(platform: Platform) -> None:
    registered(sink_for(platform, CAT), delivery(1, replace(CAT, inference_id="i-1")))
    registered(sink_on(platform.url), delivery(2))

    assert [image.inference_id for image in platform.images] == ["i-1", None]


TRIANGLE = (Point(1, 1), Point(9, 1), Point(1, 9))


@pytest.mark.parametrize(
    ("prediction", "kind", "text"),
    [
        (detected(detection("car"), detection("dog")), "json", None),
        (detected(detection("car", points=TRIANGLE), task=Task.INSTANCE_SEGMENTATION), "json", None),
        (
            detected(detection("car", rle=Rle(HEIGHT, WIDTH, "PPPPPPPPPPPP")), task=Task.INSTANCE_SEGMENTATION),
            "json",
            None,
        ),
        (
            detected(detection("man", keypoints=(Keypoint(1, 2, 0.5, "nose", 0),)), task=Task.KEYPOINT_DETECTION),
            "json",
            None,
        ),
        (CAT, "txt", "cat"),
        (Classification(top="", confidence=0.0, scores=(), **SIZE), "txt", ""),
        (MultiLabel(scores=SCORES, predicted=("cat", "wet"), **SIZE), "txt", "cat,wet"),
        (MultiLabel(scores=SCORES, predicted=(), **SIZE), "txt", ""),
    ],
)
def test_what_was_predicted_is_written_as_the_platform_reads_it(
    platform: Platform, prediction: Prediction, kind: str, text: str | None
) -> None:
    sink = sink_for(platform, prediction)

    image_id = registered(sink, delivery(1, prediction))
    assert deliver(sink, delivery(1, prediction, image_id=image_id)) == Delivered()

    (annotation,) = platform.annotations
    assert annotation.name.endswith(f".{kind}")
    assert annotation.text == (json.dumps(to_wire(prediction)) if text is None else text)


@pytest.mark.parametrize(
    ("prediction", "annotate"),
    [
        (detected(), True),
        (MultiLabel(scores=(), predicted=("cat",), **SIZE), True),
        (Stub(task=Task.OBJECT_DETECTION, **SIZE), True),
        (detected(detection("car")), False),
        (CAT, False),
    ],
)
def test_an_image_with_nothing_to_write_to_it_is_done_in_one_step(
    platform: Platform, prediction: Prediction, annotate: bool
) -> None:
    assert deliver(sink_for(platform, prediction), delivery(1, prediction, annotate=annotate)) == Delivered()
    assert len(platform.images) == 1


def test_an_image_that_is_registered_but_wants_nothing_more_is_done(platform: Platform) -> None:
    assert deliver(sink_on(platform.url), delivery(1, annotate=False, image_id="image000001")) == Delivered()
    assert platform.requests == ()


# A classifier's pictures, and where they never land

MANY = MultiLabel(scores=SCORES, predicted=("cat", "wet"), **SIZE)


@pytest.mark.parametrize("prediction", [CAT, MANY])
def test_a_label_of_the_whole_picture_never_lands_where_boxes_are_drawn(
    platform: Platform, prediction: Prediction
) -> None:
    why = "project gate is for object-detection, and this is a prediction of classification"
    sink = sink_on(platform.url)
    assert deliver(sink, delivery(1, prediction)) == RetryLater(
        NOW_S + 270.0, why, FailureScope.ITEM, may_have_arrived=False
    )
    for project in ("kinds", "labels"):
        assert isinstance(deliver(sink, delivery(1, prediction, project=project)), Registered)
    assert [image.project for image in platform.images] == ["kinds", "labels"]


def test_what_a_project_is_for_is_asked_once_in_a_quarter_of_an_hour_and_for_labels_alone(platform: Platform) -> None:
    sink = sink_on(platform.url, "kinds")
    deliver(sink, delivery(1, detected(detection("car"))))
    deliver(sink, delivery(2, Stub(task=Task.CLASSIFICATION, **SIZE)))
    assert platform.asked("project") == ()
    for number in range(3, 6):
        registered(sink, delivery(number, CAT))
    assert len(platform.asked("project")) == 1
    platform.add_project("kinds", "object-detection")
    registered(sink, delivery(6, CAT))
    later = sink.deliver(delivery(7, CAT), now_s=NOW_S + 901.0, within_s=10.0)
    assert isinstance(later, RetryLater)
    assert len(platform.asked("project")) == 2


@pytest.mark.parametrize("call", ["workspace", "project"])
@pytest.mark.parametrize("action", [Status(503), Status(429, {"Retry-After": "60"}), Html(), Cut()])
def test_while_the_platform_does_not_say_what_a_project_is_for_a_label_waits_and_nothing_is_uploaded(
    platform: Platform, call: str, action: Action
) -> None:
    outcome = troubled(platform, action, delivery(1, CAT), call)
    assert isinstance(outcome, RetryLater)
    assert not outcome.may_have_arrived
    assert platform.asked("upload") == ()


@pytest.mark.parametrize("action", [Status(403), Status(404)])
def test_where_the_key_may_not_ask_what_a_project_is_for_the_platform_decides_itself(
    platform: Platform, action: Action
) -> None:
    assert isinstance(troubled(platform, action, delivery(1, CAT), "project"), Registered)


# Duplicates


def test_an_image_of_somebody_else_is_already_there_and_gets_no_annotation(platform: Platform) -> None:
    what = delivery(1)
    platform.add_image("gate", what.jpeg)

    assert deliver(sink_on(platform.url), what) == Duplicate()


def test_a_duplicate_of_our_own_goes_on_to_its_annotation(platform: Platform) -> None:
    sink = sink_on(platform.url)
    platform.orders.add(Fault("upload", Cut(stored=True)))
    lost = deliver(sink, delivery(1))
    assert isinstance(lost, RetryLater)
    assert lost.may_have_arrived

    image_id = registered(sink, delivery(1, attempt_number=2))

    assert deliver(sink, delivery(1, attempt_number=2, image_id=image_id)) == Delivered()
    assert len(platform.images) == len(platform.annotations) == 1


def test_a_duplicate_of_our_own_that_wants_no_annotation_is_done(platform: Platform) -> None:
    what = delivery(1, annotate=False)
    platform.add_image("gate", what.jpeg)

    assert deliver(sink_on(platform.url), delivery(1, annotate=False, attempt_number=2)) == Delivered()


def test_a_duplicate_without_an_id_waits_where_an_annotation_is_to_follow(platform: Platform) -> None:
    outcome = troubled(platform, Answer({"duplicate": True}), delivery(1, attempt_number=2))

    assert outcome == RetryLater(None, "project gate has the image, but does not say under which id", FailureScope.ITEM)
    assert troubled(platform, Answer({"duplicate": True}), delivery(1, attempt_number=2, annotate=False)) == Delivered()
    assert troubled(platform, Answer({"duplicate": True}), delivery(1)) == Duplicate()


def test_an_image_that_has_its_annotation_is_done(platform: Platform) -> None:
    sink = sink_on(platform.url)
    image_id = registered(sink, delivery(1))
    platform.orders.add(Fault("annotate", Cut(stored=True)))
    assert isinstance(deliver(sink, delivery(1, image_id=image_id)), RetryLater)

    assert deliver(sink, delivery(1, image_id=image_id)) == Delivered()
    assert len(platform.annotations) == 1


# Troubles

_TROUBLES: list[tuple[Action, tuple[float | None, FailureScope, bool]]] = [
    (Status(429), (None, FailureScope.SINK, False)),
    (Status(429, {"Retry-After": "90"}), (NOW_S + 90, FailureScope.SINK, False)),
    (Status(503, {"Retry-After": "90"}), (NOW_S + 90, FailureScope.SINK, True)),
    (Status(503), (None, FailureScope.UNSURE, True)),
    (Status(500), (None, FailureScope.UNSURE, True)),
    (Status(408), (None, FailureScope.UNSURE, True)),
    (Status(401), (NOW_S + 270, FailureScope.SINK, False)),
    (Status(403), (NOW_S + 270, FailureScope.SINK, False)),
    (Status(402), (NOW_S + 270, FailureScope.SINK, False)),
    (Status(423), (NOW_S + 270, FailureScope.SINK, False)),
    (Cut(), (None, FailureScope.SINK, True)),
    (Html(), (None, FailureScope.UNSURE, True)),
    (Redirect("https://login.example"), (None, FailureScope.UNSURE, True)),
    (Oversized(stored=False), (None, FailureScope.UNSURE, True)),
    (Answer({"error": "no"}), (None, FailureScope.UNSURE, True)),
]


@pytest.mark.parametrize("call", ["upload", "annotate"])
@pytest.mark.parametrize(("action", "expected"), _TROUBLES, ids=[str(action) for action, _ in _TROUBLES])
def test_a_platform_error_gives_the_time_the_scope_and_whether_it_may_have_arrived(
    platform: Platform, call: str, action: Action, expected: tuple[float | None, FailureScope, bool]
) -> None:
    outcome = troubled(platform, action, delivery(1, image_id=None if call == "upload" else "image000001"), call)

    assert isinstance(outcome, RetryLater)
    assert (outcome.retry_at_s, outcome.scope, outcome.may_have_arrived) == expected
    assert "gate" in outcome.reason
    assert platform.orders.left() == 0


@pytest.mark.parametrize("status", [400, 413, 415, 422])
@pytest.mark.parametrize("call", ["upload", "annotate"])
def test_what_the_platform_refuses_is_refused_for_good(platform: Platform, call: str, status: int) -> None:
    what = delivery(1, image_id=None if call == "upload" else "image000001")

    outcome = troubled(platform, Status(status), what, call)

    assert isinstance(outcome, Rejected)
    assert f"the platform refuses it ({status}): as ordered" in outcome.reason


def test_a_project_that_is_not_there_is_asked_for_again_later(platform: Platform) -> None:
    outcome = deliver(sink_on(platform.url, "nowhere"), delivery(1))

    assert isinstance(outcome, RetryLater)
    assert (outcome.retry_at_s, outcome.scope, outcome.may_have_arrived) == (NOW_S + 270, FailureScope.UNSURE, False)
    assert "uploading to project nowhere: the platform does not have it (404)" in outcome.reason


def test_an_image_that_is_not_found_yet_is_that_datapoints_trouble_alone(platform: Platform) -> None:
    sink = sink_on(platform.url)
    image_id = registered(sink, delivery(1))
    platform.orders.add(Fault("annotate", Status(404), times=5))

    outcomes = [deliver(sink, delivery(1, attempt_number=n, image_id=image_id)) for n in range(2, 8)]

    waits_s = [2.0, 10.0, 30.0, 120.0, 600.0]
    later = [(o.retry_at_s, o.scope) for o in outcomes if isinstance(o, RetryLater)]
    assert later == [(NOW_S + wait_s, FailureScope.ITEM) for wait_s in waits_s]
    assert outcomes[-1] == Delivered()
    assert len(platform.asked("upload")) == 1


def test_a_conflict_of_an_upload_is_an_unknown_outcome(platform: Platform) -> None:
    outcome = troubled(platform, Status(409), delivery(1))

    assert isinstance(outcome, RetryLater)
    assert outcome.scope is FailureScope.UNSURE


def test_nobody_there_concerns_everybody_and_nothing_arrived() -> None:
    place, port = reserve_closed_port()
    with place:
        outcome = deliver(sink_on(f"http://127.0.0.1:{port}"), delivery(1))

    assert isinstance(outcome, RetryLater)
    assert (outcome.retry_at_s, outcome.scope, outcome.may_have_arrived) == (None, FailureScope.SINK, False)


def test_a_platform_that_trickles_is_left_at_the_deadline(platform: Platform) -> None:
    platform.orders.add(Fault("upload", Trickle(bytes_per_s=5)))

    outcome = deliver(sink_on(platform.url), delivery(1), within_s=1.0)

    assert isinstance(outcome, RetryLater)
    assert (outcome.scope, outcome.may_have_arrived) == (FailureScope.SINK, True)


def test_a_made_up_duplicate_at_the_first_attempt_leaves_no_trace_of_ours(platform: Platform) -> None:
    assert troubled(platform, SayDuplicate(), delivery(1)) == Duplicate()
    assert platform.images == ()


# Checking, opening, options


def test_a_key_and_a_project_that_are_right_have_nothing_in_their_way(platform: Platform) -> None:
    assert sink_on(platform.url).check() is None
    assert sink_on(platform.url, None).check() is None
    assert platform.images == ()
    assert platform.annotations == ()


@pytest.mark.parametrize("project", ["nowhere", "gate"])
def test_what_prevents_deliveries_is_reported(platform: Platform, project: str) -> None:
    if project == "gate":
        platform.revoke_key()

    message = sink_on(platform.url, project).check()

    assert message is not None
    assert KEY not in message
    assert ("asking for the type of project nowhere" if project == "nowhere" else "check roboflow.api_key") in message


@pytest.mark.parametrize(
    ("status", "said"), [(402, "asks for payment"), (423, "usage"), (403, "check the rights"), (503, "503")]
)
def test_an_account_that_may_read_but_not_upload_is_reported(platform: Platform, status: int, said: str) -> None:
    platform.orders.add(Fault("upload", Status(status), times=None))
    message = sink_on(platform.url).check()
    assert message is not None
    assert f"({status})" in message
    assert said in message
    assert KEY not in message


def test_a_platform_that_is_away_is_reported() -> None:
    place, port = reserve_closed_port()
    with place:
        message = sink_on(f"http://127.0.0.1:{port}").check()

    assert (
        message
        == "asking for the key's workspace: 127.0.0.1: Connection refused (while connecting); is the network there?"
    )


def test_a_sink_that_was_closed_takes_deliveries_again(platform: Platform) -> None:
    sink = sink_on(platform.url)
    registered(sink, delivery(1))
    sink.close()

    registered(sink, delivery(2))


def options(**given: Any) -> SinkSettings:
    return TypeAdapter(SinkSettings).validate_json(json.dumps(given))


def test_each_type_of_options_opens_its_sink() -> None:
    platform = RoboflowClient(HttpClient(), api_key=KEY)

    assert isinstance(open_sink(options(type="roboflow"), class_names=None, platform=platform), RoboflowSink)
    assert options(type="folder", path="x") == FolderSinkSettings.model_validate_json('{"type": "folder", "path": "x"}')


def test_without_a_key_the_sink_is_not_opened() -> None:
    with pytest.raises(ConfigError, match=r"needs a key: set roboflow\.api_key or ROBOFLOW_API_KEY"):
        open_sink(options(type="roboflow", project="gate"), class_names=None)


@pytest.mark.parametrize("wrong", [{"project": ""}, {"project": "a/b"}, {"project": "..", "limits": []}, {"path": "x"}])
def test_options_that_are_wrong_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(type="roboflow", **wrong)
