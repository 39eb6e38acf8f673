"""The settings file: where it is found, what the environment changes in it, and which errors are reported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from framesift.config.errors import ConfigError
from framesift.models.onnx.onnx_settings import OnnxSettings
from framesift.policy import policy
from framesift.settings import (
    Settings,
    SpoolSettings,
    StatusSettings,
    find_settings_file,
    load,
    load_block,
    read_template,
    secrets,
)
from framesift.sinks.folder import FolderSinkSettings

BASE = """\
streams:
  - name: gate
    source: rtsp://10.0.0.5/s
model: {type: stub}
policy: policy.json
sink: {type: folder, path: collected}
"""


class Machine:
    """A folder with a settings file, and an environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, text: str = BASE, environ: Mapping[str, str] | None = None) -> Settings:
        path = self.folder / "framesift.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ or {})

    def refused(self, text: str = BASE, environ: Mapping[str, str] | None = None) -> list[str]:
        """The problems, without the folder's name."""
        with pytest.raises(ConfigError) as refusal:
            self.load(text, environ)
        return [problem.replace(f"{self.folder}/", "") for problem in refusal.value.problems]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# -- where they are


def test_an_explicit_path_comes_before_the_variable() -> None:
    assert find_settings_file(Path("a.yaml"), {"FRAMESIFT_CONFIG": "b.yaml"}) == Path("a.yaml")


def test_the_variable_comes_before_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "framesift.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_settings_file(None, {"FRAMESIFT_CONFIG": "/b.yaml"}) == Path("/b.yaml")
    assert find_settings_file(None, {"FRAMESIFT_CONFIG": ""}) == Path("framesift.yaml")
    assert find_settings_file(None, {}) == Path("framesift.yaml")


