"""Two daemons and one status address: `status` and `--alive` never take one for the other."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from framesift.cli import alive
from framesift.cli.expected_daemon import ExpectedDaemon
from framesift.status import DaemonIdentity
from rigs.daemon import Daemon, framesift, free_address, write_configuration
from rigs.footage import numbered_clip


def configure(folder: Path, bind: str, **settings: Any) -> None:
    folder.mkdir()
    numbered_clip(folder / "clip.mp4", frames=5)
    clip = {"name": "gate", "source": "clip.mp4", "loop": True, "fps": 5}
    write_configuration(folder, {"streams": [clip], "status": {"bind": bind}, **settings})


@contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    with Daemon(folder) as daemon:
        daemon.wait_for("ready")
        yield daemon


def is_alive_the_short_way(folder: Path) -> bool:
    return alive.is_alive(["status", "--alive", "--config", str(folder / "framesift.yaml")], dict(os.environ))


def test_the_status_says_of_which_device_it_is(tmp_path: Path) -> None:
    configure(tmp_path / "ours", free_address(), device="gate-7")
    with running(tmp_path / "ours") as daemon:
        shown = framesift(tmp_path / "ours", "status")
        as_json = framesift(tmp_path / "ours", "status", "--json")
        assert is_alive_the_short_way(tmp_path / "ours")
    assert (shown.returncode, shown.stderr) == (0, "")
    settings = tmp_path / "ours" / "framesift.yaml"
    assert shown.stdout.startswith(f"device gate-7 (process {daemon.process.pid}, settings {settings})\n")
    fields = json.loads(as_json.stdout)
    assert (fields["device"], fields["settings"]) == ("gate-7", str(settings))


def test_another_daemon_is_refused_and_both_are_named(tmp_path: Path) -> None:
    bind = free_address()
    configure(tmp_path / "theirs", bind, device="gate-7")
    configure(tmp_path / "ours", bind, device="gate-8")
    with running(tmp_path / "theirs"):
        for words in ([], ["--json"], ["--alive"]):
            refused = framesift(tmp_path / "ours", "status", *words)
            assert (refused.returncode, refused.stdout) == (1, ""), words
            (line,) = refused.stderr.splitlines()
            for device, folder in (("gate-7", "theirs"), ("gate-8", "ours")):
                place = tmp_path / folder
                assert f"device {device}, settings {place / 'framesift.yaml'}, spool {place / 'spool.db'}" in line
            assert "give each daemon a status.bind of its own" in line
        assert not is_alive_the_short_way(tmp_path / "ours")
        assert is_alive_the_short_way(tmp_path / "theirs")


def test_a_daemon_whose_settings_were_changed_since_is_still_the_one_and_a_note_says_what_differs(
    tmp_path: Path,
) -> None:
    bind = free_address()
    configure(tmp_path / "ours", bind, device="gate-7")
    with running(tmp_path / "ours"):
        shown = framesift(tmp_path / "ours", "status", FRAMESIFT_DEVICE="gate-8")
        assert shown.returncode == 0
        assert shown.stderr == (
            "note: the running daemon's device is gate-7, and the settings say gate-8: "
            "were they changed since its start?\n"
        )
        checked = framesift(tmp_path / "ours", "check", FRAMESIFT_DEVICE="gate-8", COLUMNS="2000")
        assert checked.returncode == 0, checked.stdout
        assert "the running daemon's device is gate-7" in checked.stdout


def test_what_is_no_framesift_is_said_to_be_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>")

        threading.Thread(target=serve, daemon=True).start()
        bind = f"127.0.0.1:{listening.getsockname()[1]}"
        configure(tmp_path / "ours", bind)
        shown = framesift(tmp_path / "ours", "status")
    assert shown.returncode == 1
    assert f"what answers at {bind} is no framesift" in shown.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "spool.db.lock").touch()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "spool.db.lock").touch()
    return tmp_path


def says(place: Path, **changes: Any) -> dict[str, Any]:
    """What a daemon says that runs with the settings of `place`, and what it would say otherwise."""
    return {**DaemonIdentity("gate-7", place / "framesift.yaml", place / "state" / "spool.db").as_fields(), **changes}


@pytest.mark.parametrize(
    ("changes", "is_refused", "is_noted"),
    [
        ({}, False, False),
        ({"settings": "/etc/other.yaml"}, False, False),  # the same spool, by another settings file
        ({"device": "gate-8"}, False, True),
        ({"spool": "/by/another/path.db"}, False, True),  # the same file: a mount, seen from elsewhere
        ({"spool_id": "1:2"}, True, False),  # the same paths in another container
        ({"spool": "/other/spool.db", "spool_id": "1:2"}, True, False),
        ({"spool": "/other/spool.db", "spool_id": None}, True, False),
        ({"spool_id": None}, False, False),
        ({"spool_id": None, "device": "gate-8"}, False, True),
        ({"spool_id": None, "settings": "/etc/other.yaml"}, False, False),
        ({"spool_id": None, "settings": "/etc/other.yaml", "device": "gate-8"}, True, False),
    ],
)
def test_the_spool_decides_and_where_it_cannot_be_seen_the_paths(
    place: Path, changes: dict[str, Any], is_refused: bool, is_noted: bool
) -> None:
    ours = ExpectedDaemon(place / "framesift.yaml", "gate-7", place / "state" / "spool.db")
    compared = ours.compare(says(place, **changes))
    assert (compared.refusal is not None, compared.note is not None) == (is_refused, is_noted)


@pytest.mark.parametrize(("changes", "is_refused"), [({}, False), ({"settings": "/x"}, True), ({"device": "x"}, True)])
def test_a_daemon_of_systemd_is_the_one_though_a_shell_has_no_state_folder(
    place: Path, changes: dict[str, Any], is_refused: bool
) -> None:
    ours = ExpectedDaemon(place / "framesift.yaml", "gate-7", place / "spool.db")
    assert (ours.compare(says(place, **changes)).refusal is not None) == is_refused


def test_settings_that_name_a_variable_of_the_daemon_alone_are_compared_by_their_path(place: Path) -> None:
    (place / "framesift.yaml").write_text("device: gate-7\nspool: {path: '${NOT_SET_HERE}/spool.db'}\n")
    ours = ExpectedDaemon.read(place / "framesift.yaml", {})
    assert (ours.device, ours.spool) == ("gate-7", None)
    assert ours.compare(says(place)).refusal is None
    assert ours.compare(says(place, settings="/etc/other.yaml")).refusal is not None


def test_an_older_daemon_is_shown_with_a_note_unless_its_spool_is_another(place: Path) -> None:
    ours = ExpectedDaemon(place / "framesift.yaml", "gate-7", place / "state" / "spool.db")
    older = {"pid": 7, "spool": str(place / "state" / "spool.db")}
    assert "older version" in str(ours.compare(older).note)
    assert ours.compare({**older, "spool": "/other/spool.db"}).refusal is not None
    assert "older version" in str(ours.compare({}).note)


def test_where_no_daemon_runs_the_status_says_how_to_start_one(tmp_path: Path) -> None:
    bind = free_address()
    configure(tmp_path / "ours", bind)
    shown = framesift(tmp_path / "ours", "status")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == (
        f"framesift: no answer from {bind}; is it running? Start it with `framesift run`, "
        "or `systemctl start framesift`; if it has ended, the end of its log says why (`journalctl -u framesift`)\n"
    )


def test_a_daemon_that_runs_without_its_page_is_named(tmp_path: Path) -> None:
    configure(tmp_path / "ours", free_address())
    with Daemon(tmp_path / "ours", FRAMESIFT_STATUS__BIND="null") as daemon:
        daemon.wait_for("ready")
        shown = framesift(tmp_path / "ours", "status")
    assert shown.returncode == 1
    assert f"process {daemon.process.pid} (" in shown.stderr
    assert "has no status page, or another one" in shown.stderr


def test_a_wrong_token_is_said_to_be_wrong(tmp_path: Path) -> None:
    bind = free_address()
    configure(tmp_path / "ours", bind)
    with Daemon(tmp_path / "ours", FRAMESIFT_STATUS__TOKEN="0123456789abcdef") as daemon:
        daemon.wait_for("ready")
        shown = framesift(tmp_path / "ours", "status")
    assert shown.returncode == 1
    assert "another status.token than these settings have, or another daemon has this port" in shown.stderr
