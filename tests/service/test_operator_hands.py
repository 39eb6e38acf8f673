"""What an operator makes a run do, on a real spool."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clocks import ManualClock
from framesift.service.operator_hands import OperatorHands
from framesift.spool import FinalOutcome
from framesift.status import ActionRefused, Operator
from framesift.telemetry import Telemetry
from rigs.spools import make_spool, put

ALICE = Operator("alice", "127.0.0.1")


class Style:
    format = "json"
    level = "info"


class Rig:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.spool = make_spool(folder, self.clock)
        self.spool.open()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, Style(), out=self.out)
        self.retried = threading.Event()
        self.hands = OperatorHands(self.spool, self.telemetry, self.retried.set)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close()


def test_datapoints_are_dropped_before_they_are_delivered_but_not_while_they_are_sent(rig: Rig) -> None:
    put(rig.spool, rig.clock, id="sent")
    rig.spool.claim(1)
    for id in ("a", "b"):
        put(rig.spool, rig.clock, id=id)
    answer = rig.hands.drop(("a", "nobody", "sent", "a"), ALICE)
    assert answer == {"dropped": ("a",), "unchanged": ("nobody", "sent")}
    assert [row.id for row in rig.spool.list_rows()] == ["sent", "b"]
    assert rig.spool.outcome_counts()[FinalOutcome.DROPPED] == 1
    (line,) = rig.events()
    assert (line["event"], line["count"], line["ids"], line["by"]) == (
        "datapoints_dropped",
        1,
        ["a"],
        "alice at 127.0.0.1",
    )


def test_a_buried_datapoint_is_tried_again_at_once_with_all_its_attempts(rig: Rig) -> None:
    put(rig.spool, rig.clock, id="a")
    rig.spool.claim(1)
    rig.spool.bury("a", "the sink chokes", refund=True)
    put(rig.spool, rig.clock, id="ready")
    assert rig.hands.retry(("a", "ready", "nobody"), ALICE) == {"retried": ("a",), "unchanged": ("ready", "nobody")}
    assert rig.retried.is_set()
    assert [(item.id, item.attempts) for item in rig.spool.claim(9).items] == [("a", 1), ("ready", 1)]
    assert [(line["event"], line["ids"]) for line in rig.events()] == [("datapoints_retried", ["a"])]


def test_what_changes_nothing_wakes_nobody_and_is_not_logged(rig: Rig) -> None:
    rig.hands.retry(("nobody",), ALICE)
    rig.hands.drop(("nobody",), ALICE)
    assert not rig.retried.is_set()
    assert rig.events() == []


def test_a_spool_that_can_not_be_written_to_is_said(rig: Rig) -> None:
    put(rig.spool, rig.clock, id="a")
    rig.spool.close()
    with pytest.raises(ActionRefused, match="the spool can't be written to") as refused:
        rig.hands.drop(("a",), ALICE)
    assert refused.value.status == 503
