"""How many bytes are written to the disk, since flash wears out: for each byte of an accepted picture, and for nothing.

Counted is what the kernel counts for a process of its own: the bytes of its write calls, and the pages that it dirtied
in files (where the file system counts them; in memory it does not). Of both the larger one must hold. What a folder
sink on the same disk writes comes on top: the picture once more, and a page or two each for label, line and names.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MOST_FOR_A_BYTE = 3.0
MOST_FOR_A_BYTE_IN_A_FOLDER = 1.5
MOST_A_DAY_IDLE = 50_000_000


def written(folder: Path, *numbers: int) -> tuple[int, int]:
    """Bytes of accepted pictures, and bytes written, the write-ahead log and its checkpoints included.

    numbers: the arguments of `rigs.wear_child`.
    """
    arguments = [str(number) for number in numbers]
    command = [sys.executable, "-m", "rigs.wear_child", str(folder), *arguments]
    ended = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(ended.stdout)
    return found["accepted"], max(found["asked"], found["dirtied"])


@pytest.mark.parametrize(
    ("smallest", "largest"),
    [
        pytest.param(60_000, 150_000, id="mixed"),
        pytest.param(60_000, 60_000, id="small", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize(
    ("pictures", "burst"),
    [pytest.param(150, 1, id="every few seconds", marks=pytest.mark.exhaustive), pytest.param(300, 100, id="bursts")],
)
def test_a_picture_costs_at_most_three_times_its_bytes_from_acceptance_to_deletion(
    tmp_path: Path, pictures: int, burst: int, smallest: int, largest: int
) -> None:
    accepted, all_written = written(tmp_path, pictures, burst, smallest, largest)
    assert accepted >= pictures * smallest
    assert accepted < all_written <= MOST_FOR_A_BYTE * accepted


@pytest.mark.exhaustive
def test_a_folder_with_a_bound_costs_once_and_a_half_more(tmp_path: Path) -> None:
    accepted, all_written = written(tmp_path, 300, 100, 60_000, 60_000, 6_000_000)
    assert len(list((tmp_path / "collected" / "images").iterdir())) < 100, "the oldest went, many times"
    assert accepted < all_written <= (MOST_FOR_A_BYTE + MOST_FOR_A_BYTE_IN_A_FOLDER) * accepted


@pytest.mark.exhaustive
def test_a_day_without_an_accepted_frame_writes_next_to_nothing(tmp_path: Path) -> None:
    accepted, all_written = written(tmp_path, 0, 1, 60_000, 60_000)
    assert accepted == 0
    assert all_written <= MOST_A_DAY_IDLE / 10
