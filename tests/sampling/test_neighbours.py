"""Which frames are the neighbours of a chosen one, and what becomes of each frame."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.clock.moment import Moment
from framesift.frame import Frame, RefusalReason
from framesift.prediction.prediction import Prediction
from framesift.sampling.neighbours import MOST_KEPT, KeptFrame, Neighbours, SequencePlace
from framesift.strategies import Match, NeighbourOptions
from sampling_data import objects

FPS = 4
NO_MATCH = RefusalReason.NO_MATCH


class Store:
    """Takes neighbours while there is quota, and says what became of each frame, by its number."""

    def __init__(self, quota: int = 10**6) -> None:
        self.quota = quota
        self.taken: dict[int, tuple[str, float]] = {}
        self.refused: Counter[int] = Counter()
        self.reasons: dict[int, RefusalReason] = {}
        self.kept: dict[int, KeptFrame] = {}
        self.most_kept = 0

    def keep(self, frame: Frame, prediction: Prediction, refusal: RefusalReason) -> KeptFrame | None:
        found = self.kept[frame.number] = KeptFrame(frame, prediction, None, refusal)
        self.most_kept = max(self.most_kept, sum(one.holders > 0 for one in self.kept.values()) + 1)
        return found

    def store(
        self, frame: Frame, prediction: Prediction, place: SequencePlace, kept: KeptFrame | None
    ) -> RefusalReason | None:
        assert prediction is PREDICTION
        assert (kept is None) == (frame.number not in self.kept)
        if not self.quota:
            return RefusalReason.LIMIT
        self.quota -= 1
        assert frame.number not in self.taken
        self.taken[frame.number] = place.chosen_id, place.offset_s
        return None

    def refuse(self, frame: Frame, refusal: RefusalReason) -> None:
        self.refused[frame.number] += 1
        self.reasons[frame.number] = refusal


PREDICTION = objects()


def frame(number: int, *, epoch: int = 0) -> Frame:
    at_s = 100.0 + number / FPS
    return Frame("gate", number, np.zeros((2, 2, 3), np.uint8), Moment(at_s, at_s, "boot"), epoch)


class Video:
    """A stream, four frames a second. chosen: the frames that strategies want, each named after its number."""

    def __init__(self, store: Store, *options: tuple[str, NeighbourOptions]) -> None:
        self.neighbours = Neighbours(store, options)
        self.store = store

    def show(self, numbers: range, *, chosen: dict[int, str] | None = None) -> None:
        for number in numbers:
            strategy = (chosen or {}).get(number)
            if strategy is None:
                self.neighbours.offer(frame(number), PREDICTION, NO_MATCH)
            else:
                self.neighbours.choose(frame(number), str(number), [Match(strategy, 0.5)])
                self.neighbours.settle(str(number), strategy)
            self.neighbours.advance()

    def end(self) -> None:
        self.neighbours.end()


def options(before_s: float = 0.0, after_s: float = 0.0, every_s: float = 1.0) -> NeighbourOptions:
    return NeighbourOptions(before_s, after_s, every_s)


def test_frames_before_and_after_go_with_the_chosen_one_no_two_closer_than_every_s() -> None:
    store = Store()
    video = Video(store, ("rule", options(3.0, 2.0)))
    video.show(range(40), chosen={20: "rule"})
    video.end()
    assert store.taken == {
        8: ("20", -3.0),
        12: ("20", -2.0),
        16: ("20", -1.0),
        24: ("20", 1.0),
        28: ("20", 2.0),
    }
    assert store.most_kept <= 4 + 1  # those of three seconds, the newest one, and the one that comes
    assert set(store.refused.values()) == {1}
    assert set(store.refused) == set(range(40)) - {20} - set(store.taken)


@pytest.mark.parametrize("number", range(20, 24))
def test_wherever_the_chosen_frame_lies_there_are_as_many_before_it(number: int) -> None:
    store = Store()
    video = Video(store, ("rule", options(2.0)))
    video.show(range(number + 1), chosen={number: "rule"})
    video.end()
    assert len(store.taken) == 2
    assert all(-2.5 <= offset_s <= -0.5 for _, offset_s in store.taken.values())


def test_the_nearest_before_is_stored_first_and_the_sequence_ends_where_there_is_no_quota() -> None:
    store = Store(quota=2)
    video = Video(store, ("rule", options(4.0, 2.0)))
    video.show(range(20))
    video.show(range(20, 40), chosen={20: "rule"})
    video.end()
    assert store.taken == {16: ("20", -1.0), 12: ("20", -2.0)}
    assert [number for number, why in store.reasons.items() if why is RefusalReason.LIMIT] == [8]
    assert 24 in store.refused


@pytest.mark.parametrize("strategy", ["rule", None])
def test_what_comes_while_the_chosen_frame_waits_is_kept_until_it_is_known(strategy: str | None) -> None:
    store = Store()
    video = Video(store, ("rule", options(1.0, 2.0)))
    video.show(range(8))
    video.neighbours.choose(frame(8), "8", [Match("rule", 0.5)])
    video.show(range(9, 17))
    assert store.taken == {}
    video.neighbours.settle("8", strategy)
    video.end()
    assert sorted(store.taken) == ([4, 12, 16] if strategy else [])
    assert sum(store.refused.values()) + len(store.taken) == 16


def test_while_a_chosen_frame_waits_for_long_only_so_many_pictures_are_kept() -> None:
    store = Store()
    video = Video(store, ("rule", options(0.0, 60.0)))
    video.neighbours.choose(frame(0), "0", [Match("rule", 0.5)])
    video.show(range(1, 200))
    assert store.most_kept <= MOST_KEPT + 1
    video.neighbours.settle("0", "rule")
    video.end()
    assert len(store.taken) == MOST_KEPT


def test_only_the_strategy_that_was_charged_has_neighbours() -> None:
    store = Store()
    video = Video(store, ("a", options(1.0)), ("b", options(2.0, 0.0, 2.0)))
    video.show(range(20))
    video.neighbours.choose(frame(20), "20", [Match("a", 0.5), Match("b", 0.5)])
    video.neighbours.settle("20", "b")
    video.end()
    assert store.taken == {16: ("20", -1.0)}


def test_an_accepted_frame_stands_in_the_place_of_a_neighbour_and_begins_a_sequence_of_its_own() -> None:
    store = Store()
    video = Video(store, ("rule", options(0.0, 3.0)))
    video.show(range(40), chosen={8: "rule", 13: "rule"})
    video.end()
    assert store.taken == {12: ("8", 1.0), 17: ("13", 1.0), 21: ("13", 2.0), 25: ("13", 3.0)}


def test_two_strategies_share_the_neighbours_of_overlapping_sequences() -> None:
    store = Store()
    video = Video(store, ("a", options(0.0, 2.0)), ("b", options(0.0, 2.0)))
    video.show(range(40), chosen={8: "a", 9: "b"})
    video.end()
    assert store.taken == {12: ("8", 1.0), 16: ("8", 2.0)}


def test_nothing_before_another_view_is_a_neighbour() -> None:
    store = Store()
    video = Video(store, ("rule", options(3.0, 3.0)))
    video.show(range(20))
    later = replace(frame(20), epoch=1)
    video.neighbours.choose(later, "20", [Match("rule", 0.5)])
    video.neighbours.settle("20", "rule")
    video.neighbours.offer(frame(19), PREDICTION, NO_MATCH)  # it was decided later
    video.end()
    assert store.taken == {}
    assert set(store.refused) == set(range(20))


def test_a_file_that_begins_again_begins_anew() -> None:
    store = Store()
    video = Video(store, ("rule", options(3.0, 3.0)))
    video.show(range(20), chosen={19: "rule"})
    video.show(range(4))
    video.end()
    assert all(offset_s < 0 for _, offset_s in store.taken.values())


def test_no_frame_is_kept_where_no_strategy_has_neighbours() -> None:
    store = Store()
    video = Video(store)
    video.show(range(20), chosen={10: "rule"})
    assert not store.kept
    assert not video.neighbours.are_wanted
    assert len(store.refused) == 19


@given(
    st.lists(st.sampled_from([None, None, None, "a", "b"]), max_size=60),
    st.sampled_from([0, 3, 1000]),
    st.integers(0, 5),
)
def test_each_frame_is_taken_refused_or_chosen_once_and_what_is_kept_is_bounded(
    wanted: list[str | None], quota: int, late: int
) -> None:
    store = Store(quota)
    rules = {"a": options(2.0, 1.5, 0.5), "b": options(4.0, 2.0, 1.0)}
    neighbours = Neighbours(store, rules.items())
    waiting: list[tuple[str, str]] = []
    chosen: dict[str, str] = {}
    for number, strategy in enumerate(wanted):
        if strategy is None:
            neighbours.offer(frame(number), PREDICTION, NO_MATCH)
        else:
            neighbours.choose(frame(number), str(number), [Match(strategy, 0.5)])
            chosen[str(number)] = strategy
            waiting.append((str(number), strategy))
        while len(waiting) > late:
            neighbours.settle(*waiting.pop(0))
        neighbours.advance()
    for one in waiting:
        neighbours.settle(*one)
    neighbours.end()
    frames = Counter([*store.taken, *map(int, chosen), *store.refused.elements()])
    assert frames == Counter(range(len(wanted)))
    assert store.most_kept <= MOST_KEPT + 1
    by_sequence: dict[str, list[int]] = {}
    for number, (id, offset_s) in store.taken.items():
        assert offset_s == (number - int(id)) / FPS
        rule = rules[chosen[id]]
        assert -rule.before_s - rule.every_s / 2 <= offset_s <= rule.after_s
        assert abs(offset_s) >= rule.every_s / 2
        by_sequence.setdefault(id, []).append(number)
    for id, numbers in by_sequence.items():
        numbers.sort()
        apart = [(two - one) / FPS for one, two in pairwise(numbers)]
        assert min(apart, default=9.0) >= rules[chosen[id]].every_s