def test_without_any_settings_a_line_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="framesift init"):
        find_settings_file(None, {}, (tmp_path / "here.yaml", tmp_path / "there.yaml"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file"):
        load(tmp_path / "none.yaml", {})


# -- what stands in them


def test_relative_paths_count_from_the_file_wherever_they_are_written(machine: Machine) -> None:
    text = BASE.replace("rtsp://10.0.0.5/s", "clips/a.mp4").replace(
        "{type: stub}", "{type: onnx, path: nets/a.onnx, class_names_file: /etc/names.txt}"
    )
    settings = machine.load(text, {"FRAMESIFT_SPOOL__PATH": "queue/s.db"})
    here = machine.folder
    assert settings.streams[0].source == str(here / "clips/a.mp4")
    assert isinstance(settings.model, OnnxSettings)
    assert isinstance(settings.sink, FolderSinkSettings)
    assert (settings.model.path, settings.model.class_names_file) == (here / "nets/a.onnx", Path("/etc/names.txt"))
    assert (settings.policy, settings.sink.path) == (here / "policy.json", here / "collected")
    assert settings.spool.path == here / "queue/s.db"


@pytest.mark.parametrize("source", ["rtsp://10.0.0.5/s", "0", "/dev/video0"])
def test_what_is_no_file_keeps_its_source(machine: Machine, source: str) -> None:
    settings = machine.load(BASE.replace("rtsp://10.0.0.5/s", source))
    assert str(settings.streams[0].source) == source


@pytest.mark.parametrize("source", ["pictures/", "pictures/*.jpg"])
def test_a_folder_of_pictures_counts_from_the_settings_file(machine: Machine, source: str) -> None:
    stream = machine.load(BASE.replace("rtsp://10.0.0.5/s", source)).streams[0]
    assert str(stream.source) == f"{machine.folder}/{source}"
    assert (stream.is_pictures, stream.folder) == (True, machine.folder / "pictures")


def test_the_spool_lies_beside_the_file_unless_systemd_gives_a_folder_for_state(machine: Machine) -> None:
    assert machine.load().spool.path == machine.folder / "spool.db"
    environ = {"STATE_DIRECTORY": "/var/lib/framesift:/var/lib/other"}
    assert machine.load(environ=environ).spool.path == Path("/var/lib/framesift/spool.db")
    assert machine.load(BASE + "spool: {path: own.db}", environ).spool.path == machine.folder / "own.db"


def test_the_device_is_called_as_its_host_in_a_form_that_a_tag_allows(machine: Machine) -> None:
    assert Settings.model_fields["device"].default_factory is not None
    assert machine.load(BASE + f"device: {machine.load().device}").device == machine.load().device


def test_json_is_yaml(machine: Machine) -> None:
    data = {
        "streams": [{"name": "gate", "source": 0}],
        "model": {"type": "stub"},
        "policy": "p.json",
        "sink": {"type": "folder", "path": "c"},
    }
    assert machine.load(json.dumps(data, indent=2)).streams[0].source == 0


def test_what_init_writes_is_valid_as_it_is(tmp_path: Path) -> None:
    for name in ("framesift.yaml", "policy.json"):
        (tmp_path / name).write_text(read_template(name), encoding="utf-8")
    settings = load(tmp_path / "framesift.yaml", {})
    assert settings.streams[0].source == str(tmp_path / "street.mp4")
    assert isinstance(settings.policy, Path)
    assert policy.load(settings.policy).sampling_strategies[0].type == "random"


def test_what_init_leaves_commented_out_is_valid_too(tmp_path: Path) -> None:
    # "  # - name" and "# model:" are examples; a comment's sentence begins with a capital or ends the line.
    lines = []
    for line in read_template("framesift.yaml").splitlines():
        bare = line.lstrip().removeprefix("# ")
        is_example = line.lstrip().startswith("#") and bare.lstrip().split(":")[0].lstrip("- {") in _EXAMPLE_KEYS
        lines.append(line.replace("# ", "", 1) if is_example else line)
    text = "\n".join(lines)
    onnx, python = text.index("\nmodel:\n  type: onnx"), text.index("\nmodel:\n  type: python")
    sink, spool = text.index("\nsink:\n  type: roboflow"), text.index("\n# The queue on disk")
    with_roboflow, text = text, text[:sink] + text[spool:]
    with_onnx = text[: text.index("\nmodel:\n  type: stub")] + text[onnx:python] + text[text.index("\npolicy:") :]
    with_python = text[: text.index("\nmodel:\n  type: stub")] + text[python:]
    kinds = set()
    for variant in (with_onnx, with_python):
        (tmp_path / "framesift.yaml").write_text(variant, encoding="utf-8")
        settings = load(tmp_path / "framesift.yaml", {"GATE_PASSWORD": "geheimnis"})
        assert [s.name for s in settings.streams] == ["street", "gate", "desk"]
        assert settings.device == "gate-7"
        assert settings.sink.limits[0].value == 60
        assert settings.model is not None
        kinds.add(settings.model.type)
    assert kinds == {"onnx", "python"}
    cut = with_roboflow.index("\nmodel:\n  type: stub"), python, with_roboflow.index("\nsink:\n  type: folder"), sink
    variant = with_roboflow[: cut[0]] + with_roboflow[cut[1] : cut[2]] + with_roboflow[cut[3] :]
    variant = variant.replace("policy: policy.json\n# policy:", "policy:")
    (tmp_path / "framesift.yaml").write_text(variant, encoding="utf-8")
    settings = load(
        tmp_path / "framesift.yaml",
        {"REDIS_PASSWORD": "geheimnis", "GATE_PASSWORD": "geheimnis", "ROBOFLOW_API_KEY": "geheim"},
    )
    assert settings.sink.type == "roboflow"
    assert str(settings.policy) == "roboflow project parking (model parking/3)"
    assert settings.limits.redis is not None
    assert settings.limits.redis.server.password == "geheimnis"


_EXAMPLE_KEYS = {
    *("device", "name", "source", "username", "password", "fps", "tags", "model", "type", "path", "confidence"),
    *("factory", "limits", "sink", "project", "max_bytes", "min_free_bytes", "when_full", "status", "bind", "log"),
    *("format", "level"),
}


# -- ${NAME}


def test_a_variable_without_quotes_is_typed_as_if_it_were_written_there(machine: Machine) -> None:
    text = BASE + "seed: ${SEED}\ndevice: ${DEVICE}\nenabled: ${ENABLED:false}\n"
    settings = machine.load(text, {"SEED": "12", "DEVICE": "gate-7"})
    assert (settings.seed, settings.device, settings.enabled) == (12, "gate-7", False)


def test_a_variable_in_quotes_stays_a_text(machine: Machine) -> None:
    assert machine.load(BASE + 'device: "${DEVICE}"\n', {"DEVICE": "7"}).device == "7"
    (line,) = machine.refused(BASE + 'seed: "${SEED}"\n', {"SEED": "7"})
    assert line.startswith('framesift.yaml:7: seed: "7" is not allowed; it must be a whole number')


def test_a_variable_can_be_a_part_of_a_text_and_have_a_default(machine: Machine) -> None:
    text = BASE.replace("rtsp://10.0.0.5/s", "rtsp://${HOST:10.0.0.9}:${PORT:554}/${PATH_:s}")
    assert machine.load(text, {"PORT": "8554"}).streams[0].source == "rtsp://10.0.0.9:8554/s"


def test_two_dollars_stand_for_one(machine: Machine) -> None:
    text = BASE.replace("rtsp://10.0.0.5/s", "/clips/$${NAME}/$$/$5.mp4")
    assert machine.load(text).streams[0].source == "/clips/${NAME}/$$/$5.mp4"


def test_a_set_variable_that_is_empty_is_empty_not_its_default(machine: Machine) -> None:
    (line,) = machine.refused(BASE + 'device: "${DEVICE:gate}"\n', {"DEVICE": ""})
    assert 'device: "" is not allowed' in line


def test_each_variable_that_is_not_set_is_named_with_its_line_and_key(machine: Machine) -> None:
    text = BASE.replace("name: gate", "name: gate\n    password: ${GATE_PASSWORD}") + "seed: ${SEED}\n"
    line = machine.refused(text)
    assert len(line) == 2
    assert line[0].startswith("framesift.yaml:3: streams[0].password: the variable GATE_PASSWORD is not set")
    assert line[1].startswith("framesift.yaml:8: seed: the variable SEED is not set")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${A:${B}}", "${A:...}: a default has no ${"),
        ("${}", "begins no ${NAME}"),
        ("${GATE-1}", "begins no ${NAME}"),
        ("${GATE", "begins no ${NAME}"),
        ("${GATE:-7}", "right after the colon"),
    ],
)
def test_what_is_almost_a_variable_is_not_taken_for_a_text(machine: Machine, value: str, expected: str) -> None:
    (line,) = machine.refused(BASE + f"device: {value}\n")
    assert line.startswith("framesift.yaml:7: device: ")
    assert expected in line


def test_in_flow_style_a_line_advises_quotes(machine: Machine) -> None:
    assert "needs quotes" in machine.refused(BASE + "tags: [${TAG}]\n", {"TAG": "a"})[-1]
    assert machine.load(BASE + 'tags: ["${TAG}"]\n', {"TAG": "a"}).tags == ("a",)


def test_an_anchor_is_replaced_once(machine: Machine) -> None:
    text = BASE.replace("name: gate", "name: &n $${X}${NAME}") + "device: *n\n"
    line = machine.refused(text, {"NAME": "1", "X": "2"})
    assert [problem.partition(" is not")[0] for problem in line] == [
        'framesift.yaml:7: device: "${X}1"',
        'framesift.yaml:2: streams[0].name ("${X}1"): "${X}1"',
    ]


def test_a_variable_may_correct_what_is_wrong_in_a_block_of_the_file(machine: Machine) -> None:
    text = BASE + 'status: {bind: "0.0.0.0:9464"}\n'
    (line,) = machine.refused(text, {"FRAMESIFT_STATUS__TOKEN": "null"})
    assert line.startswith("framesift.yaml:7 with FRAMESIFT_STATUS__TOKEN: status: bind: 0.0.0.0:9464 can be reached")
    assert machine.load(text, {"FRAMESIFT_STATUS__TOKEN": "0123456789abcdef"}).status.token is not None


def test_a_value_is_not_searched_for_variables_again(machine: Machine) -> None:
    (line,) = machine.refused(BASE + "device: ${A}\n", {"A": "${B}", "B": "gate"})
    assert '"${B}" is not allowed' in line


# -- one block alone

WITH_SECRETS = BASE.replace("name: gate", "name: gate\n    password: ${GATE_PASSWORD}").replace("stub", "none-of-ours")


def test_whoever_wants_one_block_needs_neither_the_secrets_nor_the_sense_of_the_others(machine: Machine) -> None:
    path = machine.folder / "framesift.yaml"
    path.write_text(WITH_SECRETS + 'status: {bind: "127.0.0.1:${PORT}"}\n')
    environ = {"PORT": "9001", "FRAMESIFT_STREAMS__7__FPS": "none", "FRAMESIFT_STATUS__TOKEN": "a-token-of-sixteen"}
    status = load_block(path, environ, "status", StatusSettings)
    assert status.bind == "127.0.0.1:9001"
    assert status.token is not None
    assert status.token.get_secret_value() == "a-token-of-sixteen"
    with pytest.raises(ConfigError, match=r"8: status\.bind: the variable PORT is not set") as refusal:
        load_block(path, {}, "status", StatusSettings)
    assert len(refusal.value.problems) == 1


def test_one_block_alone_is_what_it_is_among_the_others(machine: Machine) -> None:
    path = machine.folder / "framesift.yaml"
    for text, environ in (
        (BASE, {}),
        (BASE, {"STATE_DIRECTORY": "/var/lib/framesift"}),
        (BASE + "spool: {path: own.db, max_bytes: 3GiB}\n", {"FRAMESIFT_SPOOL__MIN_FREE_BYTES": "1GiB"}),
    ):
        whole = machine.load(text, environ)
        assert load_block(path, environ, "spool", SpoolSettings) == whole.spool
        assert load_block(path, environ, "status", StatusSettings) == whole.status


def test_what_is_wrong_in_a_block_alone_is_reported_with_its_line(machine: Machine) -> None:
    path = machine.folder / "framesift.yaml"
    for text, environ, expected in (
        ("status: {bind: 9}\n", {}, "framesift.yaml:1: status.bind: "),
        ("spool: {}\nstatus: 7\n", {}, "framesift.yaml:2: status: "),
        ("{}\n", {"FRAMESIFT_STATUS__BIND": "7"}, "FRAMESIFT_STATUS__BIND: "),
        ("[]\n", {}, "framesift.yaml: is "),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as refusal:
            load_block(path, environ, "status", StatusSettings)
        assert expected in str(refusal.value)


# -- FRAMESIFT_...


def test_a_variable_replaces_the_files_value(machine: Machine) -> None:
    environ = {
        "FRAMESIFT_SEED": "7",
        "FRAMESIFT_DEVICE": "8",
        "FRAMESIFT_SPOOL__MAX_BYTES": "1GiB",
        "FRAMESIFT_SPOOL__MIN_FREE_BYTES": "1048576",
        "FRAMESIFT_STREAMS__0__FPS": "2.5",
        "FRAMESIFT_STATUS__BIND": "null",
        "FRAMESIFT_TAGS": '["a", "b"]',
        "FRAMESIFT_UPLOAD__WORKERS": "3",
        "FRAMESIFT_ENABLED": "false",
        "FRAMESIFT_CONFIG": "elsewhere.yaml",
    }
    settings = machine.load(BASE + "seed: 1\nspool: {path: own.db, max_bytes: 3GiB}\n", environ)
    assert (settings.seed, settings.device, settings.enabled) == (7, "8", False)
    assert (settings.spool.max_bytes, settings.spool.min_free_bytes) == (1 << 30, 1 << 20)
    assert settings.spool.path == machine.folder / "own.db"
    assert (settings.streams[0].fps, settings.streams[0].name) == (2.5, "gate")
    assert (settings.status.bind, settings.tags, settings.upload.workers) == (None, ("a", "b"), 3)


def test_a_block_as_json_replaces_the_files_and_inner_variables_replace_its_values(machine: Machine) -> None:
    environ = {
        "FRAMESIFT_STREAMS": '[{"name": "yard", "source": 0}]',
        "FRAMESIFT_STREAMS__0__NAME": "desk",
        "FRAMESIFT_MODEL": '{"type": "onnx", "path": "a.onnx"}',
        "FRAMESIFT_MODEL__CLASS_NAMES_FILE": "names.txt",
    }
    settings = machine.load(environ=environ)
    assert [(s.name, s.source) for s in settings.streams] == [("desk", 0)]
    assert isinstance(settings.model, OnnxSettings)
    assert settings.model.class_names_file == machine.folder / "names.txt"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FRAMESIFT_SPOOL__PAHT", "a.db", "FRAMESIFT_SPOOL__PAHT: spool.paht: unknown key; did you mean path?"),
        ("FRAMESIFT_SPOLL", "{}", "FRAMESIFT_SPOLL: spoll: unknown key; did you mean spool?"),
        ("FRAMESIFT_SEED", "many", 'FRAMESIFT_SEED: seed: "many" is not allowed; it must be a whole number'),
        ("FRAMESIFT_SEED", "1.5", "FRAMESIFT_SEED: seed: 1.5 is not allowed"),
        ("FRAMESIFT_SEED", "true", "FRAMESIFT_SEED: seed: true is not allowed"),
        ("FRAMESIFT_UPLOAD__WORKERS", "", "FRAMESIFT_UPLOAD__WORKERS: upload.workers: null is not allowed"),
        ("FRAMESIFT_TAGS", "a,b", 'FRAMESIFT_TAGS: tags: "a,b" is not allowed; it must be a list'),
        ("FRAMESIFT_TAGS", "[a]", "FRAMESIFT_TAGS:1: column 2: is not JSON"),
        ("FRAMESIFT_STREAMS__1__FPS", "5", "FRAMESIFT_STREAMS__1__FPS: there is no 1 in streams, which is a list of 1"),
        ("FRAMESIFT_STREAMS__X", "5", "FRAMESIFT_STREAMS__X: there is no x in streams"),
        ("FRAMESIFT_POLICY__X", "5", "FRAMESIFT_POLICY__X: there is no x in policy, which is a single value"),
        ("FRAMESIFT_DEVICE__X", "5", "FRAMESIFT_DEVICE__X: device: an object is not allowed"),
        ("FRAMESIFT_STATUS__BIND", "0.0.0.0:1", "FRAMESIFT_STATUS__BIND: status: bind: 0.0.0.0:1 can be reached"),
        ("FRAMESIFT_", "5", "unknown key"),
        ("ACTIVE_LEARNING_ENABLED", "maybe", 'ACTIVE_LEARNING_ENABLED: "maybe" is not allowed'),
        ("ACTIVE_LEARNING_TAGS", "ok, not ok", 'ACTIVE_LEARNING_TAGS: tags[1]: "not ok" is not allowed'),
        ("CREDENTIALS_DIRECTORY", "/nowhere/at/all", "$CREDENTIALS_DIRECTORY: /nowhere/at/all cannot be read"),
    ],
)
def test_a_variable_that_is_wrong_is_named_with_what_it_should_be(
    machine: Machine, name: str, value: str, expected: str
) -> None:
    (line,) = machine.refused(environ={name: value})
    assert expected in line


