"""Policies of models that clients name: each is that of a project of the platform, asked for when the first picture
comes, for so many models and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from framesift.policy import MAX_PROJECT_PAIRS, NoPolicyReason, PolicyEventKind, ProjectPair
from framesift.prediction.prediction import Task
from policy.test_policies import PARKING, POLICY
from policy.test_refresh import OFF, Run
from rigs.platform import Fault, Platform, Status

YARD, LABELS = ProjectPair("yard", "yard"), ProjectPair("labels", "labels")
YARDS = {**POLICY, "tags": ["yard"]}


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as found:
        found.add_project("parking", active_learning=POLICY)
        found.add_project("yard", active_learning=YARDS)
        found.add_project("labels", "single-label-classification", active_learning=POLICY)
        found.add_project("kinds", "multi-label-classification")
        yield found
        assert found.bugs == []


def begun(folder: Path, platform: Platform, **how: object) -> Run:
    run = Run(folder, platform=platform, common=PARKING, **how).begun()  # type: ignore[arg-type]
    run.news()
    return run


def calls(platform: Platform) -> list[tuple[str, str]]:
    return [(asked.call, asked.path) for asked in platform.requests]


def met(run: Run, pairing: ProjectPair) -> NoPolicyReason | None:
    """The answer for a project pair after its source was asked."""
    assert run.policies.register(pairing) is NoPolicyReason.REQUESTED
    run.policies.refresh_due()
    return run.policies.register(pairing)


def test_a_models_policy_is_asked_for_when_it_is_met_and_in_the_order_of_the_reference(
    tmp_path: Path, platform: Platform
) -> None:
    run = begun(tmp_path, platform)
    before = len(platform.requests)
    assert run.policies.register(YARD) is NoPolicyReason.REQUESTED  # and nobody waits for it
    assert len(platform.requests) == before
    run.policies.refresh_due()
    assert calls(platform)[before:] == [
        ("workspace", "/"),
        ("project", "/yard/yard"),
        ("active_learning", "/yard/yard/active_learning"),
    ]
    assert run.policies.register(YARD) is None
    standing = run.policies.current_for(YARD)
    assert standing is not None
    assert (standing.policy.tags, standing.project) == (("yard",), "yard")
    assert run.of().policy.tags == ()  # a camera's is as it was
    assert run.news() == [PolicyEventKind.CHANGED]


def test_the_settings_own_project_needs_no_second_question(tmp_path: Path, platform: Platform) -> None:
    run = begun(tmp_path, platform)
    before = len(platform.requests)
    assert run.policies.register(ProjectPair("parking", "parking")) is None
    assert run.policies.current_for(ProjectPair("parking", "parking")) is run.policies.current_for("gate")
    assert len(platform.requests) == before


def test_a_local_model_of_another_kind_does_not_keep_a_clients_model_from_its_project(
    tmp_path: Path, platform: Platform
) -> None:
    run = begun(tmp_path, platform, task=Task.CLASSIFICATION)
    assert run.of().has_no_policy
    assert met(run, ProjectPair("parking", "parking")) is None


@pytest.mark.parametrize(
    ("pairing", "why"),
    [
        (
            ProjectPair("parking", "labels"),
            "a model of labels does single-label-classification, the project parking is",
        ),
        (
            ProjectPair("labels", "yard"),
            "a model of yard does object-detection, the project labels is for single-label",
        ),
        (ProjectPair("kinds", "kinds"), "the project kinds has no active-learning configuration"),
        (ProjectPair("nowhere", "nowhere"), "the platform does not have it (404)"),
        (ProjectPair("parking", "coco"), "asking for the type of project coco: the platform does not have it (404)"),
    ],
)
def test_where_types_do_not_suit_or_there_is_no_policy_nothing_is_collected_and_that_is_reported_once(
    tmp_path: Path, platform: Platform, pairing: ProjectPair, why: str
) -> None:
    run = begun(tmp_path, platform)
    assert met(run, pairing) is NoPolicyReason.NONE
    (event,) = run.events
    assert event.current is not None
    (note,) = event.current.notes
    assert why in note
    assert note.endswith(": nothing is collected")
    if pairing.project in ("parking", "labels"):  # of kinds that don't suit, the fourth question is not asked
        assert platform.requests[-1].call == "project"
    assert not (tmp_path / "model-policies").exists()  # names that clients invent leave no files


@pytest.mark.parametrize(("trained_on", "project"), [("labels", "kinds"), ("yard", "parking"), ("parking", "yard")])
def test_models_of_a_suitable_kind_may_be_of_another_project(
    tmp_path: Path, platform: Platform, trained_on: str, project: str
) -> None:
    platform.add_project("kinds", "multi-label-classification", active_learning=POLICY)
    run = begun(tmp_path, platform)
    assert met(run, ProjectPair(project, trained_on)) is None


@pytest.mark.parametrize(("kind", "collects"), [("object-detection", True), ("single-label-classification", False)])
def test_a_policys_target_project_must_be_of_its_kind_too(
    tmp_path: Path, platform: Platform, kind: str, collects: bool
) -> None:
    platform.add_project("curated", kind)
    platform.add_project("yard", active_learning={**POLICY, "target_project": "curated"})
    run = begun(tmp_path, platform)
    assert met(run, YARD) is (None if collects else NoPolicyReason.NONE)
    standing = run.policies.current_for(YARD)
    assert standing is not None
    assert collects or standing.notes == (
        f"the project yard is for object-detection, its target_project curated for {kind}: nothing is collected",
    )


def test_that_there_is_no_policy_is_known_for_a_quarter_of_an_hour_and_then_forgotten(
    tmp_path: Path, platform: Platform
) -> None:
    run = begun(tmp_path, platform)
    kinds = ProjectPair("kinds", "kinds")
    assert met(run, kinds) is NoPolicyReason.NONE
    before = len(platform.requests)
    run.pass_s(800.0)
    assert run.policies.register(kinds) is NoPolicyReason.NONE
    platform.add_project("kinds", "multi-label-classification", active_learning=POLICY)
    run.pass_s(191.0)
    asked_about_kinds = [path for _, path in calls(platform)[before:] if "kinds" in path]
    assert asked_about_kinds == []  # nobody has named it since
    assert met(run, kinds) is None


def test_a_reload_forgets_what_had_no_policy_at_once(tmp_path: Path, platform: Platform) -> None:
    run = begun(tmp_path, platform)
    kinds = ProjectPair("kinds", "kinds")
    assert met(run, kinds) is NoPolicyReason.NONE
    platform.add_project("kinds", "multi-label-classification", active_learning=POLICY)
    run.policies.reload()
    run.policies.refresh_due()
    assert met(run, kinds) is None


def test_a_models_policy_is_refreshed_like_the_others(tmp_path: Path, platform: Platform) -> None:
    run = begun(tmp_path, platform)
    assert met(run, YARD) is None
    platform.add_project("yard", active_learning=OFF)
    run.pass_s(991.0)
    standing = run.policies.current_for(YARD)
    assert standing is not None
    assert not standing.policy.enabled
    assert run.policies.register(YARD) is None  # there is one, which collects nothing
    platform.add_project("yard")
    run.pass_s(991.0)
    assert run.policies.register(YARD) is NoPolicyReason.NONE


def test_without_network_a_models_last_policy_is_taken_from_the_disk(tmp_path: Path, platform: Platform) -> None:
    assert met(begun(tmp_path, platform), YARD) is None
    assert [path.parent.name for path in tmp_path.rglob("policy-yard-*.json")] == ["model-policies"]
    platform.go_away()
    run = begun(tmp_path, platform)
    assert met(run, YARD) is None
    standing = run.policies.current_for(YARD)
    assert standing is not None
    assert (standing.from_disk, standing.policy.tags) == (True, ("yard",))
    assert met(run, LABELS) is NoPolicyReason.UNAVAILABLE  # it was never heard of
    assert [held.project_pair for held in run.policies.statuses() if held.problem] == [None, YARD, LABELS]
    platform.come_back()
    run.pass_s(31.0)
    assert run.policies.register(LABELS) is None
    assert not any(held.problem for held in run.policies.statuses())


def test_a_policy_that_is_no_longer_there_leaves_the_cache_too(tmp_path: Path, platform: Platform) -> None:
    run = begun(tmp_path, platform)
    assert met(run, YARD) is None
    platform.add_project("yard")
    run.pass_s(991.0)
    assert list((tmp_path / "model-policies").iterdir()) == []


def test_whoever_invents_models_costs_so_many_questions_in_a_quarter_of_an_hour_and_crowds_nobody_out(
    tmp_path: Path, platform: Platform
) -> None:
    run = begun(tmp_path, platform)
    assert met(run, YARD) is None
    before = len(platform.requests)
    answers = [run.policies.register(ProjectPair(f"p{number}", f"p{number}")) for number in range(1000)]
    assert answers.count(NoPolicyReason.REQUESTED) == MAX_PROJECT_PAIRS - 1
    assert answers.count(NoPolicyReason.TOO_MANY) == 1001 - MAX_PROJECT_PAIRS
    run.policies.refresh_due()
    assert len(platform.requests) - before == 2 * (MAX_PROJECT_PAIRS - 1)
    assert run.policies.register(YARD) is None
    assert run.policies.register(LABELS) is NoPolicyReason.TOO_MANY
    assert len(run.policies.statuses()) == 2  # what has no policy is nobody's line in the status
    run.pass_s(991.0)
    assert met(run, LABELS) is None


def test_the_cached_policies_of_models_are_bounded(tmp_path: Path, platform: Platform) -> None:
    for number in range(MAX_PROJECT_PAIRS + 3):
        platform.add_project(f"p{number}", active_learning=OFF)
    names = [f"p{number}" for number in range(MAX_PROJECT_PAIRS + 3)]
    for some in (names[:40], names[40:]):  # of two starts
        run = begun(tmp_path, platform)
        for name in some:
            run.policies.register(ProjectPair(name, name))
        run.policies.refresh_due()
    assert len(list((tmp_path / "model-policies").iterdir())) == MAX_PROJECT_PAIRS


def test_what_a_project_collects_is_counted_together_whichever_model_has_seen_it(
    tmp_path: Path, platform: Platform
) -> None:
    yard = {"from": "roboflow", "project": "yard", "model_id": "yard/7"}
    run = begun(tmp_path, platform, own={"north": yard})
    scope_of = run.policies.scope_of
    assert scope_of(ProjectPair("parking", "yard")) == scope_of("gate") == ""
    assert scope_of(YARD) == scope_of(ProjectPair("yard", "parking")) == scope_of("north") != ""
    assert scope_of(LABELS) == scope_of(ProjectPair("labels", "kinds"))
    assert len({scope_of(ProjectPair(name, name)) for name in ("parking", "yard", "labels", "kinds")}) == 4


def test_a_policy_of_another_zone_collects_nothing(tmp_path: Path, platform: Platform) -> None:
    run = begun(tmp_path, platform)
    platform.add_project("yard", active_learning={**POLICY, "time_zone": "Europe/Berlin"})
    assert met(run, YARD) is NoPolicyReason.UNAVAILABLE
    assert [event.kind for event in run.events] == [PolicyEventKind.REJECTED]


def test_an_answer_that_is_none_is_asked_for_again_as_ever(tmp_path: Path, platform: Platform) -> None:
    run = begun(tmp_path, platform)
    platform.orders.add(Fault("project", Status(500), times=1))
    assert met(run, YARD) is NoPolicyReason.UNAVAILABLE
    run.pass_s(31.0)
    assert run.policies.register(YARD) is None
