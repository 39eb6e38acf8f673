"""A real process is killed while it holds, gives turns and delivers: no held frame is lost, no limit exceeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.hold_kills import kill_and_check


@pytest.mark.exhaustive
def test_what_is_held_survives_sigkill_and_every_hour_has_its_turns(tmp_path: Path) -> None:
    kill_and_check(tmp_path, kills=4, seed=1)