def test_a_variable_that_the_file_refers_to_replaces_no_other_value(machine: Machine) -> None:
    assert machine.load(BASE + "device: ${FRAMESIFT_SITE}\n", {"FRAMESIFT_SITE": "gate"}).device == "gate"


def test_the_variables_that_kubernetes_sets_for_a_service_called_framesift_are_no_settings(machine: Machine) -> None:
    environ = {
        "FRAMESIFT_SERVICE_HOST": "10.1.2.3",
        "FRAMESIFT_SERVICE_PORT": "9464",
        "FRAMESIFT_SERVICE_PORT_HTTP": "9464",
        "FRAMESIFT_PORT": "tcp://10.1.2.3:9464",
        "FRAMESIFT_PORT_9464_TCP_ADDR": "10.1.2.3",
    }
    assert machine.load(environ=environ) == machine.load()


def test_the_platforms_own_variables_are_honoured(machine: Machine) -> None:
    text = BASE + "tags: [file]\n"
    assert machine.load(text, {"ACTIVE_LEARNING_TAGS": "a, b,,"}).tags == ("a", "b", "file")
    assert machine.load(BASE, {"ACTIVE_LEARNING_TAGS": ""}).tags == ()
    assert machine.load(BASE, {"ACTIVE_LEARNING_ENABLED": "True"}).enabled
    assert not machine.load(BASE, {"ACTIVE_LEARNING_ENABLED": "False"}).enabled
    assert not machine.load(BASE + "enabled: false\n", {"ACTIVE_LEARNING_ENABLED": "true"}).enabled
    assert not machine.load(BASE, {"ACTIVE_LEARNING_ENABLED": "0", "FRAMESIFT_ENABLED": "true"}).enabled


