"""Who may read what a run writes: its user alone, or the group of the settings as well; real processes and files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.daemon import Daemon, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip

OUR_GROUP = 23456 if os.geteuid() == 0 else os.getgroups()[0]


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    """The umask of the systemd unit, for the processes of this test."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize(("group", "of_files", "of_folders"), [(None, 0o600, 0o700), (OUR_GROUP, 0o640, 0o750)])
@pytest.mark.usefixtures("narrow_umask")
def test_every_file_of_a_run_can_be_read_by_the_group_and_nobody_else(
    tmp_path: Path, group: int | None, of_files: int, of_folders: int
) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    settings = {
        "group": group,
        "streams": [{"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}],
        "model": unhurried(tmp_path),
        "sink": {"type": "folder", "path": "written/collected"},
        "spool": {"path": "written/spool/spool.db", "max_bytes": "64MiB", "min_free_bytes": "1MiB"},
    }
    write_configuration(tmp_path, settings)
    (tmp_path / "written").mkdir()

    with Daemon(tmp_path, "--record", "written/said.jsonl") as daemon:
        listing = tmp_path / "written" / "collected" / "metadata.jsonl"
        reserve = tmp_path / "written" / "spool" / "spool.db.reserve-2"
        assert daemon.until(lambda: listing.exists() and reserve.exists(), 30.0)
        written = {path: path.stat() for path in (tmp_path / "written").rglob("*") if path.name != ".partial"}
        daemon.stop()

    names = {path.name for path in written}
    assert {"metadata.jsonl", "README.md", ".lock", "images", "said.jsonl"} <= names
    assert {"spool.db", "spool.db-wal", "spool.db-shm", "spool.db.lock", "spool.db.reserve"} <= names
    for path, found in written.items():
        assert stat.S_IMODE(found.st_mode) == (of_folders if path.is_dir() else of_files), path
        assert found.st_gid == (os.getegid() if group is None else group), path


def test_a_group_that_does_not_exist_ends_the_start_with_2_and_check_names_it(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=2)
    write_configuration(tmp_path, {"group": "nobodys-group", "streams": [{"name": "gate", "source": "clip.mp4"}]})
    run, check = framesift(tmp_path, "run"), framesift(tmp_path, "check", COLUMNS="400")
    assert run.returncode == 2
    assert "there is no group nobodys-group on this machine" in run.stderr
    assert not (tmp_path / "spool.db").exists()
    assert check.returncode == 1
    assert "there is no group nobodys-group on this machine" in check.stdout


def test_check_names_the_folder_that_keeps_the_group_out(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=2)
    (tmp_path / "closed").mkdir(0o700)
    settings = {"group": OUR_GROUP, "sink": {"type": "folder", "path": "closed/collected"}}
    write_configuration(tmp_path, {**settings, "streams": [{"name": "gate", "source": "clip.mp4"}]})

    said = framesift(tmp_path, "check", COLUMNS="400").stdout

    # The test's own folder may be closed as well.
    assert f"lets the group {OUR_GROUP} not in, so it can't reach {tmp_path / 'closed' / 'collected'}" in said
