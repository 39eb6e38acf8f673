"""`framesift status`: what it prints of a daemon's answer, and of one of another version."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from framesift.cli.console import out
from framesift.cli.status_text import print_status
from rigs.daemon import framesift, write_configuration

FIELDS: dict[str, Any] = {
    "alive": True,
    "uptime_s": 61.4,
    "taken_at_s": 5000.0,
    "health": [
        {"name": "sink", "condition": "degraded", "why": "no answer"},
        {"name": "spool", "condition": "ok", "why": ""},
    ],
    "streams": [
        {
            "stream": "gate",
            "up": True,
            "frames_read": 12,
            "accepted": {"some": 3},
            "refused": {},
            "skipped": {"late": 2},
            "snapshots": {"snapshot": 2, "away": 1},
            "losses": 2,
            "last_loss": {"at_s": 4935.2, "why": "the reader was killed by SIGKILL"},
        },
        {
            "stream": "yard",
            "up": False,
            "frames_read": 0,
            "accepted": {},
            "refused": {},
            "skipped": {},
            "losses": 0,
            "last_loss": None,
            "away": {"reason": "refused", "why": "connection refused", "advice": "is it on?"},
        },
    ],
    "policies": [
        {
            "streams": ["gate"],
            "hash": None,
            "source": "https://example.com/p.json",
            "problem": "no answer within 4 s",
        },
        {
            "streams": [],
            "hash": "0123456789ab",
            "source": "policy.json",
            "enabled": True,
            "strategies": ["some"],
            "from_disk": True,
            "notes": ["a note"],
            "left_out": [],
        },
    ],
    "quota": {
        "granted_by": "away",
        "why": "no answer",
        "pending": 4,
        "used": [
            {"project": "p", "strategy": "some", "window": "daily", "used": 3, "limit": 9},
            {"project": "", "strategy": "few", "window": "hourly", "used": 2, "limit": 2},
        ],
    },
    "queue": {
        "ready": 1,
        "sending": 0,
        "registered": 0,
        "buried": 2,
        "size_bytes": 3 << 20,
        "log_bytes": 1 << 20,
        "max_bytes": 64 << 20,
        "outcomes": {"delivered": 5, "evicted": 0},
    },
}


def test_the_status_is_printed_with_health_streams_policies_quota_and_spool() -> None:
    with out.capture() as captured:
        print_status(FIELDS)
    text = captured.get()
    for line in (
        "alive yes, up for 0:01:01",
        "degraded sink: no answer",
        "policy of gate: none yet from https://example.com/p.json: no answer within 4 s",
        "policy 0123456789ab (policy.json, from the disk): some",
        "  note: a note",
        "quota is granted by: away (no answer); 4 datapoints wait for quota",
        "stream gate was lost 2 times, most recently 0:01:05 ago: the reader was killed by SIGKILL",
        "  p/some, daily: 3 of 9 used",
        "  few, hourly: 2 of 2 used: nothing more is accepted for it until the next hour",
        "pictures kept of gate: 2 snapshot, 1 away",
        "spool: 1 ready, 2 buried; 4.0 MiB of 64.0 MiB",
        "outcomes so far: 5 delivered",
    ):
        assert line in text.splitlines()
    assert "3 some" in text
    assert "2 late" in text
    assert "no (refused)" in text


def test_paused_streams_are_printed_with_their_end_and_who_asked() -> None:
    paused = [
        {"stream": "gate", "since_s": 1.0, "until_s": None, "by": "alice at 127.0.0.1"},
        {"stream": "yard", "since_s": 1.0, "until_s": 1_789_041_600.0, "by": "bob"},
    ]
    with out.capture() as captured:
        print_status({**FIELDS, "paused": paused})
    lines = captured.get().splitlines()
    assert "stream gate is paused until it is resumed, by alice at 127.0.0.1" in lines
    (yard,) = [line for line in lines if line.startswith("stream yard is paused until 2026-09-")]
    assert yard.endswith(", by bob")


@pytest.mark.parametrize("missing", ["quota", "policies", "queue"])
def test_a_field_that_another_version_does_not_have_is_an_error_for_the_caller(missing: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != missing}
    with pytest.raises(KeyError, match=missing), out.capture():
        print_status(fields)


def test_a_daemon_of_another_version_is_named_in_one_line(tmp_path: Path) -> None:
    body = json.dumps({"alive": True, "uptime_s": 1.0, "credits": None}).encode()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        threading.Thread(target=serve, daemon=True).start()
        write_configuration(tmp_path, {"status": {"bind": f"127.0.0.1:{listening.getsockname()[1]}"}})
        ran = framesift(tmp_path, "status")
    assert ran.returncode == 1
    assert ran.stderr == (
        "framesift: the running daemon has another version: its status has no 'health'; restart it, or use --json\n"
    )