def test_a_wrong_tag_of_the_file_is_found_behind_those_of_the_variable(machine: Machine) -> None:
    (line,) = machine.refused(BASE + "tags:\n  - fine\n  - not fine\n", {"ACTIVE_LEARNING_TAGS": "a"})
    assert line.startswith('framesift.yaml:9: tags[2]: "not fine" is not allowed')


# -- secrets

CAMERA = BASE.replace(
    "source: rtsp://10.0.0.5/s", "source: rtsp://10.0.0.5/s\n    username: viewer\n    password: ${PW}"
)


def test_a_secret_may_lie_in_a_file(machine: Machine) -> None:
    (machine.folder / "pw").write_text("geheim nis\n", encoding="utf-8")
    settings = machine.load(CAMERA, {"PW_FILE": str(machine.folder / "pw")})
    assert settings.streams[0].password is not None
    assert settings.streams[0].password.get_secret_value() == "geheim nis"


def test_a_secret_may_be_one_of_systemds_credentials(machine: Machine) -> None:
    (machine.folder / "creds").mkdir()
    (machine.folder / "creds" / "PW").write_text("geheimnis", encoding="utf-8")
    (machine.folder / "creds" / "FRAMESIFT_STATUS__TOKEN").write_text("0123456789abcdef\r\n", encoding="utf-8")
    settings = machine.load(CAMERA, {"CREDENTIALS_DIRECTORY": str(machine.folder / "creds")})
    assert settings.status.token is not None
    assert settings.status.token.get_secret_value() == "0123456789abcdef"
    assert {"geheimnis", "0123456789abcdef"} <= set(secrets(settings))


