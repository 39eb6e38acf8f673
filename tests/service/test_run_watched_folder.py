"""A daemon with a watched folder: what it has read it remembers, beside its spool."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rigs.daemon import Daemon, collected, framesift, write_configuration


def put(folder: Path, number: int) -> None:
    pixels = np.full((48, 64, 3), 40 * number, np.uint8)
    (folder / f".{number}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (folder / f".{number}.png").rename(folder / f"{number}.png")


def test_a_restart_reads_no_picture_of_a_watched_folder_again(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "inbox", "watch": True}]})
    remembered = tmp_path / "spool.db.watched-gate"
    for numbers in ((1, 2), (3,)):
        with Daemon(tmp_path) as daemon:
            for number in numbers:
                put(folder, number)
            bytes_then = 8 * max(numbers)
            assert daemon.until(lambda: remembered.exists() and remembered.stat().st_size == bytes_then, 20.0)  # noqa: B023
            assert daemon.until(lambda: len(collected(tmp_path)) == max(numbers), 20.0)  # noqa: B023
    assert len(collected(tmp_path)) == 3


def test_a_run_whose_only_folder_is_not_there_ends_at_once_with_2(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "yard", "source": "away/*.jpg"}]})
    done = framesift(tmp_path, "run")
    assert done.returncode == 2
    assert f"streams[0].source: {tmp_path}/away/*.jpg: the folder does not exist" in done.stderr
