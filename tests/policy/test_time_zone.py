"""All policies of a run have one time zone: the first enabled one sets it."""

from __future__ import annotations

import pytest

from framesift.config.errors import ConfigError
from framesift.policy.policy import Policy, parse
from framesift.policy.time_zone import TimeZoneRule


def policy(zone: str, *, enabled: bool = True) -> Policy:
    return parse('{"enabled": false}', "p").model_copy(update={"time_zone": zone, "enabled": enabled})


def test_the_first_enabled_policy_sets_the_zone_and_a_disabled_one_may_have_any() -> None:
    rule = TimeZoneRule()
    assert rule.zone == "UTC"
    rule.check(policy("Asia/Tokyo", enabled=False), "off.json")
    assert rule.zone == "UTC"
    rule.check(policy("Europe/Paris"), "a.json")
    rule.check(policy("Europe/Paris"), "b.json")
    rule.check(policy("Asia/Tokyo", enabled=False), "off.json")
    assert rule.zone == "Europe/Paris"


def test_another_zone_is_refused_with_the_names_of_both_and_after_the_start_needs_a_restart() -> None:
    rule = TimeZoneRule()
    rule.check(policy("Europe/Paris"), "a.json")
    with pytest.raises(ConfigError, match=r"^b\.json: time_zone: UTC differs from Europe/Paris in a\.json"):
        rule.check(policy("UTC"), "b.json")
    rule.started()
    with pytest.raises(ConfigError, match="changing Europe/Paris to UTC needs a restart"):
        rule.check(policy("UTC"), "a.json")


def test_of_several_policies_all_are_accepted_or_the_zone_stays() -> None:
    rule = TimeZoneRule()
    refusal = rule.refusal([(policy("Europe/Paris"), "a.json"), (policy("UTC"), "b.json")])
    assert refusal is not None
    assert refusal[0] == 1
    assert "time_zone" in str(refusal[1])
    assert rule.zone == "UTC"
    assert rule.refusal([(policy("Asia/Tokyo"), "a.json"), (policy("Asia/Tokyo"), "b.json")]) is None
    assert rule.zone == "Asia/Tokyo"