def test_the_variable_itself_comes_before_its_file(machine: Machine) -> None:
    settings = machine.load(CAMERA, {"PW": "plainpw", "PW_FILE": "/nowhere"})
    assert "plainpw" in secrets(settings)


def test_an_override_may_lie_in_a_file_as_well(machine: Machine) -> None:
    (machine.folder / "token").write_text("0123456789abcdef\n", encoding="utf-8")
    settings = machine.load(environ={"FRAMESIFT_STATUS__TOKEN_FILE": str(machine.folder / "token")})
    assert "0123456789abcdef" in secrets(settings)


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b"x" * 70000, "larger than")]
)
def test_a_file_that_holds_no_secret_is_named(machine: Machine, content: bytes | None, expected: str) -> None:
    if content is not None:
        (machine.folder / "pw").write_bytes(content)
    (line,) = machine.refused(CAMERA, {"PW_FILE": str(machine.folder / "pw")})
    assert expected in line
    assert "PW" in line


def test_every_secret_is_known_and_none_is_shown(machine: Machine) -> None:
    (machine.folder / "url").write_text("rtsp://me:hidden1@cam/s", encoding="utf-8")
    text = (
        BASE.replace("rtsp://10.0.0.5/s", "${CAMERA}").replace(
            "{type: stub}", "{type: python, factory: 'a:b', options: {inner: {api_key: hidden2}, plain: visible}}"
        )
        + "device: ${MY_TOKEN}\nstatus: {token: hidden3hidden3hidden3}\n"
    )
    settings = machine.load(text, {"CAMERA_FILE": str(machine.folder / "url"), "MY_TOKEN": "hidden4"})
    known = secrets(settings)
    assert {"hidden1", "me", "hidden2", "hidden3hidden3hidden3", "hidden4", "rtsp://me:hidden1@cam/s"} <= set(known)
    assert "visible" not in known
    assert "hidden1" not in repr(settings)
    assert "hidden3" not in repr(settings)


