"""One source at a time: a file, an address, a project of the platform; what each answers, and what is no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canaries import KEY
from clocks import ManualClock
from framesift.config.errors import ConfigError, validate
from framesift.config.schema import StrictModel
from framesift.http_client.client import HttpClient
from framesift.policy import (
    CurrentPolicy,
    PolicySettings,
    PolicyUnavailable,
    RoboflowPolicySettings,
    SourceContext,
    fetch_once,
)
from framesift.prediction.prediction import Task
from framesift.roboflow import RoboflowClient
from rigs.document_server import DocumentServer, Page
from rigs.platform import Cut, Fault, Html, Platform, Redirect, Status

POLICY: dict[str, Any] = {
    "enabled": True,
    "persist_predictions": True,
    "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "daily"},
    "sampling_strategies": [{"name": "some", "type": "random", "traffic_percentage": 0.5}],
}
OFF = {"enabled": False}


class _House(StrictModel):
    policy: PolicySettings


def options(value: object) -> Any:
    return validate(_House, {"policy": value}, "test").policy


class Asking:
    """Asks the platform, or an address, as the daemon does."""

    def __init__(self, platform_url: str = "http://127.0.0.1:9") -> None:
        self.clock = ManualClock()
        self.web = HttpClient()
        self.platform = RoboflowClient(self.web, api_key=KEY, api_url=platform_url)

    def ask(self, value: object, task: Task | None = None) -> CurrentPolicy:
        context = SourceContext(self.web, self.platform, self.clock, task)
        return fetch_once(options(value), context, within_s=20.0)

    def project(self, model_id: str | None = None, task: Task | None = None) -> CurrentPolicy:
        source = {"from": "roboflow", "project": "parking"}
        return self.ask(source if model_id is None else {**source, "model_id": model_id}, task)

    def unavailable(self, value: object) -> PolicyUnavailable:
        with pytest.raises(PolicyUnavailable) as trouble:
            self.ask(value)
        assert "Traceback" not in str(trouble.value)
        assert len(str(trouble.value)) < 1000
        return trouble.value


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as found:
        found.add_project("parking", "object-detection", active_learning=POLICY)
        yield found
        assert found.bugs == []


@pytest.fixture
def documents() -> Iterator[DocumentServer]:
    with DocumentServer() as found:
        yield found


PARKING = {"from": "roboflow", "project": "parking"}


# -- a file


def test_a_file_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({**POLICY, "target_project": "elsewhere", "target_workspace": "else"}))
    current = Asking().ask(str(path))
    assert (current.source, current.fetched_at_s, current.left_out, current.notes) == (str(path), None, (), ())
    assert (current.workspace, current.project, current.from_disk) == ("else", "elsewhere", False)
    path.write_text(json.dumps({**POLICY, "from_the_future": 1}))
    with pytest.raises(ConfigError, match="from_the_future: unknown key"):
        Asking().ask(str(path))


# -- an address


def test_an_address_gives_a_policy_that_is_read_tolerantly(documents: DocumentServer) -> None:
    documents.pages["/a/policy.json"] = Page(json.dumps({**POLICY, "from_the_future": 1}).encode())
    asking = Asking()
    current = asking.ask(f"{documents.url}/a/policy.json")
    assert current.policy.enabled
    assert current.left_out == ("from_the_future: the key is not known",)
    assert current.fetched_at_s == asking.clock.now().wall_s
    assert (current.workspace, current.project) == (None, None)
    assert current.source == f"{documents.url}/a/policy.json"


def test_a_byte_order_mark_does_not_matter(documents: DocumentServer) -> None:
    documents.pages["/p"] = Page(b'\xef\xbb\xbf{"enabled": false}')
    assert not Asking().ask(f"{documents.url}/p").policy.enabled


def test_an_address_may_give_yaml(documents: DocumentServer) -> None:
    documents.pages["/p"] = Page(b"# a comment\nenabled: false\ntarget_project: elsewhere\n")
    current = Asking().ask(f"{documents.url}/p")
    assert (current.policy.enabled, current.project) == (False, "elsewhere")


def test_user_and_password_go_into_the_header_the_token_into_the_query_and_neither_into_any_text(
    documents: DocumentServer,
) -> None:
    documents.pages["/p"] = Page(b"nothing", 403)
    address = f"http://me:{KEY}@127.0.0.1:{documents.port}/p?token={KEY}&camera=3"
    trouble = Asking().unavailable(address)
    (visit,) = documents.visits
    assert visit.authorization is not None
    assert visit.authorization.startswith("Basic ")
    assert visit.path == f"/p?token={KEY}&camera=3"
    assert str(trouble) == (
        f"http://****@127.0.0.1:{documents.port}/p?token=****&camera=****: answered with status 403"
    )


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 410, 500, 503])
def test_any_other_status_is_no_answer(documents: DocumentServer, status: int) -> None:
    documents.pages["/p"] = Page(json.dumps(POLICY).encode() if status != 204 else b"", status)
    assert f"answered with status {status}" in str(Asking().unavailable(f"{documents.url}/p"))


def test_an_address_that_wants_to_be_left_alone_says_for_how_long(documents: DocumentServer) -> None:
    documents.pages["/p"] = Page(b"slowly", 429, {"Retry-After": "120"})
    assert Asking().unavailable(f"{documents.url}/p").retry_after_s == 120.0


def test_a_redirect_is_reported_and_not_followed(documents: DocumentServer) -> None:
    documents.pages["/p"] = Page(b"", 302, {"Location": "/q?token=geheim"})
    documents.pages["/q"] = Page(json.dumps(POLICY).encode())
    trouble = str(Asking().unavailable(f"{documents.url}/p"))
    assert f'status 302, to "{documents.url}/q?token=****", which is not followed' in trouble
    assert len(documents.visits) == 1


def test_the_page_of_a_captive_portal_is_no_policy_and_no_fault_of_the_policy(documents: DocumentServer) -> None:
    documents.pages["/p"] = Page(b"\xef\xbb\xbf\n<!DOCTYPE html><html>Accept the terms</html>")
    assert "a web page instead of a policy" in str(Asking().unavailable(f"{documents.url}/p"))


def test_an_address_that_nobody_answers_at_is_unavailable() -> None:
    assert "http://127.0.0.1:9/p: " in str(Asking().unavailable("http://127.0.0.1:9/p"))


def test_a_document_larger_than_any_policy_is_no_answer(documents: DocumentServer) -> None:
    documents.pages["/p"] = Page(b"#" * ((1 << 20) + 1))
    assert Asking().unavailable(f"{documents.url}/p")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b'{"enabled": true, "enabled": false}', "is set twice"),
        (b'{"enabled": NaN}', "NaN is not a number"),
        (b"caf\xe9", "is not UTF-8 text"),
        (b"just words", "a policy is an object"),
        (b'{"enabled": "false"}', "enabled"),
        (b"a: &a [*a]", "it may refer to itself"),
        (b'{"x": ' * 100_000, "nested too deeply"),
    ],
    ids=["empty", "cut", "twice", "nan", "latin-1", "words", "wrong", "endless", "deep"],
)
def test_a_document_that_is_no_policy_is_refused_with_its_address(
    documents: DocumentServer, content: bytes, expected: str
) -> None:
    documents.pages["/p"] = Page(content)
    with pytest.raises(ConfigError, match=expected) as refusal:
        Asking().ask(f"{documents.url}/p")
    assert all(line.startswith(f"{documents.url}/p") for line in refusal.value.problems)


# -- a project of the platform


def test_the_platform_is_asked_in_the_order_of_the_reference(platform: Platform) -> None:
    current = Asking(platform.url).project(task=Task.OBJECT_DETECTION)
    assert [r.call for r in platform.requests] == ["workspace", "project", "active_learning"]
    assert current.policy.enabled
    assert (current.workspace, current.project, current.notes) == (platform.workspace, "parking", ())
    assert current.source == "roboflow project parking"


def test_targets_in_the_configuration_replace_workspace_and_project(platform: Platform) -> None:
    targets = {"target_workspace": "other-space", "target_project": "lot"}
    platform.add_project("parking", "object-detection", active_learning={**POLICY, **targets})
    current = Asking(platform.url).project()
    assert (current.workspace, current.project) == ("other-space", "lot")


def test_a_model_of_the_project_itself_needs_no_question(platform: Platform) -> None:
    assert Asking(platform.url).project("parking/3").policy.enabled
    assert [r.call for r in platform.requests] == ["workspace", "project", "active_learning"]


def test_a_model_of_another_project_has_that_ones_type_even_if_its_name_begins_alike(platform: Platform) -> None:
    platform.add_project("parking-lot", "single-label-classification")
    current = Asking(platform.url).project("parking-lot/3")
    assert [(r.call, r.path.rpartition("/")[2]) for r in platform.requests[1:]] == [
        ("project", "parking"),
        ("project", "parking-lot"),
    ]
    assert not current.policy.enabled
    assert current.notes == (
        "the model parking-lot/3 does single-label-classification, the project parking is for object-detection: "
        "nothing is collected",
    )
    assert (current.workspace, current.project) == (platform.workspace, "parking")


@pytest.mark.parametrize(
    ("kind", "task", "fits"),
    [
        ("object-detection", Task.OBJECT_DETECTION, True),
        ("object-detection", Task.INSTANCE_SEGMENTATION, True),
        ("instance-segmentation", Task.KEYPOINT_DETECTION, True),
        ("single-label-classification", Task.CLASSIFICATION, True),
        ("multi-label-classification", Task.CLASSIFICATION, True),
        ("classification", Task.CLASSIFICATION, True),
        ("object-detection", Task.CLASSIFICATION, False),
        ("multi-label-classification", Task.OBJECT_DETECTION, False),
        ("multi-label-classification", None, True),
    ],
)
def test_without_a_model_id_the_local_models_task_must_fit_the_project(
    platform: Platform, kind: str, task: Task | None, fits: bool
) -> None:
    platform.add_project("parking", kind, active_learning=POLICY)
    current = Asking(platform.url).project(task=task)
    assert current.policy.enabled is fits
    asked = [r.call for r in platform.requests]
    assert ("active_learning" in asked) is fits
    if not fits:
        assert current.notes == (
            f"the local model does {task}, the project parking is for {kind}: nothing is collected",
        )


def test_a_local_model_of_another_task_is_reported_where_the_reference_collects_all_the_same(
    platform: Platform,
) -> None:
    current = Asking(platform.url).project("parking/3", Task.CLASSIFICATION)
    assert current.policy.enabled
    assert current.notes == ("the local model does classification, the project parking is for object-detection",)
    assert Asking(platform.url).project("parking/3", Task.INSTANCE_SEGMENTATION).notes
    assert not Asking(platform.url).project("parking/3", Task.OBJECT_DETECTION).notes


def test_a_project_without_a_type_is_one_of_detections(platform: Platform) -> None:
    platform.add_project("parking", None, active_learning=POLICY)
    assert Asking(platform.url).project(task=Task.OBJECT_DETECTION).policy.enabled
    assert not Asking(platform.url).project(task=Task.CLASSIFICATION).policy.enabled


def test_a_project_without_a_configuration_collects_nothing(platform: Platform) -> None:
    platform.add_project("parking", "object-detection")
    current = Asking(platform.url).project()
    assert not current.policy.enabled
    assert current.notes == ("the project parking has no active-learning configuration: nothing is collected",)


@pytest.mark.parametrize("status", [401, 403])
def test_a_configuration_that_the_key_may_not_read_collects_nothing(platform: Platform, status: int) -> None:
    platform.orders.add(Fault("active_learning", Status(status)))
    current = Asking(platform.url).project()
    assert not current.policy.enabled
    assert current.notes == ("the key may not read the active-learning configuration of parking: nothing is collected",)


@pytest.mark.parametrize("call", ["workspace", "project"])
@pytest.mark.parametrize("status", [401, 402, 403, 404, 423, 429, 500])
def test_any_trouble_before_the_configuration_is_no_answer(platform: Platform, call: Any, status: int) -> None:
    platform.orders.add(Fault(call, Status(status)))
    assert str(status) in str(Asking(platform.url).unavailable(PARKING))


@pytest.mark.parametrize(
    "action", [Status(402), Status(423), Status(500), Status(503), Html(), Cut(), Redirect("https://example.com/")]
)
def test_any_other_trouble_with_the_configuration_is_no_answer(platform: Platform, action: Any) -> None:
    platform.orders.add(Fault("active_learning", action))
    assert str(Asking(platform.url).unavailable(PARKING)).startswith("roboflow project parking: ")


def test_a_platform_that_wants_to_be_left_alone_says_for_how_long(platform: Platform) -> None:
    platform.orders.add(Fault("any", Status(429, {"Retry-After": "77"})))
    assert Asking(platform.url).unavailable(PARKING).retry_after_s == 77.0


def test_a_revoked_key_is_no_answer_and_stays_out_of_it(platform: Platform) -> None:
    platform.revoke_key()
    assert "key" in str(Asking(platform.url).unavailable(PARKING))


def test_a_project_that_is_not_there_is_no_answer(platform: Platform) -> None:
    trouble = Asking(platform.url).unavailable({"from": "roboflow", "project": "nowhere"})
    assert "nowhere" in str(trouble)


def test_what_the_platform_says_is_read_tolerantly_but_not_loosely(platform: Platform) -> None:
    weird = {"name": "x", "type": "weird"}
    strategies = [*POLICY["sampling_strategies"], weird]
    platform.add_project("parking", active_learning={**POLICY, "sampling_strategies": strategies})
    assert Asking(platform.url).project().left_out == ('sampling_strategies[1] ("x"): type "weird" is not known',)
    platform.add_project("parking", active_learning={**POLICY, "enabled": "true"})
    with pytest.raises(ConfigError, match=r'^roboflow project parking: enabled: "true" is not allowed'):
        Asking(platform.url).project()


def test_a_deadline_holds_for_all_the_questions_together(platform: Platform) -> None:
    asking = Asking(platform.url)

    class Slow(ManualClock):
        def monotonic(self) -> float:
            self.advance(4.0)  # each look at the clock finds that a question took so long
            return super().monotonic()

    with pytest.raises(PolicyUnavailable, match="did not answer within 10 s"):
        fetch_once(options(PARKING), SourceContext(asking.web, asking.platform, Slow()), within_s=10.0)
    assert len(platform.requests) == 2


def test_without_a_key_the_platform_is_no_source() -> None:
    context = SourceContext(HttpClient(), None, ManualClock())
    with pytest.raises(ConfigError, match="roboflow project parking needs the platform's key: set ROBOFLOW_API_KEY"):
        fetch_once(RoboflowPolicySettings.model_validate(PARKING), context, within_s=1.0)
