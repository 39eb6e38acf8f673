"""500 upgrades of spool files, each ended by SIGKILL at a random moment: nothing is ever missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.spool_upgrades import kill_upgrades


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("version", "number"), [(2, 500), (1, 100)])
def test_an_upgrade_that_is_killed_at_any_moment_leaves_everything_there(
    tmp_path: Path, version: int, number: int
) -> None:
    found = kill_upgrades(tmp_path, version, number, datapoints=400)
    print(f"format {version}, {number} kills:", dict(sorted(found.items())))  # noqa: T201  # for docs/reliability.md
    assert found.total() == number
    assert any(key.startswith("before") for key in found)
    assert any(key.startswith("after") for key in found)
