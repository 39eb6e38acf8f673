"""Sampling: decisions in the policy's order, random draws that can be repeated, and the memory of a stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from framesift.frame import Frame, Pixels, RefusalReason
from framesift.policy.policy import Policy, parse
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.sampler import Sampler, SamplingDecision
from sampling_data import frame, objects

ALL: dict[str, Any] = {"type": "random", "traffic_percentage": 1}
HALF: dict[str, Any] = {"type": "random", "traffic_percentage": 0.5}
NONE: dict[str, Any] = {"type": "random", "traffic_percentage": 0}
UNSURE: dict[str, Any] = {"type": "uncertainty"}
FAULTY = str(Path(__file__).parents[1] / "rigs" / "faulty")
ALIKE = {"threshold": 0.05, "memory": 8}
# A frame whose signature cannot be computed: whoever tries fails.
NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


def policy(*strategies: dict[str, Any], **fields: Any) -> Policy:
    named = [{"name": chr(ord("a") + i), **fields} for i, fields in enumerate(strategies)]
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": named,
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def sampler(
    *strategies: dict[str, Any],
    seed: int = 0,
    stream: str = "gate",
    accepted: AcceptedFrames | None = None,
    **fields: Any,
) -> Sampler:
    return Sampler(stream, policy(*strategies, **fields), seed=seed, accepted=accepted or AcceptedFrames())


def scene(column: int) -> Pixels:
    """A grey picture with one white column of sixteen: any two of them are 2/16 apart."""
    picture = np.full((24, 32, 3), 100, np.uint8)
    picture[:, 2 * column : 2 * column + 2] = 255
    return picture


def names(decision: SamplingDecision) -> str:
    return "".join(match.strategy for match in decision.matches)


def accept(one: Sampler, shown: Frame) -> SamplingDecision:
    """Decides on a frame, and records it as accepted if anything matched."""
    decision = one.decide(shown, objects())
    if decision.matches:
        one.record_accepted(shown, objects(), decision)
    return decision


# Decisions


def test_a_strategy_that_fails_counts_as_no_match_and_the_others_go_on() -> None:
    fails = {"type": "python", "factory": "faulty_rules:FailsOnObjects", "path": FAULTY}
    decision = sampler(ALL, fails, ALL).decide(frame(), objects(("car", 0.5)))
    assert names(decision) == "ac"
    (failure,) = decision.failures
    assert (failure.strategy, failure.reason) == ("b", "LookupError: no such object")
    alone = sampler(fails)
    assert alone.decide(frame(), objects(("car", 0.5))).refusal is RefusalReason.NO_MATCH
    assert names(alone.decide(frame(), objects())) == "a"


def test_matches_stand_in_the_policys_order_with_their_scores() -> None:
    decision = sampler(ALL, NONE, UNSURE, ALL).decide(frame(), objects(("car", 0.5)))
    assert [(match.strategy, match.score) for match in decision.matches] == [("a", None), ("c", 1.0), ("d", None)]
    assert decision.refusal is None


def test_a_frame_that_nobody_wants_is_refused_by_name() -> None:
    decision = sampler(NONE, UNSURE).decide(frame(), objects())
    assert (decision.matches, decision.refusal) == ((), RefusalReason.NO_MATCH)


def test_a_disabled_policy_wants_nothing() -> None:
    off = Sampler("gate", parse('{"enabled": false}', "p"), seed=0, accepted=AcceptedFrames())
    assert off.decide(frame(), objects()).refusal is RefusalReason.DISABLED
    both = sampler(ALL, enabled=False)
    assert both.decide(frame(), objects()).refusal is RefusalReason.DISABLED


def test_accepted_frames_are_counted_for_all_streams() -> None:
    shared = AcceptedFrames()
    balanced = {**UNSURE, "class_balance": True}
    one, other = (sampler(balanced, stream=name, accepted=shared) for name in ("gate", "yard"))
    prediction = objects(("car", 0.5))
    decision = one.decide(frame(), prediction)
    assert decision.matches[0].score == 1.0
    for _ in range(3):
        one.record_accepted(frame(), prediction, decision)
    assert other.decide(frame(stream="yard"), prediction).matches[0].score == pytest.approx(0.5)


# Random draws


def pattern(one: Sampler, count: int = 200) -> str:
    return " ".join(names(one.decide(frame(number=i), objects(("car", 0.5)))) for i in range(count))


def test_the_same_seed_stream_and_name_draw_the_same() -> None:
    assert pattern(sampler(HALF, HALF)) == pattern(sampler(HALF, HALF))


@pytest.mark.parametrize("other", [{"seed": 1}, {"stream": "yard"}])
def test_another_seed_or_stream_draws_otherwise(other: dict[str, Any]) -> None:
    assert pattern(sampler(HALF)) != pattern(sampler(HALF, **other))


def test_strategies_of_one_stream_draw_apart() -> None:
    together = pattern(sampler(HALF, HALF)).split(" ")
    assert {"", "a", "b", "ab"} == set(together)


def test_a_strategys_draws_depend_on_its_name_and_not_on_its_place() -> None:
    alone = pattern(sampler({**HALF, "name": "b"}))
    beside = pattern(sampler(NONE, HALF))
    assert alone == beside


def test_draws_are_the_same_in_every_process(tmp_path: Path) -> None:
    script = tmp_path / "draws.py"
    script.write_text(
        "import sampling.test_sampler as t\nprint(t.pattern(t.sampler(t.HALF, t.HALF)))\n", encoding="utf-8"
    )
    environ = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run([sys.executable, script], env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.rstrip("\n") == pattern(sampler(HALF, HALF))


def test_a_frame_whose_pixels_are_broken_draws_as_any_other() -> None:
    known = {**ALL, "near_duplicate": ALIKE}
    whole, broken = sampler(known, HALF), sampler(known, HALF)
    whole.decide(frame(), objects())
    with pytest.raises(cv2.error):
        broken.decide(frame(NO_PIXELS), objects())
    assert pattern(broken) == pattern(whole)


def test_draws_do_not_depend_on_what_others_matched_or_what_was_accepted() -> None:
    plain = pattern(sampler(NONE, HALF))
    busy = sampler({**ALL, "near_duplicate": ALIKE}, HALF)
    seen = []
    for i in range(200):
        shown = frame(scene(i % 16), number=i)
        decision = busy.decide(shown, objects())
        if i % 3 == 0:
            busy.record_accepted(shown, objects(), decision)
        seen.append(names(decision).replace("a", ""))
    assert " ".join(seen) == plain


# Near duplicates


def test_a_frame_like_an_accepted_one_is_refused_by_name() -> None:
    one = sampler({**ALL, "near_duplicate": ALIKE})
    assert names(accept(one, frame(scene(3)))) == "a"
    decision = one.decide(frame(scene(3)), objects())
    assert (decision.matches, decision.refusal) == ((), RefusalReason.NEAR_DUPLICATE)
    assert names(one.decide(frame(scene(4)), objects())) == "a"


def test_a_frame_that_was_not_accepted_is_not_stored() -> None:
    one = sampler({**ALL, "near_duplicate": ALIKE})
    for _ in range(3):
        assert names(one.decide(frame(scene(3)), objects())) == "a"


def test_no_match_is_not_called_a_near_duplicate() -> None:
    one = sampler({**UNSURE, "near_duplicate": ALIKE})
    decision = one.decide(frame(scene(3)), objects(("car", 0.5)))
    one.record_accepted(frame(scene(3)), objects(("car", 0.5)), decision)
    assert one.decide(frame(scene(3)), objects()).refusal is RefusalReason.NO_MATCH
    assert one.decide(frame(scene(3)), objects(("car", 0.5))).refusal is RefusalReason.NEAR_DUPLICATE


def test_strategies_without_the_option_still_want_a_near_duplicate() -> None:
    one = sampler({**ALL, "near_duplicate": ALIKE}, ALL, {**ALL, "near_duplicate": ALIKE})
    assert names(accept(one, frame(scene(3)))) == "abc"
    assert names(one.decide(frame(scene(3)), objects())) == "b"


def test_what_one_strategy_collected_is_stored_for_all() -> None:
    one = sampler(ALL, {**UNSURE, "near_duplicate": ALIKE})
    shown = frame(scene(3))
    decision = one.decide(shown, objects())
    assert names(decision) == "a"
    one.record_accepted(shown, objects(), decision)
    assert names(one.decide(shown, objects(("car", 0.5)))) == "a"


def test_each_strategy_has_its_own_threshold_and_memory() -> None:
    one = sampler(
        {**ALL, "near_duplicate": {"threshold": 0.0, "memory": 8}},
        {**ALL, "near_duplicate": {"threshold": 0.5, "memory": 8}},
        {**ALL, "near_duplicate": {"threshold": 0.0, "memory": 1}},
    )
    for column in (3, 4):
        shown = frame(scene(column))
        one.record_accepted(shown, objects(), one.decide(shown, objects()))
    assert names(one.decide(frame(scene(5)), objects())) == "ac"
    assert names(one.decide(frame(scene(3)), objects())) == "c"


def test_the_policys_option_holds_for_strategies_that_have_none_and_null_switches_it_off() -> None:
    one = sampler(
        ALL, {**ALL, "near_duplicate": None}, {**ALL, "near_duplicate": {"threshold": 0.0}}, near_duplicate=ALIKE
    )
    accept(one, frame(scene(3)))
    assert names(one.decide(frame(scene(3)), objects())) == "b"
    slightly_other = scene(3)
    slightly_other[0, 0] = 0
    assert names(one.decide(frame(slightly_other), objects())) == "bc"


def test_streams_do_not_share_what_they_saw() -> None:
    gate, yard = (sampler({**ALL, "near_duplicate": ALIKE}, stream=name) for name in ("gate", "yard"))
    accept(gate, frame(scene(3)))
    assert names(yard.decide(frame(scene(3), stream="yard"), objects())) == "a"


def test_no_signature_is_made_where_no_strategy_asks_for_one() -> None:
    one = sampler(ALL)
    decision = one.decide(frame(NO_PIXELS), objects())
    one.record_accepted(frame(NO_PIXELS), objects(), decision)
    assert decision.signature is None


def test_no_signature_is_made_of_a_frame_that_nobody_wants() -> None:
    one = sampler({**NONE, "near_duplicate": ALIKE})
    assert one.decide(frame(NO_PIXELS), objects()).refusal is RefusalReason.NO_MATCH


def test_the_decisions_signature_is_the_one_that_is_stored() -> None:
    one = sampler({**ALL, "near_duplicate": ALIKE})
    decision = one.decide(frame(scene(3)), objects())
    one.record_accepted(frame(NO_PIXELS), objects(), decision)
    assert one.decide(frame(scene(3)), objects()).refusal is RefusalReason.NEAR_DUPLICATE


def test_memory_survives_a_reconnection() -> None:
    one = sampler({**ALL, "near_duplicate": ALIKE})
    accept(one, frame(scene(3), epoch=0))
    assert one.decide(frame(scene(3), epoch=1), objects()).refusal is RefusalReason.NEAR_DUPLICATE


# The learnt threshold


def noisy(number: int, by: int, *, epoch: int = 0) -> Frame:
    """Every second frame has half of its cells (beside the median) lighter by `by` of 255."""
    picture = np.full((24, 32, 3), 100, np.uint8)
    picture[:10] += np.uint8(by * (number % 2))
    return frame(picture, number=number, epoch=epoch)


def learnt(one: Sampler) -> list[int]:
    """The shades in which a picture's upper part may differ from an accepted one and still be like it."""
    accept(one, frame(np.full((24, 32, 3), 100, np.uint8)))
    alike = []
    for by in range(1, 40):
        picture = np.full((24, 32, 3), 100, np.uint8)
        picture[:10] += np.uint8(by)
        if not one.decide(frame(picture), objects()).matches:
            alike.append(by)
    return alike


