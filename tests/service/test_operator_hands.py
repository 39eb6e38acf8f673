"""What an operator makes a run do, on a real spool."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clocks import ManualClock
from framesift.frame import Frame, RefusalReason
from framesift.sampling.operator_requests import OperatorRequests
from framesift.service.operator_hands import OperatorHands, open_requests
from framesift.settings import Settings, load
from framesift.spool import Accepted, FinalOutcome
from framesift.status import ActionRefused, Operator
from framesift.telemetry import StreamAbsence, Telemetry
from rigs.daemon import write_configuration
from rigs.spools import make_spool, put

ALICE = Operator("alice", "127.0.0.1")


class Style:
    format = "json"
    level = "info"


def settings(folder: Path) -> Settings:
    write_configuration(folder, {"streams": [{"name": name, "source": f"{name}.mp4"} for name in ("gate", "yard")]})
    return load(folder / "framesift.yaml", {})


class Rig:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.spool = make_spool(folder, self.clock)
        self.spool.open()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, Style(), out=self.out)
        self.retried = threading.Event()
        self.folder = folder
        self.requests = self.started()
        self.hands = OperatorHands(self.requests, self.spool, self.telemetry, self.retried.set)

    def started(self) -> OperatorRequests:
        """What a run with these settings knows at its start."""
        return open_requests(settings(self.folder), self.clock, self.telemetry)

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


def test_a_pause_is_answered_logged_in_the_status_and_in_the_metrics_and_survives_a_restart(rig: Rig) -> None:
    now_s = rig.clock.now().wall_s
    answer = rig.hands.pause("gate", 3600.0, ALICE)
    assert answer == {"stream": "gate", "since_s": now_s, "until_s": now_s + 3600.0, "note": None}
    for requests in (rig.requests, rig.started()):
        assert requests.pauses.of("gate") is not None
        assert requests.pauses.of("yard") is None
        (shown,) = rig.telemetry.report().paused
        assert (shown.stream, shown.since_s, shown.until_s) == ("gate", now_s, now_s + 3600.0)
        assert shown.by == "alice at 127.0.0.1"
        text = rig.telemetry.metrics_text().decode()
        assert 'framesift_paused{stream="gate"} 1.0' in text
        assert 'framesift_paused{stream="yard"} 0.0' in text
    first, again = rig.events()
    assert (first["event"], first["stream"], first["until"], first["by"]) == (
        "stream_paused",
        "gate",
        "2026-09-10T13:00:00Z",
        "alice at 127.0.0.1",
    )
    assert again == first


def test_a_paused_stream_is_resumed_and_a_second_time_changes_nothing(rig: Rig) -> None:
    rig.hands.pause("gate", None, ALICE)
    assert rig.hands.resume("gate", ALICE) == {"stream": "gate", "was_paused": True, "note": None}
    assert rig.hands.resume("gate", ALICE) == {"stream": "gate", "was_paused": False, "note": None}
    assert rig.started().pauses.of("gate") is None
    assert [(line["event"], line["by"]) for line in rig.events()] == [
        ("stream_paused", "alice at 127.0.0.1"),
        ("stream_resumed", "alice at 127.0.0.1"),
    ]


def test_a_stream_that_does_not_exist_is_refused_with_the_names_of_those_that_do(rig: Rig) -> None:
    why = "there is no stream 'gates'; there are: gate, yard"
    with pytest.raises(ActionRefused, match=why) as refused:
        rig.hands.pause("gates", None, ALICE)
    assert refused.value.status == 404
    with pytest.raises(ActionRefused, match=why):
        rig.hands.resume("gates", ALICE)
    rig.requests.add_stream("gates", lambda: None)  # a client has named it
    rig.hands.pause("gates", None, ALICE)


def test_a_pause_that_can_not_be_kept_holds_all_the_same_and_the_answer_says_so(rig: Rig) -> None:
    (rig.folder / "spool.db.pauses").write_text("in the way")
    answer = rig.hands.pause(None, None, ALICE)
    assert "a restart will not know of it" in str(answer["note"])
    assert rig.requests.pauses.of("gate") is not None
    assert [line["event"] for line in rig.events()] == ["stream_paused", "pauses_not_saved"]


def test_a_file_of_pauses_that_can_not_be_read_ends_no_start(rig: Rig) -> None:
    rig.hands.pause("gate", None, ALICE)
    (rig.folder / "spool.db.pauses" / "pauses.json").write_text('{"own": 7}')
    assert rig.started().pauses.of("gate") is None
    assert [line["event"] for line in rig.events()] == ["stream_paused", "pauses_unreadable"]


def _ask(rig: Rig, stream: str, answers: list[Mapping[str, object]]) -> None:
    answers.append(rig.hands.take(stream, ALICE))


def taken(rig: Rig, answer: Accepted | RefusalReason) -> Mapping[str, object]:
    """What is answered to a take of the stream gate of which this becomes."""
    answers: list[Mapping[str, object]] = []
    asking = threading.Thread(target=_ask, args=(rig, "gate", answers))
    asking.start()
    assert rig.clock.until_waiting(1)
    frame = Frame("gate", 7, np.zeros((4, 4, 3), np.uint8), rig.clock.now())
    rig.requests.takes.claim(frame)
    rig.requests.takes.end(frame, answer)
    asking.join(20.0)
    return answers[0]


def test_what_is_taken_is_answered_with_its_id_or_with_the_reason_and_logged(rig: Rig) -> None:
    assert taken(rig, Accepted("0f4c", "manual")) == {
        "stream": "gate",
        "id": "0f4c",
        "strategy": "manual",
        "reason": None,
        "why": None,
    }
    assert taken(rig, RefusalReason.LIMIT) == {
        "stream": "gate",
        "id": None,
        "strategy": None,
        "reason": "limit",
        "why": "the limits of the strategy manual are reached",
    }
    one, other = rig.events()
    assert (one["event"], one["stream"], one["id"], one["by"]) == ("frame_taken", "gate", "0f4c", "alice at 127.0.0.1")
    assert (other["event"], other["reason"], other["by"]) == ("frame_not_taken", "limit", "alice at 127.0.0.1")


def test_of_a_paused_stream_or_one_whose_policy_is_off_nobody_waits_for_a_frame(rig: Rig) -> None:
    rig.requests.add_stream("yard", lambda: RefusalReason.DISABLED)
    assert rig.hands.take("yard", ALICE)["reason"] == "disabled"
    rig.requests.add_stream("yard", lambda: RefusalReason.PAUSED)  # of other models of the same clients
    assert rig.hands.take("yard", ALICE)["reason"] == "disabled"
    rig.hands.pause("gate", None, ALICE)
    assert rig.hands.take("gate", ALICE)["reason"] == "paused"
    with pytest.raises(ActionRefused, match="there is no stream 'gates'"):
        rig.hands.take("gates", ALICE)


def test_a_stream_that_is_away_is_named_with_the_reason_when_no_frame_has_come(rig: Rig) -> None:
    rig.telemetry.set_stream_up("gate", False)
    rig.telemetry.set_stream_away("gate", StreamAbsence("silent", "it does not answer", "is it on?"))
    for stream, reason, why in (
        ("gate", "away", "the stream gives no pictures: it does not answer"),
        ("yard", "no_frame", "the stream handed no frame to its model within 5 s"),
    ):
        answers: list[Mapping[str, object]] = []
        asking = threading.Thread(target=_ask, args=(rig, stream, answers))
        asking.start()
        assert rig.clock.until_waiting(1)
        rig.clock.advance(5.0)
        asking.join(20.0)
        assert (answers[0]["id"], answers[0]["reason"], answers[0]["why"]) == (None, reason, why)
