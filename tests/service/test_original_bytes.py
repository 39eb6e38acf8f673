"""Bytes in are bytes out: JPEGs to which nothing is to be done, from a folder and from clients, over each sink."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import requests

from canaries import KEY
from framesift.frame import Pixels
from listeners.test_run_with_listeners import free_ports
from rigs.daemon import POLICY, Daemon, collected, write_configuration
from rigs.jpegs import APP1, exif, jpeg_of, scene, with_segment
from rigs.platform import Platform

CAMERA = jpeg_of(scene(1920, 1080), cv2.IMWRITE_JPEG_QUALITY, 72)  # 148 KB; 293 KB if it were encoded anew


def pictures(brightness: int) -> list[bytes]:
    """JPEGs of several kinds. brightness: so that no two are the same."""

    def lit(pixels: Pixels) -> Pixels:
        return pixels // 2 + brightness

    return [
        jpeg_of(lit(scene())),
        jpeg_of(lit(scene()), cv2.IMWRITE_JPEG_QUALITY, 40),
        jpeg_of(lit(scene())[:, :, :1]),
        jpeg_of(lit(scene(317, 239)), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    ]


def hashes(contents: list[bytes]) -> list[str]:
    return sorted(sha256(content).hexdigest() for content in contents)


def run(folder: Path, settings: dict[str, Any], arrived: Callable[[], list[bytes]]) -> tuple[list[bytes], list[bytes]]:
    """Give one run pictures from a folder and from a client. Return what it was given, and what arrived."""
    (port,) = free_ports(1)
    streams = [{"name": "survey", "source": "survey/", "watch": True}]
    write_configuration(folder, {"streams": streams, "listeners": [{"listen": f"127.0.0.1:{port}"}], **settings})
    in_folder, from_client = [CAMERA, *pictures(0)], pictures(90)
    (folder / "survey").mkdir()
    for number, content in enumerate(in_folder):
        (folder / "survey" / f"{number}.jpg").write_bytes(content)
    tagged = jpeg_of(scene(64, 48))
    with Daemon(folder, ROBOFLOW_API_KEY=KEY) as daemon:
        daemon.wait_for("ready")
        for content in (*from_client, with_segment(tagged, APP1, exif(1) + b"my place")):
            answer = requests.post(f"http://127.0.0.1:{port}/datapoints", files={"image": content}, timeout=30)
            assert answer.json()["strategy"] == "all"
        given = [*in_folder, *from_client, tagged]
        assert daemon.until(lambda: len(arrived()) == len(given), 30.0)
        assert daemon.stop() == 0
    return given, arrived()


def test_a_folder_gets_the_bytes_that_came(tmp_path: Path) -> None:
    def arrived() -> list[bytes]:
        return [(tmp_path / "collected" / line["file_name"]).read_bytes() for line in collected(tmp_path)]

    given, found = run(tmp_path, {}, arrived)
    assert hashes(found) == hashes(given)


def test_the_platform_gets_the_bytes_that_came(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project("parking", active_learning=POLICY)
        settings = {"sink": {"type": "roboflow", "project": "parking"}, "roboflow": {"api_url": platform.url}}
        given, found = run(tmp_path, settings, lambda: [image.jpeg for image in platform.images])
    assert hashes(found) == hashes(given)
