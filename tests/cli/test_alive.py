"""`framesift status --alive`: the short way never says what the long way would not, and costs little."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framesift.cli import alive
from framesift.config.errors import ConfigError
from framesift.settings import StatusSettings, find_settings_file, load_block
from rigs.daemon import framesift
from rigs.raw_http_server import OK, Peer, RawServer
from status.test_status import TOKEN, page

OTHERS = """\
device: gate
streams: [{name: gate, source: "rtsp://cam/1", password: "${NOT_SET_HERE}"}]
"""
# A name, what stands in the file, and the variables.
USUAL: dict[str, tuple[str, dict[str, str]]] = {
    "no settings": ("", {}),
    "an empty block": ("status: {}", {}),
    "an address": ('status: {bind: "127.0.0.1:9000"}', {}),
    "without quotes": ("status:\n  bind: localhost:9000\n", {}),
    "IPv6": ('status: {bind: "[::1]:9000"}', {}),
    "a token": (f'status: {{bind: "0.0.0.0:9000", token: "{TOKEN}"}}', {}),
    "no token": ('status: {bind: "127.0.0.1:64000", token: null}', {}),
    "a variable in the file": ('status: {bind: "${WHERE}", token: "${SAID}"}', {"WHERE": "10.0.0.9:80", "SAID": TOKEN}),
    "a default in the file": ('status: {bind: "${WHERE:127.0.0.1:81}"}', {}),
    "a secret in a file": ('status: {token: "${SAID}"}', {"SAID_FILE": "secret"}),
    "a credential": ('status: {token: "${SAID}"}', {"CREDENTIALS_DIRECTORY": "credentials"}),
    "over the file": ('status: {bind: "127.0.0.1:1"}', {"FRAMESIFT_STATUS__BIND": "127.0.0.1:2"}),
    "over nothing": ("", {"FRAMESIFT_STATUS__BIND": "127.0.0.1:2", "FRAMESIFT_STATUS__TOKEN": TOKEN}),
    "over it, from a file": ("", {"FRAMESIFT_STATUS__TOKEN_FILE": "secret"}),
    "a token like a number": ("", {"FRAMESIFT_STATUS__TOKEN": "1234567890123456"}),
    "no token, by a variable": (f"status: {{token: {TOKEN}}}", {"FRAMESIFT_STATUS__TOKEN": "null"}),
    "mentioned, so not over it": ('status: {bind: "${FRAMESIFT_STATUS__BIND}"}', {"FRAMESIFT_STATUS__BIND": "[::1]:7"}),
    "of others": ("", {"FRAMESIFT_SPOOL__PATH": "/x", "FRAMESIFT_PORT": "tcp://10.0.0.1:80", "REDIS_PORT": "6379"}),
    "an anchor": ("x: &a {bind: 'localhost:9'}\nstatus: *a", {}),
}
UNUSUAL: dict[str, tuple[str, dict[str, str]]] = {
    "none": ("status: {bind: null}", {}),
    "null": ("status: null", {}),
    "a text": ("status: yes", {}),
    "another key": ('status: {bind: "127.0.0.1:9", tokn: x}', {}),
    "a number": ("status: {bind: 9464}", {}),
    "no port": ("status: {bind: 127.0.0.1}", {}),
    "no such port": ('status: {bind: "127.0.0.1:99999"}', {}),
    "no such address": ('status: {bind: "127.0.0.999:99"}', {}),
    "open to all": ('status: {bind: "0.0.0.0:9464"}', {}),
    "open by a variable": ("", {"FRAMESIFT_STATUS__BIND": "10.0.0.1:9"}),
    "a short token": ("status: {token: abc}", {}),
    "a token with a space": ('status: {token: "0123456789 0123456789"}', {}),
    "a number for a token": ("status: {token: 1234567890123456}", {}),
    "not set": ('status: {token: "${NOT_SET_HERE}"}', {}),
    "a key of a key": ("", {"FRAMESIFT_STATUS__TOKEN__X": "1"}),
    "an unknown key": ("", {"FRAMESIFT_STATUS__PORT": "1"}),
    "a block": ("", {"FRAMESIFT_STATUS": '{"bind": "127.0.0.1:3"}'}),
    "twice": ("status: {}\nstatus: {}", {}),
    "no YAML": ("status: {", {}),
    "no mapping": ("- status", {}),
    "other programs' variables": ("", {"REDIS_PORT": "http"}),
    "other programs' switches": ("", {"ACTIVE_LEARNING_ENABLED": "perhaps"}),
    "no such secret": ("", {"FRAMESIFT_STATUS__TOKEN_FILE": "nowhere"}),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(f"{TOKEN}\n")
    (tmp_path / "spool.db.lock").touch()
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "SAID").write_text(TOKEN)
    return tmp_path


def long_way(environ: dict[str, str]) -> alive.StatusTarget:
    options = load_block(find_settings_file(None, environ), environ, "status", StatusSettings)
    token = None if options.token is None else options.token.get_secret_value()
    return alive.StatusTarget(str(options.bind), token)


@pytest.mark.parametrize("name", USUAL)
def test_the_short_way_finds_whom_the_long_way_finds(folder: Path, name: str) -> None:
    text, environ = USUAL[name]
    (folder / "framesift.yaml").write_text(text if text.startswith(("x:", "status: *")) else OTHERS + text)
    assert alive.read_address(None, environ) == long_way(environ)


@pytest.mark.parametrize("name", UNUSUAL)
def test_the_short_way_never_knows_better_than_the_long_way(folder: Path, name: str) -> None:
    text, environ = UNUSUAL[name]
    (folder / "framesift.yaml").write_text(text if text.startswith(("- ", "status: {}\n")) else OTHERS + text)
    try:
        short = alive.read_address(None, environ)
    except ConfigError:
        short = None
    try:
        long: Any = long_way(environ)
    except ConfigError:
        long = None
    assert short in (None, long)
    assert long is None or long.bind == "None" or name in ("a block", "a key of a key")


def test_both_look_in_the_same_places_in_the_same_order(folder: Path) -> None:
    for number, name in enumerate(("a.yaml", "b.yaml", "framesift.yaml"), 1):
        (folder / name).write_text(f'status: {{bind: "127.0.0.1:{number}"}}')
    assert alive.read_address(Path("a.yaml"), {"FRAMESIFT_CONFIG": "b.yaml"}) == alive.StatusTarget("127.0.0.1:1", None)
    assert alive.read_address(None, {"FRAMESIFT_CONFIG": "b.yaml"}) == alive.StatusTarget("127.0.0.1:2", None)
    assert alive.read_address(None, {"FRAMESIFT_CONFIG": ""}) == alive.StatusTarget("127.0.0.1:3", None)
    (folder / "framesift.yaml").unlink()
    assert alive.read_address(None, {}, [Path("c.yaml"), Path("b.yaml")]) == alive.StatusTarget("127.0.0.1:2", None)


@pytest.mark.parametrize(
    ("words", "alive_is_asked"),
    [
        ("status --alive", True),
        ("status --alive --config {}", True),
        ("status -c {} --alive", True),
        ("status --config={} --alive", True),
        ("status", False),
        ("status --alive --json", False),
        ("status --alive --help", False),
        ("status --alive more", False),
        ("status --alive --config", False),
        ("status --alive --alive", False),
        ("status --alive --config {} --config {}", False),
        ("status --alive -c --alive", False),
        ("--version", False),
        ("spool list", False),
        ("", False),
    ],
)
def test_only_the_plain_question_is_answered_the_short_way(folder: Path, words: str, alive_is_asked: bool) -> None:
    with page() as shown:
        (folder / "framesift.yaml").write_text(f'status: {{bind: "127.0.0.1:{shown.server.port}"}}')
        assert alive.is_alive(words.format("framesift.yaml", "framesift.yaml").split(), {}) is alive_is_asked


def asked(folder: Path, port: int, more: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "framesift.yaml").write_text(f'status: {{bind: "127.0.0.1:{port}"{more}}}')
    return framesift(folder, "status", "--alive")


def test_its_exit_code_shows_whether_it_is_alive_and_a_line_why_not(folder: Path) -> None:
    with page() as shown:
        ended = asked(folder, shown.server.port)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        shown.hung = {"loop stream gate": "it has not moved for 51 s"}
        ended = asked(folder, shown.server.port)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "503" in ended.stderr
    ended = asked(folder, shown.server.port)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"no answer from 127.0.0.1:{shown.server.port}; is it running?" in ended.stderr
    ended = asked(folder, shown.server.port, ", nothing: like this")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "status.nothing" in ended.stderr


def test_the_token_is_shown_and_a_wrong_one_is_not_alive(folder: Path) -> None:
    with page(token=TOKEN) as shown:
        assert asked(folder, shown.server.port, f", token: {TOKEN}").returncode == 0
        assert asked(folder, shown.server.port, ", token: 0123456789abcdeX").returncode == 1
        assert asked(folder, shown.server.port).returncode == 1


@pytest.mark.parametrize(
    "answer",
    [OK.replace(b"200", b"204"), b"HTTP/1.1 2", b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 302 Found\r\n\r\n", bytes(5000)],
)
def test_only_a_plain_200_is_alive(folder: Path, answer: bytes) -> None:
    def talk(peer: Peer) -> None:
        peer.read()
        peer.send(answer)

    with RawServer(talk) as raw:
        (folder / "framesift.yaml").write_text(f'status: {{bind: "127.0.0.1:{raw.port}"}}')
        assert not alive.is_alive(["status", "--alive"], {})


def test_nothing_is_loaded_that_a_minute_is_too_short_for(folder: Path) -> None:
    code = (
        "import json, sys; sys.argv = ['framesift', 'status', '--alive']; from framesift.__main__ import main; main();"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    with page() as shown:
        (folder / "framesift.yaml").write_text(f'status: {{bind: "127.0.0.1:{shown.server.port}"}}')
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"typer", "rich", "pydantic", "pydantic_settings", "requests", "urllib3", "numpy", "cv2", "http", "email"}
    assert heavy & set(json.loads(done.stdout)) == set()


def test_a_port_that_nobody_holds_is_not_alive(folder: Path) -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        (folder / "framesift.yaml").write_text(f'status: {{bind: "127.0.0.1:{place.getsockname()[1]}"}}')
        assert not alive.is_alive(["status", "--alive"], {})


def test_what_a_command_has_loaded_is_not_searched_for_garbage_at_its_end() -> None:
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count()));"
        "sys.argv = ['framesift', '--version']; from framesift.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout.splitlines()[-1]) > 1000
