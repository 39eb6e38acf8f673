"""`framesift check` on the spool's disk: read-only, full and somebody else's are told apart, and "nothing can be
accepted" is said only where it is so."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.test_check_beside_daemon import WIDE, line_of
from framesift.clock.clock import SystemClock
from framesift.spool import SpoolFull, WhenFull
from rigs.daemon import framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.spools import make_newer, make_spool, put
from spool.test_space import picture

TESTS = Path(__file__).parents[1]


def configure(folder: Path, **spool: Any) -> None:
    folder.mkdir(exist_ok=True)
    numbered_clip(folder / "clip.mp4", frames=5)
    whole = {"path": "spool.db", "max_bytes": "4MiB", "min_free_bytes": "1MiB", **spool}
    write_configuration(folder, {"streams": [{"name": "gate", "source": "clip.mp4"}], "spool": whole})


def line(folder: Path, **variables: str) -> str:
    wide: dict[str, Any] = {**WIDE, **variables}
    return line_of(framesift(folder, "check", **wide).stdout, "spool")


def fill(folder: Path) -> None:
    """A spool of 4 MiB that refuses more, as a run leaves it."""
    clock = SystemClock()
    spool = make_spool(folder, clock, max_bytes=2**22, when_full=WhenFull.REFUSE)
    spool.open()
    with pytest.raises(SpoolFull):  # noqa: PT012  # nobody knows which one is refused
        for number in range(100):
            put(spool, clock, score=0.5, jpeg=picture(300_000, number))
    spool.close()


def test_a_spool_that_is_full_and_refuses_fails_and_one_that_evicts_does_not(tmp_path: Path) -> None:
    configure(tmp_path, when_full="refuse")
    fill(tmp_path)
    before = (tmp_path / "spool.db").read_bytes()
    full = line(tmp_path)
    assert full.startswith("FAILED")
    assert "nothing can be accepted: " in full
    assert "max_bytes = 4194304" in full
    assert "see why nothing is delivered" in full
    for when_full in ("evict_lowest", "evict_oldest"):
        evicts = line(tmp_path, FRAMESIFT_SPOOL__WHEN_FULL=when_full)
        assert not evicts.startswith("FAILED"), evicts
        assert "nothing can be accepted" not in evicts
    assert (tmp_path / "spool.db").read_bytes() == before


def test_a_disk_without_the_space_that_must_stay_free_fails_before_the_first_run_and_after(tmp_path: Path) -> None:
    for made in (False, True):
        configure(tmp_path)
        if made:
            fill(tmp_path)
        found = line(tmp_path, FRAMESIFT_SPOOL__MIN_FREE_BYTES=str(2**49))
        assert found.startswith("FAILED"), found
        assert "nothing can be accepted: " in found
        assert "free some disk space, or lower spool.min_free_bytes" in found


def test_check_fails_where_a_run_refuses_the_file_and_both_leave_it_as_it_is(tmp_path: Path) -> None:
    def foreign_database(path: Path) -> None:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE recipes (name TEXT)")

    def newer(path: Path) -> None:
        fill(path.parent)
        make_newer(path, 99)

    makers: dict[str, tuple[Callable[[Path], object], str]] = {
        "text": (lambda path: path.write_text("precious\n"), "is no spool of framesift, and was not changed"),
        "database": (foreign_database, "is an SQLite database, but no spool of framesift"),
        "folder": (Path.mkdir, "is a folder, and the spool needs a file of its own"),
        "newer": (newer, "was written by a newer framesift"),
    }
    for name, (make, why) in makers.items():
        folder = tmp_path / name
        configure(folder)
        make(folder / "spool.db")
        before = {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}
        found = line(folder)
        assert found.startswith("FAILED"), found
        assert why in found
        assert "correct spool.path" in found
        refused = framesift(folder, "run")
        assert refused.returncode == 2
        assert f"{folder}/spool.db {why}" in refused.stderr
        assert {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("path", "named"), [("clip.txt", "/clip.txt"), ("/proc/framesift", "/proc")])
def test_what_can_be_no_folder_fails_for_the_sink_and_for_the_decision_record(
    tmp_path: Path, path: str, named: str
) -> None:
    configure(tmp_path)
    (tmp_path / "clip.txt").write_text("precious")
    variables: dict[str, Any] = {**WIDE, "FRAMESIFT_SINK__PATH": path, "FRAMESIFT_DECISIONS__PATH": path}
    found = framesift(tmp_path, "check", **variables).stdout
    for subject in ("sink folder", "decisions"):
        assert line_of(found, subject).startswith("FAILED"), found
        assert named in line_of(found, subject)


AS_NOBODY = """
import os, sys
from pathlib import Path
from framesift.spool.write_obstacles import write_obstacle
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(write_obstacle(Path(sys.argv[1]), Path(sys.argv[1]) / "spool.db"))
"""


def test_somebody_elses_file_is_named_with_its_owner() -> None:
    program = [sys.executable, "-c", AS_NOBODY, "/etc"]
    said = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "/etc belongs to root (uid 0) and is not writable for uid" in said
    assert "change its owner" in said


ON_DISKS = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import cli.test_check_spool as test
for name in ("read-only", "full", "inodes"):
    folder = Path(name).absolute()
    folder.mkdir()
    options = "size=1m,nr_inodes=60" if name == "full" else "size=16m,nr_inodes=8" if name == "inodes" else "size=16m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    test.configure(folder)
    if name == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    if name == "full":
        subprocess.run(["dd", "if=/dev/zero", f"of={folder}/other", "bs=4k"], check=False, capture_output=True)
    if name == "inodes":
        try:
            for number in range(100):
                (folder / str(number)).touch()
        except OSError:
            pass
    print(test.line(folder))
"""


def test_read_only_full_and_without_inodes_are_told_apart(tmp_path: Path) -> None:
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    program = [*alone, sys.executable, "-c", ON_DISKS, str(TESTS)]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    read_only, full, inodes = done.stdout.splitlines()
    assert read_only.startswith(f"FAILED spool {tmp_path}/read-only is on a disk that is mounted read-only")
    assert "mount it for writing" in read_only
    assert full.startswith(f"FAILED spool the disk of {tmp_path}/full is full")
    assert inodes.startswith(f"FAILED spool the disk of {tmp_path}/inodes can't hold another file (no free inodes)")
