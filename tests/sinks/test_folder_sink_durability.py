"""What the folder sink has acknowledged is on the disk: the calls of a delivering process, in their order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
PROGRAM = """
import pathlib, sys
from deliveries import deliver, delivery, folder_sink, detected, detection
sink = folder_sink(pathlib.Path(sys.argv[1]))
for number in range(3):
    deliver(sink, delivery(number, detected(detection(f"class-{number}"))))
    pathlib.Path(sys.argv[1], f"acknowledged-{number}").mkdir()
"""
_CALL = re.compile(r"(write|pwrite64|fsync|mkdir)\((?:\d+<([^>]*)>|\"([^\"]*)\")")


def test_a_line_its_file_and_a_new_class_are_synced_before_the_delivery_is_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "collected"
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-y",
        "-o",
        str(trace),
        "--trace=write,pwrite64,fsync,mkdir",
        sys.executable,
        "-c",
        PROGRAM,
    ]
    subprocess.run([*command, str(folder)], cwd=TESTS, capture_output=True, timeout=60, check=True)

    calls = [(call[1], call[2] or call[3]) for call in map(_CALL.search, trace.read_text().splitlines()) if call]
    lines, names = str(folder / "metadata.jsonl"), str(folder / "data.yaml")
    written = [call for call in calls if str(folder) in call[1]]
    assert sum(call == ("write", lines) for call in written) == 3
    assert sum(call == ("pwrite64", names) for call in written) == 2
    unsynced: set[str] = set()
    is_new = True
    for what, path in written:
        if what in ("write", "pwrite64"):
            unsynced.add(path)
            if path == lines and is_new:
                unsynced.add(str(folder))  # its name has to be on the disk as well
                is_new = False
        elif what == "fsync":
            unsynced.discard(path)
        elif "acknowledged" in path:
            assert not unsynced, path
