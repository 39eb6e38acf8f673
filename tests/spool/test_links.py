"""Symbolic links in place of the spool's files are never written through."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.spool import SpoolBroken, SpoolUnusable
from rigs.spools import RecordedReports, accepted, make_spool, put

PRECIOUS = "precious" * 100


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere"
    path.write_text(PRECIOUS)
    return path


@pytest.mark.parametrize("link", ["spool.db", "spool.db.lock"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_spool_that_is_a_symbolic_link_is_refused_by_name(
    tmp_path: Path, elsewhere: Path, link: str, dangling: bool
) -> None:
    target = tmp_path / "missing" if dangling else elsewhere
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / link).symlink_to(target)
    with pytest.raises(SpoolUnusable, match=f"{link} is a symbolic link, and the spool writes through none"):
        make_spool(tmp_path / "spool", ManualClock()).open()
    assert elsewhere.read_text() == PRECIOUS
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("link", ["spool.db.reserve", "spool.db.reserve-2"])
def test_a_reserve_that_is_a_symbolic_link_is_replaced(tmp_path: Path, elsewhere: Path, link: str) -> None:
    (tmp_path / link).symlink_to(elsewhere)
    spool = make_spool(tmp_path, ManualClock())
    spool.open()
    accepted(put(spool, ManualClock()))
    spool.close()
    assert elsewhere.read_text() == PRECIOUS
    assert not (tmp_path / link).is_symlink()


@pytest.mark.parametrize("link", ["spool.db-wal", "spool.db-shm"])
def test_a_log_that_is_a_symbolic_link_is_not_written_to(tmp_path: Path, elsewhere: Path, link: str) -> None:
    (tmp_path / link).symlink_to(elsewhere)
    spool = make_spool(tmp_path, ManualClock(), report=RecordedReports())
    spool.open()
    with contextlib.suppress(SpoolBroken):  # SQLite replaces a log that is older than its file, and refuses the rest
        put(spool, ManualClock())
    spool.close()
    assert elsewhere.read_text() == PRECIOUS


def test_the_folder_of_the_spool_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "disk")
    spool = make_spool(tmp_path / "spool", ManualClock())
    spool.open()
    accepted(put(spool, ManualClock()))
    spool.close()
    assert (tmp_path / "disk" / "spool.db").is_file()
