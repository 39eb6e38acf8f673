"""The settings of listeners: the kind follows from the upstream, and an explicit one must agree with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clocks import ManualClock
from framesift.listeners import ListenerSettings, create_listener
from framesift.listeners.ingest import IngestListener
from framesift.listeners.proxy import ProxyListener
from framesift.telemetry import Telemetry
from rigs.listeners import Style

UPSTREAM = {"upstream": "http://127.0.0.1:9002"}


def settings(**keys: Any) -> ListenerSettings:
    return ListenerSettings.model_validate_json(json.dumps(keys))


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({}, IngestListener),
        ({"type": "ingest"}, IngestListener),
        ({"type": "ingest", "upstream": None}, IngestListener),
        (UPSTREAM, ProxyListener),
        ({"type": "proxy", **UPSTREAM}, ProxyListener),
    ],
)
def test_a_listener_is_of_the_kind_that_its_settings_name(keys: dict[str, Any], kind: type, tmp_path: Path) -> None:
    clock = ManualClock()
    listener = create_listener(
        settings(**keys),
        intake_of=lambda stream: pytest.fail(f"asked for {stream} in {tmp_path}"),
        clock=clock,
        telemetry=Telemetry(clock, Style()),
        on_failure=lambda error: pytest.fail(str(error)),
    )
    assert isinstance(listener, kind)
    assert listener.name == "listener 127.0.0.1:9470"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"type": "proxy"}, "upstream: missing: a proxy needs the address of its inference server"),
        ({"type": "ingest", **UPSTREAM}, "upstream: a listener of type ingest has none"),
        ({"type": "door"}, "type"),
        ({"listen": "127.0.0.1:9002", **UPSTREAM}, "upstream: 127.0.0.1:9002 is the address of the listener itself"),
        ({"listen": "0.0.0.0:9470"}, "can be reached from outside this machine"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**keys)