def test_auto_learns_from_every_frame_even_if_no_strategy_wants_it() -> None:
    rarely = {"type": "uncertainty", "near_duplicate": {}}
    one = sampler(rarely, {**ALL, "near_duplicate": {}})
    untaught = learnt(sampler({**ALL, "near_duplicate": {}}))
    for i in range(501):
        one.decide(noisy(i, 20), objects())
    # A step of 20 in ten of 24 rows is a distance of 0.0327; 1.2 of that is a step of 24. The first guess is 7.
    assert (max(learnt(one)), max(untaught)) == (24, 7)


def test_a_frame_that_only_teaches_is_no_near_duplicate() -> None:
    one = sampler({**NONE, "near_duplicate": {}})
    assert one.decide(noisy(0, 20), objects()).refusal is RefusalReason.NO_MATCH


def test_auto_does_not_learn_across_a_reconnection() -> None:
    one = sampler({**ALL, "near_duplicate": {}})
    for i in range(2000):
        one.decide(noisy(i, 20, epoch=i // 2), objects())
    assert max(learnt(one)) == 7


def test_a_calibrated_stream_makes_no_more_signatures_than_it_needs() -> None:
    one = sampler({**NONE, "near_duplicate": {}})
    for i in range(501):
        one.decide(noisy(i, 20), objects())
    assert one.decide(frame(NO_PIXELS), objects()).refusal is RefusalReason.NO_MATCH


# A new policy


def test_a_new_policy_adopts_what_was_accepted() -> None:
    old = sampler({**ALL, "near_duplicate": ALIKE})
    for column in range(6):
        accept(old, frame(scene(column)))
    new = sampler({**ALL, "near_duplicate": {"threshold": 0.01, "memory": 4}}, near_duplicate={"memory": 100})
    new.copy_state_from(old)
    known = [column for column in range(16) if not new.decide(frame(scene(column)), objects()).matches]
    assert known == [2, 3, 4, 5]


def test_of_several_memories_the_fullest_is_adopted() -> None:
    old = sampler({**ALL, "near_duplicate": {**ALIKE, "memory": 2}}, {**ALL, "near_duplicate": ALIKE})
    for column in range(6):
        accept(old, frame(scene(column)))
    new = sampler({**ALL, "near_duplicate": {**ALIKE, "memory": 100}})
    new.copy_state_from(old)
    known = [column for column in range(16) if not new.decide(frame(scene(column)), objects()).matches]
    assert known == [0, 1, 2, 3, 4, 5]


def test_a_new_policy_adopts_the_learnt_threshold() -> None:
    old = sampler({**ALL, "near_duplicate": {}})
    for i in range(501):
        old.decide(noisy(i, 20), objects())
    new = sampler({**ALL, "near_duplicate": {"memory": 3}})
    new.copy_state_from(old)
    assert max(learnt(new)) == 24


def test_a_new_policy_goes_on_drawing_where_the_old_one_stopped() -> None:
    whole = pattern(sampler(HALF), 100).split(" ")
    old = sampler(HALF)
    first = pattern(old, 40).split(" ")
    new = sampler(HALF, NONE)
    new.copy_state_from(old)
    assert first + pattern(new, 60).split(" ") == whole


def test_the_state_of_a_policy_without_memory_can_be_copied() -> None:
    new = sampler({**ALL, "near_duplicate": ALIKE})
    new.copy_state_from(sampler(ALL))
    assert names(new.decide(frame(scene(3)), objects())) == "a"
