"""Two hundred kills of a process that holds frames until turns are due."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.hold_kills import kill_and_check

pytestmark = pytest.mark.torture


def test_two_hundred_kills(tmp_path: Path) -> None:
    kill_and_check(tmp_path, kills=200, seed=2)