def test_no_refusal_shows_a_secret(machine: Machine) -> None:
    text = CAMERA.replace("username: viewer", "") + "status: {token: hidden3}\n"
    line = "\n".join(machine.refused(text, {"PW": "hidden1"}))
    assert "hidden" not in line
    assert "a password needs a username" in line
    assert "status.token: **** is not allowed" in line
    other = "\n".join(machine.refused(BASE + "status: {token: hidden3}\n", {"FRAMESIFT_STATUS__TOKEN__X": "hidden5"}))
    assert "hidden" not in other


# -- the file itself


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "framesift.yaml: is empty"),
        ("# nothing\n", "framesift.yaml: is empty"),
        ("- a\n", "framesift.yaml: is a list of 1, not a mapping"),
        ("hello", "framesift.yaml: is a text, not a mapping"),
        (BASE + "policy: other.json\n", 'framesift.yaml:7: column 1: the key "policy" is set twice'),
        (
            BASE + "decisions: {thumbnails: true, max_bytes: null}\n",
            "decisions: thumbnails belong to the record, and max_bytes: null keeps none: give it a size",
        ),
        (
            BASE + "spool: {max_bytes: 10}\n",
            "it must be a whole number from 1048576 to 1125899906842624 or a size such as 2GiB",
        ),
        (BASE + "sede: 5\n", "framesift.yaml:7: sede: unknown key; did you mean seed?"),
        (BASE + "streams\n", "framesift.yaml:8"),
        (
            BASE + "log:\n",
            "framesift.yaml:7: log: null is not allowed; remove the line, or give it a value: it must be",
        ),
        (BASE + "roboflow: a-secret\n", "framesift.yaml:7: roboflow: a text is not allowed; it must be an object"),
        (BASE + "roboflow: {a-secret}\n", 'framesift.yaml:7: roboflow."****": unknown key; '),
        (BASE + "tags: &a [*a]\n", "it may refer to itself"),
        (BASE.replace("gate", "gate\n    source: 0\n  - name: gate"), 'streams: 2 streams are called "gate"'),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(machine: Machine, text: str, expected: str) -> None:
    assert any(expected in line for line in machine.refused(text))


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "127.9.9.9:1", "localhost:9464", "[::1]:65535"])
def test_a_loopback_needs_no_token(machine: Machine, bind: str) -> None:
    status = machine.load(BASE + f'status: {{bind: "{bind}"}}\n').status
    assert f"{status.host}:{status.port}" == bind.replace("[", "").replace("]", "")


