"""Frames like pictures that people have already are refused, as soon as these are read."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from clocks import ManualClock
from framesift.known.known_pictures import KnownPictures
from framesift.policy.policy import Policy, parse
from framesift.service.known_pictures_reader import KnownPicturesReader
from framesift.strategies.near_duplicate import signature
from framesift.telemetry import Telemetry
from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.listeners import prediction_json
from rigs.scenes import jpeg_of, scene, scene_clip

SOON_S = 20.0


def pictures(folder: Path, *numbers: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number}.jpg").write_bytes(jpeg_of(scene(number)))
    return folder


def policy(*known: Path | str, **more: Any) -> dict[str, Any]:
    return {**POLICY, "near_duplicate": {"threshold": 0.0125, "known": list(map(str, known))}, **more}


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


class Reading:
    """A reader, and what it has logged."""

    def __init__(self, folder: Path, *, waits: bool) -> None:
        self.out = io.StringIO()
        clock = ManualClock()
        self._telemetry = Telemetry(clock, _Style(), out=self.out)
        self.pictures = KnownPictures(folder / "kept")
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.reader = KnownPicturesReader(
            self.pictures, self._telemetry, clock, stop=self.stop, on_failure=self.failures.append, waits=waits
        )
        self.reader.start()

    def close(self) -> list[dict[str, Any]]:
        """Ends the reader, and returns what was logged."""
        assert self.reader.stop(SOON_S)
        assert self.failures == []
        self._telemetry.close()
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


def parsed(*known: Path, **more: Any) -> Policy:
    return parse(json.dumps(policy(*known, **more)), "policy.json")


def test_what_policies_name_is_read_once_and_reported(tmp_path: Path) -> None:
    one, other = pictures(tmp_path / "one", 1, 2), pictures(tmp_path / "other", 3)
    (one / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    reading = Reading(tmp_path, waits=True)
    reading.reader.want(parsed(one))
    reading.reader.want(parsed(one, tags=["again"]))
    reading.reader.want(parsed(one, other, enabled=False))
    reading.reader.want(parsed(other))
    events = reading.close()
    assert [(e["event"], e.get("pictures"), e.get("unreadable"), e.get("paths")) for e in events] == [
        ("known_pictures_read", 2, 1, [str(one)]),
        ("known_pictures_unreadable", None, None, None),
        ("known_pictures_read", 1, 0, [str(other)]),
    ]
    assert events[1]["number"] == 1
    assert "broken.jpg: " in events[1]["first"][0]
    assert reading.pictures.similar_distance((str(one),), signature(scene(2)), 0.0125) is not None


def test_signatures_that_cannot_be_kept_are_said(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    reading = Reading(tmp_path, waits=True)
    reading.reader.want(parsed(pictures(tmp_path / "one", 1)))
    assert [(e["event"], e.get("why")) for e in reading.close()][1:] == [("known_pictures_not_kept", "File exists")]


def test_the_thread_reads_beside_and_ends_when_the_run_does(tmp_path: Path) -> None:
    reading = Reading(tmp_path, waits=False)
    reading.stop.set()  # so that it is interrupted at once
    reading.reader.want(parsed(pictures(tmp_path / "one", 1)))
    reading.reader.want(parsed(pictures(tmp_path / "other", 1)))
    assert reading.close() == []
    assert not reading.pictures.is_read((str(tmp_path / "one"),))


def test_a_file_by_its_own_time_waits_until_the_known_pictures_are_read(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 6)
    pictures(tmp_path / "have", 1, 4)
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mkv"}]}, policy("have"))
    ended = framesift(tmp_path, "run", "--clock", "media", "--start", "2026-11-28T10:00+00:00")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(collected(tmp_path)) == 4


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as place:
        return int(place.getsockname()[1])


def test_a_picture_like_a_known_one_is_refused_also_after_a_restart_without_the_files_content(
    tmp_path: Path, port: int
) -> None:
    have = pictures(tmp_path / "have", 1)
    write_configuration(
        tmp_path, {"model": None, "listeners": [{"listen": f"127.0.0.1:{port}"}]}, policy("have", "have/1.jpg")
    )
    for round in range(2):
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("ready")
            read = daemon.wait_for("known_pictures_read")
            assert (read["pictures"], read["unreadable"]) == (1, 0)
            form: dict[str, Any] = {
                "image": jpeg_of(scene(1, frame=round)),
                "prediction": (None, json.dumps(prediction_json(320, 240))),
                "stream": (None, "north"),
            }
            answer = requests.post(f"http://127.0.0.1:{port}/datapoints", files=form, timeout=20).json()
            assert answer["reason"] == "near_duplicate"
            assert daemon.stop() == 0
        file = have / "1.jpg"
        found = file.stat()
        file.write_bytes(bytes(found.st_size))  # whoever decodes it again finds no picture
        os.utime(file, ns=(found.st_mtime_ns, found.st_mtime_ns))


def test_a_path_that_is_not_there_ends_the_start_with_its_place_and_value(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 1)
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mkv"}]}, policy("gone"))
    for command, code in (("run", 2), ("check", 1)):
        ended = framesift(tmp_path, command)
        assert ended.returncode == code
        said = "".join((ended.stdout + ended.stderr).replace('\\"', '"').split())  # however a table is folded
        assert f'near_duplicate.known[0]:"{tmp_path}/gone"isnotallowed:thereisnosuchfileorfolder' in said
