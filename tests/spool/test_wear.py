"""How many bytes are written to the disk, since flash wears out: for each byte of an accepted picture, and for nothing.

Counted is what the kernel counts for a process of its own: the bytes of its write calls, and the pages that it dirtied
in files (where the file system counts them; in memory it does not). Of both the larger one must hold. What a folder
sink on the same disk writes comes on top: the picture once more, and a page each for label, line and names.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SMALLEST, LARGEST = 60_000, 150_000
MOST_FOR_A_BYTE = 3.0
MOST_A_DAY_IDLE = 50_000_000


def written(folder: Path, pictures: int, burst: int) -> tuple[int, int]:
    """Bytes of accepted pictures, and bytes written, the write-ahead log and its checkpoints included."""
    arguments = [str(number) for number in (pictures, burst, SMALLEST, LARGEST)]
    command = [sys.executable, "-m", "rigs.wear_child", str(folder), *arguments]
    ended = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(ended.stdout)
    return found["accepted"], max(found["asked"], found["dirtied"])


@pytest.mark.parametrize(("pictures", "burst"), [(150, 1), (300, 100)], ids=["every few seconds", "bursts"])
def test_a_picture_costs_at_most_three_times_its_bytes_from_acceptance_to_deletion(
    tmp_path: Path, pictures: int, burst: int
) -> None:
    accepted, all_written = written(tmp_path, pictures, burst)
    assert accepted > pictures * SMALLEST
    assert accepted < all_written <= MOST_FOR_A_BYTE * accepted


def test_a_day_without_an_accepted_frame_writes_next_to_nothing(tmp_path: Path) -> None:
    accepted, all_written = written(tmp_path, 0, 1)
    assert accepted == 0
    assert all_written <= MOST_A_DAY_IDLE / 10