@pytest.mark.parametrize("bind", ["0.0.0.0:9464", "[::]:9464", "192.168.1.5:9464"])
def test_any_other_address_needs_a_token(machine: Machine, bind: str) -> None:
    (line,) = machine.refused(BASE + f'status: {{bind: "{bind}"}}\n')
    assert "that needs a token; set status.token (16 to 256 characters)" in line
    assert machine.load(BASE + f'status: {{bind: "{bind}", token: 0123456789abcdef}}\n').status.bind == bind


@pytest.mark.parametrize(
    "bind", ["9464", ":9464", "example.org:9464", "127.0.0.1", "127.0.0.1:70000", "::1:9464", "a b:1"]
)
def test_a_bad_address_is_reported_with_an_example_of_a_good_one(machine: Machine, bind: str) -> None:
    (line,) = machine.refused(BASE + f'status: {{bind: "{bind}"}}\n')
    assert line.startswith("framesift.yaml:7: status.bind: bind ")


@pytest.mark.parametrize(
    ("size", "size_bytes"), [("2GiB", 2 << 30), ("1.5 MiB", 3 << 19), ("3MB", 3_000_000), ("5000000", 5_000_000)]
)
def test_a_size_may_be_written_with_its_unit(machine: Machine, size: str, size_bytes: int) -> None:
    assert machine.load(BASE + f"spool: {{max_bytes: {size}}}\n").spool.max_bytes == size_bytes


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("2 potatoes", "a number with KiB, MiB, GiB"),
        ("-5MiB", "a number with KiB, MiB, GiB"),
        ("1KiB", '"1KiB" is not allowed; it must be a whole number from 1048576'),
        ("9999999GiB", "to 1125899906842624"),
    ],
)
def test_a_size_that_is_none_is_refused(machine: Machine, size: str, expected: str) -> None:
    (line,) = machine.refused(BASE + f"spool: {{max_bytes: {size}}}\n")
    assert line.startswith("framesift.yaml:7: spool.max_bytes: ")
    assert expected in line


def test_a_token_fits_in_a_header(machine: Machine) -> None:
    (line,) = machine.refused(BASE + 'status: {token: "0123456789 abcdef"}\n')
    assert "printable ASCII" in line


# -- streams, listeners, and what looks at them


def test_there_is_at_least_one_stream_or_listener(machine: Machine) -> None:
    text = BASE.replace(BASE[: BASE.index("model:")], "")
    (line,) = machine.refused(text)
    assert "streams: missing: at least one stream (or a listener" in line
    settings = machine.load(text.replace("model: {type: stub}\n", "") + "listeners: [{listen: '127.0.0.1:9470'}]\n")
    assert (settings.streams, settings.model) == ((), None)
    assert settings.stream_names == ("listener",)


def test_streams_need_a_model(machine: Machine) -> None:
    (line,) = machine.refused(BASE.replace("model: {type: stub}\n", ""))
    assert "model: missing" in line
    assert "{type: stub}" in line
