"""Days whose truth is known: frames correlated in time, a model that misses and invents, and the baseline's draw.

Objects of one class come and go, in some days by the hour or in bursts; each stays for a while, and so does what the
model makes of it: some objects are found nearly always, some nearly never, for half a minute or twenty minutes at a
time. What the model invents stays as well. How much there is, and how good the model is, differs from day to day.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400
STEP_S = 10  # between two frames
GRID = DAY_S // STEP_S

Counts = NDArray[np.int64]
Profile = NDArray[np.float64]


class DayKind(str, Enum):
    """FLAT: the same all day. DIURNAL: nothing at night. STATIC: objects stay for an hour and a half (a car park).

    BURSTY: objects come in bursts, and frames only while something moves, so that weights differ and strata are empty.
    """

    FLAT = "flat"
    DIURNAL = "diurnal"
    BURSTY = "bursty"
    STATIC = "static"


# Seconds that an object stays, that something invented stays, and that the model's opinion of an object holds.
_STAYS_S = {
    DayKind.FLAT: (20.0, 30.0, 30.0),
    DayKind.DIURNAL: (40.0, 30.0, 30.0),
    DayKind.BURSTY: (60.0, 30.0, 30.0),
    DayKind.STATIC: (5400.0, 1800.0, 1200.0),
}


@dataclass(frozen=True)
class SimulatedDay:
    """For each frame: the second of the day; how many objects the model reports, how many rightly, and are there."""

    at_s: Counts
    predicted: Counts
    found: Counts
    actual: Counts

    def draw(self, rng: np.random.Generator, strata: int) -> tuple[Counts, Profile]:
        """The frames that a baseline of so many strata picks, and their weights: a reservoir of one in each stratum."""
        stratum = self.at_s * strata // DAY_S
        sizes = np.bincount(stratum, minlength=strata)
        begins = np.cumsum(sizes) - sizes
        frames = np.arange(len(stratum))
        taken = rng.random(len(frames)) * (frames - begins[stratum] + 1) < 1.0
        picked = np.full(strata, -1)
        picked[stratum[taken]] = frames[taken]  # the last one that replaced the others
        return picked[sizes > 0], sizes[sizes > 0].astype(np.float64)


def simulate_day(rng: np.random.Generator, kind: DayKind, least: float = 0.05, most: float = 3.0) -> SimulatedDay:
    """A day of this kind. least, most: bounds of the objects there are in a frame, in the day's mean."""
    objects = np.exp(rng.uniform(np.log(least), np.log(most)))
    recall, precision = rng.uniform(0.5, 0.97, 2)
    profile = _profile(rng, kind)
    stays_s, invented_stays_s, opinion_s = _STAYS_S[kind]
    begins, ends = _stays(rng, objects * profile, stays_s)
    actual = _there(begins, ends)
    found = _there(*_pieces_found(rng, begins, ends, recall, opinion_s))
    invented = objects * recall * (1.0 / precision - 1.0) * (0.5 + 0.5 * profile)
    predicted = found + _there(*_stays(rng, invented, invented_stays_s))
    frames = _while_something_moves(rng) if kind is DayKind.BURSTY else np.arange(GRID)
    return SimulatedDay(frames * STEP_S, predicted[frames], found[frames], actual[frames])


def _profile(rng: np.random.Generator, kind: DayKind) -> Profile:
    """How many objects there are over the day; 1 in the mean."""
    at_s = np.arange(GRID) * float(STEP_S)
    profile = np.ones(GRID)
    if kind is DayKind.DIURNAL:
        profile = 0.05 + np.maximum(np.sin((at_s / DAY_S - 0.25) * 2.0 * np.pi), 0.0) ** 1.5
    elif kind is DayKind.BURSTY:
        profile *= 0.1
        for begin_s in rng.uniform(0.0, DAY_S, 20):
            profile[(at_s >= begin_s) & (at_s < begin_s + rng.exponential(900.0))] = 5.0
    mean: float = profile.mean()
    return profile / mean


def _stays(rng: np.random.Generator, present: Profile, stays_s: float) -> tuple[Counts, Counts]:
    """When objects come and go, by number of frame. present: how many there are in the mean, over the day."""
    coming = rng.poisson(present * STEP_S / stays_s)
    begins = np.concatenate([np.zeros(rng.poisson(present[0]), np.int64), np.repeat(np.arange(GRID), coming)])
    lengths = rng.exponential(stays_s / STEP_S, len(begins)).astype(np.int64) + 1
    return begins, np.minimum(begins + lengths, GRID)


def _pieces_found(
    rng: np.random.Generator, begins: Counts, ends: Counts, recall: float, opinion_s: float
) -> tuple[Counts, Counts]:
    """Those pieces of the objects' stays in which the model finds them. Some objects are harder than others."""
    length = round(opinion_s / STEP_S)
    ease = rng.beta(2.0 * recall, 2.0 * (1.0 - recall), len(begins))
    pieces = -(-(ends - begins) // length)
    of = np.repeat(np.arange(len(begins)), pieces)
    number = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    piece_begins = begins[of] + number * length
    is_found = rng.random(len(of)) < ease[of]
    return piece_begins[is_found], np.minimum(piece_begins + length, ends[of])[is_found]


def _there(begins: Counts, ends: Counts) -> Counts:
    """How many are there in each frame."""
    changes = np.bincount(begins, minlength=GRID + 1) - np.bincount(ends, minlength=GRID + 1)
    there: Counts = np.cumsum(changes)[:GRID]
    return there


def _while_something_moves(rng: np.random.Generator) -> Counts:
    """The frames of a camera that sends a few minutes at a time."""
    sends = np.zeros(GRID, bool)
    at = 0
    while at < GRID:
        begin = at + int(rng.exponential(600 / STEP_S))
        at = begin + int(rng.exponential(240 / STEP_S)) + 1
        sends[begin:at] = True
    return np.flatnonzero(sends)
