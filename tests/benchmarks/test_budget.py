from __future__ import annotations

from dataclasses import replace

import pytest

from budget import BUDGET, FRAMES, KINDS, RULES, SimulatedDay, kept_of, shares, simulated_day


@pytest.fixture(scope="module")
def days() -> dict[str, SimulatedDay]:
    return {kind: simulated_day(kind, 1) for kind in KINDS}


@pytest.mark.exhaustive
def test_a_day_has_its_best_scenes_and_the_same_ones_each_time(days: dict[str, SimulatedDay]) -> None:
    for day in days.values():
        assert len(day.lines) == len(day.scene) == FRAMES
        assert len(day.best) == BUDGET
    assert simulated_day("bursty", 1).best == days["bursty"].best != simulated_day("bursty", 2).best


def test_days_differ_in_when_there_is_something_to_see(days: dict[str, SimulatedDay]) -> None:
    def at_night(day: SimulatedDay) -> int:
        return len({scene for scene in day.scene[: FRAMES // 6] if scene >= 0})

    assert at_night(days["diurnal"]) < at_night(days["flat"]) / 3
    parked = max(set(days["parked car"].scene) - {-1}, key=days["parked car"].scene.count)
    assert days["parked car"].scene.count(parked) > FRAMES / 24


def test_all_of_the_best_scenes_in_all_hours_are_one_and_one(days: dict[str, SimulatedDay]) -> None:
    day = days["flat"]
    assert shares(day, [frame for frame, scene in enumerate(day.scene) if scene >= 0]) == (1, 1)
    assert shares(day, []) == (0, 0)
    best = [frame for frame, scene in enumerate(day.scene) if scene in day.best]
    assert shares(day, best)[0] == 1


def test_first_come_spends_the_day_in_its_first_hours(days: dict[str, SimulatedDay]) -> None:
    first_hours = replace(days["flat"], lines=days["flat"].lines[: FRAMES // 6])
    assert len(kept_of(first_hours, RULES["first come, daily limit"], 0)) == BUDGET
    assert len(kept_of(first_hours, RULES["first come, hourly limit too"], 0)) <= 4 * 5
