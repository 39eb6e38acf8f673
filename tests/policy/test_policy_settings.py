"""How the settings name a policy's source: a path, an address, or the platform's project; and what no line shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canaries import KEY, PASSWORD
from framesift.config.errors import ConfigError, allowed_types, validate
from framesift.config.redact import Redactor
from framesift.config.schema import StrictModel
from framesift.policy import PolicySettings, RoboflowPolicySettings, UrlPolicySettings


class House(StrictModel):
    policy: PolicySettings
    own: PolicySettings | None = None


def read(policy: object) -> Any:
    return validate(House, {"policy": policy}, "f.yaml").policy


def refused(policy: object) -> str:
    with pytest.raises(ConfigError) as refusal:
        read(policy)
    (line,) = refusal.value.problems
    assert line.startswith("f.yaml: policy")
    return line.removeprefix("f.yaml: policy")


@pytest.mark.parametrize("text", ["policy.json", "/etc/framesift/policy.yaml", "a b.json", "./a:b@c.json"])
def test_a_text_is_the_path_of_a_file(text: str) -> None:
    assert read(text) == Path(text)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/policy.json",
        "HTTPS://example.com",
        "https://me:secret@example.com:8443/a/b?token=abc&camera=3",
        "https://[2001:db8::1]/p",
        "http://localhost:8080/p",
        "http://127.0.0.1/p",
        "http://127.8.9.1/p",
        "http://[::1]:9/p",
    ],
)
def test_an_address_is_one(address: str) -> None:
    found = read(address)
    assert isinstance(found, UrlPolicySettings)
    assert found.url == address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://example.com/p", ': "http://example.com/p" must begin with https://: over http:// others could read'),
        ("http://10.0.0.5/p", ': "http://10.0.0.5/p" must begin with https://'),
        ("http://127.0.0.1.example.com/p", " must begin with https://"),
        ("http://localhost.example.com/p", " must begin with https://"),
        (
            "ftp://example.com/p",
            "it must be the path of a file, an https:// address (http:// on this machine), or {from: robof",
        ),
        ("file:///etc/policy.json", "it must be the path of a file"),
        ("https://", "it must be the path of a file"),
        ("https:/example.com/p", "it must be the path of a file"),
        ("me:geheim@example.com/p", '"****@example.com/p" is not allowed; it must be the path of a file'),
        ("https:///p", "it must be the path of a file"),
        ("https://example.com/a b", "and no spaces or control characters"),
        ("https://example.com/a\x07b", "and no spaces or control characters"),
        ("https://example.com/" + "x" * 4096, "at most 4096 characters"),
        ("https://example.com:0x50/p", "the address can't be read"),
        ("https://example.com:99999/p", "the address can't be read"),
        ("https://[::1/p", "the address can't be read"),
        ("https://example.com/p#part", "has no #"),
    ],
)
def test_what_is_wrong_with_an_address_is_reported(address: str, expected: str) -> None:
    assert expected in refused(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://me:geheim@example.com/p?token=geheim",
        "https://me:ge/heim@example.com/p",
        "https://me:ge#heim@example.com/p",
        "https://me:geheim @example.com/p",
        "ftp://me:geheim@example.com/p",
        "https:/me:geheim@example.com/p",
        "https:me:geheim@example.com/p",
        "me:geheim@example.com/p",
        "http://example.com/4geheim8x7y6/p",
    ],
)
def test_no_error_shows_a_credential_of_the_address(address: str) -> None:
    assert "heim" not in refused(address)


@pytest.mark.parametrize("value", [5, True, None, ["policy.json"], 1.5])
def test_what_is_neither_a_text_nor_an_object_is_refused_with_what_is_allowed(value: object) -> None:
    assert refused(value).endswith(
        "is not allowed; it must be the path of a file, an https:// address (http:// on this machine), or "
        "{from: roboflow, project: ...}"
    )


def test_the_platform_is_an_object_with_from() -> None:
    plain = read({"from": "roboflow", "project": "parking"})
    assert isinstance(plain, RoboflowPolicySettings)
    assert (plain.project, plain.model_id, str(plain)) == ("parking", None, "roboflow project parking")
    other = read({"from": "roboflow", "project": "parking", "model_id": "cars/3"})
    assert (other.model_id, str(other)) == ("cars/3", "roboflow project parking (model cars/3)")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"project": "parking"}, '.from: is missing; it must be "roboflow"'),
        ({"from": "robflow", "project": "parking"}, '.from: "robflow" is not allowed; it must be "roboflow"'),
        (
            {"from": "roboflow"},
            ".project: is missing; it must be one part of an address, such as parking: 1 to 128 characters",
        ),
        ({"from": "roboflow", "project": "a b"}, '.project: "a b" is not allowed; it must be one part of an address'),
        (
            {"from": "roboflow", "project": "p", "modelid": "p/3"},
            ".modelid: unknown key; did you mean model_id?",
        ),
        (
            {"from": "roboflow", "project": "p", "model_id": "p"},
            '.model_id: "p" is not allowed; it must be a project and a version, such as parking/3, or null',
        ),
        ({"source": "roboflow", "from": "roboflow", "project": "p"}, ".source: unknown key"),
    ],
)
def test_what_is_wrong_with_the_object_is_reported_with_its_line(value: dict[str, Any], expected: str) -> None:
    assert refused(value).startswith(expected)


def test_a_streams_own_policy_may_be_absent_and_null() -> None:
    assert validate(House, {"policy": "p", "own": None}, "f").own is None
    with pytest.raises(ConfigError, match="own: 5 is not allowed"):
        validate(House, {"policy": "p", "own": 5}, "f")


def test_a_variable_may_hold_a_text_or_an_object() -> None:
    assert allowed_types(House, ("policy",), {}) == frozenset({"string", "object"})
    assert allowed_types(House, ("own",), {}) == frozenset({"string", "object", "null"})


def test_a_schema_allows_what_is_allowed_and_an_address_is_not_ambiguous() -> None:
    schema = House.model_json_schema()
    branches = schema["properties"]["policy"]["anyOf"]
    assert [branch.get("type", "$ref") for branch in branches] == ["string", "string", "$ref"]
    assert "oneOf" not in str(schema)


def test_the_same_source_is_equal_however_it_was_read() -> None:
    values: list[object] = ["a.json", "https://h/p", {"from": "roboflow", "project": "p"}]
    assert {read(value) for value in values * 2} == {read(value) for value in values}
    assert len({read(value) for value in values}) == 3


def test_what_is_printed_of_an_address_has_lost_its_credentials() -> None:
    found = read(f"https://me:{KEY}@example.com/p?token={KEY}&camera={KEY}")
    for line in (str(found), repr(found), f"{found}", repr(validate(House, {"policy": found.url}, "f"))):
        assert KEY not in line
        assert "example.com/p?token=****&camera=****" in line


def test_the_secrets_of_an_address_are_struck_in_every_spelling() -> None:
    found = read("https://me:Canary-7f3a%21%40%2Fx@example.com/p?token=abcdef&camera=north&empty=")
    secrets = set(found.secrets())
    assert {PASSWORD, f"me:{PASSWORD}", "abcdef", "north"} <= secrets
    assert "" not in secrets
    redacted = Redactor(secrets)
    for text in (found.url, PASSWORD, "Canary-7f3a%21%40%2fx", "bWU6Q2FuYXJ5LTdmM2EhQC94"):
        assert PASSWORD not in redacted(text)
        assert "anary" not in redacted(text)
        assert "bWU6Q2" not in redacted(text)
    assert set(read("https://token@example.com/p").secrets()) >= {"token"}
    assert list(read("https://example.com/p").secrets()) == []


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("https//example.com/p.json", 'it begins with "https//": write https://'),
        ("https:/example.com/p.json", 'it begins with "https:/": write https://'),
        ("htps://example.com/p.json", 'it begins with "htps://": did you mean https://?'),
        ("example.com:8443/p.json", "it is a host without the beginning of an address: write https://"),
    ],
)
def test_a_misspelt_address_is_not_taken_for_a_path(value: str, hint: str) -> None:
    class Block(StrictModel):
        policy: PolicySettings

    with pytest.raises(ConfigError) as refusal:
        validate(Block, {"policy": value}, "framesift.yaml")
    assert hint in str(refusal.value)
