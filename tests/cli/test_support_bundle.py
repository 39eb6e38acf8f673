"""`framesift support-bundle`: what is in the file, with secrets planted wherever one may lie, and no picture."""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import canaries
from canaries import KEY, PASSWORD
from framesift.cli.bundle_redaction import BundleRedaction
from framesift.cli.console import CommandFailed, check_output
from rigs.daemon import POLICY, Daemon, framesift, free_address, unhurried, write_configuration
from rigs.privileges import without_privileges
from rigs.scenes import scene_clip

TOKEN = "status-token-0123456789"
ESCAPED = "Canary-7f3a%21%40%2Fx"
ALL_PARTS = {
    *("ABOUT.txt", "check.json", "decisions.jsonl", "log.txt", "settings.yaml", "spool.json", "status.json"),
    "versions.json",
}


def parts(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = [member for member in archive if member.isfile()]
        return {
            member.name.removeprefix("framesift-support/"): archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in files
        }


def secrets_in(found: dict[str, str]) -> list[str]:
    return [name for name, text in found.items() if canaries.find_in_text(text) or TOKEN in text or "hunter2" in text]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After a run over a clip: a spool, a decision record and a log, into which somebody else wrote a secret."""
    folder = tmp_path_factory.mktemp("supported")
    scene_clip(folder / "clip.mkv", 2)
    write_configuration(folder, {"streams": [{"name": "gate", "source": "clip.mkv"}]})
    with Daemon(folder) as daemon:
        assert daemon.wait(60.0) == 0
        events = daemon.events
    (folder / "credentials").mkdir()
    (folder / "log" / "credentials").mkdir(parents=True)  # files with secrets lie only in folders of that name
    (folder / "log" / "credentials" / "log.txt").write_text(
        "".join(json.dumps(event) + "\n" for event in events)
        + f"proxy: rtsp://viewer:{ESCAPED}@10.0.0.5/live?token=hunter2\n"
        + json.dumps({"event": "foreign", "api_key": "hunter2", "why": f"the key {KEY} is refused"})
        + "\n"
    )
    return folder


def plant(folder: Path) -> dict[str, Any]:
    """Settings with a secret in every kind of place. Returns the environment that they need."""
    settings: dict[str, Any] = {
        "streams": [
            {"name": "gate", "source": f"rtsp://viewer:{ESCAPED}@127.0.0.1:9/live?auth=hunter2"},
            {"name": "yard", "source": "clip.mkv"},
            {"name": "door", "source": "rtsp://127.0.0.1:9/a", "username": "viewer", "password": "${DOOR_PASSWORD}"},
        ],
        "policy": f"https://u:{ESCAPED}@127.0.0.1:9/p.json?token={KEY}",
        "roboflow": {"api_key": KEY},
        "limits": {"redis": {"url": "redis://127.0.0.1:9/0", "password": "${REDIS_PASSWORD:hunter2}"}},
        "status": {"bind": free_address(), "token": TOKEN},
    }
    write_configuration(folder, settings)
    (folder / "credentials" / "DOOR_PASSWORD").write_text(PASSWORD + "\n")
    return {"ROBOFLOW_API_KEY": KEY, "CREDENTIALS_DIRECTORY": str(folder / "credentials"), "OTHER_SECRET": "hunter2"}


def test_no_secret_gets_into_the_file_wherever_it_was_planted(folder: Path) -> None:
    environment = plant(folder)
    words = ("support-bundle", "--out", "bundle.tar.gz", "--log", "log/credentials/log.txt")
    answer = framesift(folder, *words, **environment)
    assert answer.returncode == 0, answer.stderr
    found = parts(folder / "bundle.tar.gz")
    assert secrets_in(found) == []
    assert "status.json is missing: no answer from" in found["ABOUT.txt"]
    assert set(found) == ALL_PARTS - {"status.json"}
    settings = yaml.safe_load(found["settings.yaml"])
    assert settings["streams"][0]["source"] == "rtsp://****@127.0.0.1:9/live?auth=****"
    assert settings["streams"][2]["password"] == "${DOOR_PASSWORD}"
    assert settings["roboflow"]["api_key"] == settings["status"]["token"] == "****"
    assert "the key **** is refused" in found["log.txt"]
    assert (folder / "bundle.tar.gz").stat().st_mode & 0o777 == 0o600


def test_it_has_what_the_daemon_answers_and_counts_but_no_picture(folder: Path) -> None:
    write_configuration(folder, {"streams": [{"name": "gate", "source": "clip.mkv"}]}, POLICY)
    answer = framesift(folder, "support-bundle", "--out", "well.tar.gz", "--log", "log/credentials/log.txt")
    assert answer.returncode == 0, answer.stderr
    found = parts(folder / "well.tar.gz")
    assert json.loads(found["spool.json"])["outcomes"]["delivered"] > 0
    assert json.loads(found["spool.json"])["files"]["spool.db"] > 0
    assert json.loads(found["versions.json"])["packages"]["numpy"]
    checks = json.loads(found["check.json"])  # in the form of `check --json`
    assert {one["name"] for one in checks} >= {"configuration", "policy", "spool"}
    assert {one["advice"] for one in checks if one["status"] == "ok"} == {None}
    assert json.loads(found["decisions.jsonl"].splitlines()[-1])["type"]
    assert yaml.safe_load(found["policies/1-policy.json"])["sampling_strategies"][0]["name"] == "all"
    assert "status.bind is null" in found["ABOUT.txt"]
    assert not any("\ufffd" in text or "JFIF" in text or "/9j/" in text for text in found.values())


@pytest.mark.parametrize(
    ("out", "why"),
    [("nope/x.tgz", "there is no folder nope"), (".", "is a folder; name a file")],
)
def test_a_file_that_cant_be_made_is_refused_before_anything_is_collected(folder: Path, out: str, why: str) -> None:
    asked = framesift(folder, "support-bundle", "--out", out, "--log", "-")
    assert (asked.returncode, asked.stderr.strip()) == (2, f"framesift: --out {out}: {why}")


def test_a_folder_that_may_not_be_written_takes_no_file() -> None:
    with tempfile.TemporaryDirectory() as made:  # not below tmp_path, which another user may not even read
        Path(made).chmod(0o555)
        with without_privileges(), pytest.raises(CommandFailed, match="this user may not write into the folder"):
            check_output("--out", Path(made) / "x.tgz")
        Path(made).chmod(0o700)


def test_a_running_daemon_answers_for_itself(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 2)
    stream = {"name": "gate", "source": "clip.mkv", "loop": True, "pace": "realtime"}
    settings = {"streams": [stream], "model": unhurried(tmp_path), "status": {"bind": free_address()}}
    write_configuration(tmp_path, settings)
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        answer = framesift(tmp_path, "support-bundle", "--out", "bundle.tar.gz")
    assert answer.returncode == 0, answer.stderr
    found = parts(tmp_path / "bundle.tar.gz")
    assert json.loads(found["status.json"])["device"] == "test"


def test_settings_that_can_t_be_loaded_are_said_and_the_rest_is_there(folder: Path) -> None:
    (folder / "framesift.yaml").write_text(f"device: gate\napi_key: {KEY}\nstreams: 7\nstatus: {{bind: null}}\n")
    answer = framesift(folder, "support-bundle", "--out", "odd.tar.gz", "--log", "log/credentials/log.txt")
    assert answer.returncode == 0, answer.stderr
    found = parts(folder / "odd.tar.gz")
    assert "streams" in found["settings_error.txt"]
    assert yaml.safe_load(found["settings.yaml"]) == {
        "device": "gate",
        "api_key": "****",
        "streams": 7,
        "status": {"bind": None},
    }
    assert "check.json is missing: the settings can't be loaded" in found["ABOUT.txt"]
    assert secrets_in(found) == []


def test_a_file_that_is_no_yaml_is_left_out_with_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "framesift.yaml").write_text(f"device: gate\npassword: [{PASSWORD}\n")
    (tmp_path / "log" / "credentials").mkdir(parents=True)
    (tmp_path / "log" / "credentials" / "log.txt").write_text(f"{PASSWORD} is wrong\n")
    answer = framesift(tmp_path, "support-bundle", "--out", "broken.tar.gz", "--log", "log/credentials/log.txt")
    assert answer.returncode == 0, answer.stderr
    found = parts(tmp_path / "broken.tar.gz")
    assert "settings.yaml" not in found
    assert "can't be told from the rest" in found["ABOUT.txt"]
    assert found["log.txt"] == "**** is wrong\n"
    assert secrets_in(found) == []


def masked(tmp_path: Path, text: str) -> dict[str, Any]:
    """The settings of a bundle, and nothing of their secret in it."""
    path = tmp_path / "framesift.yaml"
    path.write_text(text)
    shown = BundleRedaction((), path, {}).settings(path)
    assert "geheim" not in shown
    loaded: dict[str, Any] = yaml.safe_load(shown)
    return loaded


@pytest.mark.parametrize(
    "name",
    [
        *(
            "pwd",
            "pass",
            "passphrase",
            "accessKey",
            "access-key",
            "auth",
            "bearer",
            "pw",
            "SECRET",
            "mqttPassword",
            "creds",
        ),
        *("api_key", "X-Signature", "refresh_token", "basicAuth", "cookie"),
    ],
)
def test_every_usual_name_of_a_secret_hides_its_value_wherever_it_stands(tmp_path: Path, name: str) -> None:
    (tmp_path / "framesift.yaml").write_text(f"model:\n  options:\n    {name}: geheim word # ours\n")
    redaction = BundleRedaction((), tmp_path / "framesift.yaml", {})
    assert "geheim" not in str(redaction.data({"event": "x", name: "geheim"}))
    assert redaction.text("the model says geheim word") == "the model says ****"
    for logged in (f"{name}: another shape", f'{{"why": "{name}: another shape"}}', f"{name} = 'another shape'"):
        assert "another" not in redaction.line(logged)
        assert "shape" not in redaction.line(logged)


def test_of_a_models_options_numbers_and_switches_stay(tmp_path: Path) -> None:
    options = {
        "dsn": "geheim",
        "size": 640,
        "fast": True,
        "none": None,
        "list": ["geheim", 1],
        "pin": 1234,
        "id": 7654321,
    }
    shown = masked(tmp_path, yaml.safe_dump({"model": {"type": "python", "factory": "a:b", "options": options}}))
    assert shown["model"] == {
        "type": "python",
        "factory": "a:b",
        "options": {**dict.fromkeys(("dsn", "pin", "id"), "****"), "list": ["****", 1]}
        | {"size": 640, "fast": True, "none": None},
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("streams: [{name: gate, pw: geheim}]", {"streams": [{"name": "gate", "pw": "****"}]}),
        ("status: {tokn: geheim, bind: 'h:1'}", {"status": {"tokn": "****", "bind": "h:1"}}),
        ("roboflow: geheim", {"roboflow": "****"}),
        ("roboflow: {geheim}", {"roboflow": {"****": None}}),
        ("roboflow: [geheim]", {"roboflow": ["****"]}),
        ("status: {token: {geheim}}", {"status": {"token": {"****": None}}}),
        ("sede: {a: [geheim]}", {"sede": {"a": ["****"]}}),
        ("streams: 12345678", {"streams": "****"}),
        ("status: {token: 'geheim", None),
        ("fps: no\nlog:\nspool: {path: a.db, max_bytes: 2GiB}", {"spool": {"path": "a.db", "max_bytes": "2GiB"}}),
        ("streams: [{fps: '${FPS}', loop: '${L:true}'}]", {"streams": [{"fps": "${FPS}", "loop": "${L:****}"}]}),
        # Old names are known, too.
        ("doors: [{listen: 'h:1', geheim: }]", {"doors": [{"listen": "h:1", "****": None}]}),
    ],
)
def test_in_settings_that_do_not_load_only_known_keys_show_their_values(
    tmp_path: Path, text: str, shown: dict[str, Any] | None
) -> None:
    if shown is None:
        with pytest.raises(ValueError, match=r"framesift\.yaml:1: .* its secrets can't be told from the rest"):
            masked(tmp_path, text)
    else:
        assert shown.items() <= masked(tmp_path, text).items()


@pytest.mark.parametrize("value", ["*geheim", "!geheim x", "{geheim}", "[geheim", '"geheim', "@geheim", "|geheim"])
def test_a_secret_with_signs_around_it_is_masked_in_the_log_too(tmp_path: Path, value: str) -> None:
    (tmp_path / "framesift.yaml").write_text(f"device: gate\npassword: {value}\n")
    assert (
        BundleRedaction((), tmp_path / "framesift.yaml", {}).line("refused: geheim is wrong")
        == "refused: **** is wrong"
    )


def test_what_is_no_secret_stays_readable_in_a_log(tmp_path: Path) -> None:
    redaction = BundleRedaction((), tmp_path / "framesift.yaml", {"PWD": "/srv/cameras", "SSH_AUTH_SOCK": "/run/agent"})
    for line in ("12 passed: 3 failed", "author: me", "keypoints: 17", "in /srv/cameras and /run/agent", "key points"):
        assert redaction.line(line) == line


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ({"password": "${A}"}, {"password": "${A}"}),
        ({"password": "${A:hunter2}"}, {"password": "****"}),
        ({"password": 123456}, {"password": "****"}),
        ({"tokens": [{"a": ["hunter2"]}], "token": ["hunter2"]}, {"tokens": [{"a": ["****"]}], "token": ["****"]}),
        ({"source": "rtsp://${U}:${P:hunter2}@h/x"}, {"source": "rtsp://****@h/x"}),
        ({"name": "${N:hunter2}"}, {"name": "${N:****}"}),
        ({"fps": 5, "on": True, "group": None}, {"fps": 5, "on": True, "group": None}),
    ],
)
def test_what_stands_under_the_key_of_a_secret_is_masked(tmp_path: Path, written: object, shown: object) -> None:
    assert BundleRedaction((), tmp_path / "framesift.yaml", {}).data(written) == shown
