"""Frames that an operator takes by hand: which frame it is, what may keep it out, and who is charged.

The threads that ask wait by a clock that only the test moves.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framesift.frame import Frame, RefusalReason
from framesift.policy.policy import Policy, parse
from framesift.privacy.privacy_settings import PrivacySettings
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.intake import Intake
from framesift.sampling.intake_decision import IntakeDecision
from framesift.sampling.takes import DECIDED_WITHIN_S, TAKE_WITHIN_S, TakeRefusal
from framesift.spool import Accepted
from sampling.test_earlier_frames import FLICKER, UNSURE, Rig, Snapshots, car
from sampling_data import stub

# It wants nothing that is shown here.
NOTHING: dict[str, Any] = {"name": "nothing", "type": "random", "traffic_percentage": 0}


def policy(*strategies: dict[str, Any], **more: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": strategies or [NOTHING],
        **more,
    }
    return parse(json.dumps(whole), "policy.json")


class Asking:
    """Somebody who takes a frame, in a thread of their own; they wait when this is made."""

    def __init__(self, rig: Rig, intake: Intake, stream: str = "gate") -> None:
        self.answer: Accepted | TakeRefusal | None = None
        waiting = rig.clock.waiting()
        self._thread = threading.Thread(target=self._ask, args=(intake, stream))
        self._thread.start()
        assert rig.clock.until_waiting(waiting + 1)

    def _ask(self, intake: Intake, stream: str) -> None:
        self.answer = intake.requests.takes.take(stream)

    def end(self) -> Accepted | TakeRefusal:
        """The answer, which must come although no time passes."""
        self._thread.join(20.0)
        assert self.answer is not None, "nobody has answered"
        return self.answer


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close(5.0)
    rig.telemetry.close()


def show(rig: Rig, intake: Intake, confidence: float | None = 0.9, stream: str = "gate") -> IntakeDecision:
    """A frame is handed to the model, and is decided on."""
    rig.clock.advance(0.04)
    rig.slot[:] = 10 + 5 * rig.number
    frame = Frame(stream, rig.number, rig.slot, rig.clock.now())
    rig.number += 1
    intake.requests.takes.claim(frame)
    return intake.offer(frame, car(confidence))


def test_the_next_frame_is_taken_whatever_it_shows_and_only_that_one(rig: Rig) -> None:
    everything = {"name": "all", "type": "random", "traffic_percentage": 1, "near_duplicate": {"threshold": 1.0}}
    intake = rig.intake(policy(everything, manual={"tags": ["by-hand"]}, tags=["fleet"]))
    first = show(rig, intake)
    assert show(rig, intake).refusal is RefusalReason.NEAR_DUPLICATE
    asking = Asking(rig, intake)
    decision = show(rig, intake)
    answer = asking.end()
    assert isinstance(answer, Accepted)
    assert (answer.strategy, decision.accepted, decision.matched) == ("manual", answer, ("manual",))
    assert show(rig, intake).refusal is RefusalReason.NEAR_DUPLICATE
    one, taken = sorted(rig.spool.claim(9).items, key=lambda item: item.frame)
    assert first.accepted is not None
    assert (one.id, taken.id, taken.frame, taken.strategy) == (first.accepted.id, answer.id, 2, "manual")
    assert taken.tags == ("fleet", "by-hand", "gate-7")
    assert rig.counted == {"all": 1, "manual": 1, "near_duplicate": 2}
    assert rig.telemetry.report().matched == {"all": 1, "manual": 1}


def test_a_frame_that_waits_for_its_turn_elsewhere_is_taken_at_once_outside_of_all_hours_and_zones(rig: Rig) -> None:
    held = {
        "name": "best",
        "type": "random",
        "traffic_percentage": 1,
        "limits": [{"type": "daily", "value": 1}],
        "pacing": {"mode": "adaptive_threshold"},
        "hours": ["00:00-00:01"],
    }
    intake = rig.intake(policy(held, pacing={"mode": "none"}))
    asking = Asking(rig, intake)
    show(rig, intake)
    answer = asking.end()
    assert isinstance(answer, Accepted)
    assert answer.strategy == "manual"


def test_what_is_taken_is_charged_to_the_limits_of_the_policys_manual(rig: Rig) -> None:
    intake = rig.intake(policy(manual={"limits": [{"type": "daily", "value": 1}]}))
    for expected in ("manual", TakeRefusal.LIMIT):
        asking = Asking(rig, intake)
        show(rig, intake)
        answer = asking.end()
        assert (answer.strategy if isinstance(answer, Accepted) else answer) == expected
    assert rig.counted == {"manual": 1, "limit": 1}


def test_where_its_limits_are_reached_a_strategy_that_wants_the_frame_too_is_charged(rig: Rig) -> None:
    none = {"limits": [{"type": "daily", "value": 0}]}
    intake = rig.intake(policy({**UNSURE, "name": "unsure"}, manual=none))
    asking = Asking(rig, intake)
    show(rig, intake, 0.5)
    answer = asking.end()
    assert isinstance(answer, Accepted)
    assert answer.strategy == "unsure"


def test_twenty_an_hour_and_fifty_a_day_are_the_limits_of_a_policy_that_says_nothing() -> None:
    assert {limit.type: limit.value for limit in policy().manual.limits} == {"hourly": 20, "daily": 50}


def test_a_strategy_of_that_name_keeps_its_own_limits_and_tags(rig: Rig) -> None:
    own = {**NOTHING, "name": "manual", "limits": [{"type": "daily", "value": 1}], "tags": ["own"]}
    intake = rig.intake(policy(own, manual={"limits": [], "tags": ["by-hand"]}))
    answers = []
    for _ in range(2):
        asking = Asking(rig, intake)
        show(rig, intake)
        answers.append(asking.end())
    assert isinstance(answers[0], Accepted)
    assert answers[1] is TakeRefusal.LIMIT
    (item,) = rig.spool.claim(9).items
    assert item.tags[0] == "own"


def test_two_who_ask_at_the_same_moment_get_one_frame_and_one_who_asks_again_another(rig: Rig) -> None:
    intake = rig.intake(policy())
    both = [Asking(rig, intake) for _ in range(2)]
    show(rig, intake)
    show(rig, intake)
    first, second = (asking.end() for asking in both)
    assert isinstance(first, Accepted)
    assert first == second
    again = Asking(rig, intake)
    show(rig, intake)
    assert again.end() != first
    assert rig.counted == {"manual": 2, "no_match": 1}


def test_a_take_is_for_one_stream(rig: Rig) -> None:
    intake = rig.intake(policy())
    asking = Asking(rig, intake, "yard")
    assert show(rig, intake).refusal is RefusalReason.NO_MATCH
    show(rig, intake, stream="yard")
    assert isinstance(asking.end(), Accepted)


def test_without_a_frame_within_five_seconds_nothing_is_taken_later(rig: Rig) -> None:
    intake = rig.intake(policy())
    asking = Asking(rig, intake)
    rig.clock.advance(TAKE_WITHIN_S - 0.1)
    late = Asking(rig, intake)  # another one joins, with five seconds of their own
    rig.clock.advance(0.1)
    assert asking.end() is TakeRefusal.NO_FRAME
    rig.clock.advance(TAKE_WITHIN_S)
    assert late.end() is TakeRefusal.NO_FRAME
    assert show(rig, intake).refusal is RefusalReason.NO_MATCH


def test_a_model_that_is_slow_has_its_time_and_a_frame_that_never_comes_back_is_said(rig: Rig) -> None:
    intake = rig.intake(policy())
    frame = Frame("gate", 7, rig.slot, rig.clock.now())
    asking = Asking(rig, intake)
    intake.requests.takes.claim(frame)
    rig.clock.advance(TAKE_WITHIN_S + DECIDED_WITHIN_S - 0.1)
    intake.offer(frame, car(0.9))
    assert isinstance(asking.end(), Accepted)
    asking = Asking(rig, intake)
    intake.requests.takes.claim(frame)
    rig.clock.advance(TAKE_WITHIN_S + DECIDED_WITHIN_S)
    assert asking.end() is TakeRefusal.UNFINISHED
    again = Asking(rig, intake)  # not the frame that was given up
    show(rig, intake)
    assert isinstance(again.end(), Accepted)


def test_a_frame_that_could_not_be_decided_on_gives_its_place_to_the_next_one(rig: Rig) -> None:
    intake = rig.intake(policy())
    asking = Asking(rig, intake)
    broken = Frame("gate", 99, rig.slot, rig.clock.now())
    intake.requests.takes.claim(broken)
    intake.requests.takes.release(broken)
    show(rig, intake)
    assert isinstance(asking.end(), Accepted)


def test_a_frame_that_can_not_be_masked_is_not_taken(rig: Rig) -> None:
    privacy = StreamPrivacy(PrivacySettings.model_validate_json('{"classes": ["person"], "over_time_s": 0}'))
    intake = rig.intake(policy(), privacy=privacy)
    asking = Asking(rig, intake)
    rig.clock.advance(0.04)
    frame = Frame("gate", 0, rig.slot, rig.clock.now())
    intake.requests.takes.claim(frame)
    intake.offer(frame, stub())
    assert asking.end() is TakeRefusal.UNMASKED
    assert rig.counted == {"unmasked": 1}


def test_the_answer_comes_when_the_frame_with_its_snapshot_is_stored(rig: Rig) -> None:
    intake = rig.intake(policy(), snapshots=Snapshots(rig.clock))
    asking = Asking(rig, intake)
    assert show(rig, intake).accepted is None  # it waits beside the stream's loop
    answer = asking.end()
    assert isinstance(answer, Accepted)
    assert [item.id for item in rig.spool.claim(9).items] == [answer.id]
    intake.end_stream()


def test_a_strategy_that_looks_back_never_makes_a_second_datapoint_of_a_taken_frame(rig: Rig) -> None:
    intake = rig.intake(policy({**FLICKER, "name": "flicker"}))
    show(rig, intake)
    asking = Asking(rig, intake)
    show(rig, intake, None)
    assert isinstance(asking.end(), Accepted)
    show(rig, intake)
    show(rig, intake)
    intake.end_stream()
    assert rig.counted == {"manual": 1, "no_match": 3}


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_refusal_of_a_frame_is_an_answer_with_a_meaning(rig: Rig, reason: RefusalReason) -> None:
    intake = rig.intake(policy())
    asking = Asking(rig, intake)
    frame = Frame("gate", 0, rig.slot, rig.clock.now())
    intake.requests.takes.claim(frame)
    intake.requests.takes.end(frame, reason)
    answer = asking.end()
    assert isinstance(answer, TakeRefusal)
    assert answer.meaning
    never = {RefusalReason.NO_MATCH, RefusalReason.NEAR_DUPLICATE, RefusalReason.OUTSCORED, RefusalReason.MIN_INTERVAL}
    assert answer.value == ("limit" if reason in never else reason.value)
