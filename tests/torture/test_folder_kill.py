"""A delivering process is killed at each of its system calls that change the disk, one after the other: after every one
the folder loads, what was acknowledged is there, and what was not comes again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deliveries import deliver, delivery, folder_sink, read_image_folder, read_yolo
from framesift.sinks import Delivered

TESTS = Path(__file__).parents[1]
CALLS = ("write", "pwrite64", "fsync", "renameat", "unlinkat", "mkdir", "openat", "ftruncate")
PROGRAM = """
import sys, pathlib
sys.path.insert(0, sys.argv[2])
from deliveries import deliver, delivery, folder_sink, detected, detection
root = pathlib.Path(sys.argv[1])
sink = folder_sink(root / "collected")
pathlib.Path(sys.argv[1], "ready").mkdir()
for number in range(3):
    deliver(sink, delivery(number, detected(detection(f"class-{number}"))))
    print(number, flush=True)
"""


def run(root: Path, *strace: str) -> subprocess.CompletedProcess[str]:
    command = ["strace", "-f", "-o", str(root / "trace"), *strace, sys.executable, "-c", PROGRAM, str(root), str(TESTS)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_each_call(tmp_path: Path, call: str) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert run(whole, f"--trace={call},mkdir").returncode == 0
    lines = (whole / "trace").read_text().splitlines()
    (start,) = (index for index, line in enumerate(lines) if "mkdir(" in line and '/ready"' in line)
    before = sum(f" {call}(" in line for line in lines[: start + 1])
    total = sum(f" {call}(" in line for line in lines)
    if call in ("write", "fsync", "renameat"):
        assert total - before >= 8
    if call == "pwrite64":  # a line of data.yaml for the second class, and for the third
        assert total - before == 2

    for number in range(before + 1, total + 1):
        root = tmp_path / f"{call}-{number}"
        root.mkdir()
        printed = run(root, f"--trace={call}", f"--inject={call}:signal=SIGKILL:when={number}").stdout.split()
        collected = root / "collected"
        sink = folder_sink(collected)
        assert sink.check() is None
        found = [int(row["id"], 16) for row in read_image_folder(collected)] if printed else []
        assert set(map(int, printed)) <= set(found)
        for again in range(3):
            assert deliver(sink, delivery(again)) == Delivered()
        assert sorted(int(row["id"], 16) for row in read_image_folder(collected)) == [0, 1, 2]
        assert len(read_yolo(collected)) == 3
        sink.close()
        shutil.rmtree(root)


@pytest.mark.torture
def test_every_file_is_on_the_disk_before_its_name_and_every_name_before_the_line(tmp_path: Path) -> None:
    assert run(tmp_path, "-y", "--trace=write,pwrite64,fsync,renameat").returncode == 0
    unsynced: set[str] = set()
    lines = [line for line in (tmp_path / "trace").read_text().splitlines() if "collected" in line]
    assert any("renameat(" in line for line in lines)
    for line in lines:
        path = line[line.index("<") + 1 : line.index(">")] if "<" in line else ""
        if " write(" in line or " pwrite64(" in line:
            if path.endswith("metadata.jsonl"):
                assert not unsynced, f"{unsynced} before {line}"
            unsynced.add(path)
        elif " fsync(" in line:
            unsynced.discard(path)
        elif " renameat(" in line:  # within one folder, the first that the line names
            assert f"{path}/{line.split(chr(34))[1]}" not in unsynced, line
            unsynced.add(path)
    assert not unsynced
