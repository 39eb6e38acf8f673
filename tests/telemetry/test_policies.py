"""What telemetry reports about policies: all of it in a status report, a little in metrics, no secret in either."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, replace

from prometheus_client.parser import text_string_to_metric_families

from clocks import ManualClock
from framesift.telemetry import PolicyReport, Telemetry

COMMON = PolicyReport(
    name="",
    source="roboflow project parking",
    streams=(),
    enabled=True,
    hash="0123456789ab",
    fetched_at_s=1_789_000_000.0,
    from_disk=True,
    strategies=("night", "some"),
    left_out=('sampling_strategies[2] ("x"): type "weird" is not known', "x: the key is not known"),
    notes=("a note",),
    problem="the platform did not answer",
)
OWN = replace(COMMON, name="yard.json-3fa9c1", source="/etc/yard.json", streams=("yard",), fetched_at_s=None)
WAITING = replace(COMMON, name="late-aaaaaa", hash=None, enabled=False, fetched_at_s=None, left_out=(), strategies=())


@dataclass(frozen=True)
class Style:
    format: str = "json"
    level: str = "info"


def telemetry(*policies: PolicyReport, secrets: tuple[str, ...] = ()) -> Telemetry:
    made = Telemetry(ManualClock(), Style(), secrets=secrets, out=io.StringIO())
    made.set_policy_source(lambda: policies)
    return made


def samples(made: Telemetry) -> dict[str, dict[str, float]]:
    families = text_string_to_metric_families(made.metrics_text().decode())
    return {
        family.name: {sample.labels["policy"]: sample.value for sample in family.samples}
        for family in families
        if family.name.startswith("framesift_policy_")
    }


def test_a_report_has_the_policies_as_they_are_and_json_can_carry_them() -> None:
    seen = telemetry(COMMON, OWN, WAITING).report()
    assert seen.policies == (COMMON, OWN, WAITING)
    policies = json.loads(json.dumps(asdict(seen)))["policies"]
    assert [policy["hash"] for policy in policies] == ["0123456789ab", "0123456789ab", None]
    assert policies[0]["left_out"][1] == "x: the key is not known"


def test_without_a_source_of_policies_there_are_none() -> None:
    made = Telemetry(ManualClock(), Style(), out=io.StringIO())
    assert made.report().policies == ()
    assert samples(made) == {
        "framesift_policy_parts_left_out": {},
        "framesift_policy_fetched_timestamp_seconds": {},
    }


def test_what_others_wrote_shows_no_secret() -> None:
    loud = replace(
        COMMON,
        source="at geheim1",
        strategies=("geheim1",),
        left_out=("key geheim1",),
        notes=("geheim1!",),
        problem="why geheim1",
    )
    made = telemetry(loud, replace(loud, problem=None), secrets=("geheim1",))
    assert "geheim1" not in str(asdict(made.report()))
    assert b"geheim1" not in made.metrics_text()
    assert made.report().policies[1].problem is None


def test_metrics_show_what_was_left_out_and_the_last_confirmation() -> None:
    assert samples(telemetry(COMMON, OWN, WAITING)) == {
        "framesift_policy_parts_left_out": {"common": 2, "yard.json-3fa9c1": 2, "late-aaaaaa": 0},
        "framesift_policy_fetched_timestamp_seconds": {"common": 1_789_000_000.0},
    }


def test_endlessly_many_policies_are_one_label_with_the_oldest_date() -> None:
    many = [
        replace(COMMON, name=f"p{n}", fetched_at_s=2_000_000_000.0 - n, left_out=COMMON.left_out[:1])
        for n in range(300)
    ]
    made = telemetry(*many)
    policies = samples(made)
    assert policies["framesift_policy_parts_left_out"]["other"] == 44
    assert policies["framesift_policy_fetched_timestamp_seconds"]["other"] == 2_000_000_000.0 - 299
    assert len(made.report().policies) == 300
