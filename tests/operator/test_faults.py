"""Faults seeded into a running daemon: what an operator reads in `framesift status` alone, and how soon; and their end.

The table is in `rigs/seeded_faults/table.py`. Each line of it is tried with a real process, which is well before, and
well again after the fault was mended; `make test` tries one of each component.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from exhaustive import some_of
from rigs.seeded_faults.fault import SeededFault
from rigs.seeded_faults.table import FAULTS

IN_MAKE_TEST = {
    "sink gone",
    "key revoked",
    "camera dead",
    "misspelt class",
    "model raises",
    "limits exhausted",
}


def _name(fault: SeededFault) -> str:
    return fault.name.replace(" ", "_")


@pytest.mark.parametrize("fault", some_of(FAULTS, lambda fault: fault.name in IN_MAKE_TEST), ids=_name)
def test_a_fault_is_named_with_its_reason_in_time_and_is_over_in_time(fault: SeededFault, tmp_path: Path) -> None:
    times = fault.trial(fault, tmp_path)
    assert times.said_s <= fault.say_s
    assert times.well_s <= fault.well_s


def test_what_make_test_tries_is_in_the_table() -> None:
    assert {fault.name for fault in FAULTS} >= IN_MAKE_TEST


def test_the_bounds_are_within_15_s_at_the_median_and_60_s_at_worst() -> None:
    bounds = [fault.say_s for fault in FAULTS]
    assert statistics.median(bounds) <= 15.0
    assert max(bounds) <= 60.0
